"""Local pairs: a region of a picture and the sentence of its caption that matches it; their files."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lgca_core.data.manifest import OnError, Skipped
from lgca_core.errors import LgcaError
from lgca_core.files import write_whole
from lgca_core.related.captions.captioned import Box, CaptionedPicture, CaptionSet
from lgca_core.related.captions.listing import json_of


@dataclass(frozen=True)
class Pair:
    """A region and a sentence: characters [start, end) of the picture's first caption; ``score`` by the scorer."""

    box: Box
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class PairedPicture:
    """A picture and its pairs, that of the highest score first."""

    picture: CaptionedPicture
    pairs: tuple[Pair, ...]


def write_pairs(file: Path | str, pictures: Sequence[PairedPicture]) -> None:
    """Write pairs as JSON, all or nothing; an earlier file is replaced.

    A list in the format of GOAL's released files, an entry a picture::

        {"original_filename", "original_caption",
         "segment": [{"filename", "caption", "similarity_score",
                      "bbox_coordinates": {"x1", "y1", "x2", "y2", "width", "height"}, "span": [start, end]}]}

    Coordinates are pixels of the original picture, right and bottom exclusive; width and height are the region's. Ours
    is ``span``, the sentence's characters [start, end) in the caption, and that ``filename`` only names the region: its
    pixels are cut from the original when they are needed.

    Raises LgcaError where the file cannot be written.
    """
    lines = [json.dumps(_entry(paired), ensure_ascii=False, allow_nan=False) for paired in pictures]
    try:
        write_whole(Path(file), ("[\n" + ",\n".join(lines) + "\n]\n").encode())
    except OSError as error:
        raise LgcaError(f"cannot write the pairs to {file} ({error.strerror}): choose another file") from error


def _entry(paired: PairedPicture) -> dict[str, Any]:
    picture = paired.picture
    name, caption = PurePosixPath(picture.name), picture.captions[0]
    segments = []
    for number, pair in enumerate(paired.pairs, 1):
        x1, y1, x2, y2 = pair.box
        segments.append(
            {
                "filename": str(name.with_name(f"{name.stem}_{number}{name.suffix}")),
                "caption": caption[pair.start : pair.end],
                "similarity_score": pair.score,
                "bbox_coordinates": {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "width": x2 - x1, "height": y2 - y1},
                "span": [pair.start, pair.end],
            }
        )
    return {"original_filename": picture.name, "original_caption": caption, "segment": segments}


def read_pairs(
    file: Path | str, captions: CaptionSet | Path, *, on_error: OnError = "raise"
) -> tuple[list[PairedPicture], tuple[Skipped, ...]]:
    """Pairs of a file that :func:`write_pairs` wrote, or of one of GOAL's released lists, and what was passed over.

    Args:
        captions: the set that has the pictures, found by name, else by the file's name without folders where only one
            picture is called so; or the folder of the pictures. A picture of the set that has a caption keeps it; for
            others the file's ``original_caption`` is taken.
        on_error: ``skip`` passes over what is wrong, pair by pair where only a pair is.

    A pair without a ``span`` has the place where its sentence first stands in the caption. Coordinates that are no
    whole numbers are rounded outwards. Pictures come in the file's order, those without a pair not at all; their pairs
    are put in order of their scores.

    Raises:
        LgcaError: the file is missing or broken; or, unless they are to be skipped, a picture is unknown or named
            twice, a sentence does not stand in its caption, a box is none, a score is no finite number.
    """
    file = Path(file)
    entries = json_of(file)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise LgcaError(f"{file} holds no pairs: it must be a list of objects, as lgca goal pairs writes it")
    find = finder(captions.pictures) if isinstance(captions, CaptionSet) else None
    found: list[PairedPicture] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        name = entry.get("original_filename")
        label = name if isinstance(name, str) and name else f"entry {number}"
        try:
            picture = _picture(entry, find, captions)
            if picture.name in seen:
                raise LgcaError(f"the picture {picture.name} has several entries: leave one")
            seen.add(picture.name)
            segments = entry.get("segment")
            if not isinstance(segments, list):
                raise LgcaError('it has no list "segment"')
        except LgcaError as error:
            _passed_over(skipped, on_error, file, label, error)
            continue
        pairs = []
        for segment in segments:
            try:
                pairs.append(_pair(segment, picture.captions[0]))
            except LgcaError as error:
                _passed_over(skipped, on_error, file, label, error)
        if pairs:
            found.append(PairedPicture(picture, tuple(sorted(pairs, key=lambda pair: -pair.score))))
    return found, tuple(skipped)


def digest_of_pairs(pictures: Iterable[PairedPicture]) -> str:
    """sha256 of the pictures' names, captions and pairs, in their order; not of their pixels."""
    digest = hashlib.sha256()
    for paired in pictures:
        pairs = [[*pair.box, pair.start, pair.end, pair.score] for pair in paired.pairs]
        digest.update(json.dumps([paired.picture.name, paired.picture.captions, pairs]).encode())
    return digest.hexdigest()


