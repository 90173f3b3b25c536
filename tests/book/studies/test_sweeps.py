"""Sweeps of one method's settings: their points, the pairs that are fair to compare, and what pages say of them."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from lgca_book.pages import sweeps as pages
from lgca_book.studies import ablation, sweeps
from lgca_core.errors import LgcaError
from lgca_core.evaluation import evaluate, statistics
from lgca_core.lgca import LGCA
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.wca import WCA
from support.shared import ROOT
from support.stub_encoder import noise_folders, rich

METHODS = ["clip", "wca", "wca:n=2", "wca:alpha=0.1:beta=0.5", "lgca:n=1", "lgca:n=4"]
EQUAL = ["lgca-equal", "lgca-equal:rho=0.25", "lgca-equal:start=0.1-0.3", "lgca-equal:start=wca"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A record with points of four bases."""
    manifest = noise_folders(tmp_path_factory.mktemp("trees"), ("oak", "pine"), [(40, 50)] * 3)
    told = ClassPrompts.by_name(manifest.classes, descriptions={"oak": ["broad", "an oak"], "pine": ["slim", "a pine"]})
    settings = {"wca": WCA(n=12), "lgca": LGCA(n=12, steps=2)}
    return evaluate.evaluate(manifest, rich(), METHODS + EQUAL, told, seeds=(0,), **settings)


def test_a_point_has_what_it_changes_and_the_base_point_the_defaults(found):
    frame = sweeps.points(*found, ["wca", "lgca-equal"])
    assert set(frame["base"]) == {"wca", "lgca-equal"}  # not clip, not lgca
    rho = frame[(frame["base"] == "lgca-equal") & (frame["setting"] == "rho")].set_index("method")
    assert rho["value"].to_dict() == {"lgca-equal": 0.5, "lgca-equal:rho=0.25": 0.25}
    assert rho["default"].to_dict() == {"lgca-equal": True, "lgca-equal:rho=0.25": False}
    start = frame[frame["setting"] == "start"].set_index("method")["value"]
    assert start.tolist() == ["local", "0.1-0.3", "wca"]
    both = frame[frame["method"] == "wca:alpha=0.1:beta=0.5"]
    assert dict(zip(both["setting"], both["value"])) == {"alpha": 0.1, "beta": 0.5}
    assert both["changed"].tolist() == [2, 2]


def test_a_point_has_the_crops_and_the_accuracy_of_its_own_run(found):
    record, predictions = found
    frame = sweeps.points(record, predictions, ["wca", "lgca", "lgca-equal"]).drop_duplicates("method")
    rows = frame.set_index("method")
    own = LGCA(n=12, steps=2)
    sides = rows[["smallest", "largest"]].apply(tuple, axis=1)
    assert sides["wca"] == (0.5, 0.9) and sides["wca:alpha=0.1:beta=0.5"] == (0.1, 0.5)
    assert sides["lgca-equal"] == own.range() and sides["lgca-equal:start=0.1-0.3"] == (0.1, 0.3)
    assert rows["crops"]["wca:n=2"] == 2 and rows["crops"]["lgca-equal"] == own.at_passes(13).n
    assert rows["passes"]["lgca:n=4"] == 1 + 4 + 2 + 1
    expected = statistics.summary(record, predictions, None).set_index("method")["top1"]
    assert rows["top1"].equals(expected[rows.index])


def test_a_base_without_changes_is_one_row(found):
    record, predictions = found
    alone = record.model_copy(update={"runs": [run for run in record.runs if run.method == "wca"]})
    frame = sweeps.points(alone, predictions[predictions["method"] == "wca"], ["wca"])
    assert frame[["setting", "default", "changed"]].to_numpy().tolist() == [["", True, 0]]


def test_what_cannot_be_swept_is_told(found):
    with pytest.raises(LgcaError, match="'gc'; it has clip, wca"):
        sweeps.points(*found, ["gc"])
    with pytest.raises(LgcaError, match="clip is neither WCA nor LGCA"):
        sweeps.points(*found, ["clip"])
    frame = sweeps.points(*found, ["lgca"])
    with pytest.raises(LgcaError, match="no method 'lgca'"):
        sweeps.compare_points(frame, found[1], sweeps.to_base(frame, "lgca"))


