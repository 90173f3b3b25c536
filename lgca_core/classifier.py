"""Prompts -> class matrix (C, D): all prompts of all classes in flat batches, reduced by class.

Axes: C classes, P prompts of a class (ragged), M prompts of all classes, B images, D embedding width.
"""

from collections.abc import Sequence
from math import e
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.errors import LgcaError


class TextEncoder(Protocol):
    """The text half of an encoder, or what stands in for it where sentences are encoded already."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> unit vectors (n, D) float32, in their order."""
        ...


def class_matrix(
    encoder: TextEncoder,
    prompts: Sequence[Sequence[str]],
    *,
    anchors: Sequence[str] | None = None,
    temperature: float = e**2,
    renormalise: bool = True,
) -> Tensor:
    """One vector a class, (C, D) float32 on the encoder's device, row c from ``prompts[c]``.

    Without ``anchors`` the mean of the class's unit vectors t_cj (CLIP with one prompt, CLIP-E, CLIP-D, Waffle,
    CuPL). With ``anchors``, one string a class, the weighted sum of WCA (arXiv 2406.02915, section 3):
    ``z_c = sum_j v_j t_cj``, ``v_j = softmax_j(temperature * cos(t_cj, t_c0))``, t_c0 the anchor.
    ``renormalise`` scales each row to unit length.

    Raises LgcaError where there are no classes, or a class has no prompts.
    """
    counts = [len(of_class) for of_class in prompts]
    if not counts:
        raise LgcaError("there are no classes to choose from")
    if 0 in counts:
        raise LgcaError(f"class {counts.index(0)} (counted from 0) has no prompts")
    flat = [prompt for of_class in prompts for prompt in of_class]
    c, m = len(counts), len(flat)
    if anchors is not None:
        assert len(anchors) == c, f"{len(anchors)} anchors for {c} classes"
        flat += anchors  # in the same batches
    vectors = encoder.encode_texts(flat)  # (M, D), or (M + C, D)
    t = vectors[:m]  # (M, D)
    lengths = torch.tensor(counts, device=t.device)  # (C,)
    of = torch.repeat_interleave(lengths)  # (M,): the class of each prompt
    if anchors is None:
        v = torch.ones(m, device=t.device)  # (M,)
    else:
        cosine = (t * vectors[m:][of]).sum(dim=-1)  # (M,)
        highest = torch.segment_reduce(cosine, "max", lengths=lengths)  # (C,)
        v = (temperature * (cosine - highest[of])).exp()
    # Sums in the order of the prompts: on a GPU too they come out the same every time.
    total = torch.segment_reduce(v, "sum", lengths=lengths)  # (C,)
    v = v / total[of]  # sums to 1 within a class
    z = torch.segment_reduce(v[:, None] * t, "sum", lengths=lengths, axis=0)  # (C, D)
    return F.normalize(z, dim=-1) if renormalise else z


def logits(vectors: Tensor, matrix: Tensor) -> Tensor:
    """Image vectors (B, D) against a class matrix (C, D): scores (B, C) float32, in cosine units.

    Summed in float64, so that a picture's scores do not depend on how many others are scored with it.
    """
    assert vectors.shape[-1] == matrix.shape[-1], (
        f"image vectors are {vectors.shape[-1]} wide, class vectors {matrix.shape[-1]}"
    )
    return (vectors.double() @ matrix.double().T).float()
