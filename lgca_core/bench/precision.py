"""What half the bits cost: predictions that flip against float32, on the embedded world.

Both precisions evaluate the same methods on the same crops of one seed; nothing is read from a store. What half the
bits save, `lgca bench pipeline` tells, once in each precision.
"""

from typing import Any

import pandas as pd

from lgca_core.bench.record import begin_with_encoder
from lgca_core.data.manifest import Manifest
from lgca_core.encoders.devices import Device, Precision
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.evaluate import evaluate
from lgca_core.evaluation.statistics import correctness, paired_interval
from lgca_core.prompts.class_prompts import prompts_of_dataset
from lgca_core.wca import WCA

_METHODS = ["clip", "cupl", "wca", "lgca-equal"]


def count_flips(manifest: Manifest, device: Device, precision: Precision, n: int) -> dict[str, Any]:
    """Count for each method how many of 10,000 predictions flip, and what accuracy loses: the record.

    Raises LgcaError where `precision` comes to float32, or there is no such device.
    """
    made: dict[str, pd.DataFrame] = {}
    both: tuple[Precision, Precision] = ("float32", precision)
    for asked in both:
        encoder = load_encoder("aviary", device=device, precision=asked)
        if encoder.precision in made:
            raise LgcaError("the fast precision of this machine is float32: name another one with --precision")
        prompts = prompts_of_dataset(manifest.name, manifest)
        _, made[encoder.precision] = evaluate(manifest, encoder, _METHODS, prompts, seeds=[0], wca=WCA(n=n))
    exact, rough = made.values()
    paired = exact.merge(rough, on=["path", "method", "seed"], suffixes=("", "_rough"), validate="one_to_one")
    flips = (paired["prediction"] != paired["prediction_rough"]).groupby(paired["method"], sort=False).mean()
    hits, rough_hits = correctness(exact), correctness(rough)
    lost = {method: 100 * (rough_hits[method].mean() - hits[method].mean()) for method in _METHODS}
    low_high = {method: [100 * end for end in paired_interval(rough_hits[method], hits[method])] for method in _METHODS}
    return begin_with_encoder("precision", "aviary", encoder) | {
        "pictures": len(manifest.items),
        "n": n,
        "flips_per_10000": {method: 10_000 * float(flips[method]) for method in _METHODS},
        "accuracy_points": lost,
        "accuracy_interval": low_high,
    }
