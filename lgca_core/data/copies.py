"""Published data sets on disk: their places, how they are opened, and how a damaged one is mended."""

from functools import partial
from pathlib import Path

from lgca_core.data.folders import items_of
from lgca_core.data.manifest import Manifest, OnError
from lgca_core.data.source import Copy, Source
from lgca_core.data.sources import SOURCES
from lgca_core.data.table import Entry, Facts, holds_something, register_dataset
from lgca_core.errors import LgcaError
from lgca_core.files import home


def open_published(name: str, source: Source, copy: Path | None, on_error: OnError) -> Manifest:
    """Manifest of a published data set: of the user's `copy`, else of the fetched one."""
    if not copy and not holds_something(place_of(source)):
        raise LgcaError(f"{name} is not there: {how_to_get(name, source)}; a copy elsewhere is {name}:/path/to/copy")
    found = read_copy(name, source, copy)
    files = [(label, found.root / path) for path, label in found.files]
    items, skipped = items_of(found.root, files, on_error, True, what_helps(name, source, copy))
    classes = source.names(found.class_ids)
    note = ""
    if (len(items), len(classes)) != (source.images, len(source.class_ids)):
        note = (
            f"This is not the whole of {source.title}: {len(items):,} of {source.images:,} pictures, {len(classes):,} "
            f"of {len(source.class_ids):,} classes."
        )
    return Manifest(name, source.split, found.root, classes, items, skipped, found.class_ids, note)


def place_of(source: Source) -> Path:
    """Folder of a published data set once it is fetched."""
    return home() / "datasets" / source.folder


def read_copy(name: str, source: Source, copy: Path | None) -> Copy:
    """Read the annotation of the user's own `copy`, else of the fetched data set."""
    try:
        return source.read(source, copy or place_of(source))
    except LgcaError as error:
        if copy:
            raise
        raise LgcaError(f"{error}; to begin again, {what_helps(name, source, None)}") from error


def what_helps(name: str, source: Source, copy: Path | None) -> str:
    """Instruction to mend a damaged copy, for the end of a message."""
    return "unpack its archives again" if copy else f"remove {place_of(source)} and run lgca datasets fetch {name}"


def downloads_of(source: Source) -> Path:
    """Folder where a user may put archives. Downloaded ones lie below it, in :func:`fetched_of`."""
    return home() / "downloads" / source.folder


def fetched_of(source: Source) -> Path:
    """Folder that archives are downloaded to."""
    return downloads_of(source) / "fetched"


def how_to_get(name: str, source: Source) -> str:
    """Instruction to get a data set, for the end of a message."""
    if all(archive.urls for archive in source.archives):
        return f"get it by lgca datasets fetch {name}"
    names = " and ".join(archive.name for archive in source.archives)
    return (
        f"its terms ask each user to download it from {source.homepage}: put {names} into {downloads_of(source)} and "
        f"run lgca datasets fetch {name}, or fetch {name}:FOLDER where they lie in FOLDER"
    )


def entry(name: str, source: Source) -> Entry:
    """Row of the table of data sets for a published one."""
    return Entry(source.title, partial(open_published, name, source), partial(_facts, source), source=source)


def _facts(source: Source) -> Facts:
    return Facts(source.split, source.images, len(source.class_ids), source.licence, source.download, place_of(source))


for _name, _source in SOURCES.items():
    register_dataset(_name, entry(_name, _source))
