"""A data set once it is opened: its pictures in a fixed order, with labels, hashes and class names."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from lgca_core.errors import LgcaError

OnError = Literal["raise", "skip"]


def printable(name: str | Path) -> str:
    """A name of the file system as valid Unicode: bytes that are no UTF-8 become escapes such as ``\\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class Conversion(NamedTuple):
    """What is done on request where a picture becomes RGB, by the keywords of :func:`lgca_core.open_picture`."""

    scale_grey: bool = False
    on_white: bool = False

    def identity(self, sha256: str) -> str:
        """Identity of the pixels that a file of this hash has: the hash itself where nothing is requested."""
        asked = [name for name, value in self._asdict().items() if value]
        return hashlib.sha256(" ".join([sha256, *asked]).encode()).hexdigest() if asked else sha256


AS_IT_IS = Conversion()


@dataclass(frozen=True)
class Item:
    """One picture: where it lies, its class index, and the sha256 of its file."""

    path: Path
    label: int
    sha256: str

    @property
    def identity(self) -> str:
        """Key of the picture's boxes; the same picture gets the same boxes wherever it lies."""
        return self.sha256


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read, relative to the data set's root, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """The pictures of a data set, in a fixed order: by class, then by path.

    ``classes`` are the names in label order, and ``class_ids`` what a published data set itself calls them;
    ``skipped`` are files that could not be read, under ``on_error="skip"``; ``note`` is a sentence that a reader of
    results must see, such as that a copy is not the whole data set, or how many files were passed over. ``conversion``
    is how every picture becomes RGB.
    """

    name: str
    split: str
    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    skipped: tuple[Skipped, ...] = ()
    class_ids: tuple[str, ...] = ()
    note: str = ""
    conversion: Conversion = AS_IT_IS

    @cached_property
    def sha256(self) -> str:
        """Hash of class names, relative paths, labels and pixels (:meth:`content`); the place does not enter."""
        rows = [[self.key(item), item.label, self.content(item)] for item in self.items]
        return hashlib.sha256(json.dumps([self.classes, rows], ensure_ascii=False).encode()).hexdigest()

    def key(self, item: Item) -> str:
        """Path relative to the root, with forward slashes, as valid Unicode (:func:`printable`)."""
        return printable(item.path.relative_to(self.root).as_posix())

    def content(self, item: Item) -> str:
        """Identity of a picture's pixels, which features go by: its file and how it becomes RGB."""
        return self.conversion.identity(item.sha256)


def every_nth(manifest: Manifest, every: int, of_class: str | None = None) -> tuple[Item, ...]:
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
