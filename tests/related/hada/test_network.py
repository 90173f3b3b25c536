"""HADA's networks: sizes as released, one item at a time against a batch, norms that count every node, the faults."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lgca_core.errors import LgcaError
from lgca_core.related.hada.graph import EdgeWeights
from lgca_core.related.hada.network import (
    FIRST_STAGE,
    LAVIS,
    SECOND_STAGE,
    Dropouts,
    Fusion,
    FusionSettings,
    HadaNetwork,
    MatchingHead,
    PooledFusion,
    TokenItems,
    fused,
    token_items,
)

RELEASED = ((768, 768), (256, 768))
STILL = Dropouts(0.0, 0.0, 0.0, 0.0)
SMALL = FusionSettings(width=8, heads=2, dropouts=STILL)
SHAPES = {
    "plain": SMALL,
    "norms": replace(SMALL, layout="norms", inputs="standardise"),
    "none": replace(SMALL, inputs="none", edges=EdgeWeights(loop="mean")),
}


def parameters(module) -> int:
    return sum(of.numel() for of in module.parameters())


def some_items(lengths, widths=(6, 4), pooled=(3, 5), seed=0, dtype=torch.float64) -> TokenItems:
    """Items of the lengths given, a row a model each."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    tokens = [[draw(n, d) for n, d in zip(item, widths, strict=True)] for item in lengths]
    return token_items(tokens, [[draw(p) for p in pooled] for _ in lengths])


LENGTHS = [(4, 2), (1, 1), (7, 3), (2, 6), (5, 1)]


def a_fusion(settings, widths=(6, 4), pooled=(3, 5)) -> Fusion:
    torch.manual_seed(5)
    return Fusion(widths, pooled, settings).double()


def test_parameters_are_as_many_as_released():
    first = HadaNetwork(RELEASED, RELEASED, FIRST_STAGE, head="released")
    assert (parameters(first.image), parameters(first.text), parameters(first)) == (4_998_144, 4_998_144, 9_998_339)
    second = HadaNetwork(RELEASED, RELEASED, SECOND_STAGE)
    assert (parameters(second.image), parameters(second)) == (4_993_024, 9_988_097)
    assert parameters(Fusion(*RELEASED, FusionSettings())) == 4_993_024  # LayerNorm adds none
    assert parameters(PooledFusion(*RELEASED)) == (256 + 768) * 512 + 512
    learned = FusionSettings(edges=EdgeWeights(learned=True))
    assert parameters(Fusion(*RELEASED, learned)) == 4_993_024 + 4


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("models", [2, 3])
def test_the_order_and_size_of_a_batch_and_what_lies_beyond_a_length_have_no_effect(settings, models):
    lengths = [(*pair, 1 + b % 3)[:models] for b, pair in enumerate(LENGTHS)]
    widths, pooled = (6, 4, 5)[:models], (3, 5, 2)[:models]
    items, side = some_items(lengths, widths, pooled), a_fusion(settings, widths, pooled).eval()
    whole = side(items)
    assert whole.shape == (5, 8)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(5, dtype=torch.float64))
    near = {"rtol": 1e-12, "atol": 1e-12}
    for chunk in (1, 2, 3, 100):
        torch.testing.assert_close(fused(side, items, chunk), whole.detach(), **near)
    order = torch.tensor([3, 1, 4, 0, 2])
    turned = TokenItems(*(tuple(of[order] for of in part) for part in items))
    torch.testing.assert_close(side(turned), whole[order], **near)
    for of, length in zip(items.tokens, items.lengths, strict=True):
        for b, n in enumerate(length):
            of[b, n:] = torch.nan
    torch.testing.assert_close(side(items), whole, **near)
    side(items).sum().backward()
    assert all(of.grad is None or of.grad.isfinite().all() for of in side.parameters())


def test_what_is_fused_is_the_formula():
    """One item by hand, with the graph taken as it is."""
    items, side = some_items([(4, 2)]), a_fusion(SMALL).eval()
    first, second = (of[0] for of in items.tokens)
    y = [
        F.layer_norm(of, of.shape[-1:]) @ layer[0].weight.T + layer[0].bias
        for of, layer in zip((first, second), side.token_layers, strict=True)
    ]
    z, _ = side.graph([of[None] for of in y], items.lengths)
    g1, g2 = z[0] @ side.output[1].weight.T + side.output[1].bias
    e1, e2 = (F.layer_norm(of[0], of[0].shape) for of in items.pooled)
    out = side.fuse[1].weight @ torch.cat([g1, e1, e2, g2]) + side.fuse[1].bias
    torch.testing.assert_close(side(items)[0], out / out.norm())


