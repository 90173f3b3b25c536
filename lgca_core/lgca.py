"""LGCA, localized-globalized cross alignment (arXiv 2511.00419), as we read it.

    step 0      S_0 = N squares, small: local to begin with
    step t>=1   keep the ceil(rho^t N) most salient boxes of S_{t-1}, expand each about its centre, encode
    u_t       = sum_i w_i k_i over step t's boxes, w = softmax(e^4 saliency) within the step
    s(x, c)   = < sum_t lambda_t u_t , z_c >

The paper's body and code could not be had; each choice is a parameter. Axes: B pictures, n_t boxes of a picture at
step t, D embedding width, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, e
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.box_plans import WHOLE, Plan, draw, squares
from lgca_core.boxes import Growth, expand
from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.views import Views
from lgca_core.wca import WCA, check_identities, check_temperatures, cosine, encode_with_whole, weigh

Saliency = Literal["image", "stratified", "text"]
Lam = Literal["uniform", "geometric", "last"]
Start = Literal["local", "wca"] | tuple[float, float]

STRATA = 4
WCA_RATIO = WCA.alpha / WCA.beta  # 5 / 9


@dataclass(frozen=True)
class Step:
    """One step of B pictures.

    Attributes:
        boxes: (B, n_t, 4) int64, on the CPU. vectors: (B, n_t, D), unit.
        saliency: (B, n_t). weights: (B, n_t), sum 1 over a picture's boxes.
        kept: (B, n_{t+1}) int64, ascending: which boxes the next step expands, in its order; (B, 0) at the last.
        vector: (B, D), the weighted sum u_t.
    """

    boxes: Tensor
    vectors: Tensor
    saliency: Tensor
    weights: Tensor
    kept: Tensor
    vector: Tensor


@dataclass(frozen=True)
class Trace:
    """All that LGCA saw: the whole pictures' vectors (B, D), T + 1 steps, the pictures' final vectors (B, D)."""

    whole: Tensor
    steps: tuple[Step, ...]
    vector: Tensor


@checked
@dataclass(frozen=True)
class LGCA:
    """Localized-globalized cross alignment; with ``steps=0, start="wca"`` it is WCA, to the last bit.

    Attributes:
        n: N, boxes of step 0.
        steps: T, expansions.
        rho: share of a step's boxes that the next one keeps, in (0, 1].
        gamma: growth of a box's side at each step, at least 1.
        start: range of a first box's side, as a share of the picture's shorter side. ``"local"``: up to
            ``gamma^-T``, so that the largest just reaches the whole picture at the last step, and from 5/9 of
            that (WCA's ratio); ``"wca"``: (0.5, 0.9); or any (low, high).
        saliency: ``"image"``: ``cos(f(crop), f(x))``; ``"stratified"``: the same, but the kept boxes are shared out
            evenly over four groups by size; ``"text"``: margin between a crop's two best classes.
        lam: ``"uniform"``; ``"geometric"``: lambda_t in proportion to rho^t, a step's share of the boxes; ``"last"``:
            the last step only.
        whole_image: f(x) as one further term, beside the T + 1 of the steps: weight 1 / (T + 2).
        growth: see `boxes.expand`.
        image_temperature, text_temperature, renormalise: see `wca.WCA`.

    Raises LgcaError for settings out of range.
    """

    n: int = 60
    steps: int = 3
    rho: float = 0.5
    gamma: float = 1.25
    start: Start = "local"
    saliency: Saliency = "image"
    lam: Lam = "uniform"
    whole_image: bool = False
    growth: Growth = "square"
    image_temperature: float = e**4
    text_temperature: float = e**2
    renormalise: bool = False

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("steps", 0)):
            if getattr(self, name) < least:
                raise LgcaError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.rho <= 1:
            raise LgcaError(f"rho, the share of boxes kept, must be in (0, 1], got {self.rho}")
        if not 1 <= self.gamma < float("inf"):
            raise LgcaError(f"gamma, the growth of a box, must be at least 1 and finite, got {self.gamma}")
        for name, choices in (("saliency", Saliency), ("lam", Lam), ("growth", Growth)):
            if getattr(self, name) not in get_args(choices):
                raise LgcaError(f"{name} must be one of {get_args(choices)}, got {getattr(self, name)!r}")
        if isinstance(self.start, str) and self.start not in ("local", "wca"):
            raise LgcaError(f"start must be 'local', 'wca' or a range (low, high), got {self.start!r}")
        low, high = self.range()
        if not 0 < low <= high <= 1:
            raise LgcaError(f"start range ({low}, {high}) must satisfy 0 < low <= high <= 1")
        check_temperatures(self.image_temperature, self.text_temperature)

    def range(self) -> tuple[float, float]:
        """Shares (a0, b0) of the picture's shorter side between which the first boxes' sides lie."""
        if self.start == "local":
            b0 = self.gamma**-self.steps
            return WCA_RATIO * b0, b0
        return (WCA.alpha, WCA.beta) if isinstance(self.start, str) else self.start

    def counts(self) -> list[int]:
        """Boxes of each step, ``ceil(rho^t N)`` for t = 0..T, computed exactly."""
        return [kept(self.n, self.rho, t) for t in range(self.steps + 1)]

    def passes(self) -> int:
        """Encoder passes a picture, ``1 + sum_t ceil(rho^t N)``; fewer are run where boxes coincide."""
        return 1 + sum(self.counts())

    def at_passes(self, budget: int) -> "LGCA":
        """A copy with the largest N whose passes do not exceed ``budget``. LgcaError where not even N = 1 fits."""
        for n in range(budget - 1, 0, -1):
            if (smaller := replace(self, n=n)).passes() <= budget:
                return smaller
        raise LgcaError(f"{self.steps} steps take at least {self.steps + 2} passes a picture, not {budget}")

    def drawn(self, seed: int) -> Plan:
        """The plan of step 0; from WCA's range it is WCA's."""
        return squares(self.n, *self.range(), seed)

    def plans(self, seed: int, texts: str | None = None) -> tuple[Plan, ...]:
        """The boxes asked for, see `box_plans`: the whole picture, step 0, and the expansions where there are any.

        Settings that only weigh the vectors decide no box and are left out: ``lam``, ``whole_image``,
        ``image_temperature`` and, unless saliency is ``"text"``, ``text_temperature`` and ``renormalise``.
        ``texts``, a hash of the prompts behind the class matrix, is for ``saliency="text"`` only.
        """
        first = self.drawn(seed)
        if self.steps == 0:
            return WHOLE, first
        names = ["steps", "rho", "gamma", "saliency", "growth"]
        expanded: Plan = {"draw": "expanded", "of": first}
        if self.saliency == "text":
            assert texts, "the boxes of saliency 'text' depend on the prompts: name them"
            names += ["text_temperature", "renormalise"]
            expanded["texts"] = texts
        return WHOLE, first, expanded | {name: getattr(self, name) for name in names}

    def weights(self) -> list[float]:
        """lambda_t for t = 0..T, sum 1."""
        last = self.steps
        share = {
            "uniform": lambda t: 1.0,
            "geometric": lambda t: self.rho**t,
            "last": lambda t: float(t == last),
        }[self.lam]
        total = sum(share(t) for t in range(last + 1))
        return [share(t) / total for t in range(last + 1)]

    def vectors(self, views: Views, identities: Sequence[str], seed: int, class_matrix: Tensor | None = None) -> Tensor:
        """``sum_t lambda_t u_t`` of every picture: (B, D) float32. See :meth:`trace`."""
        return self.trace(views, identities, seed, class_matrix).vector

    def trace(self, views: Views, identities: Sequence[str], seed: int, class_matrix: Tensor | None = None) -> Trace:
        """Runs LGCA on the pictures of ``views`` and keeps all it saw.

        ``identities`` name the pictures by their contents and key the boxes, with ``seed``. ``class_matrix`` (C, D)
        is for ``saliency="text"`` only. Ties between boxes go to the one drawn first.

        Raises LgcaError where ``saliency="text"`` has no class matrix, or one of a single class.
        """
        check_identities(views, identities)
        first = self.drawn(seed)
        drawn = [
            draw(first, height, width, identity)
            for (height, width), identity in zip(views.sizes, identities, strict=True)
        ]  # B x (N, 4)
        k0, k = encode_with_whole(views, drawn)  # (B, D), (B, N, D)
        boxes = torch.stack(drawn)  # (B, N, 4)
        height, width = torch.tensor(views.sizes).T[..., None]  # (B, 1), (B, 1)
        counts = [*self.counts(), 0]
        steps: list[Step] = []
        for t in range(self.steps + 1):
            if t > 0:
                chosen = boxes.gather(1, steps[-1].kept[..., None].expand(-1, -1, 4))  # (B, n_t, 4)
                boxes = expand(chosen, self.gamma, height, width, growth=self.growth)
                k = torch.stack(views.encode(list(boxes)))  # (B, n_t, D)
            saliency = self._saliency(k, k0, class_matrix)  # (B, n_t)
            w, u = weigh(k, saliency, self.image_temperature)  # (B, n_t), (B, D)
            keep = self._keep(boxes, saliency.cpu(), counts[t + 1])  # (B, n_{t+1})
            steps.append(Step(boxes, k, saliency, w, keep, u))
        return Trace(k0, tuple(steps), self._sum(k0, [step.vector for step in steps]))

    def _saliency(self, k: Tensor, k0: Tensor, class_matrix: Tensor | None) -> Tensor:
        """Crops (B, n, D), whole pictures (B, D) -> (B, n)."""
        if self.saliency != "text":
            return cosine(k, k0)
        if class_matrix is None or len(class_matrix) < 2:
            raise LgcaError("saliency 'text' compares a crop's two best classes: it needs two classes or more")
        best = (k @ class_matrix.T).topk(2, dim=-1).values  # (B, n, 2)
        return best[..., 0] - best[..., 1]

    def _keep(self, boxes: Tensor, saliency: Tensor, count: int) -> Tensor:
        """Boxes (B, n, 4), saliency (B, n) -> indices of the ``count`` to keep, ascending: (B, count) int64."""
        order = saliency.argsort(dim=1, descending=True, stable=True)  # (B, n), a tie by box index
        if self.saliency == "stratified":
            area = boxes[..., 2] * boxes[..., 3]  # (B, n)
            group = _rank(area.argsort(dim=1, stable=True)) * STRATA // area.shape[1]  # (B, n): 0..3, small to large
            # A box's place within its group comes first: the best of each, then the second of each, and so on.
            same = group[:, :, None] == group[:, None, :]  # (B, n, n)
            rank = _rank(order)  # (B, n)
            place = (same & (rank[:, None, :] < rank[:, :, None])).sum(dim=-1)  # (B, n)
            order = (place * area.shape[1] + rank).argsort(dim=1)  # (B, n), no ties left
        return order[:, :count].sort(dim=1).values

    def _sum(self, k0: Tensor, u: Sequence[Tensor]) -> Tensor:
        """Whole pictures (B, D) and T + 1 step vectors (B, D) -> (B, D)."""
        lam = self.weights()
        total = lam[0] * u[0]
        for share, of_step in zip(lam[1:], u[1:], strict=True):
            total = total + share * of_step
        if self.whole_image:
            total = (len(u) * total + k0) / (len(u) + 1)
        return F.normalize(total, dim=-1) if self.renormalise else total


def kept(n: int, rho: float, t: int) -> int:
    """``ceil(rho^t n)`` in exact arithmetic."""
    return ceil(exact_share(rho) ** t * n)


def exact_share(rho: float) -> Fraction:
    """The decimal or simple fraction that was meant: 0.1 is 1/10, 0.333... is 1/3; never 0 or 1 for another number."""
    simple = Fraction(rho).limit_denominator(1_000_000)
    return simple if 0 < simple < 1 else Fraction(str(rho))


def _rank(order: Tensor) -> Tensor:
    """The inverse of each row's permutation: (B, n) -> (B, n)."""
    return order.argsort(dim=1)
