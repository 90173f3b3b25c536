"""HADA's graph layer in dense form beside PyTorch Geometric's GATv2Conv on the same graph: time and memory.

Forward and backward of one side, which must agree to 1e-5. Memory is what is held for the gradient: the bytes of all
tensors that autograd saves, each once, parameters and inputs left out.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from lgca_core.bench.harness import SEED_OF_WORK, Say, time_in_turns
from lgca_core.bench.record import begin, timings
from lgca_core.encoders.devices import Device, pick_device
from lgca_core.errors import LgcaError
from lgca_core.related.hada.graph import ClsAttention, EdgeWeights

LAYERS_AGREE = 1e-5


def library_layer(layer: ClsAttention, edges: EdgeWeights) -> nn.Module:
    """GATv2Conv with the layer's parameters copied. ModuleNotFoundError where PyTorch Geometric is not installed."""
    mean = edges.loop == "mean"
    other = import_module("torch_geometric.nn").GATv2Conv(
        layer.keys.in_features, layer.head_width, heads=layer.heads, edge_dim=1, add_self_loops=mean,
        fill_value="mean" if mean else 1.0,
    ).to(layer.bias)  # fmt: skip
    with torch.no_grad():
        for theirs, ours in alike(other, layer):
            theirs.copy_(ours.view_as(theirs))
    return other


def alike(other: Any, layer: ClsAttention) -> list[tuple[Tensor, Tensor]]:
    """Parameters of GATv2Conv, each with ours that stands for it."""
    return [
        (other.lin_l.weight, layer.keys.weight),
        (other.lin_l.bias, layer.keys.bias),
        (other.lin_r.weight, layer.queries.weight),
        (other.lin_r.bias, layer.queries.bias),
        (other.lin_edge.weight, layer.edge),
        (other.att, layer.attention),
        (other.bias, layer.bias),
    ]


def edge_list(lengths: Sequence[int], edges: EdgeWeights) -> tuple[Tensor, Tensor, list[int]]:
    """Edges of one item, one at a time: (2, E) from and to, weights (E, 1) float64, and the row of each model's CLS.

    A mean loop is the library's own affair, and not among them.
    """
    starts = [sum(lengths[:m]) for m in range(len(lengths))]
    rows: list[tuple[int, int, float]] = []
    for m, into in enumerate(starts):
        for other, length in enumerate(lengths):
            token, first = (edges.own, None) if other == m else (edges.cross, edges.cls)
            weights = [first, *[token] * (length - 1)]
            rows += [(starts[other] + j, into, weight) for j, weight in enumerate(weights) if weight is not None]
        if edges.loop is not None and edges.loop != "mean":
            rows.append((into, into, edges.loop))
    index = torch.tensor([row[:2] for row in rows], dtype=torch.long).reshape(-1, 2).T
    return index, torch.tensor([row[2] for row in rows], dtype=torch.float64)[:, None], starts


def time_graph_attention(
    device: Device, items: int, lengths: Sequence[int], width: int, heads: int, repeats: int, report: Say
) -> dict[str, Any]:
    """Time both on ``items`` items of so many tokens of each model: the record.

    Raises ModuleNotFoundError where PyTorch Geometric is not installed, LgcaError where the two differ.
    """
    place, edges = pick_device(device), EdgeWeights()
    torch.manual_seed(SEED_OF_WORK)
    layer = ClsAttention(width, width, heads, edges=edges).to(place)
    library = library_layer(layer, edges)
    nodes = [torch.randn(items, length, width, device=place) for length in lengths]
    full = [torch.full((items,), length, device=place) for length in lengths]
    index, weight, starts = edge_list(lengths, edges)
    index, weight = index.to(place), weight.float().to(place)
    size = sum(lengths)
    offsets = torch.arange(items, device=place) * size
    whole = (index[:, None] + offsets[:, None]).flatten(1), weight.repeat(items, 1)  # one graph of all items
    cls = (torch.tensor(starts, device=place) + offsets[:, None]).flatten()

    def dense() -> Tensor:
        return layer(nodes, full)[0].flatten(0, 1)

    def sparse() -> Tensor:
        return library(torch.cat(nodes, 1).flatten(0, 1), *whole)[cls]

    difference = float((dense() - sparse()).detach().abs().max())
    if not difference <= LAYERS_AGREE:
        raise LgcaError(f"the two differ by {difference:.1e}: they do not compute the same")

    def there_and_back(run: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: run().square().sum().backward()

    arms = {"dense": dense, "GATv2Conv": sparse}
    timed = timings(time_in_turns({name: there_and_back(run) for name, run in arms.items()}, repeats, place, report))
    known = {of.data_ptr() for of in (*layer.parameters(), *library.parameters(), *nodes)}
    median = timed["median_seconds"]
    return (
        begin("graph-attention", place)
        | {"device": place.type, "items": items, "tokens": [*lengths], "width": width, "heads": heads}
        | timed
        | {
            "times_faster": median["GATv2Conv"] / median["dense"],
            "bytes_for_the_gradient": {name: _held(run, known) for name, run in arms.items()},
            "largest_difference": difference,
        }
    )


def _held(run: Callable[[], Tensor], known: set[int]) -> int:
    """Bytes that autograd keeps from a forward pass until the gradient."""
    kept: dict[int, int] = {}

    def pack(of: Tensor) -> Tensor:
        storage = of.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return of

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda of: of):
        out = run()
    del out
    return sum(kept.values())
