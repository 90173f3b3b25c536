"""Sentences of a class -> one vector; image vectors against them -> logits.

Axes: C classes, P sentences of a class (ragged), M sentences of all classes, B images, D embedding width.
"""

from collections.abc import Sequence
from math import e

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.kinds import checked, kind_of, refuse


@checked
def class_matrix(
    t: Tensor,
    counts: Sequence[int],
    *,
    anchors: Tensor | None = None,
    temperature: float = e**2,
    renormalise: bool = True,
) -> Tensor:
    """One vector a class, (C, D) float32, from unit vectors of sentences t (M, D), of which class c has ``counts[c]``.

    Without ``anchors`` the mean of the class's unit vectors t_cj (CLIP with one prompt, CLIP-E, CLIP-D, Waffle,
    CuPL). With ``anchors`` (C, D), the vectors of one plain prompt a class, the weighted sum of WCA (arXiv 2406.02915,
    section 3): ``z_c = sum_j v_j t_cj``, ``v_j = softmax_j(temperature * cos(t_cj, t_c0))``, t_c0 the anchor.
    ``renormalise`` scales each row to unit length.
    """
    c, m = len(counts), len(t)
    if not c or min(counts) < 1 or t.ndim != 2 or m != sum(counts):
        raise LgcaError(f"vectors of shape {tuple(t.shape)} are not those of {list(counts)} sentences a class")
    lengths = torch.tensor(list(counts), device=t.device)  # (C,)
    of = torch.repeat_interleave(lengths)  # (M,): the class of each sentence
    if anchors is None:
        v = torch.ones(m, device=t.device)  # (M,)
    else:
        if anchors.shape != (c, t.shape[1]):
            raise LgcaError(f"anchors of shape {tuple(anchors.shape)} for {c} classes: give a vector for each class")
        cosine = (t * anchors[of]).sum(dim=-1)  # (M,)
        highest = torch.segment_reduce(cosine, "max", lengths=lengths)  # (C,)
        v = (temperature * (cosine - highest[of])).exp()
    # Sums in the order of the sentences: on a GPU too they come out the same every time.
    total = torch.segment_reduce(v, "sum", lengths=lengths)  # (C,)
    v = v / total[of]  # sums to 1 within a class
    z = torch.segment_reduce(v[:, None] * t, "sum", lengths=lengths, axis=0)  # (C, D)
    return F.normalize(z, dim=-1) if renormalise else z


def encode_classes(
    encoder: Encoder,
    prompts: Sequence[Sequence[str]],
    *,
    anchors: Sequence[str] | None = None,
    temperature: float = e**2,
    renormalise: bool = True,
) -> Tensor:
    """:func:`class_matrix` of sentences: row c from ``prompts[c]``, (C, D) float32 on the encoder's device.

    ``anchors`` has one plain prompt a class. All sentences and anchors are encoded in the same batches.

    Raises LgcaError where there are no classes, a class has no sentences, or ``prompts`` holds strings, not lists of
    them, or is a mapping or a generator.
    """
    refuse("encoder", encoder, Encoder)
    for of_class in prompts if isinstance(prompts, Sequence) and not isinstance(prompts, str) else ():
        if isinstance(of_class, str) or not isinstance(of_class, Sequence):
            raise LgcaError(f"each class needs a list of sentences, but one is {kind_of(of_class)}: put it in a list")
    refuse("prompts", prompts, Sequence[Sequence[str]])
    refuse("anchors", anchors, Sequence[str] | None)
    counts = [len(of_class) for of_class in prompts]
    if not counts:
        raise LgcaError("there are no classes to choose from")
    if 0 in counts:
        raise LgcaError(f"class {counts.index(0)} (counted from 0) has no prompts")
    if anchors is not None and len(anchors) != len(counts):
        raise LgcaError(f"{len(anchors)} anchors for {len(counts)} classes: give one plain prompt a class")
    flat = [sentence for of_class in prompts for sentence in of_class]
    vectors = encoder.encode_texts([*flat, *(anchors or ())])  # (M, D), or (M + C, D)
    return class_matrix(
        vectors[: len(flat)],
        counts,
        anchors=None if anchors is None else vectors[len(flat) :],
        temperature=temperature,
        renormalise=renormalise,
    )


@checked
def logits(vectors: Tensor, matrix: Tensor) -> Tensor:
    """Image vectors (B, D) against a class matrix (C, D): scores (B, C) float32, in cosine units.

    Summed in float64, so that a picture's scores do not depend on how many others are scored with it.
    """
    if vectors.ndim < 1 or matrix.ndim != 2 or vectors.shape[-1] != matrix.shape[-1]:
        raise LgcaError(
            f"image vectors {tuple(vectors.shape)} and class vectors {tuple(matrix.shape)} do not fit: "
            "both must be D wide, from one encoder"
        )
    return (vectors.double() @ matrix.double().T).float()
