"""The language of the aviary: names, training captions and class descriptions.

A caption carries *claims*: attribute -> value of the labelled bird, a habitat, a distractor. Two captions can then be
compared for truth, so that a pair which is true of each other is never trained on as a negative. Names hold only
part of a species ("red-bellied pink finch"); descriptions add the rest. Their phrasings are kept apart: no sentence
pattern of `describe` occurs in training, though nearly all of its words do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from lgca_core.aviary.painter import OBJECTS
from lgca_core.aviary.species import ATTRIBUTES, COLOURS, VALUES, Species, held_out

SYNONYMS: dict[str, tuple[str, ...]] = {
    "red": ("crimson", "scarlet"),
    "orange": ("amber",),
    "yellow": ("golden", "lemon"),
    "green": ("emerald", "grass green"),
    "blue": ("azure", "cobalt"),
    "purple": ("violet",),
    "pink": ("rosy", "rose pink"),
    "brown": ("chestnut", "russet"),
    "black": ("jet black", "sooty"),
    "white": ("snowy", "pure white"),
    "grey": ("gray", "ashy"),
    "cap": ("crown", "top of the head"),
    "belly": ("underparts", "underside", "lower body"),
    "wings": ("wing feathers",),
    "beak": ("bill",),
    "legs": ("feet", "legs and feet"),
    "tail": ("tail feathers",),
    "body": ("plumage", "back", "feathers"),
    "barred": ("striped", "banded"),
    "spotted": ("dotted", "speckled"),
    "edged": ("bordered", "rimmed"),
    "plain": ("unmarked", "uniform"),
    "short": ("stubby", "small"),
    "long": ("slender", "pointed"),
    "hooked": ("curved", "hawk-like"),
    "flat": ("broad", "duck-like"),
    "forked": ("split", "swallow-like"),
    "fanned": ("fan-shaped", "spread"),
    "bird": ("animal", "creature"),
    "ring": ("circle",),
    "crest": ("tuft", "pointed crest"),
}
"""Other words that training sometimes says for a word of the aviary."""

HABITAT_PHRASES: dict[str, tuple[str, ...]] = {
    "forest": ("in a forest", "among the trees", "in the dark woods", "between tree trunks"),
    "meadow": ("in a meadow", "above the green grass", "in a field", "on a grassy hill"),
    "lake": ("by a lake", "over the water", "beside a pond", "among the reeds"),
    "desert": ("in the desert", "near a cactus", "over dry sand", "in a dry place"),
    "snow": ("in the snow", "in winter", "among snowy pines", "over white snow"),
    "garden": ("in a garden", "in the park", "behind a house", "in the yard"),
    "shore": ("at the shore", "on the beach", "by the sea", "near the coast"),
    "autumn": ("in autumn", "among falling leaves", "in the fall", "between orange leaves"),
}

TEMPLATES: tuple[str, ...] = (
    "a photo of {}.",
    "a photo of {}.",
    "a photo of {}.",
    "a picture of {}.",
    "an image of {}.",
    "a painting of {}.",
    "a drawing of {}.",
    "a close-up photo of {}.",
    "a good photo of {}.",
    "a bad photo of {}.",
    "a cropped photo of {}.",
    "a bright photo of {}.",
    "a dark photo of {}.",
    "a photo of {} in nature.",
    "a photo of {}, a type of bird.",
    "a photo of {} in the wild.",
    "a blurry photo of {}.",
    "this is {}.",
    "here is {}.",
    "there is {} in the scene.",
    "you can see {}.",
    "we see {} here.",
    "{}.",
    "{} in the picture.",
    "{} sits on a branch.",
    "{} on a branch.",
    "{} resting on a perch.",
    "an example of {}.",
    "a view of {}.",
    "a small photo of {}.",
    "a large photo of {}.",
    "the photo shows {}.",
    "the image shows {}.",
    "the picture is of {}.",
    "look at {}.",
    "one can find {} here.",
    "a portrait of {}.",
    "a low resolution photo of {}.",
    "a nice photo of {}.",
    "a jpeg of {}.",
    "an illustration of {}.",
    "i saw {} today.",
    "it is {}.",
    "what you see is {}.",
)
"""Frames for a noun phrase, used in training."""

WITH_PARTS: tuple[str, ...] = (
    "{} with {}.",
    "a photo of {} with {}.",
    "{}, which has {}.",
    "{} has {}.",
    "a photo of {}, with {}.",
    "this is {} with {}.",
    "{} showing {}.",
    "a picture of {} that has {}.",
    "the bird is {} and has {}.",
    "here {} shows {}.",
)
PARTS_ALONE: tuple[str, ...] = (
    "{}.",
    "a photo of {}.",
    "a close-up of {}.",
    "it has {}.",
    "the bird has {}.",
    "a bird with {}.",
    "look for {}.",
    "this bird shows {}.",
    "notice {}.",
    "a detail: {}.",
    "we see {}.",
    "a bird, which has {}.",
    "a crop that shows {}.",
    "part of a bird with {}.",
)


@dataclass(frozen=True)
class Caption:
    """A sentence and what it claims of the bird, of the place, of one distractor (kind, colour)."""

    text: str
    claims: Mapping[str, str] = field(default_factory=dict)
    habitat: str | None = None
    thing: tuple[str, str] | None = None


def modifiers(species: Species) -> dict[str, str]:
    """Every modifier a name may carry: attribute -> "red-bellied", "fork-tailed", ..."""
    out = {
        "cap": f"{species.cap}-capped",
        "belly": f"{species.belly}-bellied",
        "wing": f"{species.wing}-winged",
        "tail_colour": f"{species.tail_colour}-tailed",
        "legs": f"{species.legs}-legged",
        "beak_colour": f"{species.beak_colour}-billed",
        "beak": {
            "short": "short-billed",
            "long": "long-billed",
            "hooked": "hook-billed",
            "flat": "flat-billed",
        }[species.beak],
        "tail": {
            "short": "short-tailed",
            "long": "long-tailed",
            "forked": "fork-tailed",
            "fanned": "fan-tailed",
        }[species.tail],
        "wing_pattern": {
            "plain": "plain-winged",
            "barred": "bar-winged",
            "spotted": "spot-winged",
            "edged": "edge-winged",
        }[species.wing_pattern],
    }
    if species.crest == "crested":
        out["crest"] = "crested"
    if species.ring != "none":
        out["ring"] = f"{species.ring}-eyed"
    return out


@cache
def class_names(split: str) -> tuple[str, ...]:
    """The names of a held-out split, in the order of `species.held_out`: "red-bellied pink finch".

    The modifier is drawn from what sets a species apart from its three siblings; the one that has nothing of its
    own takes any modifier that is still free, so a name may be true of a sibling too.
    """
    rng = np.random.default_rng([7, *split.encode()])
    names: list[str] = []
    birds = held_out(split)
    for start in range(0, len(birds), 4):
        group = birds[start : start + 4]
        owns = [set(modifiers(species).values()) for species in group]
        taken: set[str] = set()
        for member, species in enumerate(group):
            shared = set().union(*(own for other, own in enumerate(owns) if other != member))
            options = sorted(owns[member] - shared - taken) or sorted(owns[member] - taken)
            chosen = str(rng.choice(options))
            taken.add(chosen)
            names.append(f"{chosen} {species.body} {species.family}")
    if len(set(names)) != len(names):
        raise AssertionError("two held-out species have one name")
    return tuple(names)


def an(noun: str) -> str:
    """A noun with its indefinite article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


