"""HADA's losses: contrast with soft targets over batch and queue, and matching with hard negatives.

    S_i2t = u [v'; queue_v]^T / tau,    S_t2i = v [u'; queue_u]^T / tau            (B, B + K)
    y_bj  = [id_b = id_j] / #{j : id_j = id_b},    Y_i2t = alpha softmax(u' [v'; queue_v]^T / tau) + (1 - alpha) y
    L     = l_i CE(S_i2t, Y_i2t) + l_t CE(S_t2i, Y_t2i) + L_matching

Axes: B pairs of a picture and a caption, K rows of the queue, C joint width, P width of the stronger model's own
vectors. u and v are the trained networks', u' and v' those of their averaged copies; all are of unit length.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.related.hada.network import MatchingHead

Constant = Literal["added", "inside"]
_CONSTANT = 1e-4
_NOISE_ID = -100


class BothSides(NamedTuple):
    """Vectors of B pictures and of their captions: (B, C) each."""

    image: Tensor
    text: Tensor


class QueueRows(NamedTuple):
    """What a queue holds: n rows of each, n at most K."""

    image: Tensor  # (n, C)
    text: Tensor  # (n, C)
    ids: Tensor  # (n,) int64: which picture
    own_image: Tensor | None  # (n, P) the stronger model's own vectors
    own_text: Tensor | None


class EmbeddingQueue(nn.Module):
    """The last K pairs of vectors with their pictures' ids (from 0 on), the oldest replaced first.

    ``begin="empty"``: it grows to K rows, and only those count. ``begin="noise"``, as released: it is full of random
    unit vectors of id -100 from the first step on, which are negatives of everything until they are replaced. Any batch
    size will do. The state dict has all of it, the place of the next row included.
    """

    def __init__(
        self, size: int, width: int, own: int | None = None, *, begin: Literal["empty", "noise"] = "empty"
    ) -> None:
        """``own`` is P, for a second stage."""
        super().__init__()
        if size < 1:
            raise LgcaError(f"a queue has 1 row or more, not {size}")
        self.size, self.next, self.count = size, 0, size if begin == "noise" else 0
        for name, wide in (("image", width), ("text", width), ("own_image", own), ("own_text", own)):
            rows = None
            if wide is not None:
                rows = F.normalize(torch.randn(size, wide), dim=1) if begin == "noise" else torch.zeros(size, wide)
            self.register_buffer(name, rows)
        self.register_buffer("ids", torch.full((size,), _NOISE_ID))

    def rows(self) -> QueueRows:
        """The rows there are, as views: `push` only after the gradient of a loss with them."""
        return QueueRows(*(None if of is None else of[: self.count] for of in self._in_order()))  # type: ignore[arg-type]

    @torch.no_grad()
    def push(self, vectors: BothSides, ids: Tensor, own: BothSides | None = None) -> None:
        """Let B pairs in, ``ids`` (B,); of more than K the last K."""
        new = (*vectors, ids, *(own or (None, None)))
        count = len(ids)
        place = (self.next + torch.arange(count, device=ids.device)[-self.size :]) % self.size
        for buffer, rows in zip(self._in_order(), new, strict=True):
            assert (buffer is None) == (rows is None), "own vectors are for a queue that has them"
            if buffer is not None:
                buffer[place] = rows[-self.size :].to(buffer.dtype)
        self.next, self.count = (self.next + count) % self.size, min(self.size, self.count + count)

    def get_extra_state(self) -> dict[str, int]:
        """Where the next row goes, and how many there are."""
        return {"next": self.next, "count": self.count}

    def set_extra_state(self, state: Any) -> None:
        """Go on where a saved queue was."""
        self.next, self.count = state["next"], state["count"]

    def _in_order(self) -> tuple[Any, ...]:
        return self.image, self.text, self.ids, self.own_image, self.own_text


class Scalars(nn.Module):
    """The temperature tau, and in a second stage the share w of the stronger model: both learned, each within bounds.

    `hold` puts them back within their bounds, in place, so that an optimiser goes on owning them; so does
    `load_state_dict`. As released, tau is from 0.01 to 0.5 in the first stage, from 0.001 in the second, and w from 0.1
    to 0.9.
    """

    def __init__(
        self,
        tau: float = 0.07,
        taus: tuple[float, float] = (0.01, 0.5),
        w: float | None = None,
        shares: tuple[float, float] = (0.1, 0.9),
    ) -> None:
        """``w`` is None in a first stage, and begins at 0.5 in the released second one."""
        super().__init__()
        for name, value, (low, high) in (("tau", tau, taus), ("w", w, shares)):
            if value is not None and not 0 < low <= value <= high:
                raise LgcaError(f"{name} must be from {low} to {high}, both above 0, got {value}")
        self.taus, self.shares = taus, shares
        self.tau = nn.Parameter(torch.tensor(tau))
        self.w = None if w is None else nn.Parameter(torch.tensor(w))

    @torch.no_grad()
    def hold(self) -> None:
        """Clamp both; to be called before each step."""
        self.tau.clamp_(*self.taus)
        if self.w is not None:
            self.w.clamp_(*self.shares)


@checked
@dataclass(frozen=True)
class HadaWeights:
    """The weight of each loss; one of weight 0 is not computed.

    ``image`` and ``text`` are l_i and l_t: as released 0.25 and 0.75, in the second stage 0.3 and 0.7, in LAVIS 0.5
    each. ``distil`` is alpha after its ramp: 0.4 in the first stage, else 0. The released code also has a triplet loss,
    of weight 0, which is left out here.
    """

    image: float = 0.25
    text: float = 0.75
    distil: float = 0.4
    matching: float = 1.0
    constant: Constant = "added"

    def __post_init__(self) -> None:
        for name, value in (("image", self.image), ("text", self.text), ("matching", self.matching)):
            if not 0 <= value < float("inf"):
                raise LgcaError(f"the weight {name} must be a number from 0 on, got {value}")
        if not 0 <= self.distil <= 1:
            raise LgcaError(f"distil must be from 0 to 1, got {self.distil}")
        if self.constant not in ("added", "inside"):
            raise LgcaError(f"constant must be added or inside, not {self.constant!r}")
        if not self.image + self.text + self.matching:
            raise LgcaError("all losses have weight 0: give one of them another")


def alpha_at(step: int, steps_an_epoch: int, alpha: float) -> float:
    """Distillation's share at a step, counted from 0: rises linearly from 0 through the first epoch, alpha after it."""
    return alpha * min(1.0, step / steps_an_epoch)