def check_inside(paired: PairedPicture, width: int, height: int) -> None:
    """Raises LgcaError, naming the first, where a box does not lie in the picture, whose size in pixels is given."""
    for pair in paired.pairs:
        x1, y1, x2, y2 = pair.box
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise LgcaError(
                f"{paired.picture.name}: the box (x1, y1, x2, y2) = {pair.box} does not lie in the picture of "
                f"{width} x {height} pixels: make its pairs anew, or skip it with --on-error skip"
            )


def finder(pictures: Iterable[CaptionedPicture]) -> Callable[[str], CaptionedPicture | None]:
    """A function that finds a picture by its name, else by its file's name, or that without suffix, if only one has it.

    Colons do not count, which some file systems cannot hold.
    """
    pictures = tuple(pictures)
    exact = {picture.name: picture for picture in pictures}
    loose: list[dict[str, CaptionedPicture]] = []
    for of in (_file_name, _stem):
        counted = Counter(of(picture.name) for picture in pictures)
        loose.append({of(picture.name): picture for picture in pictures if counted[of(picture.name)] == 1})
    return lambda name: exact.get(name) or loose[0].get(_file_name(name)) or loose[1].get(_stem(name))


def _file_name(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/").replace(":", "")).name


def _stem(name: str) -> str:
    return PurePosixPath(_file_name(name)).stem


def numbers(values: Iterable[Any]) -> Iterator[float]:
    """The values; LgcaError at one that is no finite number."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise LgcaError(f"{json.dumps(value)[:40]} is no finite number")
        yield value


def outwards(x1: float, y1: float, x2: float, y2: float) -> Box:
    """The least box of whole pixels that contains a box."""
    return math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)


def _passed_over(skipped: list[Skipped], on_error: OnError, file: Path, label: str, error: LgcaError) -> None:
    if on_error == "raise":
        raise LgcaError(f"{file}, {label}: {error}; --on-error skip goes on past such entries") from error
    skipped.append(Skipped(path=label, reason=str(error)))


def _picture(
    entry: dict[str, Any], find: Callable[[str], CaptionedPicture | None] | None, captions: CaptionSet | Path
) -> CaptionedPicture:
    name, caption = entry.get("original_filename"), entry.get("original_caption")
    if not isinstance(name, str) or not name:
        raise LgcaError('it has no "original_filename"')
    if isinstance(captions, Path):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise LgcaError("its picture lies outside of the folder of pictures")
        if not (captions / path).is_file():
            raise LgcaError(f"there is no picture {captions / path}")
        picture: CaptionedPicture | None = CaptionedPicture(name, captions / path, ())
    else:
        picture = find(name) if find else None
        if picture is None:
            raise LgcaError(f"{captions.name} ({captions.split}) has no such picture")
    assert picture is not None
    if picture.captions:
        return picture
    if not isinstance(caption, str) or not caption.strip():
        raise LgcaError('it has no "original_caption"')
    return replace(picture, captions=(caption,))


def _pair(segment: Any, caption: str) -> Pair:
    if not isinstance(segment, dict):
        raise LgcaError("a segment is no object")
    sentence, box, span = segment.get("caption"), segment.get("bbox_coordinates"), segment.get("span")
    if not isinstance(sentence, str) or not sentence.strip():
        raise LgcaError('a segment has no "caption"')
    said = sentence if len(sentence) <= 60 else f"{sentence[:57]}..."
    if span is None:
        start = caption.find(sentence)
        if start < 0:
            raise LgcaError(f"the sentence {said!r} is not in the caption")
        span = [start, start + len(sentence)]
    if (
        not isinstance(span, list)
        or [type(place) for place in span] != [int, int]
        or span[0] < 0
        or caption[span[0] : span[1]] != sentence
    ):
        raise LgcaError(f"the sentence {said!r} does not stand at {span} in the caption")
    if not isinstance(box, dict) or not {"x1", "y1", "x2", "y2"} <= box.keys():
        raise LgcaError(f'the segment {said!r} has no "bbox_coordinates" with x1, y1, x2 and y2')
    try:
        x1, y1, x2, y2 = outwards(*numbers(box[side] for side in ("x1", "y1", "x2", "y2")))
        [score] = numbers([segment.get("similarity_score")])
    except LgcaError as error:
        raise LgcaError(f"the segment {said!r}: {error}") from error
    if not (0 <= x1 < x2 and 0 <= y1 < y2):
        raise LgcaError(f"the segment {said!r}: (x1, y1, x2, y2) = {(x1, y1, x2, y2)} is no box in a picture")
    return Pair((x1, y1, x2, y2), span[0], span[1], float(score))
