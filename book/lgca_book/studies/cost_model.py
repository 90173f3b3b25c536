"""What LGCA costs: the theorem's count and bound, beside the encoder passes that are counted.

Theorem (arXiv 2511.00419's claim, with its constant): LGCA with N first boxes, T expansions and 0 < rho < 1 runs

    1 + sum_{t=0..T} ceil(rho^t N)  <=  1 + N / (1 - rho) + T

encoder passes a picture, so O(N + T), and O(N) for any T up to N; WCA runs 1 + N. Nothing here is timed: that is what
`lgca bench` does, and what its records are for.
"""

import math
from collections.abc import Sequence

import pandas as pd
from PIL import Image

from lgca_core.encoder import Encoder
from lgca_core.lgca import LGCA, exact_share
from lgca_core.views import Views


def passes(n: int, steps: int, rho: float) -> int:
    """Encoder passes a picture, ``1 + sum_{t=0..T} ceil(rho^t N)``, exactly."""
    return LGCA(n=n, steps=steps, rho=rho, start="wca").passes()


def passes_bound(n: int, steps: int, rho: float) -> float:
    """The theorem's bound, ``1 + N / (1 - rho) + T``; infinite for rho = 1."""
    if rho == 1:
        return math.inf
    # Exact until here: the nearest float to a number that is not below an integer is not below it either.
    return float(1 + n / (1 - exact_share(rho)) + steps)


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
