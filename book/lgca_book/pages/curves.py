"""Curves: scores and margins by step."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lgca_book.style import subplots, with_sign


def scores_by_step(scores: pd.DataFrame) -> Figure:
    """`crop_ancestry.scores_of` of one picture: a line a class, the true one thicker."""
    figure, ax = subplots(figsize=(7, 3.8), layout="constrained")
    for (label, own), colour in zip(scores.groupby("class", sort=False), sns.color_palette()):
        true = bool(own["true"].iloc[0])
        mark: dict[str, Any] = (
            {"linewidth": 3.2, "marker": "o"} if true else {"linewidth": 1.4, "marker": "s", "markersize": 4}
        )
        ax.plot(own["step"], own["score"], color=colour, label=f"{label} (true)" if true else label, **mark)
    ax.set_xticks(sorted(scores["step"].unique()))
    ax.set(xlabel="expansion step t", ylabel="score of the step (cosine units)")
    figure.legend(fontsize="small", loc="outside lower center", ncols=2, frameon=False)
    return figure


def margins_by_step(chains: pd.DataFrame) -> Figure:
    """Effect of expansion on crops: share whose best class is the true one, and their mean margin, by step.

    `chains` is `crop_ancestry.lineages`' frame; intervals are 95 % bootstraps over pictures' means.
    """
    by_picture = (
        chains.assign(right=100.0 * chains["right"])
        .groupby(["picture", "step"], as_index=False)[["right", "margin"]]
        .mean()
    )
    figure, axes = subplots(1, 2, figsize=(7.4, 3.1), layout="constrained")
    for ax, column, label in (
        (axes[0], "right", "best class is the true one, %"),
        (axes[1], "margin", "mean margin (cosine units)"),
    ):
        sns.lineplot(by_picture, x="step", y=column, marker="o", errorbar=("ci", 95), seed=0, ax=ax)
        ax.set(xlabel="expansion step t", ylabel=label, xticks=sorted(chains["step"].unique()))
    return figure


def turned(chains: pd.DataFrame) -> str:
    """Whether expansion mends crops as a rule, in a sentence, whichever way it came out."""
    counts = turning(chains).set_index("lineages that are")["count"]
    right, wrong = int(counts["turns right"]), int(counts["turns wrong"])
    means = chains.groupby("step")["margin"].mean()
    if right == wrong:
        answer = "**Neither**: as many lineages turn right as turn wrong"
    else:
        answer = "**The rule**: more" if right > wrong else "**The exception**: fewer"
        answer += " lineages turn right than turn wrong"
    still = int(counts["wrong from first to last"])
    return (
        f"{answer}, {right:,} against {wrong:,} of {counts.sum():,}; {still:,} stay wrong. The mean margin goes from "
        f"{with_sign(means.iloc[0], 3)} to {with_sign(means.iloc[-1], 3)}."
    )


def turning(chains: pd.DataFrame) -> pd.DataFrame:
    """How many lineages are right or wrong at the first and at the last step."""
    wide = chains.pivot_table(index=["picture", "lineage"], columns="step", values="right", aggfunc="first").astype(
        bool
    )
    first, last = wide.iloc[:, 0], wide.iloc[:, -1]
    kinds = {
        "right from first to last": first & last,
        "turns right": ~first & last,
        "turns wrong": first & ~last,
        "wrong from first to last": ~first & ~last,
    }
    rows = [
        {"lineages that are": kind, "count": int(own.sum()), "share of all": own.mean()} for kind, own in kinds.items()
    ]
    return pd.DataFrame(rows)
