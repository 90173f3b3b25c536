"""open_clip's two plain transformers, restated for inference: the same numbers sooner.

Four savings, each exact but for the order of rounding (about 1e-7 on a unit vector in float32):

1. Only one token of the last block is read, the class token of a picture and the end token of a sentence, so
   only its query, projection and MLP are computed there.
2. ``QuickGELU(x) = x sigmoid(1.702 x) = SiLU(1.702 x) / 1.702`` in place, both factors in the matrix products beside
   it: no 4 D-wide temporaries.
3. Where open_clip normalises half-precision tokens in float32 it copies them there and back; a CPU sums in float32
   without that.
4. A causal sentence never looks past its end token, so a batch is cut at its longest sentence (of 77 places).

A model of any other make (ResNet, timm, Hugging Face text, CoCa) runs as open_clip wrote it. Axes: n pictures or
sentences, L tokens, D width, H heads.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Tower = Callable[[Tensor], Tensor]

QUICK = 1.702  # of QuickGELU


def image_tower(model: nn.Module) -> Tower:
    """Pictures (n, 3, S, S), normalised, in the model's dtype -> vectors (n, D), not normalised."""
    visual: Any = model.visual
    if not _plain_vit(visual):
        return model.encode_image  # type: ignore[return-value]

    def encode(pictures: Tensor) -> Tensor:
        h = visual._embeds(pictures)  # (n, L, D): class token, then patches
        for block in visual.transformer.resblocks[:-1]:
            h = _block(block, h, h)
        h = _block(visual.transformer.resblocks[-1], h[:, :1], h)  # (n, 1, D)
        return visual.ln_post(h[:, 0]) @ visual.proj

    return encode


def bytes_of_picture(model: nn.Module, dtype: torch.dtype) -> int | None:
    """About what :func:`image_tower` takes of memory for a picture, beside the weights; None where it is not known.

    In units of tokens x width: a block's input, its sum, what its MLP is given, 4 inside it and what comes out of it
    are 8; twice that, for what matrix products work in. And the picture, as bytes and normalised.
    """
    visual: Any = model.visual
    if not _plain_vit(visual):
        return None
    tokens, width = visual.positional_embedding.shape
    pixels = 3 * visual.image_size[0] * visual.image_size[1]
    return 16 * tokens * width * dtype.itemsize + pixels * (1 + dtype.itemsize)


def text_tower(model: nn.Module) -> Tower:
    """Tokens (n, L) int64, zeros after the end token -> vectors (n, D), not normalised."""
    text: Any = model
    if not _plain_text(text):
        return model.encode_text  # type: ignore[return-value]

    def encode(tokens: Tensor) -> Tensor:
        end = tokens.argmax(dim=-1)  # (n,): the end token has the highest number
        length = int(end.max()) + 1
        dtype = text.transformer.get_cast_dtype()
        h = text.token_embedding(tokens[:, :length]).to(dtype)  # (n, L, D)
        h = h + text.positional_embedding[:length].to(dtype)
        for block in text.transformer.resblocks[:-1]:
            h = _block(block, h, h, causal=True)
        last = h[torch.arange(len(h), device=h.device), end][:, None]  # (n, 1, D)
        before = torch.arange(length, device=h.device) <= end[:, None]  # (n, L): what the end token may see
        h = _block(text.transformer.resblocks[-1], last, h, mask=before[:, None, None])
        return text.ln_final(h[:, 0]) @ text.text_projection

    return encode


def _block(block: Any, h: Tensor, context: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """One residual attention block for the tokens h (n, Lq, D), which attend to context (n, L, D)."""
    heads, width = block.attn.num_heads, h.shape[-1]
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias

    def by_head(x: Tensor) -> Tensor:
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # (n, H, L, D / H)

    seen = _norm(block.ln_1, context)
    if h is context:
        q, k, v = map(by_head, F.linear(seen, weight, bias).split(width, dim=-1))
    else:
        q = by_head(F.linear(_norm(block.ln_1, h), weight[:width], bias[:width]))  # (n, H, 1, D / H)
        k, v = map(by_head, F.linear(seen, weight[width:], bias[width:]).split(width, dim=-1))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    h = h + block.ls_1(block.attn.out_proj(mixed.transpose(1, 2).flatten(2)))  # (n, Lq, D)
    return h + block.ls_2(_mlp(block.mlp, _norm(block.ln_2, h)))


def _mlp(mlp: Any, x: Tensor) -> Tensor:
    """(n, L, D) -> (n, L, D)"""
    if type(mlp.gelu) is nn.GELU:
        return mlp.c_proj(mlp.gelu(mlp.c_fc(x)))
    scaled = torch.addmm(mlp.c_fc.bias * QUICK, x.flatten(0, 1), mlp.c_fc.weight.T, alpha=QUICK)  # (n L, 4 D)
    activated = F.silu(scaled, inplace=True)
    return torch.addmm(mlp.c_proj.bias, activated, mlp.c_proj.weight.T, alpha=1 / QUICK).view_as(x)


def _norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    from open_clip.transformer import LayerNormFp32

    if type(layer) is LayerNormFp32 and x.device.type == "cpu":
        return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
    return layer(x)


def _plain_blocks(transformer: Any) -> bool:
    from open_clip.transformer import QuickGELU, ResidualAttentionBlock, Transformer

    return (
        type(transformer) is Transformer
        and transformer.batch_first
        and all(
            type(block) is ResidualAttentionBlock
            and type(block.mlp.gelu) in (QuickGELU, nn.GELU)
            and block.attn.in_proj_weight is not None
            for block in transformer.resblocks
        )
    )


def _plain_vit(visual: Any) -> bool:
    from open_clip.transformer import VisionTransformer

    return (
        type(visual) is VisionTransformer
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and visual.proj is not None
        and not visual.output_tokens
        and _plain_blocks(visual.transformer)
    )


def _plain_text(model: Any) -> bool:
    from open_clip.model import CLIP

    return (
        type(model) is CLIP
        and model.text_pool_type == "argmax"
        and model.attn_mask is not None  # causal: the only mask that this class makes
        and isinstance(model.text_projection, nn.Parameter)
        and _plain_blocks(model.transformer)
    )
