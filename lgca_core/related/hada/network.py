"""HADA's networks: what fuses the models' tokens and vectors of an item into one vector, and the matching head.

Axes: B items (pictures, or captions), M models, N_m tokens of model m (padded), d_m their width, p_m the width of the
model's own vector, C the joint width. Pictures and captions have networks of the same shape, with weights of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lgca_core.errors import LgcaError
from lgca_core.kinds import checked
from lgca_core.related.hada.graph import AS_RELEASED, ClsAttention, EdgeWeights, below

Layout = Literal["plain", "norms"]
Inputs = Literal["layernorm", "standardise", "none"]
RELEASED_MEAN, RELEASED_DEVIATION = -0.000685, 0.03608
"""Of the entries of unit vectors 768 wide, as released: one pair for all, whatever the width."""


class TokenItems(NamedTuple):
    """What M frozen models say of B items."""

    tokens: tuple[Tensor, ...]  # of each (B, N_m, d_m); row 0 is the CLS; what lies beyond the length is not read
    lengths: tuple[Tensor, ...]  # of each (B,) int64, from 1 on
    pooled: tuple[Tensor, ...]  # of each (B, p_m): the model's own vector, as it gives it

    def rows(self, start: int, stop: int) -> "TokenItems":
        """Items ``start`` to ``stop`` - 1, padded no further than the longest of them."""
        lengths = tuple(of[start:stop] for of in self.lengths)
        longest = [int(of.max()) if len(of) else 1 for of in lengths]
        tokens = tuple(of[start:stop, :most] for of, most in zip(self.tokens, longest, strict=True))
        return TokenItems(tokens, lengths, tuple(of[start:stop] for of in self.pooled))


def token_items(tokens: Sequence[Sequence[Tensor]], pooled: Sequence[Sequence[Tensor]]) -> TokenItems:
    """Items of any lengths: of each item its M tensors (n_m, d_m), and its M vectors (p_m,)."""
    by_model = [*zip(*tokens, strict=True)]
    lengths = (torch.tensor([len(of) for of in model], device=model[0].device) for model in by_model)
    padded_tokens = (pad_sequence([*model], batch_first=True) for model in by_model)
    return TokenItems(
        tuple(padded_tokens), tuple(lengths), tuple(torch.stack([*model]) for model in zip(*pooled, strict=True))
    )


class Dropouts(NamedTuple):
    """Rates: after each A_m, on the attention, at W_o and at W_f."""

    tokens: float
    attention: float
    output: float
    fusion: float


DROPOUTS: dict[Layout, Dropouts] = {"plain": Dropouts(0.0, 0.4, 0.4, 0.4), "norms": Dropouts(0.3, 0.3, 0.3, 0.25)}
"""By layout, for a network that begins untrained; the released second stage has 0.7 in place of 0.4."""


@checked
@dataclass(frozen=True)
class FusionSettings:
    """The shape of one side.

    ``layout="plain"``, that of the released second stage and of HADA in LAVIS: dropout stands before W_o and W_f, and
    nothing else. ``layout="norms"``, that of the released first stage: a BatchNorm after A_m, W_o and W_f, and one more
    before W_f. Those of A_m and W_o count every token of the batch, also those whose output nobody reads.

    ``inputs``: ``"layernorm"`` (without weights of its own, which the next layer has; ours) or, as released,
    ``"standardise"``: unit length, then (v - mean) / deviation with one pair of numbers. ``"none"``: as in LAVIS.

    ``twice_first=True`` is a fault of HADA in LAVIS, an arm: see ``Fusion``.

    Raises LgcaError for an unknown choice, or a number out of its range.
    """

    width: int = 512
    heads: int = 4
    layout: Layout = "plain"
    inputs: Inputs = "layernorm"
    edges: EdgeWeights = field(default_factory=EdgeWeights)
    dropouts: Dropouts | None = None
    twice_first: bool = False

    def __post_init__(self) -> None:
        for name, given, known in (
            ("layout", self.layout, ("plain", "norms")),
            ("inputs", self.inputs, ("layernorm", "standardise", "none")),
        ):
            if given not in known:
                raise LgcaError(f"{name} must be one of {', '.join(known)}, not {given!r}")
        for name, count in (("width", self.width), ("heads", self.heads)):
            if count < 1:
                raise LgcaError(f"{name} must be at least 1, got {count}")
        for name, rate in self.rates._asdict().items():
            if not 0 <= rate < 1:
                raise LgcaError(f"a dropout rate is from 0 to below 1: that of {name} is {rate}")

    @property
    def rates(self) -> Dropouts:
        """The dropouts given, or those of the layout."""
        return self.dropouts or DROPOUTS[self.layout]


FIRST_STAGE = FusionSettings(layout="norms", inputs="standardise", edges=AS_RELEASED)
SECOND_STAGE = FusionSettings(inputs="standardise", edges=AS_RELEASED, dropouts=Dropouts(0.0, 0.7, 0.7, 0.7))
LAVIS = FusionSettings(inputs="none", edges=AS_RELEASED, twice_first=True)
"""HADA as released, three times."""


class Fusion(nn.Module):
    """One side of HADA: B items -> unit vectors (B, C).

        Y_m = X_m A_m + a_m,   z = graph(Y_1, ..., Y_M),   g_m = W_o z_m + b_o
        out = unit(W_f [g_1; e_1; ...; e_M; g_2; ...; g_M] + b_f)

    Weights of A, W_o and W_f begin Kaiming-normal. As released, no activation stands between the
    layers but the graph's.

    ``settings.twice_first``: the graph is given model 1's tokens in place of model 2's, which is taken to have one
    token an item, and looks for it where it would be in a flat list of the batch's tokens: at the first item of the
    batch before all. So an item's vector depends on its neighbours. As released.

    Raises LgcaError for fewer than two models, and in this arm for other than two, or a batch in which model 1 has
    fewer tokens than there are items.
    """

    def __init__(self, tokens: Sequence[int], pooled: Sequence[int], settings: FusionSettings | None = None) -> None:
        """``tokens`` are d_1, ..., d_M, ``pooled`` p_1, ..., p_M."""
        super().__init__()
        self.settings = of = settings or FusionSettings()
        check_models(tokens, pooled)
        if of.twice_first:
            if len(tokens) != 2:
                raise LgcaError(f"the fault of LAVIS is of two models, not {len(tokens)}: choose another arm")
            tokens = (tokens[0], tokens[0])
        rates, norms, heads = of.rates, of.layout == "norms", of.heads
        self.token_layers = nn.ModuleList(_after(d, of.width, rates.tokens, norms) for d in tokens)  # A_m
        self.graph = ClsAttention(of.width, of.width, heads, edges=of.edges, dropout=rates.attention)
        if norms:
            self.output = _after(heads * of.width, of.width, rates.output, True)  # W_o
            self.output.append(nn.BatchNorm1d(of.width))
        else:
            self.output = _before(heads * of.width, of.width, rates.output)
        self.fuse = _final(len(tokens) * of.width + sum(pooled), of)  # W_f

    def forward(self, items: TokenItems) -> Tensor:
        """Unit vectors (B, C), in the networks' type."""
        check_batch(self, len(items.pooled[0]))
        if self.settings.twice_first:
            items = _first_twice(items)
        there = [below(length, of.shape[1]) for length, of in zip(items.lengths, items.tokens, strict=True)]
        dtype = self.graph.bias.dtype
        rows = [of[inside].to(dtype) for of, inside in zip(items.tokens, there, strict=True)]  # (T_m, d_m)
        nodes = []
        for layer, of, inside in zip(self.token_layers, rows, there, strict=True):
            y = layer(as_input(of, self.settings.inputs))
            nodes.append(y.new_zeros(*inside.shape, self.settings.width).masked_scatter(inside[..., None], y))
        z, keys = self.graph(nodes, items.lengths)  # (B, M, H C)
        g = self._output(z, keys, there).unbind(1)
        e = [as_input(of.to(dtype), self.settings.inputs) for of in items.pooled]
        return F.normalize(self.fuse(torch.cat([g[0], *e, *g[1:]], 1)), dim=-1)

    def _output(self, z: Tensor, keys: Tensor, there: Sequence[Tensor]) -> Tensor:
        """g (B, M, C); BatchNorm in training sees the nodes that hear only themselves as well."""
        rows = z.flatten(0, 1)
        if self.settings.layout == "norms" and self.training:
            tokens = torch.cat([torch.cat([torch.zeros_like(of[:, :1]), of[:, 1:]], 1) for of in there], 1)
            rows = torch.cat([rows, self.graph.alone(keys[tokens])])
        return self.output(rows)[: z.shape[0] * z.shape[1]].unflatten(0, z.shape[:2])


