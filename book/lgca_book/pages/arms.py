"""What the pages on related systems draw, tabulate and say of their arms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas.io.formats.style import Styler

from lgca_book import style
from lgca_book.studies.related_arms import Runs, differs

VERDICTS = {"better": "is better than", "worse": "is worse than", "open": "cannot be told from"}
"""Those of `with_verdicts` in words."""


def arms_figure(table: pd.DataFrame, column: str, label: str, over: str, names: Mapping[str, str]) -> Figure:
    """A row an arm: ``column`` (0 to 1, or a sum of such) in percent, its interval, and the spread of its seeds.

    ``over`` says of what the interval is, such as "queries".
    """
    figure, ax = style.subplots(figsize=(6.4, 0.42 * len(table) + 1.3), layout="constrained")
    rows = table.iloc[::-1].reset_index(drop=True)
    blue, orange = sns.color_palette()[0], sns.color_palette()[1]
    for y, row in rows.iterrows():
        ax.plot([100 * row["low"], 100 * row["high"]], [y, y], color=blue, linewidth=2.5, solid_capstyle="round")
        ax.plot(100 * row[column], y, "o", color=blue, markersize=7, zorder=3)
        if row["seeds"] > 1:
            ends = [100 * (row[column] - row["std"]), 100 * (row[column] + row["std"])]
            ax.plot(ends, [y - 0.22, y - 0.22], color=orange, linewidth=2)
    ax.set_yticks(rows.index, [names.get(arm, arm) for arm in rows["arm"]])
    ax.set(xlabel=label)
    marks = [
        Line2D([], [], color=blue, marker="o", linewidth=2.5, label=f"95 % interval over {over}"),
        Line2D([], [], color=orange, linewidth=2, label="± over seeds"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def losses_figure(losses: pd.DataFrame, terms: Sequence[str], scale: str = "linear") -> Figure:
    """The terms of a training's loss, step by step."""
    figure, ax = style.subplots(figsize=(5.6, 3.2), layout="constrained")
    every = max(1, len(losses) // 12)
    for term, mark in zip(terms, "os^D", strict=False):
        ax.plot(losses["step"], losses[term], marker=mark, markevery=every, markersize=4, label=term)
    ax.set(xlabel="step", ylabel="loss", yscale=scale)
    ax.legend(frameon=False, ncols=2, fontsize="small")
    return figure


def differences_figure(frame: pd.DataFrame, label: str, over: str, names: Mapping[str, str]) -> Figure:
    """A row a comparison: the difference with its interval over queries, and that over seeds below it.

    ``over`` says of what the first is, such as "queries".
    """
    figure, ax = style.subplots(figsize=(6.6, 0.55 * len(frame) + 1.4), layout="constrained")
    rows = frame.iloc[::-1].reset_index(drop=True)
    sure = differs(rows)
    blue, orange = sns.color_palette()[0], sns.color_palette()[1]
    ax.axvline(0, color="0.35", linewidth=1)
    for y, row in rows.iterrows():
        for at, low, high, colour in (
            (y + 0.12, "difference_low", "difference_high", blue),
            (y - 0.12, "seeds_low", "seeds_high", orange),
        ):
            ax.plot([100 * row[low], 100 * row[high]], [at, at], color=colour, linewidth=2.5, solid_capstyle="round")
        face = "black" if sure[y] else "white"
        ax.plot(100 * row["difference"], y, "o", color="black", markerfacecolor=face, markersize=7, zorder=3)
    ax.set_yticks(
        rows.index,
        [
            f"{names.get(row['arm'], row['arm'])}\nminus {names.get(row['baseline'], row['baseline'])}"
            for _, row in rows.iterrows()
        ],
    )
    ax.set(xlabel=label, ylim=(-0.6, len(rows) - 0.4))
    marks = [
        Line2D([], [], color=blue, linewidth=2.5, label=f"over {over}"),
        Line2D([], [], color=orange, linewidth=2.5, label="over trainings"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def both_intervals(row: pd.Series) -> str:
    """A difference in points with both of its intervals; the second unless it has no width: nothing is trained."""
    low, high = row["seeds_low"], row["seeds_high"]
    if low == high:
        return style.gain(row)
    seeds = style.NOT_AVAILABLE if pd.isna(low) else f"{style.signed(low)} to {style.signed(high)}"
    return f"{style.gain(row)}; over trainings {seeds}"


def sentence_about_records(runs: Runs, fixed: Collection[str]) -> str:
    """Which trainings the page reads, in Markdown. In ``fixed`` arms nothing is trained."""
    trained = {arm: of for arm, of in runs.items() if arm not in fixed}
    if not trained:
        return f"*The records of the arms are {style.NOT_AVAILABLE}: `make related` makes them.*"
    records = [record for of in trained.values() for record, _ in of]
    seeds = sorted({len(of) for of in trained.values()})
    hours = sum(record.outcome["seconds"] for record in records) / 3600
    told = " to ".join(map(str, dict.fromkeys([seeds[0], seeds[-1]])))
    return (
        f"This page reads {len(records)} trainings of {len(trained)} arms, {told} seeds each, made on "
        f"{max(record.utc for record in records):%Y-%m-%d} on {records[0].device.partition(':')[0].upper()}s "
        f"({hours:.1f} hours of one core), tested on {records[0].captions.count} pictures."
    )


def accuracies_table(table: pd.DataFrame, methods: Sequence[str], names: Mapping[str, str]) -> Styler:
    """Top-1 of the methods with each arm's encoders."""
    shown = pd.DataFrame({"encoder": [names.get(arm, arm) for arm in table["arm"]]})
    for method in [method for method in methods if method in table]:
        shown[style.name(method)] = table[method].map("{:.1%}".format)
    return style.simple_table(shown, "Top-1 on the aviary's test pictures with each arm's encoder")


def changes_table(changes: pd.DataFrame, methods: Sequence[str], names: Mapping[str, str]) -> Styler:
    """`changes_of_methods`: a row a pair of encoders, a column a method; bold where both intervals leave zero."""
    rows = []
    for (arm, baseline), of in changes.groupby(["arm", "baseline"], sort=False):
        by_method = of.set_index("method")
        pair = f"{names.get(arm, arm)} − {names.get(baseline, baseline)}"
        rows.append({"encoders": pair} | {style.name(m): style.gain(by_method.loc[m]) for m in methods})
    sure = differs(changes).to_numpy().reshape(len(methods), -1)  # methods one after the other
    table = style.simple_table(pd.DataFrame(rows), "Points of top-1 (95 % over pictures)", compact=True)
    for n, method in enumerate(methods):
        table = table.apply(style.bold, where=sure[n], subset=[style.name(method)])
    return table


def gains_table(frame: pd.DataFrame, names: Mapping[str, str]) -> Styler:
    """What crops gain with each encoder: a row an encoder and pair of methods."""
    shown = pd.DataFrame(
        {
            "encoder": [names.get(arm, arm) for arm in frame["encoder"]],
            "methods": [f"{style.name(row['arm'])} − {style.name(row['baseline'])}" for _, row in frame.iterrows()],
            "points (95 % over pictures)": [style.gain(row) for _, row in frame.iterrows()],
        }
    )
    return style.simple_table(shown, "What crops gain with each encoder")


def sentence_about_methods(changes: pd.DataFrame, arm: str, methods: Sequence[str], names: Mapping[str, str]) -> str:
    """Whether methods are better with an arm's encoder than with others', a line each, in Markdown.

    ``changes`` are `changes_of_methods` with verdicts.
    """
    if changes.empty:
        return f"*{style.NOT_AVAILABLE.capitalize()}: no arm's encoder has classified pictures.*"
    lines = []
    for method in methods:
        rows = changes[(changes["method"] == method) & (changes["arm"] == arm)]
        told = [
            f"**{VERDICTS[row['verdict']]}** {style.name(method)} with {names.get(row['baseline'], row['baseline'])}: "
            f"{both_intervals(row)}"
            for _, row in rows.iterrows()
        ]
        with_arm = f"{style.name(method)} with {names.get(arm, arm)}"
        lines.append(f"- {with_arm} {'. It '.join(told) or style.NOT_AVAILABLE}.")
    return "\n".join(lines)
