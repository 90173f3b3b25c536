"""Classes that an encoder cannot tell apart, and sentences of which it does not read the end: notes for the user.

Axes: C classes, N vectors, D embedding width.
"""

import textwrap
from collections.abc import Mapping, Sequence
from math import e
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.encoder import Encoder
from lgca_core.methods import Texts

ROUNDING = 1e-6
"""1 - cosine up to which two vectors count as one: batches and a store round equal texts apart by less than this."""

BLOCK = 1024  # vectors compared with all others at a time
MOST = 3  # groups that a note spells out


def equal_vectors(vectors: Tensor) -> list[list[int]]:
    """Numbers of unit vectors (N, D) that are equal but for rounding, in groups of two and more, in order."""
    vectors = F.normalize(vectors.detach().cpu().double(), dim=1)
    group = list(range(len(vectors)))  # the first that each equals
    for start in range(0, len(vectors), BLOCK):
        near = vectors[start : start + BLOCK] @ vectors.T > 1 - ROUNDING
        for row, column in near.triu(start + 1).nonzero().tolist():
            if group[column] == column:
                group[column] = group[start + row]
    members: dict[int, list[int]] = {}
    for number, first in enumerate(group):
        members.setdefault(first, []).append(number)
    return [several for several in members.values() if len(several) > 1]


def notes_on_classes(classes: Sequence[str], read: Mapping[str, tuple[Texts, Tensor]]) -> list[str]:
    """A sentence for each set of classes that methods cannot tell apart, since their class vectors are equal.

    Args:
        read: method -> its texts, and which of these each class has: (C,).
    """
    methods: dict[tuple[tuple[int, ...], ...], list[str]] = {}
    found: dict[tuple[int, bool], tuple[tuple[int, ...], ...]] = {}
    for method, (texts, columns) in read.items():
        anchored = texts.t0 is not None
        if (key := (id(texts), anchored)) not in found:
            matrix = texts.weighted(e**2, True) if anchored else texts.mean
            found[key] = tuple(map(tuple, equal_vectors(matrix[columns.to(matrix.device)])))
        if found[key]:
            methods.setdefault(found[key], []).append(method)
    notes = []
    for groups, several in methods.items():
        spelt = "; ".join(_spelt([classes[c] for c in group]) for group in groups[:MOST])
        more = f"; and {len(groups) - MOST} more such groups" if len(groups) > MOST else ""
        notes.append(
            f"The encoder reads what is said of some classes alike, so {', '.join(dict.fromkeys(several))} cannot tell "
            f"them apart, and which of them is answered says nothing: {spelt}{more}."
        )
    return notes


def notes_on_cuts(encoder: Encoder, said: Mapping[str, str], vectors: Mapping[str, Tensor]) -> list[str]:
    """A sentence on the sentences that are longer than the encoder reads; none without a tokenizer like open_clip's.

    Args:
        said: sentence -> the first class that it is said of.
        vectors: sentence -> its unit vector (D,).
    """
    if getattr(encoder.tokenizer, "context_length", None) is None or not said:
        return []
    texts = list(said)
    cut = cut_by(encoder.tokenizer, texts)
    if not cut:
        return []
    alike = sum(len(group) for group in equal_vectors(torch.stack([vectors[text] for text in cut])))
    first = textwrap.shorten(cut[0], 60, placeholder=" ...")
    after = f"; {alike} of them read alike after the cut" if alike else ""
    return [
        f"{len(cut)} of {len(texts)} sentences are longer than the encoder reads, and their end is cut{after}; the "
        f"first is {first!r} of {said[cut[0]]!r}."
    ]


def cut_by(tokenizer: Any, sentences: list[str]) -> list[str]:
    """The sentences that a tokenizer of open_clip cuts: with room for one more token they come out otherwise."""
    context = tokenizer.context_length
    roomy = tokenizer(sentences, context_length=context + 1)[:, :context]
    is_cut = (roomy != tokenizer(sentences, context_length=context)).any(dim=1).tolist()
    return [sentence for sentence, longer in zip(sentences, is_cut, strict=True) if longer]


def _spelt(names: Sequence[str]) -> str:
    """Names of a group: each once, with how many classes have it where there are several."""
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    spelt = [repr(name) + (f" ({count} classes)" if count > 1 else "") for name, count in counts.items()]
    return " and ".join(spelt) if len(spelt) < 6 else f"{', '.join(spelt[:5])} and {len(spelt) - 5} more"
