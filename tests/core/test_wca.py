"""WCA: equal to the paper's double sum; as written and as released differ as stated."""

from dataclasses import replace
from math import e

import numpy as np
import pytest
import torch

from lgca_core.boxes import draw_squares
from lgca_core.class_vectors import encode_classes, logits
from lgca_core.errors import LgcaError
from lgca_core.views import Views
from lgca_core.wca import WCA
from support.by_hand import ANCHORS, IDENTITIES, PICTURES, PROMPTS, slow_scores
from support.stub_encoder import noise, patches, rich, stub


@pytest.mark.parametrize("look", [WCA(n=9), WCA.as_written(), replace(WCA.as_released(), renormalise=False)])
def test_equals_the_double_sum(look):
    encoder = rich()
    vectors = look.vectors(Views(encoder, PICTURES), IDENTITIES, seed=4)
    assert vectors.shape == (3, 12)
    matrix = encode_classes(encoder, PROMPTS, anchors=ANCHORS, renormalise=look.renormalise)
    fast = logits(vectors, matrix)
    for b, picture in enumerate(PICTURES):
        boxes = look.boxes(picture.height, picture.width, 4, IDENTITIES[b])
        slow = slow_scores(rich(), picture, boxes, PROMPTS, ANCHORS)
        assert np.abs(fast[b].numpy() - slow).max() < 1e-5


def test_crops_like_the_whole_weigh_more():
    # Mostly red, a blue corner: blue crops are far from the whole picture and fade as the temperature rises.
    picture = patches(60, 60, ((0, 0, 60, 60), (255, 0, 0)), ((0, 0, 24, 24), (0, 0, 255)))
    blue = []
    for temperature in (0, 1, e**4):
        look = WCA(n=40, alpha=0.2, beta=0.4, image_temperature=temperature)
        blue.append(float(look.vectors(Views(stub(), [picture]), ["x"], 0)[0, 2]))
    assert blue[0] > blue[1] > blue[2] + 0.02


def test_passes_are_those_that_the_encoder_counts():
    for look in (WCA(), WCA(n=7)):
        encoder = stub()
        look.vectors(Views(encoder, [noise(300, 400, s) for s in range(3)]), IDENTITIES, seed=0)
        assert encoder.image_passes == 3 * look.passes() == 3 * (1 + look.n)


def test_as_written_draws_the_paper_s_range_anew_for_every_seed():
    look = WCA.as_written()
    assert (look.n, look.alpha, look.beta, look.renormalise, look.pool) == (60, 0.5, 0.9, False, None)
    side = torch.cat([look.boxes(1000, 2000, seed, "x") for seed in range(20)])[:, 2]
    assert 500 <= side.min() < 520 and 880 < side.max() <= 900
    assert torch.equal(look.boxes(50, 70, 3, "x"), draw_squares(50, 70, 60, 0.5, 0.9, seed=3, identity="x"))


def test_as_released_draws_with_replacement_out_of_one_pool():
    look = WCA.as_released()
    assert (look.n, look.alpha, look.beta, look.renormalise, look.pool) == (60, 0.1, 0.9, True, 100)
    drawn = [look.boxes(1000, 2000, seed, "x") for seed in range(20)]
    assert all(len(boxes) == 60 for boxes in drawn)
    assert any(len(boxes.unique(dim=0)) < 60 for boxes in drawn)  # with replacement
    assert not torch.equal(drawn[0], drawn[1])
    assert len(torch.cat(drawn).unique(dim=0)) == 100  # one pool, whatever the seed
    side = torch.cat(drawn)[:, 2]
    assert 100 <= side.min() < 200 and side.max() > 800
    # The same indices for all pictures.
    pool = {name: draw_squares(99, 88, 100, 0.1, 0.9, seed=0, identity=name).tolist() for name in "xy"}
    places = {name: [pool[name].index(box) for box in look.boxes(99, 88, 5, name).tolist()] for name in "xy"}
    assert places["x"] == places["y"] and pool["x"] != pool["y"]


def test_a_pool_costs_less_than_its_passes():
    encoder = stub()
    look = WCA.as_released()
    look.vectors(Views(encoder, [noise(300, 400)]), ["x"], seed=0)
    assert encoder.image_passes == 1 + len(look.boxes(300, 400, 0, "x").unique(dim=0)) < look.passes()


def test_renormalising_a_picture_changes_its_length_only():
    views = Views(rich(), PICTURES)
    plain, scaled = (WCA(renormalise=r).vectors(views, IDENTITIES, 0) for r in (False, True))
    assert torch.allclose(scaled.norm(dim=1), torch.ones(3)) and (plain.norm(dim=1) < 0.999).all()
    assert torch.allclose(torch.cosine_similarity(plain, scaled), torch.ones(3))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"pool": 0},
        {"alpha": 0},
        {"alpha": 0.95},
        {"beta": 1.1},
        {"image_temperature": -1},
        {"text_temperature": float("inf")},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(LgcaError, match="must"):
        WCA(**wrong)
