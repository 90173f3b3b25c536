"""The ten published data sets in miniature: a few generated pictures, laid out and packed as the originals are.

What an archive holds is made in memory, member by member, and either packed or laid out as it would unpack, so that
the two cannot differ. Beside the pictures of the split that is evaluated lie others, and the files that the original
has and that nothing here reads.
"""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from lgca_core.data import copies, table
from lgca_core.data.source import Source
from lgca_core.data.sources import SOURCES

WNIDS = {
    "imagenet": ("n01440764", "n01631663", "n03773504", "n04008634"),  # the last two are both missiles
    "imagenet-v2": ("n01440764", "n01484850", "n01530575"),  # the classes 0, 2 and 10
    "imagenet-r": ("n01443537", "n01484850", "n03773504"),
    "imagenet-a": ("n01498041", "n01631663", "n02077923"),
    "imagenet-sketch": ("n01440764", "n01443537", "n03773504"),
}
CLASSES = {
    "cub": ("001.Black_footed_Albatross", "013.Bobolink", "143.Caspian_Tern"),
    "pets": ("Abyssinian", "american_bulldog", "Bengal"),  # in the order of the numbers; sorting would part them
    "dtd": ("banded", "chequered", "polka-dotted"),
    "food101": ("apple_pie", "cheese_plate", "cheesecake"),
    "places365": ("/a/airfield", "/a/arena/hockey", "/a/arena/rodeo"),
}
CLASSES["places365-distinct"] = CLASSES["places365"]
IDS = WNIDS | CLASSES
"""Class ids of each miniature, in label order."""

EACH = 2
"""Pictures of each class in the split that is evaluated."""

NAMES = tuple(SOURCES)


def picture(key: str) -> bytes:
    """A small JPEG of its own colour and grain."""
    rng = np.random.default_rng(list(key.encode()))
    pixels = rng.normal(rng.uniform(40, 215, size=3), 30, size=(40 + rng.integers(20), 56, 3))
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def contents(name: str) -> dict[str, dict[str, bytes]]:
    """Archive -> path in it -> bytes, as in the original."""
    return _CONTENTS[name]()


def make(name: str, root: Path, *, by_class: bool = False) -> Path:
    """Lays the miniature out under `root` as its archives unpack, and returns `root`, a copy of the data set.

    `by_class` lays ImageNet out as most people have it instead, ``val/<wnid>/``, without the development kit.
    """
    if by_class:
        labels = split(name)
        for path, data in contents(name)["ILSVRC2012_img_val.tar"].items():
            _write(root / "val" / labels[path] / path, data)
        return root
    into = {archive.name: archive.into for archive in SOURCES[name].archives}
    for archive, members in contents(name).items():
        for path, data in members.items():
            _write(root / into[archive] / path, data)
    return root


def pack(name: str, folder: Path) -> list[Path]:
    """Writes the miniature's archives into `folder`, under the names and in the formats of the originals.

    The same bytes every time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packed = []
    for archive, members in contents(name).items():
        packed.append(folder / archive)
        if archive.endswith(".zip"):
            with zipfile.ZipFile(packed[-1], "w") as opened:
                for path, data in members.items():
                    opened.writestr(zipfile.ZipInfo(path), data)
            continue
        tar = _tar(members)
        # These are plain tars, whatever their names say.
        plain = archive.endswith(".tar") or name in ("imagenet-v2", "pets", "dtd")
        packed[-1].write_bytes(tar if plain else gzip.compress(tar, mtime=0))
    return packed


def split(name: str) -> dict[str, str]:
    """Picture of the evaluated split -> class id; the paths are relative to the folder that holds the pictures."""
    return {path: class_id for class_id in IDS[name] for path in _pictures(name, class_id)[:EACH]}


def source(name: str, packed: list[Path] | None = None, address: str | None = None) -> Source:
    """The row of the table as it would be for the miniature, with its archives if they are packed."""
    row = replace(SOURCES[name], images=EACH * len(IDS[name]), per_class=EACH, ids=lambda: IDS[name])
    if packed is None:
        return row
    archives = [
        replace(
            archive,
            urls=(f"{address}/{archive.name}",) if address and archive.urls else (),
            size=path.stat().st_size,
            checksum=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
        )
        for archive, path in zip(row.archives, packed, strict=True)
    ]
    return replace(row, archives=tuple(archives))


def enter(monkeypatch, name: str, packed: list[Path] | None = None, address: str | None = None) -> Source:
    """Puts the miniature in the place of the original in the table, so that it counts as the whole data set."""
    row = source(name, packed, address)
    monkeypatch.setitem(table.DATASETS, name, copies.entry(name, row))
    return row


# ---- what the archives hold --------------------------------------------------------------------------------


def _tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as opened:
        for above in sorted({str(up) for path in members for up in Path(path).parents} - {"."}):
            member = tarfile.TarInfo(above)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            opened.addfile(member)
        for path, data in members.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            opened.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _pictures(name: str, class_id: str) -> list[str]:
    """Paths of a class's pictures, as the annotation has them; those after the first EACH are of another split."""
    number = IDS[name].index(class_id)
    if name == "imagenet":  # the classes take turns
        return [f"ILSVRC2012_val_{k * len(IDS[name]) + number + 1:08d}.JPEG" for k in range(EACH)]
    if name == "imagenet-v2":
        label = {"n01440764": 0, "n01484850": 2, "n01530575": 10}[class_id]
        return [f"{label}/{hashlib.sha1(f'{label} {k}'.encode()).hexdigest()}.jpeg" for k in range(EACH)]
    if name == "imagenet-r":
        return [f"{class_id}/{style}_0.jpg" for style in ("art", "tattoo")]
    if name == "imagenet-a":
        return [f"{class_id}/0.00{k}116_digital clock _ digital clock_0.865662.jpg" for k in range(EACH)]
    if name == "imagenet-sketch":
        return [f"{class_id}/sketch_{k}.JPEG" for k in range(EACH)]
    if name == "cub":
        bird = class_id.partition(".")[2]
        return [f"{class_id}/{bird}_{k:04d}_{18 + k}.jpg" for k in (46, 9, 2)]
    if name == "pets":
        return [f"{class_id}_{k}.jpg" for k in (201, 10, 100)]
    if name == "dtd":
        return [f"{class_id}/{class_id}_{k:04d}.jpg" for k in (5, 37, 2, 4)]
    if name == "food101":
        return [f"{class_id}/{1011328 + 7 * k}.jpg" for k in range(EACH + 1)]
    return [f"Places365_val_{k * len(IDS[name]) + number + 1:08d}.jpg" for k in range(EACH)]


