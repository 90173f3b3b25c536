"""The table of methods: what each declares is what it does; three peers equal their equations written out."""

import itertools
import json
import re
from dataclasses import replace
from math import e, log
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from lgca_core import box_plans, methods
from lgca_core.boxes import draw_squares, expand, whole
from lgca_core.class_vectors import encode_classes, logits
from lgca_core.cli import options
from lgca_core.data import folders
from lgca_core.errors import LgcaError
from lgca_core.evaluation import evaluate
from lgca_core.evaluation.jobs import prepare_jobs
from lgca_core.lgca import LGCA
from lgca_core.methods import METHODS, Method, Settings, Texts, bifta, check_methods, find, guided_cropping, lazsl
from lgca_core.methods.bifta import BiFTA
from lgca_core.methods.guided_cropping import GuidedCropping
from lgca_core.methods.lazsl import LaZSL, sinkhorn
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.views import Views
from lgca_core.wca import WCA
from support.by_hand import ANCHORS, IDENTITIES, PICTURES, PROMPTS, f, slow_scores, unit
from support.command_line import lgca, refused
from support.shared import ROOT
from support.stub_encoder import noise, noise_folders, patches, rich, stub

CORE = ROOT / "lgca_core"
LARGE = [noise(360, 300, 1), noise(280, 420, 2)]  # large enough that no two boxes coincide
QUICK = Settings(WCA(n=8), LGCA(n=8, steps=2))


def scorer(method: str | Method, settings: Settings = QUICK, seed: int = 3, prompts=PROMPTS):
    found = METHODS[method] if isinstance(method, str) else method
    return found.prepare(Texts.of(rich(), prompts, ANCHORS), seed, settings)


def scores(method, settings=QUICK, pictures=PICTURES, identities=IDENTITIES, **kwargs):
    """(B, C)"""
    return scorer(method, settings, **kwargs).scores(Views(rich(), pictures), identities)


