"""The published data sets that the papers evaluate: one table, and how a copy of each is read (floor 1).

A copy is read as its original archives lie once unpacked, from its own annotation files; torchvision's folders are
such copies too. torchvision's classes do not read them: they know five of the ten, and keep to themselves the lists
of files and labels, which are all that is wanted here. Their addresses and checksums are in the table, copied with
their source, so that the table does not change with the installed version; a test compares the two.

A class has an id, which is what the data set itself calls it (a wnid, a folder, a line of a list), and a name, which
is what the prompts call it. Ids come from the copy, in label order; names from rules and lists of this module.
"""

import csv
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from lgca_core.errors import LgcaError
from lgca_core.fetch import Archive

Kind = Literal["descriptions", "descriptors"]
"""Published sentences of a class (CuPL), or its short descriptors (CLIP-D)."""


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
        alpha: WCA's least crop, as its paper sets it for this data set.
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

    def look_up(
        self, class_ids: Sequence[str], table: Mapping[str, Sequence[str]], kind: Kind
    ) -> list[tuple[str, list[str]]]:
        """What a published prompt file has for each class: by name, never by position.

        Four classes of ImageNet have other names in the published descriptors than everywhere else: they are found
        under those, and those are read out. Classes with distinct names where the file knows a shared one find the
        shared entries; in sentences the shared name is then read out as the distinct one.

        Args:
            table: name -> entries, as published.

        Returns:
            For each class in label order: the name to be read out, and its entries.

        Raises:
            LgcaError: a class without entries.
        """
        former = self.former() if kind == "descriptors" else {}
        found = []
        for class_id in class_ids:
            key = former.get(class_id) or (self.key or self.name)(class_id)
            if not table.get(key):
                raise LgcaError(f"the published {kind} have none for the class {key!r} of {self.title}")
            name = former.get(class_id) or self.name(class_id)
            entries = list(table[key])
            if kind == "descriptions" and name != key:
                entries = [_said_of(name, key, entry) for entry in entries]
            found.append((name, entries))
        return found


# ---- names of classes --------------------------------------------------------------------------------------


@cache
def _list(file: str) -> tuple[str, ...]:
    return tuple((files("lgca_core") / "classes" / file).read_text(encoding="utf-8").splitlines())


@cache
def _imagenet() -> dict[str, dict[str, str]]:
    """wnid -> name, former name, whether in -A and -R; in label order.

    wnids and subsets as in timm (imagenet_synsets.txt, imagenet_a_synsets.txt, imagenet_r_synsets.txt); names as in
    open_clip's IMAGENET_CLASSNAMES, which are those that WCA evaluates with; former names, of CLIP's first list, where
    they differ: the published descriptors have them.
    """
    rows = csv.DictReader(_list("imagenet.csv"))
    return {row["wnid"]: row for row in rows}


@cache
def _wnids(subset: str = "") -> tuple[str, ...]:
    return tuple(wnid for wnid, row in _imagenet().items() if not subset or row[subset] == "1")


def _imagenet_name(wnid: str) -> str:
    return _imagenet()[wnid]["name"]


@cache
def _imagenet_former() -> dict[str, str]:
    return {wnid: row["former"] for wnid, row in _imagenet().items() if row["former"]}


def _cub_name(class_id: str) -> str:
    """``001.Black_footed_Albatross`` -> ``Black-footed Albatross``, as WCA writes it: all but the last word joined."""
    *first, last = class_id.partition(".")[2].split("_")
    return f"{'-'.join(first)} {last}" if first else last


def _spaced(class_id: str) -> str:
    return class_id.replace("_", " ")


def _places_name(class_id: str) -> str:
    """``/a/arena/hockey`` -> ``arena``, as WCA and others use it: 344 names for 365 classes."""
    return _spaced(class_id.split("/")[2])


def _places_distinct(class_id: str) -> str:
    """The same, with what tells it apart in front where another class has that name: ``hockey arena``."""
    name, *rest = class_id.split("/")[2:]
    return _spaced(" ".join([*rest, name])) if _places_name(class_id) in _shared() else _places_name(class_id)