class PooledFusion(nn.Module):
    """The baseline without a graph: unit(W_f [e_1; ...; e_M] + b_f), B items -> (B, C). As Fusion in all else."""

    def __init__(self, tokens: Sequence[int], pooled: Sequence[int], settings: FusionSettings | None = None) -> None:
        super().__init__()
        check_models(tokens, pooled)
        self.settings = settings or FusionSettings()
        self.fuse = _final(sum(pooled), self.settings)

    def forward(self, items: TokenItems) -> Tensor:
        """Unit vectors (B, C); tokens are not read."""
        check_batch(self, len(items.pooled[0]))
        dtype = next(self.parameters()).dtype
        e = [as_input(of.to(dtype), self.settings.inputs) for of in items.pooled]
        return F.normalize(self.fuse(torch.cat(e, 1)), dim=-1)


class MatchingHead(nn.Module):
    """Whether a picture and a caption belong together: [u; v; |u - v|; u * v] -> linear -> a logit. For training only.

    ``released=True``, an arm: BatchNorm and a dropout of 0.3 on the logit itself, so that one of 0.3 says "one half".
    """

    def __init__(self, width: int = 512, *, released: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4 * width, 1))
        if released:
            self.layers.extend([nn.BatchNorm1d(1), nn.Dropout(0.3)])

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """(n, C) and (n, C) -> logits (n,)."""
        return self.layers(torch.cat([u, v, (u - v).abs(), u * v], 1))[:, 0]