class Seen(Views):
    """Views that keep what was asked for: a set of boxes a picture."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.boxes: list[set[tuple[int, ...]]] = [set() for _ in self.sizes]

    def encode(self, boxes):
        for seen, asked in zip(self.boxes, boxes, strict=True):
            seen.update(map(tuple, asked.tolist()))
        return super().encode(boxes)


def asked(method, settings=QUICK, pictures=LARGE, **kwargs) -> list[set[tuple[int, ...]]]:
    views = Seen(rich(), pictures)
    scorer(method, settings, **kwargs).scores(views, IDENTITIES[: len(pictures)])
    return views.boxes


# ---- the table ---------------------------------------------------------------------------------------------


def test_help_names_every_method():
    *first, last = METHODS
    assert f"{', '.join(first)} or {last}" == options.METHODS_HELP


def test_an_unknown_method_is_told_the_choices():
    with pytest.raises(LgcaError, match=r"'goal': .*clip, .*, gc, bifta, lazsl, lazsl-d$"):
        check_methods(["wca", "goal"])


@pytest.mark.parametrize(
    ("name", "as_if"),
    [
        ("wca:n=5", Settings(WCA(n=5), QUICK.lgca)),
        ("wca:alpha=0.1:renormalise=true", Settings(WCA(n=8, alpha=0.1, renormalise=True), QUICK.lgca)),
        ("wca:pool=4", Settings(WCA(n=8, pool=4), QUICK.lgca)),
        ("wca-released:pool=5", Settings(WCA(n=8, pool=5), QUICK.lgca)),
        ("bifta:beta=0.6", Settings(WCA(n=8, beta=0.6), QUICK.lgca)),
        ("lgca:start=0.1-0.3:whole_image=true", replace(QUICK, lgca=LGCA(8, 2, start=(0.1, 0.3), whole_image=True))),
        ("lgca:start=wca", replace(QUICK, lgca=LGCA(8, 2, start="wca"))),
        ("lgca-equal:steps=1:image_temperature=0", replace(QUICK, lgca=LGCA(8, 1, image_temperature=0))),
    ],
)
def test_a_name_carries_settings_of_its_own(name, as_if):
    expected = METHODS[name.split(":")[0]].prepare(Texts.of(rich(), PROMPTS, ANCHORS), 3, as_if)
    own = find(name).prepare(Texts.of(rich(), PROMPTS, ANCHORS), 3, QUICK)
    assert (own.plans, own.passes, own.config) == (expected.plans, expected.passes, expected.config)
    views = Views(rich(), PICTURES)
    assert torch.equal(own.scores(views, IDENTITIES), expected.scores(views, IDENTITIES))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("goal:n=1", "there is no method 'goal'"),
        ("clip:n=1", "clip .*leave out n=1"),
        ("wca-released:alpha=0.5", "'alpha=0.5' must be one of n, pool"),
        ("wca:steps=1", "'steps=1' .*n, alpha, beta, .*pool"),
        ("wca:n", "'n' must be one of"),
        ("wca:n=1:n=2", "'n=2' must be one of .* once"),
        ("lgca-equal:n=4", "'n=4' must be one of steps,"),
        ("wca:n=few", "n cannot be 'few': .*integer"),
        ("lgca:lam=most", "lam cannot be 'most': .*'uniform'"),
        ("lgca:start=0.1-0.2-0.3", "start cannot be"),
    ],
)
def test_a_setting_that_cannot_be_is_told(name, message):
    with pytest.raises(LgcaError, match=message):
        find(name)


def test_a_setting_out_of_range_is_told_when_the_method_is_prepared():
    with pytest.raises(LgcaError, match="rho"):
        find("lgca:rho=2").prepare(Texts.of(rich(), PROMPTS, ANCHORS), 0, QUICK)


def test_weighted_sentences_alone_are_wca_without_crops():
    texts = Texts.of(rich(), PROMPTS, ANCHORS)
    whole_alone = WCA(n=1, alpha=1, beta=1)
    square = [picture.crop((0, 0, min(picture.size), min(picture.size))) for picture in PICTURES]
    views = Views(rich(), square)
    ours = find("cupl-weighted").prepare(texts, 0, QUICK).scores(views, IDENTITIES)
    theirs = find("wca").prepare(texts, 0, Settings(whole_alone, QUICK.lgca)).scores(views, IDENTITIES)
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, find("cupl").prepare(texts, 0, QUICK).scores(views, IDENTITIES))


@pytest.mark.parametrize("pool", [None, 12])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_asks_for_the_boxes_of_its_plans(name, pool):
    settings = replace(QUICK, wca=WCA(n=8, pool=pool))
    found = scorer(name, settings)
    assert json.loads(json.dumps(found.plans)) == list(found.plans)  # JSON, and nothing lost on the way
    assert json.loads(json.dumps(found.config)) == found.config
    seen = asked(name, settings)
    known = [plan for plan in found.plans if box_plans.ahead(plan)]
    assert [plan["of"] for plan in found.plans if not box_plans.ahead(plan)] in ([], known[1:])
    for picture, identity, boxes in zip(LARGE, IDENTITIES, seen, strict=False):
        drawn = {
            tuple(box)
            for plan in known
            for box in box_plans.draw(plan, picture.height, picture.width, identity).tolist()
        }
        assert (boxes <= drawn) == (len(known) == len(found.plans))
        if pool is None and name != "wca-released":
            assert found.passes is None or (len(boxes) == found.passes and drawn <= boxes)
        else:  # a seed can choose a crop twice
            assert found.passes is None or len(boxes) <= found.passes
    assert asked(name, settings) == seen


@pytest.mark.parametrize("name", METHODS)
def test_only_what_is_seeded_depends_on_the_seed(name):
    prompts = {s: _prompts(name, s) for s in (0, 1)}
    by_seed = [scores(name, seed=s, prompts=prompts[s]) for s in (0, 1)]
    assert torch.equal(*by_seed) != METHODS[name].seeded


def _prompts(name: str, seed: int):
    said = ClassPrompts.by_name(("wren", "tern", "swan"))
    kind = METHODS[name].prompts
    return said.of(kind, method=name, seed=seed) if kind in ("waffle", "plain") else PROMPTS


@pytest.mark.parametrize("name", METHODS)
def test_only_what_is_anchored_reads_the_plain_prompts(name):
    encoder = rich()
    read = []
    encode = encoder.encode_texts
    encoder.encode_texts = lambda texts: read.extend(texts) or encode(texts)
    names = ("wren", "tern", "swan")
    sentences = {name: [f"{name} of brown", f"small {name}"] for name in names}
    said = ClassPrompts.by_name(names, descriptions=sentences, descriptors=sentences)
    prepare_jobs(encoder, said, [name], [0], QUICK)
    plain = {"a photo of a wren.", "a photo of a tern.", "a photo of a swan."}
    own = {sentence for of_class in said.of(METHODS[name].prompts, method=name, seed=0) for sentence in of_class}
    assert set(read) == (own | plain if METHODS[name].anchored else own)


@pytest.mark.parametrize("name", METHODS)
def test_a_picture_s_scores_do_not_depend_on_its_company(name):
    together = scores(name)
    for b in range(3):
        alone = scores(name, pictures=PICTURES[b : b + 1], identities=IDENTITIES[b : b + 1])
        assert torch.allclose(alone[0], together[b], atol=1e-6)


# ---- plans -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"lam": "last"},
        {"lam": "geometric"},
        {"whole_image": True},
        {"image_temperature": 2.0},
        {"text_temperature": 1.0},
        {"renormalise": True},
    ],
    ids=str,
)
def test_what_only_weighs_shares_the_boxes(change):
    base = LGCA(n=8, steps=2)
    settings = [replace(QUICK, lgca=look) for look in (base, replace(base, **change))]
    assert replace(base, **change).plans(0) == base.plans(0)
    assert asked("lgca", settings[0]) == asked("lgca", settings[1])
    wca = {name: value for name, value in change.items() if name in ("image_temperature", "renormalise")}
    assert replace(WCA(), **wca).plans(0) == WCA().plans(0)


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ({"n": 21}, True),
        ({"start": (0.1, 0.4)}, True),
        ({"steps": 3}, False),
        ({"rho": 0.25}, False),
        ({"gamma": 1.5}, False),
        ({"saliency": "text"}, False),
        ({"saliency": "stratified"}, False),
        ({"growth": "free"}, False),
    ],
    ids=str,
)
def test_what_decides_boxes_is_in_the_plan(change, first):
    base = LGCA(n=20, steps=2, start=(0.1, 0.35), gamma=1.9)
    other = replace(base, **change)
    assert asked("lgca", replace(QUICK, lgca=other)) != asked("lgca", replace(QUICK, lgca=base))
    old, new = base.plans(0), other.plans(0, "texts")
    assert new[2] != old[2]
    assert (new[1] != old[1]) == first  # all others share step 0


def test_the_texts_decide_boxes_only_where_saliency_reads_them():
    by_text, by_image = (replace(QUICK, lgca=LGCA(n=8, saliency=saliency)) for saliency in ("text", "image"))
    other = [[*PROMPTS[0], "loud"], *PROMPTS[1:]]
    assert scorer("lgca", by_text).plans != scorer("lgca", by_text, prompts=other).plans
    assert scorer("lgca", by_image).plans == scorer("lgca", by_image, prompts=other).plans
    warm = LGCA(n=8, saliency="text", text_temperature=1.0)
    assert scorer("lgca", by_text).plans != scorer("lgca", replace(QUICK, lgca=warm)).plans
    with pytest.raises(AssertionError, match="depend on the prompts"):
        by_text.lgca.plans(0)


def test_methods_share_the_whole_picture_and_wca_s_squares():
    settings = Settings(WCA(n=8), LGCA(n=8, start="wca"))
    drawn = box_plans.squares(8, 0.5, 0.9, 3)
    for name in ("wca", "gc", "bifta", "lazsl", "lgca"):
        assert scorer(name, settings).plans[:2] == (box_plans.WHOLE, drawn), name
    assert LGCA(n=8, start="wca", steps=0).plans(3) == WCA(n=8).plans(3)
    assert {plan["draw"] for name in METHODS for plan in scorer(name).plans} == {
        "whole", "squares", "expanded", "margins",
    }  # fmt: skip


def test_fewer_squares_are_the_first_of_more():
    few, many = (box_plans.draw(box_plans.squares(n, 0.5, 0.9, 1), 300, 200, "x") for n in (10, 60))
    assert torch.equal(few, many[:10])


def test_boxes_that_follow_from_what_is_seen_are_not_drawn():
    with pytest.raises(AssertionError, match="expanded"):
        box_plans.draw(LGCA().plans(0)[2], 90, 90, "x")


# ---- WCA as written and as released ------------------------------------------------------------------------


def test_each_difference_of_the_released_code_is_a_setting():
    changes = {"alpha": 0.1, "renormalise": True, "pool": 100}
    assert replace(WCA.as_written(), **changes) == WCA.as_released()
    by_hand = Settings(WCA(n=8, **changes))
    assert torch.equal(scores("wca", by_hand), scores("wca-released"))
    seen = [scores("wca"), scores("wca-released")]
    for name, value in changes.items():
        seen.append(scores("wca", Settings(WCA(n=8, **{name: value}))))
    assert len({tuple(found.flatten().tolist()) for found in seen}) == 5


def test_all_seeds_of_a_pool_have_one_plan():
    assert len({json.dumps(WCA.as_released().plans(seed)) for seed in range(5)}) == 1
    assert WCA.as_released().plans(7)[1] == box_plans.squares(100, 0.1, 0.9, 0)
    # The crops among which gc looks for the most salient do depend on the seed.
    pool = Settings(WCA(n=8, pool=12))
    assert scorer("gc", pool, seed=1).plans != scorer("gc", pool, seed=2).plans


# ---- gc ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", [GuidedCropping(), GuidedCropping((0.2, 0.7)), GuidedCropping((0,))], ids=str)
def test_gc_equals_its_equation(look):
    fast = scores(guided_cropping.guided_cropping("", look))
    z = encode_classes(rich(), PROMPTS, anchors=ANCHORS, renormalise=False).double().numpy()
    for b, picture in enumerate(PICTURES):
        height, width = picture.height, picture.width
        boxes = draw_squares(height, width, 8, 0.5, 0.9, seed=3, identity=IDENTITIES[b])
        k_whole = f(rich(), picture, whole(height, width)[0])
        cosines = [float(f(rich(), picture, box) @ k_whole) for box in boxes]
        best = boxes[cosines.index(max(cosines))]
        side = int(best[2])
        k = []
        for margin in look.margins:
            grown = round(side + margin * (min(height, width) - side))
            [box] = expand(best[None], grown / side, height, width)
            assert box[2] == box[3] == grown
            k.append(f(rich(), picture, box))
        assert np.abs(fast[b].numpy() - z @ (sum(k) / len(k))).max() < 1e-5


def test_gc_goes_from_the_crop_to_the_largest_square():
    box = torch.tensor([10, 60, 20, 20])
    grown = GuidedCropping().around(box, 50, 90)
    assert grown[0].tolist() == box.tolist() and grown[-1].tolist() == [0, 40, 50, 50]
    assert grown[:, 2].tolist() == list(range(20, 51, 3))
    for small, large in itertools.pairwise(grown):  # each holds the one before
        assert (large[:2] <= small[:2]).all() and (large[:2] + large[2:] >= small[:2] + small[2:]).all()


def test_gc_without_a_margin_scores_the_most_salient_crop():
    look = WCA(n=8, image_temperature=1e6)  # a softmax so sharp that it picks one crop
    assert torch.allclose(
        scores(guided_cropping.guided_cropping("", GuidedCropping((0,)))), scores("wca", Settings(look))
    )


def test_gc_counts_its_passes():
    assert GuidedCropping().passes(WCA()) == 1 + 60 + 10
    assert GuidedCropping((0.3, 1)).passes(WCA(n=8)) == 1 + 8 + 2


@pytest.mark.parametrize("margins", [(), (0.1, 0.1), (-0.1,), (1.1,)])
def test_gc_refuses_margins(margins):
    with pytest.raises(LgcaError, match="margins"):
        GuidedCropping(margins)


# ---- bifta -------------------------------------------------------------------------------------------------


def slow_iou(a, b) -> float:
    """Pixels in both over pixels in either, counted."""
    inside = [{(y, x) for y in range(t, t + h) for x in range(left, left + w)} for t, left, h, w in (a, b)]
    return len(inside[0] & inside[1]) / len(inside[0] | inside[1])


def slow_filter(things, alike):
    kept = []
    for thing in things:
        if not any(alike(thing, other) for other in kept):
            kept.append(thing)
    return kept


@pytest.mark.parametrize("look", [BiFTA(), BiFTA(0.4, 0.99), BiFTA(0.85, 0.6), BiFTA(0.2, 0.3)], ids=str)
def test_bifta_equals_its_equation(look):
    fast = scores(bifta.bifta("", look))
    encoder = rich()

    def t(sentence):
        return unit(encoder.text([sentence])[0].double().numpy())

    prompts = [slow_filter(of_class, lambda a, b: float(t(a) @ t(b)) > look.cosine) for of_class in PROMPTS]
    dropped = sum(map(len, PROMPTS)) - sum(map(len, prompts))
    assert (dropped > 0) == (look.cosine < 0.9)
    for b, picture in enumerate(PICTURES):
        boxes = draw_squares(picture.height, picture.width, 8, 0.5, 0.9, seed=3, identity=IDENTITIES[b]).tolist()
        kept = slow_filter(boxes, lambda a, b: slow_iou(a, b) > look.iou)
        assert len(kept) < 8 or look.iou > 0.5
        slow = slow_scores(rich(), picture, torch.tensor(kept), prompts, ANCHORS)
        assert np.abs(fast[b].numpy() - slow).max() < 1e-5


@pytest.mark.parametrize("wca", [WCA(n=40), WCA(n=40, renormalise=True), WCA(n=40, pool=15)], ids=str)
def test_bifta_that_drops_nothing_is_wca(wca):
    twice = [[*PROMPTS[0], PROMPTS[0][0]], *PROMPTS[1:]]  # not even a sentence that occurs twice
    off = scores(bifta.bifta("", BiFTA(1, 1)), Settings(wca), prompts=twice)
    assert torch.allclose(off, scores("wca", Settings(wca), prompts=twice), atol=1e-6)


def test_bifta_keeps_the_first_and_what_lies_on_the_threshold():
    box = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 20], [0, 0, 10, 10], [0, 0, 10, 19]])
    assert BiFTA(iou=0.5).crops(box).tolist() == box[:2].tolist()  # 10/20 is not above 0.5; 10/19 is
    # 0 is alike 1 is alike 2, but 0 and 2 are not alike: 1 is gone when 2 is judged.
    chain = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=bool)
    assert bifta.first_of_each(chain) == [0, 2]


def test_bifta_drops_repeated_sentences_within_a_class_only():
    prompts = [["a", "b", "a"], ["a", "c"], ["c", "c", "c"]]
    assert BiFTA(cosine=0.99).sentences(Texts.of(rich(), prompts, ANCHORS)).prompts == [["a", "b"], ["a", "c"], ["c"]]


def test_bifta_of_a_cosine_of_one_keeps_every_sentence():
    encoder = rich(width=64)
    twice = [f"sentence {i}" for i in range(40)] * 2
    t = encoder.encode_texts(twice)
    assert ((t @ t.T).diagonal() > 1).any()  # by rounding
    [kept] = BiFTA(cosine=1).sentences(Texts.of(encoder, [twice], [""])).prompts
    assert kept == twice


@pytest.mark.parametrize("wrong", [{"iou": 1.1}, {"iou": -0.1}, {"cosine": 1.5}])
def test_bifta_refuses_thresholds(wrong):
    with pytest.raises(LgcaError, match=f"{next(iter(wrong))}, above which"):
        BiFTA(**wrong)


# ---- lazsl -------------------------------------------------------------------------------------------------


def slow_sinkhorn(cost, a, b, epsilon):
    """Sinkhorn's scalings of the kernel, entry by entry, until they stand still; float64."""
    kernel = [[np.exp(-c / epsilon) for c in row] for row in cost]
    m, p = len(a), len(b)
    r, c = [1.0] * m, [1.0] * p
    for _ in range(300):
        r = [a[i] / sum(kernel[i][j] * c[j] for j in range(p)) for i in range(m)]
        c = [b[j] / sum(kernel[i][j] * r[i] for i in range(m)) for j in range(p)]
    return [[r[i] * kernel[i][j] * c[j] for j in range(p)] for i in range(m)]


