"""How time grows with pictures, crops, steps, classes and sentences: from files to logits, and of the class matrix.

Pictures are read from a few files again and again, so that the disk is not what is measured. Along each axis the others
stay where `FIXED` has them.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F

from lgca_core.bench.class_matrix import sentences
from lgca_core.bench.fits import exponents
from lgca_core.bench.harness import SEED_OF_WORK, Say, files_to_logits, paint_photographs, time_in_turns
from lgca_core.bench.record import begin_with_encoder
from lgca_core.class_vectors import encode_classes
from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Device, Precision
from lgca_core.encoders.registry import load_encoder
from lgca_core.lgca import LGCA
from lgca_core.wca import WCA

FIXED = {"B": 8, "N": 10, "C": 100, "P": 10}
"""Value of each axis while another one moves; against T, N is 60."""

AXES: dict[str, tuple[str, list[int]]] = {
    "B": ("WCA", [1, 100, 10_000]),
    "N": ("WCA", [15, 60, 240]),
    "T": ("LGCA", [0, 1, 2, 3, 5, 8]),
    "C": ("class matrix", [10, 100, 1000, 10_000]),
    "P": ("class matrix", [1, 10, 100]),
}
"""What is timed against each axis, and where."""

ONCE_FROM = 1000
"""Value of an axis from which on it is timed in one turn only."""


@dataclass(frozen=True)
class AxisPoint:
    """What is timed at a value of an axis."""

    what: str
    symbol: str
    value: int

    def __str__(self) -> str:
        return f"{self.what}, {self.symbol} = {self.value:,}"


def run_of(symbol: str, value: int, encoder: Encoder, files: Sequence[Path], width: int) -> Callable[[], object]:
    """The work at a value of an axis, ready to be timed."""
    at = FIXED | {symbol: value}
    if symbol in ("C", "P"):
        prompts = sentences(at["C"], at["P"], SEED_OF_WORK)
        return lambda: encode_classes(encoder, prompts)
    pictures = [files[k % len(files)] for k in range(at["B"])]
    method = LGCA(n=60, steps=value, start="wca") if symbol == "T" else WCA(n=at["N"])
    generator = torch.Generator().manual_seed(SEED_OF_WORK)
    classes = F.normalize(torch.randn(at["C"], width, generator=generator), dim=-1)
    return lambda: files_to_logits(pictures, encoder, method, classes.to(encoder.device))


def time_growth(device: Device, precision: Precision, most: int, repeats: int, report: Say) -> dict[str, Any]:
    """Time every point of every axis up to `most`, and fit a power to each axis: the record.

    Raises LgcaError where there is no such device or precision.
    """
    encoder = load_encoder("aviary", device=device, precision=precision)
    width = encoder.encode_texts(["a bird"]).shape[1]
    points = [AxisPoint(what, symbol, v) for symbol, (what, values) in AXES.items() for v in values if v <= most]
    with tempfile.TemporaryDirectory() as folder:
        files = paint_photographs(Path(folder), 32)
        arms = {str(point): run_of(point.symbol, point.value, encoder, files, width) for point in points}
        once = {str(point) for point in points if point.value >= ONCE_FROM}
        seconds = time_in_turns(arms, repeats, encoder.device, report, once=once)
    rows = [
        vars(point) | {"turns": turns, "ms": statistics.median(turns)}
        for point in points
        for turns in [[1000 * spent for spent in seconds[str(point)]]]
    ]
    return begin_with_encoder("growth", "aviary", encoder) | {
        "fixed": FIXED,
        "rows": rows,
        "fitted": exponents(pd.DataFrame(rows)).to_dict("records"),
    }
