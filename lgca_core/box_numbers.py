"""A number for each box of each picture, so that boxes are compared, sorted and looked up as integers."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lgca_core.boxes import check_boxes
from lgca_core.errors import LgcaError

Size = tuple[int, int]  # height, width
Ints = NDArray[np.int64]


class BoxNumbers:
    """One number for each box of each of B pictures, so that boxes can be compared, sorted and looked up.

    Raises LgcaError where 63 bits are too few: more than 1,000 of the largest pictures that `open_picture` takes.
    """

    def __init__(self, sizes: Sequence[Size]) -> None:
        self.sizes = np.array(sizes, dtype=np.int64).reshape(-1, 2)  # (B, 2)
        first, start = [], 0
        for height, width in self.sizes.tolist():
            first.append(start)
            start += (height * width) ** 2  # as many as there are pairs of a corner and a shape
        if start >= 2**63:
            raise LgcaError(f"{len(first)} pictures of so many pixels are too many to look at at once: give fewer")
        self._first = np.array(first, dtype=np.int64)  # (B,)

    def __call__(self, owner: Ints, boxes: Ints) -> Ints:
        """Boxes (M, 4) int64 of the pictures ``owner`` (M,) -> (M,) int64. LgcaError for a box outside its picture."""
        height, width = self.sizes[owner].T
        top, left, h, w = boxes.T
        inside = (top >= 0) & (left >= 0) & (h >= 1) & (w >= 1) & (top + h <= height) & (left + w <= width)
        if not inside.all():
            [bad] = np.flatnonzero(~inside)[:1]
            check_boxes(torch.from_numpy(boxes[bad : bad + 1]), *self.sizes[owner[bad]].tolist())
        return self._first[owner] + ((top * width + left) * height + (h - 1)) * width + (w - 1)
