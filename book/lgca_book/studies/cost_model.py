"""What LGCA costs: the theorem's count and bound, beside the encoder passes that are counted.

Theorem (arXiv 2511.00419's claim, with its constant, for this book's rule that a share 0 < rho < 1 is kept): LGCA with
N first boxes and T expansions runs

    1 + sum_{t=0..T} ceil(rho^t N)  <=  1 + N (1 - rho^(T+1)) / (1 - rho) + T

encoder passes a picture, WCA 1 + N. The bound is off by less than T, and exact at T = 0. For fixed T the passes are
O(N) with the constant (1 - rho^(T+1)) / (1 - rho); as T grows they are N / (1 - rho) + T + O(1) at most, and at least
T + N, since a step has one box or more. Nothing here is timed: that is what `lgca bench` does, and what its records
are for.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from lgca_core.encoder import Encoder
from lgca_core.lgca import LGCA, exact_share
from lgca_core.views import Views


def passes(n: int, steps: int, rho: float) -> int:
    """Encoder passes a picture, ``1 + sum_{t=0..T} ceil(rho^t N)``, exactly."""
    return LGCA(n=n, steps=steps, rho=rho, start="wca").passes()


def passes_bound(n: int, steps: int, rho: float) -> float:
    """The theorem's bound, ``1 + N (1 - rho^(T+1)) / (1 - rho) + T``; ``1 + N (T + 1) + T`` for rho = 1."""
    # Exact until here: the nearest float to a number that is not below an integer is not below it either.
    return float(1 + n * sum(exact_share(rho) ** t for t in range(steps + 1)) + steps)


def rounds(steps: int) -> int:
    """Rounds of encoding that wait for each other, T + 1: which boxes a step expands, the step before has to say."""
    return steps + 1


def saliency_operations(n: int, steps: int, rho: float, classes: int, width: int) -> tuple[int, int]:
    """Operations of ranking a picture's boxes, a multiplication and an addition each counted as one: by their likeness
    to the picture, ``2 E D`` for E boxes, and by text, ``2 E C D``, which asks every class of every box."""
    boxes = passes(n, steps, rho) - 1
    return 2 * boxes * width, 2 * boxes * classes * width


def power_of_passes(n: Sequence[int], steps: int, rho: float) -> float:
    """The power of N that passes grow with, by a straight line through their logarithms: counted, not timed."""
    counts = [passes(crops, steps, rho) for crops in n]
    return float(np.polyfit(np.log(n), np.log(counts), 1)[0])


def counted_passes(
    n: Sequence[int], steps: Sequence[int], encoder: Encoder, pictures: Sequence[Image.Image]
) -> pd.DataFrame:
    """Encoder passes a picture of LGCA with every N and T, by the formula and as the encoder counts them.

    Boxes that coincide are encoded once, so the count may be below the formula.

    Columns: ``N``, ``T``, ``formula``, ``counted`` (mean over the pictures), ``bound``, and ``times WCA's``, which is
    the formula over the passes of WCA with the same N.
    """
    rows = []
    for crops in n:
        for t in steps:
            lgca = LGCA(n=crops, steps=t)
            before = encoder.image_passes
            lgca.vectors(Views(encoder, pictures), [str(b) for b in range(len(pictures))], seed=0)
            rows.append(
                {
                    "N": crops,
                    "T": t,
                    "formula": lgca.passes(),
                    "counted": (encoder.image_passes - before) / len(pictures),
                    "bound": passes_bound(crops, t, lgca.rho),
                    "times WCA's": lgca.passes() / (1 + crops),
                }
            )
    return pd.DataFrame(rows)
