"""Species: what a bird of the aviary may look like, and which are held out from training.

A species is one value for each of thirteen attributes. Held-out species come in groups of four that share
their family and body colour: each differs from the first of its group in one or two others. These are fine-grained
classes whose pictures look alike at small scales. A training species differs from every held-out one in at least
three attributes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 38, 44),
    "orange": (238, 132, 32),
    "yellow": (244, 208, 52),
    "green": (62, 150, 70),
    "blue": (46, 98, 190),
    "purple": (126, 62, 160),
    "pink": (238, 150, 178),
    "brown": (124, 78, 44),
    "black": (34, 32, 38),
    "white": (244, 242, 236),
    "grey": (140, 144, 150),
}
"""Plumage colours: name -> sRGB."""

_PLUMAGE = tuple(COLOURS)
_BARE = ("red", "orange", "yellow", "pink", "black", "grey")

VALUES: dict[str, tuple[str, ...]] = {
    "family": ("finch", "duck", "heron", "hawk", "parrot", "swallow", "wren", "kingfisher"),
    "body": _PLUMAGE,
    "cap": _PLUMAGE,
    "belly": _PLUMAGE,
    "wing": _PLUMAGE,
    "wing_pattern": ("plain", "barred", "spotted", "edged"),
    "beak": ("short", "long", "hooked", "flat"),
    "beak_colour": _BARE,
    "legs": _BARE,
    "crest": ("none", "crested"),
    "tail": ("short", "long", "forked", "fanned"),
    "tail_colour": _PLUMAGE,
    "ring": ("none", "white", "yellow", "red"),
}
"""Every attribute and the values it may take; their order is the order of `Species`' fields."""

ATTRIBUTES = tuple(VALUES)
_VARIED = ("cap", "belly", "wing", "wing_pattern", "beak", "legs", "crest", "tail", "tail_colour", "ring")
_APART = 3
_MEMBERS = 4
HELD_OUT_SPLITS = {"test": (1, 10), "validation": (2, 10), "study": (4, 50)}
"""Held-out splits: name -> (seed, how many groups of four species).

"study" came later than the shipped encoders and captions: its seed is the first for which none of the species that they
were trained on comes nearer than three attributes, so that the same pictures train them still.
"""


@dataclass(frozen=True)
class Species:
    """One value an attribute; `VALUES` lists what each may be."""

    family: str
    body: str
    cap: str
    belly: str
    wing: str
    wing_pattern: str
    beak: str
    beak_colour: str
    legs: str
    crest: str
    tail: str
    tail_colour: str
    ring: str

    def __post_init__(self) -> None:
        for attribute, values in VALUES.items():
            value = getattr(self, attribute)
            if value not in values:
                raise ValueError(f"{attribute} is one of {', '.join(values)}; not {value!r}")

    def codes(self) -> np.ndarray:
        """The species as (13,) int8: each attribute's index into its `VALUES`."""
        return np.array([VALUES[a].index(getattr(self, a)) for a in ATTRIBUTES], dtype=np.int8)


assert tuple(field.name for field in fields(Species)) == ATTRIBUTES


def distance(a: Species, b: Species) -> int:
    """In how many attributes (0..13) two species differ."""
    return sum(getattr(a, name) != getattr(b, name) for name in ATTRIBUTES)


def draw_species(rng: np.random.Generator) -> Species:
    """A species with every attribute drawn uniformly, but the eye-ring, absent five times in eight.

    The crest, one of two values, is absent half of the time.
    """
    values = {name: str(rng.choice(options)) for name, options in VALUES.items()}
    if rng.random() < 0.5:
        values["ring"] = "none"
    return Species(**values)


def draw_training_species(rng: np.random.Generator) -> Species:
    """A species at least three attributes away from every held-out one, of all splits."""
    while True:
        species = draw_species(rng)
        if (_codes_held_out() != species.codes()).sum(1).min() >= _APART:
            return species


@cache
def _codes_held_out() -> np.ndarray:
    """(species, 13) int8: every held-out species of every split."""
    return np.stack([species.codes() for split in HELD_OUT_SPLITS for species in held_out(split)])


@cache
def held_out(split: str) -> tuple[Species, ...]:
    """The species of `split`, a key of `HELD_OUT_SPLITS`, group by group of four.

    Groups differ from each other in family or body colour, so that a name such as
    "red-bellied pink finch" belongs to one group only.
    """
    if split not in HELD_OUT_SPLITS:
        raise ValueError(f"held-out splits are {', '.join(HELD_OUT_SPLITS)}; not {split!r}")
    seed, count = HELD_OUT_SPLITS[split]
    rng = np.random.default_rng([20251100419, seed])
    groups: dict[tuple[str, str], list[Species]] = {}
    while len(groups) < count:
        first = draw_species(rng)
        key = (first.family, first.body)
        if key not in groups:
            groups[key] = _draw_group(first, rng)
    return tuple(member for group in groups.values() for member in group)


def _draw_group(first: Species, rng: np.random.Generator) -> list[Species]:
    members = [first]
    while len(members) < _MEMBERS:
        changed = rng.choice(_VARIED, size=rng.integers(1, 3), replace=False)
        values = {}
        for name in changed:
            others = [v for v in VALUES[name] if v != getattr(first, name)]
            values[str(name)] = str(rng.choice(others))
        member = replace(first, **values)
        if member not in members:
            members.append(member)
    return members
