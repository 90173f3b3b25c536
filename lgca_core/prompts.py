"""Prompts of every class: the sentences that the text encoder reads (floor 1).

All makers return ``list[list[str]]``: one list of prompts a class, in the order of the names given, ragged.
Names may come from folders, so ``red_finch`` is read out as ``red finch``. The table of algorithms, section
1, says which method uses which.
"""

import difflib
import hashlib
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lgca_core.boxes import generator
from lgca_core.errors import LgcaError

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


def wordify(name: str) -> str:
    """A class name as it is read out: underscores become spaces."""
    return " ".join(name.replace("_", " ").split())


def fold(name: str) -> str:
    """A name without case, underscores, hyphens and runs of spaces: how names are compared where spelling differs.

    As lenient as published files force, no more: Food-101 has the folder ``apple_pie`` and sentences of ``apple pie``,
    CUB the folder ``Black_footed_Albatross`` and sentences of ``Black-footed Albatross``, torchvision's Pets the class
    ``American Bulldog`` and descriptors of ``american bulldog``.
    """
    return wordify(name.replace("-", " ")).casefold()


def match(names: Iterable[str], table: Iterable[str], where: str, what: str = "descriptions") -> dict[str, str]:
    """Look every class name up among the entries of a table: as written, else by :func:`fold`.

    Args:
        names: one that occurs twice is looked up once.
        where, what: the file and what it holds, for the sentence that says what is wrong.

    Returns:
        Class name -> name in the table, in the order of the classes.

    Raises:
        LgcaError: a class finds nothing (the nearest entry that nobody asked for is suggested), or several entries.
    """
    table = list(dict.fromkeys(table))
    loose: dict[str, list[str]] = {}
    for entry in table:
        loose.setdefault(fold(entry), []).append(entry)
    entries = set(table)
    candidates = {name: [name] if name in entries else loose.get(fold(name), []) for name in names}
    for name, several in candidates.items():
        if len(several) > 1:
            raise LgcaError(f"{where}: {listed(several)} could all mean the class {name!r}: keep one of them")
    if missing := [name for name, found in candidates.items() if not found]:
        asked = {entry for found in candidates.values() for entry in found}
        hint = nearest(missing[0], [entry for entry in table if entry not in asked] or table)
        raise LgcaError(f"{where} has no {what} for {listed(missing)}{hint}")
    return {name: entry for name, [entry] in candidates.items()}


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
    """WaffleCLIP (Roth et al. 2023): descriptors without meaning, the same ones for every class.

    Each pair is one descriptor of one or two random words and one of random letters in the same shape (as
    many words, as long), so 2 * `pairs` prompts a class: ``a photo of a {name}, which has {noise}.`` The
    words are our own short list, not the one of the paper.

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


# ---- what a table of sentences is like ---------------------------------------------------------------------


CONTEXT = 77
"""Tokens that CLIP's text encoders read of a sentence, the marks of its start and end included; the rest is cut."""


@dataclass(frozen=True)
class Survey:
    """What the sentences of some classes are like (:func:`survey`): nothing here is an error.

    ``counts`` are the least, median and most sentences a class; ``single`` are those of one word or less; ``repeated``
    those that a class has said before; ``shared`` maps a sentence to the classes, two or more, that it is said of;
    ``cut`` are those of more than :data:`CONTEXT` tokens; ``longest`` is the one with the most. All as (class name,
    sentence), the last two with the number of tokens.
    """

    classes: int
    sentences: int
    counts: tuple[int, float, int]
    single: list[tuple[str, str]]
    repeated: list[tuple[str, str]]
    shared: dict[str, list[str]]
    cut: list[tuple[str, str, int]]
    longest: tuple[str, str, int]


def survey(
    table: Mapping[str, Sequence[str]], read: Callable[[str, Sequence[str]], Sequence[str]] = lambda name, told: told
) -> Survey:
    """Count what is odd among the sentences of every class; texts that CLIP reads alike count as the same.

    Args:
        table: class name -> its sentences (or descriptors, or templates); not empty, and no class without any.
        read: (class name, its entries) -> prompts as the text encoder gets them, whose tokens are counted; none for
            a class leaves it out of the counting.
    """
    single, repeated, counted = [], [], []
    said: dict[str, dict[str, str]] = {}  # folded text -> class name -> the text as that class has it
    for name, texts in table.items():
        for text in texts:
            if len(text.split()) < 2:
                single.append((name, text))
            classes = said.setdefault(" ".join(text.split()).casefold(), {})
            if name in classes:
                repeated.append((name, text))
            classes.setdefault(name, text)
        counted += [(name, prompt, tokens(prompt)) for prompt in read(name, texts)]
    counts = [len(texts) for texts in table.values()]
    return Survey(
        classes=len(counts),
        sentences=sum(counts),
        counts=(min(counts), statistics.median(counts), max(counts)),
        single=single,
        repeated=repeated,
        shared={next(iter(by.values())): list(by) for by in said.values() if len(by) > 1},
        cut=[entry for entry in counted if entry[2] > CONTEXT],
        longest=max(counted, key=lambda entry: entry[2]),
    )


