"""What is printed, for any terminal: names as they are, tables that no width breaks, and what goes on meanwhile.

Names are a user's, and may hold anything that a file system or a JSON file can: :func:`shown` is the one place that
makes them fit to be looked at. A console of :func:`stdout` and :func:`say` apply it to all that they print.
"""

import math
import sys
import unicodedata
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


WIDE = 108
"""Columns that the table of a record takes in one piece."""


JOINERS = "\u200c\u200d"
"""Invisible, and part of words in Persian or Hindi and of emoji: the only marks of format that are left as they are."""


def shown(text: str) -> str:
    """`text` on one line, as any terminal can show it.

    What would move the cursor, colour or hide what follows, or turn the direction of reading becomes a visible escape:
    control characters and line ends (``\\x1b``, ``\\n``), marks of format (``\\u202e``), and bytes of a file's name
    that are no UTF-8 (``\\xe9``, as a data set's keys have them). All else stays.
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that it could not decode
        return f"\\x{code - 0xDC00:02x}"
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS
    return character.encode("unicode_escape").decode() if hidden else character


def say(*lines: str, err: bool = False) -> None:
    """Print lines on stdout, or on stderr, at once; what a line holds cannot break or colour it."""
    print(*map(shown, lines), sep="\n", file=sys.stderr if err else sys.stdout, flush=True)


class _Console(Console):
    """Shows strings as they are: no markup, no emoji, no highlights, and nothing that a terminal would obey."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("\n".join(map(shown, text.split("\n"))), **options)


def stdout() -> Console:
    """stdout; without a terminal wide enough that no table is broken."""
    console = _Console()
    return console if console.is_terminal else _Console(width=160)


def stderr() -> Console:
    """stderr."""
    return _Console(stderr=True)


def any_encoding() -> None:
    """Let stdout and stderr write what their encoding lacks as escapes, where Python would raise."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def status(text: str) -> AbstractContextManager[Status | None]:
    """Shows on stderr, where that is a terminal, that something is under way."""
    terminal = stderr()
    return terminal.status(text) if terminal.is_terminal else nullcontext()


def note(text: str) -> None:
    """What a user should know of a run, on stderr."""
    say(f"note: {text}", err=True)


def listing(rows: Sequence[Mapping[str, Any]], *, right: Collection[str] = ()) -> None:
    """Print rows that share their keys; the keys are the headings, those in `right` over numbers.

    What comes first, a name to copy, is not broken.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, heading in enumerate(rows[0]):
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(heading, overflow="fold", no_wrap=number == 0, justify=justify)
    for row in rows:
        table.add_row(*(shown(str(value)) for value in row.values()))
    stdout().print(table)


def report(console: Console, record: "Record", predictions: "pd.DataFrame") -> None:
    """The table of a record, in two or three where the console is narrow, and a line about what it took."""
    from lgca_core.evaluation import statistics
    from lgca_core.evaluation.metrics import metrics

    methods = {run.method for run in record.runs}
    rows = statistics.summary(record, predictions, "wca" if "wca" in methods else None)
    own = ["top-1 %", "95 % interval", "std (seeds)", "passes/image"]
    more = ["balanced %", "top-5 %"]
    against = ["minus wca (points)", "over classes", "p (Holm)"] if rows["difference"].notna().any() else []
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

    def fits(table: Table) -> bool:
        return console.measure(table, options=console.options.update(max_width=1000)).maximum <= console.width

    layouts = [[own + more + against], [own, more + against], [own, more, against]]
    tables = [[table_of(headings) for headings in layout if headings] for layout in layouts]
    for table in next((layout for layout in tables if all(map(fits, layout))), tables[-1]):
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
    console.print(Text(shown(line)))
    if record.skipped:
        first = record.skipped[0]
        said = f"Skipped {len(record.skipped)}, listed in the record; the first: {first.path} ({first.reason})"
        console.print(Text(shown(said)))


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
        return ["", "", ""]
    pictures, classes = (
        f"{100 * row[f'{over}_low']:+.1f} to {100 * row[f'{over}_high']:+.1f}" for over in ("difference", "classes")
    )
    over_classes = "" if math.isnan(row["classes_low"]) else classes
    return [f"{100 * row['difference']:+.1f} ({pictures})", over_classes, f"{row['p_holm']:.2g}"]
