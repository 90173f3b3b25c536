"""An open_clip model as GOAL uses it: unit vectors of whole pictures, captions, regions, sentences, and tokens in them.

Axes: n pictures or texts, P patches, L text positions, W width of a tower, D joint width.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.related.goal.losses import Vectors
from lgca_core.related.towers import TokenTowers


class Batch(NamedTuple):
    """What the towers take: B pictures with their captions, and K regions and sentences of each, R = B K."""

    pictures: Tensor  # (B, 3, S, S) normalised
    captions: Tensor  # (B, L) int64
    regions: Tensor  # (R, 3, S, S) normalised
    sentences: Tensor  # (R, L') int64
    touched: Tensor  # (R, P) bool: patches of the picture in the region
    spoken: Tensor  # (R, L) bool: tokens of the caption in the sentence


class Towers(TokenTowers):
    """The model, and how GOAL uses it."""

    def forward(self, batch: Batch) -> Vectors:
        """Unit vectors of a batch. Of a term's regions and sentences the tokens are averaged first, then normed.

        Without regions (R = 0, for the global loss alone) the local vectors are empty.
        """
        b, r = len(batch.pictures), len(batch.regions)
        pooled, patches = self.image(torch.cat([batch.pictures, batch.regions]))
        text, tokens = self.text(batch.captions)
        if not r:
            none = pooled.new_zeros(0, pooled.shape[1]).float()
            return Vectors(unit(pooled), unit(text), none, none, none, none, self._scale())
        sentences, _ = self.text(batch.sentences)
        return Vectors(
            image=unit(pooled[:b]),
            text=unit(text),
            region=unit(pooled[b:]),
            sentence=unit(sentences),
            patches=unit(self._project_image(mean_of(patches[:b, 1:], batch.touched))),
            words=unit(self._project_text(mean_of(tokens, batch.spoken))),
            scale=self._scale(),
        )

    def _scale(self) -> Tensor:
        scale: Any = self.model.logit_scale
        return scale.float().exp().squeeze()


def mean_of(tokens: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen tokens of each row: (B, L, W), (B K, L) bool -> (B K, W); zeros where none is chosen.

    Reckoned in float32, autocast or not, and given in the tokens' type.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        share = chosen.float() / chosen.sum(-1, keepdim=True).clamp(min=1)  # (B K, L)
        rows = share.unflatten(0, (len(tokens), -1)) @ tokens.float()  # (B, K, W)
    return rows.flatten(0, 1).to(tokens.dtype)


def unit(vectors: Tensor) -> Tensor:
    """Of unit length, in float32."""
    return F.normalize(vectors.float(), dim=-1)
