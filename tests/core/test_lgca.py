"""LGCA: equal to its definition written step by step; every option shows its effect; WCA when it does not move."""

from dataclasses import replace
from fractions import Fraction
from math import ceil, e

import numpy as np
import pytest
import torch

from lgca_core.boxes import draw_squares, expand, iou, whole
from lgca_core.class_vectors import encode_classes, logits
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA, kept
from lgca_core.views import Views
from lgca_core.wca import WCA
from support.by_hand import ANCHORS, IDENTITIES, PICTURES, PROMPTS, f, softmax
from support.stub_encoder import noise, patches, rich, stub


def slow(look, encoder, picture, identity, seed, matrix):
    """algorithms, section 3, one box at a time: the picture's vector."""
    height, width = picture.height, picture.width
    if look.start == "local":
        b0 = look.gamma**-look.steps
        a0 = 5 / 9 * b0
    else:
        a0, b0 = (0.5, 0.9) if look.start == "wca" else look.start
    boxes = list(draw_squares(height, width, look.n, a0, b0, seed=seed, identity=identity))
    k_whole = f(encoder, picture, whole(height, width)[0])
    u, saliency = [], []
    for t in range(look.steps + 1):
        if t > 0:
            count = ceil(Fraction(str(look.rho)) ** t * look.n)
            chosen = slow_choice(look, boxes, saliency, count)
            boxes = [expand(boxes[i][None], look.gamma, height, width, growth=look.growth)[0] for i in chosen]
        k = [f(encoder, picture, box) for box in boxes]
        if look.saliency == "text":
            scores = [sorted((float(k_i @ z) for z in matrix), reverse=True) for k_i in k]
            saliency = [best - second for best, second, *_ in scores]
        else:
            saliency = [float(k_i @ k_whole) for k_i in k]
        w = softmax([e**4 * s for s in saliency])
        u.append(sum(w_i * k_i for w_i, k_i in zip(w, k, strict=True)))
    if look.lam == "uniform":
        lam = [1 / len(u) for _ in u]
    elif look.lam == "geometric":
        lam = [look.rho**t / sum(look.rho**s for s in range(len(u))) for t in range(len(u))]
    else:
        lam = [0] * look.steps + [1]
    terms = list(zip(lam, u, strict=True))
    if look.whole_image:
        terms = [(share * len(u) / (len(u) + 1), u_t) for share, u_t in terms] + [(1 / (len(u) + 1), k_whole)]
    return sum(share * u_t for share, u_t in terms)


