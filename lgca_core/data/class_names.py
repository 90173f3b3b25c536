"""Ids of the classes of the published data sets, and the names that prompts read out."""

import csv
from collections import Counter
from functools import cache
from importlib.resources import files


@cache
def list_of(file: str) -> tuple[str, ...]:
    """The lines of one of the lists in ``classes/``."""
    return tuple((files("lgca_core.data") / "classes" / file).read_text(encoding="utf-8").splitlines())


@cache
def imagenet() -> dict[str, dict[str, str]]:
    """wnid -> name, former name, whether in -A and -R; in label order.

    wnids and subsets as in timm (imagenet_synsets.txt, imagenet_a_synsets.txt, imagenet_r_synsets.txt); names as in
    open_clip's IMAGENET_CLASSNAMES, which are those that WCA evaluates with; former names, of CLIP's first list, where
    they differ: the published descriptors have them.
    """
    rows = csv.DictReader(list_of("imagenet.csv"))
    return {row["wnid"]: row for row in rows}


@cache
def wnids(subset: str = "") -> tuple[str, ...]:
    return tuple(wnid for wnid, row in imagenet().items() if not subset or row[subset] == "1")


def imagenet_name(wnid: str) -> str:
    return imagenet()[wnid]["name"]


@cache
def imagenet_former() -> dict[str, str]:
    return {wnid: row["former"] for wnid, row in imagenet().items() if row["former"]}


def cub_name(class_id: str) -> str:
    """``001.Black_footed_Albatross`` -> ``Black-footed Albatross``, as WCA writes it: all but the last word joined."""
    *first, last = class_id.partition(".")[2].split("_")
    return f"{'-'.join(first)} {last}" if first else last


def spaced(class_id: str) -> str:
    return class_id.replace("_", " ")


def places_name(class_id: str) -> str:
    """``/a/arena/hockey`` -> ``arena``, as WCA and others use it: 344 names for 365 classes."""
    return spaced(class_id.split("/")[2])


def places_distinct(class_id: str) -> str:
    """``/a/arena/hockey`` -> ``hockey arena`` where several are called ``arena``, else as :func:`places_name`."""
    name, *rest = class_id.split("/")[2:]
    return spaced(" ".join([*rest, name])) if places_name(class_id) in _shared() else places_name(class_id)


@cache
def _shared() -> frozenset[str]:
    counts = Counter(map(places_name, list_of("places365.txt")))
    return frozenset(name for name, count in counts.items() if count > 1)
