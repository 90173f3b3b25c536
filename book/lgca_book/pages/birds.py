"""The true bird: accuracy by its size, and how the boxes of LGCA lie to it."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from lgca_book.pages import differences
from lgca_book.pages.sweeps import NARROW, with_intervals
from lgca_book.studies.true_birds import SALIENT
from lgca_book.style import gain, minus, name, p_value, simple_table, subplots

MEASURES = {
    "iou": "IoU of box and bird",
    "inside": "of the bird in the box, %",
    "area": "box, % of the picture",
}


def by_size(frame: pd.DataFrame) -> Figure:
    """`true_birds.accuracy_by_size`: a group a third, a mark a method, with 95 % intervals."""
    figure, ax = subplots(figsize=(5.8, 4.1), layout="constrained")
    methods, sizes = list(dict.fromkeys(frame["method"])), list(dict.fromkeys(frame["size"]))
    for k, (method, mark) in enumerate(zip(methods, "vPos^D*X" * len(methods))):
        rows = frame[frame["method"] == method].set_index("size").loc[sizes]
        at = [i + 0.14 * (k - (len(methods) - 1) / 2) for i in range(len(sizes))]
        style = {"color": sns.color_palette()[k], "marker": mark, "linestyle": "none", "label": name(method)}
        with_intervals(ax, at, rows, "top1", 100, **style)
    first = frame.drop_duplicates("size")
    ax.set_xticks(range(len(sizes)), [f"{row['size']}\n{_shares(row)}" for _, row in first.iterrows()])
    ax.grid(False, axis="x")
    ax.set(xlabel="the bird's box, share of the picture", ylabel="top-1 accuracy, %")
    figure.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=2)
    return figure


def _shares(row: pd.Series) -> str:
    return f"{100 * row['share_low']:.0f} to {100 * row['share_high']:.0f} %"


def by_size_table(compared: pd.DataFrame) -> Styler:
    """`true_birds.compare_by_size`, a row a third and pair."""
    shown = pd.DataFrame(
        {
            "birds": compared["size"],
            "method": compared["method"].map(name),
            "against": compared["baseline"].map(name),
            "difference, points (95 % interval)": [gain(row) for _, row in compared.iterrows()],
            "p (Holm)": [p_value(p) for p in compared["p_holm"]],
        }
    )
    return simple_table(shown, "Paired differences in top-1 by size of the bird")


def size_verdict(compared: pd.DataFrame, method: str) -> str:
    """`true_birds.compare_by_size` of one method, third by third, in a sentence or two of Markdown."""
    rows = compared[compared["method"] == method]
    told = "; ".join(f"{row['size']} {gain(row)}" for _, row in rows.iterrows())
    sure = rows.loc[differences.holds(rows), "size"].tolist()
    held = "in none of the thirds" if not sure else f"in the {' and the '.join(sure)}"
    return (
        f"**{name(method)} minus {name(rows['baseline'].iloc[0])}**, in points: {told}. "
        f"After Holm's correction there is a difference {held}."
    )


def by_step(frame: pd.DataFrame, measure: str) -> Figure:
    """One measure of `true_birds.by_step` against the step, a curve a kind of box, with 95 % intervals."""
    figure, ax = subplots(figsize=NARROW, layout="constrained")
    scale = 1 if measure == "iou" else 100
    rows = frame[frame["measure"] == measure]
    for k, (mark, (kind, of_kind)) in enumerate(zip("os^", rows.groupby("box", sort=False))):
        of_kind = of_kind.sort_values("step")
        style = {"color": sns.color_palette()[k], "marker": mark, "linewidth": 2.2 if kind == SALIENT else 1.4}
        with_intervals(ax, of_kind["step"], of_kind, "mean", scale, label=kind, **style)
    ax.set(xlabel="expansion step t", ylabel=MEASURES[measure], xticks=sorted(rows["step"].unique()), ylim=(0, None))
    figure.legend(frameon=False, fontsize="small", loc="outside lower center")
    return figure


def localisation(beyond: pd.DataFrame, pictures: int) -> str:
    """`true_birds.beyond_chance` in sentences of Markdown, whichever way it came out."""
    first, last = beyond.iloc[0], beyond.iloc[-1]
    best = beyond.loc[beyond["iou"].idxmax()]

    def told(row: pd.Series) -> str:
        low, high = (minus(f"{row[side]:+.3f}") for side in ("difference_low", "difference_high"))
        if row["difference_low"] > 0:
            verdict = "more than"
        elif row["difference_high"] < 0:
            verdict = "less than"
        else:
            verdict = "not distinguishable from"
        more = minus(f"{row['difference']:+.3f}")
        return f"{row['iou']:.3f}, {verdict} a box as large anywhere ({more}, 95 % interval {low} to {high})"

    return (
        f"Over {pictures} pictures, the most salient box of step {first['step']:.0f} has a mean IoU with the bird of "
        f"{told(first)}; that of step {last['step']:.0f}, {told(last)}. The IoU is largest at step {best['step']:.0f}, "
        f"what it gains over chance at step {beyond.loc[beyond['difference'].idxmax(), 'step']:.0f}."
    )