@pytest.mark.parametrize("look", [LaZSL(), LaZSL(mix=0.3, epsilon=0.5), LaZSL(mix=1)], ids=str)
def test_lazsl_equals_its_equation(look):
    settings = Settings(WCA(n=8))
    fast = scores(lazsl.lazsl("", "descriptions", look), settings)
    encoder = rich()
    for b, picture in enumerate(PICTURES):
        height, width = picture.height, picture.width
        boxes = draw_squares(height, width, 8, 0.5, 0.9, seed=3, identity=IDENTITIES[b])
        k_0 = f(encoder, picture, whole(height, width)[0])
        k = [f(encoder, picture, box) for box in boxes]
        mean = sum(float(k_i @ k_0) for k_i in k) / len(k)
        k = [k_i for k_i in k if float(k_i @ k_0) >= mean]
        assert 0 < len(k) < 8
        for c, of_class in enumerate(PROMPTS):
            t = [unit(encoder.text([sentence])[0].double().numpy()) for sentence in of_class]
            s = [[look.mix * float(k_i @ t_j) + (1 - look.mix) * float(k_0 @ t_j) for t_j in t] for k_i in k]
            cost = [[1 - value for value in row] for row in s]
            transport = slow_sinkhorn(cost, [1 / len(k)] * len(k), [1 / len(t)] * len(t), look.epsilon)
            slow = sum(transport[i][j] * s[i][j] for i in range(len(k)) for j in range(len(t)))
            assert float(fast[b, c]) == pytest.approx(slow, abs=2e-5)


