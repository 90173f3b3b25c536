"""Accuracies with their intervals, and verdicts in words."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from lgca_book.style import (
    LGCAS,
    NOT_AVAILABLE,
    bold,
    gain,
    name,
    over_classes,
    p_value,
    signed,
    simple_table,
    subplots,
)
from lgca_core.evaluation.paper_values import table as published_table
from lgca_core.evaluation.record import Record, load_found


def accuracy(table: pd.DataFrame) -> Figure:
    """Top-1 of `statistics.summary` with its 95 % interval, a dot a method, encoder passes beside the name."""
    figure, ax = subplots(figsize=(7, 0.42 * len(table) + 1.1), layout="constrained")
    order = table.iloc[::-1].reset_index(drop=True)
    baseline = order["difference"].isna()
    colours = [sns.color_palette()[1] if own else sns.color_palette()[0] for own in baseline]
    for y, row in order.iterrows():
        ax.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colours[y], linewidth=2.5, solid_capstyle="round")
    ax.scatter(100 * order["top1"], order.index, c=colours, zorder=3, s=46)
    ax.set_yticks(order.index, [f"{name(m)}  ({p:.0f})" for m, p in zip(order["method"], order["passes"])])
    ax.set(
        xlabel="top-1 accuracy, % (95 % interval); in brackets: encoder passes an image", ylim=(-0.6, len(order) - 0.4)
    )
    return figure


def accuracy_table(table: pd.DataFrame, caption: str) -> Styler:
    """`statistics.summary` as a page shows it: percentages, intervals, the best value and those tied with it in bold.

    Tied is `statistics.tied_with_best`: the 95 % paired interval of the best minus the row holds zero. A result
    at chance is never bold.
    """
    shown = pd.DataFrame(
        {
            "method": table["method"].map(name),
            "top-1, %": [
                f"{100 * v:.1f}" + ("" if np.isnan(std) else f" ± {100 * std:.1f}")
                for v, std in zip(table["top1"], table["std"])
            ],
            "95 % interval": [f"{100 * a:.1f} to {100 * b:.1f}" for a, b in zip(table["low"], table["high"])],
            "passes": [f"{v:.0f}" for v in table["passes"]],
            "against WCA": ["–" if np.isnan(row["difference"]) else gain(row) for _, row in table.iterrows()],
            "over classes": [over_classes(row) for _, row in table.iterrows()],
            "p (Holm, this table)": table["p_holm"].map(p_value),
        }
    )
    return simple_table(shown, caption).apply(bold, where=table["tied"].to_numpy(), subset=["top-1, %"])


def baseline(record: Record) -> str | None:
    """WCA, which the others are compared with, where a record has it."""
    return "wca" if any(run.method == "wca" for run in record.runs) else None


def verdict(table: pd.DataFrame, dataset: str, baseline: str = "wca") -> str:
    """What `statistics.summary` says of LGCA against the baseline on a data set, in sentences of HTML, whichever way it
    came out: above or below where the interval over classes says so (of one class that over pictures)."""
    rows = table.set_index("method")
    if baseline not in rows.index:
        return f"On <code>{html.escape(dataset)}</code> {name(baseline)} was not run, so nothing is compared with it."
    said = []
    for method in LGCAS:
        if method not in rows.index:
            continue
        row = rows.loc[method]
        known = not np.isnan(row["classes_low"])
        low, high = (row[f"{'classes' if known else 'difference'}_{end}"] for end in ("low", "high"))
        if low > 0:
            relation = "above"
        elif high < 0:
            relation = "below"
        else:
            relation = "not distinguishable from"
        said.append(
            f"<strong>{name(method)}</strong> ({row['passes']:.0f} passes a picture): {100 * row['top1']:.1f}&nbsp;%, "
            f"{relation} {name(baseline)}'s {100 * rows.loc[baseline, 'top1']:.1f}&nbsp;% "
            f"({rows.loc[baseline, 'passes']:.0f} passes); difference {gain(row)} points"
            f"{f', over classes {over_classes(row)}' if known else ''}."
        )
    return " ".join([f"On <code>{html.escape(dataset)}</code>:", *said]) if said else ""


def crops_bias(table: pd.DataFrame, dataset: str) -> str:
    """WCA minus CLIP here beside the published gaps, in a sentence of HTML; "" where one of them was not run."""
    rows = table.set_index("method")["top1"]
    if not {"wca", "clip"} <= set(rows.index):
        return ""
    wide = published_table().pivot_table(index=["dataset", "backbone"], columns="method", values="top1_percent")
    gaps = (wide["WCA"] - wide["CLIP"]).dropna()
    return (
        f"WCA minus CLIP is {signed(rows['wca'] - rows['clip'])} points on <code>{html.escape(dataset)}</code>; in "
        f"WCA's paper it is {gaps.min():+.1f} to {gaps.max():+.1f}, with a median of {gaps.median():+.1f}."
    )


def sentence_about_temperatures(spread: pd.DataFrame) -> str:
    """What a temperature makes of one deviation of the cosines here (`cosine_spread`), and what is not known."""
    each = [
        f"a {row['cosine'].split(' and ')[0]} one deviation above the mean weighs "
        f"{np.exp(row['temperature x deviation']):.1f} times one at the mean"
        for _, row in spread.iterrows()
    ]
    return (
        f"Here {' and '.join(each)}. Whether that is so with OpenAI's weights is *not available*: it needs these "
        "weights and photographs, and no accuracy says anything about it. The same table of your own record: "
        "`papermill book/table1.ipynb mine.ipynb -p records RECORD`."
    )


def trained_again(folder: Path | str, profile: str) -> dict[str, tuple[Record, pd.DataFrame]]:
    """The records of the embedded encoder trained with other seeds, as far as they are there: "seed 2" of
    ``folder/seed-2``. None in another profile, whose encoder they are not of."""
    found = load_found(folder) if profile == "embedded" else {}
    return {place.replace("-", " "): one for place, one in found.items()}


def training_seeds(tables: Mapping[str, pd.DataFrame]) -> Styler:
    """Top-1 in percent by method (rows) and trained encoder (columns), and LGCA minus WCA, of one summary each."""
    known = {label: table.set_index("method") for label, table in tables.items()}
    first = next(iter(known.values()))
    columns = {label: table["top1"] * 100 for label, table in known.items()}
    frame = pd.DataFrame(columns).loc[first.index].map(lambda top1: f"{top1:.1f}", na_action="ignore")
    for method in LGCAS:
        if method in first.index:
            row = {label: gain(table.loc[method]) if method in table.index else None for label, table in known.items()}
            frame.loc[f"{name(method)}, minus WCA"] = row
    frame.insert(0, "method", [name(method) for method in frame.index])
    caption = "Top-1 accuracy, %, by training seed of the embedded encoder; differences in points, with 95 % intervals"
    return simple_table(frame, caption).format(na_rep=NOT_AVAILABLE)


def sentence_about_precisions(records: Mapping[str, tuple[Record, pd.DataFrame]]) -> str:
    """In which precision each training was evaluated; "" where it is one for all."""
    by = {label: record.encoder.precision for label, (record, _) in records.items()}
    if len(set(by.values())) < 2:
        return ""
    each = ", ".join(f"{label} in {precision}" for label, precision in by.items())
    return f"One thing else differs, the precision: {each}. [Speed](speed.ipynb) says what that moves."


def training_verdict(tables: Mapping[str, pd.DataFrame]) -> str:
    """What other training seeds say of LGCA at equal passes against WCA, in a sentence of HTML; "" without any."""
    known = [table.set_index("method").loc["lgca-equal"] for table in tables.values()]
    if not known:
        return ""
    gains = " and ".join(gain(row) for row in known)
    return f"With the same encoder trained from other seeds, {name('lgca-equal')} minus WCA is {gains} points."
