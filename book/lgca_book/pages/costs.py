"""What things cost: operations of a pass; passes, seconds and money of the evaluations behind the pages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from lgca_book.experiments import experiments
from lgca_book.style import NOT_AVAILABLE, simple_table


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
