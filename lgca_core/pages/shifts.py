"""Several data sets side by side: accuracy under shifts of the pictures, and what they look like."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from lgca_core.pages.base import bold, gain, name, p_value, simple_table, subplots
from lgca_core.resample import open_picture

if TYPE_CHECKING:
    from lgca_core.datasets import Manifest


def tidy(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`results.summary` of each data set, one below the other, with ``dataset`` first."""
    return pd.concat([table.assign(dataset=label) for label, table in tables.items()], ignore_index=True)[
        ["dataset", *next(iter(tables.values())).columns]
    ]


def accuracy(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Top-1 with its 95 % interval, a dot a method, one group of rows a data set."""
    methods = list(dict.fromkeys(tidy(tables)["method"]))
    palette = dict(zip(methods, sns.color_palette(n_colors=len(methods))))
    marks = dict(zip(methods, "osD^vPX*<>"))
    lanes = np.linspace(-0.32, 0.32, len(methods))
    figure, ax = subplots(figsize=(6, 1.15 * len(tables) + 1.4), layout="constrained")
    for y, table in enumerate(tables.values()):
        for _, row in table.iterrows():
            lane, colour = y + lanes[methods.index(row["method"])], palette[row["method"]]
            ax.plot([100 * row["low"], 100 * row["high"]], [lane, lane], color=colour, linewidth=2)
            ax.plot(100 * row["top1"], lane, marks[row["method"]], color=colour, markersize=6.5)
    for method in methods:
        ax.plot([], [], marks[method] + "-", color=palette[method], label=name(method))
    for between in range(1, len(tables)):
        ax.axhline(between - 0.5, color="0.8", linewidth=0.8)
    ax.set_yticks(range(len(tables)), list(tables))
    ax.set(xlabel="top-1 accuracy, % (95 % interval)", ylim=(len(tables) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def accuracy_table(tables: Mapping[str, pd.DataFrame], caption: str) -> Styler:
    """Methods as rows, data sets as columns: top-1 with its interval; of a column, the best and the tied in bold."""
    methods = list(dict.fromkeys(tidy(tables)["method"]))
    columns, marks = {}, {}
    for label, table in tables.items():
        rows = table.set_index("method").reindex(methods)
        columns[label] = [
            "not available"
            if np.isnan(row["top1"])
            else f"{100 * row['top1']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
            for _, row in rows.iterrows()
        ]
        marks[label] = rows["tied"].eq(True).to_numpy()
    passes = tidy(tables).groupby("method")["passes"].first()
    shown = pd.DataFrame({"method": map(name, methods), **columns, "passes": [f"{passes[m]:.0f}" for m in methods]})
    styled = simple_table(shown, caption)
    for label, where in marks.items():
        styled = styled.apply(bold, where=where, subset=[label])
    return styled


def gains_table(gains: pd.DataFrame, caption: str) -> Styler:
    """`results.compare_each` as a page shows it."""
    shown = pd.DataFrame(
        {
            "data set": gains["dataset"],
            "compared": [f"{name(row.method)}, less {name(row.baseline)}" for row in gains.itertuples()],
            "difference, points": [gain(row) for _, row in gains.iterrows()],
            "p": gains["p"].map(p_value),
            "p (Holm)": gains["p_holm"].map(p_value),
        }
    )
    return simple_table(shown, caption)


def samples(manifests: Mapping[str, Manifest], each: int = 4) -> Figure:
    """A row of pictures a data set: the first one of `each` classes that all of them have, evenly spread."""
    shared = [set(manifest.classes) for manifest in manifests.values()]
    classes = [of for of in next(iter(manifests.values())).classes if all(of in known for known in shared)]
    chosen = [classes[i] for i in np.linspace(0, len(classes) - 1, each).round().astype(int)]
    figure, axes = subplots(
        len(manifests), each, figsize=(1.6 * each, 1.85 * len(manifests)), squeeze=False, layout="constrained"
    )
    for row, (label, manifest) in zip(axes, manifests.items()):
        for ax, of in zip(row, chosen):
            label_of = manifest.classes.index(of)
            path = next(item.path for item in manifest.items if item.label == label_of)
            ax.imshow(open_picture(path), interpolation="lanczos")
            ax.set(xticks=[], yticks=[])
            ax.set_frame_on(False)
        row[0].set_ylabel("\n".join(textwrap.wrap(label, 16)))
    for ax, of in zip(axes[0], chosen):
        ax.set_title("\n".join(textwrap.wrap(of, 16)), fontsize="small")
    return figure
