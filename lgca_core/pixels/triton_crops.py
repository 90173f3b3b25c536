"""Pillow's resize on a GPU in two Triton kernels, a pass each, and a third that makes an encoder's input of pixels.

The integers are those of :func:`~lgca_core.pixels.torch_crops.crops_int32`, which writes every tap's product to memory
and reads it again; here they stay in registers. The weights of a side stay on the GPU from one picture to the next.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from lgca_core.pixels.gpu_streams import to_device
from lgca_core.pixels.pillow_weights import (
    BICUBIC,
    PRECISION_BITS,
    Interpolation,
    Resize,
    Taps,
    in_order,
    sides_of,
    taps_of,
)

SIDES = 2**11  # as many sides' weights are kept on a GPU: some 20 MB at 224 pixels
MIDDLE_BYTES = 2**27  # what lies between the two passes, at most, unless a single box takes more
BLOCKS = {"block_rows": 32, "block_columns": 64}  # pixels of a program that cuts
LOOKED_UP = 1024  # and of one that looks up

BITS = tl.constexpr(PRECISION_BITS)
HALF = tl.constexpr(1 << (PRECISION_BITS - 1))


@triton.jit
def _horizontal(
    image, channel_stride, row_stride, column_stride,
    boxes, start, count, offset, weights, middle, rows,
    size: tl.constexpr, block_rows: tl.constexpr, block_columns: tl.constexpr,
):  # fmt: skip
    """middle (n, 3, rows, size) uint8: the rows that the vertical pass needs of each box, by `across`."""
    box, channel = tl.program_id(0) // 3, tl.program_id(0) % 3
    top, left = tl.load(boxes + 4 * box), tl.load(boxes + 4 * box + 1)
    across, down = tl.load(boxes + 4 * box + 2), tl.load(boxes + 4 * box + 3)
    first = tl.load(start + down * size)
    needed = tl.load(start + down * size + size - 1) + tl.load(count + down * size + size - 1) - first
    row = tl.program_id(1) * block_rows + tl.arange(0, block_rows)
    column = tl.program_id(2) * block_columns + tl.arange(0, block_columns)
    inside = column < size
    begin = tl.load(start + across * size + column, mask=inside, other=0)
    taps = tl.load(count + across * size + column, mask=inside, other=0)
    wide = (tl.load(offset + across + 1) - tl.load(offset + across)) // size
    weight = weights + tl.load(offset + across) + column * wide
    line = image + channel * channel_stride + (top + first + row[:, None]) * row_stride
    total = tl.full((block_rows, block_columns), HALF, tl.int32)
    for k in range(wide):
        there = inside & (k < taps)
        w = tl.load(weight + k, mask=there, other=0)
        pixel = tl.load(
            line + (left + begin + k)[None, :] * column_stride, mask=(row < needed)[:, None] & there[None, :], other=0
        )
        total += pixel.to(tl.int32) * w[None, :]
    value = tl.minimum(tl.maximum(total >> BITS, 0), 255).to(tl.uint8)
    to = middle + (tl.program_id(0).to(tl.int64) * rows + row[:, None]) * size + column[None, :]
    tl.store(to, value, mask=(row < needed)[:, None] & inside[None, :])


@triton.jit
def _vertical(
    boxes, start, count, offset, weights, middle, rows, out,
    size: tl.constexpr, block_rows: tl.constexpr, block_columns: tl.constexpr,
):  # fmt: skip
    """out (n, 3, size, size) uint8, of `middle`, by `down`."""
    box = tl.program_id(0) // 3
    down = tl.load(boxes + 4 * box + 3)
    first = tl.load(start + down * size)
    row = tl.program_id(1) * block_rows + tl.arange(0, block_rows)
    column = tl.program_id(2) * block_columns + tl.arange(0, block_columns)
    inside = row < size
    begin = tl.load(start + down * size + row, mask=inside, other=0) - first
    taps = tl.load(count + down * size + row, mask=inside, other=0)
    wide = (tl.load(offset + down + 1) - tl.load(offset + down)) // size
    weight = weights + tl.load(offset + down) + row * wide
    line = middle + tl.program_id(0).to(tl.int64) * rows * size + column[None, :]
    total = tl.full((block_rows, block_columns), HALF, tl.int32)
    for k in range(wide):
        there = inside & (k < taps)
        w = tl.load(weight + k, mask=there, other=0)
        pixel = tl.load(line + (begin + k)[:, None] * size, mask=there[:, None] & (column < size)[None, :], other=0)
        total += pixel.to(tl.int32) * w[:, None]
    value = tl.minimum(tl.maximum(total >> BITS, 0), 255).to(tl.uint8)
    to = out + (tl.program_id(0).to(tl.int64) * size + row[:, None]) * size + column[None, :]
    tl.store(to, value, mask=inside[:, None] & (column < size)[None, :])


@triton.jit
def _look_up(pixels, table, out, plane, total, block: tl.constexpr):
    """out (n, 3, S, S): of each pixel, of `plane` in a channel, what `table` (3, 256) has for its channel."""
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = at < total
    pixel = tl.load(pixels + at, mask=inside, other=0).to(tl.int32)
    tl.store(out + at, tl.load(table + (at // plane) % 3 * 256 + pixel, mask=inside, other=0), mask=inside)


class _Sides:
    """The weights of every side met so far, on one device for one size of crops and one filter."""

    def __init__(self, device: torch.device, size: int, interpolation: Interpolation) -> None:
        self.device, self.size, self.interpolation = device, size, interpolation
        self._forget()

    def _forget(self) -> None:
        self.number: dict[tuple[int, int], int] = {}
        self.needed: list[int] = []  # by number: how many input pixels
        self.start = self.count = torch.empty(0, self.size, dtype=torch.int32, device=self.device)  # (u, S)
        self.offset = torch.zeros(1, dtype=torch.int64, device=self.device)  # (u + 1,): where each begins in `weights`
        self.weights = torch.empty(0, dtype=torch.int32, device=self.device)

    def __call__(self, sides: Sequence[tuple[int, int]]) -> list[int]:
        """The number of each side (before, after)."""
        if len(self.number) > SIDES:
            self._forget()
        if new := [side for side in dict.fromkeys(sides) if side not in self.number]:
            try:
                self._add([taps_of(*side, self.size, self.interpolation) for side in new])
            except BaseException:  # an interrupt or a full memory halfway: the tables must not disagree
                self._forget()
                raise
            self.number |= {side: len(self.number) + k for k, side in enumerate(new)}
        return [self.number[side] for side in sides]

    def _add(self, found: list[Taps]) -> None:
        def joined(known: Tensor, arrays: list[np.ndarray], dtype: torch.dtype) -> Tensor:
            new = to_device(torch.from_numpy(np.concatenate(arrays)).to(dtype), self.device)
            return torch.cat([known, new])

        self.needed += [int(taps.stop[0, -1] - taps.start[0, 0]) for taps in found]
        self.start = joined(self.start, [taps.start for taps in found], torch.int32)
        self.count = joined(self.count, [taps.stop - taps.start for taps in found], torch.int32)
        ends = np.cumsum([taps.weights.size for taps in found])
        self.offset = torch.cat([self.offset, self.offset[-1] + to_device(torch.from_numpy(ends), self.device)])
        self.weights = joined(self.weights, [taps.weights.reshape(-1) for taps in found], torch.int32)


@functools.cache
def _sides(stream: Any, device: torch.device, size: int, interpolation: Interpolation) -> _Sides:
    """Each stream has its own: another might not wait for what this one has under way."""
    return _Sides(device, size, interpolation)


def cut(image: Tensor, boxes: np.ndarray, size: int, resize: Resize = BICUBIC) -> Tensor:
    """``image`` (3, H, W) uint8 on a GPU, ``boxes`` (n, 4) int64 inside it -> (n, 3, size, size) uint8 there."""
    with torch.cuda.device_of(image):
        return in_order(
            boxes, size, resize, lambda some, turned: _cut(image.mT if turned else image, some, size, resize)
        )


def _cut(image: Tensor, boxes: np.ndarray, size: int, resize: Resize) -> Tensor:
    n = len(boxes)
    out = torch.empty((n, 3, size, size), dtype=torch.uint8, device=image.device)
    if not n:
        return out
    stream = torch.cuda.current_stream(image.device) if image.is_cuda else None
    sides = _sides(stream, image.device, size, resize.interpolation)
    number = sides(sides_of(boxes, size, resize))
    rows = max(sides.needed[u] for u in number[n:])  # of any box that the vertical pass reads
    places = np.stack([boxes[:, 0], boxes[:, 1], number[:n], number[n:]], axis=1).astype(np.int32)
    there = to_device(torch.from_numpy(places), image.device)
    high, wide = BLOCKS.values()
    chosen = {"size": size, "enable_fp_fusion": False} | BLOCKS  # no floats here: Triton need not warn of them
    at_once = max(1, MIDDLE_BYTES // (3 * size * rows))
    for some, crops in zip(there.split(at_once), out.split(at_once)):
        middle = torch.empty((len(some), 3, rows, size), dtype=torch.uint8, device=image.device)
        tables = some, sides.start, sides.count, sides.offset, sides.weights, middle, rows
        _horizontal[3 * len(some), triton.cdiv(rows, high), triton.cdiv(size, wide)](
            image, *image.stride(), *tables, **chosen
        )
        _vertical[3 * len(some), triton.cdiv(size, high), triton.cdiv(size, wide)](*tables, crops, **chosen)
    return out


def look_up(pixels: Tensor, table: Tensor) -> Tensor:
    """``table[c, pixels[:, c]]`` for channels c: ``pixels`` (n, 3, S, S) uint8, ``table`` (3, 256) on the same GPU."""
    pixels = pixels.contiguous()
    out = torch.empty(pixels.shape, dtype=table.dtype, device=pixels.device)
    if not len(pixels):
        return out
    with torch.cuda.device_of(pixels):
        grid = triton.cdiv(pixels.numel(), LOOKED_UP)
        _look_up[grid,](pixels, table, out, pixels.shape[2] * pixels.shape[3], pixels.numel(), block=LOOKED_UP)
    return out
