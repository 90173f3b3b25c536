"""Folders of pictures, one sub-folder a class, as a manifest; and the hashes of files, remembered between runs."""

import hashlib
import json
import os
import re
import stat
import time
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from lgca_core.data.debris import Passed, is_debris, is_picture, pictures_below
from lgca_core.data.manifest import Item, Manifest, OnError, Skipped, printable
from lgca_core.errors import LgcaError
from lgca_core.files import hash_of, home, write_whole

_EMPTY = hashlib.sha256(b"").hexdigest()


def folder(
    path: Path | str,
    *,
    name: str | None = None,
    split: str = "all",
    on_error: OnError = "raise",
    remember: bool = False,
    class_names: Mapping[str, str] | None = None,
) -> Manifest:
    """Pictures laid out class by class: ``path/<class name>/.../<picture>``.

    Classes and pictures are sorted by name. Links to folders are followed, each folder once a class. Hidden files,
    files that are no pictures (:mod:`~lgca_core.data.debris`), those beside the class folders, and class folders
    without pictures are passed over, which ``note`` of the manifest counts. Files are hashed here and decoded only
    when used.

    Args:
        name: name of the data set; the folder's own by default.
        on_error: what to do about a file that cannot be read: ``raise``, or ``skip`` and list it in
            ``skipped``.
        remember: keep the hashes in the user's cache, so that the next time only changed files are read.
        class_names: folder -> class name, for each folder. Folders of one name are one class.

    Raises:
        LgcaError: no such folder, fewer than two classes with pictures, a file that cannot be read, a folder without a
            name in `class_names` or the reverse.
    """
    root = Path(path)
    passed = Passed()
    try:
        if not root.exists():
            raise LgcaError(f"{root} does not exist: give a folder that holds one folder of pictures a class")
        if not root.is_dir():
            raise LgcaError(f"{root} is a file: give a folder that holds one folder of pictures a class")
        entries = sorted(root.iterdir())
        if not entries:
            raise LgcaError(f"{root} is empty: it must hold one folder of pictures a class")
        folders = class_folders(root)
        if not folders:
            raise LgcaError(f"{root} holds no class folders, only files such as {entries[0].name}: give its parent")
        for entry in set(entries) - set(folders):
            if is_debris(entry.name):
                passed.kinds["system"] += 1
            elif entry.is_file() and is_picture(entry):
                passed.kinds["loose"] += 1
        found = {entry: pictures_below(entry, passed, [root]) for entry in folders}
        if not any(found.values()):
            raise LgcaError(f"the class folder {folders[0]} holds no pictures: fill or remove it")
        passed.empty = [printable(entry.name) for entry, files in found.items() if not files]
        filled = [entry for entry in folders if found[entry]]
        if len(filled) == 1:
            raise LgcaError(_one_class(root, filled[0]))
    except OSError as error:
        raise LgcaError(f"{error.filename or root} cannot be read ({error.strerror})") from error
    rows = [(printable(entry.name), file) for entry in filled for file in found[entry]]
    return assembled(
        rows,
        root,
        name=name or printable(root.resolve().name),
        split=split,
        on_error=on_error,
        remember=remember,
        class_names=class_names,
        notes=[str(passed)],
    )


def class_folders(root: Path) -> list[Path]:
    """The folders in a folder that could be classes, sorted."""
    return sorted(entry for entry in root.iterdir() if not is_debris(entry.name) and entry.is_dir())


def assembled(
    rows: Sequence[tuple[str, Path]],
    root: Path,
    *,
    name: str,
    split: str = "all",
    on_error: OnError = "raise",
    remember: bool = False,
    class_names: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    mend: str = "remove it",
) -> Manifest:
    """(class id, file below `root`) -> manifest, by class in the order of the ids and then by path.

    Ids that `class_names` calls the same, or that differ only in whether their letters are composed, are one class.
    """
    ids = list(dict.fromkeys(class_id for class_id, _ in rows))
    if class_names is not None:
        known = {_composed(class_id): class_name for class_id, class_name in class_names.items()}
        if missing := [class_id for class_id in ids if _composed(class_id) not in known]:
            raise LgcaError(f"--class-names gives no name for {_listed(missing)} of {name}: add what is missing")
        if unknown := sorted(known.keys() - set(map(_composed, ids))):
            raise LgcaError(f"--class-names gives a name to {_listed(unknown)}, which {name} does not have: remove it")
        named = {class_id: known[_composed(class_id)] for class_id in ids}
    else:
        named = {class_id: class_id for class_id in ids}
    labels: dict[str, int] = {}
    label_of = {class_id: labels.setdefault(_composed(named[class_id]), len(labels)) for class_id in ids}
    first = {label: named[class_id] for class_id, label in reversed(label_of.items())}
    classes = tuple(first[label] for label in range(len(first)))
    if len(classes) < 2:
        raise LgcaError(f"{name} has only the class {classes[0]!r}: give pictures of two classes at least")
    notes = list(notes)
    if len(classes) < len(ids):
        shared = next(label for label in label_of.values() if list(label_of.values()).count(label) > 1)
        notes.append(f"{len(ids)} folders or labels are {len(classes)} classes: several are called {first[shared]!r}.")
    if class_names is None:
        notes.append(_odd_names(classes, root))
    found = sorted(((label_of[class_id], file) for class_id, file in rows), key=lambda row: (row[0], row[1]))
    items, skipped = items_of(root, found, on_error, remember, mend)
    return Manifest(name, split, root, classes, items, skipped, note=" ".join(filter(None, notes)))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


