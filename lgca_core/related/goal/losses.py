"""GOAL's losses: two contrastive ones, and token similarity between a region (a sentence) and its place in the whole.

    L = 1.0 L_global + 0.5 L_local + 1.0 L_TSL          (GOAL as released)

Axes: B pictures, R regions (one or more a picture), D joint width. All vectors are of unit length.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Matrix = Literal["diagonal", "full"]


class Vectors(NamedTuple):
    """What the two towers make of a batch, and the logit scale s."""

    image: Tensor  # (B, D) f(x)
    text: Tensor  # (B, D) g(T)
    region: Tensor  # (R, D) f(X_l)
    sentence: Tensor  # (R, D) g(T_l)
    patches: Tensor  # (R, D) p: the whole picture's patches in the region
    words: Tensor  # (R, D) q: the whole caption's tokens in the sentence
    scale: Tensor  # ()


class RegionRows(NamedTuple):
    """How much each region counts: (R,) each."""

    weight: Tensor  # share of its picture's one unit; 0 fills a batch up and is no pair at all
    has_patches: Tensor  # bool: the region is within what the encoder sees
    has_words: Tensor  # bool: the sentence is within the text window


@dataclass(frozen=True)
class LossWeights:
    """The weight of each loss; ``matrix`` says which reading of the token similarity is meant."""

    whole: float = 1.0
    local: float = 0.5
    tokens: float = 1.0
    matrix: Matrix = "diagonal"


def info_nce(u: Tensor, v: Tensor, scale: Tensor, weight: Tensor | None = None) -> Tensor:
    """Symmetric contrastive loss of rows (n, D) and (n, D), each the other's only match.

    1/2 [CE(s U V^T) + CE(s V U^T)], rows weighted and divided by the sum of weights; those of weight 0 are left out,
    also as negatives.
    """
    if weight is None:
        weight = u.new_ones(len(u))
    there = weight > 0
    u, v, weight = u[there], v[there], weight[there]
    logits = scale * u @ v.T  # (n, n)
    target = torch.arange(len(u), device=u.device)
    both = F.cross_entropy(logits, target, reduction="none") + F.cross_entropy(logits.T, target, reduction="none")
    return (both * weight).sum() / (2 * weight.sum())


def token_similarity(part: Tensor, local: Tensor, weight: Tensor, matrix: Matrix = "diagonal") -> Tensor:
    """Squared distance of the cosines of (n, D) and (n, D) from 1, each row with its own: mean (p . f - 1)^2.

    Gradients reach both sides. Rows of weight 0 are left out; without any the loss is 0. ``matrix="full"`` is another
    reading of the papers' n x n formula, an arm: the mean over all pairs of rows of (P F^T - I)^2, which repels others.
    """
    there = weight > 0
    part, local, weight = part[there], local[there], weight[there]
    if not len(weight):
        return (part.sum() + local.sum()) * 0.0  # still of the graph
    if matrix == "full":
        return (part @ local.T - torch.eye(len(part), device=part.device)).square().mean()
    return (((part * local).sum(-1) - 1).square() * weight).sum() / weight.sum()


def goal_losses(vectors: Vectors, rows: RegionRows, weights: LossWeights) -> dict[str, Tensor]:
    """Every term, unweighted, and their weighted sum ``loss``; a term of weight 0 is not computed."""
    out: dict[str, Tensor] = {}
    if weights.whole:
        out["global"] = info_nce(vectors.image, vectors.text, vectors.scale)
    if weights.local:
        out["local"] = info_nce(vectors.region, vectors.sentence, vectors.scale, rows.weight)
    if weights.tokens:
        seen, read = rows.weight * rows.has_patches, rows.weight * rows.has_words
        out["patches"] = token_similarity(vectors.patches, vectors.region, seen, weights.matrix)
        out["words"] = token_similarity(vectors.words, vectors.sentence, read, weights.matrix)
    factor = {"global": weights.whole, "local": weights.local, "patches": weights.tokens, "words": weights.tokens}
    return out | {"loss": torch.stack([factor[name] * term for name, term in out.items()]).sum()}
