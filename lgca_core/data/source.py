"""A published data set as its publisher describes it, and a copy of it as its own annotation does.

A class has an id, which is what the data set itself calls it (a wnid, a folder, a line of a list), and a name, which
is what the prompts call it. Ids come from the copy, in label order; names from rules and lists of `class_names`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lgca_core.data.downloads import Archive


@dataclass(frozen=True)
class Copy:
    """A copy on disk as its own annotation describes it; whether the pictures are there is another question.

    Attributes:
        root: what the paths of ``files`` are relative to.
        class_ids: what the data set itself calls its classes, in label order.
        files: (path with forward slashes, class index), by class and then by path.
    """

    root: Path
    class_ids: tuple[str, ...]
    files: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Source:
    """One published data set.

    Attributes:
        title, split, homepage: what it is called, which part is evaluated, where it is described.
        images, per_class: how many pictures, in all and of each class (None where that differs).
        counted: where these numbers are taken from.
        licence, terms: in short, and where it is stated.
        archives: how to get it.
        folder: where it lies under the folder of data sets.
        layout: what a copy must hold, in words.
        prompts: folder of the published prompt files that belong to it.
        note: what else a user should know of it, as a sentence.
        read: finds and reads a copy at a path.
        ids: the class ids in label order; where the list is taken from is said beside it below.
        name: class id -> class name.
        former: class id -> the name that the published descriptors have instead, where it is another.
        alpha: WCA's least crop, as the configuration of its released code has it for this data set.
        released_pool: crops that WCA's released code cuts of a picture of this data set, by its configuration; None
            where the code has no configuration for it.
        key: class id -> the name under which the published prompt files have it; None: its name.
    """

    title: str
    split: str
    homepage: str
    images: int
    per_class: int | None
    counted: str
    licence: str
    terms: str
    archives: tuple[Archive, ...]
    folder: str
    layout: str
    prompts: str
    read: Callable[["Source", Path], Copy]
    ids: Callable[[], tuple[str, ...]]
    name: Callable[[str], str]
    former: Callable[[], Mapping[str, str]] = field(default=dict)
    note: str = ""
    alpha: float = 0.5
    released_pool: int | None = 100
    key: Callable[[str], str] | None = None

    @property
    def class_ids(self) -> tuple[str, ...]:
        """Class ids of the whole data set, in label order."""
        return self.ids()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the whole data set, in label order; a name may occur twice."""
        return self.names(self.class_ids)

    @property
    def download(self) -> str:
        """How much is to be downloaded, rounded."""
        return f"{sum(archive.bytes for archive in self.archives) / 1e9:.1f} GB"

    def names(self, class_ids: Iterable[str]) -> tuple[str, ...]:
        """Class ids -> class names."""
        return tuple(self.name(class_id) for class_id in class_ids)
