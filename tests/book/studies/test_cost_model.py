"""The theorem's count and bound, and the passes that an encoder counts."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from lgca_book.studies.cost_model import counted_passes, passes, passes_bound
from lgca_core.wca import WCA
from support.stub_encoder import mean_colour, noise, stub


@given(n=st.integers(1, 500), steps=st.integers(0, 12), percent=st.integers(1, 99))
def test_count_and_bound_of_the_theorem(n, steps, percent):
    rho = Fraction(percent, 100)
    exact = 1 + sum(math.ceil(rho**t * n) for t in range(steps + 1))
    assert passes(n, steps, percent / 100) == exact
    bound = passes_bound(n, steps, percent / 100)
    assert exact <= bound == pytest.approx(float(1 + n / (1 - rho) + steps))
    # The bound is near: what it gives away is less than the rounding up and the tail of the series.
    assert bound - exact <= steps + float(n * rho ** (steps + 1) / (1 - rho)) + 1e-9


def test_no_steps_is_wca_and_rho_of_one_has_no_bound():
    assert passes(60, 0, 0.5) == WCA(n=60).passes() == 61
    assert passes(60, 3, 1) == 241 and passes_bound(60, 3, 1) == math.inf
    assert passes_bound(60, 3, 0.9999999) == pytest.approx(60e7 + 4)
    assert passes(60, 3, 1e-7) == 64 <= passes_bound(60, 3, 1e-7)


def test_counted_passes_stand_beside_formula_and_bound():
    table = counted_passes([6, 4], [0, 3], stub(mean_colour), [noise(300, 400, 1), noise(300, 400, 2)])
    assert table[["N", "T"]].to_numpy().tolist() == [[6, 0], [6, 3], [4, 0], [4, 3]]
    assert table.formula.tolist() == table.counted.tolist() == [7, 1 + 6 + 3 + 2 + 1, 5, 1 + 4 + 2 + 1 + 1]
    assert table.bound.tolist() == [13, 16, 9, 12]
    assert table["times WCA's"].tolist() == pytest.approx([1, 13 / 7, 1, 9 / 5])


def test_boxes_that_coincide_are_counted_once():
    """On four pixels there is little choice: the formula counts the boxes, the encoder what it was asked for."""
    [row] = counted_passes([60], [1], stub(mean_colour), [noise(2, 2)]).to_dict("records")
    assert row["counted"] < row["formula"] == 91