class HadaNetwork(nn.Module):
    """Both sides, and the head where one is wanted. ``kind="pooled"`` is the baseline without a graph."""

    def __init__(
        self,
        image: tuple[Sequence[int], Sequence[int]],
        text: tuple[Sequence[int], Sequence[int]],
        settings: FusionSettings | None = None,
        *,
        kind: Literal["graph", "pooled"] = "graph",
        head: Literal["plain", "released"] | None = "plain",
    ) -> None:
        """``image`` and ``text`` are token widths and vector widths of the M models."""
        super().__init__()
        side = Fusion if kind == "graph" else PooledFusion
        self.image, self.text = side(*image, settings), side(*text, settings)
        width = self.image.settings.width
        self.head = MatchingHead(width, released=head == "released") if head else None

    def forward(self, pictures: TokenItems, captions: TokenItems) -> tuple[Tensor, Tensor]:
        """u (B, C) and v (B', C)."""
        return self.image(pictures), self.text(captions)


@torch.no_grad()
def fused(side: nn.Module, items: TokenItems, chunk: int = 256) -> Tensor:
    """Vectors (B, C) of many items in evaluation mode, ``chunk`` at a time, which bounds the memory.

    It changes nothing beyond rounding, but in the arm of LAVIS, where an item's vector depends on those beside it.
    """
    assert chunk >= 1
    before = side.training
    side.eval()
    try:
        count = len(items.pooled[0])
        return torch.cat([side(items.rows(start, start + chunk)) for start in range(0, count, chunk)])
    finally:
        side.train(before)


def as_input(rows: Tensor, inputs: Inputs) -> Tensor:
    """Tokens or vectors (n, d) as the first layer takes them."""
    if inputs == "none":
        return rows
    if inputs == "layernorm":
        return F.layer_norm(rows, rows.shape[-1:])
    return (F.normalize(rows, dim=-1) - RELEASED_MEAN) / RELEASED_DEVIATION


def check_models(tokens: Sequence[int], pooled: Sequence[int]) -> None:
    """LgcaError unless there are two models or more, each with both widths."""
    if len(tokens) < 2 or len(tokens) != len(pooled):
        raise LgcaError(
            f"a fusion is of two models or more, each with tokens and a vector, not of {len(tokens)} and {len(pooled)}"
        )


def check_batch(side: nn.Module, count: int) -> None:
    """LgcaError for one item alone where BatchNorm is trained."""
    if side.training and count < 2 and any(isinstance(of, nn.BatchNorm1d) for of in side.modules()):
        raise LgcaError("the layout with norms needs batches of 2 items or more in training: raise the batch size")


def _first_twice(items: TokenItems) -> TokenItems:
    """The fault of LAVIS: for model 2 stands, as the one token of item b, token b of the batch's tokens of model 1."""
    tokens, lengths = items.tokens[0], items.lengths[0]
    flat = tokens[below(lengths, tokens.shape[1])]
    if len(flat) < len(tokens):
        raise LgcaError(
            f"the fault of LAVIS needs a token of model 1 an item: {len(flat)} are fewer than {len(tokens)}"
        )
    return items._replace(tokens=(tokens, flat[: len(tokens), None]), lengths=(lengths, torch.ones_like(lengths)))


def _linear(width: int, to: int) -> nn.Linear:
    layer = nn.Linear(width, to)
    nn.init.kaiming_normal_(layer.weight)
    return layer


def _after(width: int, to: int, rate: float, norm: bool) -> nn.Sequential:
    layers = [_linear(width, to), *([nn.BatchNorm1d(to)] if norm else []), nn.Dropout(rate)]
    return nn.Sequential(*layers)


def _before(width: int, to: int, rate: float) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(rate), _linear(width, to))


def _final(width: int, of: FusionSettings) -> nn.Sequential:
    rate = of.rates.fusion
    return _after(width, of.width, rate, True) if of.layout == "norms" else _before(width, of.width, rate)
