"""Powers fitted to times: how what takes time grows along an axis, beside the power that theory expects."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import linregress

EXPECTED: dict[tuple[str, str], str] = {
    ("class matrix", "P"): "1",
    ("class matrix", "C"): "1",
    ("score, double sum", "P"): "1",
    ("score, double sum", "C"): "1",
    ("score, factored", "P"): "0",
    ("score, factored", "C"): "0 to 1",
}
"""Powers that follow from how a thing is computed; of what encodes crops, by axis alone, see `_expected`."""


def _expected(what: str, symbol: str) -> str:
    return EXPECTED.get((what, symbol), "towards 0" if symbol == "T" else "1")


def exponents(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Least-squares fit of ``ms = a value^b`` in logarithms, for each thing and axis of tidy tables, without T = 0.

    Columns: ``what``, ``symbol``, ``expected`` (b by theory), ``exponent`` (b), ``error`` (its standard error), ``r2``.
    """
    rows = []
    frame = pd.concat(tables, ignore_index=True)
    positive = frame[frame["value"] > 0]
    for (what, symbol), part in positive.groupby(["what", "symbol"], sort=False):
        fit = linregress(np.log(part["value"].to_numpy(float)), np.log(part["ms"].to_numpy(float)))
        rows.append(
            {
                "what": what,
                "symbol": symbol,
                "expected": _expected(str(what), str(symbol)),
                "exponent": fit.slope,
                "error": fit.stderr,
                "r2": fit.rvalue**2,
            }
        )
    return pd.DataFrame(rows)
