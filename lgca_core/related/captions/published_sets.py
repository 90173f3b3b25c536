"""Published sets of captioned pictures, each read from a copy as its publisher lays it out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lgca_core.data.debris import is_debris
from lgca_core.data.opening import unpacked
from lgca_core.errors import LgcaError
from lgca_core.related.captions.listing import Listed, Places, Rows, folder_of, json_lines, json_of, text_of


@dataclass(frozen=True)
class Published:
    """A set of captioned pictures.

    Attributes:
        title: what it is called.
        layout: what a copy holds, in words.
        annotations, pictures: names, any one of which the annotations and the folder of the pictures have.
        read: (folder of the copy, its annotations) -> rows; paths are relative to the folder of the pictures.
        packed: an archive that may lie there in place of the folder of the pictures.
        above: whether paths begin with that folder's own name.
        besides: a further file that must be there.
    """

    title: str
    layout: str
    annotations: tuple[str, ...]
    pictures: tuple[str, ...]
    read: Callable[[Places, Path], Rows]
    packed: str = ""
    above: bool = False
    besides: str = ""

    def open(self, path: Path) -> tuple[Places, Rows]:
        """The folder of the pictures, and the rows. Raises LgcaError where `path` holds no copy."""
        if path.is_file() and path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz")):
            path = unpacked([path])
        there = (*self.pictures, self.packed) if self.packed else self.pictures
        wanted = (self.annotations, there, *([(self.besides,)] if self.besides else []))
        copy = folder_of(path, wanted, f"copy of {self.title}", self.layout)
        annotations, pictures = copy.first(self.annotations), copy.first(there)
        assert annotations and pictures, "folder_of has seen both"
        if pictures.is_file():
            packed = folder_of(unpacked([pictures]), (self.pictures,), f"picture of {self.title}", self.layout)
            pictures = packed.first(self.pictures)
            assert pictures, "folder_of has seen it"
        return Places(pictures.parent if self.above else pictures), self.read(copy, annotations)


def read_docci(_copy: Places, annotations: Path) -> Rows:
    """A line: ``{"example_id", "split", "image_file", "description"}``; splits train, test, qual_dev, qual_test."""
    for where, line, fault in json_lines(annotations):
        if line is None:
            yield None, Listed(where, fault=fault)
        else:
            split, image, text = (line.get(key) for key in ("split", "image_file", "description"))
            known = isinstance(split, str)
            yield split if known else None, Listed(where, image, [text], fault="" if known else "no split")


def _dci(joined: bool) -> Callable[[Places, Path], Rows]:
    def read(copy: Places, annotations: Path) -> Rows:
        """``splits.json``: split -> names of annotation files; one: ``{"image", "short_caption", "extra_caption"}``."""
        splits = copy.find("splits.json")
        assert splits, "folder_of has seen it"
        parts = json_of(splits)
        if not isinstance(parts, dict) or not all(isinstance(names, list) for names in parts.values()):
            raise LgcaError(f"{splits} is not of the form {{'train': ['NAME.json', ...], ...}}: unpack it again")
        below = Places(annotations)
        for split, names in parts.items():
            for name in map(str, names):
                if not (file := below.first((name, f"{name}.json"))):
                    yield split, Listed(str(splits), fault=f"lists {name!r}, which is not in {annotations}")
                    continue
                try:
                    about = json.loads(text_of(file))
                    texts = [about.get("short_caption"), about.get("extra_caption")]
                    image = about.get("image")
                except (LgcaError, ValueError, RecursionError, AttributeError):
                    yield split, Listed(str(file), fault="no JSON object that can be read")
                    continue
                long = texts[1]
                if long is None or (isinstance(long, str) and not long.strip()):
                    yield split, Listed(str(file), image, lacks="no long caption (extra_caption)")
                elif joined and all(isinstance(text, str) for text in texts):
                    yield split, Listed(str(file), image, ["\n".join(filter(str.strip, texts))])
                else:
                    yield split, Listed(str(file), image, [long])

    return read


def read_urban1k(copy: Places, annotations: Path) -> Rows:
    """``caption/N.txt`` and ``image/N.jpg``, by number; the whole text is the caption; all are for tests."""
    pictures = copy.first(PUBLISHED["urban1k"].pictures)
    assert pictures, "folder_of has seen it"
    files = [file for folder in (annotations, pictures) for file in folder.iterdir() if not is_debris(file.name)]
    texts = {file.stem: file for file in files if file.suffix.lower() == ".txt"}
    stems = {file.stem for file in files if file.suffix.lower() in (".txt", ".jpg")}
    for stem in sorted(stems, key=lambda stem: (len(stem), stem)):
        text = [text_of(texts[stem]).strip()] if stem in texts else []
        yield "test", Listed(str(texts.get(stem, annotations)), f"{stem}.jpg", text)


def read_karpathy(_copy: Places, annotations: Path) -> Rows:
    """``{"images": [{"filename", "filepath" (COCO alone), "split", "sentences": [{"raw"}]}]}``.

    COCO's split restval counts as train, as is usual, and of pictures of val and test the first five captions count.
    """
    found = json_of(annotations)
    images = found.get("images") if isinstance(found, dict) else None
    if not isinstance(images, list):
        raise LgcaError(f"{annotations} is not of the form {{'images': [...]}}: copy or unpack it again")
    for number, one in enumerate(images, 1):
        where = f"{annotations}, picture {number}"
        try:
            path = "/".join(filter(None, (one.get("filepath"), one["filename"])))
            texts = [sentence["raw"] for sentence in one["sentences"]]
            split = str(one["split"])
        except (KeyError, TypeError, AttributeError):
            yield None, Listed(where, fault="not of the form {'filename', 'split', 'sentences': [{'raw'}]}")
            continue
        if split in ("train", "restval"):
            yield "train", Listed(where, path, texts)
        else:
            yield split, Listed(where, path, texts[:_CAPTIONS_OF_TEST])


_CAPTIONS_OF_TEST = 5  # as retrieval on COCO is published; a few of its pictures have six or seven

_DCI = (
    "DCI",
    "annotations/ with one JSON file a picture, photos/ with the pictures, and splits.json",
    ("annotations", "complete"),
    ("photos",),
)

PUBLISHED: dict[str, Published] = {
    "docci": Published(
        "DOCCI",
        "docci_descriptions.jsonlines and images/ (or docci_images.tar.gz)",
        ("docci_descriptions.jsonlines", "docci_descriptions.jsonl"),
        ("images", "docci_images"),
        read_docci,
        "docci_images.tar.gz",
    ),
    "dci": Published(*_DCI, _dci(joined=False), besides="splits.json"),
    "dci-joined": Published(*_DCI, _dci(joined=True), besides="splits.json"),
    "urban1k": Published(
        "Urban1k",
        "image/ with N.jpg and caption/ with N.txt",
        ("caption", "captions"),
        ("image", "images"),
        read_urban1k,
    ),
    "flickr30k": Published(
        "Flickr30k",
        "dataset_flickr30k.json (the Karpathy split) and flickr30k-images/",
        ("dataset_flickr30k.json", "karpathy/dataset_flickr30k.json", "caption_datasets/dataset_flickr30k.json"),
        ("flickr30k-images", "flickr30k_images", "images"),
        read_karpathy,
    ),
    "coco": Published(
        "COCO",
        "dataset_coco.json (the Karpathy split), train2014/ and val2014/",
        ("dataset_coco.json", "karpathy/dataset_coco.json", "caption_datasets/dataset_coco.json"),
        ("val2014", "images/val2014", "train2014", "images/train2014"),
        read_karpathy,
        above=True,
    ),
}
"""Every published set by name. ``dci`` takes the long caption (extra_caption) alone, as GOAL as released does;
``dci-joined`` the short and the long one, a line each, as DCI's own code does."""
