"""HADA's graph layer: the CLS of each model attends over all tokens of all models, computed densely.

Axes: B items, M models, N_m tokens of model m (padded), N = N_1 + ... + N_M, C width of a node, H heads, D width of a
head. Every edge ends in a CLS, so M queries an item are all there is; the other nodes send, and receive nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

EDGES = ("own", "cross", "cls", "self")
"""Into a CLS: from tokens of its model, from tokens of the others, from the CLS of the others, and from itself."""
_SLOPE = 0.2
RECOMPUTED_FROM = 2**26
"""Bytes of what is inside the LeakyReLU, of all queries and heads, from which on it is not kept for the gradient."""


@dataclass(frozen=True)
class EdgeWeights:
    """The weight of each type of edge; None leaves the type out.

    ``loop="mean"`` weighs the edge from a CLS to itself by the mean of its other incoming weights (0 where none is), so
    that it depends on how many tokens an item has. That is HADA as released: the loop of 1.1 in its code is replaced
    by PyTorch Geometric's default. A number is the weight itself. With ``learned`` the numbers are where training
    begins, one parameter a type.
    """

    own: float | None = 0.9
    cross: float | None = 0.7
    cls: float | None = 1.1
    loop: Literal["mean"] | float | None = 1.1
    learned: bool = False


AS_RELEASED = EdgeWeights(loop="mean")
ALL_ONE = EdgeWeights(1.0, 1.0, 1.0, 1.0)


class ClsAttention(nn.Module):
    """GATv2 (arXiv 2105.14491) with edge weights, into the CLS rows alone.

        a_j^k = softmax_j  att^k . LeakyReLU_0.2(W_r^k y_c + b_r^k + W_l^k y_j + b_l^k + w_cj w_e^k)
        z_c   = [sum_j a_j^k (W_l^k y_j + b_l^k)]_k + b

    The parameters, their shapes and how they begin are those of PyTorch Geometric's ``GATv2Conv(C, D, heads=H,
    edge_dim=1)``. Keys are projected once for all queries. Of a large batch nothing larger than the keys is kept: what
    is inside the LeakyReLU, (B, N, D) for one query and one head, is recomputed in the backward pass.
    """

    def __init__(
        self, width: int, head_width: int, heads: int = 4, *, edges: EdgeWeights | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        edges = edges or EdgeWeights()
        self.heads, self.head_width, self.dropout = heads, head_width, dropout
        self.keys = nn.Linear(width, heads * head_width)  # W_l
        self.queries = nn.Linear(width, heads * head_width)  # W_r
        self.edge = nn.Parameter(torch.empty(heads, head_width))  # w_e
        self.attention = nn.Parameter(torch.empty(heads, head_width))  # att
        self.bias = nn.Parameter(torch.zeros(heads * head_width))
        for weight in (self.keys.weight, self.queries.weight, self.attention):
            nn.init.xavier_uniform_(weight)
        bound = (6 / (1 + heads * head_width)) ** 0.5  # Glorot, of a linear layer from one number
        nn.init.uniform_(self.edge, -bound, bound)
        values = (edges.own, edges.cross, edges.cls, edges.loop)
        self.mean_loop = edges.loop == "mean"
        numbers = [0.0 if value is None or value == "mean" else value for value in values]
        self.present: Tensor
        self.numbers: Tensor  # on the layer's device, so that no step copies them there
        self.register_buffer("present", torch.tensor([value is not None for value in values]), persistent=False)
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.float64), persistent=False)
        named = zip(EDGES, values, strict=True)
        own = {name: torch.tensor(float(value)) for name, value in named if value not in (None, "mean")}
        self.learned = nn.ParameterDict(own if edges.learned else {})

    def weights(self) -> Tensor:
        """(4,) the weight of each type in the order of EDGES; 0 for one left out, and for the mean loop."""
        given = self.numbers.to(self.bias.dtype)
        named = zip(EDGES, given, strict=True)
        return torch.stack([self.learned.get(name, number) for name, number in named])

    def forward(self, nodes: Sequence[Tensor], lengths: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """M tensors (B, N_m, C), whose row 0 is the CLS, and their lengths (B,), from 1 on -> z (B, M, H D), keys.

        Rows beyond a length take no part, but must be finite. Keys are (B, N, H D), padding included.
        """
        sizes = [of.shape[1] for of in nodes]
        keys = self.keys(torch.cat([*nodes], 1))
        queries = self.queries(torch.stack([of[:, 0] for of in nodes], 1))  # (B, M, H D)
        there = torch.cat([below(length, size) for length, size in zip(lengths, sizes)], 1)  # (B, N)
        asked = [of.unflatten(1, (self.heads, -1)).unbind(1) for of in queries.unbind(1)]  # M x H of (B, D)
        heads = keys.unflatten(2, (self.heads, -1)).unbind(2)  # H of (B, N, D), split once for the gradient's sake
        z = torch.stack([self._one(m, sizes, asked[m], heads, there) for m in range(len(sizes))], 1)
        return z, keys

    def incoming(self, m: int, sizes: Sequence[int], there: Tensor) -> tuple[Tensor, Tensor]:
        """Which nodes send to the CLS of model m (B, N) bool, and the weights of these edges (B, N)."""
        types = []
        for other, size in enumerate(sizes):
            kind = torch.full((size,), EDGES.index("own" if other == m else "cross"), device=there.device)
            kind[0] = EDGES.index("self" if other == m else "cls")
            types.append(kind)
        kinds = torch.cat(types)
        loop = kinds == EDGES.index("self")
        sends = there & self.present[kinds]
        weight = self.weights()[kinds].expand(there.shape)
        if self.mean_loop:
            others = sends & ~loop
            mean = (weight * others).sum(1, keepdim=True) / others.sum(1, keepdim=True).clamp(min=1)
            weight = torch.where(loop, mean, weight)
        return sends, weight

    def _one(
        self, m: int, sizes: Sequence[int], query: Sequence[Tensor], keys: Sequence[Tensor], there: Tensor
    ) -> Tensor:
        sends, weight = self.incoming(m, sizes, there)
        inside = keys[0].nbytes * self.heads * len(sizes)
        out = []
        for k in range(self.heads):
            given = query[k], keys[k], weight, self.edge[k], self.attention[k]
            if torch.is_grad_enabled() and inside >= RECOMPUTED_FROM:
                scores = checkpoint(_scores, *given, use_reentrant=False, preserve_rng_state=False)  # (B, N)
            else:
                scores = _scores(*given)
            # A CLS into which nothing comes receives 0, hence the lowest number in place of minus infinity.
            share = scores.masked_fill(~sends, torch.finfo(scores.dtype).min).softmax(1) * sends
            share = F.dropout(share, self.dropout, self.training)
            out.append((share[:, None].to(keys[k].dtype) @ keys[k])[:, 0])
        return torch.cat(out, 1) + self.bias

    def alone(self, keys: Tensor) -> Tensor:
        """What nodes come to that hear only themselves, as all tokens but CLS do: keys (n, H D) -> (n, H D)."""
        shares = F.dropout(keys.new_ones(len(keys), self.heads), self.dropout, self.training)
        return (keys.unflatten(1, (self.heads, -1)) * shares[..., None]).flatten(1) + self.bias


def below(length: Tensor, size: int) -> Tensor:
    """Which of ``size`` rows are within each length: (B,) -> (B, size) bool."""
    return torch.arange(size, device=length.device) < length[:, None]


def _scores(query: Tensor, keys: Tensor, weight: Tensor, edge: Tensor, attention: Tensor) -> Tensor:
    """One query (B, D) against keys (B, N, D) by one head -> (B, N)."""
    inside = keys + query[:, None] + weight[..., None] * edge
    return F.leaky_relu(inside, _SLOPE) @ attention
