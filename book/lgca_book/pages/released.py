"""WCA as written beside WCA as released: what each difference changes, drawn and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from PIL import Image
from torch import Tensor

from lgca_book.pages.differences import forest
from lgca_book.pages.significance import p_words
from lgca_book.studies.resize_variants import Cut
from lgca_book.studies.wca_released import PoolVariance, SharedNames, relative
from lgca_book.style import NOT_AVAILABLE, gain, minus, name, p_value, signed, simple_table, subplots
from lgca_core.data.source import Source
from lgca_core.wca import WCA

USUAL = (375, 224)
"""Shorter side of a picture and size of an encoder, in pixels, as they often are in the papers."""


def sentence_about_reseeding(row: pd.Series) -> str:
    """A sentence on `wca_released.reseeded`."""
    return (
        f"Between two of WCA's {row['seeds']:.0f} seeds {_changed(row)} differ in the mean. The second seed against "
        f"the first: {gain(row)} points of accuracy."
    )


def sentence_about_change(row: pd.Series, what: str, again: pd.Series) -> str:
    """A row of `wca_released.changes` in a sentence, whichever way it came out, beside `again`, of another seed."""
    low, high = row["difference_low"], row["difference_high"]
    verdict = "costs accuracy" if high < 0 else "gains accuracy" if low > 0 else "no difference that shows"
    seeds = "one seed" if row["seeds"] == 1 else f"mean over {row['seeds']:.0f} seeds"
    beside = "where another seed alone changes none"
    if again["changed"]:
        more = row["changed"] / row["pictures"] / (again["changed"] / again["pictures"])
        beside = f"{more:.1f} times as many as another seed alone"
    return (
        f"{what} changes {_changed(row)} ({seeds}), {beside}. Accuracy: "
        f"{gain(row)} points, **{verdict}** ({p_words(row['p'])}, uncorrected)."
    )


def _changed(row: pd.Series) -> str:
    return f"{row['changed']:.0f} of {row['pictures']:.0f} predictions ({row['changed'] / row['pictures']:.1%})"


def deviations(table: pd.DataFrame) -> Figure:
    """`wca_released.deviations`: the deviation over seeds with its interval, and what the pictures' own flips give."""
    figure, ax = subplots(figsize=(5, 0.6 * len(table) + 1.7), layout="constrained")
    colour, other = sns.color_palette()[:2]
    order = table.iloc[::-1].reset_index(drop=True)
    for y, row in order.iterrows():
        ax.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colour, linewidth=2.5, solid_capstyle="round")
    ax.scatter(100 * order["std"], order.index, color=colour, s=50, zorder=3, label="over seeds, 95 % interval")
    ax.scatter(
        100 * order["by_picture"], order.index, color=other, marker="D", s=40, zorder=3,
        label="from the flips of single pictures",
    )  # fmt: skip
    ax.set_yticks(order.index, [_lines(method) for method in order["method"]])
    ax.set(xlabel="standard deviation of accuracy, points", xlim=(0, None), ylim=(-0.6, len(order) - 0.4))
    figure.legend(fontsize="small", loc="outside lower center", ncols=1, frameon=False)
    return figure


def _lines(method: str) -> str:
    """A method's name with its settings below it."""
    return name(method).replace("; ", "\n", 1)


def deviations_table(table: pd.DataFrame) -> Styler:
    """`wca_released.deviations` in points."""
    shown = pd.DataFrame(
        {
            "method": table["method"].map(name),
            "draws": table["seeds"],
            "top-1, %": [f"{100 * top1:.1f}" for top1 in table["top1"]],
            "± over draws, points": [f"{100 * std:.2f}" for std in table["std"]],
            "95 % interval of that ±": [f"{100 * a:.2f} to {100 * b:.2f}" for a, b in zip(table["low"], table["high"])],
            "± from single pictures": [f"{100 * std:.2f}" for std in table["by_picture"]],
        }
    )
    return simple_table(shown, "How far accuracy moves with the seed")


