"""The theorem's count and bound; FLOPs against a count by hand; measured time and passes."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_encoder import mean_colour, noise, stub

from lgca_core.complexity import (
    against_bound,
    grid,
    passes,
    passes_bound,
    time_per_image,
    time_table,
    visual_flops,
)
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA
from lgca_core.wca import WCA


@given(n=st.integers(1, 500), steps=st.integers(0, 12), percent=st.integers(1, 99))
@settings(max_examples=100, deadline=None, derandomize=True)
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


def test_counted_passes_stand_beside_formula_and_bound():
    settings = grid([6, 4], [0, 3])
    table = against_bound(time_table(settings, stub(mean_colour), [noise(300, 400)], repeats=1), settings)
    assert table.setting.tolist() == ["N=6, T=0", "N=6, T=3", "N=4, T=0", "N=4, T=3"]
    assert table.formula.tolist() == table.counted.tolist() == [7, 1 + 6 + 3 + 2 + 1, 5, 1 + 4 + 2 + 1 + 1]
    assert table.bound.tolist() == [13, 16, 9, 12]
    assert table["times WCA's"].tolist() == pytest.approx([1, 13 / 7, 1, 9 / 5])


def test_flops_of_a_matrix_product():
    weight = torch.randn(3 * 16 * 16, 10)
    assert visual_flops(stub(lambda x: x.flatten(1) @ weight)) == 2 * 3 * 16 * 16 * 10


def test_time_is_that_of_the_passes(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def image(pixels):
        clock[0] += len(pixels)  # a second a pass
        return mean_colour(pixels)

    pictures = [noise(300, 400, 1), noise(300, 400, 2)]
    encoder = stub(image)
    for look in (WCA(n=5), LGCA(n=5)):
        timing = time_per_image(look, encoder, pictures, repeats=3)
        assert timing.seconds == timing.fastest == timing.slowest == timing.passes == look.passes()
    table = time_table({"wca": WCA(n=5), "lgca": LGCA(n=5)}, encoder, pictures, repeats=1)
    assert table.method.tolist() == ["wca", "lgca"]
    assert table.ms.tolist() == [6000.0, 1000.0 * LGCA(n=5).passes()]
    assert table.counted.tolist() == table.passes.tolist()


def test_the_median_is_reported_and_the_first_run_is_not(monkeypatch):
    durations = iter([100, 100, 5, 1, 3])  # the first two are one warm-up run of two calls
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def image(pixels):
        clock[0] += next(durations)
        return mean_colour(pixels)

    timing = time_per_image(WCA(n=1), stub(image, batch_size=1), [noise(30, 40)], repeats=1)
    assert timing.seconds == 6
    durations = iter([100, 5, 1, 3])
    timing = time_per_image(WCA(n=1), stub(image), [noise(30, 40)], repeats=3)
    assert (timing.seconds, timing.fastest, timing.slowest) == (3, 1, 5)


def test_the_looks_take_turns():
    asked = []
    encoder = stub(lambda pixels: asked.append(len(pixels)) or mean_colour(pixels))
    time_table({"small": WCA(n=2), "large": WCA(n=4)}, encoder, [noise(300, 400)], repeats=2)
    assert asked == [3, 5] * 3


def test_timing_nothing_is_refused():
    with pytest.raises(LgcaError, match="got 0 and 5"):
        time_per_image(WCA(), stub(), [])
