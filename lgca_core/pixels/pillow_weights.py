"""The weights of Pillow's resizes: which pixels of a side make each pixel of the resized one, and how much."""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import PIL
import torch
from torch import Tensor

Length = TypeVar("Length", int, np.ndarray)
Interpolation = Literal["bicubic", "bilinear"]
ResizeMode = Literal["shortest", "squash"]

PRECISION_BITS = 22  # Pillow's fixed point: 32 bits minus 8 of the pixel minus 2 for sums beyond 0..255
SUPPORT = {"bicubic": 2.0, "bilinear": 1.0}  # half-width of the filter at scale 1, in pixels
VERTICAL_FIRST = int(PIL.__version__.split(".")[0]) >= 13  # see `vertical_first`


class Resize(NamedTuple):
    """How a box becomes a square: by its shorter side and a centre crop, or both sides squashed to it."""

    interpolation: Interpolation = "bicubic"
    mode: ResizeMode = "shortest"

    @property
    def said(self) -> str:
        """For the record, and for the keys of a store."""
        how = "to the shorter side, centre crop" if self.mode == "shortest" else "of both sides to a square"
        return f"crop, {self.interpolation} with anti-aliasing {how} (Pillow's numbers)"

    def sides(self, height: np.ndarray, width: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Sides (height, width), (n,) each, after resizing, as torchvision computes them."""
        if self.mode == "squash":
            return np.full_like(height, size), np.full_like(width, size)
        short = np.minimum(height, width)
        return size * height // short, size * width // short


BICUBIC = Resize()  # as CLIP does


class Taps(NamedTuple):
    """Some passes: by the u-th, the output pixel x is ``sum_k weights[u, x, k] * input[start[u, x] + k]``."""

    start: np.ndarray  # (u, size) int64: first input pixel, relative to the box
    stop: np.ndarray  # (u, size) int64: one past the last
    weights: np.ndarray  # (u, size, K) int32: fixed point, PRECISION_BITS; 0 from `stop` on


def sides_of(boxes: np.ndarray, size: int, resize: Resize) -> list[tuple[int, int]]:
    """The side of each pass of boxes (n, 4), before it and after: n across, then n down."""
    height, width = boxes[:, 2], boxes[:, 3]
    new_height, new_width = resize.sides(height, width, size)
    return list(zip([*width.tolist(), *height.tolist()], [*new_width.tolist(), *new_height.tolist()]))


def resize_passes(boxes: np.ndarray, size: int, resize: Resize) -> tuple[Taps, np.ndarray, np.ndarray]:
    """Passes that boxes (n, 4) need, and which of them each takes across and down: (n,) and (n,)."""
    sides = sides_of(boxes, size, resize)
    number = {side: u for u, side in enumerate(dict.fromkeys(sides))}
    single = [taps_of(*side, size, resize.interpolation) for side in number]
    weights = np.zeros((len(single), size, max(taps.weights.shape[2] for taps in single)), np.int32)
    for u, taps in enumerate(single):
        weights[u, :, : taps.weights.shape[2]] = taps.weights[0]
    start, stop = (np.concatenate(of) for of in zip(*((taps.start, taps.stop) for taps in single)))
    which = np.array([number[side] for side in sides])
    return Taps(start, stop, weights), which[: len(boxes)], which[len(boxes) :]


@functools.lru_cache(maxsize=2**11)  # pictures of one data set have few different sides
def taps_of(length: int, new_length: int, size: int, interpolation: Interpolation) -> Taps:
    """Pillow's ``precompute_coeffs`` and ``normalize_coeffs_8bpc`` of one pass, for the middle ``size`` pixels.

    The float64 operations on a side, before and after, follow the order of its ``Resample.c``.
    """
    scale = length / new_length
    filter_scale = max(scale, 1.0)
    support = SUPPORT[interpolation] * filter_scale
    middle = (centre(new_length, size) + np.arange(size) + 0.5) * scale  # (size,)
    # Conversion to an integer cuts towards zero, as in C; it matters not, since negatives become 0.
    start = np.maximum((middle - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((middle + support + 0.5).astype(np.int64), length)
    tap = start[:, None] + np.arange((stop - start).max())  # (size, K)
    weights = (_cubic if interpolation == "bicubic" else _triangle)(
        (tap - middle[:, None] + 0.5) * (1.0 / filter_scale)
    )
    weights[tap >= stop[:, None]] = 0.0
    weights /= np.cumsum(weights, axis=-1)[:, -1:]  # a running sum, as in C: np.sum adds pairwise
    fixed = weights * (1 << PRECISION_BITS)
    fixed = (fixed + np.where(fixed < 0, -0.5, 0.5)).astype(np.int32)  # half away from zero
    return Taps(start[None], stop[None], fixed[None])


def _cubic(x: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel with a = -1/2 (Keys 1981), bracketed as Pillow does."""
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - np.abs(x), 0.0)


def centre(length: Length, size: int) -> Length:
    """Where torchvision's centre crop begins: half the surplus, a half rounded to even."""
    surplus = length - size
    return surplus // 2 + (surplus % 4 == 3)


def vertical_first(height: np.ndarray, width: np.ndarray, size: int, resize: Resize) -> np.ndarray:
    """Where Pillow runs the vertical pass first: never before 13.0, since then when the height shrinks most.

    The order shows, since pixels are rounded to 8 bits in between. It never concerns a square, only a box
    more than about twice as tall as it is wide (Pillow pull request 9549).
    """
    new_height, new_width = resize.sides(height, width, size)
    shrink = height - new_height
    return VERTICAL_FIRST & (shrink > 0) & (shrink > 2 * (width - new_width))


def in_order(boxes: np.ndarray, size: int, resize: Resize, cut: Callable[[np.ndarray, bool], Tensor]) -> Tensor:
    """Boxes (n, 4) by a ``cut`` that runs the horizontal pass first, each in Pillow's order: (n, 3, size, size) uint8.

    ``cut(boxes, turned)`` is called with boxes of the picture, or of the picture turned about its diagonal, in which
    vertical before horizontal is horizontal before vertical.
    """
    tall = vertical_first(boxes[:, 2], boxes[:, 3], size, resize)
    if not tall.any():
        return cut(boxes, False)
    turned = cut(np.ascontiguousarray(boxes[tall][:, [1, 0, 3, 2]]), True)
    out = turned.new_empty(len(boxes), 3, size, size)
    out[torch.from_numpy(tall).to(out.device)] = turned.mT
    if not tall.all():
        out[torch.from_numpy(~tall).to(out.device)] = cut(boxes[~tall], False)
    return out
