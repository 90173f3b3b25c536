"""Where to look: boxes drawn, expanded and compared. Integers only, no pixels.

A box is ``(top, left, height, width)`` in whole pixels of the original picture; boxes of one picture are an
``(N, 4)`` int64 tensor. Draws are keyed by ``(seed, identity)`` through a counter-based generator, so that
they do not depend on batch size, order of pictures, number of workers, device, or where a run was resumed.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.seeding import generator

Growth = Literal["square", "free"]
Side = int | Tensor
"""A side of one picture, or of many: int64, of a shape that broadcasts to that of their boxes without the last axis."""


@checked
def draw_squares(height: int, width: int, n: int, alpha: float, beta: float, *, seed: int, identity: str) -> Tensor:
    """``n`` random squares inside a ``height`` x ``width`` picture: (n, 4) int64.

    Side ``round(u * min(height, width))``, at least 1 pixel, with ``u ~ U(alpha, beta)``; position uniform
    over all places where the square fits (WCA, arXiv 2406.02915, section 3; step 0 of LGCA). ``identity``
    names the picture, by its contents rather than its place. The first ``m`` of ``n`` draws are the ``m``
    draws.

    Raises LgcaError unless ``0 < alpha <= beta <= 1``, ``n >= 0`` and the picture has a pixel.
    """
    _check_picture(height, width)
    if not 0 < alpha <= beta <= 1:
        raise LgcaError(f"crop range ({alpha}, {beta}) must satisfy 0 < alpha <= beta <= 1")
    if n < 0:
        raise LgcaError(f"number of crops must not be negative, got {n}")
    # One row a box, filled row by row: a longer draw continues a shorter one.
    unit = generator(seed, identity).random((n, 3))
    scale = alpha + (beta - alpha) * unit[:, 0]
    side = np.maximum(np.rint(scale * min(height, width)).astype(np.int64), 1)
    top = np.floor(unit[:, 1] * (height - side + 1)).astype(np.int64)
    left = np.floor(unit[:, 2] * (width - side + 1)).astype(np.int64)
    return torch.from_numpy(np.stack([top, left, side, side], axis=1))


@checked
def expand(boxes: Tensor, gamma: float, height: Side, width: Side, *, growth: Growth = "square") -> Tensor:
    """Each box grown by ``gamma`` about its centre and shifted into its picture: (..., 4) int64, as ``boxes``.

    ``growth="square"`` keeps the shape: a box stops growing when one of its sides is as long as the
    picture's. ``growth="free"`` lets the other side go on, so that the limit is the whole picture. The result
    always contains the box it came from; of an odd number of new pixels the odd one goes to the top or the
    left.

    Raises LgcaError for ``gamma < 1``, an unknown ``growth``, or a box that does not lie in the picture.
    """
    check_boxes(boxes, height, width)
    if not 1 <= gamma < float("inf"):
        raise LgcaError(f"expansion factor gamma must be at least 1 and finite, got {gamma}")
    if growth not in ("square", "free"):
        raise LgcaError(f'growth must be "square" or "free", got {growth!r}')
    corner, old = boxes[..., :2], boxes[..., 2:]
    picture = _sides(height, width)  # (..., 2)
    factor = (picture / old.double()).clamp(max=gamma)  # (..., 2): how far each side can grow
    if growth == "square":
        factor = factor.amin(dim=-1, keepdim=True)
    new = (old * factor).round().long()
    corner = corner + torch.div(old - new, 2, rounding_mode="floor")
    return torch.cat([torch.minimum(corner.clamp(min=0), picture - new), new], dim=-1)


@checked
def whole(height: int, width: int) -> Tensor:
    """The box of the whole picture: (1, 4) int64."""
    _check_picture(height, width)
    return torch.tensor([[0, 0, height, width]])


@checked
def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair of boxes: (n, 4), (m, 4) -> (n, m) float64 in [0, 1]."""
    for boxes in (a, b):
        if boxes.ndim != 2 or boxes.shape[-1] != 4:
            raise LgcaError(f"boxes must be an (n, 4) tensor, got {tuple(boxes.shape)}")
    a, b = a[:, None], b[None]
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    either = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - both
    return both.double() / either


def check_boxes(boxes: Tensor, height: Side, width: Side) -> None:
    """Raises LgcaError, naming the first offender, unless ``boxes`` are (..., n, 4) int64 and in their pictures."""
    if isinstance(height, int) and isinstance(width, int):
        _check_picture(height, width)
    if boxes.ndim < 2 or boxes.shape[-1] != 4 or boxes.dtype != torch.int64:
        raise LgcaError(f"boxes must be an (n, 4) int64 tensor, got {tuple(boxes.shape)} {boxes.dtype}")
    corner, sides = boxes[..., :2], boxes[..., 2:]
    limit = _sides(height, width).to(boxes.device)
    bad = ((corner < 0) | (sides < 1) | (corner + sides > limit)).any(dim=-1)
    if bad.any():
        first = tuple(boxes[bad][0].tolist())
        high, wide = limit.expand_as(sides)[bad][0].tolist()
        raise LgcaError(f"box (top, left, height, width) = {first} does not lie in a picture of {high} x {wide} pixels")


def _sides(height: Side, width: Side) -> Tensor:
    """(..., 2)"""
    return torch.stack([torch.as_tensor(height), torch.as_tensor(width)], dim=-1)


def _check_picture(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise LgcaError(f"a picture needs at least one pixel, got {height} x {width}")