def test_lazsl_of_the_global_alone_is_a_mean_of_sentences():
    alone = scores(lazsl.lazsl("", "descriptors", LaZSL(mix=0)))
    vectors = torch.cat(Views(rich(), PICTURES).encode([whole(p.height, p.width) for p in PICTURES]))
    assert torch.allclose(alone, logits(vectors, encode_classes(rich(), PROMPTS, renormalise=False)), atol=1e-5)


def test_lazsl_of_a_large_epsilon_is_the_mean_of_salient_crops():
    vague = scores(lazsl.lazsl("", "descriptions", LaZSL(mix=1, epsilon=1e4)))
    views = Views(rich(), PICTURES)
    matrix = encode_classes(rich(), PROMPTS, renormalise=False)
    for b, picture in enumerate(PICTURES):
        boxes = [torch.cat([whole(p.height, p.width), WCA(n=8).boxes(p.height, p.width, 3, i)])
                 for p, i in zip(PICTURES, IDENTITIES, strict=True)]  # fmt: skip
        k0, *k = views.encode(boxes)[b]
        cosines = torch.stack(k) @ k0
        u = torch.stack(k)[cosines >= cosines.mean()].mean(dim=0)
        assert torch.allclose(vague[b], logits(u[None], matrix)[0], atol=1e-5), picture


