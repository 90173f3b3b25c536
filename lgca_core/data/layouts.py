"""How a copy of each published data set is found and read, from its own annotation files, and compared with the table.

A copy is read as its original archives lie once unpacked; torchvision's folders are such copies too. torchvision's
classes do not read them: they know five of the ten, and keep to themselves the lists of files and labels, which are
all that is wanted here.
"""

import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lgca_core.data.class_names import imagenet, wnids
from lgca_core.data.debris import is_debris, is_picture
from lgca_core.data.source import Copy, Source
from lgca_core.errors import LgcaError


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
    return sorted(entry for entry in path.iterdir() if not is_debris(entry.name) and entry.is_dir())


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
        inside = sorted(file.name for file in (base / name).iterdir() if not is_debris(file.name) and is_picture(file))
        if not inside:
            raise LgcaError(f"the class folder {base / name} holds no pictures: fill or remove it")
        rows += [(f"{name}/{file}", name) for file in inside]
    return _made(base, rows, classes, base)


def _wnid(folder: str) -> str | None:
    return folder if re.fullmatch(r"n\d{8}", folder) else None


def imagenet_v2_class(folder: str) -> str | None:
    """ImageNet-V2's folders are the label, 0 to 999, written out."""
    return wnids()[int(folder)] if re.fullmatch(r"0|[1-9]\d{0,2}", folder) else None


def read_class_folders(
    source: Source, path: Path, *, tops: Sequence[str], class_of: Callable[[str], str | None] = _wnid
) -> Copy:
    base = _find(source, path, lambda folder: any(class_of(entry.name) for entry in _folders(folder)), tops, up=1)
    return _by_class(source, base, class_of)


DEVKIT = "ILSVRC2012_devkit_t12"


def read_imagenet(source: Source, path: Path) -> Copy:
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
    if unknown := [wnid for wnid in classes.values() if wnid not in imagenet()]:
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


def read_cub(source: Source, path: Path) -> Copy:
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


def read_pets(source: Source, path: Path) -> Copy:
    base = _find(source, path, _all("annotations/test.txt", "images"), ("oxford-iiit-pet",))
    where = base / "annotations" / "test.txt"
    rows = _fields(where, "<picture> <class-id> <species> <breed-id>")
    classes = {label: picture.rpartition("_")[0] for picture, label, _, _ in rows}  # the last restarts for dogs
    pictures = [(f"{picture}.jpg", label) for picture, label, _, _ in rows]
    return _made(base / "images", pictures, _numbered(classes.items(), where), where)


def read_dtd(source: Source, path: Path) -> Copy:
    base = _find(source, path, _all("labels/test1.txt", "images"), ("dtd", "dtd/dtd"))
    where = base / "labels" / "test1.txt"
    rows = [(picture, picture.partition("/")[0]) for [picture] in _fields(where, "<class>/<picture>")]
    return _made(base / "images", rows, {name: name for name in sorted({label for _, label in rows})}, where)


def read_food101(source: Source, path: Path) -> Copy:
    base = _find(source, path, _all("meta/test.json", "images"), ("food-101",))
    where = base / "meta" / "test.json"
    try:
        listed = json.loads(_text(where))
        rows = [(f"{picture}.jpg", name) for name, pictures in listed.items() for picture in pictures]
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise LgcaError(f"{where} is not of the form {{'class': ['class/picture', ...]}}: unpack it again") from error
    return _made(base / "images", rows, {name: name for name in sorted(listed)}, where)


def read_places365(source: Source, path: Path) -> Copy:
    lists = ("places365_val.txt", "categories_places365.txt")
    base = _find(source, path, lambda folder: _all(*lists)(folder) and _all("val_large")(folder))
    classes = [(label, name) for name, label in _fields(base / lists[1], "<class> <label>")]
    rows = [(picture, label) for picture, label in _fields(base / lists[0], "<picture> <label>")]
    return _made(base / "val_large", rows, _numbered(classes, base / lists[1]), base / lists[0])


# ---- comparing a copy with the table -----------------------------------------------------------------------


def compare_copy(source: Source, copy: Copy) -> tuple[list[tuple[str, str]], list[str]]:
    """Compare a copy with the table; files are looked for, none is read.

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
