"""The aviary's data sets: held-out species, painted plainly or under a shift, class by class in folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lgca_core.aviary.painter import Painting, Scene

VERSION = "2"
"""Changes whenever a picture or a sentence of a split would change."""


@dataclass(frozen=True)
class Split:
    """Which species, painted in which style, how many pictures of each."""

    species: str
    style: str
    pictures: int


GRADED = ("night", "sketch")
"""Shifts that come in severities 1 to 3 too."""

SPLITS: dict[str, Split] = {
    "aviary": Split("test", "test", 15),
    "aviary-validation": Split("validation", "test", 25),
    "aviary-200": Split("study", "test", 10),
    **{
        f"aviary-{style}": Split("test", style, 15)
        for style in ("small", "large", "clutter", "clean", "night", "sketch")
    },
    **{f"aviary-{style}-{level}": Split("test", f"{style}-{level}", 8) for style in GRADED for level in (1, 2, 3)},
}
"""Every embedded data set. Training sees the species of none; only the validation one may be looked at to choose."""


def scenes(name: str) -> Iterator[tuple[str, int, Scene]]:
    """(class name, number within its class, scene) of every picture of a split, in order."""
    import numpy as np

    from lgca_core.aviary.language import class_names
    from lgca_core.aviary.painter import HABITATS, STYLES, Scene
    from lgca_core.aviary.species import held_out

    split = SPLITS[name]
    for label, (class_name, species) in enumerate(zip(class_names(split.species), held_out(split.species))):
        for number in range(split.pictures):
            rng = np.random.default_rng([*name.encode(), label, number])
            habitat = HABITATS[int(rng.integers(len(HABITATS)))]
            yield class_name, number, Scene(species, habitat, int(rng.integers(2**62)), STYLES[split.style])


def materialise(name: str, root: Path) -> None:
    """Paint the split `name` into `root/<class name>/<number>.png`."""
    from PIL import Image

    for path, painting in paintings(name):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(painting.image).save(root / path)


def paintings(name: str) -> Iterator[tuple[str, Painting]]:
    """(path within the data set, painting) of every picture of a split, in order."""
    from lgca_core.aviary.painter import paint

    for class_name, number, scene in scenes(name):
        yield f"{class_name}/{number:03d}.png", paint(scene)


def descriptions_of(name: str = "aviary") -> dict[str, list[str]]:
    """Class name -> its twelve sentences, for the split `name`."""
    from lgca_core.aviary import language

    return language.descriptions(SPLITS[name].species)
