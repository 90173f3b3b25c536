"""The two integer passes of Pillow's resize, compiled by Numba for the processor at hand.

Pillow goes over a row at a time, three channels wide. Here a pass runs along whole columns, so that the processor's
vector units are full, and only over the pixels that the centre crop keeps. The sums are the same integers.
"""

import numpy as np
from numba import int32, njit, uint8

from lgca_core.pixels.pillow_weights import PRECISION_BITS

_HALF = 1 << (PRECISION_BITS - 1)


@njit(nogil=True, cache=True)
def _add(total, pixels, weight):
    for i in range(len(total)):
        total[i] = int32(total[i] + int32(weight * int32(pixels[i])))


@njit(nogil=True, cache=True)
def _add4(total, a, b, c, d, weight_a, weight_b, weight_c, weight_d):
    # Four at a time: a quarter of the reading and writing of sums.
    for i in range(len(total)):
        ab = int32(weight_a * int32(a[i])) + int32(weight_b * int32(b[i]))
        cd = int32(weight_c * int32(c[i])) + int32(weight_d * int32(d[i]))
        total[i] = int32(total[i] + int32(ab + cd))


@njit(nogil=True, cache=True)
def _sums(total, lines, first, count, weights):
    """total[:] = a half + the sum of ``weights[k] * lines[first + k]``."""
    total[:] = _HALF
    fours = count - count % 4
    for k in range(0, fours, 4):
        a, b, c, d = lines[first + k], lines[first + k + 1], lines[first + k + 2], lines[first + k + 3]
        _add4(total, a, b, c, d, weights[k], weights[k + 1], weights[k + 2], weights[k + 3])
    for k in range(fours, count):
        _add(total, lines[first + k], weights[k])


@njit(nogil=True, cache=True)
def _round(total, pixels):
    for i in range(len(total)):
        value = total[i] >> int32(PRECISION_BITS)
        pixels[i] = uint8(min(max(value, int32(0)), int32(255)))


@njit(nogil=True, cache=True)
def cut_compiled(columns, boxes, across, down, start, stop, weights, which, out):
    """Boxes ``which`` of one picture, the horizontal pass first.

    ``columns`` (W, 3 H) uint8: for each column of the picture its pixels from top to bottom, channels innermost.
    ``boxes`` (n, 4) int64. ``start``, ``stop`` (u, S) and ``weights`` (u, S, K): see :class:`~lgca_core.taps.Taps`;
    ``across`` and ``down`` (n,): which of them each box takes. ``out`` (n, 3, S, S) uint8 is filled at ``which``.
    """
    size, rows = out.shape[2], columns.shape[1] // 3
    total = np.empty(3 * rows, np.int32)
    middle = np.empty((size, 3 * rows), np.uint8)  # columns again: output column, then rows
    lines = np.empty((rows, 3 * size), np.uint8)  # and turned: row, then channels of output columns
    line = np.empty(3 * size, np.int32)
    for i in which:
        top, left = boxes[i, 0], boxes[i, 1]
        a, d = across[i], down[i]
        first = start[d, 0]
        needed = stop[d, size - 1] - first  # rows that the vertical pass reads
        seen = columns[:, 3 * (top + first) : 3 * (top + first + needed)]
        for x in range(size):
            _sums(total[: 3 * needed], seen, left + start[a, x], stop[a, x] - start[a, x], weights[a, x])
            _round(total[: 3 * needed], middle[x, : 3 * needed])
        for row in range(needed):
            for channel in range(3):
                for x in range(size):
                    lines[row, channel * size + x] = middle[x, 3 * row + channel]
        for y in range(size):
            _sums(line, lines, start[d, y] - first, stop[d, y] - start[d, y], weights[d, y])
            for channel in range(3):
                _round(line[channel * size : (channel + 1) * size], out[i, channel, y])
