"""Boxes of pictures -> unit vectors: the boxes of many pictures flat through the encoder, none of them twice.

Axes: B pictures, n_b boxes of picture b, D embedding width.
"""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from lgca_core.encoder import Encoder
from lgca_core.resample import crops, crops_int32, picture_tensor

Box = tuple[int, ...]


class Views:
    """Some pictures, and the vectors of every box of them that was asked for so far.

    Several methods that look at the same pictures share one ``Views``: a crop that two of them use is encoded
    once. Memory: one vector a box.
    """

    def __init__(self, encoder: Encoder, pictures: Sequence[Image.Image]) -> None:
        self.encoder = encoder
        self.pictures = list(pictures)
        self.sizes = [(picture.height, picture.width) for picture in self.pictures]  # B x (height, width)
        self._vectors: list[dict[Box, Tensor]] = [{} for _ in self.pictures]
        self._on_device: dict[int, Tensor] = {}

    def encode(self, boxes: Sequence[Tensor]) -> list[Tensor]:
        """``boxes[b]`` (n_b, 4) int64 in picture b -> unit vectors (n_b, D) float32, on the encoder's device."""
        assert len(boxes) == len(self.pictures), f"boxes of {len(boxes)} pictures, there are {len(self.pictures)}"
        asked: list[list[Box]] = [[tuple(box) for box in of_picture.tolist()] for of_picture in boxes]
        missing = {(b, box): None for b, of in enumerate(asked) for box in of if box not in self._vectors[b]}
        todo = list(missing)  # in order, each once
        at_once = self.encoder.batch_size * self.encoder.workers
        for start in range(0, len(todo), at_once):
            batch = todo[start : start + at_once]
            for (b, box), vector in zip(batch, self.encoder.encode_crops(self._cut(batch)), strict=True):
                self._vectors[b][box] = vector
        return [torch.stack([self._vectors[b][box] for box in of]) for b, of in enumerate(asked)]

    def _cut(self, batch: Sequence[tuple[int, Box]]) -> Tensor:
        """The crops of a batch, which is sorted by picture: (len(batch), 3, S, S) uint8."""
        by_picture: dict[int, list[Box]] = {}
        for b, box in batch:
            by_picture.setdefault(b, []).append(box)
        return torch.cat([self._crops(b, torch.tensor(of)) for b, of in by_picture.items()])

    def _crops(self, b: int, boxes: Tensor) -> Tensor:
        # The two ways give the same bits: Pillow is the faster on a CPU, sums over taps on a GPU.
        if self.encoder.device.type == "cpu":
            return crops(self.pictures[b], boxes, self.encoder.size)
        if b not in self._on_device:
            self._on_device[b] = picture_tensor(self.pictures[b]).to(self.encoder.device)
        return crops_int32(self._on_device[b], boxes, self.encoder.size)
