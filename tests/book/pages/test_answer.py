"""What the introduction shows: whose gain it is, in which order, and where each record comes from."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from lgca_book.pages import answer
from lgca_core.evaluation.record import Dataset, Record, Run


def predictions(**right: int) -> pd.DataFrame:
    """Four pictures, of which each method has so many right."""
    rows = [
        {"path": f"{i}.png", "label": 0, "method": method.replace("_", "-"), "seed": 0, "prediction": int(i >= count)}
        for method, count in right.items()
        for i in range(4)
    ]
    return pd.DataFrame(rows)


def test_a_gain_is_lgca_less_wca_in_the_order_of_costs_and_beside_wca_s_accuracy():
    day = predictions(lgca_equal=1, wca=2, lgca=4)
    table = answer.gains({"day": day, "night": predictions(wca=1, lgca=1, lgca_equal=2)})
    assert table[["method", "pictures", "difference"]].to_numpy().tolist() == [
        ["lgca", "day (50.0 %, 1 draw)", 0.5],
        ["lgca", "night (25.0 %, 1 draw)", 0.0],
        ["lgca-equal", "day (50.0 %, 1 draw)", -0.25],
        ["lgca-equal", "night (25.0 %, 1 draw)", 0.25],
    ]
    assert set(table["baseline"]) == {"wca"}
    assert table["cost"].drop_duplicates().tolist() == [
        "LGCA (our reading), equal crops",
        "LGCA (our reading), equal passes",
    ]
    assert table.index.tolist() == [0, 1, 2, 3]


def record(**changes) -> Record:
    runs = [Run.model_construct(method=method, seed=seed) for method in ("clip", "wca") for seed in (0, 1)]
    fields = {"commit": "abcdef0123456789", "dirty": False, "seeds": [0, 1], "runs": runs} | changes
    return Record.model_construct(
        utc=datetime(2026, 1, 2, 23, 4, tzinfo=UTC), dataset=Dataset.model_construct(count=1880), **fields
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "2 methods, 2 seeds; 2026-01-02, commit abcdef0123</li>"),
        ({"dirty": True}, "2 methods, 2 seeds; 2026-01-02, commit abcdef0123 with changes</li>"),
        ({"commit": None, "dirty": None}, "2 methods, 2 seeds; 2026-01-02, outside a checkout</li>"),
        ({"seeds": [0]}, "2 methods, 1 seed; "),
    ],
)
def test_a_record_is_told_with_its_pictures_its_runs_and_its_code(changes, said):
    html = answer.status("full", {"dtd <test>": record(**changes), "plain": record()}).data
    first, second = html.split("<li>")[1:]
    assert "<b>dtd &lt;test&gt;</b>: 1,880 pictures, " + said in first
    assert 'class="profile profile-full">real CLIP, real pictures<' in first
    assert "<b>plain</b>" in second


def test_the_embedded_world_is_called_so():
    assert 'class="profile profile-embedded">embedded world<' in answer.status("embedded", {"aviary": record()}).data