def _said_of(name: str, shared: str, sentence: str) -> str:
    """``An arena is large.`` of the shared name ``arena`` -> ``A hockey arena is large.``"""
    told = name.removesuffix(shared)  # "hockey "
    article = "an " if told[0] in "aeiou" else "a "

    def distinct(found: re.Match[str]) -> str:
        before, own = found.groups(default="")
        return (
            (article.capitalize() if before.istitle() else article if before else "")
            + (told.capitalize() if own[0].isupper() else told)
            + own
        )

    return re.sub(rf"\b(an? )?\b({re.escape(shared)})", distinct, sentence, flags=re.IGNORECASE)


@cache
def _shared() -> frozenset[str]:
    counts = Counter(map(_places_name, _list("places365.txt")))
    return frozenset(name for name, count in counts.items() if count > 1)


# ---- layouts -----------------------------------------------------------------------------------------------


def _find(source: Source, path: Path, holds: Callable[[Path], bool], tops: Sequence[str] = (), up: int = 2) -> Path:
    """The folder that `holds` the data set: `path`, what it leads to, or one of the `up` folders that it lies in.

    Raises:
        LgcaError: no such folder, or several.
    """
    if not path.exists():
        raise LgcaError(f"{path} does not exist: give the folder of your copy of {source.title}")
    if not path.is_dir():
        raise LgcaError(f"{path} is a file: give the folder of your copy of {source.title}")

    def training(folder: Path) -> bool:
        """Training pictures lie beside many a copy, in the same way."""
        return folder.absolute().name == "train"

    try:

        def first(*folders: Path) -> list[Path]:
            return [folder for folder in folders if folder.is_dir() and not training(folder) and holds(folder)][:1]

        for near in first(path, *(path / top for top in tops), *path.absolute().parents[:up]):
            return near
        entries = [entry for entry in _folders(path) if not training(entry)]
        below = [base for entry in entries for base in first(entry, *(entry / top for top in tops))]
    except OSError as error:
        raise LgcaError(f"{path} cannot be read: {error.strerror} ({error.filename})") from error
    if len(below) > 1:
        names = " and ".join(str(entry.relative_to(path)) for entry in below[:2])
        raise LgcaError(f"{path} holds several folders that could be {source.title}, such as {names}: name one of them")
    if below:
        return below[0]
    for archive in source.archives:
        if (path / archive.name).is_file():
            raise LgcaError(
                f"{path} holds {archive.name} still packed: lgca datasets fetch {source.folder}:{path} unpacks it"
            )
    if training(path):
        raise LgcaError(f"{path} is of the training pictures: give the folder of the split {source.split!r}")
    raise LgcaError(f"{path} holds no copy of {source.title}: there must be {source.layout}")


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _all(*names: str) -> Callable[[Path], bool]:
    return lambda folder: all((folder / name).exists() for name in names)


def _fields(path: Path, form: str) -> list[list[str]]:
    """A text file of as many fields a line as `form` has."""
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        row = line.split()
        if len(row) != len(form.split()):
            raise LgcaError(f"{path}, line {number} is {line!r}, not of the form {form!r}: unpack it again")
        rows.append(row)
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise LgcaError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LgcaError(f"{path} is not UTF-8 text: unpack it again") from error


def _made(root: Path, rows: Iterable[tuple[str, Any]], classes: Mapping[Any, str], where: Path) -> Copy:
    """A copy from (path, the annotation's own label) and, in order, that label -> class id."""
    index = {label: number for number, label in enumerate(classes)}
    found = []
    for path, label in rows:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise LgcaError(f"{where} lists {path!r}, which leads out of {root}")
        if label not in index:
            raise LgcaError(f"{where} gives {path!r} the class {label!r}, which is not in the list of classes")
        found.append((path, index[label]))
    if not found:
        raise LgcaError(f"{where} lists no picture")
    return Copy(root, tuple(classes.values()), tuple(sorted(found, key=lambda row: (row[1], row[0]))))


def _numbered(classes: Iterable[tuple[str, str]], where: Path) -> dict[str, str]:
    """(label, class id) in the order of the labels, which are numbers written out."""
    try:
        return dict(sorted(classes, key=lambda row: int(row[0])))
    except ValueError as error:
        raise LgcaError(f"{where} numbers a class in letters ({error}): unpack it again") from error