def test_lazsl_prefers_what_matches_sentence_by_sentence():
    # Half red, half green: each half answers to one sentence of class 0, and the mean of class 1 is the same.
    picture = patches(60, 120, ((0, 0, 60, 60), (255, 0, 0)), ((0, 60, 60, 60), (0, 255, 0)))
    prompts = [["red", "green"], ["red green", "red green"]]
    found = {}
    for epsilon in (0.01, 1e3):
        texts = Texts.of(stub(), prompts, ["", ""])
        method = lazsl.lazsl("", "descriptions", LaZSL(mix=1, epsilon=epsilon))
        wca = WCA(n=60, alpha=0.3, beta=0.5)
        [found[epsilon]] = method.prepare(texts, 0, Settings(wca)).scores(Views(stub(), [picture]), ["x"]).tolist()
    assert found[0.01][0] > found[1e3][0] + 0.05  # crops go to the sentence that names their colour
    assert found[0.01][1] == pytest.approx(found[1e3][1], abs=1e-4)  # nothing to choose


def test_a_crop_is_salient_even_where_rounding_says_otherwise():
    alike = torch.full((1, 6), 0.9)
    assert alike.mean() > alike.max()
    assert lazsl.salient(alike).all()
    assert lazsl.salient(torch.tensor([[0.1, 0.3, 0.2], [0.9, 0.0, 0.0]])).tolist() == [
        [False, True, True],
        [True, False, False],
    ]


