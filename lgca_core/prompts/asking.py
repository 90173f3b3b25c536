"""What a chat model is asked, so that its sentences tell classes apart in pictures."""

import json
from collections.abc import Sequence
from typing import Literal

from lgca_core.prompts.names import wordify

Wanted = Literal["descriptions", "descriptors"]
"""Whole sentences, for the methods that read descriptions, or short descriptors, for those that read these."""

OTHERS = 150  # names of further classes, at most, that a prompt mentions

_DESCRIPTIONS = """\
For each class write {count} different sentences in English that describe what a photo of it shows: shape and parts,
colours and patterns, texture, proportions, posture, typical surroundings.

1. Begin every sentence with "A", "An" or "The" and the name of its class, read out with spaces ({example} ...), and say
   what kind of thing it is where the name does not: "A crane, a tall wading bird, has ...".
2. Prefer what tells the class from the others named here. Give each sentence another feature.
3. Write 8 to 30 words a sentence, on one line, in plain words: an image-text model reads no more than 77 tokens.
4. Describe only what can be seen. No sounds, smells, habits, history, uses, origins or Latin names.
5. Do not name another class, and do not compare ("unlike", "similar to"): such a model overlooks a "not"."""

_DESCRIPTORS = """\
For each class write {count} different short descriptors in English of what a photo of it shows: shape and parts,
colours and patterns, texture, proportions, typical surroundings.

1. Write 2 to 6 words each, without the name of the class and without a full stop, as in "long, yellow bill" or
   "a wading bird": each will follow "which has", "which is" or "which".
2. Prefer what tells the class from the others named here. Give each descriptor another feature.
3. Describe only what can be seen. No sounds, smells, habits, history, uses, origins or Latin names.
4. Do not name another class, and do not compare ("unlike", "similar to")."""


def prompt_for(
    classes: Sequence[str],
    everything: Sequence[str] = (),
    *,
    count: int = 10,
    about: str = "",
    wanted: Wanted = "descriptions",
) -> str:
    """A prompt for a chat model that asks for `count` sentences or descriptors of each class, as JSON.

    Args:
        classes: those to be described in this answer.
        everything: all classes of the data set, from which these must be told apart.
        about: what the pictures show or how they were taken, such as "birds at a feeder, by a wildlife camera".
    """
    more = [name for name in everything if name not in set(classes)]
    example = _with_article(classes[0])
    said = {
        name: "what is seen ..." if wanted == "descriptors" else f"{_with_article(name)} has ..." for name in classes
    }
    shape = ",\n".join(f" {_quoted(name)}: [{_quoted(said[name])}, ...]" for name in classes[:2])
    rest = ",\n ..." if len(classes) > 2 else ""
    text = (_DESCRIPTORS if wanted == "descriptors" else _DESCRIPTIONS).format(count=count, example=f'"{example}"')
    parts = [
        "An image-text model (CLIP) will compare photos with your words, to tell which class each photo shows."
        + (f"\nThe photos: {about.strip()}" if about.strip() else ""),
        "The classes:\n" + "\n".join(f"- {_quoted(name)}" for name in classes),
        text,
        f"Answer with nothing but one JSON object. Its {len(classes)} key{'s are' if len(classes) > 1 else ' is'} the "
        f"class{' names' if len(classes) > 1 else ' name'}, spelt exactly as above; each value is a list of {count} "
        f"strings:\n\n{{\n{shape}{rest}\n}}",
    ]
    if more:
        named = ", ".join(_quoted(name) for name in more[:OTHERS])
        further = f" and {len(more) - OTHERS} more" if len(more) > OTHERS else ""
        parts.insert(2, f"Further classes that are not to be described now, but told apart from: {named}{further}")
    text = "\n\n".join(parts) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()  # a folder's name may be no text


def in_batches(classes: Sequence[str], size: int) -> list[list[str]]:
    """Classes in lists of at most `size`, as even as can be, in their order."""
    parts = -(-len(classes) // size)
    return [list(classes[len(classes) * k // parts : len(classes) * (k + 1) // parts]) for k in range(parts)]


def _with_article(name: str) -> str:
    return f"{'An' if name[:1].lower() in 'aeiou' else 'A'} {wordify(name)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