def _by_class(source: Source, base: Path, class_of: Callable[[str], str | None]) -> Copy:
    """Pictures in one folder a class; `class_of` gives a folder's class id, None for other folders."""
    classes = {entry.name: class_id for entry in _folders(base) if (class_id := class_of(entry.name))}
    known = set(source.class_ids)
    if unknown := [name for name, class_id in classes.items() if class_id not in known]:
        raise LgcaError(f"{base} holds the folder {unknown[0]}, which is no class of {source.title}")
    classes = dict(sorted(classes.items(), key=lambda item: item[1]))
    rows = []
    for name in classes:
        inside = sorted(file.name for file in (base / name).iterdir() if not file.name.startswith("."))
        if not inside:
            raise LgcaError(f"the class folder {base / name} holds no pictures: fill or remove it")
        rows += [(f"{name}/{file}", name) for file in inside]
    return _made(base, rows, classes, base)


def _wnid(folder: str) -> str | None:
    return folder if re.fullmatch(r"n\d{8}", folder) else None


def _number(folder: str) -> str | None:
    """ImageNet-V2's folders are the label, 0 to 999, written out."""
    return _wnids()[int(folder)] if re.fullmatch(r"0|[1-9]\d{0,2}", folder) else None


def _read_class_folders(
    source: Source, path: Path, *, tops: Sequence[str], class_of: Callable[[str], str | None] = _wnid
) -> Copy:
    base = _find(source, path, lambda folder: any(class_of(entry.name) for entry in _folders(folder)), tops, up=1)
    return _by_class(source, base, class_of)


DEVKIT = "ILSVRC2012_devkit_t12"


def _read_imagenet(source: Source, path: Path) -> Copy:
    """``val/<wnid>/*.JPEG``; or, as the archives unpack, all pictures in one folder and their labels in the devkit."""

    def flat(folder: Path) -> bool:
        return next(folder.glob("ILSVRC2012_val_*.JPEG"), None) is not None

    def by_class(folder: Path) -> bool:
        return any(_wnid(entry.name) for entry in _folders(folder))

    base = _find(source, path, lambda folder: flat(folder) or by_class(folder), ("val", "ILSVRC2012_img_val"), 1)
    if by_class(base):
        return _by_class(source, base, _wnid)
    meta, truth, where = _devkit(base)
    try:
        # Internal nodes of the hierarchy come after the classes, which have no children.
        leaves = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in meta if int(row["num_children"]) == 0}
        labels = [int(line) for line in truth.split()]
    except (ValueError, LookupError, TypeError) as error:
        raise LgcaError(f"{where} is not the devkit of {source.title} ({error}): download it again") from error
    rows = [(f"ILSVRC2012_val_{number:08d}.JPEG", label) for number, label in enumerate(labels, 1)]
    classes = dict(sorted(leaves.items(), key=lambda item: item[1]))
    if unknown := [wnid for wnid in classes.values() if wnid not in _imagenet()]:
        raise LgcaError(f"{where} has the class {unknown[0]}, which is no class of {source.title}")
    return _made(base, rows, classes, where)


def _devkit(base: Path) -> tuple[Any, str, Path]:
    """The synsets and the labels of the validation pictures, from the devkit near `base`, unpacked or not."""
    from scipy.io.matlab import MatReadError, loadmat

    wanted = ("data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt")
    for near in (base, base.parent):
        unpacked, packed = near / DEVKIT, near / f"{DEVKIT}.tar.gz"
        where = unpacked if (unpacked / wanted[0]).is_file() else packed
        try:
            if where == unpacked:
                mat, truth = ((unpacked / name).read_bytes() for name in wanted)
            elif packed.is_file():
                with tarfile.open(packed) as tar:
                    mat, truth = (tar.extractfile(f"{DEVKIT}/{name}").read() for name in wanted)  # type: ignore[union-attr]
            else:
                continue
            return np.atleast_1d(loadmat(io.BytesIO(mat), squeeze_me=True)["synsets"]), truth.decode(), where
        except _DAMAGED as error:
            raise LgcaError(f"{where} cannot be read as the devkit of ILSVRC 2012 ({error})") from error
        except (MatReadError, NotImplementedError) as error:
            raise LgcaError(f"{where} holds a meta.mat that cannot be read ({error})") from error
    raise LgcaError(
        f"{base} holds the pictures in one folder, and their labels are in the devkit: put {DEVKIT}.tar.gz beside them"
    )