def frame(**points: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """base -> name -> (crops, passes)."""
    rows = [
        {"base": base, "method": f"{base}:{name}", "crops": crops, "passes": float(passes), "smallest": crops / 9}
        for base, of_base in points.items()
        for name, (crops, passes) in of_base.items()
    ]
    return pd.DataFrame(rows).assign(largest=1.0, default=False)


CROPS = frame(
    lgca={"1": (1, 5), "2": (2, 6), "4": (4, 9), "15": (15, 30), "30": (30, 58)},
    wca={"1": (1, 2), "4": (4, 5), "8": (8, 9), "15": (15, 16), "30": (30, 31), "50": (50, 51)},
)


def test_at_the_same_passes_no_pair_favours_the_method_and_none_occurs_twice():
    pairs = sweeps.at_same_passes(CROPS, "lgca", "wca")
    assert pairs == [("lgca:1", "wca:4"), ("lgca:4", "wca:8"), ("lgca:15", "wca:30")]
    passes = CROPS.set_index("method")["passes"]
    assert all(passes[own] <= passes[against] for own, against in pairs)


def test_at_the_same_crops_and_ranges_pairs_share_them():
    assert sweeps.at_same_crops(CROPS, "lgca", "wca") == [
        ("lgca:1", "wca:1"), ("lgca:4", "wca:4"), ("lgca:15", "wca:15"), ("lgca:30", "wca:30"),
    ]  # fmt: skip
    moved = CROPS.assign(smallest=CROPS["smallest"].where(CROPS["method"] != "lgca:4", 0.99))
    assert ("lgca:4", "wca:4") not in sweeps.at_same_range(moved, "lgca", "wca")
    assert ("lgca:1", "wca:1") in sweeps.at_same_range(moved, "lgca", "wca")


def test_points_are_compared_with_the_numbers_of_both(found):
    table = sweeps.points(*found, ["wca", "lgca-equal"])
    pairs = sweeps.to_base(table, "lgca-equal")
    assert pairs == [(method, "lgca-equal") for method in EQUAL[1:]]
    compared = sweeps.compare_points(table, found[1], pairs)
    assert compared["difference"].tolist() == pytest.approx(compared["top1"] - compared["top1_baseline"])
    assert (
        compared["crops"].tolist() == table.drop_duplicates("method").set_index("method")["crops"][EQUAL[1:]].tolist()
    )
    assert (compared["crops_baseline"] == LGCA(n=12, steps=2).at_passes(13).n).all()


def compared(*rows: tuple[float, float]) -> pd.DataFrame:
    """Intervals of the difference, by ascending budget."""
    low, high = (np.array(ends) for ends in zip(*rows))
    budgets = [float(5 * (k + 1)) for k in range(len(rows))]
    table = pd.DataFrame({"difference": (low + high) / 2, "difference_low": low, "difference_high": high})
    table["p_holm"] = np.where((low > 0) | (high < 0), 0.01, 0.6)
    of = {"passes": budgets, "passes_baseline": budgets, "crops": 3, "crops_baseline": 4, "top1": 0.5}
    return table.assign(method="lgca:n=3", baseline="wca:n=4", top1_baseline=0.5, **of)


BEHIND, OPEN, AHEAD = (-0.05, -0.01), (-0.02, 0.03), (0.01, 0.04)


@pytest.mark.parametrize(
    ("rows", "budget"),
    [
        ([BEHIND, OPEN, AHEAD], 15),
        ([BEHIND, AHEAD, AHEAD], 10),
        ([AHEAD, AHEAD], 5),
        ([AHEAD, OPEN], None),  # a lead that is lost is none
        ([AHEAD, OPEN, AHEAD], 15),
        ([BEHIND, OPEN], None),
    ],
)
def test_to_overtake_is_to_lead_at_every_larger_budget(rows, budget):
    lead = sweeps.overtakes(compared(*rows))
    assert (lead if lead is None else lead["passes_baseline"]) == budget
    said = pages.overtaking(CROPS, compared(*rows))
    if budget is None:
        assert "LGCA (our reading) does not overtake WCA" in said
    else:
        assert f"LGCA (our reading) overtakes WCA at {budget} passes" in said


def test_who_is_ahead_where_is_said_by_intervals():
    said = pages.overtaking(CROPS, compared(BEHIND, BEHIND, OPEN, AHEAD))
    assert all(told in said for told in ("behind at 5 and 10", "ahead at 20", "not distinguishable at 15"))
    assert "+2.5 (+1.0 to +4.0) points" in said
    assert "58" in said
    assert "nothing can be said" in pages.overtaking(CROPS, compared(OPEN).iloc[:0])


def test_settings_that_differ_are_named_and_the_defaults_stay():
    reference = compared(OPEN).iloc[0]
    table = compared(BEHIND, OPEN, AHEAD).assign(method=["lgca-equal:rho=0.25", "lgca-equal:steps=1", "lgca:start=wca"])
    said = pages.settings_verdict(table, reference)
    assert "2 have a higher top-1" in said and "1 a lower" in said
    assert "ρ = 0.25, by −3.0 (−5.0 to −1.0) points; start = wca, by" in said and "T = 1" not in said
    assert "defaults stay" in said
    assert "none of them can be told" in pages.settings_verdict(compared(OPEN, OPEN), reference)


def test_a_choice_is_linked_to_its_row_in_the_paper_s_table():
    paper = (ROOT / "book" / "paper.md").read_text(encoding="utf-8")
    rows = [line for line in paper.splitlines() if line.startswith("|")]
    for setting, question in ablation.SETTINGS.items():
        (row,) = (line for line in rows if f'id="choice-{setting}"' in line)
        assert f"`{setting}`" in row
        html = pages.changes_table(full(compared(OPEN)).assign(method=f"lgca:{setting}=1"), "c").to_html()
        assert f'href="paper.html#choice-{setting}" title="{question}"' in html


def full(table: pd.DataFrame) -> pd.DataFrame:
    sides = {f"{side}{suffix}": 0.5 for side in ("smallest", "largest") for suffix in ("", "_baseline")}
    return table.assign(p=0.5, **sides)


def test_tables_show_both_sides_of_a_pair():
    html = pages.matched_table(compared(AHEAD).assign(passes=4.0), "c").to_html()
    assert (
        "passes, LGCA (our reading) / WCA" in html
        and "4 / 5" in html
        and "3 / 4" in html
        and "+2.5 (+1.0 to +4.0)" in html
    )
    html = pages.points_table(full(compared(OPEN)), "c").to_html()
    assert "LGCA (our reading), N = 3" in html and "WCA, N = 4" in html and "0.50 to 0.50" in html
    assert "1 of 2 comparisons" in pages.ranges_verdict(full(compared(OPEN, AHEAD)))
    assert "none of these 1 comparisons" in pages.ranges_verdict(full(compared(OPEN)))


def test_the_spread_over_draws_is_that_of_the_method():
    table = pd.DataFrame({"method": ["wca", "lgca-equal"], "seeds": [5, 5], "std": [0.03, 0.012]})
    said = pages.spread_verdict(table, "lgca-equal", 1)
    assert "1 draw of crops," in said and "over 5 draws" in said and "of 1.2 points" in said
    assert "2 draws of crops," in pages.spread_verdict(table, "wca", 2)
    alone = pages.spread_verdict(table.assign(seeds=1, std=math.nan), "wca", 1)
    assert "nan" not in alone and alone.endswith("one draw tells no standard deviation.")


def test_every_figure_of_a_sweep_draws(found):
    table = sweeps.points(*found, ["wca", "lgca-equal"])
    crops = sweeps.points(*found, ["wca", "lgca"])
    vertical = pages.limits(table)
    assert vertical[0] <= 100 * table["low"].min() and vertical[1] >= 100 * table["high"].max()
    equal = table[table["base"] == "lgca-equal"]
    drawn = [
        pages.curves(crops, "passes", "passes", vertical),
        pages.setting_curve(equal, "rho", "rho", table.iloc[0], vertical),
        pages.ranges(table),
    ]
    for figure in drawn:
        assert all(ax.get_xlabel() and ax.get_ylabel() for ax in figure.axes)
    ticks = [text.get_text() for text in drawn[1].axes[0].get_xticklabels()]
    assert ticks == ["0.25", "0.5"]  # only what was run
    labels = [text.get_text() for text in drawn[0].axes[0].get_legend().get_texts()]
    assert labels == ["WCA", "LGCA (our reading)"]


def test_plates_stand_beside_each_other():
    from lgca_book import style

    figure, ax = style.subplots()
    ax.plot([1, 2])
    html = pages.beside(style.plate(figure, "a", "first"), style.plate(figure, "b", "second")).data
    assert re.findall(r'alt="(\w+)"', html) == ["first", "second"] and html.startswith('<div class="plates">')
