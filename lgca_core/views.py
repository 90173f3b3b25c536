"""Boxes of pictures -> unit vectors: the boxes of many pictures flat through the encoder, none of them twice.

Axes: B pictures, n_b boxes of picture b, M boxes in all, D embedding width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgca_core.box_numbers import BoxNumbers, Ints, Size
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.pixels.cropping import crops, crops_on_device
from lgca_core.pixels.gpu_streams import to_device
from lgca_core.pixels.pictures import picture_tensor

CUT_AT_ONCE = 256
"""Crops that are cut together on a CPU, in whole batches: a picture in several of them is made ready for it once."""


class Encoded(NamedTuple):
    """Boxes and their features, picture by picture, on the CPU.

    ``counts`` (B,) int32: boxes of each picture; ``boxes`` (M, 4) int32; ``features`` (M, D), float16 of Views that
    round, else float32.
    """

    counts: Tensor
    boxes: Tensor
    features: Tensor


@checked
class Views:
    """Some pictures, and the vectors of every box of them that was asked for so far.

    Several methods that look at the same pictures share one ``Views``: a crop that two of them use is encoded
    once. Memory: one vector a box, and every picture that had to be decoded.

    Args:
        pictures: each in memory, or a function that gives it. Such a function is called once, and not before a crop
            of the picture has to be encoded, or its size is unknown.
        sizes: (height, width) of each picture, None for an unknown one; may be left out.
        float16: keep vectors rounded to float16, as a store does. What is encoded now and what is handed to
            :meth:`add_known` then give the same bits, see :func:`unit_from_float16`.

    Attributes:
        encoded: how many boxes had to be encoded so far.

    Raises:
        LgcaError: a picture is not of the size given, or too many pixels for one ``Views``.
    """

    def __init__(
        self,
        encoder: Encoder,
        pictures: Sequence[Image.Image | Callable[[], Image.Image]],
        *,
        sizes: Sequence[Size | None] | None = None,
        float16: bool = False,
    ) -> None:
        self.encoder = encoder
        self.float16 = float16
        self._pictures = list(pictures)
        given = [None] * len(self._pictures) if sizes is None else list(sizes)
        if len(given) != len(self._pictures):
            raise LgcaError(f"sizes of {len(given)} pictures, there are {len(self._pictures)}: give one for each")
        self.sizes: list[Size] = []  # B x (height, width)
        for b, size in enumerate(given):
            if size is None:
                picture = self._picture(b)
                size = picture.height, picture.width
            self.sizes.append(size)
        self._on_device: dict[int, Tensor] = {}
        self._numbers = BoxNumbers(self.sizes)
        # Rows are numbered as they become known; the boxes' numbers are kept sorted, with the row of each.
        self._known, self._row = np.empty(0, np.int64), np.empty(0, np.int64)
        self._owner, self._boxes = np.empty(0, np.int64), np.empty((0, 4), np.int64)
        self._features = torch.empty(0, 0, dtype=torch.float16 if float16 else torch.float32)  # (M, D)
        self._recordings: list[list[Ints]] = []
        self.encoded = 0

    def add_known(self, encoded: Encoded) -> None:
        """Take the vectors of boxes encoded before, for all B pictures; a box known already keeps its own.

        Only Views that round take any: else their vectors would depend on what was known.
        """
        if not self.float16:
            raise LgcaError("Views that do not round to float16 cannot take features from a store: say float16=True")
        owner = np.repeat(np.arange(len(self.sizes)), encoded.counts.numpy())
        boxes = encoded.boxes.numpy().astype(np.int64)
        numbers = self._numbers(owner, boxes)
        new = np.flatnonzero(self._find(numbers) < 0)
        new = new[_first(numbers[new])]
        features = encoded.features if len(new) == len(numbers) else encoded.features[torch.from_numpy(new)]
        self._add(numbers[new], owner[new], boxes[new], to_device(features, self.encoder.device))

    def encode(self, boxes: Sequence[Tensor]) -> list[Tensor]:
        """``boxes[b]`` (n_b, 4) int64 in picture b -> unit vectors (n_b, D) float32, on the encoder's device.

        Raises LgcaError for a box outside its picture, or as the pictures' functions do.
        """
        if len(boxes) != len(self.sizes):
            raise LgcaError(f"boxes of {len(boxes)} pictures, there are {len(self.sizes)}: give some for each")
        counts = [len(of_picture) for of_picture in boxes]
        asked = torch.cat([torch.empty(0, 4, dtype=torch.int64), *boxes]).cpu().numpy()  # (M, 4)
        owner = np.repeat(np.arange(len(boxes)), counts)  # (M,)
        numbers = self._numbers(owner, asked)
        rows = self._find(numbers)
        if (rows < 0).any():
            new = np.flatnonzero(rows < 0)
            new = new[_first(numbers[new])]  # in order, each once
            vectors = self._encode(owner[new], asked[new])
            self.encoded += len(new)
            self._add(numbers[new], owner[new], asked[new], vectors)
            rows = self._find(numbers)
        for recording in self._recordings:
            recording.append(rows)
        found = self._features.index_select(0, to_device(torch.from_numpy(rows), self._features.device))
        return list((unit_from_float16(found) if self.float16 else found).split(counts))

    @contextmanager
    def recording(self) -> Iterator[Callable[[], Encoded]]:
        """Notes which boxes are asked for inside the block, and gives a function that returns them with their vectors.

        Each box once, known before or not, per picture in the order of first request: what a feature set must hold.
        """
        asked: list[Ints] = []
        self._recordings.append(asked)
        try:
            yield lambda: self._encoded(asked)
        finally:
            self._recordings = [other for other in self._recordings if other is not asked]

    def _find(self, numbers: Ints) -> Ints:
        """The row of each box, -1 for an unknown one: (M,) -> (M,)."""
        if not len(self._known):
            return np.full(len(numbers), -1)
        at = np.minimum(np.searchsorted(self._known, numbers), len(self._known) - 1)
        return np.where(self._known[at] == numbers, self._row[at], -1)

    def _add(self, numbers: Ints, owner: Ints, boxes: Ints, features: Tensor) -> None:
        rows = np.arange(len(self._owner), len(self._owner) + len(numbers))
        known, row = np.concatenate([self._known, numbers]), np.concatenate([self._row, rows])
        order = np.argsort(known)
        self._known, self._row = known[order], row[order]
        self._owner, self._boxes = np.concatenate([self._owner, owner]), np.concatenate([self._boxes, boxes])
        if self._features.is_cuda:
            # Another stream's allocator must not reuse this memory yet: `add_known` may have been given it there.
            self._features.record_stream(torch.cuda.current_stream(self._features.device))
        self._features = torch.cat([self._features, features]) if len(self._features) else features

    def _encoded(self, asked: Sequence[Ints]) -> Encoded:
        """Rows in the order of request -> what they hold, each once, picture by picture."""
        rows = np.concatenate([np.empty(0, np.int64), *asked])
        rows = rows[_first(rows)]
        rows = rows[np.argsort(self._owner[rows], kind="stable")]
        features = self._features[torch.from_numpy(rows).to(self._features.device)].cpu()
        counts = np.bincount(self._owner[rows], minlength=len(self.sizes))
        return Encoded(torch.from_numpy(counts).int(), torch.from_numpy(self._boxes[rows]).int(), features)

    def _encode(self, owner: Ints, boxes: Ints) -> Tensor:
        """Boxes (M, 4), sorted by picture -> vectors as they are kept: (M, D)."""
        encoder, found, done = self.encoder, [], 0
        while done < len(boxes):
            part = slice(done, min(done + self._at_once(), len(boxes)))
            try:
                found.append(encoder.encode_crops(self._cut(owner[part], boxes[part])))
            except torch.OutOfMemoryError:  # of the cut: the encoder tries smaller batches itself
                if (n := min(part.stop - done, encoder.batch_size)) == 1:
                    raise
            else:
                done = part.stop
                continue
            encoder.halve_batches(n)
        vectors = torch.cat(found)
        return vectors.half() if self.float16 else vectors

    def _at_once(self) -> int:
        """How many crops are cut together: a batch; on a CPU one for each worker, or more of them."""
        n = self.encoder.batch_size
        if self.encoder.device.type == "cpu":
            n *= self.encoder.workers
            n *= max(1, CUT_AT_ONCE // n)
        return n

    def _cut(self, owner: Ints, boxes: Ints) -> Tensor:
        """The crops of a batch, which is sorted by picture: (len(boxes), 3, S, S) uint8."""
        ends = np.flatnonzero(np.diff(owner)) + 1
        by_picture = zip(np.split(owner, ends), np.split(boxes, ends), strict=True)
        return torch.cat([self.crops(int(of[0]), torch.from_numpy(cut)) for of, cut in by_picture])

    def crops(self, b: int, boxes: Tensor) -> Tensor:
        """Boxes (n, 4) int64 of picture b, cut on the encoder's device: (n, 3, S, S) uint8."""
        if self.encoder.device.type == "cpu":
            return crops(self._picture(b), boxes, self.encoder.size, self.encoder.resize)
        if b not in self._on_device:
            self._on_device[b] = to_device(picture_tensor(self._picture(b)), self.encoder.device)
        return crops_on_device(self._on_device[b], boxes, self.encoder.size, self.encoder.resize)

    def _picture(self, b: int) -> Image.Image:
        picture = self._pictures[b]
        if not isinstance(picture, Image.Image):
            picture = self._pictures[b] = picture()
        if b < len(self.sizes) and self.sizes[b] != (picture.height, picture.width):
            raise LgcaError(
                f"picture {b} has {picture.height} x {picture.width} pixels, not the {self.sizes[b][0]} x "
                f"{self.sizes[b][1]} it had when its features were stored: was its file changed meanwhile?"
            )
        return picture


def unit_from_float16(features: Tensor) -> Tensor:
    """float16 features (M, D) -> the same at unit length, float32: the one way from stored features to vectors.

    Each row gives the same bits on every device and in whatever company. Squares of float16 numbers are exact in
    float32, and multiples of 2^-48, so that float64 adds up those of a row of about unit length exactly, in any order;
    the rest is one correctly rounded operation after another. A row of zeros stays zero.
    """
    assert features.dtype == torch.float16, f"features are {features.dtype}, not torch.float16"
    values = features.float()
    length = values.square().sum(dim=-1, keepdim=True, dtype=torch.float64).sqrt()  # (M, 1)
    return values * (1 / length.clamp(min=1e-12)).float()


def _first(values: Ints) -> Ints:
    """Where each distinct value stands first, ascending."""
    return np.sort(np.unique(values, return_index=True)[1])
