"""HADA's dense graph layer against PyTorch Geometric's GATv2Conv on the same graph, and against one item at a time."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from lgca_core.bench.graph_attention import alike, edge_list, library_layer
from lgca_core.related.hada import graph
from lgca_core.related.hada.graph import ALL_ONE, AS_RELEASED, ClsAttention, EdgeWeights

pytest.importorskip("torch_geometric.nn", reason="PyTorch Geometric is not installed: pip install '.[test]'")

WIDTH, HEAD, HEADS = 6, 5, 3
LENGTHS = [*product((1, 2, 37, 577), repeat=2), (1, 1, 1), (2, 37, 1), (37, 577, 2)]
EVERY = {"released": AS_RELEASED, "given": EdgeWeights(), "one": ALL_ONE, "no loop": EdgeWeights(loop=None)}
WITHOUT = {
    "cross": EdgeWeights(cross=None),
    "cls": EdgeWeights(cls=None, loop="mean"),
    "own": EdgeWeights(own=None, loop="mean"),
    "others": EdgeWeights(cross=None, cls=None, loop="mean"),
    "all": EdgeWeights(None, None, None, None),
}


def graph_of(lengths, edges: EdgeWeights, loops: bool = False):
    """Edges of one item, with a loop of every node that is no CLS where asked."""
    index, weight, starts = edge_list(lengths, edges)
    if loops:
        others = torch.tensor([node for node in range(sum(lengths)) if node not in starts], dtype=torch.long)
        index = torch.cat([index, others.expand(2, -1)], 1)
        weight = torch.cat([weight, torch.full((len(others), 1), 0.9, dtype=torch.float64)])
    return index, weight, starts


def some_nodes(lengths, dtype, seed=0, width=WIDTH):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, width, generator=generator, dtype=torch.float64).to(dtype) for length in lengths]


def a_layer(edges: EdgeWeights, dtype=torch.float64, *, dropout=0.0, **sizes) -> ClsAttention:
    torch.manual_seed(3)
    layer = ClsAttention(sizes.get("width", WIDTH), sizes.get("head", HEAD), sizes.get("heads", HEADS), edges=edges)
    layer.dropout = dropout
    nn.init.normal_(layer.bias)
    return layer.to(dtype)


def both(layer, edges, lengths, nodes):
    """What each makes of one item's CLS rows, with what the gradients flow to."""
    dense = [of.clone().requires_grad_() for of in nodes]
    z, _ = layer([of[None] for of in dense], [torch.tensor([length]) for length in lengths])
    library, every = library_layer(layer, edges), torch.cat(nodes).requires_grad_()
    index, weight, starts = graph_of(lengths, edges)
    return z[0], dense, library, library(every, index, weight.to(layer.bias.dtype))[starts], every


