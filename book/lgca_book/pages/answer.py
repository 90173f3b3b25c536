"""The introduction's figure and facts: LGCA minus WCA wherever both were measured, and this edition's sources."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import HTML

from lgca_book.style import LGCAS, PROFILES, name
from lgca_core.evaluation.statistics import classes_of, compare_each, correctness

if TYPE_CHECKING:
    from lgca_core.evaluation.record import Record


def gains(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """LGCA minus WCA of each set of predictions: columns of `statistics.compare_each`, ``cost``, and ``pictures``.

    The last has WCA's accuracy in brackets, for at chance there is nothing to compare, and how many draws of crops it
    is the mean of.

    Args:
        predictions: what a row is called -> predictions that hold `wca`, `lgca` and `lgca-equal`.
    """
    hits, classes = {}, {}
    for label, frame in predictions.items():
        right = correctness(frame)
        title = f"{label} ({100 * right['wca'].mean():.1f} %, {_draws(len(right['wca']))})"
        hits[title], classes[title] = right, classes_of(frame)
    table = compare_each(hits, [(method, "wca") for method in LGCAS], key="pictures", classes=classes)
    ordered = table.sort_values("method", key=lambda column: column.map(LGCAS.index), kind="stable")
    return ordered.assign(cost=ordered["method"].map(name)).reset_index(drop=True)


def status(profile: str, records: Mapping[str, Record]) -> HTML:
    """A line a record: of which world, which pictures, how many methods and seeds, when and from which commit."""
    lines = []
    for label, record in records.items():
        methods = len({run.method for run in record.runs})
        commit = "outside a checkout" if record.commit is None else f"commit {record.commit[:10]}"
        clean = " with changes" if record.dirty else ""
        lines.append(
            f'<li><span class="profile profile-{profile}">{PROFILES[profile]}</span> <b>{html.escape(label)}</b>: '
            f"{record.dataset.count:,} pictures, {methods} methods, {_seeds(len(record.seeds))}; "
            f"{record.utc:%Y-%m-%d}, {commit}{clean}</li>"
        )
    return HTML(f'<ul class="status">{"".join(lines)}</ul>')


def _draws(count: int) -> str:
    return f"{count} draw{'s' if count > 1 else ''}"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"
