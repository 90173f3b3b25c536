"""Tables on a terminal, or in a file that a terminal's width must not break; and what goes on meanwhile."""

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pandas as pd

    from lgca_core.evaluation.record import Record


def stdout() -> Console:
    """stdout; without a terminal wide enough that no table is broken."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def status(text: str) -> AbstractContextManager[Status | None]:
    """Shows on stderr, where that is a terminal, that something is under way."""
    terminal = Console(stderr=True)
    return terminal.status(text) if terminal.is_terminal else nullcontext()


def note(text: str) -> None:
    """What a user should know of a run, on stderr."""
    print(f"note: {text}", file=sys.stderr)


def listing(rows: Sequence[Mapping[str, Any]], *, right: Collection[str] = ()) -> None:
    """Print rows that share their keys; the keys are the headings, those in `right` over numbers.

    What comes first, a name to copy, is not broken.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, heading in enumerate(rows[0]):
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(heading, overflow="fold", no_wrap=number == 0, justify=justify)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))  # not markup: a path may hold brackets
    stdout().print(table)


def report(console: Console, record: "Record", predictions: "pd.DataFrame") -> None:
    """The table of a record, in two where the console is narrow, and a line about what it took."""
    from lgca_core.evaluation import statistics
    from lgca_core.evaluation.metrics import metrics

    methods = {run.method for run in record.runs}
    rows = statistics.summary(record, predictions, "wca" if "wca" in methods else None)
    own = ["top-1 %", "95 % interval", "std (seeds)", "passes/image"]
    more = ["balanced %", "top-5 %"]
    against = ["minus wca (points)", "p (Holm)"] if rows["difference"].notna().any() else []
    beside = metrics(predictions).to_dict("records")

    def table_of(headings: Sequence[str]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("method", no_wrap=True)
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        for row, also in zip(rows.to_dict("records"), beside):
            cells = dict(zip(own, _accuracy(row))) | dict(zip(more, _beside(also)))
            cells |= dict(zip(against, _difference(row)))
            table.add_row(row["method"], *(cells[heading] for heading in headings))
        return table

    whole = table_of(own + more + against)
    room = console.measure(whole, options=console.options.update(max_width=1000)).maximum <= console.width
    for table in [whole] if room else [table_of(own), table_of(more + against)]:
        console.print(table)
    dataset, parts = record.dataset, record.parts
    read = dataset.count - len(record.skipped)
    ahead, seconds = record.image_passes_in_all - record.image_passes, record.seconds_in_all - record.seconds
    others = f", after {len(parts)} part{'s' if len(parts) > 1 else ''} with {ahead} in {seconds:.1f} s"
    line = (
        f"{dataset.name}: {read} pictures of {len(dataset.classes)} classes, "
        f"{record.encoder.name} on {record.device}; "
        f"{record.seconds:.1f} s, {record.images_per_second:.1f} pictures/s, {record.image_passes} image passes"
        f"{others if parts else ' in all'}."
    )
    console.print(line, highlight=False)
    if record.skipped:
        first = record.skipped[0]
        console.print(f"Skipped {len(record.skipped)}, listed in the record; the first: {first.path} ({first.reason})")


def _accuracy(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{100 * row['top1']:.1f}",
        f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
        "" if math.isnan(row["std"]) else f"{100 * row['std']:.2f} ({row['seeds']})",
        f"{row['passes']:g}",
    ]


def _beside(row: Mapping[str, Any]) -> list[str]:
    return [f"{100 * row['balanced']:.1f}", "" if math.isnan(row["top5"]) else f"{100 * row['top5']:.1f}"]


def _difference(row: Mapping[str, Any]) -> list[str]:
    if math.isnan(row["difference"]):
        return ["", ""]
    low, high = 100 * row["difference_low"], 100 * row["difference_high"]
    return [f"{100 * row['difference']:+.1f} ({low:+.1f} to {high:+.1f})", f"{row['p_holm']:.2g}"]
