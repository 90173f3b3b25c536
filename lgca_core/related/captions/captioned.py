"""A picture with its captions, and a set of such pictures."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from lgca_core.data.manifest import Skipped

Box = tuple[int, int, int, int]
"""A region of a picture: (x1, y1, x2, y2) in pixels of the original, right and bottom exclusive."""


@dataclass(frozen=True)
class Truth:
    """What a part of a caption truly speaks of, where a world knows it.

    Characters [start, end) of the first caption; ``box`` is None where it speaks of no region (the habitat).
    """

    start: int
    end: int
    about: str
    box: Box | None


@dataclass(frozen=True)
class CaptionedPicture:
    """One picture: its name in the set, its file, its captions (one or more), and truths about the first of them."""

    name: str
    path: Path
    captions: tuple[str, ...]
    truths: tuple[Truth, ...] = ()


@dataclass(frozen=True)
class CaptionSet:
    """Pictures of one split, in a fixed order; ``skipped`` names those that could not be used, and why."""

    name: str
    split: str
    pictures: tuple[CaptionedPicture, ...]
    skipped: tuple[Skipped, ...] = ()

    def sha256(self, hashes: Sequence[str] = ()) -> str:
        """Hash of names, captions and truths, in their order; and of ``hashes`` of the pictures' files, where given.

        Neither the set's own name nor the place of the files enters.
        """
        rows = [
            [one.name, one.captions, [astuple(truth) for truth in one.truths], of_file]
            for one, of_file in zip(self.pictures, hashes or [""] * len(self.pictures), strict=True)
        ]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
