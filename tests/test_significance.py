"""Paired tests over all comparisons, what could have been found, and how far training moves a difference."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lgca_core import published, results, significance
from lgca_core.errors import LgcaError
from lgca_core.power import power


def record(pictures="one", **methods):
    """A stand-in for a record and predictions of (seeds, n) 0/1 per method; every label is 0."""
    rows = [
        {"path": f"{i:04d}", "label": 0, "method": method, "seed": seed, "prediction": int(not hit)}
        for method, answers in methods.items()
        for seed, of_seed in enumerate(np.atleast_2d(answers))
        for i, hit in enumerate(of_seed)
    ]
    return SimpleNamespace(dataset=SimpleNamespace(manifest_sha256=pictures)), pd.DataFrame(rows)


@pytest.fixture
def hits():
    rng = np.random.default_rng(0)
    return {"a": rng.random((3, 80)) < 0.9, "b": rng.random((1, 80)) < 0.5, "c": rng.random((1, 80)) < 0.45}


# ---- all comparisons


def test_every_pair_once_the_better_first_and_holm_over_all(hits):
    records = {"first": record(**hits), "second": record("two", a=hits["a"], c=~hits["c"])}
    table = significance.all_pairs(records)
    assert table[["record", "method", "baseline"]].to_numpy().tolist()[:2] == [["first", "a", "b"], ["first", "a", "c"]]
    assert len(table) == 4 and (table["difference"] >= 0).all() and not table["repeated"].any()
    assert table["p_holm"].to_numpy() == pytest.approx(results.holm(table["p"]))
    decided = {method: results.decided(correct) for method, correct in hits.items()}
    assert table["discordance"][0] == np.mean(decided["a"] != decided["b"])
    assert table["p"][0] == results.mcnemar(decided["a"], decided["b"])


def test_a_comparison_that_two_records_hold_is_counted_once(hits):
    both = significance.all_pairs({"first": record(**hits), "second": record(a=hits["a"], b=hits["b"])})
    assert both["repeated"].tolist() == [False, False, False, True]
    alone = significance.all_pairs({"first": record(**hits)})
    assert both["p_holm"].tolist() == pytest.approx([*alone["p_holm"], alone["p_holm"][0]])
    # Other answers of the same methods, or other pictures, are another comparison.
    for other in (record(a=hits["a"], b=~hits["b"]), record("two", a=hits["a"], b=hits["b"])):
        assert not significance.all_pairs({"first": record(**hits), "second": other})["repeated"].any()


def test_discordances_are_found_either_way_round(hits):
    table = significance.all_pairs({"first": record(**hits)})
    found = significance.discordances(table, [("b", "a"), ("a", "c")])
    assert found == {"b and a": table["discordance"][0], "a and c": table["discordance"][1]}
    with pytest.raises(LgcaError, match="a and z are compared 0 times"):
        significance.discordances(table, [("a", "z")])


# ---- training


def test_errors_of_a_difference_by_hand():
    wca = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
    cupl = np.array([[1, 0, 0, 1]])
    [row] = significance.by_training({"seed 1": record(wca=wca, cupl=cupl)}, [("wca", "cupl")]).to_dict("records")
    by_picture = np.array([0, 0.5, 0, -1])
    assert row["difference"] == by_picture.mean()
    assert row["over_pictures"] == pytest.approx(by_picture.std(ddof=1) / 2)
    assert row["over_seeds"] == pytest.approx(np.std([0, -0.25], ddof=1) / math.sqrt(2))
    alone = significance.by_training({"seed 1": record(wca=wca[:1], cupl=cupl)}, [("wca", "cupl")])
    assert alone["over_seeds"].isna().all()


def test_the_spread_over_trainings():
    table = pd.DataFrame(
        {
            "method": ["a"] * 3 + ["b"] * 3,
            "baseline": "z",
            "difference": [0.01, 0.02, 0.06, -0.01, 0.0, 0.01],
            "over_pictures": [0.03, 0.04, 0.0, 0.01, 0.01, 0.01],
            "over_seeds": np.nan,
        }
    )
    first, second = significance.spread_of_training(table).to_dict("records")
    assert first["difference"] == pytest.approx(0.03)
    assert first["over_trainings"] == pytest.approx(np.std([0.01, 0.02, 0.06], ddof=1))
    assert first["low"] < first["over_trainings"] < first["high"]
    assert first["over_pictures"] == pytest.approx(math.sqrt((0.03**2 + 0.04**2) / 3))
    assert (first["same_sign"], second["same_sign"]) == (True, False)


def test_trainings_are_compared_on_the_same_pictures():
    records = {"1": record("one", a=[[1, 0]], b=[[0, 0]]), "2": record("two", a=[[1, 0]], b=[[0, 0]])}
    with pytest.raises(LgcaError, match="different ones"):
        significance.by_training(records, [("a", "b")])


# ---- what could have been found


def test_published_gaps_against_what_their_pictures_can_show():
    table = significance.published_gaps(0.12)
    assert {"CUB", "Places365", "ImageNet-A"} <= set(table["dataset"]) <= set(published.DATASETS)
    row = table[(table["dataset"] == "OxfordPets") & (table["backbone"] == "ViT-L/14")].iloc[0]
    assert row["gap"] == pytest.approx(0.0033) and row["pictures"] == 3669
    assert power(3669, 0.12, row["detectable"]) == pytest.approx(0.8, abs=0.005)
    assert row["verdict"] == "below"
    clear = table[(table["dataset"] == "CUB") & (table["backbone"] == "ViT-B/32")].iloc[0]
    assert clear["gap"] == pytest.approx(0.0715) and clear["verdict"] == "exceeds" and clear["most"] > 0.12
    # A gap exceeds what can be found exactly where the discordance is below the most that it bears.
    assert ((table["most"].fillna(0) >= 0.12) == (table["verdict"] == "exceeds")).all()
    assert clear["sampling"] == pytest.approx(math.sqrt(0.5691 * 0.4309 / 5794)) and clear["std"] == 0.0017
    with pytest.raises(LgcaError, match="both WCA and Nobody"):
        significance.published_gaps(0.1, baseline="Nobody")


def test_a_corrected_test_finds_less():
    table = significance.resolution({"small": 600, "large": 50_000}, {"low": 0.1, "high": 0.3}, 100)
    assert len(table) == 4 and (table["corrected"] > table["detectable"]).all()
    assert power(600, 0.1, table["corrected"][0], alpha=0.05 / 100) == pytest.approx(0.8, abs=0.005)
