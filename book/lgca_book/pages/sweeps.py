"""Accuracy against one setting: curves over crops, passes and LGCA's own numbers, and what they say in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from pandas.io.formats.style import Styler

from lgca_book.pages import differences
from lgca_book.studies.ablation import SETTINGS
from lgca_book.studies.sweeps import overtakes
from lgca_book.style import gain, name, p_value, simple_table, subplots

SYMBOLS = {"n": "N", "steps": "T", "rho": "ρ", "gamma": "γ", "lam": "λ", "alpha": "α", "beta": "β"}
"""How pages call settings; others by their own name."""

PANEL = (3.9, 3.4)
"""Inches of a figure of which two stand side by side, or below each other on a phone."""

NARROW = (3.0, 3.2)
"""The same where three do."""


def beside(*plates: HTML) -> HTML:
    """Plates of `base.plate` side by side where there is room."""
    return HTML(f'<div class="plates">{"".join(str(plate.data) for plate in plates)}</div>')


def short(method: str) -> str:
    """A method's name on a page where it stands with many settings: "LGCA", whatever it is equal in and set to."""
    return name(method.partition(":")[0]).partition(",")[0]


def colour(base: str) -> tuple[float, float, float]:
    """WCA's is the baseline's of every page, LGCA's the other one."""
    return sns.color_palette()[1 if base.startswith("wca") else 0]


def limits(frame: pd.DataFrame) -> tuple[float, float]:
    """A vertical axis in percent that holds all intervals of a frame, so that panels can share it."""
    return 5 * math.floor(20 * frame["low"].min() - 0.1), 5 * math.ceil(20 * frame["high"].max() + 0.1)


def curves(frame: pd.DataFrame, x: str, xlabel: str, vertical: tuple[float, float]) -> Figure:
    """Top-1 against a column of `sweeps.points` on a logarithmic axis, a curve a base, with 95 % intervals."""
    figure, ax = subplots(figsize=PANEL, layout="constrained")
    for mark, (base, rows) in zip("os^D", frame.groupby("base", sort=False)):
        _curve(ax, rows, x, str(base), marker=mark)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=xlabel, ylabel="top-1 accuracy, %", ylim=vertical)
    ax.legend(frameon=False, fontsize="small", loc="lower right")
    return figure


def setting_curve(
    frame: pd.DataFrame, setting: str, xlabel: str, reference: pd.Series, vertical: tuple[float, float]
) -> Figure:
    """Top-1 against one setting of `sweeps.points`, the base point ringed, over the band of a reference's interval.

    Args:
        reference: the row of `sweeps.points` whose interval is the band.
    """
    figure, ax = subplots(figsize=NARROW, layout="constrained")
    band = colour(str(reference["base"]))
    ax.axhspan(100 * reference["low"], 100 * reference["high"], color=band, alpha=0.18, linewidth=0)
    ax.axhline(100 * reference["top1"], color=band, label=f"{short(str(reference['base']))}, interval")
    rows = frame[frame["setting"] == setting].astype({"value": float})
    _curve(ax, rows, "value", str(rows["base"].iloc[0]), marker="o")
    base = rows[rows["default"]]
    ring: dict[str, Any] = {"s": 190, "facecolors": "none", "edgecolors": "0.2", "linewidths": 1.4, "zorder": 4}
    ax.scatter(base["value"], 100 * base["top1"], label="base point", **ring)
    ax.set(xlabel=xlabel, ylabel="top-1 accuracy, %", ylim=vertical, xticks=sorted(rows["value"]))
    ax.set_xticks(sorted(rows["value"]), [f"{value:g}" for value in sorted(rows["value"])])
    ax.legend(frameon=False, fontsize="small", loc="lower left")
    return figure


def _curve(ax: Axes, rows: pd.DataFrame, x: str, base: str, marker: str) -> None:
    rows = rows.sort_values(x)
    with_intervals(ax, rows[x], rows, "top1", 100, color=colour(base), marker=marker, label=short(base), linewidth=1.8)


def with_intervals(
    ax: Axes, x: pd.Series | list[float], rows: pd.DataFrame, middle: str, scale: float, **style: Any
) -> None:
    """The column `middle` of rows, times `scale`, at x, with bars from ``low`` to ``high``."""
    reach = [scale * (rows[middle] - rows["low"]), scale * (rows["high"] - rows[middle])]
    ax.errorbar(x, scale * rows[middle], yerr=reach, capsize=3, elinewidth=1.2, **style)


def point(method: str) -> str:
    """What a point changes: "lgca-equal:rho=0.25" is "ρ = 0.25"."""
    words = [words.partition("=") for words in method.split(":")[1:]]
    return ", ".join(f"{SYMBOLS.get(setting, setting)} = {value}" for setting, _, value in words)


def ranges(frame: pd.DataFrame) -> Figure:
    """Top-1 (with its 95 % interval) of points of `sweeps.points` at the range of sides of their first crops."""
    figure, ax = subplots(figsize=(5.6, 3.8), layout="constrained")
    bases = list(dict.fromkeys(frame["base"]))
    for mark, (number, base) in zip("os^D", enumerate(bases, start=1)):
        rows = frame[frame["base"] == base].drop_duplicates("method")
        at = rows["smallest"] + (rows["largest"] - rows["smallest"]) * number / (len(bases) + 1)
        style = {"color": colour(base), "marker": mark, "linestyle": "none", "label": short(base)}
        with_intervals(ax, at, rows, "top1", 100, **style)
        ax.hlines(100 * rows["top1"], rows["smallest"], rows["largest"], color=colour(base), linewidth=2.4)
    ax.set(
        xlabel="sides of the first crops, share of the picture's shorter side",
        ylabel="top-1 accuracy, %",
        xlim=(0, 1.02),
        ylim=limits(frame),
    )
    figure.legend(frameon=False, fontsize="small", loc="outside lower center", ncols=len(bases))
    return figure


# --- tables


def matched_table(compared: pd.DataFrame, caption: str) -> Styler:
    """`sweeps.compare_points` of two methods with the crops and passes of both."""
    first, second = (short(compared[role].iloc[0]) for role in ("method", "baseline"))
    pair = f"{first} / {second}"
    shown = pd.DataFrame(
        {
            f"passes, {pair}": _pairs(compared, "passes", "{:.0f}"),
            f"N, {pair}": _pairs(compared, "crops", "{}"),
            f"top-1, {pair}, %": _pairs(100 * compared[["top1", "top1_baseline"]], "top1", "{:.1f}"),
            **_difference(compared),
        }
    )
    return simple_table(shown, caption)


def _pairs(compared: pd.DataFrame, column: str, form: str) -> list[str]:
    """A column of both methods of `sweeps.compare_points`, in one."""
    both = zip(compared[column], compared[f"{column}_baseline"])
    return [f"{form.format(first)} / {form.format(second)}" for first, second in both]


def changes_table(compared: pd.DataFrame, caption: str) -> Styler:
    """`compare_points` with a base point, each change linked to its row in the table of choices of `paper.md`."""
    links = {"setting": compared["method"].map(_choice)}
    return simple_table(pd.DataFrame(links | _crops_and_difference(compared)), caption)


def points_table(compared: pd.DataFrame, caption: str) -> Styler:
    """`sweeps.compare_points` of any points, and where their first crops come from."""
    pairs = zip(compared["method"], compared["baseline"])
    names = {"comparison": [f"{label(method)}, minus {label(baseline)}" for method, baseline in pairs]}
    return simple_table(pd.DataFrame(names | _crops_and_difference(compared)), caption)


def label(method: str) -> str:
    """A point's name: "WCA, alpha = 0.1"."""
    return ", ".join(filter(None, (short(method), point(method))))


def _crops_and_difference(compared: pd.DataFrame) -> dict[str, Any]:
    return {
        "N": compared["crops"],
        "first crops": [_range(row["smallest"], row["largest"]) for _, row in compared.iterrows()],
        "passes": _whole(compared["passes"]),
        "top-1, %": [f"{100 * share:.1f}" for share in compared["top1"]],
        **_difference(compared),
    }


def _difference(compared: pd.DataFrame) -> dict[str, Any]:
    return {
        "difference, points (95 % interval)": [gain(row) for _, row in compared.iterrows()],
        "p (Holm)": [p_value(p) for p in compared["p_holm"]],
    }


def _choice(method: str) -> str:
    setting = method.split(":")[1].partition("=")[0]
    return f'<a href="paper.html#choice-{setting}" title="{SETTINGS[setting]}">{point(method)}</a>'


