"""A survey of a table of sentences: how many a class, which repeat, which are longer than CLIP reads."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

CONTEXT = 77
"""Tokens that CLIP's text encoders read of a sentence, the marks of its start and end included; the rest is cut."""


@dataclass(frozen=True)
class Survey:
    """Properties of the sentences of some classes (:func:`survey`): nothing here is an error.

    ``counts`` are the least, median and most sentences a class; ``single`` are those of one word or less; ``repeated``
    those that a class has said before; ``shared`` maps a sentence to the classes, two or more, that it is said of;
    ``cut`` are those of more than :data:`CONTEXT` tokens; ``alike`` are worded otherwise than an earlier one, of any
    class, and read as the same tokens, since the rest is cut or signs are dropped; ``longest`` is the one with the most
    tokens. All as (class name, sentence), ``cut`` and ``longest`` with the number of tokens.
    """

    classes: int
    sentences: int
    counts: tuple[int, float, int]
    single: list[tuple[str, str]]
    repeated: list[tuple[str, str]]
    shared: dict[str, list[str]]
    cut: list[tuple[str, str, int]]
    alike: list[tuple[str, str]]
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
    single, repeated, counted, alike = [], [], [], []
    read_as: dict[tuple[int, ...], str] = {}  # tokens within the context -> the folded text that had them first
    said: dict[str, dict[str, str]] = {}  # folded text -> class name -> the text as that class has it
    for name, texts in table.items():
        for text in texts:
            if len(text.split()) < 2:
                single.append((name, text))
            classes = said.setdefault(" ".join(text.split()).casefold(), {})
            if name in classes:
                repeated.append((name, text))
            classes.setdefault(name, text)
        for prompt in read(name, texts):
            ids = _tokenizer().encode(prompt)
            counted.append((name, prompt, len(ids) + 2))
            folded = " ".join(prompt.split()).casefold()
            if read_as.setdefault(tuple(ids[: CONTEXT - 2]), folded) != folded:
                alike.append((name, prompt))
    counts = [len(texts) for texts in table.values()]
    return Survey(
        classes=len(counts),
        sentences=sum(counts),
        counts=(min(counts), statistics.median(counts), max(counts)),
        single=single,
        repeated=repeated,
        shared={next(iter(by.values())): list(by) for by in said.values() if len(by) > 1},
        alike=alike,
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
