"""Text positions for long captions: 77 of CLIP's become 248, as Long-CLIP (arXiv 2403.15378) stretches them."""

import torch
from torch import Tensor

from lgca_core.errors import LgcaError

KEPT = 20
"""The first positions, well trained on short captions, are kept."""
STRETCH = 4
"""Each later one becomes so many."""


def stretch_positions(old: Tensor) -> Tensor:
    """Position embeddings (n, W) -> (4 n - 60, W) in the same type; of CLIP's 77 positions 248.

    The first 20 are kept. Position 20 + 4 i + r lies between the old 20 + i and 21 + i, a quarter r of the way; past
    the last old one the last three are extrapolated along its last step, as Long-CLIP does.

    Raises LgcaError where there are too few positions to stretch.
    """
    n = len(old)
    if n < KEPT + 2:
        raise LgcaError(f"a text tower of {n} positions cannot be stretched: at least {KEPT + 2} are needed")
    base = old.double()
    step = torch.cat([base[KEPT + 1 :] - base[KEPT:-1], base[-1:] - base[-2:-1]])  # (n - 20, W)
    quarter = torch.arange(STRETCH, dtype=torch.float64, device=old.device) / STRETCH
    later = base[KEPT:, None] + quarter[:, None] * step[:, None]  # (n - 20, 4, W)
    return torch.cat([base[:KEPT], later.flatten(0, 1)]).to(old.dtype)
