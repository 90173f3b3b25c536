"""LaZSL, locally-aligned vision-language model (arXiv 2506.23822): optimal transport of crops to descriptions.

Axes: M salient crops of a picture (of N), C classes, P_c sentences of class c, D embedding width. With k_0 = f(x),
k_i = f(crop_i), and theta the share of the local in the mix:

    salient crops    A = { i : <k_i, k_0>  >=  mean_i <k_i, k_0> }
    similarity       S_ij = theta <k_i, t_cj> + (1 - theta) <k_0, t_cj> ,  i in A
    transport        T = argmin  sum_ij T_ij (1 - S_ij) + epsilon sum_ij T_ij (log T_ij - 1)
                         over T >= 0 with  sum_j T_ij = 1 / |A| ,  sum_i T_ij = 1 / P_c
    s(x, c)          = sum_ij T_ij S_ij

theta 0.8, epsilon 0.1 and at most 100 iterations of Sinkhorn are those of the released code, and so is the similarity,
which is both the cost's and the score's (github.com/shiming-chen/LaZSL, c098dc9). Here the crops are those of WCA
(same seed), not the 90 squares of U(0.6, 0.9) of the released code, which ``lazsl-d:n=90:alpha=0.6`` draws; `lazsl`
reads WCA's descriptions, `lazsl-d` short descriptors as that code does, whose Places365 has 365 distinct names. **Our
reading**: iterations stop where both marginals hold to 1e-5, not where a scaling changes by less than 0.01 on average,
so that the score is that of the equation; and they run on logarithms, so that a small epsilon does not underflow.

Rows of T are crops, columns sentences. The global half of S is the same for all crops, so it moves no transport: it
adds (1 - theta) times the mean of <k_0, t_cj> over j.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lgca_core.errors import LgcaError
from lgca_core.methods.base import Method, Scorer, Settings, Texts, as_json
from lgca_core.prompts.class_prompts import Kind
from lgca_core.views import Views
from lgca_core.wca import cosine, encode_with_whole

AT_ONCE = 1 << 20
"""Most entries of transports solved together: 4 MB in float32, a few of which are held at a time."""


@dataclass(frozen=True)
class LaZSL:
    """``mix``: theta, in [0, 1]. ``epsilon``: above 0. ``iterations``, ``tolerance``: see :func:`sinkhorn`.

    Raises LgcaError for settings out of range.
    """

    mix: float = 0.8
    epsilon: float = 0.1
    iterations: int = 100
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 <= self.mix <= 1:
            raise LgcaError(f"mix, the share of the local similarity, must be in [0, 1], got {self.mix}")
        if not self.epsilon > 0:
            raise LgcaError(f"epsilon, the weight of the entropy, must be above 0, got {self.epsilon}")
        if self.iterations < 1:
            raise LgcaError(f"iterations must be at least 1, got {self.iterations}")

    def scores(self, k0: Tensor, k: Tensor, t: Tensor, count: Tensor) -> Tensor:
        """Scores of pictures against classes: (B, C) float32. Memory beside what is given: AT_ONCE, whatever B and C.

        Args:
            k0: the pictures, (B, D). k: their crops, (B, N, D).
            t: sentences, (C, P, D), P the most of a class. count: how many of these a class has, (C,).
        """
        kept = salient(cosine(k, k0))  # (B, N)
        m = kept.sum(dim=1)  # (B,)
        first = (~kept).byte().argsort(dim=1, stable=True)[:, : int(m.max())]  # (B, M), the salient crops in front
        k = k.take_along_dim(first[..., None], dim=1)  # (B, M, D)
        entries = k.shape[1] * t.shape[1]  # M P
        pictures = max(1, AT_ONCE // (entries * len(t)))
        classes = max(1, AT_ONCE // (entries * pictures))
        images = [part.split(pictures) for part in (k0, k, _uniform(m, k.shape[1]))]
        texts = [part.split(classes) for part in (t, _uniform(count, t.shape[1]))]
        return torch.cat([torch.cat([self._part(*i, *c) for c in zip(*texts)], dim=1) for i in zip(*images)])

    def _part(self, k0: Tensor, k: Tensor, a: Tensor, t: Tensor, b: Tensor) -> Tensor:
        """(b, D), (b, M, D), (b, M), (c, P, D), (c, P) -> (b, c)"""
        local = torch.einsum("bmd,cpd->bcmp", k, t)
        similarity = self.mix * local + (1 - self.mix) * torch.einsum("bd,cpd->bcp", k0, t)[:, :, None]  # (b, c, M, P)
        a, b = a[:, None].expand(-1, len(t), -1), b[None].expand(len(k), -1, -1)  # (b, c, M), (b, c, P)
        transport = sinkhorn(1 - similarity, a, b, self.epsilon, self.iterations, self.tolerance)  # (b, c, M, P)
        return (transport * similarity).sum(dim=(2, 3))


def salient(cosine: Tensor) -> Tensor:
    """Crops at least as near their picture as they are on average: (B, N) -> (B, N) bool, one of a picture or more."""
    # Rounding can put the mean of equal numbers above them all.
    mean, most = cosine.mean(dim=1, keepdim=True), cosine.amax(dim=1, keepdim=True)
    return (cosine >= mean) | (cosine == most)


def _uniform(count: Tensor, width: int) -> Tensor:
    """Equal shares of the first ``count`` of ``width`` places: (n,) -> (n, width), the others 0."""
    return (torch.arange(width, device=count.device) < count[:, None]) / count[:, None]


def sinkhorn(cost: Tensor, a: Tensor, b: Tensor, epsilon: float, iterations: int, tolerance: float) -> Tensor:
    """Entropic optimal transport (Cuturi 2013, arXiv 1306.0895): cost (..., M, P), marginals -> T (..., M, P).

    ``T_ij = exp(f_i + g_j - cost_ij / epsilon)``, where f and g are fitted in turns: f to the sums of rows, a (..., M),
    g to those of columns, b (..., P); a row or column of sum 0 stays empty. A problem is left as it is once its rows
    are off by less than ``tolerance`` in sum, or after ``iterations``: it does not depend on the others beside it.
    Columns hold to rounding.
    """
    kernel, log_a, log_b = -cost / epsilon, a.log(), b.log()
    f, g = torch.full_like(log_a, torch.inf), log_b  # nothing fitted yet
    for _ in range(iterations):
        rows = torch.logsumexp(kernel + g[..., None, :], dim=-1)  # (..., M), without f
        off = ((f + rows).exp() - a).abs().sum(dim=-1, keepdim=True) >= tolerance  # (..., 1)
        if not off.any():
            break
        f = torch.where(off, log_a - rows, f)  # (..., M)
        g = torch.where(off, log_b - torch.logsumexp(kernel + f[..., :, None], dim=-2), g)  # (..., P)
    return (kernel + f[..., :, None] + g[..., None, :]).exp()


def lazsl(summary: str, prompts: Kind, look: LaZSL | None = None) -> Method:
    """With WCA's crops."""
    chosen = look or LaZSL()

    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        wca = settings.wca

        padded = texts.padded

        def scores(views: Views, identities: Sequence[str]) -> Tensor:
            boxes = [wca.boxes(h, w, seed, identity) for (h, w), identity in zip(views.sizes, identities, strict=True)]
            k0, k = encode_with_whole(views, boxes)  # (B, D), (B, N, D)
            return chosen.scores(k0, k, *padded)  # (B, C)

        config = as_json(chosen, look="lazsl", wca=as_json(wca))
        return Scorer(scores, wca.plans(seed), wca.passes(), config)

    return Method(summary, prompts, prepare, seeded=True, settings_group="wca")
