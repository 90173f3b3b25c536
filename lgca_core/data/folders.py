"""Folders of pictures, one sub-folder a class, as a manifest; and the hashes of files, remembered between runs."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from lgca_core.data.manifest import Item, Manifest, OnError, Skipped
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
) -> Manifest:
    """Pictures laid out class by class: ``path/<class name>/.../<picture>``.

    Classes and pictures are sorted by name; hidden files and folders are ignored, and so are files beside the
    class folders. Every other file in a class folder must be a picture. Files are hashed here and decoded
    only when used.

    Args:
        name: name of the data set; the folder's own by default.
        on_error: what to do about a file that cannot be read: ``raise``, or ``skip`` and list it in
            ``skipped``.
        remember: keep the hashes in the user's cache, so that the next time only changed files are read.

    Raises:
        LgcaError: no such folder, no class folders, a class without pictures, a file that cannot be read.
    """
    root = Path(path)
    if not root.exists():
        raise LgcaError(f"{root} does not exist: give a folder that holds one folder of pictures a class")
    if not root.is_dir():
        raise LgcaError(f"{root} is a file: give a folder that holds one folder of pictures a class")
    try:
        visible = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
        folders = [entry for entry in visible if entry.is_dir()]
        if not visible:
            raise LgcaError(f"{root} is empty: it must hold one folder of pictures a class")
        if not folders:
            raise LgcaError(f"{root} holds no class folders, only files such as {visible[0].name}: give its parent")
        found = [(label, file) for label, entry in enumerate(folders) for file in _files(entry)]
    except OSError as error:
        raise LgcaError(f"{root} cannot be read: {error.strerror} ({error.filename})") from error
    filled = {label for label, _ in found}
    if empty := [entry.name for label, entry in enumerate(folders) if label not in filled]:
        raise LgcaError(f"the class folder {root / empty[0]} holds no pictures: fill or remove it")
    items, skipped = items_of(root, found, on_error, remember, "remove it")
    classes = tuple(entry.name for entry in folders)
    return Manifest(name or root.resolve().name, split, root, classes, items, skipped)


def items_of(
    root: Path, found: Sequence[tuple[int, Path]], on_error: OnError, remember: bool, mend: str
) -> tuple[tuple[Item, ...], tuple[Skipped, ...]]:
    """(label, file) below `root` -> items with their hashes, and the files that could not be read."""
    files = [file for _, file in found]
    hashes = _remembered(root, files) if remember else _hashes(files)
    items, skipped = [], []
    for (label, file), (sha256, fault) in zip(found, hashes, strict=True):
        if not fault:
            items.append(Item(file, label, sha256))
        elif on_error == "skip":
            skipped.append(Skipped(path=file.relative_to(root).as_posix(), reason=fault))
        else:
            raise LgcaError(f"{file}: {fault}; {mend}, or go on past such files with --on-error skip")
    if not items:
        raise LgcaError(f"{root} holds no picture that can be read: all {len(skipped)} files were skipped")
    return tuple(items), tuple(skipped)


def _files(folder: Path) -> list[Path]:
    files = []
    for place, below, names in os.walk(folder, onerror=_refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        files += [Path(place) / name for name in names if not name.startswith(".")]
    return sorted(files)


def _refuse(error: OSError) -> None:
    raise error


def file_hash(path: Path | str) -> str:
    """sha256 of a file: the identity of a picture outside a data set. Raises LgcaError if unreadable or empty."""
    sha256, fault = _hash(Path(path))
    if fault:
        raise LgcaError(f"{path}: {fault}")
    return sha256


def _hash(file: Path) -> tuple[str, str]:
    """(sha256, "") or ("", what is wrong)."""
    try:
        sha256 = hash_of(file)
    except OSError as error:
        return "", f"the file cannot be read ({error.strerror})"
    return ("", "the file is empty") if sha256 == _EMPTY else (sha256, "")


def _hashes(files: Sequence[Path]) -> list[tuple[str, str]]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_hash, files))


RECENT = 2.0
"""Seconds. A younger file may change again without another time of change, so its hash is not kept."""


def _remembered(root: Path, files: Sequence[Path]) -> list[tuple[str, str]]:
    """As :func:`_hashes`, but a file of the same size and time of change as when it was last hashed is not read."""
    kept_in = home() / "manifests" / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()}.json"
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
    """Path -> [size, mtime in ns, sha256]; empty where the file is absent or damaged, which costs only time."""
    try:
        rows = json.loads(kept_in.read_bytes())
        return {key: [size, time_ns, str(sha256)] for key, (size, time_ns, sha256) in rows.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write_rows(kept_in: Path, rows: dict[str, list[Any]]) -> None:
    """Write the rows, if possible: without them the next run only takes longer."""
    with suppress(OSError):
        write_whole(kept_in, json.dumps(rows).encode())
