"""A feature set: the shards of some pictures, an encoder and a plan of boxes, in a folder of their own."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from torch import Tensor

from lgca_core.errors import LgcaError
from lgca_core.evaluation.store.shard import Shard
from lgca_core.evaluation.store.shard_files import GONE, ShardFile, files_in, put, unreadable, unwritable

FORMAT = 1
LABEL = "pool.json"
INFINITE = 0x7C00  # the bits that float16 sets in infinities and in what is not a number, and only there

Report = Callable[[str], None]


class Label(BaseModel):
    """The content of pool.json; only the first three fields decide the folder's name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: int
    pictures_a_shard: int
    key: dict[str, JsonValue]
    pictures: int
    dataset: str | None

    @property
    def sha256(self) -> str:
        decides = [self.format, self.pictures_a_shard, self.key]
        text = json.dumps(decides, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


class FeatureSet:
    """The shards of some pictures, an encoder and a plan of boxes; see :meth:`Store.pool`.

    Attributes:
        folder: where they lie.
        identities: sha256 of the pictures, in the manifest's order.
    """

    def __init__(self, folder: Path, label: Label, identities: Sequence[str], report: Report) -> None:
        self.folder, self.identities = folder, tuple(identities)
        self._label, self._report = label, report

    def __len__(self) -> int:
        """How many shards the pictures make."""
        return -(-len(self.identities) // self._label.pictures_a_shard)

    def pictures(self, index: int) -> range:
        """Which pictures a shard is of, by position in the manifest."""
        assert 0 <= index < len(self), f"shard {index} of {len(self)}"
        start = index * self._label.pictures_a_shard
        return range(start, min(start + self._label.pictures_a_shard, len(self.identities)))

    def read(self, index: int, *, mapped: bool = False) -> Shard | None:
        """A shard, or None for one that is not there: not written, damaged (reported and removed), or of others.

        Of a mapped one the features stay on disk until they are used, for those that are more than memory holds.

        Raises:
            LgcaError: the folder or the file cannot be read.
        """
        expected = self._of(index)
        tried: set[Path] = set()
        while files := [file for file in self._all(index) if file.path not in tried]:
            # One at a time: another process may put a larger one in its place meanwhile.
            tried.add(files[0].path)
            try:
                shard = files[0].read(discard=True, mapped=mapped)
            except ValueError as error:
                self._report(f"{files[0].path} was damaged ({error}) and is removed: what it held is encoded again")
                continue
            except OSError as error:
                if error.errno in GONE:
                    continue
                raise unreadable(files[0].path, error) from error
            if shard.identities == expected:
                return shard
            self._report(f"{files[0].path} holds features of other pictures than its pool's, so it is not used")
        return None

    def write(self, index: int, shard: Shard) -> None:
        """Add to the store what it lacks of a shard.

        What lies there stays as it is: a box that it holds already keeps its features, whoever brings others (as a
        device that rounds in another way does). Two processes that add different boxes at the same moment may leave
        those of one only; the others are then encoded again when they are wanted.

        Raises:
            LgcaError: the store cannot be written, or a feature is not finite.
        """
        check_finite(shard.features)
        if shard.identities != self._of(index):
            raise ValueError(f"this is not shard {index} of the pool: its pictures are others")
        stored = self.read(index)
        if stored is not None:
            shard = stored.union(shard)
            if len(shard.boxes) == len(stored.boxes) and torch.equal(shard.sizes, stored.sizes):
                return
        data = shard.to_bytes()
        name = f"{index:06d}-{len(shard.boxes)}-{hashlib.sha256(data).hexdigest()}.safetensors"
        try:
            put(self.folder / name, data)
            self._name()
            for file in files_in(self.folder, index):
                if file.rank > (index, -len(shard.boxes), name):
                    file.path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.folder.parent, error) from error

    def _of(self, index: int) -> tuple[str, ...]:
        pictures = self.pictures(index)
        return self.identities[pictures.start : pictures.stop]

    def _all(self, index: int) -> list[ShardFile]:
        try:
            return files_in(self.folder, index)
        except OSError as error:
            raise unreadable(self.folder, error) from error

    def _name(self) -> None:
        """Writes pool.json, where it is missing or no longer what it was."""
        if read_label(self.folder) is None:
            put(self.folder / LABEL, self._label.model_dump_json(indent=1).encode() + b"\n")


def check_finite(features: Tensor) -> None:
    """Raises LgcaError where float16 features (M, D) hold infinities or what is not a number."""
    if (features.view(torch.int16).bitwise_and(INFINITE) == INFINITE).any():
        raise LgcaError(
            "the encoder gives vectors that are not finite, which must not be stored: choose another precision"
        )


def read_label(folder: Path) -> Label | None:
    """Read pool.json; None where it is missing, or not that of this folder."""
    try:
        label = Label.model_validate_json((folder / LABEL).read_bytes())
        return label if label.sha256 == folder.name else None
    except (FileNotFoundError, ValidationError, ValueError):
        return None