def test_lazsl_of_crops_that_are_all_alike():
    plain = patches(60, 60, ((0, 0, 60, 60), (255, 0, 0)))
    for n in (1, 3, 7):
        texts = Texts.of(stub(), [["red"], ["green", "blue"]], ["", ""])
        [row] = METHODS["lazsl"].prepare(texts, 0, Settings(WCA(n=n))).scores(Views(stub(), [plain]), ["x"]).tolist()
        assert row == pytest.approx([1, 0], abs=1e-5)


def test_lazsl_in_parts_is_the_same(monkeypatch):
    at_once = scores("lazsl")
    shapes = []

    def spy(cost, *args):
        shapes.append(cost.shape)
        return sinkhorn(cost, *args)

    monkeypatch.setattr(lazsl, "sinkhorn", spy)
    for most in (1, 20, 40, 100):
        monkeypatch.setattr(lazsl, "AT_ONCE", most)
        shapes.clear()
        assert torch.allclose(scores("lazsl"), at_once, atol=1e-6)
        assert sum(b * c for b, c, _, _ in shapes) == len(PICTURES) * len(PROMPTS)
        assert all(b * c == 1 or b * c * m * p <= most for b, c, m, p in shapes)  # a single problem is never cut
        assert len(shapes) == {1: 9, 20: 9, 40: 6, 100: 2}[most]