def _range(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"


def _whole(values: pd.Series) -> list[str]:
    return [f"{value:.0f}" for value in values]


# --- sentences


def overtaking(frame: pd.DataFrame, compared: pd.DataFrame) -> str:
    """Where, in encoder passes, one method overtakes the other, if it does: sentences of Markdown.

    Args:
        frame: `sweeps.points` of both. compared: `sweeps.compare_points` of them at the same passes, ascending.
    """
    if compared.empty:
        return "No two points of this record take as many passes, so nothing can be said of who overtakes whom."
    method, baseline = (compared[role].iloc[0].split(":")[0] for role in ("method", "baseline"))
    first, second = short(method), short(baseline)
    budgets = compared["passes_baseline"]
    reach = f"from {budgets.iloc[0]:.0f} to {budgets.iloc[-1]:.0f} passes a picture"
    lead = overtakes(compared)
    if lead is None:
        said = [f"**{first} does not overtake {second}** at any budget {reach}."]
    else:
        said = [f"**{first} overtakes {second} at {lead['passes_baseline']:.0f} passes a picture** and stays ahead."]
    low, high = compared["difference_low"], compared["difference_high"]
    kinds = {
        "behind": budgets[high < 0],
        "ahead": budgets[low > 0],
        "not distinguishable": budgets[(low <= 0) & (high >= 0)],
    }
    told = [f"{kind} at {_listed(_whole(those))}" for kind, those in kinds.items() if len(those)]
    said.append(f"By the 95 % interval of the paired difference it is {_listed(told)} passes.")
    last = compared.iloc[-1]
    said.append(
        f"At the largest budget that both were run with, {last['passes_baseline']:.0f} passes ({first} with "
        f"N = {last['crops']} takes {last['passes']:.0f} of them, {second} has N = {last['crops_baseline']}), the "
        f"difference is {gain(last)} points."
    )
    own = frame.loc[frame["base"] == method, "passes"]
    said.append(
        f"Below {own.min():.0f} passes {first} does not run with these settings; above {budgets.max():.0f} this record "
        f"has no {second}"
        + (f" to set {first} with up to {own.max():.0f} against." if own.max() > budgets.max() else ".")
    )
    return " ".join(said)


def settings_verdict(compared: pd.DataFrame, reference: pd.Series) -> str:
    """What came of changing one setting at a time, and how the base point stands: sentences of Markdown.

    Args:
        compared: `sweeps.compare_points` with the base point.
        reference: a row of `statistics.compare_methods`, the base point against a reference.
    """
    higher, lower = int((compared["difference"] > 0).sum()), int((compared["difference"] < 0).sum())
    differ = compared[differences.holds(compared)]
    said = [
        f"The base point minus {short(reference['baseline'])} is {gain(reference)} points.",
        f"Of {len(compared)} settings beside it, {higher} have a higher top-1 on these pictures and {lower} a lower.",
    ]
    if differ.empty:
        said.append("**After Holm's correction none of them can be told from the base point.**")
    else:
        told = "; ".join(f"{point(row['method'])}, by {gain(row)} points" for _, row in differ.iterrows())
        said.append(f"**After Holm's correction these differ from the base point: {told}.**")
    said.append("The defaults stay what they were in either case.")
    return " ".join(said)


def spread_verdict(summary: pd.DataFrame, method: str, seeds: int) -> str:
    """A sentence on how much of a difference can be the draw of the crops, from `summary` over several seeds."""
    row = summary.set_index("method").loc[method]
    said = (
        f"This record has {seeds} draw{'s' if seeds > 1 else ''} of crops, and its intervals cover the choice of "
        "pictures, not the draw of crops"
    )
    if row["seeds"] == 1:
        return f"{said}; how much that moves is not known here, since one draw tells no standard deviation."
    return (
        f"{said}; over {row['seeds']:.0f} draws {name(method)} has a standard deviation of {100 * row['std']:.1f} "
        "points, so the draw alone can make a difference of that size."
    )


def ranges_verdict(compared: pd.DataFrame) -> str:
    """Which comparisons of crop ranges differ after Holm's correction: a sentence of Markdown."""
    differ = compared[differences.holds(compared)]
    if differ.empty:
        return f"After Holm's correction none of these {len(compared)} comparisons shows a difference."
    told = "; ".join(
        f"{short(row['method'])} from {_range(row['smallest'], row['largest'])} minus {short(row['baseline'])} from "
        f"{_range(row['smallest_baseline'], row['largest_baseline'])}, {gain(row)} points"
        for _, row in differ.iterrows()
    )
    return f"After Holm's correction {len(differ)} of {len(compared)} comparisons show a difference: {told}."


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
