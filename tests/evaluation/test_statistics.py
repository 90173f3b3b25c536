"""Intervals and tests that know the design: seeds of pictures, pictures of classes, trainings beside classes."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lgca_core.evaluation import statistics
from support.records import toy_record


@pytest.fixture
def hits():
    """Two methods on 120 pictures of 12 classes, three seeds and one; classes differ in which method they suit."""
    rng = np.random.default_rng(5)
    classes = np.repeat(np.arange(12), 10)
    suits = rng.normal(0.05, 0.25, 12)[classes]
    return rng.random((3, 120)) < 0.5 + suits, rng.random(120) < 0.5, classes


# ---- the exact test ----------------------------------------------------------------------------------------


def by_all_signs(differences):
    """Of 2^n ways to choose the signs, the share whose sum is as far from zero as the one seen."""
    differences = np.asarray(differences)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=len(differences))]
    return np.mean([total >= abs(differences.sum()) for total in sums])


def test_a_sign_flip_of_one_seed_each_is_mcnemars_exact_test():
    a = np.array([1] * 9 + [0] * 1 + [1] * 20)
    b = np.array([0] * 9 + [1] * 1 + [1] * 20)
    by_hand = 2 * sum(math.comb(10, k) for k in (0, 1)) / 2**10
    assert statistics.sign_flip(a, b) == pytest.approx(by_hand)
    assert statistics.sign_flip(b, a) == pytest.approx(by_hand)
    assert statistics.sign_flip(a, a) == 1.0
    assert statistics.sign_flip(np.stack([a] * 3), np.stack([b] * 5)) == pytest.approx(
        by_hand
    )  # copies are no evidence
    assert statistics.sign_flip(np.ones(200), np.zeros(200)) == statistics.LEAST_P


def test_a_sign_flip_of_several_seeds_is_that_of_all_choices_of_signs():
    rng = np.random.default_rng(0)
    for seeds, others in ((1, 1), (3, 3), (5, 1), (3, 2)):
        a, b = rng.random((seeds, 14)) < 0.7, rng.random((others, 14)) < 0.5
        expected = by_all_signs((others * a.sum(0) - seeds * b.sum(0)).astype(int))
        assert statistics.sign_flip(a, b) == pytest.approx(expected, abs=1e-12)


def test_a_sign_flip_over_classes_flips_a_class_at_once(hits):
    a, b, classes = hits
    of_class = pd.Series(a.sum(0) - 3 * b.astype(int)).groupby(classes).sum().to_numpy()
    assert statistics.sign_flip(a, b, classes=classes) == pytest.approx(by_all_signs(of_class), abs=1e-12)
    named = np.array([f"class {number}" for number in classes])
    assert statistics.sign_flip(a, b, classes=named) == statistics.sign_flip(a, b, classes=classes)
    each = np.arange(120)
    assert statistics.sign_flip(a, b, classes=each) == statistics.sign_flip(a, b)


def test_a_paired_test_wants_the_same_pictures(hits):
    a, b, classes = hits
    with pytest.raises(ValueError, match="same pictures"):
        statistics.sign_flip(a, b[1:])
    with pytest.raises(ValueError, match=r"\(120,\), one a picture, not \(119,\)"):
        statistics.sign_flip(a, b, classes=classes[1:])


# ---- intervals over classes --------------------------------------------------------------------------------


def test_an_interval_over_classes_draws_whole_classes(hits):
    a, b, classes = hits
    of_class = pd.Series(a.mean(0) - b).groupby(classes).mean().to_numpy()
    rng = np.random.default_rng(1)
    drawn = of_class[rng.integers(12, size=(200_000, 12))].mean(1)
    low, high = statistics.paired_interval(a, b, classes=classes)
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.01)
    alone = statistics.interval(a, classes=classes)
    assert alone[0] < a.mean() < alone[1]


def test_classes_of_other_sizes_weigh_by_their_pictures():
    values = np.array([1.0, 1, 1, 1, 1, 1, 0, 0])
    classes = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    low, high = statistics.interval(values, classes=classes, level=0.4)
    assert (low, high) == pytest.approx(
        (0.75, 0.75)
    )  # drawn once each half of the time: 6 of 8, not the mean of 1 and 0


def test_where_each_picture_is_a_class_both_intervals_are_one(hits):
    a, b, _ = hits
    pictures, each = statistics.paired_interval(a, b), statistics.paired_interval(a, b, classes=np.arange(120))
    assert pictures == pytest.approx(each, abs=0.01)


@pytest.mark.slow
def test_of_other_classes_only_the_interval_over_classes_holds_the_truth():
    rng = np.random.default_rng(0)
    held = {"pictures": 0, "classes": 0}
    classes, runs = np.repeat(np.arange(40), 15), 400
    for _ in range(runs):
        gain = rng.normal(0, 0.2, 40)[classes]  # of the classes drawn; over all classes there is none
        a, b = rng.random(600) < 0.5 + gain, rng.random(600) < 0.5
        for over, drawn in (("pictures", None), ("classes", classes)):
            low, high = statistics.paired_interval(a, b, classes=drawn, resamples=1000)
            held[over] += low <= 0 <= high
    assert held["classes"] / runs == pytest.approx(0.95, abs=0.03)
    assert held["pictures"] / runs < 0.88


# ---- trainings beside classes ------------------------------------------------------------------------------


def test_a_crossed_interval_by_hand():
    cells = np.array([[0.1, 0.3, 0.2], [0.0, 0.5, 0.1]])
    mean = 0.2
    trainings = 3 * ((np.array([0.2, 0.2]) - mean) ** 2).sum() / 1
    species = 2 * ((np.array([0.05, 0.4, 0.15]) - mean) ** 2).sum() / 2
    rest = ((cells - np.array([[0.05, 0.4, 0.15]])) ** 2).sum() / 2
    variance = trainings + species - rest
    degrees = variance**2 / (species**2 / 2 + rest**2 / 2)
    reach = stats.t.ppf(0.975, degrees) * math.sqrt(variance / 6)
    found = statistics.crossed_interval(cells)
    assert found[:2] == pytest.approx((mean - reach, mean + reach))
    assert statistics.crossed_interval(cells + 1)[:2] == pytest.approx((1 + mean - reach, 1 + mean + reach))
    edge = statistics.crossed_interval(cells, level=1 - found.p)  # the level at which zero is an end
    assert min(abs(edge.low), abs(edge.high)) == pytest.approx(0, abs=1e-9)
    assert statistics.crossed_interval(np.zeros((2, 3))) == (0, 0, 1)


def test_a_crossed_interval_of_one_training_copied_is_that_over_classes():
    by_class = np.random.default_rng(2).normal(0.02, 0.1, 30)
    test = stats.ttest_1samp(by_class, 0)
    known = test.confidence_interval(0.95)
    found = statistics.crossed_interval(np.stack([by_class] * 4))
    assert found == pytest.approx((known.low, known.high, test.pvalue))
    with pytest.raises(ValueError, match="trainings, classes"):
        statistics.crossed_interval(by_class[None])


@pytest.mark.slow
def test_a_crossed_interval_holds_the_truth_of_other_trainings_and_classes():
    rng = np.random.default_rng(7)
    held, runs = 0, 1000
    for _ in range(runs):
        cells = rng.normal(0, 0.02, (5, 1)) + rng.normal(0, 0.1, (1, 60)) + rng.normal(0, 0.2, (5, 60))
        low, high, p = statistics.crossed_interval(cells)
        held += low <= 0 <= high
        assert (p >= 0.05) == (low <= 0 <= high)
    assert held / runs == pytest.approx(0.95, abs=0.03)


# ---- in tables ---------------------------------------------------------------------------------------------


def test_a_comparison_has_both_populations(hits):
    a, b, classes = hits
    table = statistics.compare_methods({"a": a, "b": b}, [("a", "b")], classes)
    row = table.iloc[0]
    assert (row["classes_low"], row["classes_high"]) == statistics.paired_interval(a, b, classes=classes)
    assert row["p_classes"] == statistics.sign_flip(a, b, classes=classes)
    one = statistics.compare_methods({"a": a, "b": b}, [("a", "b")], np.zeros(120))
    assert one[list(statistics.OVER_CLASSES)].isna().all(axis=None)
    each = statistics.compare_each({"x": {"a": a, "b": b}, "y": {"a": a, "b": b}}, [("a", "b")], classes={"y": classes})
    assert each["classes_low"].isna().tolist() == [True, False]


def test_classes_stand_in_the_order_of_the_pictures():
    rows = [
        {"method": method, "seed": seed, "path": path, "label": label, "prediction": label if path != "c" else 9}
        for method in ("x", "y")
        for seed in (0, 1)
        for path, label in (("b", 2), ("a", 5), ("c", 0))
    ]
    predictions = pd.DataFrame(rows)
    assert statistics.classes_of(predictions).tolist() == [5, 2, 0]
    assert statistics.correctness(predictions)["x"].tolist() == [[True, True, False]] * 2


def test_no_method_at_chance_is_among_the_best():
    rng = np.random.default_rng(1)
    poor = {"a": rng.random(600) < 0.03, "b": rng.random(600) < 0.02}
    for hits, tied in ((poor, []), (poor | {"c": np.ones(600)}, ["c"])):
        assert all(statistics.tied_with_best(poor).values())
        record, predictions = toy_record(hits)
        dataset = record.dataset.model_copy(update={"classes": [f"class {number}" for number in range(40)]})
        table = statistics.summary(record.model_copy(update={"dataset": dataset}), predictions, baseline=None)
        assert table["method"][table["tied"]].tolist() == tied
