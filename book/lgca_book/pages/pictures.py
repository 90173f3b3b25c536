"""Pictures with boxes on them, crops, and what methods say of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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

from lgca_book.studies.crop_ancestry import ancestors
from lgca_book.style import simple_table, subplots, with_sign

if TYPE_CHECKING:
    from lgca_core.lgca import Step, Trace

BOX_COLOURS = "viridis"


def boxes_on(ax: Axes, picture: Image.Image, boxes: Tensor, weights: Tensor | None = None, title: str = "") -> None:
    """A picture with boxes (n, 4) over it, the heavier (of weights (n,)) the brighter and thicker, drawn last."""
    ax.imshow(picture, interpolation="lanczos")
    ax.set_axis_off()
    ax.set_title(title)
    shares = np.ones(len(boxes)) if weights is None else weights.cpu().numpy() / max(float(weights.max()), 1e-12)
    for i in np.argsort(shares):
        top, left, height, width = boxes[i].tolist()
        style = {"edgecolor": plt.get_cmap(BOX_COLOURS)(shares[i]), "linewidth": 0.6 + 1.8 * shares[i], "fill": False}
        ax.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, alpha=0.35 + 0.65 * shares[i], **style))


def crop_grid(
    picture: Image.Image, boxes: Tensor, captions: Sequence[str], columns: int = 6, size: float = 1.25
) -> Figure:
    """The crops of boxes (n, 4), all drawn at one size, each with a caption below."""
    rows = -(-len(boxes) // columns)
    figure, axes = subplots(rows, columns, figsize=(size * columns, (size + 0.42) * rows), squeeze=False)
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
    return panels(picture, [(step.boxes[0], step.weights[0]) for step in trace.steps], columns)


def panels(picture: Image.Image, steps: Sequence[tuple[Tensor, Tensor]], columns: int = 2, size: float = 3.4) -> Figure:
    """The same from each step's boxes (n_t, 4) and weights (n_t,); a panel is `size` inches wide."""
    rows = -(-len(steps) // columns)
    figure, axes = subplots(
        rows, columns, figsize=(size * columns, (size + 0.2) * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for t, (ax, (boxes, weights)) in enumerate(zip(axes.flat, steps)):
        boxes_on(ax, picture, boxes, weights, f"step {t}: {len(boxes)} boxes")
    scale = ScalarMappable(Normalize(0, 1), BOX_COLOURS)
    figure.colorbar(
        scale, ax=axes, label="weight, as a share of the step's largest", shrink=0.6, location="bottom", aspect=40
    )
    return figure


def as_seen(picture: Image.Image, size: int) -> Figure:
    """The picture, and what the encoder sees of it: shorter side to `size`, drawn pixel by pixel."""
    from lgca_core.boxes import whole
    from lgca_core.pixels.cropping import crops

    seen = crops(picture, whole(picture.height, picture.width), size)[0].permute(1, 2, 0).numpy()
    figure, axes = subplots(1, 2, figsize=(6.6, 3.4), layout="constrained")
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


def verdicts(vectors: Mapping[str, Tensor], matrix: Tensor, classes: Sequence[str], label: int) -> Styler:
    """Answers of each method to one picture: its best class, by how much, and the true class's rank."""
    rows = []
    for method, vector in vectors.items():
        scores = vector @ matrix.T
        order = scores.argsort(descending=True)
        rows.append(
            {
                "method": method,
                "best class": classes[int(order[0])],
                "right": "yes" if int(order[0]) == label else "no",
                "ahead of the second by": float(scores[order[0]] - scores[order[min(1, len(order) - 1)]]),
                "rank of the true class": int((order == label).nonzero()) + 1,
            }
        )
    return simple_table(pd.DataFrame(rows), "The verdicts", {"ahead of the second by": "{:.4f}"})


def lineage(picture: Image.Image, chain: pd.DataFrame, truth: str, columns: int = 3) -> Figure:
    """One box of `crop_ancestry.lineages` through its expansions: where it lies, and each crop with its verdict."""
    boxes = torch.tensor(chain[["top", "left", "height", "width"]].to_numpy())
    rows = -(-(len(chain) + 1) // columns)
    figure, axes = subplots(rows, columns, figsize=(2.2 * columns, 2.9 * rows), squeeze=False, layout="constrained")
    first, *others = axes.flat
    boxes_on(first, picture, boxes, torch.linspace(0.4, 1, len(boxes)), "\n".join(textwrap.wrap(truth, 18)))
    for ax in others[len(chain) :]:
        ax.set_axis_off()
    for ax, (_, row) in zip(others, chain.iterrows()):
        box = (row["left"], row["top"], row["left"] + row["width"], row["top"] + row["height"])
        ax.imshow(picture.crop(box), interpolation="lanczos")
        ax.set_axis_off()
        colour = sns.color_palette()[2] if row["right"] else sns.color_palette()[3]
        margin = f"step {row['step']}: {with_sign(row['margin'], 3)}"
        ax.set_title("\n".join([margin, *textwrap.wrap(row["best"], 18)]), color=colour)
    return figure
