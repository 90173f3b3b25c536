"""Boxes: where they may lie, how they are drawn, that nothing but (seed, identity) decides them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from lgca_core.boxes import check_boxes, draw_squares, expand, iou, whole
from lgca_core.errors import LgcaError
from lgca_core.seeding import generator

sides = st.integers(1, 700)
quick = settings(max_examples=150)


def draw(identity: str, n: int = 60, height: int = 375, width: int = 500, seed: int = 0) -> torch.Tensor:
    return draw_squares(height, width, n, 0.5, 0.9, seed=seed, identity=identity)


def test_generator_separates_seeds_and_keys():
    keys = [(0, "ab", "c"), (0, "a", "bc"), (0, "abc"), (1, "ab", "c"), (0,), (0, ""), (0, "", "")]
    firsts = {generator(seed, *key).integers(2**63) for seed, *key in keys}
    assert len(firsts) == len(keys)
    assert generator(0, "ab", "c").integers(2**63) == generator(0, "ab", "c").integers(2**63)


def test_draws_are_the_same_everywhere():
    """Written down once: another machine, another day, another version of numpy must give these boxes."""
    expected = [[9, 221, 217, 217], [8, 68, 194, 194], [40, 128, 325, 325]]
    assert draw("a picture", n=3).tolist() == expected


def test_draws_do_not_depend_on_batch_order_or_workers():
    names = [f"picture {i}" for i in range(40)]
    alone = {name: draw(name) for name in names}
    for workers in (1, 2, 7):
        for order in (names, names[::-1], names[20:] + names[:20]):
            with ThreadPoolExecutor(workers) as pool:
                for name, boxes in zip(order, pool.map(draw, order), strict=True):
                    assert torch.equal(boxes, alone[name])
    assert len({tuple(boxes.flatten().tolist()) for boxes in alone.values()}) == len(names)
    assert not torch.equal(draw("picture 0", seed=1), alone["picture 0"])


@given(n=st.integers(0, 80), m=st.integers(0, 80))
@quick
def test_first_draws_of_many_are_the_few(n, m):
    few, many = sorted((n, m))
    assert torch.equal(draw("x", many)[:few], draw("x", few))


@given(height=sides, width=sides, low=st.floats(1e-3, 1), high=st.floats(1e-3, 1), seed=st.integers(0, 9))
@quick
def test_squares_lie_in_the_picture_and_in_the_range(height, width, low, high, seed):
    alpha, beta = sorted((low, high))
    boxes = draw_squares(height, width, 40, alpha, beta, seed=seed, identity="x")
    assert boxes.shape == (40, 4) and boxes.dtype == torch.int64
    check_boxes(boxes, height, width)
    short = min(height, width)
    assert torch.equal(boxes[:, 2], boxes[:, 3])
    assert (boxes[:, 2] >= max(1, round(alpha * short - 1e-9))).all()
    assert (boxes[:, 2] <= max(1, round(beta * short + 1e-9))).all()


def test_sides_and_positions_are_uniform():
    boxes = draw_squares(40, 25, 40_000, 0.2, 0.2, seed=3, identity="x")  # side 5: 36 x 21 places
    for column, places in ((0, 36), (1, 21)):
        count = np.bincount(boxes[:, column].numpy(), minlength=places)
        assert len(count) == places  # the last place is reached, and none beyond
        chi2 = ((count - 40_000 / places) ** 2).sum() / (40_000 / places)
        assert chi2 < places + 4 * (2 * places) ** 0.5
    side = draw_squares(1000, 2000, 40_000, 0.28, 0.51, seed=3, identity="x")[:, 2].double() / 1000
    assert abs(side.mean() - 0.395) < 0.002 and abs(side.std() - 0.23 / 12**0.5) < 0.002


@pytest.mark.parametrize(
    "alpha, beta, n", [(0, 0.5, 3), (0.6, 0.5, 3), (0.5, 1.01, 3), (float("nan"), 1, 3), (0.5, 1, -1)]
)
def test_draw_refuses(alpha, beta, n):
    with pytest.raises(LgcaError):
        draw_squares(10, 10, n, alpha, beta, seed=0, identity="x")
    with pytest.raises(LgcaError, match="0 x 10"):
        draw_squares(0, 10, 1, 0.5, 1, seed=0, identity="x")


@st.composite
def boxes_in_picture(draw_from):
    height, width = draw_from(sides), draw_from(sides)
    h, w = draw_from(st.integers(1, height)), draw_from(st.integers(1, width))
    top, left = draw_from(st.integers(0, height - h)), draw_from(st.integers(0, width - w))
    return height, width, torch.tensor([[top, left, h, w]])


@given(case=boxes_in_picture(), gamma=st.floats(1, 4), growth=st.sampled_from(["square", "free"]))
@quick
def test_expanded_boxes_contain_the_old_and_stay_inside(case, gamma, growth):
    height, width, old = case
    new = expand(old, gamma, height, width, growth=growth)
    check_boxes(new, height, width)
    assert (new[:, :2] <= old[:, :2]).all()
    assert (new[:, :2] + new[:, 2:] >= old[:, :2] + old[:, 2:]).all()
    if growth == "free":
        limit = torch.tensor([height, width])
        assert torch.equal(new[0, 2:], torch.minimum((old[0, 2:] * gamma).round().long(), limit))


def test_expansion_is_about_the_centre_and_shifts_at_the_edge():
    boxes = torch.tensor([[40, 40, 20, 20], [0, 90, 10, 10], [5, 0, 80, 80], [50, 30, 1, 1]])
    grown = expand(boxes, 1.5, 100, 200)
    assert grown.tolist() == [[35, 35, 30, 30], [0, 87, 15, 15], [0, 0, 100, 100], [49, 29, 2, 2]]
    # The same number of pixels on both sides, where there is room and the number is even.
    assert expand(torch.tensor([[40, 41, 20, 20]]), 1.2, 100, 100).tolist() == [[38, 39, 24, 24]]
    corner = torch.tensor([[90, 190, 10, 10]])
    assert expand(corner, 2, 100, 200).tolist() == [[80, 180, 20, 20]]


def test_growth_of_a_square_ends_square_or_as_the_picture():
    box = torch.tensor([[30, 60, 50, 50]])
    square, free = box, box
    for _ in range(12):
        square = expand(square, 1.25, 100, 200, growth="square")
        free = expand(free, 1.25, 100, 200, growth="free")
    assert square[0, 2:].tolist() == [100, 100] and 0 <= square[0, 1] <= 60
    assert torch.equal(free, whole(100, 200))


def test_lgca_start_range_just_reaches_the_whole_side():
    """b0 = gamma^-T: the largest crop reaches the shorter side at the last of T = 3 expansions."""
    side = round(1.25**-3 * 1000)
    box = torch.tensor([[0, 0, side, side]])
    reached = []
    for _ in range(3):
        box = expand(box, 1.25, 1000, 1500)
        reached.append(box[0, 2].item())
    assert reached[1] < 1000 and reached[2] == 1000


def test_no_boxes():
    none = torch.empty((0, 4), dtype=torch.int64)
    assert draw("x", 0).shape == (0, 4)
    assert expand(none, 2, 5, 5).shape == (0, 4)
    assert iou(none, whole(5, 5)).shape == (0, 1)


def test_boxes_of_many_pictures_grow_each_in_its_own():
    sizes = torch.tensor([[40, 60], [90, 31], [7, 7]])
    boxes = torch.stack([draw_squares(h, w, 9, 0.2, 0.9, seed=1, identity=f"{h}") for h, w in sizes.tolist()])
    height, width = sizes.T[..., None]
    for growth in ("square", "free"):
        found = expand(boxes, 1.4, height, width, growth=growth)
        alone = [expand(of, 1.4, h, w, growth=growth) for of, (h, w) in zip(boxes, sizes.tolist())]
        assert torch.equal(found, torch.stack(alone))
    boxes[2, 4] = torch.tensor([0, 0, 8, 7])  # would lie in the others
    with pytest.raises(LgcaError, match=r"\(0, 0, 8, 7\).*7 x 7"):
        expand(boxes, 1.4, height, width)


@pytest.mark.parametrize("gamma", [0.99, 0, float("nan"), float("inf")])
def test_expand_refuses_gamma(gamma):
    with pytest.raises(LgcaError, match="gamma"):
        expand(whole(5, 5), gamma, 5, 5)


def test_expand_refuses_growth():
    with pytest.raises(LgcaError, match='"square" or "free"'):
        expand(whole(5, 5), 2, 5, 5, growth="round")


@pytest.mark.parametrize("box", [[-1, 0, 2, 2], [0, -1, 2, 2], [0, 0, 0, 2], [0, 0, 2, 0], [4, 0, 2, 2], [0, 9, 2, 2]])
def test_a_box_outside_is_named(box):
    with pytest.raises(LgcaError, match=rf"\({', '.join(map(str, box))}\).*5 x 10"):
        check_boxes(torch.tensor([[0, 0, 5, 10], box]), 5, 10)


@pytest.mark.parametrize("boxes", [torch.zeros(3, 4), torch.zeros(4, dtype=torch.int64)])
def test_boxes_of_another_shape_or_type_are_refused(boxes):
    with pytest.raises(LgcaError, match="int64"):
        check_boxes(boxes, 5, 10)


@given(case=boxes_in_picture(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_iou_counts_pixels(case, seed):
    height, width, box = case
    others = draw_squares(height, width, 3, 0.3, 1, seed=seed, identity="x")

    def mask(row):
        top, left, h, w = row.tolist()
        pixels = np.zeros((height, width), dtype=bool)
        pixels[top : top + h, left : left + w] = True
        return pixels

    found = iou(box, others)
    assert found.shape == (1, 3)
    for j in range(3):
        a, b = mask(box[0]), mask(others[j])
        assert found[0, j].item() == pytest.approx((a & b).sum() / (a | b).sum())
    assert iou(box, box).item() == 1
