"""Guided cropping (GC-CLIP, arXiv 2309.06581): one box, seen with less and with more of what surrounds it.

    b       = argmax_i <f(crop_i), f(x)> ,  the first of equals
    b_m     = b grown about its centre to the side  a + m (min(H, W) - a) ,  a its own side, shifted into the picture
    s(x, c) = < mean_m f(b_m) , z_c >

The paper takes its box from an open-vocabulary detector (OWL-ViT), and averages over crops of that box with several
margins. There is no detector here: **our adaptation** takes the most salient of the crops that WCA draws (same seed,
same squares), so it shows what context around one crop is worth, not what GC-CLIP scores. Our reading, too, since only
the paper's abstract and summaries could be had: margins m from 0 (the box) to 1 (the largest square that the picture
holds) in equal steps, boxes that stay square, and WCA's class vectors z_c, so that only the picture's side differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.box_plans import Plan
from lgca_core.boxes import expand
from lgca_core.class_vectors import logits
from lgca_core.errors import LgcaError
from lgca_core.methods.base import Method, Scorer, Settings, Texts, as_json
from lgca_core.views import Views
from lgca_core.wca import WCA, cosine, encode_with_whole

MARGINS = tuple(tenth / 10 for tenth in range(11))


@dataclass(frozen=True)
class GuidedCropping:
    """``margins``: shares of the way from the box to the largest square, each in [0, 1] and different.

    Raises LgcaError for margins out of range, repeated or absent.
    """

    margins: tuple[float, ...] = MARGINS

    def __post_init__(self) -> None:
        if not self.margins or len(set(self.margins)) < len(self.margins):
            raise LgcaError(f"margins must be one or more different shares, got {self.margins}")
        if not all(0 <= margin <= 1 for margin in self.margins):
            raise LgcaError(f"margins are shares from 0 (the box) to 1 (the largest square), got {self.margins}")

    def around(self, box: Tensor, height: int, width: int) -> Tensor:
        """The square box (4,) with every margin: (margins, 4) int64."""
        side, most = int(box[2]), min(height, width)
        grown = [expand(box[None], 1 + m * (most - side) / side, height, width) for m in self.margins]
        return torch.cat(grown)

    def passes(self, wca: WCA) -> int:
        """The whole picture, N crops, and each margin but 0, which is a crop; fewer are run where boxes coincide."""
        return wca.passes() + sum(margin > 0 for margin in self.margins)

    def plans(self, wca: WCA, seed: int) -> tuple[Plan, ...]:
        whole, drawn = wca.plans(seed)
        # Of a pool the seed decides which crops can be the most salient one.
        picked = {} if wca.pool is None else {"n": wca.n, "seed": seed}
        return whole, drawn, {"draw": "margins", "of": drawn, "margins": list(self.margins)} | picked

    def vectors(self, views: Views, identities: Sequence[str], seed: int, wca: WCA) -> Tensor:
        """The mean over margins of every picture: (B, D) float32."""
        boxes = [wca.boxes(h, w, seed, identity) for (h, w), identity in zip(views.sizes, identities, strict=True)]
        k0, k = encode_with_whole(views, boxes)  # (B, D), (B, N, D)
        best = cosine(k, k0).argmax(dim=1)  # (B,)
        grown = [self.around(of[i], h, w) for of, i, (h, w) in zip(boxes, best.tolist(), views.sizes, strict=True)]
        u = torch.stack(views.encode(grown)).mean(dim=1)  # (B, margins, D) -> (B, D)
        return F.normalize(u, dim=-1) if wca.renormalise else u


def guided_cropping(summary: str, look: GuidedCropping | None = None) -> Method:
    """With WCA's crops, temperature of sentences and scaling."""
    chosen = look or GuidedCropping()

    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        wca = settings.wca
        matrix = texts.weighted(wca.text_temperature, wca.renormalise)  # (C, D)

        def scores(views: Views, identities: Sequence[str]) -> Tensor:
            return logits(chosen.vectors(views, identities, seed, wca), matrix)  # (B, C)

        config = as_json(chosen, look="gc", wca=as_json(wca))
        return Scorer(scores, chosen.plans(wca, seed), chosen.passes(wca), config)

    return Method(summary, "descriptions", prepare, seeded=True, anchored=True, settings_group="wca")
