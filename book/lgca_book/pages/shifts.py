"""Several data sets side by side: accuracy under shifts of the pictures, and what they look like."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from lgca_book.pages.differences import outcomes
from lgca_book.style import (
    NOT_AVAILABLE,
    bold,
    gain,
    name,
    over_classes,
    p_value,
    plate,
    signed,
    simple_table,
    subplots,
)
from lgca_core.data.manifest import Manifest
from lgca_core.data.table import open_dataset
from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import Record
from lgca_core.pixels.pictures import open_picture


def tidy(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`statistics.summary` of each data set, one below the other, with ``dataset`` first."""
    return pd.concat([table.assign(dataset=label) for label, table in tables.items()], ignore_index=True)[
        ["dataset", *next(iter(tables.values())).columns]
    ]


def accuracy(tables: Mapping[str, pd.DataFrame], chance: Mapping[str, float]) -> Figure:
    """Top-1 with its 95 % interval, a dot a method, one group of rows a data set; its chance level dotted."""
    methods = list(dict.fromkeys(tidy(tables)["method"]))
    palette = dict(zip(methods, sns.color_palette(n_colors=len(methods))))
    marks = dict(zip(methods, cycle("osD^vPX*<>")))
    lanes = np.linspace(-0.32, 0.32, len(methods))
    figure, ax = subplots(figsize=(6, 1.15 * len(tables) + 1.4), layout="constrained")
    for y, (label, table) in enumerate(tables.items()):
        ax.plot([100 * chance[label]] * 2, [y - 0.45, y + 0.45], color="0.35", linestyle=":", linewidth=1.5)
        for _, row in table.iterrows():
            lane, colour = y + lanes[methods.index(row["method"])], palette[row["method"]]
            ax.plot([100 * row["low"], 100 * row["high"]], [lane, lane], color=colour, linewidth=2)
            ax.plot(100 * row["top1"], lane, marks[row["method"]], color=colour, markersize=6.5)
    ax.plot([], [], ":", color="0.35", linewidth=1.5, label="chance")
    for method in methods:
        ax.plot([], [], marks[method] + "-", color=palette[method], label=name(method))
    for between in range(1, len(tables)):
        ax.axhline(between - 0.5, color="0.8", linewidth=0.8)
    ax.set_yticks(range(len(tables)), list(tables))
    ax.set(xlabel="top-1 accuracy, % (95 % interval)", ylim=(len(tables) - 0.5, -0.5))
    ax.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="x-small")
    return figure


def accuracy_table(tables: Mapping[str, pd.DataFrame], caption: str) -> Styler:
    """Methods as rows, data sets as columns: top-1 with its interval; of a column, the best and the tied in bold."""
    methods = list(dict.fromkeys(tidy(tables)["method"]))
    columns, marks = {}, {}
    for label, table in tables.items():
        rows = table.set_index("method").reindex(methods)
        columns[label] = [
            NOT_AVAILABLE
            if np.isnan(row["top1"])
            else f"{100 * row['top1']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
            for _, row in rows.iterrows()
        ]
        marks[label] = rows["tied"].eq(True).to_numpy()
    passes = tidy(tables).groupby("method")["passes"].first()
    shown = pd.DataFrame({"method": map(name, methods), **columns, "passes": [f"{passes[m]:.0f}" for m in methods]})
    styled = simple_table(shown, caption, compact=True)
    for label, where in marks.items():
        styled = styled.apply(bold, where=where, subset=[label])
    return styled


def chances(records: Mapping[str, tuple[Record, pd.DataFrame]]) -> dict[str, float]:
    """The accuracy of guessing on each record's data set: one over the number of classes."""
    return {label: 1 / len(record.dataset.classes) for label, (record, _) in records.items()}


