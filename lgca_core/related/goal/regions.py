"""The regions of a picture among which a sentence finds its own: a fixed grid, true boxes, or those of a file."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lgca_core.boxes import draw_squares
from lgca_core.errors import LgcaError
from lgca_core.files import sha256_of
from lgca_core.related.captions.captioned import Box, CaptionedPicture, CaptionSet
from lgca_core.related.captions.listing import json_lines, json_of
from lgca_core.related.goal.pairs import finder, numbers, outwards

SQUARES = 0.1, 0.5
"""Least and greatest side of the grid's random squares, by the picture's shorter side: from GOAL's least area up to
the quadrants'. On the aviary, larger ones took sentences about the whole scene and fitted parts no better."""
SHARES = 0.01, 0.80
"""Least and greatest area of a file's region, by the picture's: GOAL's, as released."""
LISTS = "boxes", "annotations", "masks", "regions", "objects", "detections"
"""Keys under which a picture's entry may keep its regions."""


@dataclass(frozen=True)
class Regions:
    """Where the regions of every picture come from, see :func:`open_regions`.

    Attributes:
        kind: ``grid``, ``true``, or the file's name.
        sha256: of all that decides the regions besides the pictures.
        passed_over: how many boxes so far were ``empty`` once they were clipped to the picture, or of a ``size`` that
            is left out.
    """

    kind: str
    sha256: str
    _of: Callable[[CaptionedPicture, int, int], Iterator[tuple[Box, float | None]]]
    _sized: bool = False
    passed_over: Counter[str] = field(default_factory=Counter)

    def of(self, picture: CaptionedPicture, width: int, height: int) -> list[Box]:
        """Candidates of a picture of `width` x `height` pixels: the whole of it first, then its regions, each once."""
        found: dict[Box, None] = {(0, 0, width, height): None}
        for (x1, y1, x2, y2), area in self._of(picture, width, height):
            box = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
            if box[0] >= box[2] or box[1] >= box[3]:
                self.passed_over["empty"] += 1
                continue
            if area is None:
                area = (box[2] - box[0]) * (box[3] - box[1])
            if self._sized and not SHARES[0] <= area / (width * height) <= SHARES[1]:
                self.passed_over["size"] += 1
                continue
            found[box] = None
        return list(found)


def open_regions(source: str | Path, captions: CaptionSet, *, seed: int = 0, random: int = 8) -> Regions:
    """Regions of the pictures of a set.

    Args:
        source: ``grid``: the four quadrants, the centre region that their midpoints span, and `random` squares of 0.1
            to 0.5 of the shorter side, drawn by :func:`~lgca_core.boxes.draw_squares` from `seed` and the picture's
            content. GOAL takes the masks of a segmenter and its successor FAST-GOAL a detector's boxes besides the
            quadrants and the centre; the grid is ours and needs neither.

            ``true``: the boxes of the set's truths.

            A file, or a folder of them: COCO's JSON (images, annotations with ``bbox`` [x, y, width, height]); what
            SAM's mask generator gives (``bbox``, ``area``) or a detection pipeline of transformers (``box`` of xmin,
            ymin, xmax, ymax), as ``{"picture": [...]}``, a list or lines of ``{"image": "picture", "boxes": [...]}``,
            or SA-1B's file a picture; there, a box may also be a list [x1, y1, x2, y2]. A file that holds the regions
            of one picture is named like it. Of these, regions of 1 % to 80 % of the picture's area stay: by their
            ``area`` where it is given (the mask's), else by their box's.

    Right and bottom are exclusive; coordinates that are no whole numbers are rounded outwards.

    Raises:
        LgcaError: the set knows no true box; the file is missing, broken, holds a box that is none, or has regions of
            none of the pictures; a negative number of squares.
    """
    if random < 0:
        raise LgcaError(f"the number of random squares must not be negative, got {random}")
    if source == "grid":
        return Regions("grid", _digest("grid", *SQUARES, seed, random), _grid(seed, random))
    if source == "true":
        if not any(truth.box for picture in captions.pictures for truth in picture.truths):
            raise LgcaError(f"{captions.name} knows no true boxes: take --regions grid, or a file of boxes")
        return Regions("true", _digest("true"), _true)
    return _from_file(Path(source).expanduser(), captions)


