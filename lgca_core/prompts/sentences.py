"""Prompts of every class: the sentences that the text encoder reads.

All makers return ``list[list[str]]``: one list of prompts a class, in the order of the names given, ragged.
Names may come from folders, so ``red_finch`` is read out as ``red finch``. The table of algorithms, section
1, says which method uses which.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from lgca_core.errors import LgcaError
from lgca_core.prompts.names import listed, wordify
from lgca_core.seeding import generator

GENERIC_TEMPLATES: tuple[str, ...] = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture showing a {}.",
    "a close view of a {}.",
    "a {} seen from far away.",
    "a sharp, well-lit photo of a {}.",
    "a dim photo of a {}.",
    "a grainy photo of a {}.",
    "a snapshot of one {} outdoors.",
    "a photo of a {} partly hidden by something.",
    "a small {} in a large scene.",
    "a photo cropped around a {}.",
)
"""Templates for a data set that brings none: framing and quality vary, nothing is said about the class."""

# Common nouns and adjectives without a theme or a colour: Waffle's words should say nothing about a class.
_WORDS = """
able acre agenda anchor ankle apron arch atlas attic autumn badge bakery barrel basket beacon bench blanket
border bottle branch bread bridge bucket button cabin cable candle canvas carpet castle cellar chalk channel
chapter cheese chorus circle clever clock cloud coast coffee comet corner cotton course cradle crystal
curtain custom daily dance desert diary dinner distant dozen dragon drawer eager early easel echo elbow
engine evening fabric factor famous farmer fence festival fiddle filter flame flour folder forest formal
fossil fountain frame garden gentle glass global glove grammar granite gravel guest guitar hammer harbour
hidden hollow honest honey horizon humble iceberg idle island jacket jigsaw journey kettle kitchen kite
ladder lantern lemon letter library linen lively lobby magnet maple marble margin market meadow medal mellow
metal midnight mirror modern morning mountain narrow needle nickel noble notebook novel ocean onion orbit
orchard organ oven oxygen packet paddle palace paper parcel pebble pencil pepper piano pillow planet plaza
pocket polite powder prairie puzzle quarry quiet quilt radio rapid ribbon river rocket rubber saddle salad
sample satin season shadow shelf signal silent simple sketch socket spiral spoon station steam stone summer
sunday supper table tailor teapot temple thunder ticket timber tunnel vacant valley velvet village violin
visit voyage wagon walnut water weekly willow window winter wooden yearly zipper
"""
WORDS: tuple[str, ...] = tuple(_WORDS.split())


def plain(names: Sequence[str]) -> list[list[str]]:
    """CLIP's one prompt a class: ``a photo of a {name}.``"""
    return [[f"a photo of a {wordify(name)}."] for name in names]


def templates(names: Sequence[str], templates: Sequence[str] = GENERIC_TEMPLATES) -> list[list[str]]:
    """CLIP-E: every template filled with every name. ``{}`` or ``{name}`` marks the place.

    Raises:
        LgcaError: no templates, or one without a place for the name.
    """
    if not templates:
        raise LgcaError("no templates: give at least one, such as 'a photo of a {}.'")
    marks = [template.replace("{name}", "{}") for template in templates]
    for template, mark in zip(templates, marks, strict=True):
        if "{}" not in mark:
            raise LgcaError(f"the template {template!r} has no place for the name: write {{}} where it belongs")
    return [[mark.replace("{}", wordify(name)) for mark in marks] for name in names]


def which(descriptor: str) -> str:
    """A descriptor as a relative clause, by its opening letters (Menon & Vondrick 2023, as released).

    ``a...`` and ``used...`` -> ``which is``; ``has``, ``often``, ``typically``, ``may``, ``can`` ->
    ``which``; anything else -> ``which has``. Letters, not words: ``antlers`` become ``which is antlers``.
    Kept, for published numbers rest on it.
    """
    if descriptor.startswith(("a", "used")):
        return f"which is {descriptor}"
    if descriptor.startswith(("has", "often", "typically", "may", "can")):
        return f"which {descriptor}"
    return f"which has {descriptor}"


def descriptors(names: Sequence[str], table: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """CLIP-D: ``{name}, which is/has {descriptor}`` for every descriptor of every class.

    Args:
        table: class name -> descriptors, looked up by name.

    Raises:
        LgcaError: a class without descriptors.
    """
    if missing := [name for name in names if not table.get(name)]:
        raise LgcaError(f"no descriptors for {listed(missing)}")
    return [[f"{wordify(name)}, {which(descriptor)}" for descriptor in table[name]] for name in names]


def waffle(names: Sequence[str], *, seed: int, pairs: int = 15) -> list[list[str]]:
    """After WaffleCLIP (Roth et al. 2023): descriptors without meaning, the same ones for every class.

    Each pair is one descriptor of one or two random words and one of random letters in the same shape (as
    many words, as long), so 2 * `pairs` prompts a class: ``a photo of a {name}, which has {noise}.``

    **Our own form.** The released code (github.com/ExplainableML/WaffleCLIP, 7a1b8ee, which WCA's code copies)
    fixes the number of words to the mean of the class names', cuts the words of its list of 4,330 to the mean
    length of theirs, draws characters, signs among them, from those of the classes' descriptors, parts groups of
    them by commas, and lets the first letters of the noise decide between *which has* and *which is*. Here one or
    two whole words of a short list of our own are drawn, and letters a to z.

    Args:
        seed: keys the draw; equal seeds give equal prompts on every machine.
    """
    if not 1 <= pairs <= len(WORDS) // 2:
        raise LgcaError(f"waffle needs 1 to {len(WORDS) // 2} pairs of descriptors, not {pairs}")
    rng = generator(seed, "waffle")
    deck = [WORDS[i] for i in rng.permutation(len(WORDS))]  # no word twice
    noise: list[str] = []
    for _ in range(pairs):
        words = [deck.pop() for _ in range(int(rng.integers(1, 3)))]
        letters = ["".join(chr(97 + k) for k in rng.integers(26, size=len(word))) for word in words]
        noise += [" ".join(words), " ".join(letters)]
    return [[f"a photo of a {wordify(name)}, which has {text}." for text in noise] for name in names]


def digest(prompts: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """sha256 of named lists of prompts: one hash for everything that the text encoder was asked."""
    canonical = json.dumps({name: [list(p) for p in prompts[name]] for name in sorted(prompts)}, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
