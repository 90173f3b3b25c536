"""Floating-point operations of encoding and of scoring: counted on what is run, and by closed formulae.

Axes: N crops of a picture, C classes, P sentences a class, D width.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from lgca_core.encoder import Encoder
from lgca_core.encoders import embedded
from lgca_core.encoders.fast_towers import image_tower
from lgca_core.encoders.open_clip_models import config_of
from lgca_core.errors import LgcaError


def visual_flops(encoder: Encoder) -> int:
    """Floating-point operations of encoding one crop, a multiplication and an addition each counted as one.

    Counted by ``torch.utils.flop_counter`` on what is run: matrix products, convolutions and attention.
    """
    crop = torch.zeros(1, 3, encoder.size, encoder.size, device=encoder.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder.image(crop)
    return counter.get_total_flops()


def architecture(encoder: str) -> dict[str, Any]:
    """open_clip's configuration of the encoder that ``"aviary"``, ``"NAME:TAG"`` or ``"NAME"`` means; reads no weights.

    Raises:
        LgcaError: there is none of this name; near ones are named.
    """
    embedded.add_to_open_clip()
    name = encoder.partition(":")[0].replace("/", "-")  # OpenAI's spelling, ViT-B/32
    return config_of(embedded.MODEL_NAME if name == embedded.NAME else name)


PLAIN: dict[str, Any] = {"attentional_pool": False, "pool_type": "tok", "output_tokens": False, "mlp_ratio": 4.0}
"""Settings of an image tower that :func:`vit_flops` takes for granted: open_clip's defaults."""


def vit_flops(config: Mapping[str, Any]) -> int:
    """FLOPs of one pass of a plain ViT by a closed formula, from its `architecture`.

    Of an input of side S and patches of side p there are L = 1 + (S / p)^2 tokens of width W. Patches cost
    ``6 (L - 1) p^2 W``; each of K blocks but the last ``24 L W^2 + 4 L^2 W`` (queries, keys, values and the way out
    8 L W^2, attention 4 L^2 W, the MLP of four times the width 16 L W^2); of the last only the class token is read, so
    it costs ``4 L W^2`` for keys and values and ``20 W^2 + 4 L W`` for that token; the projection to D ``2 W D``.

    Raises:
        LgcaError: the image tower is no plain ViT.
    """
    vision = config["vision_cfg"]
    numbers = (vision.get("layers"), vision.get("patch_size"))
    if not all(isinstance(n, int) for n in numbers) or any(vision.get(name, own) != own for name, own in PLAIN.items()):
        raise LgcaError(
            "the formula is for a plain ViT, whose MLPs are four times as wide and whose class token alone is read: "
            "this image tower is another"
        )
    w, k, p = vision["width"], vision["layers"], vision["patch_size"]
    patches = (vision.get("image_size", 224) // p) ** 2
    tokens = 1 + patches
    blocks = (k - 1) * (24 * tokens * w**2 + 4 * tokens**2 * w)
    last = 4 * tokens * w**2 + 20 * w**2 + 4 * tokens * w
    return 6 * patches * p**2 * w + blocks + last + 2 * w * config["embed_dim"]


def formula_of(encoder: str) -> int | None:
    """:func:`vit_flops` of an encoder by name; None where its image tower is no plain ViT, or is not open_clip's."""
    try:
        return vit_flops(architecture(encoder))
    except LgcaError:
        return None


def vit_flops_counted(config: Mapping[str, Any]) -> int:
    """As `visual_flops`, of a model that is built without weights: torch follows the shapes and computes nothing."""
    from open_clip.model import CLIP

    with torch.device("meta"):  # the text tower is not run: any will do
        quick = config.get("quick_gelu", False)
        model = CLIP(config["embed_dim"], config["vision_cfg"], text_cfg={}, quick_gelu=quick).eval()
    side = config["vision_cfg"].get("image_size", 224)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        image_tower(model)(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops()


def flops_table(encoders: Sequence[str]) -> pd.DataFrame:
    """One row an encoder: encoder, tokens, layers, width, counted and formula (operations of one pass).

    Raises:
        LgcaError: there is no such encoder, or it is none of :func:`vit_flops`.
    """
    rows = []
    for name in encoders:
        config = architecture(name)
        formula = vit_flops(config)  # first: it refuses what the rest does not know
        vision = config["vision_cfg"]
        rows.append(
            {
                "encoder": name,
                "tokens": 1 + (vision.get("image_size", 224) // vision["patch_size"]) ** 2,
                "layers": vision["layers"],
                "width": vision["width"],
                "counted": vit_flops_counted(config),
                "formula": formula,
            }
        )
    return pd.DataFrame(rows)


def scoring_flops(n: int, classes: int, sentences: int, width: int) -> tuple[int, int]:
    """Of one picture: WCA's double sum, and the same factored (class vectors summed beforehand).

    ``sum_i sum_j w_i v_cj <k_i, t_cj>`` takes N P C products of D numbers and weighs each;
    ``< sum_i w_i k_i , z_c >`` takes N D to sum the crops and C D to compare.
    """
    products = n * classes * sentences
    return products * (2 * width + 2), 2 * n * width + 2 * classes * width