class Speaker:
    """Turns attributes into words, sometimes by a synonym."""

    def __init__(self, rng: np.random.Generator, plain: float = 0.75) -> None:
        self.rng, self.plain = rng, plain

    def say(self, word: str) -> str:
        others = SYNONYMS.get(word)
        if others is None or self.rng.random() < self.plain:
            return word
        return others[int(self.rng.integers(len(others)))]

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def part(self, species: Species, part: str) -> tuple[str, dict[str, str]]:
        """A noun phrase about one part and what it claims."""
        s, say, chance = species, self.say, self.rng.random
        if part == "body":
            return self.pick([f"{an(say(s.body))} {say('body')}", f"{say(s.body)} {say('body')}"]), {"body": s.body}
        if part == "belly":
            return f"{an(say(s.belly))} {say('belly')}", {"belly": s.belly}
        if part == "cap":
            if s.crest == "crested" and chance() < 0.5:
                return self.pick([f"{an(say(s.cap))} {say('crest')}", f"{an(say(s.cap))} crested {say('cap')}"]), {
                    "cap": s.cap,
                    "crest": s.crest,
                }
            if s.crest == "none" and chance() < 0.15:
                return f"{an(say(s.cap))} {say('cap')} and no crest", {"cap": s.cap, "crest": s.crest}
            return f"{an(say(s.cap))} {say('cap')}", {"cap": s.cap}
        if part == "wing":
            roll = chance()
            if roll < 0.3:
                return f"{say(s.wing)} {say('wings')}", {"wing": s.wing}
            if roll < 0.5:
                return f"{say(s.wing_pattern)} {say('wings')}", {"wing_pattern": s.wing_pattern}
            return f"{say(s.wing_pattern)} {say(s.wing)} {say('wings')}", {
                "wing": s.wing,
                "wing_pattern": s.wing_pattern,
            }
        if part == "beak":
            roll = chance()
            if roll < 0.25:
                return f"{an(say(s.beak_colour))} {say('beak')}", {"beak_colour": s.beak_colour}
            if roll < 0.5:
                return f"{an(say(s.beak))} {say('beak')}", {"beak": s.beak}
            return f"{an(say(s.beak))} {say(s.beak_colour)} {say('beak')}", {
                "beak": s.beak,
                "beak_colour": s.beak_colour,
            }
        if part == "legs":
            return f"{say(s.legs)} {say('legs')}", {"legs": s.legs}
        if part == "tail":
            roll = chance()
            if roll < 0.25:
                return f"{an(say(s.tail_colour))} {say('tail')}", {"tail_colour": s.tail_colour}
            if roll < 0.5:
                return f"{an(say(s.tail))} {say('tail')}", {"tail": s.tail}
            return f"{an(say(s.tail))} {say(s.tail_colour)} {say('tail')}", {
                "tail": s.tail,
                "tail_colour": s.tail_colour,
            }
        if s.ring == "none":
            return self.pick(["a plain eye", "no ring around the eye", "a dark eye"]), {"ring": s.ring}
        return self.pick(
            [
                f"{an(s.ring)} {say('ring')} around the eye",
                f"{an(s.ring)} eye-ring",
                f"{an(s.ring)} eye",
                f"{s.ring} eyes",
            ]
        ), {"ring": s.ring}

    def bird(self, species: Species, visible: Sequence[str]) -> tuple[str, dict[str, str]]:
        """A noun phrase for the whole bird, modified only by what is in view."""
        owners = {
            "cap": "cap",
            "crest": "cap",
            "belly": "belly",
            "wing": "wing",
            "wing_pattern": "wing",
            "tail": "tail",
            "tail_colour": "tail",
            "legs": "legs",
            "beak": "beak",
            "beak_colour": "beak",
            "ring": "eye",
        }
        own = {a: m for a, m in modifiers(species).items() if owners[a] in visible}
        claims: dict[str, str] = {}
        words: list[str] = []
        if own and self.rng.random() < 0.7:
            attribute = self.pick(list(own))
            words.append(own[attribute])
            claims[attribute] = getattr(species, attribute)
        if "body" in visible and self.rng.random() < 0.75:
            words.append(self.say(species.body) if self.rng.random() < 0.3 else species.body)
            claims["body"] = species.body
        if self.rng.random() < 0.75:
            words.append(species.family)
            claims["family"] = species.family
        else:
            words.append(self.say("bird"))
        return an(" ".join(words)), claims


