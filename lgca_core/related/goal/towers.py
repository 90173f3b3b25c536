"""An open_clip model whose towers give pooled vectors and tokens in one pass.

Axes: n pictures or texts, P patches, L text positions, W width of a tower, D joint width.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgca_core.errors import LgcaError
from lgca_core.related.goal.losses import Vectors


class Batch(NamedTuple):
    """What the towers take: B pictures with their captions, and K regions and sentences of each, R = B K."""

    pictures: Tensor  # (B, 3, S, S) normalised
    captions: Tensor  # (B, L) int64
    regions: Tensor  # (R, 3, S, S) normalised
    sentences: Tensor  # (R, L') int64
    touched: Tensor  # (R, P) bool: patches of the picture in the region
    spoken: Tensor  # (R, L) bool: tokens of the caption in the sentence


class Towers(nn.Module):
    """The model, and how GOAL uses it. No parameter is added.

    Raises LgcaError for a model whose tokens cannot be told from its pooled vector: no plain vision transformer, an
    attentional pool, or a text tower that is not causal.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        _check(model)

    @property
    def visual(self) -> Any:
        """The image tower."""
        return self.model.visual

    @property
    def words(self) -> Any:
        """The text tower, a module of its own in some models, in others the model itself."""
        return getattr(self.model, "text", self.model)

    def image(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, S, S) -> vectors (n, D), not of unit length, and patch tokens (n, P, W) after the last block."""
        visual = self.visual
        h = visual.transformer(visual._embeds(pictures.to(visual.conv1.weight.dtype)))  # (n, 1 + P, W)
        pooled, _ = visual._pool(h)
        return pooled @ visual.proj, h[:, 1:]

    def text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(n, L) int64, zeros after the end token -> vectors (n, D) and text tokens (n, L, W) after the last block."""
        text, length = self.words, tokens.shape[1]
        h = text.token_embedding(tokens) + text.positional_embedding[:length]
        h = text.transformer(h, attn_mask=text.attn_mask[:length, :length])  # (n, L, W)
        end = tokens.argmax(-1)  # CLIP's end token has the highest number
        return self._project_text(h[torch.arange(len(h), device=h.device), end]), h

    def _project_image(self, pooled: Tensor) -> Tensor:
        return self.visual.ln_post(pooled) @ self.visual.proj

    def _project_text(self, pooled: Tensor) -> Tensor:
        text = self.words
        pooled = text.ln_final(pooled)
        projection = text.text_projection
        return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection

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
            patches=unit(self._project_image(mean_of(patches[:b], batch.touched))),
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


def _check(model: Any) -> None:
    from open_clip.transformer import TextTransformer, VisionTransformer

    visual, text = model.visual, getattr(model, "text", model)
    plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.proj is not None
    if not plain or not isinstance(visual.patch_dropout, nn.Identity):
        raise LgcaError("GOAL needs a plain vision transformer, such as ViT-B-16-quickgelu: choose another encoder")
    ends = getattr(text, "text_pool_type", getattr(text, "pool_type", None)) == "argmax"
    own = text is model or isinstance(text, TextTransformer)
    joint = text.text_projection is not None if own else False
    if not joint or not ends or text.attn_mask is None or getattr(text, "cls_emb", None) is not None:
        raise LgcaError("GOAL needs a causal text tower read at its end token, as CLIP's: choose another encoder")