def tokens(prompt: str) -> int:
    """How many tokens CLIP makes of a prompt, with the marks of its start and end."""
    return len(_tokenizer().encode(prompt)) + 2


@cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


# ---- files --------------------------------------------------------------------------------------------------


def read_descriptions(path: Path | str, classes: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Sentences of every class from a JSON file ``{"class name": ["sentence", ...], ...}``.

    Looked up by name, never by position: first as written, then as :func:`fold` compares (a folder ``red_finch``
    finds ``Red finch``). Sentences keep their order, and are trimmed.

    Args:
        classes: names in the data set's order; a name that occurs twice shares its sentences. None takes
            every class of the file, in its order.

    Returns:
        Class name, as in `classes` -> its sentences, in that order.

    Raises:
        LgcaError: the file is missing, no UTF-8, no JSON or of another shape; a name occurs twice; a class
            has no sentences; the file describes classes that are not asked for (the nearest name is
            suggested).
    """
    path = Path(path)
    table = _read_table(path)
    classes = list(table) if classes is None else classes
    if not classes:
        raise LgcaError(f"{path} describes no class: it must have the form {_FORM}")
    found = match(classes, table, str(path))
    asked = set(found.values())
    if unknown := [entry for entry in table if entry not in asked]:
        raise LgcaError(
            f"{path} describes {listed(unknown)}, which the data set does not have"
            f"{nearest(unknown[0], found)}: remove or rename"
        )
    return {name: _sentences(path, entry, table[entry]) for name, entry in found.items()}


def read_templates(path: Path | str) -> list[str]:
    """Templates from a JSON file ``["a photo of a {}.", ...]``; :func:`templates` checks each.

    Raises:
        LgcaError: the file is missing, no JSON, or of another shape.
    """
    path = Path(path)
    found = _read_json(path, '["a photo of a {}.", ...]')
    if not isinstance(found, list) or not found or not all(isinstance(template, str) for template in found):
        raise LgcaError(f'{path} does not hold templates: it must have the form ["a photo of a {{}}.", ...]')
    return found


def _read_table(path: Path) -> dict[str, object]:
    table = _read_json(path, _FORM)
    if not isinstance(table, dict):
        raise LgcaError(f"{path} holds a JSON {type(table).__name__}, not an object of the form {_FORM}")
    return table


def _read_json(path: Path, form: str) -> object:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        table = dict(pairs)
        if len(table) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in table if keys.count(key) > 1)
            raise LgcaError(f"{path}: {twice!r} occurs twice: merge the two")
        return table

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except FileNotFoundError:
        raise LgcaError(f"{path} does not exist: give a JSON file of the form {form}") from None
    except OSError as error:
        raise LgcaError(f"{path} cannot be read ({error.strerror}): give a JSON file of the form {form}") from error
    except UnicodeDecodeError as error:
        raise LgcaError(f"{path} is not UTF-8 text: save it as JSON of the form {form}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise LgcaError(f"{path} is not JSON ({where}): it must have the form {form}") from error


_FORM = '{"class name": ["sentence", ...]}'


def _sentences(path: Path, key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(sentence, str) for sentence in value):
        raise LgcaError(f"{path}: {key!r} must map to a list of sentences, as in {_FORM}")
    sentences = [sentence.strip() for sentence in value if sentence.strip()]
    if not sentences:
        raise LgcaError(f"{path}: the class {key!r} has no descriptions: write at least one sentence")
    return sentences


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names for a sentence: the first few, quoted, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def nearest(name: str, names: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` where something is near, else nothing."""
    by_fold = {fold(other): other for other in names}
    close = difflib.get_close_matches(fold(name), by_fold, n=1, cutoff=0.75)
    return f" (did you mean {by_fold[close[0]]!r}?)" if close else ""
