"""Paired differences: as a forest plot, as a table, and in sentences that follow the numbers."""

from __future__ import annotations

import math
import textwrap

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lgca_book.style import gain, subplots

LEVEL = 0.05


def holds(frame: pd.DataFrame) -> pd.Series:
    """Rows of `compare_methods` that differ by both measures: the corrected test, and an interval without zero."""
    return _by_test(frame) & _by_interval(frame)


def _by_test(frame: pd.DataFrame) -> pd.Series:
    return frame["p_holm"] < LEVEL


def _by_interval(frame: pd.DataFrame) -> pd.Series:
    return (frame["difference_low"] > 0) | (frame["difference_high"] < 0)


def outcomes(frame: pd.DataFrame, label: str, *, numbers: bool = True) -> str:
    """Rows of `compare_methods` in words, whichever way they came out: a list in Markdown, a line a kind of outcome.

    Args:
        label: column that names a row in running text.
        numbers: whether each row's difference follows its name; a table beside the list has them too.
    """
    sure, either = holds(frame), _by_test(frame) | _by_interval(frame)
    kinds = {
        "Lower": sure & (frame["difference"] < 0),
        "Higher": sure & (frame["difference"] > 0),
        "Unclear (interval and corrected test do not agree)": either & ~sure,
        "Not told from zero": ~either,
    }
    said = []
    for kind, rows in kinds.items():
        if rows.any():
            named = [f"{row[label]}, {gain(row)}" if numbers else str(row[label]) for _, row in frame[rows].iterrows()]
            told = "; ".join(named)
            said.append(f"- **{kind}:** {told}.")
    return "\n".join(said)


def forest(frame: pd.DataFrame, group: str, label: str, xlabel: str, titles: bool = True) -> Figure:
    """A row a comparison, a panel a group: the difference in points with its 95 % paired interval.

    Filled where the difference :func:`holds`, hollow where it does not. A thin line is the interval over classes, of
    rows that have one.

    Args:
        frame: `statistics.compare_methods`'s columns and those named by `group` and `label`.
        group: column of panels' titles, in order of appearance. label: column of rows' labels.
    """
    groups = list(dict.fromkeys(frame[group]))
    counts = [int((frame[group] == name).sum()) for name in groups]
    figure, axes = subplots(
        len(groups),
        1,
        figsize=(6, sum(0.46 * count + 0.55 for count in counts) + 0.9),
        sharex=True,
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": [count + 1 for count in counts]},
    )
    filled, hollow = sns.color_palette()[1], sns.color_palette()[0]
    for ax, of in zip(axes[:, 0], groups):
        rows = frame[frame[group] == of].iloc[::-1].reset_index(drop=True)
        sure = holds(rows)
        ax.axvline(0, color="0.35", linewidth=1)
        for y, row in rows.iterrows():
            colour = filled if sure[y] else hollow
            ends = [100 * row["difference_low"], 100 * row["difference_high"]]
            ax.plot(ends, [y, y], color=colour, linewidth=2.5, solid_capstyle="round")
            wide = [100 * row.get(f"classes_{end}", math.nan) for end in ("low", "high")]
            ax.plot(wide, [y, y], color=colour, linewidth=1)
            face = colour if sure[y] else "white"
            ax.plot(100 * row["difference"], y, "o", color=colour, markerfacecolor=face, markersize=7, zorder=3)
        ax.set_yticks(rows.index, ["\n".join(textwrap.wrap(text, 30)) for text in rows[label]])
        ax.set(ylim=(-0.6, len(rows) - 0.4))
        if titles:
            ax.set_title(of, loc="left", fontweight="bold")
    axes[-1, 0].set_xlabel(xlabel)
    marks = [
        Line2D([], [], color=filled, marker="o", linewidth=2.5, label="differs after Holm's correction"),
        Line2D([], [], color=hollow, marker="o", markerfacecolor="white", linewidth=2.5, label="does not"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure
