"""Lists that people keep of their pictures: of a path and a label a line, and of what classes are called."""

import csv
import io
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lgca_core.data.folders import assembled
from lgca_core.data.manifest import Manifest, OnError, Skipped, printable
from lgca_core.errors import LgcaError

PATH_HEADINGS = (
    "path",
    "filepath",
    "file_path",
    "filename",
    "file_name",
    "file",
    "image",
    "image_path",
    "img",
    "picture",
)
LABEL_HEADINGS = ("label", "class", "class_name", "classname", "class_label", "category", "target", "species", "cls")
_ID_HEADINGS = ("id", "folder", "class_id", "wnid", "synset", "number", "index", *LABEL_HEADINGS)
_NAME_HEADINGS = ("name", *LABEL_HEADINGS)


def labelled(
    file: Path,
    base: Path | None = None,
    *,
    name: str | None = None,
    on_error: OnError = "raise",
    remember: bool = False,
    class_names: Mapping[str, str] | None = None,
) -> Manifest:
    """The pictures that a CSV or TSV file lists, a path and a label a line, with or without headings.

    Args:
        base: what the paths are relative to; the file's own folder by default.
        name, on_error, remember, class_names: as of :func:`~lgca_core.data.folders.folder`. With ``skip``, files that
            are not there are listed in ``skipped``.

    Raises:
        LgcaError: the file cannot be read or has no such columns; a line without path or label; a picture with two
            labels; files that are not there; fewer than two classes.
    """
    base = Path(os.path.abspath(file.parent if base is None else base))
    rows: dict[Path, str] = {}
    missing: dict[Path, None] = {}
    again = 0
    for number, path, label in _rows(file):
        if not path or not label:
            raise LgcaError(
                f"{file}, line {number} has no {'label' if path else 'path'}: fill it in or remove the line"
            )
        found, there = _found(base, path)
        if (known := rows.get(found, label)) != label:
            raise LgcaError(
                f"{file}, line {number} gives {path!r} the label {label!r}, another line {known!r}: one label a picture"
            )
        again += found in rows
        rows[found] = label
        if not there:
            missing[found] = None
    if not rows:
        raise LgcaError(f"{file} lists no picture: it must have a path and a label a line")
    if missing and (on_error == "raise" or len(missing) == len(rows)):
        raise LgcaError(
            f"{file} lists {len(rows):,} pictures, {len(missing):,} of them not there, such as {next(iter(missing))}: "
            "say what the paths are relative to by --images FOLDER, or go on past them with --on-error skip"
        )
    root = base if all(found.is_relative_to(base) for found in rows) else Path(os.path.commonpath(rows))
    kept = by_class_id((label, found) for found, label in rows.items() if found not in missing)
    made = assembled(
        kept,
        root,
        name=name or printable(file.stem),
        on_error=on_error,
        remember=remember,
        class_names=class_names,
        notes=[f"{again:,} lines of {file.name} say again what others say." if again else ""],
        mend=f"remove it from {file}",
    )
    gone = [Skipped(printable(found.relative_to(root).as_posix()), "no such file") for found in missing]
    return replace(made, skipped=(*gone, *made.skipped))


