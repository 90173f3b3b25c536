"""The theorem's count and bound; FLOPs against a count by hand; measured time and passes."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, strategies as st

from lgca_book.pages import costs
from lgca_book.studies import cost_model
from lgca_book.studies.cost_model import (
    against_bound,
    double_sum,
    grid,
    passes,
    passes_bound,
    time_per_image,
    time_table,
)
from lgca_core.class_vectors import encode_classes, logits
from lgca_core.errors import LgcaError
from lgca_core.evaluation import machine
from lgca_core.lgca import LGCA
from lgca_core.wca import WCA
from support.stub_encoder import mean_colour, noise, rich, stub


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
    settings = grid([6, 4], [0, 3])
    table = against_bound(time_table(settings, stub(mean_colour), [noise(300, 400)], repeats=1), settings)
    assert table.setting.tolist() == ["N=6, T=0", "N=6, T=3", "N=4, T=0", "N=4, T=3"]
    assert table.formula.tolist() == table.counted.tolist() == [7, 1 + 6 + 3 + 2 + 1, 5, 1 + 4 + 2 + 1 + 1]
    assert table.bound.tolist() == [13, 16, 9, 12]
    assert table["times WCA's"].tolist() == pytest.approx([1, 13 / 7, 1, 9 / 5])


@pytest.fixture
def second_a_pass(monkeypatch):
    """An encoder that takes a second a crop, and a clock that shows it."""
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def image(pixels):
        clock[0] += len(pixels)
        return mean_colour(pixels)

    return stub(image)


def test_time_is_that_of_the_passes(second_a_pass):
    pictures = [noise(300, 400, 1), noise(300, 400, 2)]
    for look in (WCA(n=5), LGCA(n=5)):
        timing = time_per_image(look, second_a_pass, pictures, repeats=3)
        assert timing.seconds == timing.fastest == timing.slowest == timing.passes == look.passes()
    table = time_table({"wca": WCA(n=5), "lgca": LGCA(n=5)}, second_a_pass, pictures, repeats=1)
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


# Growth


def test_the_double_sum_is_the_factored_score():
    encoder = rich()
    prompts = [["a", "b"], ["c", "d"], ["e", "f"]]
    anchors = ["x", "y", "z"]
    t = encoder.encode_texts([one for of in prompts for one in of]).view(3, 2, -1)
    v = torch.softmax(math.e**2 * (t * encoder.encode_texts(anchors)[:, None]).sum(-1), dim=-1)
    k = torch.nn.functional.normalize(torch.randn(4, 12, generator=torch.Generator().manual_seed(1)), dim=-1)
    w = torch.tensor([0.1, 0.2, 0.3, 0.4])
    factored = logits(
        (w[:, None] * k).sum(0)[None], encode_classes(encoder, prompts, anchors=anchors, renormalise=False)
    )
    torch.testing.assert_close(double_sum(k, w, t, v), factored[0], atol=1e-6, rtol=0)


def test_growth_is_that_of_the_passes(second_a_pass):
    pictures = [noise(300, 400, seed) for seed in (1, 2, 3)]
    crops = cost_model.with_crops(second_a_pass, pictures[:1], [6, 12], repeats=1)
    assert crops.what.tolist() == ["WCA", "LGCA, equal crops", "LGCA, equal passes"] * 2
    equal = [LGCA().at_passes(budget).passes() for budget in (7, 13)]
    assert crops.passes.tolist() == [7, passes(6, 3, 0.5), equal[0], 13, passes(12, 3, 0.5), equal[1]]
    assert crops.ms.tolist() == [1000.0 * n for n in crops.counted]
    steps = cost_model.with_steps(second_a_pass, pictures[:1], [0, 2], n=4, repeats=1)
    assert steps.ms.tolist() == [5000.0, 8000.0]
    together = cost_model.with_pictures(second_a_pass, pictures, [1, 3], n=2, repeats=1)
    assert together.ms.tolist() == [3000.0, 1000.0 * passes(2, 3, 0.5), 9000.0, 3000.0 * passes(2, 3, 0.5)]
    with pytest.raises(LgcaError, match="4 pictures are to be looked at together, but only 3"):
        cost_model.with_pictures(second_a_pass, pictures, [4])


@pytest.mark.parametrize("symbol", ["P", "C"])
def test_growth_with_texts_has_three_things_at_each_value(symbol):
    table = cost_model.with_texts(symbol, [2, 4], width=8, fixed=3, n=5, repeats=2)
    assert table.what.tolist() == ["class matrix", "score, double sum", "score, factored"] * 2
    assert table.value.tolist() == [2] * 3 + [4] * 3 and set(table.symbol) == {symbol}
    assert (table.fastest <= table.ms).all() and (table.ms <= table.slowest).all() and (table.ms > 0).all()
    figure = costs.growth([table], "milliseconds", logarithmic=True)
    assert [ax.get_xlabel() for ax in figure.axes] == [costs.AXES[symbol]]
    assert [text.get_text() for text in figure.legends[0].texts] == list(dict.fromkeys(table.what))
    with pytest.raises(LgcaError, match="not 'D'"):
        cost_model.with_texts("D", [1], width=8, fixed=3)


# Memory and money


def test_memory_table_says_what_must_be_held(tmp_path):
    paths = [tmp_path / f"{seed}.png" for seed in range(2)]
    for seed, path in enumerate(paths):
        noise(30, 40, seed).save(path)
    table = cost_model.memory_table(rich(), paths, "B", [1, 2], fixed=5)
    assert table.passes.tolist() == [6, 12]
    assert table.held.tolist() == [3 * 1200 + 4 * 12 * 6, 2 * (3 * 1200 + 4 * 12 * 6)]
    by_crops = cost_model.memory_table(rich(), paths, "N", [1, 3], fixed=2)
    assert by_crops.passes.tolist() == [4, 8]
    shown = costs.memory([by_crops, table]).data[["crops N", "pictures together", "encoder passes"]]
    assert shown.to_numpy().tolist() == [[1, 2, 4], [3, 2, 8], [5, 1, 6], [5, 2, 12]]  # with what was held fixed
    with pytest.raises(LgcaError, match="3 pictures are to be looked at, but only 2"):
        cost_model.memory_table(rich(), paths, "B", [3], fixed=1)
    with pytest.raises(LgcaError, match="not 'T'"):
        cost_model.memory_table(rich(), paths, "T", [3], fixed=1)


def test_a_thousand_pictures_take_as_many_seconds_as_one_takes_milliseconds(second_a_pass):
    crops = cost_model.with_crops(second_a_pass, [noise(300, 400)], [6], repeats=1)
    told = cost_model.thousand(crops, 6, price_per_hour=7.2)
    assert told.seconds.tolist() == crops.ms.tolist()
    assert told.money.tolist() == pytest.approx([seconds / 500 for seconds in told.seconds])
    assert cost_model.thousand(crops, 6).money.isna().all()
    with pytest.raises(LgcaError, match="nothing was timed with N = 4"):
        cost_model.thousand(crops, 4)
    with pytest.raises(LgcaError, match="cannot be negative"):
        machine.money(1, -1)