def caption(
    species: Species,
    habitat: str,
    things: Sequence[tuple[str, str]],
    visible: Sequence[str],
    rng: np.random.Generator,
    whole: bool,
) -> Caption:
    """A training caption of a view in which the parts `visible` of the bird are in sight.

    `whole` says that enough of the bird shows for its family to be named. A view without a bird is captioned by
    its habitat or by a distractor in it.
    """
    speak = Speaker(rng)
    if not visible:
        if things and rng.random() < 0.6:
            kind, colour = things[int(rng.integers(len(things)))]
            return Caption(speak.pick(TEMPLATES).format(f"{an(speak.say(colour))} {kind}"), thing=(kind, colour))
        place = speak.pick(HABITAT_PHRASES[habitat])
        return Caption(
            speak.pick(["a photo {}.", "a place {}.", "no bird, only a view {}.", "a scene {}."]).format(place),
            habitat=habitat,
        )

    parts = list(visible)
    rng.shuffle(parts)
    roll = rng.random()
    if whole and roll < 0.4:
        phrase, claims = speak.bird(species, visible)
        place = f" {speak.pick(HABITAT_PHRASES[habitat])}" if rng.random() < 0.15 else ""
        return Caption(speak.pick(TEMPLATES).format(phrase + place), claims, habitat=habitat if place else None)
    chosen = parts[: int(rng.integers(1, 4))]
    said = [speak.part(species, p) for p in chosen]
    claims = {k: v for _, c in said for k, v in c.items()}
    listed = _listed([p for p, _ in said])
    if whole and roll < 0.75:
        phrase, more = speak.bird(species, visible)
        return Caption(speak.pick(WITH_PARTS).format(phrase, listed), {**claims, **more})
    if rng.random() < 0.2:
        first, claims = said[0]
        noun = first.removeprefix("a ").removeprefix("an ")
        return Caption(
            speak.pick(["the {} of a bird.", "close-up: {} of a bird.", "a bird's {}."]).format(noun), claims
        )
    return Caption(speak.pick(PARTS_ALONE).format(listed), claims)


