"""From what an annotation lists to a set of captioned pictures: each row is checked, and named where at fault."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lgca_core.data.debris import is_debris
from lgca_core.data.manifest import OnError, Skipped
from lgca_core.errors import LgcaError, first_line
from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet, Truth

CAPTION_CHARACTERS = 200_000
"""A caption that is longer is taken for a mistake. 10,000 tokens of CLIP are some 50,000 characters."""


CAPTIONS_FILE = "captions.jsonl"
"""What a folder of captioned pictures of one's own holds."""


@dataclass(frozen=True)
class Listed:
    """A picture as an annotation lists it, unchecked.

    Attributes:
        where: the file, and the line where it has lines, for messages.
        image: path relative to the folder of the pictures.
        captions: a list of texts.
        truths: None, or a list of ``{"start", "end", "about", "box"}`` about the first caption.
        fault: what is wrong already, so that the rest cannot be looked at.
        lacks: why the data set itself means the picture to be left out; it is skipped whatever is asked for.
    """

    where: str
    image: Any = None
    captions: Any = ()
    truths: Any = None
    fault: str = ""
    lacks: str = ""


Rows = Iterable[tuple[str | None, Listed]]
"""(split, None where there is none; picture) in the order of the annotation."""


class Places:
    """Files and folders below a folder, found whatever the case of their names; each folder is listed once at most."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, dict[str, str]] = {}

    def find(self, path: str) -> Path | None:
        """The file or folder at a relative path with forward slashes; None where there is none, or it leads out."""
        if os.path.isabs(path) or ".." in PurePosixPath(path).parts:
            return None
        if os.path.lexists(exact := self.root / path):
            return exact
        place = self.root
        for part in PurePosixPath(path).parts:
            if (name := self._below(place).get(part.casefold())) is None:
                return None
            place = place / name
        return place

    def first(self, paths: Iterable[str]) -> Path | None:
        """What the first of several paths finds that finds anything."""
        return next((found for path in paths if (found := self.find(path))), None)

    def _below(self, folder: Path) -> dict[str, str]:
        if folder not in self._names:
            try:
                names = sorted(os.listdir(folder), reverse=True)
            except NotADirectoryError:
                names = []
            except OSError as error:
                raise LgcaError(f"{folder} cannot be read ({error.strerror})") from error
            self._names[folder] = {name.casefold(): name for name in names}
        return self._names[folder]


def folder_of(path: Path, wanted: Iterable[Iterable[str]], what: str, layout: str) -> Places:
    """The folder that holds one of each of the names `wanted`: `path`, or the one folder in it that does.

    Raises LgcaError where there is none, or several.
    """
    wanted = list(map(tuple, wanted))
    try:
        if not path.is_dir():
            said = "is a file" if path.exists() else "does not exist"
            raise LgcaError(f"{path} {said}: give the folder of {what}, with {layout}")
        below = sorted(entry for entry in path.iterdir() if not is_debris(entry.name) and entry.is_dir())
    except OSError as error:
        raise LgcaError(f"{path} cannot be read ({error.strerror})") from error
    for candidates in ([path], below):
        if holding := [place for place in map(Places, candidates) if all(map(place.first, wanted))]:
            if len(holding) > 1:
                names = " and ".join(place.root.name for place in holding[:2])
                raise LgcaError(f"{path} holds several folders that could be {what}, {names}: name one of them")
            return holding[0]
    raise LgcaError(f"{path} holds no {what}: there must be {layout}")


def caption_set(
    name: str, split: str, pictures: Places, listed: Iterable[Listed], on_error: OnError = "raise"
) -> CaptionSet:
    """The listed pictures that stand up to every check, in their order. No picture is decoded.

    A picture's file must be there, below the folder `pictures`, and be listed once; each caption must be text, and
    neither empty nor longer than ``CAPTION_CHARACTERS``; truths must lie in the first caption.

    Raises:
        LgcaError: the first fault, unless ``on_error="skip"``, which lists faults in ``skipped``; nothing is left.
    """
    made: dict[Path, CaptionedPicture] = {}
    skipped: list[Skipped] = []
    first = ""
    for row in listed:
        image = row.image if isinstance(row.image, str) else ""
        if row.lacks:
            skipped.append(Skipped(image or row.where, row.lacks))
            continue
        try:
            picture = _checked(row, pictures)
            if picture.path in made:
                raise _Fault("is listed twice: give a picture's captions in one place")
            made[picture.path] = picture
        except _Fault as fault:
            said = f"{row.where}: {f'the picture {image!r} ' if image and not row.fault else ''}{fault}"
            if on_error == "raise":
                raise LgcaError(f"{said}; mend it, or go on past such pictures with --on-error skip") from None
            first = first or said
            skipped.append(Skipped(image or row.where, str(fault)))
    if not made:
        raise LgcaError(f"{name} has no picture that can be used: {first or 'none is listed'}")
    return CaptionSet(name, split, tuple(made.values()), tuple(skipped))


class _Fault(Exception):
    """What is wrong with one row."""


def _checked(row: Listed, pictures: Places) -> CaptionedPicture:
    if row.fault:
        raise _Fault(row.fault)
    if not isinstance(row.image, str) or not row.image or not _is_unicode(row.image):
        raise _Fault("no picture is named, as text")
    if not isinstance(row.captions, list | tuple) or not row.captions:
        raise _Fault("has no caption")
    for caption in row.captions:
        if not isinstance(caption, str):
            raise _Fault(f"has a caption that is no text but {json.dumps(caption)[:40]}")
        if not caption.strip():
            raise _Fault("has an empty caption")
        if len(caption) > CAPTION_CHARACTERS:
            raise _Fault(f"has a caption of {len(caption):,} characters, more than {CAPTION_CHARACTERS:,}")
        if not _is_unicode(caption):
            raise _Fault("has a caption that is not valid Unicode")
    path = row.image.replace("\\", "/")
    if os.path.isabs(path) and Path(path).is_relative_to(pictures.root.absolute()):
        path = Path(path).relative_to(pictures.root.absolute()).as_posix()
    if os.path.isabs(path) or ".." in PurePosixPath(path).parts:
        raise _Fault(f"leads out of the folder {pictures.root}")
    found = pictures.find(path)
    if found is None or not found.is_file():
        raise _Fault(f"is {'a folder' if found and found.is_dir() else 'not there'}, looked for in {pictures.root}")
    return CaptionedPicture(PurePosixPath(path).as_posix(), found, tuple(row.captions), _truths(row))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _truths(row: Listed) -> tuple[Truth, ...]:
    try:
        truths = tuple(
            Truth(int(one["start"]), int(one["end"]), str(one["about"]), None if one["box"] is None else (*one["box"],))
            for one in row.truths or ()
        )
        for truth in truths:
            if not 0 <= truth.start < truth.end <= len(row.captions[0]):
                raise _Fault(f"has a truth about characters {truth.start} to {truth.end}, outside its first caption")
            if truth.box is not None:
                x1, y1, x2, y2 = truth.box
                if not (all(type(side) is int for side in truth.box) and 0 <= x1 < x2 and 0 <= y1 < y2):
                    raise ValueError
    except (KeyError, TypeError, ValueError):
        form = '{"start": 0, "end": 9, "about": "wing", "box": [x1, y1, x2, y2]}'
        raise _Fault(f"has truths that are no list of {form}") from None
    return truths


def json_of(file: Path) -> Any:
    """What a JSON file holds. Raises LgcaError where it cannot be read or is no JSON."""
    try:
        return json.loads(text_of(file))
    except (ValueError, RecursionError) as error:
        raise LgcaError(f"{file} is not JSON ({error}): copy or unpack it again") from error


def text_of(file: Path) -> str:
    """The text of a file. Raises LgcaError where it cannot be read or is no UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LgcaError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LgcaError(f"{file} is not UTF-8 text: save it as UTF-8") from error


