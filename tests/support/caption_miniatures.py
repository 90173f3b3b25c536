"""The published sets of captioned pictures in miniature, laid out as their publishers do."""

import json
import tarfile
from pathlib import Path

from support.miniatures import picture

DOCCI = {"train": 2, "test": 3, "qual_dev": 1, "qual_test": 1}
"""Split -> pictures."""

DCI = {"train": (11, 12, 13), "valid": (14,), "test": (15, 16)}
"""Split -> numbers of the pictures; 12 has no long caption."""

KARPATHY = {"train": 2, "restval": 1, "val": 1, "test": 2}
"""Split -> pictures; Flickr30k has no restval."""


def _write(file: Path, data: bytes | str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())


def docci(root: Path, *, packed: bool = False) -> Path:
    lines = []
    for split, number in DOCCI.items():
        for k in range(number):
            name = f"{split}_{k:05d}"
            _write(root / "images" / f"{name}.jpg", picture(name))
            lines.append(
                {
                    "example_id": name,
                    "split": split,
                    "image_file": f"{name}.jpg",
                    "description": f"A wall of {name}. It is 3.5 m high, with a door at the left.",
                    "cluster_id": -1,
                }
            )
    _write(root / "docci_descriptions.jsonlines", "".join(json.dumps(line) + "\n" for line in lines))
    if packed:
        with tarfile.open(root / "docci_images.tar.gz", "w:gz") as tar:
            tar.add(root / "images", "images")
        for file in (root / "images").iterdir():
            file.unlink()
        (root / "images").rmdir()
    return root


def dci(root: Path) -> Path:
    for number in (one for numbers in DCI.values() for one in numbers):
        _write(root / "photos" / f"sa_{number}.jpg", picture(f"sa_{number}"))
        about = {
            "image": f"sa_{number}.jpg",
            "short_caption": f"A street, number {number}.",
            "mask_data": {"0": {"idx": 0, "label": "street", "caption": "grey", "parent": -1, "requirements": []}},
            "mask_keys": ["0"],
            "extra_caption": "" if number == 12 else f"The street {number} is wet. People walk along it.",
        }
        _write(root / "annotations" / f"sa_{number}.json", json.dumps(about))
    splits = {split: [f"sa_{number}.json" for number in numbers] for split, numbers in DCI.items()}
    _write(root / "splits.json", json.dumps(splits))
    return root


def urban1k(root: Path) -> Path:
    for number in (1, 2, 10):
        _write(root / "image" / f"{number}.jpg", picture(f"urban {number}"))
        _write(root / "caption" / f"{number}.txt", f"A bus of line {number}. Behind it stands a café.\n")
    return root


def karpathy(root: Path, name: str) -> Path:
    """Flickr30k (name ``flickr30k``) or COCO (``coco``) by the Karpathy split."""
    images = []
    for split, number in KARPATHY.items():
        if split == "restval" and name == "flickr30k":
            continue
        for k in range(number):
            part = "train2014" if split == "train" else "val2014"
            one = {"filename": f"{split}{k}.jpg", "imgid": len(images), "split": split, "sentids": [0, 1]}
            one["sentences"] = [{"raw": f"{text} {split} {k}.", "tokens": [text]} for text in ("A dog", "A cat")]
            if name == "coco":
                one |= {"filepath": part, "cocoid": k}
            folder = root / part if name == "coco" else root / "flickr30k-images"
            _write(folder / one["filename"], picture(one["filename"]))
            images.append(one)
    _write(root / f"dataset_{name}.json", json.dumps({"images": images, "dataset": name}))
    return root


def evaluation_list(file: Path, names: list[str], folder: str = "change/path/to/your/directory") -> Path:
    """A list as GOAL as released has for evaluation."""
    _write(file, json.dumps([{"filename": f"{folder}/{name}", "caption": f"Of {name}."} for name in names]))
    return file