@pytest.mark.parametrize("wrong", [{"mix": 1.1}, {"mix": -0.1}, {"epsilon": 0}, {"iterations": 0}])
def test_lazsl_refuses_settings(wrong):
    with pytest.raises(LgcaError, match=next(iter(wrong))):
        LaZSL(**wrong)


def problems(seed: int = 0, m: int = 5, p: int = 7, n: int = 4):
    random = np.random.default_rng(seed)
    cost = torch.from_numpy(random.random((n, m, p)))
    a, b = (torch.from_numpy(random.dirichlet(np.ones(size), size=n)) for size in (m, p))
    return cost, a, b


def test_sinkhorn_of_a_small_epsilon_is_the_linear_programme():
    cost, _, _ = problems()
    n, m, p = cost.shape
    a, b = torch.full((n, m), 1 / m).double(), torch.full((n, p), 1 / p).double()
    sums = np.concatenate([np.kron(np.eye(m), np.ones((1, p))), np.kron(np.ones((1, m)), np.eye(p))])
    best = [
        linprog(cost[i].flatten().numpy(), A_eq=sums, b_eq=torch.cat([a[i], b[i]]).numpy(), bounds=(0, None)).fun
        for i in range(n)
    ]
    excess = []
    for epsilon in (0.1, 0.03, 0.01):
        transport = sinkhorn(cost, a, b, epsilon, 5000, 1e-7)
        assert torch.allclose(transport.sum(dim=2), a, atol=1e-6) and torch.allclose(transport.sum(dim=1), b, atol=1e-9)
        excess.append((transport * cost).sum(dim=(1, 2)).numpy() - best)
        assert (excess[-1] > -1e-6).all()
        assert (excess[-1] <= epsilon * log(m * p)).all()  # entropy of a transport is at most log M P
    assert (excess[2] < excess[1]).all() and (excess[1] < excess[0]).all() and (excess[2] < 1e-3).all()


def test_sinkhorn_leaves_empty_rows_and_columns_empty():
    cost, a, b = problems()
    alone = sinkhorn(cost, a, b, 0.1, 1000, 1e-12)
    padded = torch.nn.functional.pad(cost, (0, 2, 0, 3), value=-5.0)  # cheap, yet nothing may go there
    transport = sinkhorn(padded, *(torch.nn.functional.pad(x, (0, k)) for x, k in ((a, 3), (b, 2))), 0.1, 1000, 1e-12)
    assert torch.allclose(transport[:, :5, :7], alone, atol=1e-12)
    assert transport.sum() == pytest.approx(float(alone.sum())) and (transport[:, 5:] == 0).all()


def test_sinkhorn_does_not_underflow():
    cost, a, b = (x.float() for x in problems())
    assert (torch.exp(-(cost + 1) / 1e-3) == 0).all()  # a kernel without logarithms would be nothing
    transport = sinkhorn(cost + 1, a, b, 1e-3, 3000, 1e-3)
    assert transport.isfinite().all()
    assert torch.allclose(transport.sum(dim=2), a, atol=3e-3) and torch.allclose(transport.sum(dim=1), b, atol=1e-3)


def test_sinkhorn_of_a_problem_does_not_depend_on_the_others():
    cost, a, b = problems()
    cost[2] *= 40  # needs many more iterations
    together = sinkhorn(cost, a, b, 0.1, 500, 1e-3)
    for i in range(len(cost)):
        assert torch.equal(sinkhorn(cost[i : i + 1], a[i : i + 1], b[i : i + 1], 0.1, 500, 1e-3)[0], together[i])


def test_sinkhorn_stops_at_its_iterations():
    cost, a, b = problems()
    off = [float((sinkhorn(cost, a, b, 0.01, k, 0).sum(dim=2) - a).abs().sum()) for k in (1, 3, 9, 100)]
    assert off == sorted(off, reverse=True) and off[0] > 2 * off[-1]