def json_lines(file: Path) -> Iterable[tuple[str, dict[str, Any] | None, str]]:
    """(where, object, fault) of each line that is not blank; the object is None where a line is no JSON object."""
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                where = f"{file}, line {number}"
                try:
                    found = json.loads(line)
                except json.JSONDecodeError as error:
                    yield where, None, f"not JSON ({error.msg} at character {error.pos + 1})"
                    continue
                except (ValueError, RecursionError) as error:  # a number of too many digits, lists within lists
                    yield where, None, f"not JSON ({first_line(error)})"
                    continue
                yield (where, found, "") if isinstance(found, dict) else (where, None, "no JSON object")
    except OSError as error:
        raise LgcaError(f"{file} cannot be read ({error.strerror})") from error


def lines_of(file: Path) -> Rows:
    """The rows of a file of JSON lines, as :func:`~lgca_core.related.captions.opening.open_captions` describes them."""
    for where, line, fault in json_lines(file):
        if line is None:
            yield None, Listed(where, fault=fault)
            continue
        split = line.get("split")
        captions = line["captions"] if "captions" in line else [line["caption"]] if "caption" in line else []
        yield (
            None if split is None else str(split),
            Listed(where, line.get("image"), captions, line.get("truths")),
        )


CANONICAL = {alias: "validation" for alias in ("val", "valid", "dev")}
"""Names that data sets give to one split."""


def of_split(rows: Rows, split: str | None, title: str) -> list[Listed]:
    """The rows of a split, or of several joined by ``+``; those of no split belong to each. None: every row.

    Raises LgcaError for a split that no row is of, where rows have any.
    """
    from lgca_core.prompts.names import nearest

    rows = list(rows)
    if split in (None, "all"):
        return [row for _, row in rows]
    asked = {CANONICAL.get(one, one) for one in split.casefold().split("+")}
    there = dict.fromkeys(of for of, _ in rows if of is not None)
    known = {CANONICAL.get(of.casefold(), of.casefold()) for of in there}
    if there and (unknown := sorted(asked - known)):
        raise LgcaError(f"{title} has no split {unknown[0]!r}{nearest(unknown[0], there)}: it has {', '.join(there)}")
    return [row for of, row in rows if of is None or CANONICAL.get(of.casefold(), of.casefold()) in asked]