def by_class_id(rows: Iterable[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """(class id, file) in the order of the ids: of numbers as numbers, of others as text."""
    rows = list(rows)
    numbers = all(class_id.isdecimal() for class_id, _ in rows)
    return sorted(rows, key=lambda row: (int(row[0]) if numbers else 0, row[0], row[1]))


def read_class_names(file: Path) -> dict[str, str]:
    """Folder or label -> class name, from two columns of a CSV or TSV file, or from JSON.

    JSON is an object, or a list of the names of the classes 0, 1, ... Raises LgcaError for anything else, an id that
    occurs twice, or an empty name.
    """
    if file.suffix.lower() == ".json":
        pairs = _json_pairs(file)
    else:
        table = _table(file)
        if wrong := next((number for number, row in table if len(row) != 2), None):
            raise LgcaError(f"{file}, line {wrong} must have two columns: folder or label, and class name")
        if table and _heads(table[0][1][0], _ID_HEADINGS) and _heads(table[0][1][1], _NAME_HEADINGS):
            table = table[1:]
        pairs = [(row[0], row[1]) for _, row in table]
    if not pairs:
        raise LgcaError(f"{file} gives no class a name: it must have lines of folder or label, and class name")
    for key, name in pairs:
        if not name.strip():
            raise LgcaError(f"{file} gives {key!r} no name: fill it in")
    counts = Counter(key for key, _ in pairs)
    if twice := [key for key, count in counts.items() if count > 1]:
        raise LgcaError(f"{file} gives {twice[0]!r} a name twice: keep one")
    return {key: name.strip() for key, name in pairs}


def _json_pairs(file: Path) -> list[tuple[str, str]]:
    try:
        found = json.loads(_text(file), object_pairs_hook=lambda pairs: pairs)
    except (ValueError, RecursionError) as error:
        raise LgcaError(f"{file} is not JSON ({error}): it must have the form {_FORM}") from error
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        found = [(str(number), name) for number, name in enumerate(found)]
    if not isinstance(found, list) or not all(
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], str) for pair in found
    ):
        raise LgcaError(f"{file} must have the form {_FORM}")
    return found


_FORM = '{"folder or label": "class name", ...}'


def _rows(file: Path) -> list[tuple[int, str, str]]:
    """(number of the line, path, label) of a file of labels."""
    table = _table(file)
    if not table:
        return []
    head = [cell.strip().casefold() for cell in table[0][1]]
    paths = [head.index(heading) for heading in PATH_HEADINGS if heading in head]
    labels = [head.index(heading) for heading in LABEL_HEADINGS if heading in head]
    width = len(head)
    if paths and labels:
        at, of, table = paths[0], labels[0], table[1:]
    elif width == 2 and Path(head[0]).suffix:
        at, of = 0, 1
    else:
        raise LgcaError(
            f"{file}: its first line, {','.join(table[0][1])!r}, is neither a path and a label nor headings for them: "
            f"name the columns path and label (or {', '.join(PATH_HEADINGS[3:7])}; {', '.join(LABEL_HEADINGS[1:3])})"
        )
    if wrong := next((number for number, row in table if len(row) != width), None):
        raise LgcaError(f"{file}, line {wrong} has another number of columns than the first: put quotes around commas")
    return [(number, row[at].strip(), unicodedata.normalize("NFC", row[of].strip())) for number, row in table]


def _table(file: Path) -> list[tuple[int, list[str]]]:
    """(number of the line, cells) of each line that is not empty; tabs, commas or semicolons stand between cells."""
    text = _text(file)
    first = text.lstrip().partition("\n")[0]
    between = next((sign for sign in "\t,;" if sign in first), ",")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise LgcaError(f"{file} cannot be read as a table ({error}): save it as CSV again") from error


def _text(file: Path) -> str:
    try:
        if not file.is_file():
            raise LgcaError(f"{file} is {'not a file' if file.exists() else 'not there'}: give a CSV, TSV or JSON file")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LgcaError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LgcaError(f"{file} is not UTF-8 text: save it as UTF-8") from error


def _heads(cell: str, headings: tuple[str, ...]) -> bool:
    return cell.strip().casefold() in headings


def _found(base: Path, path: str) -> tuple[Path, bool]:
    """A file as it is listed, and whether it is there.

    Windows' separators, letters composed otherwise, and paths that begin with the folder's own name are tried too.
    """
    spellings = [path, path.replace("\\", "/")]
    spellings += [unicodedata.normalize(form, spelling) for spelling in spellings for form in ("NFC", "NFD")]
    bases = [base] + [base.parent] * (Path(spellings[1]).parts[:1] == (base.name,))
    places = [Path(os.path.abspath(near / spelling)) for near in bases for spelling in dict.fromkeys(spellings)]
    return next(((place, True) for place in places if os.path.lexists(place)), (places[0], False))
