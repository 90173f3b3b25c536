"""What the records of GOAL's arms say, by hand-made ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lgca_book.pages import arms, goal as page
from lgca_book.studies import goal_arms, related_arms
from lgca_core.errors import LgcaError
from lgca_core.related.goal.published import published_goal
from support.related_records import write_retrieval


def write(root: Path, arm: str, seed: int, ranks: list[float], moved: float = 0.5, caption: str = "One.") -> None:
    """A record of one training: the ranks of four pictures' captions, then of four captions' pictures."""
    outcome = {"steps": 4, "seconds": 2.0, "peak_memory": 7, "moved": moved, "counts": {}, "losses": {}}
    trained = None if arm == goal_arms.START else arm
    folder = root / arm / f"seed-{seed}" / "retrieval"
    write_retrieval(folder, trained, seed, ranks[:4], ranks[4:], (1, 5), outcome, caption=caption)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "start", 0, [9, 9, 9, 9, 9, 9, 9, 1])
    for seed, (goal, random) in enumerate([([1, 1, 1, 9], [1, 9, 9, 9]), ([1, 1, 9, 9], [1, 9, 9, 9])]):
        write(tmp_path, "goal", seed, [*goal, 1, 1, 1, 2], moved=0.25)
        write(tmp_path, "random-boxes", seed, [*random, 1, 9, 9, 9])
    return tmp_path


def test_a_row_an_arm(root):
    table = goal_arms.arms_table(related_arms.runs_of(root), ["goal", "start", "region-size"]).set_index("arm")
    assert list(table.index) == ["goal", "start"]
    goal = table.loc["goal"]
    assert (goal["seeds"], goal["moved"], goal["seconds"], goal["memory"]) == (2, 0.25, 0.5, 7)
    assert goal["r1"] == pytest.approx((6 + 5) / 16) and goal["r5"] == pytest.approx((7 + 6) / 16)
    assert goal["std"] == pytest.approx(np.std([6 / 8, 5 / 8], ddof=1))
    assert (goal["image_to_text"], goal["text_to_image"]) == pytest.approx((5 / 8, 3 / 4))
    assert goal["low"] <= goal["r1"] <= goal["high"]
    assert pd.isna(table.loc["start"]["moved"]) and pd.isna(table.loc["start"]["std"])


def test_two_intervals_of_a_difference(root):
    runs = related_arms.runs_of(root)
    right = {arm: goal_arms.hits(runs, arm) for arm in runs}
    [row] = related_arms.compare_arms(right, [("goal", "random-boxes"), ("goal", "full-matrix")]).to_dict("records")
    by_seed = np.array([6 / 8 - 2 / 8, 5 / 8 - 2 / 8])
    reach = stats.t.ppf(0.975, 1) * by_seed.std(ddof=1) / 2**0.5
    assert row["difference"] == pytest.approx(by_seed.mean())
    assert (row["seeds_low"], row["seeds_high"]) == pytest.approx((by_seed.mean() - reach, by_seed.mean() + reach))
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    [alone] = related_arms.compare_arms(right, [("goal", "start")]).to_dict("records")
    assert alone["difference"] == pytest.approx(11 / 16 - 1 / 8) and np.isnan(alone["seeds_low"])


def test_an_arm_in_which_nothing_is_trained_has_no_spread_over_trainings(root):
    runs = related_arms.runs_of(root)
    right = {arm: goal_arms.hits(runs, arm) for arm in runs} | {"other": np.zeros((1, 8), bool)}
    pairs = [("goal", "start"), ("start", "goal"), ("start", "other")]
    rows = related_arms.compare_arms(right, pairs, {"start", "other"}).to_dict("records")
    by_seed = np.array([6 / 8, 5 / 8]) - 1 / 8
    reach = stats.t.ppf(0.975, 1) * by_seed.std(ddof=1) / 2**0.5
    ends = [(row["seeds_low"], row["seeds_high"]) for row in rows]
    assert ends[0] == pytest.approx((by_seed.mean() - reach, by_seed.mean() + reach))
    assert ends[1] == pytest.approx((-by_seed.mean() - reach, -by_seed.mean() + reach))
    assert ends[2] == (1 / 8, 1 / 8)


def test_only_what_both_intervals_say_differs():
    frame = pd.DataFrame(
        [[0.1, 0.2, 0.1, 0.3], [0.1, 0.2, -0.1, 0.3], [-0.2, -0.1, -0.3, -0.1], [0.1, 0.2, -0.3, -0.1]],
        columns=["difference_low", "difference_high", "seeds_low", "seeds_high"],
    )
    assert related_arms.differs(frame).tolist() == [True, False, True, False]


def test_records_of_other_captions_are_refused(root):
    write(root, "full-matrix", 0, [1] * 8, caption="Other.")
    with pytest.raises(LgcaError, match="different captions"):
        related_arms.runs_of(root)


def test_without_records_the_page_says_so(tmp_path):
    runs = related_arms.runs_of(tmp_path / "none")
    comparisons = related_arms.compare_arms({}, page.COMPARED)
    assert runs == {} and comparisons.empty and related_arms.classified(tmp_path / "none") == {}
    said = [
        arms.sentence_about_records(runs, {goal_arms.START}),
        page.sentence_about_location(comparisons),
        page.sentences_about_terms(comparisons),
        arms.sentence_about_methods(
            related_arms.changes_of_methods({}, page.METHODS, page.CHANGES), "goal", page.METHODS, page.NAMES
        ),
    ]
    assert all("ot available" in sentence for sentence in said)


@pytest.mark.parametrize(
    "queries, trainings, said",
    [
        ((0.02, 0.08), (0.01, 0.09), "The location matters here"),
        ((-0.02, 0.08), (0.01, 0.09), "a regulariser, not a localiser"),
        ((0.02, 0.08), (-0.01, 0.09), "a regulariser, not a localiser"),
        ((-0.08, -0.02), (-0.09, -0.01), "Random boxes do better"),
    ],
)
def test_the_verdict_follows_both_intervals(queries, trainings, said):
    middle = sum(queries) / 2
    row = ["goal", "random-boxes", "5, 5", middle, *queries, *trainings]
    assert said in page.sentence_about_location(pd.DataFrame([row], columns=list(related_arms.COMPARISON)))


def test_accuracies_and_gains_of_crops():
    right = {
        "goal": {"cupl": np.array([[1, 0, 0, 0]] * 2, bool), "wca": np.array([[1, 1, 0, 0], [1, 1, 1, 0]], bool)},
        "start": {"cupl": np.array([[1, 0, 0, 0]], bool), "wca": np.array([[1, 0, 0, 0]], bool)},
    }
    table = related_arms.accuracies(right, ["start", "goal", "global"])
    assert table.to_dict("list") == {"arm": ["start", "goal"], "cupl": [0.25, 0.25], "wca": [0.25, 0.625]}
    gains = related_arms.gains_of_crops(right, ["start", "goal"], [("wca", "cupl"), ("lgca", "wca")])
    assert gains["encoder"].tolist() == ["start", "goal"] and gains["difference"].tolist() == [0, 0.375]


def test_what_was_published_is_said_by_its_numbers():
    said = page.sentence_about_published(published_goal())
    assert "GOAL's table, the local loss adds −0.3" in said and "+7.4" in said and "+0.8" in said
    assert published_goal()["source"].notna().all()
