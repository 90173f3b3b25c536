"""The data sets of the embedded world: painted when first asked for, then ordinary class folders."""

from functools import partial
from pathlib import Path

from lgca_core.data.folders import folder
from lgca_core.data.manifest import Manifest, OnError
from lgca_core.data.table import Entry, Facts, register_dataset
from lgca_core.files import home, make_folder

SETS = {
    "aviary": "held-out species in painted scenes, made on demand",
    "aviary-validation": "other held-out species, for choices that a test set must not see",
    "aviary-200": "two hundred more held-out species, for differences that forty cannot show",
    "aviary-small": "the species of aviary, small in the picture",
    "aviary-large": "the same species, filling the picture",
    "aviary-clutter": "the same species, much in front and around",
    "aviary-clean": "the same species, nothing else in the scene",
    "aviary-night": "the same species, by night",
    "aviary-sketch": "the same species, drawn as sketches",
    "aviary-night-1": "the same species at dusk, the mildest of three severities",
    "aviary-night-2": "the same species, half way to night",
    "aviary-night-3": "the same species, near night",
    "aviary-sketch-1": "the same species, drawn over a little, the mildest of three severities",
    "aviary-sketch-2": "the same species, half way to a sketch",
    "aviary-sketch-3": "the same species, near a sketch",
}
"""Each data set of the aviary, and a line about it."""


# The painter is imported where it is needed: a list of data sets does without.


def _place(name: str) -> Path:
    from lgca_core.aviary import splits

    return home() / "datasets" / f"{name}-{splits.VERSION}"


def _open(name: str, copy: Path | None, on_error: OnError) -> Manifest:
    from lgca_core.aviary import splits

    root = _place(name)
    if not root.is_dir():
        make_folder(root, partial(splits.materialise, name))
    return folder(root, name=name, split=_split(name), on_error=on_error, remember=True)


def _split(name: str) -> str:
    return "validation" if name.endswith("-validation") else "test"


def _descriptions(name: str) -> dict[str, list[str]]:
    from lgca_core.aviary import splits

    return splits.descriptions_of(name)


def _facts(name: str) -> Facts:
    from lgca_core.aviary import splits

    classes = len(splits.descriptions_of(name))
    images = classes * splits.SPLITS[name].pictures
    return Facts(_split(name), images, classes, "MIT", "none", _place(name))


for _name, _summary in SETS.items():
    register_dataset(
        _name, Entry(_summary, partial(_open, _name), partial(_facts, _name), partial(_descriptions, _name))
    )