def _shown(name: str, prefix: str = "") -> dict[str, bytes]:
    return {prefix + path: picture(f"{name} {path}") for class_id in IDS[name] for path in _pictures(name, class_id)}


def _lines(rows) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def _imagenet() -> dict[str, dict[str, bytes]]:
    # The kit numbers its classes in an order of its own, and after them the inner nodes of the hierarchy.
    order = IDS["imagenet"][::-1]
    synsets = np.zeros(
        len(order) + 1,
        dtype=[
            (field, object)
            for field in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
        ],
    )
    for number, wnid in enumerate(order, 1):
        synsets[number - 1] = (float(number), wnid, "words, more words", "a gloss", 0.0, np.zeros((0, 0)), 0.0)
    synsets[-1] = (float(len(order) + 1), "n00001740", "entity", "all", 4.0, np.arange(1.0, len(order) + 1), 9.0)
    mat = io.BytesIO()
    savemat(mat, {"synsets": synsets.reshape(-1, 1)})
    labels = {path: order.index(class_id) + 1 for path, class_id in split("imagenet").items()}
    kit = "ILSVRC2012_devkit_t12"
    return {
        "ILSVRC2012_img_val.tar": dict(sorted(_shown("imagenet").items())),
        f"{kit}.tar.gz": {
            f"{kit}/readme.txt": b"Development kit",
            f"{kit}/COPYING": b"terms",
            f"{kit}/data/meta.mat": b"MATLAB 5.0 MAT-file".ljust(116) + mat.getvalue()[116:],  # without the date
            f"{kit}/data/ILSVRC2012_validation_ground_truth.txt": _lines(labels[path] for path in sorted(labels)),
        },
    }


def _class_folders(name: str, archive: str, top: str, **beside: bytes) -> dict[str, dict[str, bytes]]:
    return {archive: {f"{top}/{path}": data for path, data in beside.items()} | _shown(name, f"{top}/")}


def _cub() -> dict[str, dict[str, bytes]]:
    paths = [path for class_id in IDS["cub"] for path in _pictures("cub", class_id)]
    tested = split("cub")
    label = {class_id: number for number, class_id in enumerate(IDS["cub"], 1)}
    top = "CUB_200_2011"
    return {
        f"{top}.tgz": {
            "attributes.txt": b"1 has_bill_shape::curved_(up_or_down)\n",
            f"{top}/README": b"The Caltech-UCSD Birds-200-2011 Dataset",
            f"{top}/images.txt": _lines(f"{k} {path}" for k, path in enumerate(paths, 1)),
            f"{top}/train_test_split.txt": _lines(f"{k} {int(path not in tested)}" for k, path in enumerate(paths, 1)),
            f"{top}/image_class_labels.txt": _lines(
                f"{k} {label[path.partition('/')[0]]}" for k, path in enumerate(paths, 1)
            ),
            f"{top}/classes.txt": _lines(f"{number} {class_id}" for class_id, number in label.items()),
            f"{top}/bounding_boxes.txt": _lines(f"{k} 60.0 27.0 325.0 304.0" for k in range(1, len(paths) + 1)),
            f"{top}/parts/parts.txt": b"1 back\n",
        }
        | _shown("cub", f"{top}/images/")
    }


