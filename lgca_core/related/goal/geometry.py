"""From a region to the patches that it touches, and from a sentence to its tokens.

Regions are in pixels of the original picture; the encoder sees the picture resized and cropped. Sentences are
characters of a caption; the encoder sees numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lgca_core.errors import LgcaError
from lgca_core.pixels.pillow_weights import Resize, centre
from lgca_core.related.captions.captioned import Box
from lgca_core.seeding import generator

BoxRule = Literal["right", "random", "region-size", "squashed", "stride-16"]
"""Which patches stand for a region; all but ``right`` are arms.

``right``: every patch that the box touches in what the encoder sees. ``random``: those of a box of the same sides
somewhere in the picture. The others are what GOAL's released code does wrong, one at a time: ``region-size`` divides
by the region's sides where the picture's are meant, ``squashed`` takes the whole picture for what the encoder sees
though it sees the middle, ``stride-16`` takes every patch for 16 pixels wide.
"""
SpanRule = Literal["right", "late", "overflow"]
"""Which tokens stand for a sentence; all but ``right`` are arms of what GOAL's released code does wrong.

``late``: one token later, so that the first is lost and the one after the last taken. ``overflow``: of a sentence
beyond the text window as many tokens from the window's end, where ``right`` leaves the pair out of this term.
"""


@dataclass(frozen=True)
class PatchGrid:
    """How an encoder sees a whole picture: resized and cropped to ``size`` pixels a side, in patches of ``patch``."""

    size: int
    patch: int
    resize: Resize

    @property
    def side(self) -> int:
        """Patches a side; what is left of the picture beyond the last whole patch is not seen."""
        return self.size // self.patch

    def touched(self, box: Box, width: int, height: int) -> Tensor:
        """The patches that a box of a ``width`` x ``height`` picture touches: (side * side,) bool, row by row.

        All are False where the box lies outside what the encoder sees. In whole numbers throughout, so exact.
        """
        new_height, new_width = (
            int(of[0]) for of in self.resize.sides(np.array([height]), np.array([width]), self.size)
        )
        columns = self._along(box[0], box[2], width, new_width)
        rows = self._along(box[1], box[3], height, new_height)
        return self._filled(rows, columns)

    def by_rule(self, rule: BoxRule, box: Box, width: int, height: int, *, seed: int = 0, key: str = "") -> Tensor:
        """:meth:`touched`, or what an arm takes instead; ``random`` is keyed by ``seed`` and ``key``."""
        if rule == "right":
            return self.touched(box, width, height)
        wide, high = box[2] - box[0], box[3] - box[1]
        if rule == "random":
            x, y = generator(seed, "random box", key).integers([width - wide + 1, height - high + 1]).tolist()
            return self.touched((x, y, x + wide, y + high), width, height)
        if rule == "stride-16":
            return self._of_stride(16, box, width, height)
        sides = (wide, high) if rule == "region-size" else (width, height)
        columns, rows = (
            self._span(low * self.size, up * self.size, whole)
            for low, up, whole in zip(box[:2], box[2:], sides, strict=True)
        )
        return self._filled(rows, columns)

    def _along(self, low: int, high: int, whole: int, new: int) -> range:
        """The patches that [low, high) of a side of ``whole`` pixels touches, which is resized to ``new``."""
        cut = centre(new, self.size) * whole  # everything times `whole`
        return self._span(low * new - cut, high * new - cut, whole)

    def _span(self, low: int, high: int, times: int) -> range:
        """The patches that [low, high) touches, in pixels of the encoder's input times ``times``."""
        end = self.side * self.patch * times
        low, high = min(max(low, 0), end), min(max(high, 0), end)
        one = self.patch * times
        return range(low // one, -(-high // one)) if low < high else range(0)

    def _filled(self, rows: range, columns: range) -> Tensor:
        touched = torch.zeros(self.side, self.side, dtype=torch.bool)
        touched[rows.start : rows.stop, columns.start : columns.stop] = True
        return touched.flatten()

    def _of_stride(self, patch: int, box: Box, width: int, height: int) -> Tensor:
        """The numbers of patches of another width, taken for those of this grid."""
        wrong = PatchGrid(self.size, patch, self.resize).touched(box, width, height).nonzero()[:, 0]
        touched = torch.zeros(self.side**2, dtype=torch.bool)
        touched[wrong[wrong < self.side**2]] = True
        return touched


@dataclass(frozen=True)
class Tokens:
    """A caption as the text tower reads it, and how many of its tokens did not fit."""

    ids: list[int]  # with the first and the end token
    cut: int

    @property
    def window(self) -> int:
        """One past the last token of the caption itself: where the end token stands."""
        return len(self.ids) - 1


class CaptionReader:
    """Captions to tokens of CLIP's own tokenizer, cut to ``context`` with the end token last."""

    def __init__(self, tokenizer: Any, context: int) -> None:
        if not all(hasattr(tokenizer, name) for name in ("encode", "sot_token_id", "eot_token_id")):
            raise LgcaError("GOAL needs a model that reads text by CLIP's own tokenizer: choose another --encoder")
        self.tokenizer, self.context = tokenizer, context

    def read(self, text: str) -> Tokens:
        """Tokens of a text, at most ``context`` with the first and the end token."""
        ids = self.tokenizer.encode(text)
        kept = ids[: self.context - 2]
        return Tokens([self.tokenizer.sot_token_id, *kept, self.tokenizer.eot_token_id], len(ids) - len(kept))

    def span(self, caption: str, start: int, end: int, rule: SpanRule = "right") -> tuple[int, int] | None:
        """First and past-last token of characters [start, end) of a caption, without its full stop.

        Counted with the caption's first token as 0. None where the sentence is not wholly within the window, or where
        the tokenizer joins it with its neighbours, so that no tokens are its alone.
        """
        whole = self.tokenizer.encode(caption)
        stop = start + len(caption[start:end].rstrip().rstrip("."))
        before, through = (self.tokenizer.encode(caption[:at]) for at in (start, stop))
        if whole[: len(before)] != before or whole[: len(through)] != through or len(before) == len(through):
            return None
        first, last = len(before) + 1, len(through) + 1  # the caption's first token is the model's own
        if rule == "late":
            first, last = first + 1, last + 1
        window = min(len(whole), self.context - 2) + 1 + (rule == "late")  # the end token is within reach of that arm
        if last <= window:
            return first, last
        if rule == "overflow":
            return max(1, window - (last - first)), window
        return None


def padded(rows: Sequence[list[int]], length: int | None = None) -> Tensor:
    """Tokens of several texts: (n, L) int64, zeros after the end token, L the longest unless ``length`` says more."""
    out = torch.zeros(len(rows), length or max(map(len, rows)), dtype=torch.int64)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return out