def sentence_about_chance(tables: Mapping[str, pd.DataFrame], chance: Mapping[str, float]) -> str:
    """The best accuracy on each data set against guessing and against the first one, in Markdown."""
    plain, *_ = tables
    said = []
    for label, table in tables.items():
        best = table.loc[table["top1"].idxmax()]
        text = f"- **{label}:** at best {100 * best['top1']:.1f}&nbsp;% ({name(best['method'])})"
        if label != plain:
            text += f", {signed(best['top1'] - tables[plain]['top1'].max())} points from {plain}'s best"
        lost = (table["low"] <= chance[label]).all()
        fate = "and *no* method's interval lies above it: such a shift cannot tell methods apart" if lost else ""
        said.append("; ".join(filter(None, [f"{text}; guessing gives {100 * chance[label]:.1f}&nbsp;%", fate])) + ".")
    return "\n".join(said)


def gains_table(gains: pd.DataFrame, caption: str) -> Styler:
    """`statistics.compare_each` as a page shows it."""
    shown = pd.DataFrame(
        {
            "data set": gains["dataset"],
            "compared": [f"{name(row.method)}, minus {name(row.baseline)}" for row in gains.itertuples()],
            "difference, points": [gain(row) for _, row in gains.iterrows()],
            "over classes": [over_classes(row) for _, row in gains.iterrows()],
            "p": gains["p"].map(p_value),
            "p (Holm, this table)": gains["p_holm"].map(p_value),
        }
    )
    return simple_table(shown, caption)


def verdict(gains: pd.DataFrame) -> str:
    """What the rows of `statistics.compare_each` show, a list in Markdown a method, whichever way it came out."""
    return "\n\n".join(
        f"**{name(method)}, minus {name(baseline)}**, in points:\n\n{outcomes(rows, 'dataset')}"
        for (method, baseline), rows in gains.groupby(["method", "baseline"], sort=False)
    )


def pictures(datasets: Mapping[str, str]) -> HTML:
    """The plate of :func:`samples` of the data sets (name -> what `open_dataset` takes) that are on this machine, and
    which are not."""
    found, absent = {}, []
    for of, spec in datasets.items():
        try:
            found[of] = open_dataset(spec)
        except LgcaError:
            absent.append(of)
    said = "" if not absent else f"<p>Pictures that are not here, and so not shown: {', '.join(absent)}.</p>"
    if not found:
        return HTML(said)
    if not shared_classes(found):
        return HTML(f"{said}<p>Pictures are not shown: no class is in all of the data sets.</p>")
    alt = f"Pictures of the same few classes in each of the data sets {', '.join(found)}, a row each"
    return HTML(plate(samples(found), "table2-pictures", alt, pixels=True).data + said)


def shared_classes(manifests: Mapping[str, Manifest]) -> list[str]:
    """Classes of which every data set has a picture, in the order of the first."""
    shown = [{manifest.classes[item.label] for item in manifest.items} for manifest in manifests.values()]
    return [of for of in next(iter(manifests.values())).classes if all(of in known for known in shown)]


def samples(manifests: Mapping[str, Manifest], each: int = 4) -> Figure:
    """A row of pictures a data set: the first one of `each` classes that all of them have, evenly spread."""
    classes = shared_classes(manifests)
    each = min(each, len(classes))
    chosen = [classes[i] for i in np.linspace(0, len(classes) - 1, each).round().astype(int)]
    figure, axes = subplots(
        len(manifests),
        each,
        figsize=(each + 0.3, 1.05 * len(manifests) + 0.5),
        squeeze=False,
        layout="constrained",
    )
    for row, (label, manifest) in zip(axes, manifests.items()):
        for ax, of in zip(row, chosen):
            label_of = manifest.classes.index(of)
            path = next(item.path for item in manifest.items if item.label == label_of)
            ax.imshow(open_picture(path), interpolation="lanczos")
            ax.set(xticks=[], yticks=[])
            ax.set_frame_on(False)
        row[0].set_ylabel("\n".join(textwrap.wrap(label, 14)), fontsize="small")
    for ax, of in zip(axes[0], chosen):
        ax.set_title("\n".join(textwrap.wrap(of, 14)), fontsize="x-small")
    return figure