_DAMAGED = (OSError, tarfile.TarError, EOFError, AttributeError, LookupError, ValueError, TypeError)


def _read_cub(source: Source, path: Path) -> Copy:
    lists = ("images.txt", "train_test_split.txt", "image_class_labels.txt", "classes.txt")
    base = _find(source, path, _all("images", *lists), ("CUB_200_2011",))
    images, split, labels, classes = (
        dict(_fields(base / name, form))
        for name, form in zip(lists, ("<id> <picture>", "<id> <0-or-1>", "<id> <class-id>", "<class-id> <class>"))
    )
    if short := [name for name, rows in zip(lists[1:3], (split, labels)) if images.keys() - rows.keys()]:
        raise LgcaError(f"{base / short[0]} does not have every picture of images.txt: unpack it again")
    rows = [(picture, labels[number]) for number, picture in images.items() if split[number] == "0"]
    return _made(base / "images", rows, _numbered(classes.items(), base / lists[3]), base / lists[2])


def _read_pets(source: Source, path: Path) -> Copy:
    base = _find(source, path, _all("annotations/test.txt", "images"), ("oxford-iiit-pet",))
    where = base / "annotations" / "test.txt"
    rows = _fields(where, "<picture> <class-id> <species> <breed-id>")
    classes = {label: picture.rpartition("_")[0] for picture, label, _, _ in rows}  # the last restarts for dogs
    pictures = [(f"{picture}.jpg", label) for picture, label, _, _ in rows]
    return _made(base / "images", pictures, _numbered(classes.items(), where), where)


def _read_dtd(source: Source, path: Path) -> Copy:
    base = _find(source, path, _all("labels/test1.txt", "images"), ("dtd", "dtd/dtd"))
    where = base / "labels" / "test1.txt"
    rows = [(picture, picture.partition("/")[0]) for [picture] in _fields(where, "<class>/<picture>")]
    return _made(base / "images", rows, {name: name for name in sorted({label for _, label in rows})}, where)


def _read_food101(source: Source, path: Path) -> Copy:
    base = _find(source, path, _all("meta/test.json", "images"), ("food-101",))
    where = base / "meta" / "test.json"
    try:
        listed = json.loads(_text(where))
        rows = [(f"{picture}.jpg", name) for name, pictures in listed.items() for picture in pictures]
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise LgcaError(f"{where} is not of the form {{'class': ['class/picture', ...]}}: unpack it again") from error
    return _made(base / "images", rows, {name: name for name in sorted(listed)}, where)


def _read_places365(source: Source, path: Path) -> Copy:
    lists = ("places365_val.txt", "categories_places365.txt")
    base = _find(source, path, lambda folder: _all(*lists)(folder) and _all("val_large")(folder))
    classes = [(label, name) for name, label in _fields(base / lists[1], "<class> <label>")]
    rows = [(picture, label) for picture, label in _fields(base / lists[0], "<picture> <label>")]
    return _made(base / "val_large", rows, _numbered(classes, base / lists[1]), base / lists[0])


# ---- comparing a copy with the table -----------------------------------------------------------------------


