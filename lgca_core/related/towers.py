"""An open_clip model that is no black box: its towers give pooled vectors and all tokens in one pass.

Axes: n pictures or texts, P patches, L text positions, W width of a tower, D joint width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lgca_core.errors import LgcaError


class TokenTowers(nn.Module):
    """A model whose tokens can be told from its pooled vector. No parameter is added.

    Raises LgcaError for others: no plain vision transformer, an attentional pool, or a text tower that is not causal.
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
        """(n, 3, S, S) -> vectors (n, D), not of unit length, and tokens (n, 1 + P, W) after the last block."""
        visual = self.visual
        h = visual.transformer(visual._embeds(pictures.to(visual.conv1.weight.dtype)))
        pooled, _ = visual._pool(h)
        return pooled @ visual.proj, h

    def text(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(n, L) int64, zeros after the end token -> vectors (n, D) and text tokens (n, L, W) after the last block."""
        text, length = self.words, tokens.shape[1]
        dtype = text.transformer.get_cast_dtype()  # where a model is in half precision, its embeddings are not
        h = text.token_embedding(tokens).to(dtype) + text.positional_embedding[:length].to(dtype)
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


def _check(model: Any) -> None:
    from open_clip.transformer import TextTransformer, VisionTransformer

    visual, text = model.visual, getattr(model, "text", model)
    plain = isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.proj is not None
    if not plain or not isinstance(visual.patch_dropout, nn.Identity):
        raise LgcaError(
            "tokens are read from a plain vision transformer, such as ViT-B-16-quickgelu: choose another encoder"
        )
    ends = getattr(text, "text_pool_type", getattr(text, "pool_type", None)) == "argmax"
    own = text is model or isinstance(text, TextTransformer)
    joint = text.text_projection is not None if own else False
    if not joint or not ends or text.attn_mask is None or getattr(text, "cls_emb", None) is not None:
        raise LgcaError("tokens are read from a causal text tower that ends as CLIP's does: choose another encoder")
