"""How ``lgca classify`` prints its answers: as a table, a JSON document, JSON lines or CSV."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

from lgca_core.cli.output import say, shown, stdout

Format = Literal["table", "json", "jsonl", "csv"]


class Table:
    """A block of lines a picture, printed as soon as it is known."""

    def __init__(self, head: dict[str, Any], several: bool) -> None:
        self.done = 0
        self._head, self._several = head, several
        self._console = stdout()

    def answer(self, found: dict[str, Any]) -> None:
        rows = found["classes"]
        wide = min(40, max(_width(row["name"]) for row in rows))
        self._line(shown(found["path"]) + (f"  {found['method']}" if self._several else ""), "bold")
        if found["answer"] != rows[0]["name"]:
            self._line(f"  {found['answer']}", "bold")
        for row in rows:
            gap = " " * max(0, wide - _width(row["name"]))
            likely = f"  {row['probability']:7.1%}" if "probability" in row else ""
            self._line(f"  {shown(row['name'])}{gap}  {row['score']:8.4f}{likely}")
        sys.stdout.flush()

    def _line(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, soft_wrap=True)

    def failed(self, path: str, why: str) -> None:
        """Said on stderr."""

    def end(self) -> None:
        for note in self._head["notes"]:
            self._console.print(note, style="yellow")


def _width(name: str) -> int:
    from rich.cells import cell_len

    return cell_len(shown(name))


def _valid(path: str) -> str:
    """A path as Unicode, with bytes that are no UTF-8 as escapes, as records have it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Json:
    """One document at the end."""

    def __init__(self, head: dict[str, Any], several: bool) -> None:
        self.done = 0
        self._head = head
        self._pictures: list[dict[str, Any]] = []
        self._errors: list[dict[str, str]] = []

    def answer(self, found: dict[str, Any]) -> None:
        self._pictures.append(found | {"path": _valid(found["path"])})

    def failed(self, path: str, why: str) -> None:
        self._errors.append({"path": _valid(path), "error": shown(why)})

    def end(self) -> None:
        errors = {"errors": self._errors} if self._errors else {}
        print(json.dumps(self._head | {"pictures": self._pictures} | errors, indent=1))


class Lines:
    """A JSON object a line; notes go to stderr."""

    def __init__(self, head: dict[str, Any], several: bool) -> None:
        self.done = 0
        for note in head["notes"]:
            say(f"note: {note}", err=True)

    def answer(self, found: dict[str, Any]) -> None:
        print(json.dumps(found | {"path": _valid(found["path"])}), flush=True)

    def failed(self, path: str, why: str) -> None:
        print(json.dumps({"path": _valid(path), "error": shown(why)}), flush=True)

    def end(self) -> None:
        """All is printed."""


class Csv(Lines):
    """A row a class; notes go to stderr."""

    COLUMNS = ("path", "method", "answer", "rank", "class", "score", "probability")

    def __init__(self, head: dict[str, Any], several: bool) -> None:
        super().__init__(head, several)
        self._row(self.COLUMNS)

    def answer(self, found: dict[str, Any]) -> None:
        for rank, row in enumerate(found["classes"], 1):
            answer = (_valid(found["path"]), found["method"], found["answer"], rank, row["name"], row["score"])
            self._row((*answer, row.get("probability", "")))

    def failed(self, path: str, why: str) -> None:
        """Said on stderr."""

    def _row(self, cells: Sequence[object]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        print(line.getvalue(), end="", flush=True)


PRINTERS: dict[Format, Callable[[dict[str, Any], bool], Table | Json | Lines]] = {
    "table": Table,
    "json": Json,
    "jsonl": Lines,
    "csv": Csv,
}