def compare(source: Source, copy: Copy) -> tuple[list[tuple[str, str]], list[str]]:
    """What a copy has beside what the table says; files are looked for, none is read.

    Returns:
        Rows of (what, finding), and in words what is off, the most telling first; nothing is off when empty.
    """
    sizes = {path: file.stat().st_size if (file := copy.root / path).is_file() else -1 for path, _ in copy.files}
    missing = [path for path, size in sizes.items() if size < 0]
    empty = [path for path, size in sizes.items() if size == 0]
    there = len(sizes) - len(missing)
    expected, found = source.class_ids, set(copy.class_ids)
    faults = []
    if absent := [class_id for class_id in expected if class_id not in found]:
        faults.append(f"{_counted(absent, 'class', 'classes')} missing: {_first(absent)}")
    if unknown := sorted(found.difference(expected)):
        faults.append(f"{_counted(unknown, 'class', 'classes')} unknown: {_first(unknown)}")
    if not absent and not unknown and copy.class_ids != expected:
        faults.append("the classes are in another order")
    if missing:
        faults.append(f"{_counted(missing, 'listed picture', 'listed pictures')} missing: {_first(missing)}")
    if empty:
        faults.append(f"{_counted(empty, 'picture', 'pictures')} empty: {_first(empty)}")
    if source.per_class:
        of_class = Counter(copy.class_ids[label] for _, label in copy.files)
        if uneven := [f"{class_id} ({n})" for class_id, n in of_class.items() if n != source.per_class]:
            faults.append(
                f"{_counted(uneven, 'class', 'classes')} without {source.per_class} pictures: {_first(uneven)}"
            )
    if there != source.images and not missing:
        faults.append(f"{there:,} pictures instead of {source.images:,}")
    rows = [
        ("pictures", f"{there:,} of {source.images:,}"),
        ("classes", f"{len(copy.class_ids):,} of {len(expected):,}"),
        ("bytes", f"{sum(size for size in sizes.values() if size > 0):,}"),
    ]
    return rows, faults


def _counted(things: Sequence[str], one: str, many: str) -> str:
    return f"{len(things):,} {one if len(things) == 1 else many}"


def _first(things: Sequence[str], most: int = 3) -> str:
    return ", ".join(things[:most]) + (", ..." if len(things) > most else "")


# ---- the table ---------------------------------------------------------------------------------------------

_TORCHVISION = "torchvision 0.29, torchvision.datasets"
_TFDS = "TensorFlow Datasets"
_CLIP = "the CLIP paper (arXiv 2103.00020), table of data sets"


def _hendrycks(letter: str, size: int, sha256: str) -> tuple[Archive, ...]:
    address = f"https://people.eecs.berkeley.edu/~hendrycks/imagenet-{letter}.tar"
    source = f"{_TFDS}, imagenet_{letter}/checksums.tsv"
    return (Archive(f"imagenet-{letter}.tar", (address,), size, f"sha256:{sha256}", source),)


