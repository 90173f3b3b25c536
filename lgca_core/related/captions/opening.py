"""Whatever holds captioned pictures, opened as a set: published sets, JSON lines of one's own, lists, the aviary."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from lgca_core.data.manifest import OnError, Skipped, printable
from lgca_core.errors import LgcaError
from lgca_core.pixels import open_picture
from lgca_core.prompts.names import nearest
from lgca_core.related.captions.aviary_captions import SCENES, Captions, aviary_captions
from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet
from lgca_core.related.captions.listing import (
    CANONICAL,
    CAPTIONS_FILE,
    Listed,
    Places,
    Rows,
    caption_set,
    folder_of,
    json_of,
    lines_of,
    of_split,
)
from lgca_core.related.captions.published_sets import PUBLISHED

WITHOUT = "without:"

_KNOWN = f"known are {', '.join(f'{name}:PATH' for name in PUBLISHED)}, aviary, a folder with {CAPTIONS_FILE}"


def open_captions(
    spec: str | Path, split: str | None = None, *, on_error: OnError = "raise", of_aviary: Captions = "long"
) -> CaptionSet:
    """The captioned pictures of one split. Files are looked for; no picture is decoded.

    Args:
        spec: ``NAME:/path/to/copy`` of a published set (:data:`~lgca_core.related.captions.published_sets.PUBLISHED`);
            a file of JSON lines, or a folder that holds a ``captions.jsonl``, a line
            ``{"image": "path below the file's folder", "caption": "text"}``, with ``"captions": ["text", ...]`` for
            several and optionally ``"split"``, where lines without one belong to every split; a JSON list of
            ``{"filename", "caption"}``, as the evaluation lists of GOAL as released, in a folder that holds the
            pictures, by any end of their paths; ``aviary``, whose split train has 4,000 scenes, or ``aviary:SCENES``;
            ``aviary-validation``, which is the validation split of ``aviary``.
        split: a name, or several joined by ``+``; val, valid and validation are one. Of a published set also
            ``LIST.json``, the pictures that such a list names, with its captions, or ``without:LIST.json``, all
            others. None or ``all``: every picture (of ``aviary``: test).
        on_error: what to do about a picture that is not there, is listed twice or leads out of the folder, and about a
            caption that is empty, no text, or longer than 200,000 characters: ``raise``, or ``skip`` and say so in
            ``skipped``. A picture that its data set gives no long caption is always skipped.
        of_aviary: which captions of the aviary, a long one or five short ones.

    Raises:
        LgcaError: nothing of these (near names are suggested); files that a copy must hold are not there, or are not of
            their form; a split that does not exist; nothing is left; and the first fault under ``raise``.
    """
    name, colon, path = ("", "", "") if isinstance(spec, Path) else spec.partition(":")
    name = name.casefold() if colon else name
    if name in PUBLISHED:
        if not path:
            raise LgcaError(f"{str(spec)!r} names no folder: write {name}:/path/to/copy")
        pictures, rows = PUBLISHED[name].open(Path(path).expanduser())
        return _published(name, pictures, rows, split, on_error)
    if name in ("aviary", "aviary-validation"):
        return _aviary(name, path if colon else None, split, of_aviary)
    place = Path(spec).expanduser()
    try:
        if place.is_dir():
            form = f'{CAPTIONS_FILE}, of lines {{"image": "path", "caption": "text"}}; or name the set: docci:PATH'
            place = folder_of(place, [[CAPTIONS_FILE]], "captioned pictures", form).find(CAPTIONS_FILE) or place
        if not place.is_file():
            hint = nearest(name or str(spec), [*PUBLISHED, "aviary", "aviary-validation"])
            raise LgcaError(f"{str(spec)!r} is neither there nor a set of captioned pictures{hint}: {_KNOWN}")
    except OSError as error:
        raise LgcaError(f"{place} cannot be read ({error.strerror})") from error
    title = printable(place.absolute().parent.name if place.name.casefold() == CAPTIONS_FILE else place.stem)
    pictures = Places(place.parent)
    if place.suffix.lower() == ".json":
        listed = [_sought(row, pictures) for row in _list(place)]
    else:
        listed = of_split(lines_of(place), split, title)
    return caption_set(title, split or "all", pictures, listed, on_error)


def readable(captions: CaptionSet, *, on_error: OnError = "raise") -> CaptionSet:
    """The set without pictures that cannot be decoded: every one is, as before a long training, and none is kept.

    Raises LgcaError for the first such picture, unless ``on_error="skip"``, which adds them to ``skipped``, or where
    no picture is left.
    """
    kept, faults = [], []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for picture, fault in zip(captions.pictures, threads.map(_fault, captions.pictures), strict=True):
            if fault is None:
                kept.append(picture)
            elif on_error == "raise":
                raise fault
            else:
                faults.append(Skipped(picture.name, str(fault)))
    if not kept:
        raise LgcaError(f"{captions.name} has no picture that can be read: {faults[0].reason}")
    return replace(captions, pictures=tuple(kept), skipped=(*captions.skipped, *faults))


def _fault(picture: CaptionedPicture) -> LgcaError | None:
    try:
        open_picture(picture.path)
    except LgcaError as error:
        return error
    return None


def _published(name: str, pictures: Places, rows: Rows, split: str | None, on_error: OnError) -> CaptionSet:
    title = PUBLISHED[name].title
    if split is None or not split.lower().endswith(".json"):
        return caption_set(name, split or "all", pictures, of_split(rows, split, title), on_error)
    file = Path(split.removeprefix(WITHOUT)).expanduser()
    listed = _list(file)
    if split.startswith(WITHOUT):
        named = {_base(row.image) for row in listed}
        kept = [row for _, row in rows if _base(row.image) not in named]
        return caption_set(name, f"{WITHOUT}{file.name}", pictures, kept, on_error)
    by_name = {_base(row.image): row.image for _, row in rows}
    found = [replace(row, image=by_name.get(_base(row.image), _base(row.image))) for row in listed]
    return caption_set(name, file.name, pictures, found, on_error)


def _list(file: Path) -> list[Listed]:
    """The rows of a JSON list of ``{"filename", "caption"}``."""
    found = json_of(file)
    if not isinstance(found, list) or not all(isinstance(one, dict) and "filename" in one for one in found):
        raise LgcaError(f'{file} is not of the form [{{"filename": "path", "caption": "text"}}, ...]: give such a list')
    return [
        Listed(f"{file}, entry {number}", one["filename"], [one["caption"]] if "caption" in one else [])
        for number, one in enumerate(found, 1)
    ]


def _base(image: Any) -> str:
    return PurePosixPath(str(image).replace("\\", "/")).name


def _sought(row: Listed, pictures: Places) -> Listed:
    """The row with the longest end of its path that is there: a list has the paths of another machine."""
    parts = PurePosixPath(str(row.image).replace("\\", "/")).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)) if not {"..", "/"} & set(parts[start:]))
    return replace(row, image=next((end for end in ends if pictures.find(end)), row.image))


def _aviary(name: str, scenes: str | None, split: str | None, captions: Captions) -> CaptionSet:
    if scenes is not None and not (scenes.isdecimal() and int(scenes)):
        raise LgcaError(f"{name}:{scenes} is no number of scenes: write aviary:{SCENES}, or aviary")
    split = CANONICAL.get(split or "test", split or "test")
    if name == "aviary-validation":
        if split not in ("test", "validation"):
            raise LgcaError(f"aviary-validation has no split {split!r}: train on aviary")
        split = "validation"
    return aviary_captions(split, scenes=int(scenes or SCENES), captions=captions)
