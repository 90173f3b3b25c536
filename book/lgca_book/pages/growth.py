"""How time grows along each axis, as growth benchmarks recorded it: a figure, a table of powers, a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from pandas.io.formats.style import Styler

from lgca_book.pages.speed import Record, machine
from lgca_book.style import NOT_AVAILABLE, minus, simple_table, subplots

AXES = {
    "B": "pictures B",
    "N": "crops N",
    "T": "expansion steps T",
    "C": "classes C",
    "P": "sentences a class, P",
}
"""How figures call the axes of the algorithms."""

MARKERS = ("o", "s", "D", "^")


def recorded(records: Sequence[Record]) -> dict[str, Record]:
    """The newest growth record of each precision and device, by these, such as ``float32, cpu``."""
    found = [record for record in records if record["benchmark"] == "growth"]
    return dict(sorted({f"{record['precision']}, {record['device']}": record for record in found}.items()))


def times(found: Mapping[str, Record]) -> pd.DataFrame:
    """The times of `recorded`, tidy: ``run``, ``what``, ``symbol`` (an axis), ``value``, ``ms`` (a median)."""
    tables = [
        pd.DataFrame(record["rows"])[["what", "symbol", "value", "ms"]].assign(run=run) for run, record in found.items()
    ]
    return pd.concat(tables, ignore_index=True)[["run", "what", "symbol", "value", "ms"]]


def curves(table: pd.DataFrame) -> Figure:
    """`times` against each axis, a panel an axis and a line a run, both logarithmic; T, which has a zero, linear."""
    symbols = list(dict.fromkeys(table["symbol"]))
    runs = list(dict.fromkeys(table["run"]))
    figure, axes = subplots(
        len(symbols), 1, figsize=(5.6, 0.8 + 2.3 * len(symbols)), squeeze=False, layout="constrained"
    )
    lines = {}
    for ax, symbol in zip(axes.flat, symbols):
        panel = table[table["symbol"] == symbol]
        for run, colour, marker in zip(runs, sns.color_palette(), MARKERS):
            part = panel[panel["run"] == run]
            [lines[run]] = ax.plot(part["value"], part["ms"] / 1000, color=colour, marker=marker, linewidth=1.6)
        if symbol == "T":
            ax.set_ylim(0, None)
        else:
            values = sorted(set(panel["value"]))
            ax.set(xscale="log", yscale="log")
            ax.set_xticks(values, [f"{value:,}" for value in values])
            ax.minorticks_off()
            narrow = panel["ms"].max() < 100 * panel["ms"].min()  # else a label a decade is enough
            ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if narrow else (1.0,)))
            ax.yaxis.set_major_formatter("{x:g}")
        ax.set(title=panel["what"].iloc[0], xlabel=AXES[symbol], ylabel="seconds")
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=len(lines), frameon=False)
    return figure


def powers(found: Mapping[str, Record]) -> Styler:
    """The power of each axis: by theory, and as fitted to the times of each run."""
    fitted = {(row["what"], row["symbol"]): row["expected"] for record in found.values() for row in record["fitted"]}
    table = pd.DataFrame(
        [
            {"time of": what, "grows with": symbol, "by theory": "none" if symbol == "T" else expected}
            | {run: _power(record, what, symbol) for run, record in found.items()}
            for (what, symbol), expected in fitted.items()
        ]
    )
    return simple_table(table, "Time is proportional to the axis to this power; after ± the standard error of the fit")


def _power(record: Record, what: str, symbol: str) -> str:
    for row in record["fitted"]:
        if (row["what"], row["symbol"]) == (what, symbol):
            return minus(f"{row['exponent']:.2f} ± {row['error']:.2f}")
    return NOT_AVAILABLE


def sentence_about_growth(found: Mapping[str, Record]) -> str:
    """Where, when and with what each run was timed, and what was held fixed."""
    if not found:
        return "How time grows is *not available*: no record of it is here. `lgca bench growth` makes one."
    runs = "; ".join(f"{run}: on {machine(record)} ({record['utc'][:10]})" for run, record in found.items())
    fixed = ", ".join(f"*{symbol}* = {value}" for symbol, value in next(iter(found.values()))["fixed"].items())
    return (
        f"Timed with the embedded encoder ({runs}). While one axis moves, the others stay: {fixed}, but *N* = 60 "
        "against *T*."
    )
