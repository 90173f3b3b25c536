"""What half the bits cost: predictions that flip against float32, on the embedded world.

    python -m lgca_core.bench.precision                       # bfloat16 on a CPU with AMX, float16 on a GPU
    python -m lgca_core.bench.precision --precision bfloat16  # this one

Both precisions evaluate the same methods on the same crops of one seed; nothing is read from a store. What they save is
`lgca bench` in either precision to say, which takes turns. A record is written to ``results/bench/``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lgca_core.bench.record import begin, write
from lgca_core.data.manifest import Manifest
from lgca_core.data.table import open_dataset
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.evaluate import evaluate
from lgca_core.evaluation.statistics import correctness, paired_interval
from lgca_core.prompts.class_prompts import prompts_of_dataset
from lgca_core.wca import WCA

METHODS = ["clip", "cupl", "wca", "lgca-equal"]


def benchmark(manifest: Manifest, device: str, precision: str, n: int) -> dict[str, Any]:
    """One run: for each method how many of 10,000 predictions flip, and what accuracy loses."""
    made: dict[str, pd.DataFrame] = {}
    for asked in ("float32", precision):
        encoder = load_encoder("aviary", device=device, precision=asked)  # type: ignore[arg-type]
        if encoder.precision in made:
            raise LgcaError("the fast precision of this machine is float32: name another one with --precision")
        prompts = prompts_of_dataset(manifest.name, manifest)
        _, made[encoder.precision] = evaluate(manifest, encoder, METHODS, prompts, seeds=[0], wca=WCA(n=n))
    exact, rough = made.values()
    both = exact.merge(rough, on=["path", "method", "seed"], suffixes=("", "_rough"), validate="one_to_one")
    flips = (both["prediction"] != both["prediction_rough"]).groupby(both["method"], sort=False).mean()
    hits, rough_hits = correctness(exact), correctness(rough)
    lost = {method: 100 * (rough_hits[method].mean() - hits[method].mean()) for method in METHODS}
    low_high = {method: [100 * end for end in paired_interval(rough_hits[method], hits[method])] for method in METHODS}
    return begin("precision", encoder.device) | {
        "encoder": "aviary",
        "precision": encoder.precision,
        "device": encoder.device.type,
        "pictures": len(manifest.items),
        "n": n,
        "flips_per_10000": {method: 10_000 * float(flips[method]) for method in METHODS},
        "accuracy_points": lost,
        "accuracy_interval": low_high,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "bfloat16", "float16"), default="auto")
    parser.add_argument("--n", type=int, default=30, help="crops of a picture")
    parser.add_argument("--dataset", default="aviary", help="of the embedded world")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), metavar="FOLDER", help="of the record")
    asked = parser.parse_args(words)
    try:
        asked.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        record = benchmark(open_dataset(asked.dataset), asked.device, asked.precision, asked.n)
        file = write(record, asked.out, f"aviary-{record['precision']}-{record['device']}")
    except (LgcaError, OSError) as error:
        parser.error(str(error))
    for method, flipped in record["flips_per_10000"].items():
        print(f"{method:<12} {flipped:6.0f} of 10,000 flip, {record['accuracy_points'][method]:+.2f} points")
    print(f"record: {file}")


if __name__ == "__main__":
    main()