def soft_targets(ids: Tensor, others: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """All captions of a picture are positives, of equal shares: ids (B,) and (n,) -> (B, n), each row's sum 1.

    Every id of ``ids`` must be among ``others``.
    """
    same = (ids[:, None] == others).to(dtype)
    return same / same.sum(1, keepdim=True)


def hard_negatives(
    scores: Tensor, ids: Tensor, constant: Constant = "added", generator: torch.Generator | None = None
) -> Tensor:
    """For each of B items one of the other side (B,), drawn by softmax(scores (B, B)), never of the same picture.

    1e-4 is added to the probabilities, so that none vanishes; ``constant="inside"`` adds it to the scores, as released,
    where it does nothing.

    Raises LgcaError for a batch of one picture, and where, with ``"inside"``, every probability of a row vanishes.
    """
    same = ids[:, None] == ids
    if bool(same.all()):
        raise LgcaError("a batch of one picture has no negatives to draw: shuffle the pairs, or raise the batch size")
    share = (scores + _CONSTANT).softmax(1) if constant == "inside" else scores.softmax(1) + _CONSTANT
    share = share.masked_fill(same, 0)
    if not bool((share.sum(1) > 0).all()):
        raise LgcaError(
            "every negative of an item has probability 0, as its own pair has all: add the constant to the "
            "probabilities (constant: added), or raise the temperature"
        )
    return torch.multinomial(share, 1, generator=generator)[:, 0]


def matching_loss(head: MatchingHead, vectors: BothSides, picture_for: Tensor, caption_for: Tensor) -> Tensor:
    """Mean binary cross entropy of 3 B pairs: the true ones, and each caption and each picture with a hard other.

    ``picture_for`` (B,) and ``caption_for`` (B,) say with which.
    """
    u, v = vectors
    logits = head(torch.cat([u, u[picture_for], u]), torch.cat([v, v, v[caption_for]]))
    truth = torch.cat([logits.new_ones(len(u)), logits.new_zeros(2 * len(u))])
    return F.binary_cross_entropy_with_logits(logits, truth)


def hada_losses(
    online: BothSides,
    teacher: BothSides,
    ids: Tensor,
    queue: QueueRows,
    scalars: Scalars,
    weights: HadaWeights,
    *,
    alpha: float,
    head: MatchingHead | None = None,
    own: BothSides | None = None,
) -> dict[str, Tensor]:
    """Every term, unweighted (``image``, ``text``, ``matching``), and their weighted sum ``loss``.

    ``alpha`` is that of the step (`alpha_at`). In a second stage, where ``scalars`` has a share w, ``own`` are the
    stronger model's vectors (B, P) of the batch, and S is replaced by

        (1 - w) u V^T / tau + w e_u E_v^T / tau

    in the contrast alone: negatives are drawn, and matching is judged, by HADA itself (our reading).

    Raises LgcaError for a batch of one picture where there is a matching loss.
    """
    assert (own is None) == (scalars.w is None), "own vectors are for a second stage"
    teacher = BothSides(*(of.detach() for of in teacher))
    tau, target = scalars.tau, soft_targets(ids, torch.cat([ids, queue.ids]), scalars.tau.dtype)
    out: dict[str, Tensor] = {}
    plain: dict[str, Tensor] = {}
    for side, other in (("image", "text"), ("text", "image")):
        rows = _Rows(getattr(teacher, other), getattr(queue, other))
        plain[side] = rows.cosines(getattr(online, side))  # (B, B + K)
        if not getattr(weights, side):
            continue
        scores, taught = plain[side], rows.cosines(getattr(teacher, side)) if alpha else None
        if own is not None and scalars.w is not None:
            theirs = _Rows(getattr(own, other), getattr(queue, f"own_{other}")).cosines(getattr(own, side))
            scores = torch.lerp(scores, theirs, scalars.w)
            taught = None if taught is None else torch.lerp(taught, theirs, scalars.w.detach())
        aim = target if taught is None else torch.lerp(target, (taught / tau.detach()).softmax(1), alpha)
        out[side] = F.cross_entropy(scores / tau, aim)
    if weights.matching:
        assert head is not None, "the matching loss needs a head"
        draws = {name: (of[:, : len(ids)] / tau).detach() for name, of in plain.items()}
        picture_for = hard_negatives(draws["text"], ids, weights.constant)
        caption_for = hard_negatives(draws["image"], ids, weights.constant)
        out["matching"] = matching_loss(head, online, picture_for, caption_for)
    return out | {"loss": torch.stack([getattr(weights, name) * term for name, term in out.items()]).sum()}


class _Rows(NamedTuple):
    """Of one side the batch's rows and the queue's, not copied together: with 64,000 of 512 they are 131 MB."""

    batch: Tensor
    queue: Tensor

    def cosines(self, vectors: Tensor) -> Tensor:
        return torch.cat([vectors @ self.batch.T, vectors @ self.queue.T], 1)
