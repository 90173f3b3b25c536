"""Tables on a terminal, or in a file that a terminal's width must not break."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def stdout() -> Console:
    """stdout; without a terminal wide enough that no table is broken."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def listing(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that share their keys; the keys are the headings. What comes first, a name to copy, is not broken."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    stdout().print(table)