def _digest(*what: Any) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _grid(seed: int, random: int) -> Callable[[CaptionedPicture, int, int], Iterator[tuple[Box, None]]]:
    def of(picture: CaptionedPicture, width: int, height: int) -> Iterator[tuple[Box, None]]:
        x, y = width // 2, height // 2
        for box in ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)):
            yield box, None
        yield (width // 4, height // 4, width - width // 4, height - height // 4), None
        if random:
            identity = sha256_of(picture.path)
            squares = draw_squares(height, width, random, *SQUARES, seed=seed, identity=identity)
            for top, left, high, wide in squares.tolist():
                yield (left, top, left + wide, top + high), None

    return of


def _true(picture: CaptionedPicture, width: int, height: int) -> Iterator[tuple[Box, None]]:
    for truth in picture.truths:
        if truth.box is not None:
            yield truth.box, None


def _from_file(source: Path, captions: CaptionSet) -> Regions:
    files = sorted(source.glob("*.json*")) if source.is_dir() else [source]
    if not source.exists():
        raise LgcaError(f"--regions is grid, true, or a file of boxes: there is no file {source}")
    find = finder(captions.pictures)
    boxes: dict[str, list[tuple[Box, float | None]]] = {}
    unknown = None
    for file in files:
        for name, entries in _entries(file):
            picture = find(name)
            if picture is None:
                unknown = unknown or name
                continue
            try:
                boxes.setdefault(picture.name, []).extend(map(_region, entries))
            except LgcaError as error:
                raise LgcaError(f"{file}, {name}: {error}") from error
    if not boxes:
        seen = f", but of {unknown}" if unknown else ""
        example = f", such as {captions.pictures[0].name}" if captions.pictures else ""
        raise LgcaError(f"{source} has regions of no picture of {captions.name}{example}{seen}")

    def of(picture: CaptionedPicture, width: int, height: int) -> Iterator[tuple[Box, float | None]]:
        yield from boxes.get(picture.name, ())

    return Regions(source.name, _digest("file", SHARES, *(sha256_of(file) for file in files)), of, True)


def _entries(file: Path) -> Iterator[tuple[str, list[Any]]]:
    """The name of each picture in a file and its regions, as they stand there."""
    try:
        contents = [json_of(file)]
    except LgcaError as error:
        if not isinstance(error.__cause__, json.JSONDecodeError):
            raise
        contents = _lines(file, error)
    for content in contents:
        if isinstance(content, dict) and isinstance(content.get("images"), list):
            yield from _coco(content, file)
        elif isinstance(content, dict) and "image" in content:
            yield _of_picture(content, file)
        elif isinstance(content, dict) and all(isinstance(regions, list) for regions in content.values()):
            yield from content.items()
        elif isinstance(content, list) and all(isinstance(one, dict) and "image" in one for one in content):
            yield from (_of_picture(one, file) for one in content)
        elif isinstance(content, list):
            yield file.stem, content
        else:
            raise LgcaError(f"{file} holds no regions in a form that is known, see lgca goal pairs --help")


def _lines(file: Path, refused: LgcaError) -> list[Any]:
    """JSON lines; raises what the file was `refused` with where not even its first line is JSON."""
    found: list[Any] = []
    for where, entry, fault in json_lines(file):
        if fault and not found:
            raise refused
        if fault:
            raise LgcaError(f"{where} is {fault}: mend it or make it anew")
        found.append(entry)
    return found


def _of_picture(entry: dict[str, Any], file: Path) -> tuple[str, list[Any]]:
    image = entry["image"]
    name = image.get("file_name") if isinstance(image, dict) else image
    regions = next((entry[key] for key in LISTS if isinstance(entry.get(key), list)), None)
    if not isinstance(name, str) or regions is None:
        raise LgcaError(f'{file} has an entry without the name of a picture or a list "boxes" or "annotations"')
    return name, regions


def _coco(content: dict[str, Any], file: Path) -> Iterator[tuple[str, list[Any]]]:
    try:
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        by_picture: dict[str, list[Any]] = {name: [] for name in names.values()}
        for annotation in content["annotations"]:
            by_picture[names[annotation["image_id"]]].append(annotation)
    except (KeyError, TypeError) as error:
        raise LgcaError(f"{file} is not COCO's JSON: it lacks {error} where an entry names its picture") from error
    yield from by_picture.items()


def _region(entry: Any) -> tuple[Box, float | None]:
    """A region as a box, and the area of its mask where that is known."""
    area: float | None = None
    if isinstance(entry, dict) and isinstance(entry.get("bbox"), list) and len(entry["bbox"]) == 4:
        x1, y1, wide, high = numbers(entry["bbox"])
        x2, y2 = x1 + wide, y1 + high
        if entry.get("area") is not None:
            [area] = numbers([entry["area"]])
    elif isinstance(entry, dict) and isinstance(box := entry.get("box"), dict) and len(box) == 4:
        x1, y1, x2, y2 = numbers(box.get(side) for side in ("xmin", "ymin", "xmax", "ymax"))
    elif isinstance(entry, list) and len(entry) == 4:
        x1, y1, x2, y2 = numbers(entry)
    else:
        raise LgcaError(f"{json.dumps(entry)[:60]} is no box")
    return outwards(x1, y1, x2, y2), area