def slow_choice(look, boxes, saliency, count):
    """The indices of the boxes to keep, in their order."""
    n = len(boxes)
    if look.saliency != "stratified":
        return sorted(sorted(range(n), key=lambda i: (-saliency[i], i))[:count])
    by_size = sorted(range(n), key=lambda i: (int(boxes[i][2] * boxes[i][3]), i))
    groups = [[by_size[p] for p in range(n) if p * 4 // n == g] for g in range(4)]
    groups = [sorted(group, key=lambda i: (-saliency[i], i)) for group in groups]
    chosen = []
    while len(chosen) < count:
        layer = [group.pop(0) for group in groups if group]
        chosen += sorted(layer, key=lambda i: (-saliency[i], i))
    return sorted(chosen[:count])


OPTIONS = [
    {},
    {"start": "wca"},
    {"start": (0.1, 0.5), "n": 13},
    {"saliency": "stratified", "n": 21},
    {"saliency": "text"},
    {"lam": "geometric", "rho": 0.7},
    {"lam": "last", "gamma": 1.6},
    {"whole_image": True},
    {"growth": "free", "gamma": 1.6, "start": (0.2, 0.6)},
    {"steps": 0},
    {"steps": 5, "rho": 0.3, "whole_image": True, "lam": "geometric", "saliency": "stratified"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_the_definition_step_by_step(options):
    look = LGCA(**({"n": 16} | options))
    encoder = rich()
    matrix = encode_classes(encoder, PROMPTS, anchors=ANCHORS, renormalise=False)
    fast = look.vectors(Views(encoder, PICTURES), IDENTITIES, 7, class_matrix=matrix)
    for b, picture in enumerate(PICTURES):
        z = matrix.double().numpy()
        expected = slow(look, rich(), picture, IDENTITIES[b], 7, z)
        assert np.abs(fast[b].numpy() - expected).max() < 1e-5
        assert np.abs(logits(fast, matrix)[b].numpy() - z @ expected).max() < 1e-5


@pytest.mark.parametrize("n", [1, 60])
def test_without_steps_from_wca_s_range_it_is_wca_to_the_last_bit(n):
    for renormalise in (False, True):
        ours = LGCA(n=n, steps=0, start="wca", renormalise=renormalise)
        theirs = WCA(n=n, renormalise=renormalise)
        for look in (ours, theirs):
            assert look.passes() == 1 + n
        apart = [look.vectors(Views(rich(), PICTURES), IDENTITIES, 3) for look in (ours, theirs)]
        assert torch.equal(*apart)
        together = Views(rich(), PICTURES)
        assert torch.equal(*(look.vectors(together, IDENTITIES, 3) for look in (ours, theirs)))


def test_a_picture_s_vector_does_not_depend_on_its_company():
    look = LGCA(n=12)
    together = look.vectors(Views(rich(), PICTURES), IDENTITIES, 1)
    for b in (2, 0, 1):
        alone = look.vectors(Views(rich(batch_size=3), PICTURES[b : b + 1]), IDENTITIES[b : b + 1], 1)
        assert torch.allclose(alone[0], together[b], atol=1e-6)


# The count of passes


@pytest.mark.parametrize(
    ("n", "rho", "t", "expected"),
    [
        (30, 0.1, 1, 3),  # 0.1 * 30 is 3.0000000000000004 in floats
        (1000, 0.1, 3, 1),
        (60, 0.5, 3, 8),
        (100, 0.07, 1, 7),  # 7.000000000000001
        (9, 1 / 3, 2, 1),
        (30, 2 / 3, 1, 20),
        (30, 0.6666666666666667, 1, 20),
        (60, 1, 5, 60),
        (60, 0.5, 0, 60),
        (1, 0.01, 9, 1),
        (60, 1e-7, 1, 1),  # no share of nothing
        (10**8, 0.9999999, 1, 99_999_990),  # nor of everything
    ],
)
def test_ceil_is_exact(n, rho, t, expected):
    assert kept(n, rho, t) == expected


def test_passes_are_those_that_the_encoder_counts():
    for look in (LGCA(), LGCA(n=13, steps=5, rho=0.7, gamma=1.1), LGCA(n=4, steps=0, start="wca")):
        encoder = stub()
        look.vectors(Views(encoder, [noise(900, 700, 1), noise(640, 960, 2)]), ["a", "b"], seed=0)
        assert encoder.image_passes == 2 * look.passes()
    assert LGCA().counts() == [60, 30, 15, 8] and LGCA().passes() == 114


def test_boxes_that_coincide_are_not_encoded_twice():
    encoder = stub()
    look = LGCA(n=4, start=(1.0, 1.0), steps=2)  # every box is the whole picture from the start
    look.vectors(Views(encoder, [noise(50, 50)]), ["a"], seed=0)
    assert encoder.image_passes == 1 < look.passes()


@pytest.mark.parametrize("steps", [0, 1, 3, 6])
@pytest.mark.parametrize("rho", [0.1, 0.5, 0.75, 1])
def test_at_passes_spends_the_budget_and_no_more(steps, rho):
    look = LGCA(steps=steps, rho=rho)
    for budget in (61, 100, steps + 2):
        equal = look.at_passes(budget)
        assert equal.passes() <= budget < replace(equal, n=equal.n + 1).passes()
        assert replace(equal, n=look.n) == look
    with pytest.raises(LgcaError, match=f"at least {steps + 2} passes"):
        look.at_passes(steps + 1)


# Where it starts


def test_local_start_leaves_room_to_grow_to_the_whole_picture():
    look = LGCA()
    low, high = look.range()
    assert high == pytest.approx(0.512) and low == pytest.approx(0.512 * 5 / 9)
    assert high * look.gamma**look.steps == pytest.approx(1)
    assert low * look.gamma**look.steps == pytest.approx(0.5 / 0.9)
    assert LGCA(steps=0).range() == (pytest.approx(5 / 9), 1)
    assert LGCA(start="wca").range() == (0.5, 0.9) and LGCA(start=(0.1, 0.5)).range() == (0.1, 0.5)


@pytest.mark.parametrize("start", ["local", "wca", (0.1, 0.2)])
def test_first_boxes_are_drawn_from_the_start_range(start):
    look = LGCA(n=200, start=start)
    [step, *_] = look.trace(Views(stub(), [noise(100, 150)]), ["a"], 0).steps
    low, high = look.range()
    side = step.boxes[0, :, 2]
    assert low * 100 - 0.5 <= side.min() and side.max() <= high * 100 + 0.5
    assert (side.max() - side.min()) > 0.9 * (high - low) * 100 - 1


# What it keeps


def test_trace_keeps_the_most_salient_boxes_and_expands_them():
    look = LGCA(n=16)
    trace = look.trace(Views(rich(), PICTURES), IDENTITIES, 0)
    assert [step.boxes.shape[1] for step in trace.steps] == look.counts()
    assert torch.equal(trace.vector, look.vectors(Views(rich(), PICTURES), IDENTITIES, 0))
    for b, picture in enumerate(PICTURES):
        for step, following in zip(trace.steps, trace.steps[1:], strict=False):
            chosen = step.kept[b]
            assert chosen.tolist() == sorted(set(chosen.tolist()))
            left = [i for i in range(step.boxes.shape[1]) if i not in chosen.tolist()]
            assert step.saliency[b, chosen].min() >= step.saliency[b, left].max()
            grown = expand(step.boxes[b, chosen], look.gamma, picture.height, picture.width)
            assert torch.equal(grown, following.boxes[b])
            assert (iou(step.boxes[b, chosen], following.boxes[b]).diagonal() < 1).all()
    for step in trace.steps:
        assert torch.allclose(step.weights.sum(dim=1), torch.ones(3))
        assert torch.allclose(step.vector, torch.einsum("bn,bnd->bd", step.weights, step.vectors), atol=1e-6)
        assert torch.allclose(step.saliency, torch.einsum("bnd,bd->bn", step.vectors, trace.whole), atol=1e-6)
    assert trace.steps[-1].kept.shape == (3, 0)


def test_ties_go_to_the_box_drawn_first():
    plain = patches(80, 80, ((0, 0, 80, 80), (255, 0, 0)))  # all crops alike
    for saliency in ("image", "text"):
        look = LGCA(n=20, saliency=saliency)
        trace = look.trace(Views(stub(), [plain]), ["a"], 0, class_matrix=torch.eye(3))
        for step, count in zip(trace.steps, [10, 5, 3, 0], strict=True):
            assert step.kept.tolist() == [list(range(count))]
    # Stratified: the first drawn of each size group.
    sizes = torch.tensor([[9, 2, 8, 1, 7, 3, 6, 4]])
    boxes = torch.stack([sizes * 0, sizes * 0, sizes, sizes], dim=-1)
    # groups by size: {1, 2}, {3, 4}, {6, 7}, {8, 9}; first drawn: 2 (index 1), 3 (5), 7 (4), 9 (0)
    assert LGCA(saliency="stratified")._keep(boxes, torch.zeros(1, 8), 4).tolist() == [[0, 1, 4, 5]]
    assert LGCA(saliency="stratified")._keep(boxes, torch.zeros(1, 8), 2).tolist() == [[0, 1]]
    assert LGCA()._keep(boxes, torch.zeros(1, 8), 4).tolist() == [[0, 1, 2, 3]]


def test_stratified_saliency_keeps_small_crops_too():
    # Blotches: the larger a crop, the nearer its mean colour is to the whole picture's.
    kept_sides = {}
    for saliency in ("image", "stratified"):
        look = LGCA(n=80, steps=1, start=(0.05, 0.9), saliency=saliency, rho=0.25)
        step = look.trace(Views(stub(), [noise(400, 400)]), ["a"], 0).steps[0]
        kept_sides[saliency] = step.boxes[0, step.kept[0], 2]
    quartiles = step.boxes[0, :, 2].sort().values[[19, 39, 59]]
    assert quartiles.unique().numel() == 3
    shares = {
        name: torch.bucketize(sides, quartiles).bincount(minlength=4).tolist() for name, sides in kept_sides.items()
    }
    assert shares["stratified"] == [5, 5, 5, 5]
    assert shares["image"][0] == 0 and shares["image"][3] >= 10


def test_text_saliency_keeps_what_tells_two_classes_apart():
    # Mostly blue, which is no class. A red patch says class 0, a yellow one is halfway between 0 and 1.
    red, yellow = (5, 5, 24, 24), (66, 66, 24, 24)
    picture = patches(96, 96, ((0, 0, 96, 96), (0, 0, 255)), (red, (255, 0, 0)), (yellow, (255, 255, 0)))
    matrix = torch.eye(3)[:2]  # red, green
    look = LGCA(n=60, steps=1, start=(0.1, 0.2), rho=0.05, saliency="text")
    step = look.trace(Views(stub(), [picture]), ["a"], 0, class_matrix=matrix).steps[0]
    inside = iou(step.boxes[0, step.kept[0]], torch.tensor([red]))[:, 0] > 0
    assert inside.all() and step.saliency[0, step.kept[0]].min() > 0.5
    by_image = replace(look, saliency="image").trace(Views(stub(), [picture]), ["a"], 0).steps[0]
    assert step.saliency[0, by_image.kept[0]].max() < 0.3  # like the whole, mostly blue
    for missing in (None, matrix[:1]):
        with pytest.raises(LgcaError, match=r"two classes or more"):
            look.vectors(Views(stub(), [picture]), ["a"], 0, class_matrix=missing)


# How it adds up


def test_lam_shares_the_weight_over_the_steps():
    assert LGCA().weights() == [0.25] * 4
    assert LGCA(lam="geometric").weights() == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15])
    assert LGCA(lam="geometric", rho=1).weights() == [0.25] * 4
    assert LGCA(lam="last").weights() == [0, 0, 0, 1]
    views = Views(rich(), PICTURES)
    results = {}
    for lam in ("uniform", "geometric", "last"):
        trace = LGCA(lam=lam, n=16).trace(views, IDENTITIES, 0)
        u = torch.stack([step.vector for step in trace.steps])  # (T + 1, B, D)
        expected = torch.einsum("t,tbd->bd", torch.tensor(LGCA(lam=lam).weights()), u)
        assert torch.allclose(trace.vector, expected, atol=1e-6)
        results[lam] = trace.vector
    assert torch.equal(results["last"], trace.steps[-1].vector)
    assert (results["uniform"] - results["geometric"]).abs().max() > 1e-3


def test_whole_image_is_one_further_term():
    views = Views(rich(), PICTURES)
    off = LGCA(n=16).trace(views, IDENTITIES, 0)
    on = LGCA(n=16, whole_image=True).vectors(views, IDENTITIES, 0)
    terms = torch.stack([*(step.vector for step in off.steps), off.whole])
    assert torch.allclose(on, terms.mean(dim=0), atol=1e-6)
    assert (on - off.vector).abs().max() > 1e-2
    assert LGCA(whole_image=True).passes() == LGCA().passes()  # it was encoded anyway


def test_free_growth_ends_at_the_whole_picture():
    picture = noise(40, 120)
    ends = {
        growth: LGCA(n=8, steps=4, gamma=3, start=(0.3, 0.5), growth=growth)
        .trace(Views(stub(), [picture]), ["a"], 0)
        .steps[-1]
        .boxes[0]
        for growth in ("square", "free")
    }
    assert (ends["square"][:, 2:] == 40).all()
    assert (ends["free"] == whole(40, 120)).all()


def test_image_temperature_and_renormalise_reach_the_vector():
    views = Views(rich(), PICTURES)
    cold = LGCA(n=16, image_temperature=0, steps=0).trace(views, IDENTITIES, 0)
    assert torch.allclose(cold.vector, cold.steps[0].vectors.mean(dim=1), atol=1e-6)
    assert (cold.vector - LGCA(n=16, steps=0).vectors(views, IDENTITIES, 0)).abs().max() > 1e-2
    scaled = LGCA(n=16, renormalise=True).vectors(views, IDENTITIES, 0)
    assert torch.allclose(scaled.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"n": 0}, "n .*1, got 0"),
        ({"steps": -1}, "steps .*got -1"),
        ({"rho": 0}, "rho"),
        ({"rho": 1.01}, "rho"),
        ({"gamma": 0.9}, "gamma"),
        ({"saliency": "loud"}, "saliency must be one of .*stratified"),
        ({"lam": "sum"}, "lam must be one of .*geometric"),
        ({"growth": "fast"}, "growth must be one of .*free"),
        ({"start": "global"}, "start .*'local', 'wca'"),
        ({"start": (0.5, 0.2)}, "start range"),
        ({"image_temperature": float("nan")}, "image_temperature must be 0 or more"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, sentence):
    with pytest.raises(LgcaError, match=sentence):
        LGCA(**wrong)