SOURCES: dict[str, Source] = {
    "imagenet": Source(
        title="ImageNet (ILSVRC 2012)",
        split="val",
        homepage="https://image-net.org/download.php",
        images=50_000,
        per_class=50,
        counted=f"{_CLIP}; ILSVRC 2012 development kit",
        licence="research",
        terms="terms of access on its download page: non-commercial research and education; each user asks for access",
        archives=(
            Archive(
                "ILSVRC2012_img_val.tar",
                (),
                6_744_924_160,
                "md5:29b22e2961454d5413ddabcf34fc5622",
                f"size: {_TFDS}, url_checksums/imagenet2012.txt; checksum: {_TORCHVISION}.imagenet",
                into="val",
            ),
            Archive(
                f"{DEVKIT}.tar.gz",
                (),
                None,
                "md5:fa75699e90414af021442c21a62c3abf",
                f"{_TORCHVISION}.imagenet",
            ),
        ),
        folder="imagenet",
        layout=f"val/<wnid>/*.JPEG, or the pictures of ILSVRC2012_img_val.tar and {DEVKIT}.tar.gz",
        prompts="imagenet",
        read=_read_imagenet,
        ids=_wnids,
        name=_imagenet_name,
        former=_imagenet_former,
    ),
    "imagenet-v2": Source(
        title="ImageNet-V2",
        split="matched-frequency",
        homepage="https://github.com/modestyachts/ImageNetV2",
        images=10_000,
        per_class=10,
        counted="the README of its repository",
        licence="MIT (repository)",
        terms="LICENSE of its repository, which by its README is not of the pictures: they are from Flickr, to be "
        "used as ImageNet's; the card beside its archives, huggingface.co/datasets/vaishaal/ImageNetV2, says MIT",
        archives=(
            Archive(
                "imagenetv2-matched-frequency.tar.gz",
                (
                    "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/"
                    "imagenetv2-matched-frequency.tar.gz",
                ),
                1_264_079_360,
                "sha256:f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
                f"{_TFDS}, imagenet_v2/checksums.tsv",
            ),
        ),
        folder="imagenet-v2",
        layout="imagenetv2-matched-frequency-format-val/<label>/*.jpeg",
        prompts="imagenetv2",
        read=partial(
            _read_class_folders,
            tops=("imagenetv2-matched-frequency-format-val", "ImageNetV2-matched-frequency"),
            class_of=_number,
        ),
        ids=_wnids,
        name=_imagenet_name,
        former=_imagenet_former,
    ),
    "imagenet-r": Source(
        title="ImageNet-R",
        split="test",
        homepage="https://github.com/hendrycks/imagenet-r",
        images=30_000,
        per_class=None,
        counted="the README of its repository",
        licence="MIT (repository)",
        terms="LICENSE of its repository; the pictures' own rights are not stated",
        archives=_hendrycks("r", 2_191_079_936, "18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52"),
        folder="imagenet-r",
        layout="imagenet-r/<wnid>/*.jpg of its 200 classes",
        prompts="imagenet-r",
        read=partial(_read_class_folders, tops=("imagenet-r",)),
        ids=partial(_wnids, "r"),
        name=_imagenet_name,
        former=_imagenet_former,
    ),
    "imagenet-a": Source(
        title="ImageNet-A",
        split="test",
        homepage="https://github.com/hendrycks/natural-adv-examples",
        images=7_500,
        per_class=None,
        counted="its paper (arXiv 1907.07174)",
        licence="MIT (repository)",
        terms="LICENSE of its repository; the pictures' own rights are not stated",
        archives=_hendrycks("a", 687_552_512, "3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e"),
        folder="imagenet-a",
        layout="imagenet-a/<wnid>/*.jpg of its 200 classes",
        prompts="imagenet-a",
        read=partial(_read_class_folders, tops=("imagenet-a",)),
        ids=partial(_wnids, "a"),
        name=_imagenet_name,
        former=_imagenet_former,
    ),
    "imagenet-sketch": Source(
        title="ImageNet-Sketch",
        split="test",
        homepage="https://github.com/HaohanWang/ImageNet-Sketch",
        images=50_889,
        per_class=None,
        counted="Hugging Face datasets, imagenet_sketch/dataset_infos.json (its README rounds to 50 a class)",
        licence="MIT (repository)",
        terms="LICENSE of its repository; the pictures' own rights are not stated",
        archives=(
            Archive(
                "ImageNet-Sketch.zip",
                # The second author's copy, which the data set's page leads to; on Google Drive lie the same bytes.
                ("https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip",),
                7_593_573_012,
                "sha256:4d3ce6b82a7c48aabf14aeac105eb533e75707f152cc858f55bfc022031a72ed",
                f"Hugging Face datasets, imagenet_sketch/dataset_infos.json; {_TFDS}, imagenet_sketch/checksums.tsv; "
                "unpacked: the README of its repository",
                unpacked=8_400_000_000,
            ),
        ),
        folder="imagenet-sketch",
        layout="sketch/<wnid>/*.JPEG",
        prompts="imagenet-s",
        read=partial(_read_class_folders, tops=("sketch",)),
        ids=_wnids,
        name=_imagenet_name,
        former=_imagenet_former,
    ),
    "cub": Source(
        title="CUB-200-2011",
        split="test",
        homepage="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        images=5_794,
        per_class=None,
        counted=f"{_TFDS}, caltech_birds2011",
        licence="none stated",
        terms="the README in its archive states none; the photographs are from Flickr",
        archives=(
            Archive(
                "CUB_200_2011.tgz",
                ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",),
                1_150_585_339,
                "sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
                f"address: {_TFDS}, image_classification/caltech_birds.py; size and checksum: the same, "
                "url_checksums/caltech_birds2011.txt",
            ),
        ),
        folder="cub",
        layout="CUB_200_2011/ with images/, images.txt, train_test_split.txt, image_class_labels.txt and classes.txt",
        prompts="cub",
        read=_read_cub,
        ids=partial(_list, "cub.txt"),  # its own classes.txt
        name=_cub_name,
    ),
    "pets": Source(
        title="Oxford-IIIT Pet",
        split="test",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        images=3_669,
        per_class=None,
        counted=_CLIP,
        licence="CC BY-SA 4.0",
        terms="its page; the copyright remains with the owners of the pictures",
        archives=tuple(
            Archive(
                f"{part}.tar.gz",
                (
                    f"https://www.robots.ox.ac.uk/~vgg/data/pets/data/{part}.tar.gz",
                    f"https://thor.robots.ox.ac.uk/~vgg/data/pets/{part}.tar.gz",
                ),
                size,
                f"sha256:{sha256}",
                f"first address: {_TORCHVISION}.oxford_iiit_pet; second, size and checksum: {_TFDS}, "
                "oxford_iiit_pet/checksums.tsv",
            )
            for part, size, sha256 in (
                ("images", 791_918_971, "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d"),
                ("annotations", 19_173_078, "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91"),
            )
        ),
        folder="pets",
        layout="images/ and annotations/test.txt",
        prompts="oxford_pet",
        read=_read_pets,
        ids=partial(_list, "pets.txt"),  # TensorFlow Datasets, oxford_iiit_pet
        name=_spaced,
    ),
    "dtd": Source(
        title="Describable Textures (DTD)",
        split="test 1",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        images=1_880,
        per_class=40,
        counted=_CLIP,
        licence="research",
        terms="its page, as TensorFlow Datasets quotes it",
        archives=(
            Archive(
                "dtd-r1.0.1.tar.gz",
                ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
                625_239_812,
                "sha256:e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
                f"address: {_TORCHVISION}.dtd; size and checksum: {_TFDS}, url_checksums/dtd.txt",
            ),
        ),
        folder="dtd",
        layout="dtd/ with images/ and labels/test1.txt",
        prompts="dtd",
        read=_read_dtd,
        ids=partial(_list, "dtd.txt"),  # its own folders
        name=str,
    ),
    "food101": Source(
        title="Food-101",
        split="test",
        homepage="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        images=25_250,
        per_class=250,
        counted=f"{_TORCHVISION}.food101",
        licence="scientific fair use",
        terms="license_agreement.txt in its archive, as Hugging Face datasets quote it: pictures of Foodspotting",
        archives=(
            Archive(
                "food-101.tar.gz",
                ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
                4_996_278_331,
                "sha256:d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
                f"address: {_TORCHVISION}.food101; size and checksum: {_TFDS}, url_checksums/food101.txt",
            ),
        ),
        folder="food101",
        layout="food-101/ with images/ and meta/test.json",
        prompts="food101",
        read=_read_food101,
        ids=partial(_list, "food101.txt"),  # Hugging Face datasets, food101; sorted as torchvision does
        name=_spaced,
    ),
    "places365": Source(
        title="Places365",
        split="val",
        homepage="http://places2.csail.mit.edu/",
        images=36_500,
        per_class=100,
        counted="the README of its development kit, github.com/zhoubolei/places_devkit",
        licence="research",
        terms="its download page: non-commercial research and education; the pictures' copyright is their owners'",
        archives=tuple(
            Archive(
                name,
                (f"http://data.csail.mit.edu/places/places365/{name}",),
                None,
                f"md5:{md5}",
                f"{_TORCHVISION}.places365 (small=False); the size is published in rounded form only",
                about=about,
            )
            for name, md5, about in (
                ("val_large.tar", "9b71c4993ad89d2d8bcbdc4aef38042f", 2_100_000_000),
                ("filelist_places365-standard.tar", "35a0585fee1fa656440f3ab298f8479c", 0),
            )
        ),
        folder="places365",
        layout="places365_val.txt, categories_places365.txt and val_large/ (full size, not val_256/)",
        prompts="place365",
        read=_read_places365,
        alpha=0.7,
        ids=partial(_list, "places365.txt"),  # categories_places365.txt of its development kit
        name=_places_name,
    ),
}
SOURCES["places365-distinct"] = replace(
    SOURCES["places365"],
    title="Places365, distinct names",
    note="The 40 classes whose names are shared have the published sentences of the shared name, with theirs in its "
    "place; 408 of these 958 sentences (43 %) do not say it and stay the same for all that share it.",
    name=_places_distinct,
    key=_places_name,
)
"""Every published data set by name."""
