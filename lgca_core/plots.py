"""Figures and tables of the book's pages: one look, colours that colour-blind readers tell apart, intervals drawn.

Nothing here computes a result; functions take what the core returned and draw it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from pandas.io.formats.style import Styler
from PIL import Image
from torch import Tensor

from lgca_core.datasets import Manifest
from lgca_core.encoder import Encoder
from lgca_core.lgca import Step, Trace
from lgca_core.lineage import ancestors
from lgca_core.results import Record, load, summary

NAMES = {
    "clip": "CLIP",
    "clip-e": "CLIP-E",
    "clip-d": "CLIP-D",
    "waffle": "Waffle",
    "cupl": "CuPL",
    "wca": "WCA",
    "wca-released": "WCA, as released",
    "lgca": "LGCA, equal crops",
    "lgca-equal": "LGCA, equal passes",
    "gc": "GC, our adaptation",
    "bifta": "BiFTA",
    "lazsl": "LaZSL",
    "lazsl-d": "LaZSL, descriptors",
}
"""How pages call the methods of `evaluate.METHODS`."""

LGCAS = ("lgca", "lgca-equal")

_BOX_COLOURS = "viridis"


def use_style() -> None:
    """Set the book's plotting style: seaborn's colour-blind palette on a light grid, crisp on dense screens."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", font_scale=0.95)
    plt.rcParams.update(
        {"figure.dpi": 110, "savefig.bbox": "tight", "axes.titlesize": "medium", "svg.hashsalt": "lgca"}
    )


def _subplots(*grid: int, **settings: Any) -> tuple[Figure, Any]:
    """A figure that only its caller shows: a notebook would draw one that pyplot still holds a second time."""
    figure, axes = plt.subplots(*grid, **settings)
    plt.close(figure)
    return figure, axes


def name(method: str) -> str:
    """A method's name on a page."""
    return NAMES.get(method, method)


def boxes_on(ax: Axes, picture: Image.Image, boxes: Tensor, weights: Tensor | None = None, title: str = "") -> None:
    """A picture with boxes (n, 4) over it, the heavier (of weights (n,)) the brighter and thicker, drawn last."""
    ax.imshow(picture, interpolation="lanczos")
    ax.set_axis_off()
    ax.set_title(title)
    shares = np.ones(len(boxes)) if weights is None else weights.cpu().numpy() / max(float(weights.max()), 1e-12)
    for i in np.argsort(shares):
        top, left, height, width = boxes[i].tolist()
        style = {"edgecolor": plt.get_cmap(_BOX_COLOURS)(shares[i]), "linewidth": 0.6 + 1.8 * shares[i], "fill": False}
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, alpha=0.35 + 0.65 * shares[i], **style))


