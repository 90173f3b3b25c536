"""Labelled pictures on disk: a manifest of files, labels and hashes for each data set (floor 1).

A data set is a folder of class folders, or a name in :data:`DATASETS`. Adding one is adding an entry to that
table.
"""

import difflib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import platformdirs
import torch
from torch import Tensor

from lgca_core.errors import LgcaError
from lgca_core.results import Skipped

OnError = Literal["raise", "skip"]


@dataclass(frozen=True)
class Item:
    """One picture: where it lies, its class index, and the sha256 of its file."""

    path: Path
    label: int
    sha256: str

    @property
    def identity(self) -> str:
        """Keys the picture's boxes: the same picture gets the same boxes wherever it lies."""
        return self.sha256


@dataclass(frozen=True)
class Manifest:
    """The pictures of a data set, in a fixed order: by class, then by path.

    ``classes`` are the names in label order; ``skipped`` are files that could not be read, under
    ``on_error="skip"``.
    """

    name: str
    split: str
    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Hash of class names, relative paths, labels and file hashes; the place does not enter."""
        rows = [[self.key(item), item.label, item.sha256] for item in self.items]
        return hashlib.sha256(json.dumps([self.classes, rows], ensure_ascii=False).encode()).hexdigest()

    @property
    def labels(self) -> Tensor:
        """(n,) int64, in the order of ``items``."""
        return torch.tensor([item.label for item in self.items], dtype=torch.int64)

    def key(self, item: Item) -> str:
        """Path relative to the root, with forward slashes."""
        return item.path.relative_to(self.root).as_posix()


def folder(path: Path | str, *, name: str | None = None, split: str = "all", on_error: OnError = "raise") -> Manifest:
    """Pictures laid out class by class: ``path/<class name>/.../<picture>``.

    Classes and pictures are sorted by name; hidden files and folders are ignored, and so are files beside the
    class folders. Every other file in a class folder must be a picture. Files are hashed here and decoded
    only when used.

    Args:
        name: name of the data set; the folder's own by default.
        on_error: what to do about a file that cannot be read: ``raise``, or ``skip`` and list it in
            ``skipped``.

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
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(_hash, [file for _, file in found]))
    items, skipped = [], []
    for (label, file), (sha256, fault) in zip(found, hashes, strict=True):
        if not fault:
            items.append(Item(file, label, sha256))
        elif on_error == "skip":
            skipped.append(Skipped(path=file.relative_to(root).as_posix(), reason=fault))
        else:
            raise LgcaError(f"{file}: {fault}; remove it, or go on past such files with --on-error skip")
    if not items:
        raise LgcaError(f"{root} holds no picture that can be read: all {len(skipped)} files were skipped")
    classes = tuple(entry.name for entry in folders)
    return Manifest(name or root.resolve().name, split, root, classes, tuple(items), tuple(skipped))


def _files(folder: Path) -> list[Path]:
    files = []
    for place, below, names in os.walk(folder, onerror=_refuse):
        below[:] = [name for name in below if not name.startswith(".")]
        files += [Path(place) / name for name in names if not name.startswith(".")]
    return sorted(files)


def _refuse(error: OSError) -> None:
    raise error


def file_hash(path: Path | str) -> str:
    """sha256 of one file: the identity of a picture outside a data set; LgcaError if it cannot be read."""
    sha256, fault = _hash(Path(path))
    if fault:
        raise LgcaError(f"{path}: {fault}")
    return sha256


def _hash(file: Path) -> tuple[str, str]:
    """(sha256, "") or ("", what is wrong)."""
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
            return (digest.hexdigest(), "") if stream.tell() else ("", "the file is empty")
    except OSError as error:
        return "", f"the file cannot be read ({error.strerror})"


# ---- the table ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A data set by name: a line about it, how to get its manifest, and its own descriptions if any."""

    summary: str
    open: Callable[[], Manifest]
    descriptions: Callable[[], dict[str, list[str]]] | None = None


def home() -> Path:
    """Folder for data sets made or fetched on demand: ``$LGCA_HOME``, else the user's cache folder."""
    chosen = os.environ.get("LGCA_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("lgca")


def open_dataset(name_or_path: str | Path, *, on_error: OnError = "raise") -> Manifest:
    """The manifest of a data set of the table, or of a folder of class folders.

    Raises:
        LgcaError: neither a known name (near ones are suggested) nor a folder; see also :func:`folder`.
    """
    if isinstance(name_or_path, str) and name_or_path in DATASETS:
        return DATASETS[name_or_path].open()
    if Path(name_or_path).exists():
        return folder(name_or_path, on_error=on_error)
    close = difflib.get_close_matches(str(name_or_path), DATASETS, n=3)
    hint = f"did you mean {' or '.join(close)}" if close else f"known are {', '.join(DATASETS)}"
    raise LgcaError(f"{str(name_or_path)!r} is neither a data set nor a folder: {hint}")


def _open_aviary(name: str) -> Manifest:
    from lgca_core.aviary import splits

    root = home() / "datasets" / f"{name}-{splits.VERSION}"
    if not root.is_dir():
        _make(root, partial(splits.materialise, name))
    return folder(root, name=name, split="validation" if name.endswith("-validation") else "test")


def _describe_aviary(name: str) -> dict[str, list[str]]:
    from lgca_core.aviary import splits

    return splits.descriptions(name)


def _make(root: Path, fill: Callable[[Path], None]) -> None:
    """A folder filled by `fill`, all or nothing: filled beside its place, then renamed into it."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    except OSError as error:
        raise LgcaError(f"cannot write to {root.parent} ({error.strerror}): set LGCA_HOME to another folder") from error
    try:
        fill(draft)
        draft.chmod(0o755)
        try:
            draft.rename(root)
        except OSError:
            if not root.is_dir():  # else another process was first, with the same pictures
                raise
    except OSError as error:
        raise LgcaError(f"cannot make {root} ({error.strerror}): set LGCA_HOME to another folder") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


_AVIARY = {
    "aviary": "held-out species in painted scenes, made on demand",
    "aviary-validation": "other held-out species, for choices that a test set must not see",
    "aviary-small": "the same species, small in the picture",
    "aviary-large": "the same species, filling the picture",
    "aviary-clutter": "the same species, much in front and around",
    "aviary-clean": "the same species, nothing else in the scene",
    "aviary-night": "the same species, by night",
    "aviary-sketch": "the same species, drawn as sketches",
}

DATASETS: dict[str, Entry] = {
    name: Entry(summary, partial(_open_aviary, name), partial(_describe_aviary, name))
    for name, summary in _AVIARY.items()
}
"""Every data set that can be asked for by name."""