_PARTS = ("train", "training", "val", "valid", "validation", "test", "testing", "dev")


def _odd_names(classes: Sequence[str], root: Path) -> str:
    """A sentence about names that say nothing to a model; empty where they do."""
    if all(name.casefold() in _PARTS for name in classes):
        return (
            f"The classes are called {_listed(classes)}, which look like parts of a data set: give one of them, such "
            f"as {root / classes[-1]}, or other names by --class-names FILE."
        )
    odd = [name for name in classes if re.fullmatch(r"[a-z]?\d+|\d+[._ -].*", name, re.IGNORECASE | re.DOTALL)]
    if 2 * len(odd) < len(classes):
        return ""
    return (
        f"Names such as {odd[0]!r} look like ids or numbers, and sentences will say them as they are: give names by "
        "--class-names FILE (CSV or JSON: folder or label, class name)."
    )


def _one_class(root: Path, only: Path) -> str:
    """The sentence for a folder of one class, with the level that was probably meant."""
    said = f"{root} has only one class with pictures, {only.name!r}"
    for place in (only, root.resolve().parent):
        with suppress(OSError):
            if len([entry for entry in class_folders(place) if _shows_pictures(entry)]) >= 2:
                return f"{said}: give {place}, which holds several class folders, or add another class"
    return f"{said}: at least two classes are needed, each in a folder of its own"


def _shows_pictures(folder: Path) -> bool:
    return any(file.is_file() and is_picture(file) for file in folder.iterdir())


def items_of(
    root: Path, found: Sequence[tuple[int, Path]], on_error: OnError, remember: bool, mend: str
) -> tuple[tuple[Item, ...], tuple[Skipped, ...]]:
    """(label, file) below `root` -> items with their hashes, and the files that could not be read."""
    files = [file for _, file in found]
    keys = [printable(file) for file in files if "\\" in printable(file)]
    if len(set(keys)) < len(keys):
        raise LgcaError(f"{root} holds two files whose names differ in bytes alone and are both shown as {keys[0]}")
    hashes = remembered_hashes(root, files) if remember else _hashes(files)
    items, skipped = [], []
    for (label, file), (sha256, fault) in zip(found, hashes, strict=True):
        if not fault:
            items.append(Item(file, label, sha256))
        elif on_error == "skip":
            skipped.append(Skipped(path=printable(file.relative_to(root).as_posix()), reason=fault))
        else:
            raise LgcaError(f"{file}: {fault}; {mend}, or go on past such files with --on-error skip")
    if not items:
        raise LgcaError(f"{root} holds no picture that can be read: all {len(skipped)} files were skipped")
    return tuple(items), tuple(skipped)


def file_hash(path: Path | str) -> str:
    """sha256 of a file: the identity of a picture outside a data set. Raises LgcaError if unreadable or empty."""
    sha256, fault = _hash(Path(path))
    if fault:
        raise LgcaError(f"{path}: {fault}")
    return sha256


def _hash(file: Path) -> tuple[str, str]:
    """(sha256, "") or ("", what is wrong)."""
    try:
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return "", "it is not a regular file"  # a pipe would wait for a writer
        sha256 = hash_of(file)
    except OSError as error:
        return "", f"the file cannot be read ({error.strerror})"
    return ("", "the file is empty") if sha256 == _EMPTY else (sha256, "")


def _hashes(files: Sequence[Path]) -> list[tuple[str, str]]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_hash, files))


RECENT = 2.0
"""Seconds. A younger file may change again without another time of change, so its hash is not kept."""


def remembered_hashes(root: Path, files: Sequence[Path]) -> list[tuple[str, str]]:
    """(sha256, "") or ("", what is wrong) of files below a folder, kept in the user's cache.

    A file of the same size and time of change as when it was last hashed is not read.
    """
    kept_in = home() / "manifests" / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()}.json"
    rows = _read_rows(kept_in)
    known: dict[int, str] = {}
    stamps: dict[int, list[int]] = {}
    for number, file in enumerate(files):
        try:
            status = file.stat()
        except OSError:
            continue  # hashing it says what is wrong
        stamps[number] = [status.st_size, status.st_mtime_ns]
        row = rows.get(file.relative_to(root).as_posix())
        if row and row[:2] == stamps[number]:
            known[number] = row[2]
    before = time.time_ns() - int(RECENT * 1e9)
    unknown = [number for number in range(len(files)) if number not in known]
    fresh = dict(zip(unknown, _hashes([files[number] for number in unknown]), strict=True))
    to_keep = {
        files[number].relative_to(root).as_posix(): [*stamps[number], sha256]
        for number, (sha256, fault) in fresh.items()
        if not fault and number in stamps and stamps[number][1] < before
    }
    if to_keep:
        _write_rows(kept_in, rows | to_keep)
    return [(known[number], "") if number in known else fresh[number] for number in range(len(files))]


def _read_rows(kept_in: Path) -> dict[str, list[Any]]:
    """Path -> [size, mtime in ns, sha256]; empty where the file is absent or changed, which costs only time."""
    try:
        kept = json.loads(kept_in.read_bytes())
        return kept["rows"] if kept["sha256"] == _checksum(kept["rows"]) else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _write_rows(kept_in: Path, rows: dict[str, list[Any]]) -> None:
    """Write the rows, if possible: without them the next run only takes longer."""
    with suppress(OSError):
        write_whole(kept_in, json.dumps({"sha256": _checksum(rows), "rows": rows}).encode())


def _checksum(rows: dict[str, list[Any]]) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
