"""Labelled pictures on disk: a manifest of files, labels and hashes for each data set (floor 1).

A data set is a folder of class folders, or a name in :data:`DATASETS`. Adding one is adding an entry to that
table; the published ones are described in :mod:`lgca_core.catalogue`.
"""

import difflib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import platformdirs

from lgca_core.catalogue import SOURCES, Copy, Source, compare
from lgca_core.errors import LgcaError
from lgca_core.fetch import (
    Progress,
    check_space,
    download,
    make_folder,
    remaining,
    remove_drafts,
    unpack,
    verify,
)
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
        """What keys the picture's boxes; the same picture gets the same boxes wherever it lies."""
        return self.sha256


@dataclass(frozen=True)
class Manifest:
    """The pictures of a data set, in a fixed order: by class, then by path.

    ``classes`` are the names in label order, and ``class_ids`` what a published data set itself calls them;
    ``skipped`` are files that could not be read, under ``on_error="skip"``; ``note`` is a sentence that a reader of
    results must see, such as that a copy is not the whole data set.
    """

    name: str
    split: str
    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...] = ()
    class_ids: tuple[str, ...] = ()
    note: str = ""

    @cached_property
    def sha256(self) -> str:
        """Hash of class names, relative paths, labels and file hashes; the place does not enter."""
        rows = [[self.key(item), item.label, item.sha256] for item in self.items]
        return hashlib.sha256(json.dumps([self.classes, rows], ensure_ascii=False).encode()).hexdigest()

    def key(self, item: Item) -> str:
        """Path relative to the root, with forward slashes."""
        return item.path.relative_to(self.root).as_posix()


def searched(manifest: Manifest, every: int, of_class: str | None = None) -> tuple[Item, ...]:
    """Every `every`-th picture of a data set, or of one of its classes, from the first on.

    Raises:
        LgcaError: it has no such class, or `every` is less than 1.
    """
    if every < 1:
        raise LgcaError(f"pictures are taken one in so many: 1 for all of them, 2 for half, not {every}")
    if of_class is None:
        return manifest.items[::every]
    if of_class not in manifest.classes:
        raise LgcaError(f"{manifest.name} has no class {of_class!r}; it has {', '.join(manifest.classes[:3])}, ...")
    label = manifest.classes.index(of_class)
    return tuple(item for item in manifest.items if item.label == label)[::every]


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
    items, skipped = _items(root, found, on_error, remember, "remove it")
    classes = tuple(entry.name for entry in folders)
    return Manifest(name or root.resolve().name, split, root, classes, items, skipped)


def _items(
    root: Path, found: Sequence[tuple[int, Path]], on_error: OnError, remember: bool, mend: str
) -> tuple[tuple[Item, ...], tuple[Skipped, ...]]:
    """(label, file) below `root` -> items with their hashes, and what could not be read."""
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


def _hashes(files: Sequence[Path]) -> list[tuple[str, str]]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_hash, files))


# ---- hashes kept -------------------------------------------------------------------------------------------

RECENT = 2.0
"""Seconds. A file as young as this may change again without its time showing it, so its hash is not kept."""


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
    """Path -> [size, mtime in ns, sha256]; none where the file is absent or damaged, which costs only time."""
    try:
        rows = json.loads(kept_in.read_bytes())
        return {key: [size, time_ns, str(sha256)] for key, (size, time_ns, sha256) in rows.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write_rows(kept_in: Path, rows: dict[str, list[Any]]) -> None:
    """Written beside its place and renamed into it; left unwritten where it cannot be, which costs only time."""
    draft = None
    try:
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=kept_in.parent, suffix=".part", delete=False) as stream:
            draft = Path(stream.name)
            json.dump(rows, stream)
        draft.replace(kept_in)
    except OSError:
        if draft:
            draft.unlink(missing_ok=True)


# ---- the table ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What can be said of a data set of the table before it is opened; ``size`` is what is to be downloaded."""

    split: str
    images: int
    classes: int
    licence: str
    size: str
    place: Path

    @property
    def present(self) -> bool:
        """Whether something lies there; whether it is whole, :func:`check` says."""
        return _holds_something(self.place)


