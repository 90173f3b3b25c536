"""Paired tests over all comparisons, what so many pictures can show, and what training moves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from pandas.io.formats.style import Styler

from lgca_book.style import gain, minus, name, over_classes, p_value, signed, simple_table, subplots

LEVELS = (0.05, 0.01, 0.001)
FEW = 8
"""Methods up to which a matrix has room for its differences."""


def label(method: str) -> str:
    """A method's name with its settings, long fractions cut to two digits."""
    return re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", name(method))


def p_words(p: float) -> str:
    """A p value within a sentence: "p < 0.001"."""
    return f"p {p_value(p)}" if p < LEVELS[-1] else f"p = {p_value(p)}"


# ---- all comparisons -----------------------------------------------------------------------------------------


def matrix(table: pd.DataFrame) -> Figure:
    """Every pair of one record of `significance.all_pairs`: which is better, and how clearly, Holm-corrected.

    The methods by their accuracy, best first; a cell compares its row with its column. Of more than :data:`FEW` methods
    only the numbers are shown, for :func:`key` to explain.
    """
    methods = _by_accuracy(table)
    n = len(methods)
    at = {method: k for k, method in enumerate(methods)}
    grid = np.full((n, n), np.nan)
    texts = []
    for row in table.to_dict("records"):
        i, j = at[row["method"]], at[row["baseline"]]
        level = sum(row["p_holm"] < bound for bound in LEVELS)
        grid[max(i, j), min(i, j)] = level
        texts.append((min(i, j), max(i, j), signed(-abs(row["difference"])), level))
    few = n <= FEW
    side = 0.56 if few else 0.23
    figure, ax = subplots(figsize=((2.2 if few else 0.7) + side * n, 1.2 + side * n), layout="constrained")
    blues = sns.color_palette("light:#0173b2", 6)
    shades = ["#eeeeee", blues[2], blues[4], blues[5]]
    norm = BoundaryNorm(np.arange(len(shades) + 1) - 0.5, len(shades))
    ax.imshow(np.ma.masked_invalid(grid), cmap=ListedColormap(shades), norm=norm)
    if few:
        for x, y, text, level in texts:
            ax.text(x, y, text, ha="center", va="center", fontsize="small", color="white" if level > 1 else "black")
    numbers = range(1, n + 1)
    ax.set_yticks(
        range(n), [f"{label(m)}  {k}" for m, k in zip(methods, numbers)] if few else numbers, fontsize="small"
    )
    ax.set_xticks(range(n), numbers, fontsize="small")
    ax.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    ax.grid(False)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    words = ["p ≥ 0.05", "p < 0.05", "p < 0.01", "p < 0.001"]
    handles = [Patch(color=shade, label=word) for shade, word in zip(shades, words)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def key(table: pd.DataFrame) -> str:
    """The numbered methods of a :func:`matrix` that has no room for their names, as Markdown; else nothing."""
    methods = _by_accuracy(table)
    return "" if len(methods) <= FEW else ", ".join(f"**{k}** {label(method)}" for k, method in enumerate(methods, 1))


def _by_accuracy(table: pd.DataFrame) -> list[str]:
    """The methods of a record's pairs, best first: a method's mean difference to all others orders them."""
    better = table.groupby("method")["difference"].sum()
    worse = table.groupby("baseline")["difference"].sum()
    methods = list(dict.fromkeys([*table["method"], *table["baseline"]]))
    return sorted(methods, key=lambda method: worse.get(method, 0.0) - better.get(method, 0.0))


def matrix_alt(table: pd.DataFrame) -> str:
    """A matrix in words."""
    methods = _by_accuracy(table)
    clear = int((table["p_holm"] < LEVELS[0]).sum())
    return (
        f"A triangle of {len(table)} pairs of {len(methods)} methods, from {label(methods[0])}, the best, to "
        f"{label(methods[-1])}; {clear} pairs are shaded as different at 0.05 after correction"
    )


def by_record(table: pd.DataFrame) -> Styler:
    """A row a record: how many pairs, how many differ before and after the correction, and by how much."""
    rows = []
    for record, own in table.groupby("record", sort=False):
        found = own["p_holm"] < LEVELS[0]
        rows.append(
            {
                "record": record,
                "pictures": own["pictures"].iloc[0],
                "pairs": len(own),
                "p < 0.05": int((own["p"] < LEVELS[0]).sum()),
                "after Holm": int(found.sum()),
                "least found": _points(own[found]["difference"].min()),
                "largest not found": _points(own[~found]["difference"].max()),
                "discordant": f"{own['discordance'].median():.1%}",
            }
        )
    return simple_table(
        pd.DataFrame(rows),
        "All pairs of all records: the least difference found and the largest not found, in points; median discordance",
        compact=True,
    )


def _points(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f}"


def every_pair(table: pd.DataFrame) -> HTML:
    """All pairs as a table to unfold."""
    shown = pd.DataFrame(
        {
            "method": table["method"].map(label),
            "against": table["baseline"].map(label),
            "record": table["record"],
            "difference, points": [gain(row) for _, row in table.iterrows()],
            "over classes": [over_classes(row) for _, row in table.iterrows()],
            "discordance": [f"{share:.1%}" for share in table["discordance"]],
            "p": [p_value(p) for p in table["p"]],
            "p (Holm)": [p_value(p) for p in table["p_holm"]],
        }
    )
    inside = simple_table(shown, "Every pair, the better method first").to_html()
    return HTML(f'<details class="every-pair"><summary>All {len(table)} comparisons</summary>{inside}</details>')


def sentence_about_all(table: pd.DataFrame) -> str:
    """What the correction leaves of all comparisons, in a sentence."""
    once = table[~table["repeated"]]
    before, after = (int((once[p] < LEVELS[0]).sum()) for p in ("p", "p_holm"))
    repeated = int(table["repeated"].sum())
    twice = f" ({repeated} more stand in two records and are counted once)" if repeated else ""
    return (
        f"{len(once)} comparisons{twice}. If no two methods differed at all, at most {LEVELS[0] * len(once):.0f} of "
        f"them would fall below {LEVELS[0]} by chance in the mean; {before} do, and **{after} remain after Holm's "
        "correction** over all."
    )


def both_there(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs of which a record has both methods; `table` is its rows of `significance.all_pairs`."""
    known = {*table["method"], *table["baseline"]}
    return [pair for pair in pairs if known.issuperset(pair)]


def sentences_about_chosen(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> str:
    """The comparisons that this book is about, a line of Markdown each, record by record."""
    lines = []
    for method, baseline in pairs:
        either = (table["method"] == method) & (table["baseline"] == baseline)
        other = (table["method"] == baseline) & (table["baseline"] == method)
        for row in table[(either | other) & ~table["repeated"]].to_dict("records"):
            less = row["method"] == baseline
            if less:
                row = _turned(row)
            also = f". Over classes: {over_classes(row)}, {p_words(row['p_classes'])}"
            also = "" if np.isnan(row["p_classes"]) else also
            verdict = "different" if row["p_holm"] < LEVELS[0] else "not told apart"
            lines.append(
                f"- {label(method)} minus {label(baseline)} on `{row['record']}`: {gain(row)} points, "
                f"{p_words(row['p'])}, after Holm {p_value(row['p_holm'])}: {verdict}{also}."
            )
    return "\n".join(lines)


def _turned(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a comparison, the other way round."""
    turned = {"difference": -row["difference"]}
    for of in ("difference", "classes"):
        turned |= {f"{of}_low": -row[f"{of}_high"], f"{of}_high": -row[f"{of}_low"]}
    return row | turned


# ---- power ---------------------------------------------------------------------------------------------------


def resolution(table: pd.DataFrame) -> Figure:
    """`significance.resolution`: the smallest difference that is found, a row a data set, the smallest set first."""
    sets = table.drop_duplicates("dataset").sort_values("pictures", ascending=False)
    at = {dataset: y for y, dataset in enumerate(sets["dataset"])}
    figure, ax = subplots(figsize=(5.6, 0.34 * len(sets) + 2.2), layout="constrained")
    for (of, own), colour in zip(table.groupby("of", sort=False), sns.color_palette()):
        y = own["dataset"].map(at)
        share = own["discordance"].iloc[0]
        ax.plot(100 * own["detectable"], y, "o", color=colour, label=f"{_both(of)} ({share:.0%} discordant)")
        ax.plot(
            100 * own["corrected"], y, "D", color=colour, markerfacecolor="none", label="the same, Holm's strictest"
        )
    ax.set_yticks(list(at.values()), [f"{d} ({n:,})" for d, n in zip(sets["dataset"], sets["pictures"])])
    ticks = [0.5, 1, 2, 3, 5, 10]
    ax.set(xscale="log", xlabel="smallest difference found 80 times in 100, points")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize="small")
    return figure


def _both(pair: str) -> str:
    return " and ".join(label(method) for method in pair.split(" and "))


def sentences_about_resolution(table: pd.DataFrame, dataset: str) -> str:
    """What the pictures of one data set resolve, and what the largest of the others do, in sentences."""

    def rows(of: str) -> str:
        return ", ".join(
            f"{_found(row['detectable'])} points ({_found(row['corrected'])} under the strictest of Holm's tests) "
            f"between {_both(row['of'])}, which differ on {row['discordance']:.1%}"
            for row in table[table["dataset"] == of].to_dict("records")
        )

    most = table.loc[table["pictures"].idxmax(), "dataset"]
    counts = table.drop_duplicates("dataset").set_index("dataset")["pictures"]
    return (
        f"On `{dataset}`, {counts[dataset]:,} pictures, the smallest difference that is found four times in five is "
        f"{rows(dataset)}. **Smaller ones are there or not; this world cannot say.** On `{most}`, {counts[most]:,} "
        f"pictures, it would be, with as large a share of discordant pictures: {rows(most)}."
    )


def _found(share: float) -> str:
    return "no number of" if np.isnan(share) else f"{100 * share:.1f}"


def gaps(table: pd.DataFrame, what: str) -> Figure:
    """`significance.published_gaps`: a dot a backbone, over the band that so many pictures cannot resolve."""
    sets = list(dict.fromkeys(table["dataset"]))[::-1]
    figure, ax = subplots(figsize=(5.6, 0.38 * len(sets) + 1.9), layout="constrained")
    for y, dataset in enumerate(sets):
        edge = 100 * table[table["dataset"] == dataset]["detectable"].iloc[0]
        ax.barh(
            y, 2 * edge, left=-edge, height=0.7, color="0.88", label="not found 80 times in 100" if y == 0 else None
        )
    ax.axvline(0, color="0.3", linewidth=1)
    for (backbone, own), colour, marker in zip(table.groupby("backbone", sort=False), sns.color_palette(), "os^D"):
        rows = [sets.index(dataset) for dataset in own["dataset"]]
        ax.scatter(100 * own["gap"], rows, color=colour, marker=marker, s=42, zorder=3, label=backbone)
    counts = table.drop_duplicates("dataset").set_index("dataset")["pictures"]
    ax.set_yticks(range(len(sets)), [f"{dataset} ({counts[dataset]:,})" for dataset in sets])
    ax.set(xlabel=f"{what}, points, as published", ylim=(-0.6, len(sets) - 0.4))
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def gaps_table(table: pd.DataFrame) -> Styler:
    """`significance.published_gaps` as a page shows it."""
    shown = pd.DataFrame(
        {
            "data set": table["dataset"],
            "backbone": table["backbone"],
            "pictures": [f"{n:,}" for n in table["pictures"]],
            "gap": [minus(f"{100 * gap:+.2f}") for gap in table["gap"]],
            "least found": [f"{100 * least:.2f}" for least in table["detectable"]],
            "the gap": table["verdict"].map({"exceeds": "exceeds it", "below": "is below it"}),
            "found up to a discordance of": [_most(most) for most in table["most"]],
        }
    )
    return simple_table(shown, "Published gaps in points, and what a paired test on so many pictures would find")


def _most(discordance: float) -> str:
    if np.isnan(discordance):
        return "never found"
    return "any" if discordance == 1 else f"{discordance:.0%}" if discordance >= 0.1 else f"{discordance:.1%}"


def sentence_about_gaps(table: pd.DataFrame, discordance: float) -> str:
    """Which published gaps exceed what their pictures can resolve, in sentences."""
    below = table[table["verdict"] == "below"]
    listed = ", ".join(f"{row['dataset']} with {row['backbone']}" for row in below.to_dict("records"))
    verdict = (
        f"**{len(table) - len(below)} of {len(table)} published gaps exceed it.** Below it: {listed}."
        if len(below)
        else f"**All {len(table)} published gaps exceed it.**"
    )
    return (
        f"Assume that the two methods differ on {discordance:.1%} of the pictures, as they do here. {verdict} That is "
        "our estimate, from another encoder and another world. The last column does without the assumption: a gap "
        "would be found four times in five as long as the methods differ on no larger a share than that."
    )


def sentence_about_deviation(table: pd.DataFrame) -> str:
    """The published ± beside what another draw of pictures would do, in sentences."""
    known = table[table["std"].notna()]
    std, sampling, ratio = 100 * known["std"], 100 * known["sampling"], known["sampling"] / known["std"]
    return (
        f"WCA's published ± is {std.min():.2f} to {std.max():.2f} points. Its standard error from picture to picture, "
        f"which another test set of the same size would show, is {sampling.min():.2f} to {sampling.max():.2f}: "
        f"**{ratio.min():.0f} to {ratio.max():.0f} times as large**. (Of a difference on the same pictures it is "
        "smaller, since what is hard for one method is hard for the other.)"
    )


# ---- training ------------------------------------------------------------------------------------------------


def trainings(table: pd.DataFrame) -> Figure:
    """`significance.by_training`: differences with their intervals over pictures, by pair and training."""
    pairs = list(dict.fromkeys(zip(table["method"], table["baseline"])))
    runs = list(dict.fromkeys(table["training"]))
    figure, ax = subplots(figsize=(5.4, 0.26 * len(pairs) * (len(runs) + 1) + 1.4), layout="constrained")
    ax.axvline(0, color="0.3", linewidth=1)
    step = 0.8 / len(runs)
    for run, colour in zip(runs, sns.color_palette()):
        own = table[table["training"] == run]
        y = [
            -pairs.index(pair) - step * (runs.index(run) - (len(runs) - 1) / 2)
            for pair in zip(own["method"], own["baseline"])
        ]
        for height, row in zip(y, own.to_dict("records")):
            ends = [100 * row["difference_low"], 100 * row["difference_high"]]
            ax.plot(ends, [height, height], color=colour, linewidth=2.2, solid_capstyle="round")
        ax.scatter(100 * own["difference"], y, color=colour, s=36, zorder=3, label=run)
    ax.set_yticks([-k for k in range(len(pairs))], [f"{name(a)}\nless {name(b)}" for a, b in pairs])
    ax.set(xlabel="difference of accuracy, points\n(95 % interval over pictures)")
    ax.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def training_table(table: pd.DataFrame) -> Styler:
    """`significance.spread_of_training` in points."""
    shown = pd.DataFrame(
        {
            "difference of": [f"{name(a)} minus {name(b)}" for a, b in zip(table["method"], table["baseline"])],
            "mean, points": table["difference"].map(signed),
            "± over trainings": [f"{100 * std:.1f}" for std in table["over_trainings"]],
            "95 % interval of that ±": [f"{100 * a:.1f} to {100 * b:.1f}" for a, b in zip(table["low"], table["high"])],
            "error over pictures": [f"{100 * error:.1f}" for error in table["over_pictures"]],
            "error over draws of crops": ["–" if np.isnan(e) else f"{100 * e:.1f}" for e in table["over_seeds"]],
            "one sign": ["yes" if same else "no" for same in table["same_sign"]],
        }
    )
    return simple_table(shown, "How far a difference moves with the training of the encoder, beside its other errors")


def sentences_about_training(table: pd.DataFrame) -> str:
    """What the trainings say of every pair, in sentences."""
    trainings = table["trainings"].iloc[0]
    beyond = table[table["over_trainings"] > table["over_pictures"]]
    sure = table[table["same_sign"]]
    pairs = "; ".join(f"{name(row['method'])} minus {name(row['baseline'])}" for row in sure.to_dict("records"))
    widest = (table["high"] / table["over_trainings"]).max()
    surer = ", so a test on one encoder's answers is surer of itself than it should be of *encoders like it*"
    surer = surer if len(beyond) else ""
    return (
        f"{len(beyond)} of {len(table)} differences move more from training to training than their error over pictures "
        f"says{surer}. With {trainings} trainings that is a hint and no finding: the true ± may be up to {widest:.1f} "
        f"times as large as it came out, or smaller. The sign is the same in all {trainings} for: {pairs or 'none'}."
    )
