"""Metrics beside top-1, on predictions small enough to count by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from lgca_core.errors import LgcaError
from lgca_core.evaluation import metrics
from lgca_core.evaluation.predictions import completed

CLASSES = ["crab", "ibis", "crab [adult]", "none"]


def told(rows: dict[str, list[list[int]]], labels: list[int], **columns) -> pd.DataFrame:
    """Predictions of methods, each (seeds, n) class numbers."""
    frames = [
        pd.DataFrame(
            {"path": [f"{i}.png" for i in range(len(labels))], "image": "0" * 64, "label": labels, "method": method,
             "seed": seed, "prediction": answers, "margin": [0.1 * (i + 1) for i in range(len(labels))]}
            | columns
        )
        for method, by_seed in rows.items()
        for seed, answers in enumerate(by_seed)
    ]  # fmt: skip
    return completed(pd.concat(frames, ignore_index=True), CLASSES)


LABELS = [0, 0, 0, 1, 2, 2]
TOLD = {"wca": [[0, 0, 1, 1, 0, 0], [0, 1, 1, 1, 2, 1]], "clip": [[0, 0, 0, 1, 2, 2]]}


def test_accuracies_by_hand():
    table = metrics.metrics(told(TOLD, LABELS)).set_index("method")
    assert list(table.index) == ["wca", "clip"]
    assert table.loc["wca", "top1"] == pytest.approx((3 + 3) / 12)
    assert table.loc["wca", "balanced"] == pytest.approx((3 / 6 + 1 + 1 / 4) / 3)
    assert (table.loc["clip", ["top1", "balanced"]] == 1).all()
    assert table[["top5", "ece"]].isna().to_numpy().all()  # a record of before


def test_top_5_counts_all_five():
    ranks = {"class_2": [1, 0, 3, 2, 1, 3], "class_3": 3, "class_4": 2, "class_5": -1, "score_1": 0.3}
    table = metrics.metrics(told({"clip": [[1, 1, 1, 3, 3, 0]]}, LABELS, **ranks))
    assert table["top5"].tolist() == [pytest.approx(3 / 6)]
    assert table["top1"].tolist() == [0]


def test_classes_and_what_they_are_taken_for():
    table = metrics.by_class(told(TOLD, LABELS)).set_index(["method", "label"])
    assert table["label_name"].tolist() == ["crab", "ibis", "crab [adult]"] * 2
    assert table["pictures"].tolist() == [3, 1, 2] * 2
    assert table.loc["wca", "accuracy"].tolist() == pytest.approx([0.5, 1, 0.25])
    assert table.loc["wca", "taken_for"].tolist() == ["ibis", None, "crab"]
    assert table.loc["wca", "taken_for_share"].tolist() == pytest.approx([0.5, 0, 0.5])
    assert table.loc["clip", "taken_for"].isna().all()


def test_confusion_is_of_the_row_s_pictures():
    table = metrics.confusion(told(TOLD, LABELS), "wca", CLASSES)
    assert list(table.index) == list(table.columns) == CLASSES
    shares = table.to_numpy()
    np.testing.assert_allclose(shares[0], [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(shares[2], [0.5, 0.25, 0.25, 0])
    assert np.isnan(shares[3]).all()
    pairs = metrics.confused(told(TOLD, LABELS))
    assert pairs[["method", "label_name", "prediction_name"]].to_numpy().tolist() == [
        ["wca", "crab", "ibis"], ["wca", "crab [adult]", "crab"], ["wca", "crab [adult]", "ibis"],
    ]  # fmt: skip
    assert pairs["times"].tolist() == [1.5, 1, 0.5] and pairs["share"].tolist() == pytest.approx([0.5, 0.5, 0.25])
    with pytest.raises(LgcaError, match=r"'lgca'; it has wca, clip"):
        metrics.confusion(told(TOLD, LABELS), "lgca", CLASSES)


def test_calibration_by_hand():
    sure = {"probability": [0.0, 0.15, 0.19, 0.95, 1.0, 0.41]}
    predictions = told({"clip": [[1, 0, 0, 1, 2, 0]]}, LABELS, **sure)
    table = metrics.reliability(predictions, bins=5)
    assert table["low"].tolist() == pytest.approx([0, 0.4, 0.8]) and table["high"].tolist() == pytest.approx(
        [0.2, 0.6, 1]
    )
    assert table["count"].tolist() == [3, 1, 2]
    assert table["accuracy"].tolist() == pytest.approx([2 / 3, 0, 1])
    gaps = [abs(2 / 3 - 0.34 / 3), 0.41, abs(1 - 1.95 / 2)]
    by_hand = (3 * gaps[0] + gaps[1] + 2 * gaps[2]) / 6
    assert metrics.calibration_error(predictions, bins=5) == pytest.approx(by_hand, abs=1e-6)
    assert metrics.metrics(predictions)["ece"][0] == metrics.calibration_error(predictions)
    assert metrics.reliability(told(TOLD, LABELS)).empty
    assert math.isnan(metrics.calibration_error(told(TOLD, LABELS)))
    with pytest.raises(LgcaError, match="at least one bin"):
        metrics.reliability(predictions, bins=0)


def test_well_calibrated_answers_have_no_error():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.25, 1, 40_000)
    right = rng.random(40_000) < probability
    predictions = told({"clip": [np.where(right, 0, 1).tolist()]}, [0] * 40_000, probability=probability)
    assert metrics.calibration_error(predictions) < 0.01


def test_the_hardest_are_wrong_in_most_seeds_and_by_the_widest_margin():
    table = metrics.hardest(told(TOLD, LABELS), "wca", 3)
    assert table["path"].tolist() == ["5.png", "2.png", "4.png"]
    assert table["wrong"].tolist() == [1, 1, 0.5]
    assert table["prediction_name"].tolist() == ["crab", "ibis", "crab"]
    assert metrics.hardest(told(TOLD, LABELS), "clip", 3).empty


def test_the_worst_classes_of_the_best_method_are_named():
    predictions = told({"wca": TOLD["wca"], "cupl": [[0, 0, 1, 1, 0, 2]]}, LABELS)
    assert metrics.worst_classes(predictions) == (
        "Hardest classes for cupl: crab [adult] 50.0 % of 2 (mostly taken for crab); "
        "crab 66.7 % of 3 (mostly taken for ibis)."
    )
    assert metrics.worst_classes(told({"clip": TOLD["clip"]}, LABELS)) == ""
