"""What so many pictures and so few draws can show: exact numbers against simulation, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from lgca_book.studies.statistical_power import detectable, deviation_interval, most_discordance, power
from lgca_core.errors import LgcaError
from lgca_core.evaluation.statistics import sign_flip


@pytest.mark.parametrize(
    ("pictures", "discordance", "difference", "alpha"),
    [(120, 0.3, 0.12, 0.05), (60, 0.1, -0.08, 0.05), (400, 0.2, 0.05, 0.005), (200, 0.25, 0.0, 0.05)],
)
def test_the_power_is_what_the_test_finds_in_simulated_pictures(pictures, discordance, difference, alpha):
    rng = np.random.default_rng(0)
    only_first, only_second = (discordance + difference) / 2, (discordance - difference) / 2
    drawn = rng.multinomial(pictures, [only_first, only_second, 1 - discordance], size=4000)
    cases, counts = np.unique(drawn, axis=0, return_counts=True)
    answers = [np.repeat([[1, 0], [0, 1], [1, 1]], case, axis=0).T for case in cases]  # of both, picture by picture
    found = np.average([sign_flip(*both) <= alpha for both in answers], weights=counts)
    exact = power(pictures, discordance, difference, alpha=alpha)
    assert exact == pytest.approx(found, abs=4 * math.sqrt(found * (1 - found) / 4000) + 1e-4)


def test_power_by_hand():
    # Six pictures, all discordant: p = 2 / 64 where all six go one way, else at least 14 / 64.
    assert power(6, 1.0, 0.0) == pytest.approx(2 / 64)
    assert power(6, 1.0, 0.5) == pytest.approx(0.75**6 + 0.25**6)
    assert power(5, 1.0, 1.0) == 0  # 2 / 32 is above 0.05, whatever happens
    assert power(100, 0.0, 0.0) == 0


@settings(max_examples=15)
@given(st.integers(30, 1500), st.floats(0.02, 1), st.sampled_from([0.05, 0.001]))
def test_the_smallest_difference_is_found_as_often_as_wanted_and_a_smaller_one_is_not(pictures, discordance, alpha):
    least = detectable(pictures, discordance, alpha=alpha)
    if math.isnan(least):
        assert power(pictures, discordance, discordance, alpha=alpha) < 0.8
        return
    assert power(pictures, discordance, least, alpha=alpha) == pytest.approx(0.8, abs=0.005)
    assert power(pictures, discordance, 0.97 * least, alpha=alpha) < 0.8
    # The same boundary from the other side.
    assert most_discordance(pictures, least, alpha=alpha) == pytest.approx(discordance, rel=0.05)


def test_a_difference_that_cannot_be_found_is_said_to_be_none():
    assert math.isnan(detectable(5, 0.9)) and math.isnan(detectable(100, 0.0))
    assert math.isnan(most_discordance(100, 0.0)) and math.isnan(most_discordance(100, 0.01))
    assert most_discordance(1000, 0.5) == 1.0
    assert most_discordance(3000, -0.02) == pytest.approx(most_discordance(3000, 0.02))


def test_more_pictures_find_less():
    found = [detectable(pictures, 0.2) for pictures in (600, 5_794, 50_000)]
    assert found == sorted(found, reverse=True)
    # Roughly (z_0.975 + z_0.8) sqrt(discordance / n).
    assert found[2] == pytest.approx(2.80 * math.sqrt(0.2 / 50_000), rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, 0.5, 0.1), "a picture at least"),
        ((10, 0.1, 0.2), "cannot be 0.1"),
        ((10, 1.1, 0.2), "cannot be 1.1"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises(LgcaError, match=said):
        power(*arguments)
    with pytest.raises(LgcaError, match="between 0 and 1"):
        power(10, 0.5, 0.1, alpha=0)


def test_the_interval_of_a_deviation_holds_the_true_one_as_often_as_it_says():
    rng = np.random.default_rng(1)
    draws = rng.normal(3, 2, size=(4000, 5)).std(axis=1, ddof=1)
    held = np.mean([low <= 2 <= high for low, high in (deviation_interval(s, 5) for s in draws)])
    assert held == pytest.approx(0.95, abs=0.015)
    low, high = deviation_interval(1.0, 5)
    assert (low, high) == pytest.approx((0.599, 2.874), abs=0.001)  # the tables' factors for five
    assert all(map(math.isnan, deviation_interval(1.0, 1)))