@pytest.mark.parametrize("dtype, near", [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["float32", "float64"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("edges", EVERY.values(), ids=EVERY)
def test_the_layer_and_its_gradients_are_those_of_the_library(edges, lengths, dtype, near):
    layer = a_layer(edges, dtype)
    ours, dense, library, theirs, every = both(layer, edges, lengths, some_nodes(lengths, dtype))
    torch.testing.assert_close(ours, theirs, rtol=near, atol=near)
    pull = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    (ours * pull).sum().backward()
    (theirs * pull).sum().backward()
    torch.testing.assert_close(torch.cat([of.grad for of in dense]), every.grad, rtol=near, atol=near)
    for other, own in alike(library, layer):
        torch.testing.assert_close(own.grad, other.grad.view_as(own), rtol=near, atol=near)


def test_what_is_reckoned_again_gives_the_same_gradients(monkeypatch):
    layer = a_layer(AS_RELEASED)
    found = []
    for limit in (0, 2**40):
        monkeypatch.setattr(graph, "RECOMPUTED_FROM", limit)
        ours, dense, *_ = both(layer, AS_RELEASED, (4, 7), some_nodes((4, 7), torch.float64))
        layer.zero_grad()
        ours.square().sum().backward()
        found.append([ours, *(of.grad for of in dense), *(of.grad.clone() for of in layer.parameters())])
    for again, kept in zip(*found, strict=True):
        torch.testing.assert_close(again, kept, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lengths", [(1, 1), (3, 1), (4, 7), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("edges", WITHOUT.values(), ids=WITHOUT)
def test_a_type_of_edge_left_out_is_an_edge_that_the_library_is_not_given(edges, lengths):
    """With nothing that comes in, only the bias is left."""
    layer = a_layer(edges)
    ours, dense, _, theirs, every = both(layer, edges, lengths, some_nodes(lengths, torch.float64))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    gradients = [torch.zeros_like(of) if of.grad is None else of.grad for of in dense]
    torch.testing.assert_close(torch.cat(gradients), every.grad, rtol=1e-10, atol=1e-10)


def test_at_the_real_width_it_is_the_library_s_as_well():
    edges, lengths = AS_RELEASED, (577, 37)
    layer = a_layer(edges, torch.float32, width=512, head=512, heads=4)
    ours, _, _, theirs, _ = both(layer, edges, lengths, some_nodes(lengths, torch.float32, width=512))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_released_loop_depends_on_the_lengths():
    layer = a_layer(AS_RELEASED)
    there = torch.ones(1, 614, dtype=torch.bool)
    found = []
    for m, column in ((0, 0), (1, 577)):
        _, weight = layer.incoming(m, [577, 37], there)
        found.append(float(weight[0, column]))
    by_hand = [(0.9 * (own - 1) + 0.7 * (other - 1) + 1.1) / (own + other - 1) for own, other in ((577, 37), (37, 577))]
    assert found == pytest.approx(by_hand)
    assert by_hand == pytest.approx([0.889, 0.712], abs=5e-4)


def test_nodes_that_hear_only_themselves_are_those_of_the_library():
    edges, lengths = EdgeWeights(), (4, 3)
    layer = a_layer(edges)
    nodes = some_nodes(lengths, torch.float64)
    _, keys = layer([of[None] for of in nodes], [torch.tensor([4]), torch.tensor([3])])
    index, weight, starts = graph_of(lengths, edges, loops=True)
    theirs = library_layer(layer, edges)(torch.cat(nodes), index, weight)
    rest = [node for node in range(7) if node not in starts]
    torch.testing.assert_close(layer.alone(keys[0])[rest], theirs[rest], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("edges", EVERY.values(), ids=EVERY)
def test_a_ragged_batch_is_one_item_at_a_time(edges):
    """Whatever stands beyond the lengths, and with no gradient to it."""
    lengths = [(1, 4), (6, 1), (3, 3), (2, 9)]
    items = [some_nodes(pair, torch.float64, seed) for seed, pair in enumerate(lengths)]
    layer = a_layer(edges)
    batch = [pad_sequence([item[m] for item in items], True, padding_value=50.0).requires_grad_() for m in range(2)]
    z, _ = layer(batch, [torch.tensor([pair[m] for pair in lengths]) for m in range(2)])
    z.square().sum().backward()
    for b, (item, pair) in enumerate(zip(items, lengths, strict=True)):
        alone, _ = layer([of[None] for of in item], [torch.tensor([length]) for length in pair])
        torch.testing.assert_close(z[b], alone[0], rtol=1e-12, atol=1e-12)
        for m in range(2):
            assert not batch[m].grad[b, pair[m] :].any()


def test_learned_weights_are_one_number_a_type_and_move_as_the_library_s_edges():
    edges = EdgeWeights(loop="mean", learned=True)
    layer = a_layer(edges)
    assert sorted(layer.learned) == ["cls", "cross", "own"]
    assert sorted(a_layer(EdgeWeights(cross=None, learned=True)).learned) == ["cls", "own", "self"]
    lengths = (4, 3)
    nodes = some_nodes(lengths, torch.float64)
    z, _ = layer([of[None] for of in nodes], [torch.tensor([4]), torch.tensor([3])])
    z.square().sum().backward()
    index, weight, starts = graph_of(
        lengths, EdgeWeights(*(layer.learned[of].item() for of in ("own", "cross", "cls")))
    )
    keep = index[0] != index[1]
    index, weight = index[:, keep], weight[keep].clone().requires_grad_()
    library_layer(layer, edges)(torch.cat(nodes), index, weight)[starts].square().sum().backward()
    for name in ("own", "cross", "cls"):
        kind = weight.detach()[:, 0] == layer.learned[name].item()
        assert kind.any()
        assert float(layer.learned[name].grad) == pytest.approx(float(weight.grad[kind].sum()), rel=1e-9)


def test_attention_is_dropped_after_the_softmax_and_in_training_alone():
    layer = a_layer(ALL_ONE, dropout=0.5)
    nodes = [of.expand(4000, -1, -1) for of in some_nodes((5, 4), torch.float64)]
    lengths = [torch.full((4000,), of) for of in (5, 4)]
    with torch.no_grad():
        layer.eval()
        whole = layer(nodes, lengths)[0][0]
        assert torch.equal(whole, layer(nodes, lengths)[0][0])
        layer.train()
        drawn, _ = layer(nodes, lengths)
    assert drawn.std(0).min() > 0
    torch.testing.assert_close(drawn.mean(0), whole, rtol=0, atol=0.1)


def test_what_is_inside_the_activation_is_not_kept_for_the_gradient(monkeypatch):
    """Of the tensors kept, none is larger than the keys, and the largest are few."""
    monkeypatch.setattr(graph, "RECOMPUTED_FROM", 0)  # as if the batch were large
    layer = a_layer(EdgeWeights(), torch.float32, heads=4, head=16, width=8)
    nodes = [torch.randn(3, n, 8) for n in (50, 30)]
    kept: dict[int, int] = {}

    def pack(of):
        kept[of.untyped_storage().data_ptr()] = of.untyped_storage().nbytes() // of.element_size()
        return of

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda of: of):
        layer(nodes, [torch.full((3,), 50), torch.full((3,), 30)])
    keys = 3 * 80 * 64
    assert max(kept.values()) == keys and sum(kept.values()) < 1.6 * keys  # 2 x 4 x (3 x 80 x 16) more, were they kept
