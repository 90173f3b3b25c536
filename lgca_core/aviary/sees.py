"""What an embedded encoder sees: everything, colours without detail, or shapes without colour.

The blind ones look through a fixed linear projection P of their normalised pixels. Training applies it to the pixels,
the exported file has it in its first convolution, which has no bias: conv1(P x) = (conv1 P) x. What runs afterwards is
an ordinary model that cannot know what P leaves out.

The shipped ones are short trainings that begin with the weights of the one that sees everything (``--warm``), but for
what projects to vectors, which has other widths (64 and 96):

    python -m lgca_core.aviary.train --sees colour --warm --lr 5e-4 --steps 1000 --batch 128 --scenes 10000
        --precision float32 --workers 0

and the same with ``--sees shape``. What each then knows better than the other is held by its tests.
"""

from __future__ import annotations

from typing import get_args

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.aviary.recipe import Sees
from lgca_core.encoders.embedded import EMBEDDED

ARCHITECTURES: dict[Sees, str] = dict(zip(get_args(Sees), EMBEDDED.values()))
"""open_clip's name of the model that sees so."""
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD

SQUARE = 4
"""Side in pixels of the squares of which the colour encoder sees the mean alone: 16 x 16 of them."""
LUMA = (0.299, 0.587, 0.114)
"""Luminance of R, G, B as ITU-R BT.601 has it, and Pillow's grey pictures."""


def grey_weights() -> Tensor:
    """(3,) float32, adding up to 1: of normalised channels they make the luminance, but for scale and offset.

    With x_c = (p_c - mean_c) / std_c, sum_c luma_c std_c x_c is the luminance of the pixels p less that of the mean.
    """
    weights = torch.tensor(LUMA, dtype=torch.float64) * torch.tensor(STD, dtype=torch.float64)
    return (weights / weights.sum()).float()


def project(pixels: Tensor, sees: Sees) -> Tensor:
    """(n, 3, S, S) normalised, S a multiple of `SQUARE` -> the same, of which nothing is left but what is seen."""
    if sees == "colour":
        return _square_means(pixels)
    if sees == "shape":
        return torch.einsum("c,nchw->nhw", grey_weights().to(pixels), pixels)[:, None].expand_as(pixels)
    return pixels


def folded(kernel: Tensor, sees: Sees) -> Tensor:
    """The kernel (W, 3, K, K) that does to pixels what `kernel`, K a multiple of `SQUARE`, does to projected ones."""
    if sees == "colour":  # the projection is its own transpose
        return _square_means(kernel)
    if sees == "shape":
        return grey_weights().to(kernel)[:, None, None] * kernel.sum(1, keepdim=True)
    return kernel


def _square_means(x: Tensor) -> Tensor:
    means = F.avg_pool2d(x, SQUARE)
    return means.repeat_interleave(SQUARE, -1).repeat_interleave(SQUARE, -2)
