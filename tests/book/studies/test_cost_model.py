"""The theorem's count and bound, and the passes that an encoder counts."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from lgca_book.studies.cost_model import (
    counted_passes,
    passes,
    passes_bound,
    power_of_passes,
    rounds,
    saliency_operations,
)
from lgca_core.wca import WCA
from support.stub_encoder import mean_colour, noise, stub


@given(n=st.integers(1, 500), steps=st.integers(0, 12), percent=st.integers(1, 100))
def test_count_and_bound_of_the_theorem(n, steps, percent):
    rho = Fraction(percent, 100)
    exact = 1 + sum(math.ceil(rho**t * n) for t in range(steps + 1))
    assert passes(n, steps, percent / 100) == exact
    bound = passes_bound(n, steps, percent / 100)
    series = (1 - rho ** (steps + 1)) / (1 - rho) if rho < 1 else steps + 1
    assert exact <= bound == pytest.approx(float(1 + n * series + steps))
    assert bound - exact <= steps + 1e-9  # what it gives away is the rounding up, of every step but the first
    assert exact >= 1 + n + steps  # a step has one box or more


def test_without_steps_the_bound_is_the_count():
    assert passes(60, 0, 0.5) == passes_bound(60, 0, 0.5) == WCA(n=60).passes() == 61
    assert passes(60, 3, 1) == 241 <= passes_bound(60, 3, 1) == 244
    assert passes(60, 3, 1e-7) == 64 <= passes_bound(60, 3, 1e-7)


def test_in_the_number_of_steps_passes_grow_by_one_each_in_the_end():
    assert [passes(60, steps, 0.5) - passes(60, steps - 1, 0.5) for steps in (1, 5, 6, 20, 50)] == [30, 2, 1, 1, 1]
    assert rounds(0) == 1 and rounds(3) == 4


def test_saliency_by_text_asks_every_class():
    likeness, by_text = saliency_operations(60, 3, 0.5, classes=1000, width=512)
    assert likeness == 2 * (60 + 30 + 15 + 8) * 512 and by_text == 1000 * likeness


def test_the_power_is_that_of_the_counts():
    assert power_of_passes([10, 100, 1000], 0, 0.5) == pytest.approx(1, abs=0.03)
    assert power_of_passes([1, 10], 3, 0.5) < power_of_passes([10, 100], 3, 0.5) < 1


def test_counted_passes_stand_beside_formula_and_bound():
    table = counted_passes([6, 4], [0, 3], stub(mean_colour), [noise(300, 400, 1), noise(300, 400, 2)])
    assert table[["N", "T"]].to_numpy().tolist() == [[6, 0], [6, 3], [4, 0], [4, 3]]
    assert table.formula.tolist() == table.counted.tolist() == [7, 1 + 6 + 3 + 2 + 1, 5, 1 + 4 + 2 + 1 + 1]
    assert table.bound.tolist() == [7, 1 + 6 * 1.875 + 3, 5, 1 + 4 * 1.875 + 3]
    assert table["times WCA's"].tolist() == pytest.approx([1, 13 / 7, 1, 9 / 5])


def test_boxes_that_coincide_are_counted_once():
    """On four pixels there is little choice: the formula counts the boxes, the encoder what it was asked for."""
    [row] = counted_passes([60], [1], stub(mean_colour), [noise(2, 2)]).to_dict("records")
    assert row["counted"] < row["formula"] == 91
