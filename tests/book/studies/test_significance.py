"""Paired tests over all comparisons, what could have been found, and how far training moves a difference."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lgca_book.pages import significance as page
from lgca_book.studies import significance
from lgca_book.studies.statistical_power import power
from lgca_core.errors import LgcaError
from lgca_core.evaluation import paper_values, statistics


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
    assert table["p_holm"].to_numpy() == pytest.approx(statistics.holm(table["p"]))
    decided = {method: statistics.majority_answer(correct) for method, correct in hits.items()}
    assert table["discordance"][0] == np.mean(decided["a"] != decided["b"])
    assert table["p"][0] == statistics.sign_flip(hits["a"], hits["b"])


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
    assert {"CUB", "Places365", "ImageNet-A"} <= set(table["dataset"]) <= set(paper_values.PAPERS_DATASETS)
    row = table[(table["dataset"] == "OxfordPets") & (table["backbone"] == "ViT-L/14")].iloc[0]
    assert row["gap"] == pytest.approx(0.0033) and row["pictures"] == 3669
    assert power(3669, 0.12, row["detectable"]) == pytest.approx(0.8, abs=0.005)
    assert row["verdict"] == "below"
    clear = table[(table["dataset"] == "CUB") & (table["backbone"] == "ViT-B/32")].iloc[0]
    assert clear["gap"] == pytest.approx(0.0715) and clear["verdict"] == "exceeds" and clear["most"] > 0.12
    # A gap exceeds what can be found exactly where the discordance is below the most that it bears.
    assert ((table["most"].fillna(0) >= 0.12) == (table["verdict"] == "exceeds")).all()
    assert clear[["sampling", "std"]].tolist() == pytest.approx([math.sqrt(0.5691 * 0.4309 / 5794), 0.0017])
    with pytest.raises(LgcaError, match="both WCA and Nobody"):
        significance.published_gaps(0.1, baseline="Nobody")


def test_a_corrected_test_finds_less():
    table = significance.resolution({"small": 600, "large": 50_000}, {"low": 0.1, "high": 0.3}, 100)
    assert len(table) == 4 and (table["corrected"] > table["detectable"]).all()
    assert power(600, 0.1, table["corrected"][0], alpha=0.05 / 100) == pytest.approx(0.8, abs=0.005)


# ---- what the page says and draws


def test_a_matrix_shows_every_pair_below_the_diagonal(hits):
    table = significance.all_pairs({"first": record(**hits)})
    figure = page.matrix(table)
    [ax] = figure.axes
    grid = ax.images[0].get_array()
    assert grid.shape == (3, 3) and grid.count() == 3 and grid.mask[np.triu_indices(3)].all()
    assert ax.get_yticklabels()[0].get_text() == "a  1"  # the best first
    shown = {(int(t.get_position()[0]), int(t.get_position()[1])): t.get_text() for t in ax.texts}
    pair = table[(table["method"] == "a") & (table["baseline"] == "c")].iloc[0]
    place = [t.get_text().split()[0] for t in ax.get_yticklabels()].index("c")
    assert shown[0, place] == f"−{100 * pair['difference']:.1f}"
    assert grid[place, 0] == sum(pair["p_holm"] < bound for bound in page.LEVELS)
    assert page.key(table) == "" and "3 pairs of 3 methods" in page.matrix_alt(table)


def test_a_matrix_of_many_methods_is_numbered_and_explained():
    rng = np.random.default_rng(1)
    many = {f"m{k}": rng.random((1, 60)) < 0.5 + k / 30 for k in range(10)}
    many["lgca:steps=0:start=0.28444444444-0.512"] = np.zeros((1, 60), dtype=bool)
    table = significance.all_pairs({"first": record(**many)})
    [ax] = page.matrix(table).axes
    assert not ax.texts and [t.get_text() for t in ax.get_yticklabels()] == [str(k) for k in range(1, 12)]
    assert page.key(table).endswith("**11** LGCA (our reading), equal crops; steps=0; start=0.28-0.51")


def test_sentences_follow_the_tests(hits):
    records = {"first": record(**hits), "second": record(a=hits["a"], b=hits["b"])}
    table = significance.all_pairs(records)
    said = page.sentence_about_all(table)
    once = table[~table["repeated"]]
    assert "3 comparisons (1 more" in said
    assert f"**{(once['p_holm'] < 0.05).sum()} remain" in said and f"{(once['p'] < 0.05).sum()} do" in said
    [line] = page.sentences_about_chosen(table, [("b", "a")]).split("\n")
    best = table.iloc[0]
    assert f"b minus a on `first`: −{100 * best['difference']:.1f} (−{100 * best['difference_high']:.1f} to" in line
    for p, told in ((0.0001, "p < 0.001, after Holm < 0.001"), (0.02, "p = 0.020, after Holm 0.020")):
        assert f" {told}: different." in page.sentences_about_chosen(table.assign(p=p, p_holm=p), [("b", "a")])
    assert line.endswith(": different." if best["p_holm"] < 0.05 else ": not told apart.")
    assert page.every_pair(table).data.count("<tr>") == 5
    assert "first" in page.by_record(table).to_html()


def test_gaps_in_words_and_limits():
    table = significance.published_gaps(0.12)
    below = table[table["verdict"] == "below"]
    said = page.sentence_about_gaps(table, 0.12)
    assert f"**{len(table) - len(below)} of {len(table)} published gaps exceed it.**" in said
    assert "OxfordPets with ViT-L/14" in said and "CUB with" not in said
    assert "never found" in page.gaps_table(table.assign(most=math.nan)).to_html()
    assert "times as large" in page.sentence_about_deviation(table)
    limits = significance.resolution({"small": 600, "large": 50_000}, {"wca and cupl": 0.1}, 100)
    told = page.sentences_about_resolution(limits, "small")
    assert (
        f"{100 * limits['detectable'][0]:.1f} points" in told and "between WCA and CuPL" in told and "`large`" in told
    )


def test_every_figure_of_the_page_draws(hits):
    trained = {f"seed {k}": record(a=hits["a"], b=np.roll(hits["b"], k)) for k in range(3)}
    differences = significance.by_training(trained, [("a", "b")])
    spread = significance.spread_of_training(differences)
    drawn = [
        page.resolution(significance.resolution({"small": 600}, {"a and b": 0.2}, 10)),
        page.gaps(significance.published_gaps(0.12), "WCA minus CuPL"),
        page.trainings(differences),
    ]
    assert all(ax.get_xlabel() for figure in drawn for ax in figure.axes)
    assert "a minus b" in page.training_table(spread).to_html()
    assert "same in all 3" in page.sentences_about_training(spread)
