"""How the time from files to logits grows: with pictures, crops, steps, classes and sentences, far beyond a page's.

    python -m lgca_core.bench.growth                 # embedded encoder; 10,000 pictures, 10,000 classes
    python -m lgca_core.bench.growth --most 100      # no axis beyond 100

Pictures are read from a few files again and again, so that the disk is not what is measured. Along each axis the others
stay where `FIXED` has them. A record with every time and the fitted powers is written to ``results/bench/``.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F

from lgca_core.bench.class_matrix import sentences
from lgca_core.bench.fits import exponents
from lgca_core.bench.pipeline import files_to_logits, now, paint_photographs
from lgca_core.bench.record import begin, write
from lgca_core.class_vectors import encode_classes
from lgca_core.encoder import Encoder
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA
from lgca_core.wca import WCA

FIXED = {"B": 8, "N": 10, "C": 100, "P": 10}
AXES: dict[str, tuple[str, list[int]]] = {
    "B": ("WCA", [1, 100, 10_000]),
    "N": ("WCA", [15, 60, 240]),
    "T": ("LGCA", [0, 1, 2, 3, 5, 8]),
    "C": ("class matrix", [10, 100, 1000, 10_000]),
    "P": ("class matrix", [1, 10, 100]),
}
"""What is timed against each axis, and where."""


def run_of(symbol: str, value: int, encoder: Encoder, files: Sequence[Path], width: int) -> Callable[[], object]:
    """What is timed at a value of an axis."""
    at = FIXED | {symbol: value}
    if symbol in ("C", "P"):
        prompts = sentences(at["C"], at["P"], seed=0)
        return lambda: encode_classes(encoder, prompts)
    pictures = [files[k % len(files)] for k in range(at["B"])]
    look = LGCA(n=60, steps=value, start="wca") if symbol == "T" else WCA(n=at["N"])
    classes = F.normalize(torch.randn(at["C"], width, generator=torch.Generator().manual_seed(0)), dim=-1)
    return lambda: files_to_logits(pictures, encoder, look, classes.to(encoder.device))


def benchmark(device: str, precision: str, most: int, repeats: int) -> dict[str, Any]:
    """One run: every time, and a power for each axis."""
    encoder = load_encoder("aviary", device=device, precision=precision)  # type: ignore[arg-type]
    width = encoder.encode_texts(["a bird"]).shape[1]
    with tempfile.TemporaryDirectory() as folder:
        files = paint_photographs(Path(folder), 32)
        rows = [
            {"what": what, "symbol": symbol, "value": value, "turns": []}
            for symbol, (what, values) in AXES.items()
            for value in values
            if value <= most
        ]
        runs = [run_of(row["symbol"], row["value"], encoder, files, width) for row in rows]
        # All take turns, so that a machine that is busy for a while slows them all.
        for turn in range(repeats):
            for row, run in zip(rows, runs):
                if turn and row["value"] >= 1000:
                    continue
                start = now(encoder.device)
                run()
                row["turns"].append(1000 * (now(encoder.device) - start))
                took = f"{row['what']}, {row['symbol']} = {row['value']:,}: {row['turns'][-1] / 1000:.2f} s"
                print(f"{turn + 1} of {repeats}: {took}", file=sys.stderr)
        for row in rows:
            row["ms"] = float(pd.Series(row["turns"]).median())
    table = pd.DataFrame(rows)
    points = table[table["value"] > 0].groupby("symbol")["value"].transform("nunique")  # a power wants two
    return begin("growth", encoder.device) | {
        "encoder": "aviary",
        "precision": encoder.precision,
        "device": encoder.device.type,
        "fixed": FIXED,
        "rows": rows,
        "fitted": exponents([table.loc[points.index[points > 1]]]).to_dict("records"),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--most", type=int, default=10_000, help="largest value of any axis")
    parser.add_argument("--repeats", type=int, default=3, help="below 1,000 of anything; from there on one turn")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), metavar="FOLDER", help="of the record")
    asked = parser.parse_args(words)
    if asked.most < 10 or asked.repeats < 1:
        parser.error("--most must be at least 10 and --repeats at least 1")
    try:
        asked.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        record = benchmark(asked.device, asked.precision, asked.most, asked.repeats)
        file = write(record, asked.out, f"aviary-{record['precision']}-{record['device']}")
    except (LgcaError, OSError) as error:
        parser.error(str(error))
    print(pd.DataFrame(record["fitted"]).to_string(index=False))
    print(f"record: {file}")


if __name__ == "__main__":
    main()
