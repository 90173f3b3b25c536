"""Features of the boxes of some pictures, in memory and as bytes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor

from lgca_core.box_numbers import BoxNumbers, Ints, Size
from lgca_core.errors import LgcaError
from lgca_core.views import Encoded


@dataclass(frozen=True, eq=False)
class Shard:
    """Features of boxes of some pictures, picture by picture.

    Attributes:
        identities: sha256 of each picture's file, n of them, in hexadecimal.
        sizes: (n, 2) int32, height and width; (0, 0) for a picture that could not be read.
        counts: (n,) int32, boxes of each picture, M in all.
        boxes: (M, 4) int32. features: (M, D) float16.

    Raises:
        ValueError: shapes, types or numbers that do not fit together.
        LgcaError: a box outside its picture.
    """

    identities: tuple[str, ...]
    sizes: Tensor
    counts: Tensor
    boxes: Tensor
    features: Tensor

    def __post_init__(self) -> None:
        n, m = len(self.identities), len(self.boxes)
        if bad := [identity for identity in self.identities if not re.fullmatch("[0-9a-f]{64}", identity)]:
            raise ValueError(f"{bad[0]!r} is not a sha256")
        for name, dtype, shape in (
            ("sizes", torch.int32, (n, 2)),
            ("counts", torch.int32, (n,)),
            ("boxes", torch.int32, (m, 4)),
            ("features", torch.float16, (m, self.features.shape[-1])),
        ):
            found = getattr(self, name)
            if found.dtype != dtype or tuple(found.shape) != shape:
                raise ValueError(f"{name} are {tuple(found.shape)} {found.dtype}, not {shape} {dtype}")
        if int(self.counts.sum()) != m or (self.counts < 0).any():
            raise ValueError(f"counts {self.counts.tolist()} do not add up to {m} boxes")
        self._numbers()

    @classmethod
    def of(cls, identities: Sequence[str], sizes: Sequence[Size], encoded: Encoded) -> "Shard":
        """Make a shard of the boxes and features that :class:`~lgca_core.views.Views` give."""
        return cls(tuple(identities), torch.tensor(sizes, dtype=torch.int32).reshape(-1, 2), *encoded)

    @property
    def encoded(self) -> Encoded:
        """For :meth:`Views.add_known`."""
        return Encoded(self.counts, self.boxes, self.features)

    def select(self, pictures: Sequence[int]) -> "Shard":
        """The shard of some of the pictures, by position, in the order given."""
        of_picture = torch.arange(len(self.boxes)).split(self.counts.tolist())
        rows = torch.cat([torch.empty(0, dtype=torch.int64), *(of_picture[b] for b in pictures)])
        chosen = torch.tensor(pictures, dtype=torch.int64)
        identities = tuple(self.identities[b] for b in pictures)
        return Shard(identities, self.sizes[chosen], self.counts[chosen], self.boxes[rows], self.features[rows])

    def union(self, other: "Shard") -> "Shard":
        """The boxes of both shards, of the same pictures; a box in both keeps the features of this one."""
        if self.identities != other.identities:
            raise ValueError("the two shards are of different pictures")
        sizes = torch.where(self.sizes > 0, self.sizes, other.sizes)
        if not torch.equal(torch.where(other.sizes > 0, other.sizes, sizes), sizes):
            raise ValueError("the two shards disagree about the size of a picture")
        new = torch.from_numpy(~np.isin(other._numbers(sizes), self._numbers(sizes)))
        owner = torch.cat([self._owner(), other._owner()[new]])
        order = owner.argsort(stable=True)
        return Shard(
            self.identities,
            sizes,
            owner.bincount(minlength=len(self.identities)).int(),
            torch.cat([self.boxes, other.boxes[new]])[order],
            _rows([self.features, other.features[new]])[order],
        )

    def to_bytes(self) -> bytes:
        """As a safetensors file; equal shards give equal bytes."""
        identities = np.frombuffer(bytes.fromhex("".join(self.identities)), np.uint8).reshape(len(self.identities), 32)
        tensors = {"identities": torch.from_numpy(identities.copy()), "sizes": self.sizes, "counts": self.counts}
        tensors |= {"boxes": self.boxes, "features": self.features}
        return save({name: tensor.contiguous() for name, tensor in tensors.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Shard":
        """The inverse of :meth:`to_bytes`. ValueError for anything else."""
        return cls._from(lambda: load(data))

    @classmethod
    def of_file(cls, file: Path) -> "Shard":
        """A file of such bytes, memory-mapped. ValueError for anything else."""
        return cls._from(lambda: load_file(file))

    @classmethod
    def _from(cls, read: Callable[[], dict[str, Tensor]]) -> "Shard":
        try:
            tensors = read()
            identities = tuple(bytes(row).hex() for row in tensors.pop("identities").numpy())
            return cls(identities, **tensors)
        except (SafetensorError, KeyError, TypeError, LgcaError) as error:
            raise ValueError(f"no shard: {error}") from error

    def _owner(self) -> Tensor:
        """(M,) int64: the picture of each box, by position."""
        return torch.arange(len(self.identities)).repeat_interleave(self.counts)

    def _numbers(self, sizes: Tensor | None = None) -> Ints:
        """(M,): see :class:`BoxNumbers`. LgcaError for a box outside its picture."""
        numbers = BoxNumbers((self.sizes if sizes is None else sizes).tolist())
        return numbers(self._owner().numpy(), self.boxes.long().numpy())


def _rows(parts: Sequence[Tensor]) -> Tensor:
    """Features one after the other; parts without a row do not know the width."""
    return torch.cat([part for part in parts if len(part)] or [*parts[:1]])