# ---- evaluated ---------------------------------------------------------------------------------------------

SENTENCES = {"ash": ["an ash", "grey"], "elm": ["an elm", "green", "tall"], "oak": ["an oak", "broad"]}
PEERS = ["wca", "gc", "bifta", "lazsl"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    noise_folders(root, SENTENCES, [(300, 400), (310, 400)])
    return root


def test_passes_of_a_record_are_the_formula_s_or_counted(root):
    manifest = folders.folder(root)
    settings = {"wca": WCA(n=30), "lgca": LGCA(n=6)}
    said = ClassPrompts.by_name(manifest.classes, descriptions=SENTENCES)
    record, _ = evaluate.evaluate(manifest, rich(), PEERS, said, seeds=(0, 1), chunk=4, **settings)
    passes = {(run.method, run.seed): run.passes_per_image for run in record.runs}
    sizes = [(300 + 10 * (n % 2), 400) for n in range(6)]
    for seed in (0, 1):
        assert [passes[name, seed] for name in ("wca", "gc", "lazsl")] == [31, 41, 31]
        kept = [
            len(BiFTA().crops(WCA(n=30).boxes(*size, seed, item.sha256)))
            for size, item in zip(sizes, manifest.items, strict=True)
        ]
        assert passes["bifta", seed] == 1 + sum(kept) / 6 < 31
    # On the same crops as WCA: alone as many as together, but for the margins.
    assert record.image_passes <= 6 * (1 + 2 * 30 + 2 * 10)
    configs = {run.method: run.config for run in record.runs}
    assert configs["bifta"] | {"wca": None} == {
        "prompts": "descriptions", "look": "bifta", "wca": None, "iou": 0.85, "cosine": 0.99,
    }  # fmt: skip
    assert configs["lazsl"]["mix"] == 0.8 and configs["lazsl"]["wca"]["n"] == 30
    assert configs["gc"]["margins"][-1] == 1.0 and configs["wca"]["image_temperature"] == e**4


def test_peers_from_the_command_line(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "load", lambda *_: rich(name="stub", sha256="0" * 64))
    (tmp_path / "trees.json").write_text(json.dumps(SENTENCES))
    words = ["--images", str(root), "--encoder", "stub", "--descriptions", "trees.json"]
    words += ["--n", "6", "--seeds", "2", "--out", "run"]
    status, out, err = lgca("evaluate", "--method", ",".join(PEERS), *words)
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()[3:7]] == PEERS
    assert len(json.loads((tmp_path / "run" / "record.json").read_text())["runs"]) == 8
    other = ["evaluate", "--method", "lazsl-d", *words[:-1], "other"]
    assert "'lazsl-d' needs short descriptors" in refused(*other)
    (tmp_path / "short.json").write_text(json.dumps({name: ["a trunk", "leaves"] for name in SENTENCES}))
    status, _, err = lgca(*other, "--descriptors", "short.json")
    assert status == 0, err


# ---- the README of the core --------------------------------------------------------------------------------


def test_the_readme_s_method_works_as_printed(root, monkeypatch):
    text = (CORE / "README.md").read_text()
    file, imports, line = re.findall(r"```python\n(.*?)```", text.split("## Adding a method")[1], flags=re.DOTALL)
    assert len([row for row in (file + line).splitlines() if row]) <= 10
    centre = ModuleType("centre")
    exec(file, vars(centre))
    monkeypatch.setattr(methods, "centre", centre, raising=False)  # as a file of the package is
    table = {"Method": Method}
    exec(imports, table)
    for name, method in eval(f"{{{line}}}", table).items():
        monkeypatch.setitem(METHODS, name, method)
    manifest = folders.folder(root)
    said = ClassPrompts.by_name(manifest.classes)
    record, predictions = evaluate.evaluate(manifest, rich(), ["centre", "clip-e"], said)
    assert [(run.method, run.passes_per_image) for run in record.runs] == [("centre", 1), ("clip-e", 1)]
    margins = predictions.groupby("method")["margin"].apply(list)
    assert margins["centre"] != margins["clip-e"]
    assert asked("centre", pictures=[noise(60, 80)]) == [{(0, 10, 60, 60)}]
