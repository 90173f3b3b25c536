"""BiFTA, bi-refinement for fine-grained text-visual alignment (arXiv 2601.20419): WCA without what repeats.

    views         keep crop i      unless  IoU(crop_i, crop_k)  > 0.85  for a kept k < i
    descriptions  keep sentence j  unless  cos(t_cj, t_cl)      > 0.99  for a kept l < j of the same class
    s(x, c)     = sum_{kept i} sum_{kept j} w_i v_cj <k_i, t_cj> ,  the weights of WCA over what is kept

Crops are kept in the order they were drawn, as in the released code (github.com/tmlr-group/BiFTA, 29646f9); sentences
in the order of their file, **our reading**, for the code brings them filtered. It differs from that code where one
comparison asks for it: the crops and sentences are those of WCA here (same seed), what is dropped is not made up for,
and vectors are not scaled unless WCA's are. The released code

- draws 100 or 300 crops, keeps at most 100, and scores 20 draws of 60 of these with replacement, with indices of their
  own for every picture; for ImageNet-V2 it draws 60 from U(0.1, 0.9) and drops above an IoU of 0.8;
- scales the vectors of pictures and of classes to unit length, as ``bifta:renormalise=true`` does here;
- reads sentences of a larger collection than CuPL's, filtered, at most 50 a class (36 to 50 in the files that could be
  read here).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lgca_core.boxes import iou, whole
from lgca_core.class_vectors import logits
from lgca_core.errors import LgcaError
from lgca_core.methods.base import Method, Scorer, Settings, Texts, as_json
from lgca_core.views import Views
from lgca_core.wca import WCA, cosine, weigh


@dataclass(frozen=True)
class BiFTA:
    """``iou``, ``cosine``: above which a crop or a sentence repeats a kept one, in [0, 1]; 1 keeps all.

    Raises LgcaError for a threshold out of range.
    """

    iou: float = 0.85
    cosine: float = 0.99

    def __post_init__(self) -> None:
        for name in ("iou", "cosine"):
            if not 0 <= getattr(self, name) <= 1:
                raise LgcaError(
                    f"{name}, above which one repeats another, must be in [0, 1], got {getattr(self, name)}"
                )

    def crops(self, boxes: Tensor) -> Tensor:
        """Boxes (N, 4) -> those kept, in their order: (kept, 4)."""
        return boxes[first_of_each((iou(boxes, boxes) > self.iou).numpy())]

    def sentences(self, texts: Texts) -> Texts:
        """Texts without the sentences that repeat others of their class."""
        prompts, t = [], []
        for of_class, t_c in zip(texts.prompts, texts.vectors, strict=True):
            alike = (t_c @ t_c.T).clamp(max=1) > self.cosine  # (P_c, P_c)
            kept = first_of_each(alike.cpu().numpy())
            prompts.append([of_class[j] for j in kept])
            t.append(t_c[kept])
        return replace(texts, prompts=prompts, t=torch.cat(t))

    def vectors(self, views: Views, identities: Sequence[str], seed: int, wca: WCA) -> Tensor:
        """``sum_{kept i} w_i k_i`` of every picture: (B, D) float32. Only kept crops are encoded."""
        asked = [
            torch.cat([whole(height, width), self.crops(wca.boxes(height, width, seed, identity))])
            for (height, width), identity in zip(views.sizes, identities, strict=True)
        ]  # B x (1 + kept, 4)
        rows = []
        for k in views.encode(asked):  # (1 + kept, D), as many as this picture keeps
            k0, k = k[:1], k[None, 1:]  # (1, D), (1, kept, D)
            rows.append(weigh(k, cosine(k, k0), wca.image_temperature)[1])  # (1, D)
        u = torch.cat(rows)  # (B, D)
        return F.normalize(u, dim=-1) if wca.renormalise else u


def first_of_each(alike: NDArray[np.bool_]) -> list[int]:
    """Of things in order, those that are not alike an earlier one that was kept: (n, n) -> indices, ascending."""
    kept: list[int] = []
    for i in range(len(alike)):
        if not alike[i, kept].any():
            kept.append(i)
    return kept


def bifta(summary: str, look: BiFTA | None = None) -> Method:
    """With WCA's crops, sentences, temperatures and scaling."""
    chosen = look or BiFTA()

    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        wca = settings.wca
        matrix = chosen.sentences(texts).weighted(wca.text_temperature, wca.renormalise)  # (C, D)

        def scores(views: Views, identities: Sequence[str]) -> Tensor:
            return logits(chosen.vectors(views, identities, seed, wca), matrix)  # (B, C)

        return Scorer(scores, wca.plans(seed), config=as_json(chosen, look="bifta", wca=as_json(wca)))

    return Method(summary, "descriptions", prepare, seeded=True, anchored=True, settings_group="wca")