def test_standardising_is_one_pair_of_numbers_on_unit_vectors():
    items = some_items([(4, 2), (3, 3)])
    side = a_fusion(replace(SMALL, inputs="standardise")).eval()
    by_hand = TokenItems(
        tuple((F.normalize(of, dim=-1) + 0.000685) / 0.03608 for of in items.tokens),
        items.lengths,
        tuple((F.normalize(of, dim=-1) + 0.000685) / 0.03608 for of in items.pooled),
    )
    plain = a_fusion(replace(SMALL, inputs="none")).eval()
    plain.load_state_dict(side.state_dict())
    torch.testing.assert_close(side(items), plain(by_hand))


def literal_norm(rows, norm):
    """BatchNorm of rows in training, in so many words."""
    mean = torch.stack([*rows]).mean(0)
    variance = torch.stack([(row - mean) ** 2 for row in rows]).mean(0)
    return [(row - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias for row in rows]


def test_the_norms_in_training_count_every_node_of_the_batch():
    """Against all nodes one at a time: what each hears, W_o, both norms; and what the running statistics come to."""
    side, items = a_fusion(SHAPES["norms"]).train(), some_items(LENGTHS)
    for norm in (of for of in side.modules() if isinstance(of, torch.nn.BatchNorm1d)):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    found = side(items)
    nodes = []  # of each model, of each item
    for m, layers in enumerate(side.token_layers):
        rows = [row for b, pair in enumerate(LENGTHS) for row in items.tokens[m][b, : pair[m]]]
        rows = [(row / row.norm() + 0.000685) / 0.03608 for row in rows]
        rows = iter(literal_norm([layers[0](row) for row in rows], layers[1]))
        nodes.append([torch.stack([next(rows) for _ in range(pair[m])]) for pair in LENGTHS])
    heard = []
    for b, pair in enumerate(LENGTHS):
        own = [nodes[m][b] for m in range(2)]
        z, _ = side.graph([of[None] for of in own], [torch.tensor([n]) for n in pair])
        heard += [z[0, 0], *(side.graph.keys(row) + side.graph.bias for row in own[0][1:])]
        heard += [z[0, 1], *(side.graph.keys(row) + side.graph.bias for row in own[1][1:])]
    linear, first, _, second = side.output
    middle = [linear(row) for row in heard]
    out = literal_norm(literal_norm(middle, first), second)
    at = torch.tensor([0, *(sum(pair) for pair in LENGTHS)]).cumsum(0)
    g = [(out[at[b]], out[at[b] + pair[0]]) for b, pair in enumerate(LENGTHS)]
    e = [[(of[b] / of[b].norm() + 0.000685) / 0.03608 for of in items.pooled] for b in range(len(LENGTHS))]
    last = [side.fuse[0](torch.cat([g[b][0], *e[b], g[b][1]])) for b in range(len(LENGTHS))]
    wanted = torch.stack(literal_norm(last, side.fuse[1]))
    torch.testing.assert_close(found, F.normalize(wanted, dim=-1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(first.running_mean, 0.1 * torch.stack(middle).mean(0), rtol=1e-9, atol=1e-9)
    assert len(middle) == sum(map(sum, LENGTHS))


def test_gradients_reach_every_parameter_in_either_layout():
    for settings in (SMALL, SHAPES["norms"], replace(SMALL, edges=EdgeWeights(learned=True))):
        side = a_fusion(settings).train()
        side(some_items(LENGTHS)).sum(0)[0].backward()
        assert all(of.grad is not None and of.grad.any() for of in side.parameters())


def test_dropouts_stand_where_the_layout_says_and_in_training_alone():
    items = some_items(LENGTHS)
    for settings in (SMALL, SHAPES["norms"]):
        for name in Dropouts._fields:
            side = a_fusion(replace(settings, dropouts=STILL._replace(**{name: 0.5})))
            assert not torch.equal(side(items), side(items))
            side.eval()
            assert torch.equal(side(items), side(items))
    assert [type(of).__name__ for of in a_fusion(SMALL).output] == ["Dropout", "Linear"]
    assert [type(of).__name__ for of in a_fusion(SHAPES["norms"]).output] == [
        "Linear",
        "BatchNorm1d",
        "Dropout",
        "BatchNorm1d",
    ]
    assert (SECOND_STAGE.rates.attention, FIRST_STAGE.rates, LAVIS.rates.fusion) == (0.7, (0.3, 0.3, 0.3, 0.25), 0.4)


@pytest.fixture
def lavis():
    """The fault's items: model 2 gives one token, as released."""
    return some_items([(4, 1), (3, 1), (6, 1)], (6, 6)), a_fusion(replace(LAVIS, width=8, heads=2), (6, 6)).eval()


def test_in_the_arm_of_lavis_item_b_receives_token_b_of_the_first_item(lavis):
    items, side = lavis
    right = a_fusion(replace(side.settings, twice_first=False), (6, 6)).eval()
    right.load_state_dict(side.state_dict())
    others = items.tokens[0][0, :3, None]  # (3, 1, 6)
    as_if = items._replace(tokens=(items.tokens[0], others))
    torch.testing.assert_close(side(items), right(as_if))
    blind = items._replace(tokens=(items.tokens[0], items.tokens[1] + 1))
    assert torch.equal(side(items), side(blind))  # model 2's tokens are never seen


def test_in_the_arm_of_lavis_order_and_size_of_a_batch_change_the_vectors(lavis):
    items, side = lavis
    whole = side(items).detach()
    order = torch.tensor([2, 0, 1])
    turned = TokenItems(*(tuple(of[order] for of in part) for part in items))
    assert (side(turned) - whole[order]).abs().amax(1).min() > 1e-3
    alone = fused(side, items, 1)
    torch.testing.assert_close(alone[0], whole[0])  # first in either
    assert (alone - whole).abs().amax(1)[1:].min() > 1e-3


def test_in_the_arm_of_lavis_widths_may_differ(lavis):
    items = some_items([(4, 1), (3, 1), (6, 1)], (6, 4))
    assert a_fusion(replace(LAVIS, width=8, heads=2), (6, 4))(items).shape == (3, 8)


def test_the_arm_of_lavis_needs_two_models_and_enough_tokens(lavis):
    with pytest.raises(LgcaError, match="of two models, not 3"):
        Fusion((6, 4, 4), (3, 5, 5), LAVIS)
    with pytest.raises(LgcaError, match="1 are fewer than 2"):
        lavis[1](some_items([(1, 2), (1, 1)], (6, 6))._replace(lengths=(torch.tensor([1, 0]), torch.tensor([2, 1]))))


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"layout": "plan"}, "layout"),
        ({"inputs": "batchnorm"}, "inputs"),
        ({"width": 0}, "width"),
        ({"heads": 0}, "heads"),
        ({"dropouts": Dropouts(0, 1.0, 0, 0)}, "attention"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(wrong, says):
    with pytest.raises(LgcaError, match=says):
        replace(SMALL, **wrong)


def test_one_model_and_one_item_in_training_with_norms_are_refused():
    with pytest.raises(LgcaError, match="two models"):
        Fusion((6,), (3,), SMALL)
    with pytest.raises(LgcaError, match="batch"):
        a_fusion(SHAPES["norms"]).train()(some_items([(4, 2)]))
    assert a_fusion(SHAPES["norms"]).eval()(some_items([(4, 2)])).shape == (1, 8)


def test_the_baseline_reads_vectors_alone():
    items = some_items(LENGTHS)
    side = PooledFusion((6, 4), (3, 5), SMALL).double().eval()
    e = torch.cat([F.layer_norm(of, of.shape[-1:]) for of in items.pooled], 1)
    torch.testing.assert_close(side(items), F.normalize(side.fuse[1](e), dim=-1))
    blind = items._replace(tokens=tuple(of * torch.nan for of in items.tokens))
    assert torch.equal(side(items), side(blind))
    torch.testing.assert_close(fused(side, items, 2), side(items))


def test_the_head_sees_both_vectors_their_distance_and_their_product():
    u, v = torch.randn(4, 8), torch.randn(4, 8)
    head = MatchingHead(8)
    by_hand = torch.cat([u, v, (u - v).abs(), u * v], 1) @ head.layers[0].weight[0] + head.layers[0].bias
    torch.testing.assert_close(head(u, v), by_hand)
    released = MatchingHead(8, released=True)
    logits = torch.stack([released(u, v) for _ in range(200)])
    assert 0.2 < float((logits == 0).float().mean()) < 0.4  # a dropped logit says one half


def test_evaluation_leaves_the_network_as_it_was():
    side = a_fusion(replace(SMALL, dropouts=Dropouts(0, 0.5, 0.5, 0.5))).train()
    items = some_items(LENGTHS)
    assert torch.equal(fused(side, items, 2), fused(side, items, 2))
    assert side.training


def test_half_precision_tokens_of_a_store_are_taken_up_in_the_networks_type():
    items, side = some_items(LENGTHS, dtype=torch.float16), a_fusion(SMALL).float().eval()
    assert side(items).dtype == torch.float32