@dataclass(frozen=True)
class Entry:
    """A data set by name.

    Attributes:
        summary: a line about it.
        open: gets its manifest.
        facts: counts, licence, place.
        descriptions: its own descriptions, if any.
        source: of a published one: how to get it, its class names, and the published prompts that belong to it.
    """

    summary: str
    open: Callable[[], Manifest]
    facts: Callable[[], Facts]
    descriptions: Callable[[], dict[str, list[str]]] | None = None
    source: Source | None = None


def home() -> Path:
    """Folder for data sets made or fetched on demand: ``$LGCA_HOME``, else the user's cache folder."""
    chosen = os.environ.get("LGCA_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("lgca")


def open_dataset(name_or_path: str | Path, *, on_error: OnError = "raise") -> Manifest:
    """The manifest of a data set of the table, of a user's copy of one, or of a folder of class folders.

    Args:
        name_or_path: a name; ``NAME:/path/to/copy`` of a published one; or a folder.

    Raises:
        LgcaError: no name at all, or neither a known one (near ones are suggested) nor a folder; a published data set
            that is not there (how to get it is said), or whose copy is not laid out as the original; see also
            :func:`folder`.
    """
    if isinstance(name_or_path, str):
        name, copy = split_spec(name_or_path)
        if name in DATASETS:
            source = DATASETS[name].source
            return _open_published(name, source, copy, on_error) if source else DATASETS[name].open()
    if not name_or_path:
        raise LgcaError(f"no data set is named: known are {', '.join(DATASETS)}")
    if Path(name_or_path).exists():
        return folder(name_or_path, on_error=on_error, remember=True)
    close = _near(str(name_or_path))
    hint = f"did you mean {' or '.join(close)}" if close else f"known are {', '.join(DATASETS)}"
    raise LgcaError(f"{str(name_or_path)!r} is neither a data set nor a folder: {hint}")


def _near(spec: str) -> list[str]:
    """Names of the table like the one asked for, the nearest first."""
    return difflib.get_close_matches(spec.partition(":")[0].casefold(), DATASETS, n=3)


def split_spec(spec: str) -> tuple[str, Path | None]:
    """``NAME`` -> (name, None); ``NAME:/path/to/copy`` of a name of the table -> (name, path); else (spec, None).

    Raises:
        LgcaError: a path for a data set that is made on demand, or an empty one.
    """
    name, colon, path = spec.partition(":")
    if not colon or name not in DATASETS:
        return spec, None
    if not DATASETS[name].source:
        raise LgcaError(f"{name} is made on demand and takes no path: ask for {name}")
    if not path:
        raise LgcaError(f"{spec!r} names no folder: write {name}:/path/to/copy, or {name}")
    return name, Path(path).expanduser()


# ---- published data sets -----------------------------------------------------------------------------------


def _open_published(name: str, source: Source, copy: Path | None, on_error: OnError) -> Manifest:
    if not copy and not _holds_something(place_of(source)):
        raise LgcaError(f"{name} is not there: {_how(name, source)}; a copy elsewhere is {name}:/path/to/copy")
    found = _read(name, source, copy)
    files = [(label, found.root / path) for path, label in found.files]
    items, skipped = _items(found.root, files, on_error, True, _mend(name, source, copy))
    classes = source.names(found.class_ids)
    note = ""
    if (len(items), len(classes)) != (source.images, len(source.class_ids)):
        note = (
            f"This is not the whole of {source.title}: {len(items):,} of {source.images:,} pictures, {len(classes):,} "
            f"of {len(source.class_ids):,} classes."
        )
    return Manifest(name, source.split, found.root, classes, items, skipped, found.class_ids, note)


def place_of(source: Source) -> Path:
    """Where a published data set lies once it is fetched."""
    return home() / "datasets" / source.folder


def _holds_something(place: Path) -> bool:
    try:
        return place.is_dir() and any(place.iterdir())
    except OSError:
        return True  # reading it says what is wrong


def _read(name: str, source: Source, copy: Path | None) -> Copy:
    """The user's own `copy` as its annotation has it, else the one that was fetched."""
    try:
        return source.read(source, copy or place_of(source))
    except LgcaError as error:
        if copy:
            raise
        raise LgcaError(f"{error}; to begin again, {_mend(name, source, None)}") from error


def _mend(name: str, source: Source, copy: Path | None) -> str:
    """What helps where a copy is damaged."""
    return "unpack its archives again" if copy else f"remove {place_of(source)} and run lgca datasets fetch {name}"


def _downloads(source: Source) -> Path:
    """Where a user may put archives; what is downloaded lies below it, in :func:`_fetched`."""
    return home() / "downloads" / source.folder


def _fetched(source: Source) -> Path:
    return _downloads(source) / "fetched"


def _how(name: str, source: Source) -> str:
    """How to get it."""
    if all(archive.urls for archive in source.archives):
        return f"get it by lgca datasets fetch {name}"
    names = " and ".join(archive.name for archive in source.archives)
    return (
        f"its terms ask each user to download it from {source.homepage}: put {names} into {_downloads(source)} and "
        f"run lgca datasets fetch {name}, or fetch {name}:FOLDER where they lie in FOLDER"
    )


def _published_facts(source: Source) -> Facts:
    return Facts(source.split, source.images, len(source.class_ids), source.licence, source.download, place_of(source))


def published(spec: str) -> tuple[str, Source, Path | None]:
    """Name, source and path of ``NAME`` or ``NAME:/path``; LgcaError for what is no published data set."""
    name, copy = split_spec(spec)
    if name not in DATASETS:
        close = _near(name)
        raise LgcaError(f"{name!r} is no data set: {f'did you mean {close[0]}' if close else 'see lgca datasets'}")
    source = DATASETS[name].source
    if not source:
        raise LgcaError(f"{name} is made on demand: there is nothing to fetch or check")
    return name, source, copy


def fetch(spec: str, *, progress: Progress | None = None) -> tuple[Path, bool]:
    """Downloads, verifies and unpacks a published data set; what is there already is compared and left alone.

    ``NAME:/path`` takes the archives that lie in that folder, and downloads the others. Archives that the user brought
    stay where they are; what was downloaded is removed once it is unpacked.

    Returns:
        The folder that it lies in, and whether it was there already.

    Raises:
        LgcaError: no published data set; one that is there and is not whole; one that each user must download; no
            room; a download that fails (it goes on the next time); an archive that is not the published one, or is
            refused; another process at it.
    """
    from filelock import FileLock, Timeout

    name, source, brought = published(spec)
    place, downloads = place_of(source), _downloads(source)
    if _there(name, source):
        return place, True
    if brought:
        _check_brought(name, source, brought)
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(downloads.with_name(f".{source.folder}.lock")).acquire(timeout=0)
    except Timeout:
        raise LgcaError(f"another process is fetching {name}: wait until it is done") from None
    except OSError as error:
        raise LgcaError(f"cannot write to {home()} ({error.strerror}): set LGCA_HOME to another folder") from error
    with lock:
        if _there(name, source):  # since another process was first
            return place, True
        remove_drafts(place)
        archives = _archives(name, source, brought, progress)

        def fill(draft: Path) -> None:
            for archive, packed in zip(source.archives, archives, strict=True):
                unpack(packed, draft / archive.into, progress=progress)
            if fault := _fault(source, draft):
                raise LgcaError(
                    f"{name} as unpacked is not what its table says ({fault}): unpack "
                    f"{' and '.join(map(str, archives))} yourself, and use {name}:/path/to/copy"
                )

        make_folder(place, fill)
        shutil.rmtree(_fetched(source), ignore_errors=True)
    return place, False


def _there(name: str, source: Source) -> bool:
    """Whether it is in its place. LgcaError where it is and is not whole."""
    place = place_of(source)
    if not _holds_something(place):
        return False
    if fault := _fault(source, place):
        raise LgcaError(f"{place} is there and not whole ({fault}): {_mend(name, source, None)} again")
    return True


def _fault(source: Source, place: Path) -> str:
    """What keeps a copy from being the whole data set; empty where nothing does."""
    try:
        _, faults = compare(source, source.read(source, place))
    except LgcaError as error:
        return str(error)
    return faults[0] if faults else ""


def _check_brought(name: str, source: Source, brought: Path) -> None:
    """Raises LgcaError where a folder holds none of the archives."""
    if any((brought / archive.name).is_file() for archive in source.archives):
        return
    try:
        source.read(source, brought)
    except LgcaError:
        names = " or ".join(archive.name for archive in source.archives)
        raise LgcaError(f"{brought} does not hold {names}: name the folder that does") from None
    raise LgcaError(f"{brought} is unpacked already and needs no fetching: use {name}:{brought} as it is")


def _archives(name: str, source: Source, brought: Path | None, progress: Progress | None) -> list[Path]:
    """The verified archives of a data set, wherever they lie; those that lie nowhere are downloaded."""
    folders = [folder for folder in (brought, _downloads(source), _fetched(source)) if folder]
    held = {
        archive: next((folder for folder in folders if (folder / archive.name).is_file()), None)
        for archive in source.archives
    }
    lacking = [archive for archive, folder in held.items() if folder is None]
    for archive in lacking:
        if not archive.urls:
            raise LgcaError(f"{archive.name} of {name} is not there: {_how(name, source)}")
    needed = sum(archive.unpacked or archive.bytes for archive in source.archives)
    check_space(_downloads(source), name, needed + sum(remaining(archive, _fetched(source)) for archive in lacking))
    found = []
    for archive, folder in held.items():
        if folder is None:
            found.append(download(archive, _fetched(source), progress=progress))
            continue
        try:
            verify(archive, folder / archive.name, progress=progress)
        except LgcaError as error:
            again = (
                f"lgca datasets fetch {name} downloads it" if archive.urls else f"download it from {source.homepage}"
            )
            raise LgcaError(f"{error}: remove it, and {again}") from error
        found.append(folder / archive.name)
    return found


def check(spec: str) -> tuple[Path, list[tuple[str, str]], list[str], str]:
    """Compares a copy with the table, by its own annotation: counts, classes, and whether the pictures are there.

    Returns:
        Where it lies, rows of (what, finding), what is off in words, and what helps; the copy is whole when nothing
        is off.

    Raises:
        LgcaError: no published data set, or none there; a copy that is not laid out as the original.
    """
    name, source, copy = published(spec)
    if not copy and not _holds_something(place_of(source)):
        raise LgcaError(
            f"{name} is not in {place_of(source)}: {_how(name, source)}; a copy elsewhere is {name}:/path/to/copy"
        )
    found = _read(name, source, copy)
    return found.root, *compare(source, found), _mend(name, source, copy)


# ---- the aviary --------------------------------------------------------------------------------------------


def _aviary_place(name: str) -> Path:
    from lgca_core.aviary import splits

    return home() / "datasets" / f"{name}-{splits.VERSION}"


def _open_aviary(name: str) -> Manifest:
    from lgca_core.aviary import splits

    root = _aviary_place(name)
    if not root.is_dir():
        make_folder(root, partial(splits.materialise, name))
    return folder(root, name=name, split=_aviary_split(name), remember=True)


def _aviary_split(name: str) -> str:
    return "validation" if name.endswith("-validation") else "test"


def _describe_aviary(name: str) -> dict[str, list[str]]:
    from lgca_core.aviary import splits

    return splits.descriptions(name)


def _aviary_facts(name: str) -> Facts:
    from lgca_core.aviary import splits

    classes = len(splits.descriptions(name))
    images = classes * splits.SPLITS[name].pictures
    return Facts(_aviary_split(name), images, classes, "MIT", "none", _aviary_place(name))


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
    name: Entry(summary, partial(_open_aviary, name), partial(_aviary_facts, name), partial(_describe_aviary, name))
    for name, summary in _AVIARY.items()
} | {
    name: Entry(
        source.title,
        partial(open_dataset, name),
        partial(_published_facts, source),
        source=source,
    )
    for name, source in SOURCES.items()
}
"""Every data set that can be asked for by name."""
