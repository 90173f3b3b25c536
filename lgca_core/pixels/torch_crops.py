"""Pillow's resize restated in torch: the same bits on any device; what the fused kernels are checked against."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lgca_core.boxes import check_boxes
from lgca_core.errors import LgcaError
from lgca_core.pixels.pillow_weights import BICUBIC, PRECISION_BITS, SUPPORT, Resize, in_order, resize_passes

CHUNK_BYTES = 2**27  # working memory that `crops_int32` aims to stay within, whatever the number of boxes


def crops_int32(image: Tensor, boxes: Tensor, size: int, resize: Resize = BICUBIC) -> Tensor:
    """:func:`crops` bit for bit, as sums of ``gathered pixel * int32 weight``: any device, all boxes at once.

    ``image`` (3, H, W) uint8 on any device, ``boxes`` (N, 4) int64 -> (N, 3, size, size) uint8 on the image's
    device. Weights are computed in float64 on the CPU as in Pillow's ``Resample.c`` (a GPU may fuse a
    multiply and an add, and so round otherwise); the two passes over pixels are integers throughout, in the
    installed Pillow's order. Boxes of like height go together, in launches that use about ``CHUNK_BYTES`` of
    memory.

    Raises LgcaError for an image of another shape or type, a box outside it, or a size below 1.
    """
    check_picture(image, boxes, size)

    def cut(some: np.ndarray, turned: bool) -> Tensor:
        out = torch.empty((len(some), 3, size, size), dtype=torch.uint8, device=image.device)
        for chosen in _launches(some, size, resize):
            out[torch.from_numpy(chosen).to(image.device)] = _cut_int32(
                image.mT if turned else image, some[chosen], size, resize
            )
        return out

    return in_order(boxes.cpu().numpy(), size, resize, cut)


def _launches(boxes: np.ndarray, size: int, resize: Resize) -> Iterator[np.ndarray]:
    """Indices of boxes (N, 4), by rising cost, in groups that take about ``CHUNK_BYTES`` to cut."""
    # Bytes a box: 9 a value, as gathered, as a product and as a sum; 64 a tap, for weights and their making.
    height = boxes[:, 2]
    side = boxes[:, 2:].min(axis=1) if resize.mode == "shortest" else boxes[:, 2:].max(axis=1)
    scale = np.maximum(side / size, 1.0)
    taps = 2 * np.ceil(SUPPORT[resize.interpolation] * scale) + 1
    needed = np.minimum(height, size * scale + taps)
    cost = 27 * size * np.maximum(needed, size) + 64 * size * taps
    order = np.argsort(cost, kind="stable")
    first = 0
    while first < len(order):
        # A launch pads its boxes to the dearest, its last.
        spent = cost[order[first:]] * np.arange(1, len(order) - first + 1)
        count = max(int(np.searchsorted(spent, CHUNK_BYTES, side="right")), 1)
        yield order[first : first + count]
        first += count


def _cut_int32(image: Tensor, boxes: np.ndarray, size: int, resize: Resize) -> Tensor:
    """One launch of :func:`crops_int32`, horizontal pass first: boxes (n, 4) -> (n, 3, size, size) uint8."""
    n = len(boxes)
    top, left, _, _ = boxes.T
    taps, across, down = resize_passes(boxes, size, resize)

    def there(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(image.device)

    # Horizontal, over the R rows from `first` that the vertical pass will read (R of the tallest box).
    first = taps.start[down, 0]
    last = taps.stop[down, -1] - 1
    row = np.minimum(first[:, None] + np.arange((last - first).max() + 1), last[:, None]) + top[:, None]
    rows = there(row)[:, :, None]  # (n, R, 1)
    start, stop = there(taps.start[across] + left[:, None]), there(taps.stop[across] + left[:, None] - 1)  # (n, size)
    weights = there(taps.weights)[there(across)]  # (n, size, K)
    half = 1 << (PRECISION_BITS - 1)
    total = torch.full((3, n, row.shape[1], size), half, dtype=torch.int32, device=image.device)
    for k in range(weights.shape[2]):
        columns = torch.minimum(start + k, stop)[:, None, :]  # (n, 1, size)
        total += image[:, rows, columns] * weights[:, None, :, k]  # (3, n, R, size)
    middle = (total >> PRECISION_BITS).clamp_(0, 255).to(torch.uint8)

    # Vertical, over rows of `middle`.
    start, stop = there(taps.start[down] - first[:, None]), there(taps.stop[down] - first[:, None] - 1)
    weights = there(taps.weights)[there(down)]
    box = torch.arange(n, device=image.device)[:, None]
    total = torch.full((3, n, size, size), half, dtype=torch.int32, device=image.device)
    for k in range(weights.shape[2]):
        total += middle[:, box, torch.minimum(start + k, stop)] * weights[:, :, k, None]  # (3, n, size, size)
    return (total >> PRECISION_BITS).clamp_(0, 255).to(torch.uint8).transpose(0, 1)


def check_picture(image: Tensor, boxes: Tensor, size: int) -> None:
    """Raises LgcaError for an image of another shape or type, a box outside it, or a crop without pixels."""
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise LgcaError(f"image must be a (3, H, W) uint8 tensor, got {tuple(image.shape)} {image.dtype}")
    check_boxes(boxes, image.shape[1], image.shape[2])
    check_size(size)


def check_size(size: int) -> None:
    """Raises LgcaError for a crop without pixels."""
    if size < 1:
        raise LgcaError(f"crop size must be at least 1 pixel, got {size}")