def sentence_about_deviations(table: pd.DataFrame) -> str:
    """`wca_released.deviations` in sentences: the first method, of independent crops, and the others, out of a pool."""
    first, *others = table.to_dict("records")
    apart = [row for row in others if row["low"] > first["high"] or row["high"] < first["low"]]
    verdict = (
        "So few draws cannot tell any of them from it: the intervals overlap"
        if not apart
        else f"The interval of {' and of '.join(name(row['method']) for row in apart)} does not meet it"
    )
    of_pools = " and ".join(f"{100 * row['std']:.2f} ({name(row['method'])})" for row in others)
    flips = " and ".join(f"{100 * row['by_picture']:.2f}" for row in others)
    return (
        f"Of {first['seeds']} draws, the ± of independent crops comes out as {100 * first['std']:.2f} points and could "
        f"be anything from {100 * first['low']:.2f} to {100 * first['high']:.2f}; those out of a pool as {of_pools}. "
        f"{verdict}. The flips of single pictures say {100 * first['by_picture']:.2f} against {flips}; the crops' "
        "range differs between these too."
    )


def sentence_about_shared_crops(law: PoolVariance, pooled: float, independent: float) -> str:
    """What part of their crops two draws share (`wca_released.overlap`), counted and by formula."""
    return (
        f"Two draws of {law.n} out of a pool of {law.pool} have {pooled:.0%} of their crops in common, counted over "
        f"the seeds ({law.shared:.0%} expected, and {law.distinct:.0f} different crops in a draw); two independent "
        f"draws {independent:.1%}."
    )


def sentence_about_pool(measured: pd.DataFrame, law: PoolVariance) -> str:
    """What `wca_released.pool_variances` found, beside the formula's."""
    shown, hidden = (relative(measured, column) for column in ("shown", "hidden"))
    share = hidden[0] / (shown[0] + hidden[0])
    return (
        f"Measured on {len(measured)} pictures, with {law.n} crops out of pools of {law.pool}; the margin's variance "
        "over independent crops is 1, and intervals are 95 % bootstraps over pictures.\n\n"
        f"- Draws from one pool show {_ratio(shown, law.shown / law.independent)}.\n"
        f"- Between pools, where no draw shows it, lies {_ratio(hidden, law.hidden / law.independent)}: {share:.0%} of "
        f"the whole, by the formula {law.hidden_share:.0%}."
    )


def _ratio(of: tuple[float, float, float], formula: float) -> str:
    ratio, low, high = of
    return f"{ratio:.2f} (interval {low:.2f} to {high:.2f}; the formula says {formula:.2f})"


def sentence_about_names(shared: SharedNames, source: Source, published: pd.DataFrame) -> str:
    """What names that classes share cost, from the list of classes and the published accuracies."""
    classes = len(shared.classes)
    behind = classes - shared.names
    of_class = source.per_class or 0
    wca = published[(published["dataset"] == "Places365") & (published["method"] == "WCA")]["top1_percent"]
    low, high = wca.min(), wca.max()
    return (
        f"There are **{shared.names} names for {classes} classes**: {shared.sharing} classes share "
        f"{shared.sharing - behind} names. With {of_class} pictures of every class, all {behind * of_class:,} of the "
        f"{behind} classes that come second or later are lost, {1 - shared.ceiling:.1%} of {classes * of_class:,}: "
        f"**no method can be above {100 * shared.ceiling:.2f} %**, against 100 % with a name for each class. WCA's "
        f"published values, {low:.1f} to {high:.1f} %, are far below that ceiling, so it is not what holds them down; "
        "but it takes its part of every one of them. If the lost pictures were as easy as the rest (our estimate, no "
        f"result), they would be worth {low / shared.ceiling - low:.1f} to {high / shared.ceiling - high:.1f} points."
    )


def sentence_about_imagenet(shared: SharedNames) -> str:
    """What the names cost that two classes of ImageNet share, from the list of classes."""
    twice = sorted({name for name in shared.classes if shared.classes.count(name) > 1})
    return (
        f"ImageNet's list has such names too, {' and '.join(f'*{name}*' for name in twice)}, two classes each, "
        f"so that {len(shared.classes)} classes have {shared.names} names and no method can be above "
        f"{100 * shared.ceiling:.1f} %."
    )


