"""Powers fitted to times: how what takes time grows along an axis, beside the power that theory expects."""

import numpy as np
import pandas as pd
from scipy.stats import linregress


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Least-squares fit of ``ms = a value^b`` in logarithms, for each ``what`` and ``symbol`` (axis) of a tidy table.

    Values of zero have no logarithm and are left out, and so is an axis with fewer than two others.

    Columns: ``what``, ``symbol``, ``expected`` (b by theory), ``exponent`` (b), ``error`` (its standard error), ``r2``.
    """
    rows = []
    for (what, symbol), part in table[table["value"] > 0].groupby(["what", "symbol"], sort=False):
        if part["value"].nunique() < 2:
            continue
        fit = linregress(np.log(part["value"].to_numpy(float)), np.log(part["ms"].to_numpy(float)))
        rows.append(
            {
                "what": what,
                "symbol": symbol,
                "expected": "none" if symbol == "T" else "1",  # N / (1 - rho) + T is no power of T
                "exponent": fit.slope,
                "error": fit.stderr,
                "r2": fit.rvalue**2,
            }
        )
    return pd.DataFrame(rows)
