"""What LGCA costs: the theorem's count and bound, counted passes and FLOPs, measured time.

Theorem (arXiv 2511.00419's claim, with its constant): LGCA with N first boxes, T expansions and 0 < rho < 1 runs

    1 + sum_{t=0..T} ceil(rho^t N)  <=  1 + N / (1 - rho) + T

encoder passes a picture, so O(N + T), and O(N) for any T up to N; WCA runs 1 + N.
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.stats import linregress
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA, exact_share
from lgca_core.views import Views
from lgca_core.wca import WCA


def passes(n: int, steps: int, rho: float) -> int:
    """Encoder passes a picture, ``1 + sum_{t=0..T} ceil(rho^t N)``, exactly."""
    return LGCA(n=n, steps=steps, rho=rho, start="wca").passes()


def passes_bound(n: int, steps: int, rho: float) -> float:
    """The theorem's bound, ``1 + N / (1 - rho) + T``; infinite for rho = 1."""
    if rho == 1:
        return math.inf
    # Exact until here: the nearest float to a number that is not below an integer is not below it either.
    return float(1 + n / (1 - exact_share(rho)) + steps)


def visual_flops(encoder: Encoder) -> int:
    """Floating-point operations of encoding one crop, a multiplication and an addition each counted as one.

    Counted by ``torch.utils.flop_counter`` on what is run: matrix products, convolutions and attention.
    """
    crop = torch.zeros(1, 3, encoder.size, encoder.size, device=encoder.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder.image(crop)
    return counter.get_total_flops()


@dataclass(frozen=True)
class Timing:
    """Seconds a picture: the median, the fastest and the slowest of the repeats; and passes a picture, counted."""

    seconds: float
    fastest: float
    slowest: float
    passes: float


def time_per_image(
    look: WCA | LGCA,
    encoder: Encoder,
    pictures: Sequence[Image.Image],
    *,
    repeats: int = 5,
    seed: int = 0,
    class_matrix: Tensor | None = None,
) -> Timing:
    """Time of pictures -> vectors, crops cut and encoded, nothing carried over; after one run that is not counted.

    Raises LgcaError without pictures or repeats.
    """
    (timing,) = _timings([look], encoder, pictures, repeats=repeats, seed=seed, class_matrix=class_matrix)
    return timing


def time_table(
    looks: Mapping[str, WCA | LGCA],
    encoder: Encoder,
    pictures: Sequence[Image.Image],
    *,
    repeats: int = 5,
    seed: int = 0,
    class_matrix: Tensor | None = None,
) -> pd.DataFrame:
    """One row a look: method, n, passes (by formula), counted (as run), ms (median a picture), fastest, slowest.

    The looks take turns, so that a machine that is busy for a while slows them all and not one.
    """
    timings = _timings([*looks.values()], encoder, pictures, repeats=repeats, seed=seed, class_matrix=class_matrix)
    return pd.DataFrame(
        {
            "method": name,
            "n": look.n,
            "passes": look.passes(),
            "counted": timing.passes,
            "ms": 1000 * timing.seconds,
            "fastest": 1000 * timing.fastest,
            "slowest": 1000 * timing.slowest,
        }
        for (name, look), timing in zip(looks.items(), timings, strict=True)
    )


def _timings(
    looks: Sequence[WCA | LGCA],
    encoder: Encoder,
    pictures: Sequence[Image.Image],
    *,
    repeats: int,
    seed: int,
    class_matrix: Tensor | None,
) -> list[Timing]:
    if not pictures or repeats < 1:
        raise LgcaError(f"timing needs pictures and repeats, got {len(pictures)} and {repeats}")
    identities = [str(b) for b in range(len(pictures))]

    def run(look: WCA | LGCA) -> tuple[float, float]:
        before = encoder.image_passes
        views = Views(encoder, pictures)  # a fresh one: it remembers what it encoded
        start = time.perf_counter()
        if isinstance(look, LGCA):
            look.vectors(views, identities, seed, class_matrix)
        else:
            look.vectors(views, identities, seed)
        if encoder.device.type == "cuda":
            torch.cuda.synchronize(encoder.device)
        seconds = time.perf_counter() - start
        return seconds / len(pictures), (encoder.image_passes - before) / len(pictures)

    rounds = [[run(look) for look in looks] for _ in range(1 + repeats)][1:]
    timings = []
    for turns in zip(*rounds, strict=True):
        seconds, counted = zip(*turns, strict=True)
        timings.append(Timing(statistics.median(seconds), min(seconds), max(seconds), statistics.fmean(counted)))
    return timings


def grid(n: Sequence[int], steps: Sequence[int]) -> dict[str, LGCA]:
    """LGCA with every combination, named "N=.., T=.."."""
    return {f"N={crops}, T={t}": LGCA(n=crops, steps=t) for crops in n for t in steps}


def against_bound(table: pd.DataFrame, looks: Mapping[str, LGCA]) -> pd.DataFrame:
    """Of a `time_table` of `looks`: setting, formula, counted, bound of the theorem, and times WCA's passes."""
    bound = [passes_bound(look.n, look.steps, look.rho) for look in looks.values()]
    return pd.DataFrame(
        {
            "setting": table["method"],
            "formula": table["passes"],
            "counted": table["counted"],
            "bound": bound,
            "times WCA's": table["passes"] / (table["n"] + 1),
        }
    )


def exponents(table: pd.DataFrame, x: str, by: str, y: str = "ms") -> pd.DataFrame:
    """Least-squares fit of ``y = a x^b`` in logarithms, for each value of `by`: columns `by`, exponent b, r2."""
    rows = []
    for key, part in table.groupby(by, sort=False):
        fit = linregress(np.log(part[x].to_numpy(float)), np.log(part[y].to_numpy(float)))
        rows.append({by: key, "exponent": fit.slope, "r2": fit.rvalue**2})
    return pd.DataFrame(rows)