def pool_table(settings: Sequence[PoolVariance]) -> Styler:
    """What drawing with replacement from a pool does, by formula."""
    shown = pd.DataFrame(
        {
            "crops N": [of.n for of in settings],
            "pool M": [of.pool for of in settings],
            "different crops in a draw": [f"{of.distinct:.1f}" for of in settings],
            "shared with another draw": [f"{of.shared:.0%}" for of in settings],
            "variance that draws show": [f"{of.shown / of.independent:.2f}" for of in settings],
            "variance they all share": [f"{of.hidden / of.independent:.2f}" for of in settings],
            "not shown": [f"{of.hidden_share:.0%}" for of in settings],
            "worth independent crops": [f"{of.worth:.1f}" for of in settings],
        }
    )
    return simple_table(shown, "N crops out of a pool of M; variances in units of that of N independent crops")


def pool_errors(of: PoolVariance, draws: int = 20) -> pd.DataFrame:
    """Standard error of a mean over 1 .. `draws` draws, in units of one crop's deviation, tidy.

    Columns: ``draws``, ``error``, ``of`` (which).
    """
    r = np.arange(1, draws + 1)
    curves = {
        "draws from one pool": np.sqrt(of.hidden + of.shown / r),
        "what their ± suggests": np.sqrt(of.shown / r),
        "independent crops": np.sqrt(of.independent / r),
    }
    return pd.concat([pd.DataFrame({"draws": r, "error": error, "of": which}) for which, error in curves.items()])


def pool_error(errors: pd.DataFrame, of: PoolVariance) -> Figure:
    """:func:`pool_errors`, with the floor that no number of draws goes below."""
    figure, ax = subplots(figsize=(5, 3.7), layout="constrained")
    sns.lineplot(errors, x="draws", y="error", hue="of", style="of", markers=True, linewidth=2, ax=ax)
    ax.axhline(np.sqrt(of.hidden), color="0.4", linestyle=":", linewidth=1.4, label="the pool's own error")
    ax.set(
        xlabel=f"draws of {of.n} crops",
        ylabel="standard error of their mean\n(one crop's deviation = 1)",
        ylim=(0, None),
        xticks=[1, *range(5, int(errors["draws"].max()) + 1, 5)],
    )
    handles, labels = ax.get_legend_handles_labels()
    ax.get_legend().remove()
    figure.legend(handles, labels, fontsize="small", loc="outside lower center", ncols=2, frameon=False)
    return figure


