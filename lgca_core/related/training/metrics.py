"""The losses of a training, step by step: a table, and TensorBoard's event files where it is installed."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lgca_core.files import write_whole

TABLE = "metrics.csv"
EVENTS = "tensorboard"
"""The folder of event files."""


class Metrics:
    """Adds a row a step to ``metrics.csv`` in a folder, and to event files; rows after ``step`` are dropped first."""

    def __init__(self, folder: Path, step: int) -> None:
        self.file = folder / TABLE
        kept = _rows_until(self.file, step)
        write_whole(self.file, "".join(f"{','.join(row)}\n" for row in kept).encode())
        self.columns = kept[0] if kept else None
        self.stream = self.file.open("a", newline="", buffering=1)
        self.events: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # the extra `goal` brings it
            return
        self.events = SummaryWriter(str(folder / EVENTS), purge_step=step + 1)  # events of steps to come

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """One step's losses, rate and scale."""
        if self.columns is None:
            self.columns = ["step", *values]
            self.stream.write(f"{','.join(self.columns)}\n")
        self.stream.write(f"{step},{','.join(f'{value:.6g}' for value in values.values())}\n")
        if self.events:
            for name, value in values.items():
                if not math.isnan(value):  # else it is known at the end of an epoch only
                    self.events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Write what is still held back, so that a later process finds every step so far."""
        self.stream.flush()
        if self.events:
            self.events.flush()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()
        if self.events:
            self.events.close()


def _rows_until(file: Path, step: int) -> list[list[str]]:
    """The head of a table and its rows up to a step."""
    if not step or not file.exists():
        return []
    with file.open(newline="") as stream:
        rows = [*csv.reader(stream)]
    return [*rows[:1], *(row for row in rows[1:] if row and row[0].isdigit() and int(row[0]) <= step)]
