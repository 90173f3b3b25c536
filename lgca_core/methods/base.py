"""The parts of a method: texts in, a scorer of pictures out.

Axes: B pictures, C classes, P_c prompts of class c (ragged), D embedding width.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from pydantic import JsonValue
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lgca_core.box_plans import Plan
from lgca_core.class_vectors import class_matrix
from lgca_core.encoder import Encoder
from lgca_core.lgca import LGCA
from lgca_core.prompts import sentences as prompt
from lgca_core.prompts.class_prompts import Kind
from lgca_core.views import Views
from lgca_core.wca import WCA

Scores = Callable[[Views, Sequence[str]], Tensor]


@dataclass(frozen=True)
class Settings:
    """Settings of a run for all its methods: the crops and temperatures of WCA, which its peers share, and LGCA's."""

    wca: WCA = field(default_factory=WCA)
    lgca: LGCA = field(default_factory=LGCA)


@dataclass(frozen=True)
class Texts:
    """The classes in words and as vectors; methods that read the same prompts share one ``Texts``.

    Attributes:
        prompts: ``prompts[c]`` are the sentences of class c, M in all.
        t: their unit vectors, class by class: (M, D).
        anchors: the plain prompt of each class.
        t0: the anchors' unit vectors (C, D); None for methods that do not weigh their prompts by them.
    """

    prompts: Sequence[Sequence[str]]
    t: Tensor
    anchors: Sequence[str]
    t0: Tensor | None = None
    _weighted: dict[tuple[float, bool], Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, encoder: Encoder, prompts: Sequence[Sequence[str]], anchors: Sequence[str]) -> "Texts":
        """The texts of sentences and anchors, all encoded here."""
        flat = [sentence for of_class in prompts for sentence in of_class]
        vectors = encoder.encode_texts([*flat, *anchors])
        return cls(prompts, vectors[: len(flat)], anchors, vectors[len(flat) :])

    @property
    def counts(self) -> list[int]:
        """How many prompts each class has."""
        return [len(of_class) for of_class in self.prompts]

    @property
    def vectors(self) -> tuple[Tensor, ...]:
        """Unit vectors of every prompt, by class: C x (P_c, D)."""
        return self.t.split(self.counts)

    @cached_property
    def padded(self) -> tuple[Tensor, Tensor]:
        """``vectors`` as one tensor, filled up with zeros, and how many prompts each class has: (C, P, D), (C,)."""
        return pad_sequence(list(self.vectors), batch_first=True), torch.tensor(self.counts, device=self.t.device)

    @cached_property
    def mean(self) -> Tensor:
        """Class vectors as CLIP makes them, the scaled mean of a class's prompts: (C, D)."""
        return class_matrix(self.t, self.counts)

    def weighted(self, temperature: float, renormalise: bool) -> Tensor:
        """Class vectors as WCA makes them, see `class_matrix`; for methods that are ``anchored``: (C, D)."""
        assert self.t0 is not None, "a method that weighs prompts by their anchor must be anchored"
        key = (temperature, renormalise)
        if key not in self._weighted:
            self._weighted[key] = class_matrix(
                self.t, self.counts, anchors=self.t0, temperature=temperature, renormalise=renormalise
            )
        return self._weighted[key]

    @property
    def sha256(self) -> str:
        """Hash of the prompts and anchors: what, with an encoder, decides every class vector."""
        return prompt.digest({"prompts": self.prompts, "anchors": [self.anchors]})


@dataclass(frozen=True)
class Look:
    """What a method saw of one picture at one step, and what that says.

    Attributes:
        boxes: (n, 4) int64. weights: (n,), sum 1.
        share: of this step in the picture's vector; those of all steps sum to 1.
        scores: (C,), logits of the step's vector alone.
    """

    boxes: Tensor
    weights: Tensor
    share: float
    scores: Tensor


@dataclass(frozen=True)
class Scorer:
    """A method that knows its classes and its seed.

    Attributes:
        scores: pictures and the identities that key their boxes -> logits (B, C), in cosine units. A picture's
            logits do not depend on its company, but for the rounding of the encoder's batches.
        plans: which boxes it asks for, see `plans`; it asks for no others, and not always for all.
        passes: encoder passes a picture by formula; None where it varies: then they are counted.
        config: its settings, for the record.
        looks: what it saw of one picture, step by step, from views of it alone and its identity; None where the scores
            are no weighted sum of boxes.
    """

    scores: Scores
    plans: tuple[Plan, ...]
    passes: int | None = None
    config: dict[str, JsonValue] = field(default_factory=dict)
    looks: Callable[[Views, str], list[Look]] | None = None


@dataclass(frozen=True)
class Method:
    """A way to score pictures against classes.

    Attributes:
        summary: what it does, in half a line.
        prompts: which prompts it reads, a kind of `class_prompts`.
        prepare: texts, seed and the run's settings -> its scorer.
        seeded: whether the outcome depends on the seed; a method that does not is run once, as seed 0.
        anchored: whether it weighs its prompts by the plain prompt of their class, so reads that as well.
        settings_group: which of the run's settings a name can change for this method alone, as in ``wca:n=8``, or None.
        fixed_settings: settings of that group that the method computes itself and a name may not set.
    """

    summary: str
    prompts: Kind
    prepare: Callable[[Texts, int, Settings], Scorer]
    seeded: bool = False
    anchored: bool = False
    settings_group: Literal["wca", "lgca"] | None = None
    fixed_settings: frozenset[str] = frozenset()


def as_json(settings: Any, **labels: JsonValue) -> dict[str, JsonValue]:
    """Labels and then a dataclass, as JSON knows them, so tuples as lists."""
    return labels | json.loads(json.dumps(asdict(settings)))
