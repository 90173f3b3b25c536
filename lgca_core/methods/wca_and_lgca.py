"""WCA and LGCA of the core as methods: weighted crops against weighted descriptions.

`look` names the variant in the record; `choose` picks its settings out of the run's.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lgca_core.boxes import whole
from lgca_core.class_vectors import logits
from lgca_core.lgca import LGCA
from lgca_core.methods.base import Look, Method, Scorer, Settings, Texts, as_json
from lgca_core.views import Views
from lgca_core.wca import WCA


def wca(
    summary: str, look: str, choose: Callable[[Settings], WCA], *, fixed_settings: frozenset[str] = frozenset()
) -> Method:
    """See `lgca_core.wca`."""

    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        chosen = choose(settings)
        matrix = texts.weighted(chosen.text_temperature, chosen.renormalise)  # (C, D)

        def scores(views: Views, identities: Sequence[str]) -> Tensor:
            return logits(chosen.vectors(views, identities, seed), matrix)  # (B, C)

        def looks(views: Views, identity: str) -> list[Look]:
            [boxes], w, u = chosen.weighed(views, [identity], seed)
            return [Look(boxes, w[0], 1.0, logits(u, matrix)[0])]

        return Scorer(scores, chosen.plans(seed), chosen.passes(), as_json(chosen, look=look), looks)

    return Method(
        summary,
        "descriptions",
        prepare,
        seeded=True,
        anchored=True,
        settings_group="wca",
        fixed_settings=fixed_settings,
    )


def lgca(
    summary: str, look: str, choose: Callable[[Settings], LGCA], *, fixed_settings: frozenset[str] = frozenset()
) -> Method:
    """See `lgca_core.lgca`."""

    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        chosen = choose(settings)
        matrix = texts.weighted(chosen.text_temperature, chosen.renormalise)  # (C, D)

        def scores(views: Views, identities: Sequence[str]) -> Tensor:
            return logits(chosen.vectors(views, identities, seed, class_matrix=matrix), matrix)  # (B, C)

        def looks(views: Views, identity: str) -> list[Look]:
            trace = chosen.trace(views, [identity], seed, class_matrix=matrix)
            shares = chosen.weights()
            if chosen.whole_image:
                shares = [share * len(shares) / (len(shares) + 1) for share in shares]
            seen = [
                Look(step.boxes[0], step.weights[0], share, logits(step.vector, matrix)[0])
                for step, share in zip(trace.steps, shares, strict=True)
            ]
            if chosen.whole_image:
                alone = Look(whole(*views.sizes[0]), torch.ones(1), 1 - sum(shares), logits(trace.whole, matrix)[0])
                seen.append(alone)
            return seen

        plans = chosen.plans(seed, texts.sha256)
        return Scorer(scores, plans, chosen.passes(), as_json(chosen, look=look), looks)

    return Method(
        summary,
        "descriptions",
        prepare,
        seeded=True,
        anchored=True,
        settings_group="lgca",
        fixed_settings=fixed_settings,
    )
