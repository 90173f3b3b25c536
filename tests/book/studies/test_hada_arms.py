"""What the records of HADA's arms say, by hand-made ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lgca_book.experiments import experiments
from lgca_book.pages import arms, hada as page
from lgca_book.studies import hada_arms, related_arms
from lgca_core.related.hada.arms import FUSION_ARMS, WITH_SHARE
from lgca_core.related.hada.published import published_hada
from support.related_records import write_retrieval

KS = (1, 5, 10)


def write(
    root: Path,
    arm: str,
    seed: int,
    images: list[float],
    texts: list[float],
    *,
    three: bool = False,
    w: float | None = None,
    reshuffled: float | None = None,
) -> None:
    """A record of one arm: the ranks of two pictures, and of two captions each."""
    trained = arm not in hada_arms.SUMS
    outcome = {
        "steps": 8 * trained,
        "epochs": 4 * trained,
        "seconds": 6.0 * trained,
        "peak_memory": 7,
        "parameters": 99 * trained,
        "best_epoch": 2 * trained,
        "rsum": 1.0,
        "tau": 0.07,
        "w": w,
        "shares": [0.5, 0.5],
        "losses": {},
    }
    ways = [(np.array(ranks) <= k).mean() for ranks in (images, texts) for k in KS]
    metrics = {"RSum": float(sum(ways))}
    if reshuffled is not None:
        metrics["RSum reshuffled"] = metrics["RSum"] + reshuffled
    folder = root / ("three-" * three + arm) / f"seed-{seed}" / "retrieval"
    write_retrieval(folder, arm, seed, images, texts, KS, outcome, encoders=2 + three, metrics=metrics)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "first", 0, [2, 20], [20, 20, 20, 20])
    write(tmp_path, "score-sum", 0, [1, 6], [1, 20, 6, 20])
    write(tmp_path, "hada", 0, [1, 2], [1, 2, 20, 7], reshuffled=0.0)
    write(tmp_path, "hada", 1, [1, 1], [1, 1, 20, 7], reshuffled=0.02)
    write(tmp_path, "hada-w", 0, [1, 1], [1, 1, 1, 1], w=0.25)
    write(tmp_path, "hada-w", 1, [1, 1], [1, 1, 1, 2], w=0.5)
    write(tmp_path, "score-sum", 0, [1, 1], [1, 1, 1, 1], three=True)
    return tmp_path


def test_what_a_picture_adds_to_rsum(root):
    values = hada_arms.rsums(related_arms.runs_of(root))
    # Picture 1 is found at 1 (3 hits), its captions at 1 and 2: (3 + 2) / 2. Picture 2 at 2, 20 and 7: 2 + (0 + 1) / 2.
    assert values["hada"].tolist() == [[3 + 2.5, 2 + 0.5], [3 + 3, 3 + 0.5]]
    assert values["first"].tolist() == [[2, 0]]


def test_a_row_an_arm(root):
    table = hada_arms.arms_table(related_arms.runs_of(root), page.ORDER).set_index("arm")
    assert list(table.index) == ["first", "score-sum", "hada", "hada-w", "three-score-sum"]
    hada = table.loc["hada"]
    by_seed = [(5.5 + 2.5) / 2, (6 + 3.5) / 2]
    assert hada["rsum"] == pytest.approx(np.mean(by_seed)) and hada["std"] == pytest.approx(np.std(by_seed, ddof=1))
    assert hada["low"] <= hada["rsum"] <= hada["high"]
    assert (hada["low"], hada["high"]) == pytest.approx(((2.5 + 3.5) / 2, (5.5 + 6) / 2))  # of two pictures one, twice
    assert hada[list(hada_arms.WAYS)].tolist() == pytest.approx([0.75, 1, 1, 3 / 8, 0.5, 0.75])
    assert (hada["seeds"], hada["parameters"], hada["seconds"], hada["memory"]) == (2, 99, 1.5, 7)
    assert hada["reshuffled"] == pytest.approx(0.01) and pd.isna(hada["w"])
    assert table.loc["hada-w"]["w"] == pytest.approx(0.375)
    alone = table.loc["first"]
    assert alone["parameters"] == 0 and alone[["std", "seconds", "memory", "w", "reshuffled"]].isna().all()


def test_differences_and_which_way_they_came_out(root):
    runs = related_arms.runs_of(root)
    pairs = [("hada", "first"), ("hada-w", "hada"), ("score-sum", "first"), ("first", "hada"), ("hada", "pooled")]
    rows = hada_arms.compare(runs, pairs).to_dict("records")
    assert [(row["arm"], row["baseline"]) for row in rows] == pairs[:4]  # pooled has no record
    by_seed = np.array([4.0, 4.75]) - 1.0
    reach = stats.t.ppf(0.975, 1) * by_seed.std(ddof=1) / 2**0.5
    assert rows[0]["difference"] == pytest.approx(3.375)
    assert (rows[0]["seeds_low"], rows[0]["seeds_high"]) == pytest.approx((3.375 - reach, 3.375 + reach))
    assert (rows[0]["difference_low"], rows[0]["difference_high"]) == pytest.approx((3, 3.75))
    assert (rows[2]["seeds_low"], rows[2]["seeds_high"]) == pytest.approx((2, 2))  # nothing is trained
    assert [row["verdict"] for row in rows] == ["open", "open", "better", "open"]  # two seeds tell little
    assert hada_arms.stronger_alone(runs) is None  # of the second there is no record


def made_up(**differences: tuple[float, str]) -> pd.DataFrame:
    """Comparisons ``arm__baseline`` (``_`` for ``-``) with a difference, and how it came out."""
    rows = []
    for pair, (value, verdict) in differences.items():
        arm, baseline = pair.replace("__", " ").replace("_", "-").split()
        reach = abs(value) / 2 if verdict != "open" else 2 * abs(value)
        rows.append([arm, baseline, "5, 5", value, *[value - reach, value + reach] * 2, verdict])
    return pd.DataFrame(rows, columns=[*related_arms.COMPARISON, "verdict"])


FOUND = {
    "hada__first": (0.5, "better"),
    "hada__second": (0.4, "better"),
    "hada__score_sum": (-0.2, "worse"),
    "hada__pooled": (0.01, "open"),
    "hada__copies": (0.03, "better"),
    "copies__pooled": (-0.02, "open"),
}


def test_the_finding_follows_the_intervals():
    said = page.finding(made_up(**FOUND), "second")
    assert "**is better than** the better of its two encoders, colour alone: +40.0 (+20.0 to +60.0); it" in said
    assert "**is worse than** the sum of their scores" in said and ": −20.0 (−30.0 to −10.0); it" in said
    assert "**cannot be told from** a linear layer" in said
    assert "does not beat the linear layer (−2.0" in said and "its own tokens are worth +3.0" in said
    other = page.finding(
        made_up(**FOUND | {"hada__score_sum": (0.2, "better"), "hada__pooled": (-1, "worse")}), "first"
    )
    assert "shape alone: +50.0" in other and "**is better than** the sum of their scores" in other
    assert "**is worse than** a linear layer" in other


@pytest.mark.parametrize(
    "control, tokens, said",
    [
        ("better", "open", "still beats the linear layer (+2.0 (+1.0 to +3.0)), so that gain is not the tokens'"),
        ("open", "better", "does not beat the linear layer"),
        ("worse", "better", "does not beat the linear layer"),
        ("open", "worse", "with its own tokens it does worse"),
        ("open", "open", "no difference that can be told"),
    ],
)
def test_the_control_is_told_whichever_way_it_came_out(control, tokens, said):
    frame = made_up(copies__pooled=(-0.02 if control == "worse" else 0.02, control), hada__copies=(0.03, tokens))
    assert said in page.sentence_about_control(frame)


def test_every_question_has_an_answer_or_says_that_it_has_none():
    lines = page.answers(made_up(**FOUND)).splitlines()
    assert len(lines) == len(page.QUESTIONS)
    assert "HADA **is better than** shape alone: +50.0 (+25.0 to +75.0); over trainings +25.0 to +75.0." in lines[0]
    assert "Does a sum of the two scores beat them?* Not available." in lines[1]
    assert "HADA **is worse than** sum of scores" in lines[2]
    assert "HADA **cannot be told from** linear layer" in lines[3]


def test_without_records_the_page_says_so(tmp_path):
    runs = related_arms.runs_of(tmp_path / "none")
    comparisons = hada_arms.compare(runs, page.COMPARED)
    table = hada_arms.arms_table(runs, page.ORDER)
    assert comparisons.empty and table.empty and hada_arms.stronger_alone(runs) is None
    changes = related_arms.changes_of_methods({}, page.METHODS, page.CHANGES, hada_arms.FIXED)
    said = [
        arms.sentence_about_records(runs, hada_arms.FIXED),
        page.finding(comparisons, None),
        page.sentence_about_order(table),
        arms.sentence_about_methods(related_arms.with_verdicts(changes), "hada", ["wca", "lgca-equal"], page.NAMES),
        *page.answers(comparisons).splitlines(),
    ]
    assert all("ot available" in sentence for sentence in said)
    assert page.sentence_about_control(comparisons) is None
    assert "not available" in page.faults(comparisons)


def test_what_another_order_changes_is_told(root):
    table = hada_arms.arms_table(related_arms.runs_of(root), page.ORDER)
    assert "HADA by +1.0 points of 600" in page.sentence_about_order(table)


def test_a_fault_is_told_with_the_cost_of_its_arm():
    said = page.faults(made_up(mean_loop__hada=(-0.01, "open"), released__hada=(-0.5, "worse"))).splitlines()
    assert sum(line.startswith("  - ") for line in said) == len(page.FAULTS)
    assert said[0] == "- Arm *mean-loop*: **−1.0 (−3.0 to +1.0)**" and said[1].startswith("  - **The loop's weight")
    assert "- Arm *released*, all together: **−50.0 (−75.0 to −25.0)**" in said
    assert "- Arm *lavis*: not available" in said and "- Without an arm:" in said


def test_what_hada_does_to_wca_and_lgca():
    wca = {"hada": np.array([[1, 1, 1, 1]] * 2, bool), "score-sum": np.array([[0, 0, 0, 0]], bool)}
    right = {arm: dict.fromkeys(page.METHODS, values) for arm, values in wca.items()}
    changes = related_arms.changes_of_methods(right, page.METHODS, page.CHANGES, hada_arms.FIXED)
    assert changes["method"].tolist() == list(page.METHODS) and (changes["difference"] == 1).all()
    said = arms.sentence_about_methods(
        related_arms.with_verdicts(changes), "hada", ["wca", "lgca-equal"], page.NAMES
    ).splitlines()
    assert said[0].startswith("- WCA with HADA **is better than** WCA with sum of scores: +100.0 (+100.0 to +100.0)")
    shown = arms.changes_table(changes, page.METHODS, page.NAMES).to_html()
    assert "HADA − sum of scores" in shown and "+100.0" in shown and "font-weight: 700" in shown


def test_the_loop_as_released_weighs_the_mean_of_the_others():
    shown = page.loops_table([(577, 37)]).to_html()
    first = (0.9 * 576 + 0.7 * 36 + 1.1) / 613
    second = (0.9 * 36 + 0.7 * 576 + 1.1) / 613
    assert f"{first:.3f}" in shown and f"{second:.3f}" in shown


def test_what_was_published_is_said_in_points_of_600():
    said = page.sentence_about_published(published_hada())
    assert "3.6 of 600 points of RSum, 0.6 a recall" in said and "1.49 of 600 points of RSum, 0.2 a recall" in said
    assert "+3.60" in page.published_table(published_hada()).to_html()


def test_what_is_trained_has_a_name_on_the_page_and_is_an_arm():
    related = experiments().related.hada
    three = [related_arms.THREE + arm for arm in related.three]
    for arm in (*related.trained, *related.sums, *related.classified, *three):
        assert arm in page.ORDER
        assert arm.removeprefix(related_arms.THREE).removesuffix(WITH_SHARE) in FUSION_ARMS
    assert set(related.classified) <= {*related.trained, *related.sums}
    wanted = {arm for pair in page.COMPARED for arm in pair} - {"three-third"}
    assert wanted <= {*related.trained, *related.sums, *three}