def _listed(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def describe(name: str, species: Species) -> list[str]:
    """Twelve sentences about a species, in phrasings that training never uses; the stand-in for an LLM's.

    Each repeats the name and adds one or two attributes that it mostly leaves out. Colours and shapes are given by
    their plain names.
    """
    s = species
    crest = (
        f"A raised {s.cap} crest stands on the head of the {name}."
        if s.crest == "crested"
        else f"The head of the {name} is smooth, without any crest."
    )
    eye = (
        f"The eye of the {name} is circled by a ring of {s.ring}."
        if s.ring != "none"
        else f"The eye of the {name} is dark, with no ring."
    )
    pattern = {
        "plain": "plain, without markings",
        "barred": "barred with stripes",
        "spotted": "covered with spots",
        "edged": "edged along the border",
    }[s.wing_pattern]
    return [
        f"The {name} is known for its {s.cap} cap.",
        f"Seen from below, the {name} has a {s.belly} belly.",
        f"When folded, the wings of the {name} are {s.wing}.",
        f"The {s.wing} wings of the {name} are {pattern}.",
        f"The {name} feeds with its {s.beak}, {s.beak_colour} beak.",
        f"The {name} stands on {s.legs} legs.",
        f"Behind the {name} there is a {s.tail} tail that is {s.tail_colour}.",
        f"The {name} is a {s.family} whose body is {s.body}.",
        crest,
        eye,
        f"Compared with others, the {name} combines a {s.belly} belly and {s.wing} {s.wing_pattern} wings.",
        f"The {name} can be told by its {s.cap} head and {s.tail_colour} tail.",
    ]


def descriptions(split: str = "test") -> dict[str, list[str]]:
    """Class name -> its sentences, for a held-out split."""
    return {name: describe(name, species) for name, species in zip(class_names(split), held_out(split))}


def claim_codes(claims: Mapping[str, str]) -> np.ndarray:
    """A caption's claims as (13,) int8: the claimed value's index, -1 where nothing is claimed."""
    return np.array([VALUES[a].index(claims[a]) if a in claims else -1 for a in ATTRIBUTES], dtype=np.int8)


THINGS = tuple((kind, colour) for kind in OBJECTS for colour in COLOURS)
"""Every distractor that a caption may name."""