def _pets() -> dict[str, dict[str, bytes]]:
    breed = {"Abyssinian": (1, 1, 1), "american_bulldog": (2, 2, 1), "Bengal": (3, 1, 2)}  # class, species, breed

    def row(path: str) -> str:
        stem = path.removesuffix(".jpg")
        return " ".join(map(str, (stem, *breed[stem.rpartition("_")[0]])))

    tested = split("pets")
    rest = [path for class_id in IDS["pets"] for path in _pictures("pets", class_id) if path not in tested]
    return {
        "images.tar.gz": {"images/Abyssinian_101.mat": b"MATLAB"} | _shown("pets", "images/"),
        "annotations.tar.gz": {
            "annotations/README": b"OXFORD-IIIT PET Dataset",
            "annotations/list.txt": b"#Image CLASS-ID SPECIES BREED ID\n" + _lines(map(row, [*tested, *rest])),
            "annotations/test.txt": _lines(map(row, tested)),
            "annotations/trainval.txt": _lines(map(row, rest)),
            "annotations/._trimaps": b"Mac OS X",
            "annotations/trimaps/Abyssinian_100.png": b"PNG",
            "annotations/xmls/Abyssinian_100.xml": b"<annotation/>",
        },
    }


def _dtd() -> dict[str, dict[str, bytes]]:
    paths = {class_id: _pictures("dtd", class_id) for class_id in IDS["dtd"]}
    lists = {
        f"dtd/labels/{part}{fold}.txt": _lines(
            path for of_class in paths.values() for path in of_class[of][: EACH if fold == 1 else 1]
        )
        for fold in (1, 2)
        for part, of in (("test", slice(0, 2)), ("train", slice(2, 3)), ("val", slice(3, 4)))
    }
    joint = {"dtd/labels/labels_joint_anno.txt": _lines(f"{path} {c} " for c, ps in paths.items() for path in ps)}
    return {"dtd-r1.0.1.tar.gz": _shown("dtd", "dtd/images/") | {"dtd/imdb/imdb.mat": b"MATLAB"} | joint | lists}


def _food101() -> dict[str, dict[str, bytes]]:
    tested = split("food101")
    parts: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for class_id in IDS["food101"][::-1]:  # the order in the file means nothing
        for path in _pictures("food101", class_id):
            part = "test" if path in tested else "train"
            parts[part].setdefault(class_id, []).append(path.removesuffix(".jpg"))
    meta = {f"food-101/meta/{part}.json": json.dumps(listed).encode() for part, listed in parts.items()} | {
        f"food-101/meta/{part}.txt": _lines(path for paths in listed.values() for path in paths)
        for part, listed in parts.items()
    }
    return {
        "food-101.tar.gz": {
            "food-101/README.txt": b"Food-101",
            "food-101/license_agreement.txt": b"LICENSE AGREEMENT",
            "food-101/meta/classes.txt": _lines(IDS["food101"]),
            "food-101/meta/labels.txt": _lines(["Apple pie", "Cheese plate", "Cheesecake"]),
        }
        | meta
        | _shown("food101", "food-101/images/")
    }


def _places365() -> dict[str, dict[str, bytes]]:
    label = {class_id: number for number, class_id in enumerate(IDS["places365"])}
    return {
        "val_large.tar": _shown("places365", "val_large/"),
        "filelist_places365-standard.tar": {
            "categories_places365.txt": _lines(f"{class_id} {number}" for class_id, number in label.items()),
            "places365_train_standard.txt": b"/a/airfield/00000001.jpg 0\n",
            "places365_val.txt": _lines(f"{path} {label[c]}" for path, c in sorted(split("places365").items())),
            "places365_test.txt": b"Places365_test_00000001.jpg\n",
        },
    }


_CONTENTS = {
    "imagenet": _imagenet,
    "imagenet-v2": lambda: _class_folders(
        "imagenet-v2", "imagenetv2-matched-frequency.tar.gz", "imagenetv2-matched-frequency-format-val"
    ),
    "imagenet-r": lambda: _class_folders("imagenet-r", "imagenet-r.tar", "imagenet-r", **{"README.txt": b"classes"}),
    "imagenet-a": lambda: _class_folders("imagenet-a", "imagenet-a.tar", "imagenet-a", **{"README.txt": b"classes"}),
    "imagenet-sketch": lambda: _class_folders("imagenet-sketch", "ImageNet-Sketch.zip", "sketch"),
    "cub": _cub,
    "pets": _pets,
    "dtd": _dtd,
    "food101": _food101,
    "places365": _places365,
    "places365-distinct": _places365,
}
