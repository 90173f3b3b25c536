"""What things cost: measured growth, fitted powers, memory, seconds and money."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from lgca_book.experiments import experiments
from lgca_book.style import NOT_AVAILABLE, minus, simple_table, subplots

AXES = {
    "N": "crops N",
    "T": "expansion steps T",
    "B": "pictures together, B",
    "P": "sentences a class, P",
    "C": "classes C",
}
"""How figures call the axes of the algorithms."""

MARKERS = ("o", "s", "D", "^")


def growth(frames: Sequence[pd.DataFrame], ylabel: str = "milliseconds a picture", logarithmic: bool = False) -> Figure:
    """Medians with the fastest and the slowest repeat, a panel an axis, of `complexity`'s tidy tables.

    Linear panels begin at zero on both axes, so that what is in proportion is a straight line through the corner.
    """
    figure, axes = subplots(len(frames), 1, figsize=(5.6, 0.5 + 3.1 * len(frames)), squeeze=False, layout="constrained")
    kinds = list(dict.fromkeys(what for frame in frames for what in frame["what"]))
    looks = dict(zip(kinds, zip(sns.color_palette(), MARKERS)))
    shown = {}
    for ax, frame in zip(axes.flat, frames):
        for what, part in frame.groupby("what", sort=False):
            colour, marker = looks[str(what)]
            spread = [part["ms"] - part["fastest"], part["slowest"] - part["ms"]]
            shown[what] = ax.errorbar(
                part["value"], part["ms"], yerr=spread, color=colour, marker=marker, capsize=3, linewidth=1.6
            )
        if logarithmic:
            ax.set(xscale="log", yscale="log")
            ax.set_xticks(sorted(set(frame["value"])), [f"{value:,}" for value in sorted(set(frame["value"]))])
            ax.minorticks_off()
        else:
            ax.set(xlim=(0, None), ylim=(0, None))
        ax.set(xlabel=AXES[frame["symbol"].iloc[0]], ylabel=ylabel)
    if len(kinds) > 1:
        figure.legend(shown.values(), shown, loc="outside lower center", ncols=len(kinds), frameon=False)
    return figure


def exponents(table: pd.DataFrame) -> Styler:
    """`fits.exponents` as a page shows it."""
    told = pd.DataFrame(
        {
            "time of": table["what"],
            "grows with": table["symbol"],
            "by theory": table["expected"],
            "fitted power": [minus(f"{b:.2f} ± {e:.2f}") for b, e in zip(table["exponent"], table["error"])],
        }
    )
    return simple_table(told, "Time is proportional to the axis to this power; after ± the standard error of the fit")


def memory(tables: Sequence[pd.DataFrame]) -> Styler:
    """`complexity.memory_table` as a page shows it, in megabytes."""
    table = pd.concat(tables, ignore_index=True)
    pictures = table["value"].where(table["symbol"] == "B", table["passes"] // (1 + table["value"]))
    told = pd.DataFrame(
        {
            "crops N": table["passes"] // pictures - 1,
            "pictures together": pictures,
            "encoder passes": table["passes"],
            "peak grew by, MB": [
                NOT_AVAILABLE if np.isnan(grown) else f"{grown / 1e6:.1f}" for grown in table["grown"]
            ],
            "pictures and vectors, MB": table["held"] / 1e6,
        }
    )
    formats = {"encoder passes": "{:,}", "pictures and vectors, MB": "{:.1f}"}
    return simple_table(told, "Memory that WCA takes beyond the loaded encoder", formats)


def thousand(table: pd.DataFrame, price_per_hour: float | None) -> Styler:
    """`complexity.thousand` as a page shows it."""
    told = pd.DataFrame(
        {
            "method": table["what"],
            "passes a picture": table["passes"],
            "seconds": [f"{row.seconds:.1f} ({row.fastest:.1f} to {row.slowest:.1f})" for row in table.itertuples()],
            "money": [NOT_AVAILABLE if price_per_hour is None else f"{money:.4f}" for money in table["money"]],
        }
    )
    return simple_table(told, "1000 pictures: median, and in brackets the fastest and the slowest repeat")


def operations(table: pd.DataFrame) -> Styler:
    """`flops.flops_table` as a page shows it, in GFLOP."""
    told = pd.DataFrame(
        {
            "encoder": table["encoder"],
            "tokens": table["tokens"],
            "layers": table["layers"],
            "width": table["width"],
            "counted, GFLOP": table["counted"] / 1e9,
            "formula, GFLOP": table["formula"] / 1e9,
            "equal": ["yes" if row.counted == row.formula else "no" for row in table.itertuples()],
        }
    )
    return simple_table(
        told,
        "Operations of one pass, counted by torch and by the formula",
        {"counted, GFLOP": "{:.3f}", "formula, GFLOP": "{:.3f}"},
    )


# ---- what running it again takes ----------------------------------------------------------------------------


def _known(value: float, form: str) -> str:
    return NOT_AVAILABLE if np.isnan(value) else form.format(value)


def _linked(page: str) -> str:
    return f'<a href="{page}.html">{experiments().page(page).title or page}</a>'


def evaluations(table: pd.DataFrame, price_per_hour: float | None) -> Styler:
    """`what_it_took.evaluations` as a page shows it."""
    told = pd.DataFrame(
        {
            "record": table["record"],
            "runs": table["runs"],
            "passes if each ran alone": [f"{alone:,}" for alone in table["alone"]],
            "passes encoded": [f"{passes:,}" for passes in table["passes"]],
            "seconds": [f"{seconds:,.0f}" for seconds in table["seconds"]],
            "passes a second": [_known(rate, "{:,.0f}") for rate in table["rate"]],
            "peak memory, GB": [f"{memory / 1e9:.1f}" for memory in table["memory"]],
        }
    )
    if price_per_hour is not None:
        told["money"] = [f"{money:.4f}" for money in table["money"]]
    return simple_table(told, "What each evaluation took, as its record measured it")


def pages(table: pd.DataFrame, full: dict[str, str]) -> Styler:
    """`what_it_took.pages` as a page shows it, with the command for real data sets."""
    told = pd.DataFrame(
        {
            "page": table["page"].map(_linked),
            "passes": [_known(passes, "{:,.0f}") for passes in table["passes"]],
            "seconds": [_known(seconds, "{:,.0f}") for seconds in table["seconds"]],
            "records": [f"<code>{names}</code>" for names in table["records"]],
            "with real data": [f"<code>{full[page]}</code>" if page in full else "–" for page in table["page"]],
        }
    )
    return _worded(told, "Behind each page: its records, and what they took together", ["records", "with real data"])


def machines(table: pd.DataFrame) -> Styler:
    """`what_it_took.machines` as a page shows it."""
    told = pd.DataFrame(
        {
            "device": table["device"],
            "encoder": table["encoder"],
            "records": table["records"],
            "passes a second, at least": [_known(rate, "{:,.0f}") for rate in table["rate"]],
        }
    )
    return simple_table(told, "Machines that the records of this page come from")


def full(table: pd.DataFrame, price_per_hour: float | None) -> Styler:
    """`what_it_took.full` as a page shows it."""
    told = pd.DataFrame(
        {
            "data set": [f"<code>{name}</code>" for name in table["dataset"]],
            "pictures": [f"{pictures:,}" for pictures in table["pictures"]],
            "download": table["download"],
            "passes": [f"{passes / 1e6:.1f} M" for passes in table["passes"]],
            "features": [f"{size / 1e9:.0f} GB" for size in table["bytes"]],
            "hours on a GPU, at most": [_known(hours, "{:.1f}") for hours in table["hours"]],
        }
    )
    if price_per_hour is not None:
        told["money"] = [_known(money, "{:.2f}") for money in table["money"]]
    return simple_table(told, "All methods with their usual settings and five seeds, by formula")


def _worded(table: pd.DataFrame, caption: str, columns: Sequence[str]) -> Styler:
    """A table some of whose columns hold words, which may break."""
    wide = {"text-align": "left", "white-space": "normal", "min-width": "12rem"}
    return simple_table(table, caption).set_properties(subset=list(columns), **wide)