def crop_grid(
    picture: Image.Image, boxes: Tensor, captions: Sequence[str], columns: int = 6, size: float = 1.25
) -> Figure:
    """The crops of boxes (n, 4), all drawn at one size, each with a caption below."""
    rows = -(-len(boxes) // columns)
    figure, axes = _subplots(rows, columns, figsize=(size * columns, (size + 0.42) * rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, box, text in zip(axes.flat, boxes.tolist(), captions):
        top, left, height, width = box
        ax.imshow(picture.crop((left, top, left + width, top + height)), interpolation="lanczos")
        ax.text(0.5, -0.05, text, fontsize="medium", transform=ax.transAxes, ha="center", va="top")
    figure.tight_layout(h_pad=1.6, w_pad=0.4)
    return figure


def expansion(picture: Image.Image, trace: Trace, columns: int = 2) -> Figure:
    """One panel a step of the first picture of a trace: its boxes, coloured by their share of the step's weight."""
    rows = -(-len(trace.steps) // columns)
    figure, axes = _subplots(rows, columns, figsize=(3.4 * columns, 3.6 * rows), squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.set_axis_off()
    for t, (ax, step) in enumerate(zip(axes.flat, trace.steps)):
        boxes_on(ax, picture, step.boxes[0], step.weights[0], f"step {t}: {step.boxes.shape[1]} boxes")
    scale = ScalarMappable(Normalize(0, 1), _BOX_COLOURS)
    figure.colorbar(
        scale, ax=axes, label="weight, as a share of the step's largest", shrink=0.6, location="bottom", aspect=40
    )
    return figure


def as_seen(picture: Image.Image, size: int) -> Figure:
    """The picture, and what the encoder sees of it: shorter side to `size`, drawn pixel by pixel."""
    from lgca_core.boxes import whole
    from lgca_core.resample import crops

    seen = crops(picture, whole(picture.height, picture.width), size)[0].permute(1, 2, 0).numpy()
    figure, axes = _subplots(1, 2, figsize=(6.6, 3.4), layout="constrained")
    for ax, image, title in (
        (axes[0], picture, f"{picture.width} x {picture.height} pixels"),
        (axes[1], seen, f"as encoded: {size} x {size}"),
    ):
        ax.imshow(image, interpolation="nearest")
        ax.set_title(title)
        ax.set_axis_off()
    return figure


def heaviest_and_lightest(picture: Image.Image, step: Step, each: int = 6) -> Figure:
    """The crops of a step's first picture with the largest weights, above those with the smallest."""
    order = step.weights[0].argsort(descending=True).cpu()
    chosen = torch.cat([order[:each], order[-each:]])
    captions = [f"{100 * float(step.weights[0, i]):.1f} %" for i in chosen]
    return crop_grid(picture, step.boxes[0][chosen], captions, columns=each)


def heaviest_lineage(picture: Image.Image, trace: Trace) -> Figure:
    """The heaviest box of the last step and its ancestors, as crops, for a trace's first picture."""
    last = int(trace.steps[-1].weights[0].argmax())
    chain = ancestors(trace, 0)[last].tolist()
    boxes = torch.stack([step.boxes[0, i] for step, i in zip(trace.steps, chain)])
    captions = [f"step {t}: {of[2]} px" for t, of in enumerate(boxes.tolist())]
    return crop_grid(picture, boxes, captions, columns=len(chain), size=1.7)


def scores_by_step(trace: Trace, matrix: Tensor, classes: Sequence[str], label: int, rivals: int = 4) -> Figure:
    """Score <u_t, z_c> of the true class and its strongest rivals at each step, for a trace's first picture."""
    scores = torch.stack([step.vector[0] @ matrix.T for step in trace.steps])  # (T + 1, C)
    total = trace.vector[0] @ matrix.T
    others = [c for c in total.argsort(descending=True).tolist() if c != label][:rivals]
    figure, ax = _subplots(figsize=(7, 3.8), layout="constrained")
    for c, colour in zip([label, *others], sns.color_palette()):
        own = c == label
        mark: dict[str, Any] = (
            {"linewidth": 3.2, "marker": "o"} if own else {"linewidth": 1.4, "marker": "s", "markersize": 4}
        )
        ax.plot(scores[:, c].cpu(), color=colour, label=f"{classes[c]} (true)" if own else classes[c], **mark)
    ax.set_xticks(range(len(scores)))
    ax.set(xlabel="expansion step t", ylabel="score of the step (cosine units)")
    figure.legend(fontsize="small", loc="outside lower center", ncols=2, frameon=False)
    return figure


def verdicts(vectors: Mapping[str, Tensor], matrix: Tensor, classes: Sequence[str], label: int) -> Styler:
    """What each method says of one picture: its best class, by how much, and the true class's rank."""
    rows = []
    for method, vector in vectors.items():
        scores = vector @ matrix.T
        order = scores.argsort(descending=True)
        rows.append(
            {
                "method": method,
                "best class": classes[int(order[0])],
                "right": "yes" if int(order[0]) == label else "no",
                "ahead of the second by": float(scores[order[0]] - scores[order[1]]),
                "rank of the true class": int((order == label).nonzero()) + 1,
            }
        )
    return simple_table(pd.DataFrame(rows), "The verdicts", {"ahead of the second by": "{:.4f}"})


def lineage(picture: Image.Image, chain: pd.DataFrame, truth: str, columns: int = 3) -> Figure:
    """One box of `lineage.lineages` through its expansions: where it lies, and each crop with its verdict."""
    boxes = torch.tensor(chain[["top", "left", "height", "width"]].to_numpy())
    rows = -(-(len(chain) + 1) // columns)
    figure, axes = _subplots(rows, columns, figsize=(2.2 * columns, 2.9 * rows), squeeze=False, layout="constrained")
    first, *others = axes.flat
    boxes_on(first, picture, boxes, torch.linspace(0.4, 1, len(boxes)), "\n".join(textwrap.wrap(truth, 18)))
    for ax in others[len(chain) :]:
        ax.set_axis_off()
    for ax, (_, row) in zip(others, chain.iterrows()):
        box = (row["left"], row["top"], row["left"] + row["width"], row["top"] + row["height"])
        ax.imshow(picture.crop(box), interpolation="lanczos")
        ax.set_axis_off()
        colour = sns.color_palette()[2] if row["right"] else sns.color_palette()[3]
        margin = f"step {row['step']}: {row['margin']:+.3f}".replace("-", "−")
        ax.set_title("\n".join([margin, *textwrap.wrap(row["best"], 18)]), color=colour)
    return figure


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


def built_with(profile: str, manifest: Manifest, encoder: Encoder) -> str:
    """One sentence, in Markdown, on what a page that computes for itself was built with."""
    return (
        f"Built with the profile `{profile}`: data set `{manifest.name}` ({len(manifest.items)} pictures, "
        f"{len(manifest.classes)} classes), encoder `{encoder.name}` in {encoder.precision} on {encoder.device.type}."
    )


def built_from(profile: str, record: Record) -> str:
    """One sentence, in Markdown, on the record that a page reads."""
    commit = "outside a checkout" if record.commit is None else f"commit `{record.commit[:10]}`"
    changed = ", with changes not yet committed" if record.dirty else ""
    return (
        f"Built with the profile `{profile}` from a record of {record.utc:%Y-%m-%d} ({commit}{changed}): data set "
        f"`{record.dataset.name}`, {record.dataset.count} pictures in {len(record.dataset.classes)} classes; encoder "
        f"`{record.encoder.name}` in {record.encoder.precision}."
    )


def accuracy(table: pd.DataFrame) -> Figure:
    """Top-1 of `results.summary` with its 95 % interval, a dot a method, encoder passes beside the name."""
    figure, ax = _subplots(figsize=(7, 0.42 * len(table) + 1.1), layout="constrained")
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
    """`results.summary` as a page shows it: percentages, intervals, the best value and those tied with it in bold.

    Tied means that McNemar's test against the baseline cannot tell them apart is *not* claimed here: a row is marked
    when its interval holds the best row's accuracy.
    """
    best = table["top1"].max()
    shown = pd.DataFrame(
        {
            "method": table["method"].map(name),
            "top-1, %": [
                f"{100 * v:.1f}" + ("" if np.isnan(std) else f" ± {100 * std:.1f}")
                for v, std in zip(table["top1"], table["std"])
            ],
            "95 % interval": [f"{100 * a:.1f} to {100 * b:.1f}" for a, b in zip(table["low"], table["high"])],
            "passes": [f"{v:.0f}" for v in table["passes"]],
            "against WCA": ["–" if np.isnan(row["difference"]) else _gain(row) for _, row in table.iterrows()],
            "p (Holm)": ["–" if np.isnan(p) else ("< 0.001" if p < 0.001 else f"{p:.3f}") for p in table["p_holm"]],
        }
    )
    tied = (table["high"] >= best).to_numpy()

    def bold(column: pd.Series) -> list[str]:
        return ["font-weight: 700" if t else "" for t in tied]

    return simple_table(shown, caption).apply(bold, subset=["top-1, %"])


def _signed(share: float) -> str:
    """A difference of shares in points, with a true minus sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def simple_table(table: pd.DataFrame, caption: str, formats: Mapping[str, str] | None = None) -> Styler:
    """A tidy frame as a page's table, without its index."""
    return (
        table.style.set_table_attributes('class="dataframe"')
        .hide(axis="index")
        .format(dict(formats or {}))
        .set_caption(caption)
    )


def verdict(table: pd.DataFrame, baseline: str = "wca") -> str:
    """What `results.summary` says of LGCA against the baseline, in sentences of HTML, whichever way it came out."""
    rows = table.set_index("method")
    said = []
    for method in LGCAS:
        if method not in rows.index:
            continue
        row = rows.loc[method]
        low, high = row["difference_low"], row["difference_high"]
        if low > 0:
            relation = "above"
        elif high < 0:
            relation = "below"
        else:
            relation = "not distinguishable from"
        said.append(
            f"<strong>{name(method)}</strong> ({row['passes']:.0f} passes a picture): {100 * row['top1']:.1f}&nbsp;%, "
            f"{relation} {name(baseline)}'s {100 * rows.loc[baseline, 'top1']:.1f}&nbsp;% "
            f"({rows.loc[baseline, 'passes']:.0f} passes); difference {_signed(row['difference'])} points, "
            f"95&nbsp;% interval {_signed(low)} to {_signed(high)}."
        )
    return " ".join(said)


def trained_again(folder: Path | str, trained: Sequence[str]) -> dict[str, pd.DataFrame | None]:
    """The `results.summary` of each trained encoder: of "seed 2" the record is ``folder/seed-2``; None without one."""
    places = {label: Path(folder) / label.replace(" ", "-") for label in trained}
    return {label: summary(*load(place)) if place.is_dir() else None for label, place in places.items()}


def training_seeds(tables: Mapping[str, pd.DataFrame | None]) -> Styler:
    """Top-1 in percent by method (rows) and trained encoder (columns), and LGCA less WCA, of one summary each."""
    known = {label: table.set_index("method") for label, table in tables.items() if table is not None}
    first = next(iter(known.values()))
    columns = {label: known[label]["top1"] * 100 if label in known else pd.Series(dtype=float) for label in tables}
    frame = pd.DataFrame(columns).loc[first.index].map(lambda top1: f"{top1:.1f}", na_action="ignore")
    for method in LGCAS:
        if method in first.index:
            row = {label: _gain(known[label].loc[method]) if label in known else None for label in tables}
            frame.loc[f"{name(method)}, less WCA"] = row
    frame.insert(0, "method", [name(method) for method in frame.index])
    caption = "Top-1 accuracy, %, by training seed of the embedded encoder; differences in points, with 95 % intervals"
    return simple_table(frame, caption).format(na_rep="not available")


def training_verdict(tables: Mapping[str, pd.DataFrame | None]) -> str:
    """What other training seeds say of LGCA at equal passes against WCA, in a sentence of HTML; "" without any."""
    known = [table.set_index("method").loc["lgca-equal"] for table in tables.values() if table is not None]
    if not known:
        return ""
    gains = " and ".join(_gain(row) for row in known)
    return f"With the same encoder trained from other seeds, {name('lgca-equal')} less WCA is {gains} points."


def _gain(row: pd.Series) -> str:
    """A difference in points with its interval."""
    low, high = _signed(row["difference_low"]), _signed(row["difference_high"])
    return f"{_signed(row['difference'])} ({low} to {high})"


def margins_by_step(chains: pd.DataFrame) -> Figure:
    """What expansion does to crops: share whose best class is the true one, and their mean margin, by step.

    `chains` is `lineage.lineages`' frame; intervals are 95 % bootstraps over pictures' means.
    """
    by_picture = (
        chains.assign(right=100.0 * chains["right"])
        .groupby(["picture", "step"], as_index=False)[["right", "margin"]]
        .mean()
    )
    figure, axes = _subplots(1, 2, figsize=(7.4, 3.1), layout="constrained")
    for ax, column, label in (
        (axes[0], "right", "best class is the true one, %"),
        (axes[1], "margin", "mean margin (cosine units)"),
    ):
        sns.lineplot(by_picture, x="step", y=column, marker="o", errorbar=("ci", 95), seed=0, ax=ax)
        ax.set(xlabel="expansion step t", ylabel=label, xticks=sorted(chains["step"].unique()))
    return figure


def growth(frame: pd.DataFrame, x: str, y: str, xlabel: str, ylabel: str, hue: str | None = None) -> Figure:
    """Measured points with lines, from zero on both axes, for how a cost grows."""
    figure, ax = _subplots(figsize=(7, 3.4), layout="constrained")
    marks = {"marker": "o"} if hue is None else {"markers": True}
    sns.lineplot(frame, x=x, y=y, hue=hue, style=hue, dashes=False, ax=ax, **marks)
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, None), ylim=(0, None))
    if hue is not None:
        ax.legend(title=None, frameon=False)
    return figure
