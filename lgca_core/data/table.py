"""Every data set that can be asked for by name, in one table, and how what a user names is opened.

A data set is a folder of class folders, or a name of :data:`DATASETS`. Whoever brings data sets registers them:
`copies` the published ones, `aviary_sets` those of the embedded world.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lgca_core.data.manifest import Manifest, OnError
from lgca_core.data.opening import pictures_at
from lgca_core.data.source import Source
from lgca_core.errors import LgcaError


@dataclass(frozen=True)
class Facts:
    """Facts about a data set of the table before it is opened; ``size`` is that of the download."""

    split: str
    images: int
    classes: int
    licence: str
    size: str
    place: Path

    @property
    def present(self) -> bool:
        """Whether something lies there; whether it is whole, :func:`~lgca_core.data.fetching.check` says."""
        return holds_something(self.place)


@dataclass(frozen=True)
class Entry:
    """A data set by name.

    Attributes:
        summary: a line about it.
        open: gets its manifest, from a user's own copy or (None) from the place in ``facts``.
        facts: counts, licence, place.
        descriptions: its own descriptions, if any.
        source: of a published one: how to get it, its class names, and the published prompts that belong to it. Only
            these can be opened from a copy.
    """

    summary: str
    open: Callable[[Path | None, OnError], Manifest]
    facts: Callable[[], Facts]
    descriptions: Callable[[], dict[str, list[str]]] | None = None
    source: Source | None = None


DATASETS: dict[str, Entry] = {}
"""Every data set that can be asked for by name."""


def register_dataset(name: str, entry: Entry) -> None:
    """Put a data set into the table, so that ``--dataset NAME`` and :func:`open_dataset` know it.

    Raises LgcaError where the name is taken, or could be taken for a path to a copy.
    """
    if ":" in name or name in DATASETS:
        raise LgcaError(f"a data set cannot be called {name!r}: choose a name without a colon that no other has")
    DATASETS[name] = entry


def open_dataset(name_or_path: str | Path, *, on_error: OnError = "raise") -> Manifest:
    """The manifest of a data set of the table, of a user's copy of one, or of one's own pictures.

    Args:
        name_or_path: a name; ``NAME:/path/to/copy`` of a published one; or a folder of class folders, or an archive.

    Raises:
        LgcaError: no name at all, or neither a known one (near ones are suggested) nor a folder; a published data set
            that is not there (how to get it is said), or whose copy is not laid out as the original; see also
            :func:`~lgca_core.data.opening.pictures_at`.
    """
    if isinstance(name_or_path, str):
        name, copy = split_spec(name_or_path)
        if name in DATASETS:
            return DATASETS[name].open(copy, on_error)
    if not name_or_path:
        raise LgcaError(f"no data set is named: known are {', '.join(DATASETS)}")
    try:
        there = Path(name_or_path).exists()
    except OSError as error:
        raise LgcaError(f"{name_or_path} cannot be read ({error.strerror})") from error
    if there:
        return pictures_at(name_or_path, on_error=on_error, remember=True)
    close = near_names(str(name_or_path))
    hint = f"did you mean {' or '.join(close)}" if close else f"known are {', '.join(DATASETS)}"
    raise LgcaError(f"{str(name_or_path)!r} is neither a data set nor a folder: {hint}")


def near_names(spec: str) -> list[str]:
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


def holds_something(place: Path) -> bool:
    """Whether a folder is there and not empty; so is one that cannot be listed: reading it says what is wrong."""
    try:
        return place.is_dir() and any(place.iterdir())
    except OSError:
        return True
