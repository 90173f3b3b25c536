"""One vector a picture, that of the whole: CLIP, CLIP-E, CLIP-D, Waffle and CuPL, which differ in their prompts.

s(x, c) = < f(x) , z_c > ,  z_c the scaled mean of class c's prompts, or their mean weighted as WCA weighs them
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lgca_core.box_plans import WHOLE
from lgca_core.boxes import whole
from lgca_core.class_vectors import logits
from lgca_core.methods.base import Look, Method, Scorer, Settings, Texts
from lgca_core.prompts.class_prompts import Kind
from lgca_core.views import Views


def whole_picture(summary: str, prompts: Kind) -> Method:
    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        return _scorer(texts.mean)

    return Method(summary, prompts, prepare, seeded=prompts == "waffle")


def weighted(summary: str) -> Method:
    """With WCA's class vectors: WCA without its crops."""

    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        return _scorer(texts.weighted(settings.wca.text_temperature, settings.wca.renormalise))

    return Method(summary, "descriptions", prepare, anchored=True)


def _scorer(matrix: Tensor) -> Scorer:
    """Of class vectors (C, D)."""

    def scores(views: Views, identities: Sequence[str]) -> Tensor:
        vectors = torch.cat(views.encode([whole(height, width) for height, width in views.sizes]))  # (B, D)
        return logits(vectors, matrix)  # (B, C)

    def looks(views: Views, identity: str) -> list[Look]:
        return [Look(whole(*views.sizes[0]), torch.ones(1), 1.0, scores(views, [identity])[0])]

    return Scorer(scores, plans=(WHOLE,), passes=1, config={"look": "whole"}, looks=looks)