def by_path(picture: Image.Image, box: Tensor, size: int, paths: Mapping[str, Cut]) -> Figure:
    """One box (1, 4) cut by the first path, and how far the others are from it, on a common scale of levels."""
    cut = {path: way(picture, box, size)[0].permute(1, 2, 0).int().numpy() for path, way in paths.items()}
    reference, *others = cut
    off = {path: np.abs(cut[path] - cut[reference]).mean(axis=2) for path in others}  # (S, S), mean of the channels
    most = max(float(np.percentile(levels, 99)) for levels in off.values())
    rows = -(-len(cut) // 2)
    figure, axes = subplots(rows, 2, figsize=(4.6, 2.25 * rows + 0.7), squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set_axis_off()
    first, *panels = axes.flat
    first.imshow(cut[reference].astype(np.uint8), interpolation="nearest")
    first.set_title(f"{reference},\nthe crop itself", fontsize="small")
    for ax, path in zip(panels, others):
        shade = ax.imshow(off[path], cmap="magma", vmin=0, vmax=most, interpolation="nearest")
        ax.set_title(f"{path},\noff by {off[path].mean():.2f}", fontsize="small")
    figure.colorbar(
        shade, ax=axes, location="bottom", shrink=0.8, aspect=40, label="difference from the first, levels of 0 to 255"
    )
    return figure


def paths_table(table: pd.DataFrame) -> Styler:
    """`resize_paths.summary` as a page shows it."""
    shown = pd.DataFrame(
        {
            "path": table["path"],
            "mean difference, levels": [f"{v:.3f}" for v in table["levels"]],
            "largest": table["largest"],
            "values that differ": [f"{v:.1%}" for v in table["differ"]],
            "1 − cosine, mean": [_small(1 - v) for v in table["cosine"]],
            "largest ": [_small(1 - v) for v in table["least"]],
            "predictions changed": [f"{c} of {n}" for c, n in zip(table["changed"], table["pictures"])],
            "accuracy, points": [_points(row) for _, row in table.iterrows()],
        }
    )
    return simple_table(shown, "Each way to cut and resize, against the first", compact=True)


def sentence_about_resize_paths(table: pd.DataFrame, n: int) -> str:
    """What the resize paths do to predictions, in a sentence; the first is the reference."""
    others = table.iloc[1:]
    pictures = table["pictures"].iloc[0]
    same = others[others["changed"] == 0]["path"].tolist()
    changed = others[others["changed"] > 0].sort_values("changed")
    said = [f"{pictures} pictures, {n} crops each."]
    said.append(
        f"No prediction changes with {'; '.join(same)}." if same else "Every other way changes some prediction."
    )
    if len(changed):
        clear = changed[(changed["difference_low"] > 0) | (changed["difference_high"] < 0)]["path"].tolist()
        said.append(f"Up to {changed['changed'].iloc[-1]} of {pictures} change ({changed['path'].iloc[-1]}).")
        said.append(
            f"Accuracy differs clearly with {'; '.join(clear)}."
            if clear
            else f"What that does to accuracy, {pictures} pictures cannot show: each interval holds zero."
        )
    return " ".join(said)


def sentence_about_scale(wca: WCA, side: int, size: int) -> str:
    """How much crops shrink here, and in a picture as large as those of the papers' data sets often are."""
    here, usual = ([share * short / into for share in (wca.alpha, wca.beta)] for short, into in ((side, size), USUAL))
    return (
        f"How much it matters depends on how much a crop shrinks. Here, crops out of {side} pixels become {size}: they "
        f"shrink by factors of {here[0]:.2f} to {here[1]:.2f}. Out of a picture whose shorter side has {USUAL[0]} "
        f"pixels, for an encoder that sees {USUAL[1]}, the factors are {usual[0]:.2f} to {usual[1]:.2f}; below one a "
        "crop is enlarged, and anti-aliasing does nothing."
    )


def _small(value: float) -> str:
    return "0" if value < 5e-7 else minus(f"{value:.1e}".replace("e-0", "e-"))


def sentence_about_differences(table: pd.DataFrame) -> str:
    """Which rows of `wca_released.all_differences` show a difference of accuracy, in a sentence."""
    measured = table[table["difference_low"].notna() & (table["changed"] > 0)]
    if measured.empty:
        return "**None of them changes a prediction on these pictures.**"
    clear = measured[(measured["difference_low"] > 0) | (measured["difference_high"] < 0)]
    widest = 100 * (measured["difference_high"] - measured["difference_low"]).max() / 2
    if clear.empty:
        verdict = "**None of them moves accuracy by more than these pictures leave open**"
    else:
        verdict = f"**Accuracy moves, by its interval, with {'; '.join(clear['what differs'])}**"
    most = measured.loc[(measured["changed"] / measured["pictures"]).idxmax()]
    return (
        f"{verdict}; intervals reach {widest:.1f} points to either side at the widest. Predictions change all the "
        f"same, up to {most['changed'] / most['pictures']:.0%} of them ({most['what differs']}), some for the better "
        "and some for the worse."
    )


def differences_table(table: pd.DataFrame) -> Styler:
    """`wca_released.all_differences` as a page shows it."""
    shown = pd.DataFrame(
        {
            "what differs": table["what differs"],
            "what it changes": table["what it changes"],
            "accuracy, points": [_points(row) for _, row in table.iterrows()],
            "p (Holm)": [p_value(p) for p in table["p_holm"]],
            "predictions changed": [
                NOT_AVAILABLE if np.isnan(c) else f"{c:.0f} of {n:.0f} ({c / n:.1%})"
                for c, n in zip(table["changed"], table["pictures"])
            ],
        }
    )
    return simple_table(shown, "Every difference, and what it is worth here").set_properties(
        subset=["what it changes"], **{"white-space": "normal", "text-align": "left", "min-width": "13rem"}
    )


def _points(row: pd.Series) -> str:
    """A difference with its interval; a bound without one; nothing where no prediction changed."""
    if row["changed"] == 0:
        return "0"
    return f"{signed(row['difference'])} at worst" if np.isnan(row["difference_low"]) else gain(row)


def differences_plot(table: pd.DataFrame) -> Figure:
    """The rows of `wca_released.all_differences` that have an interval, around zero."""
    drawn = table[table["difference_low"].notna()].assign(group="")
    return forest(drawn, "group", "what differs", "difference of accuracy, points (95 % interval)", titles=False)
