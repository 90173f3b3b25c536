"""GOAL's arms, out of the records of their trainings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgca_book.studies.related_arms import Runs
from lgca_core.evaluation.statistics import interval

START = "start"
"""The encoder as it was, before any arm trains it."""


def hits(runs: Runs, arm: str, k: int = 1) -> NDArray[np.bool_]:
    """Whether each query has its match among the first k: (seeds, queries), both directions one after the other."""
    return np.stack([(ranks["rank"] <= k).to_numpy() for _, ranks in runs[arm]])


def arms_table(runs: Runs, arms: Sequence[str]) -> pd.DataFrame:
    """A row an arm that there is.

    Columns: ``arm``; ``seeds``; ``r1``, ``r5``: R@1 and R@5 over both directions, 0 to 1, means over seeds; ``std`` of
    R@1 over seeds; ``low``, ``high``: its 95 % interval over queries; ``image_to_text``, ``text_to_image``: R@1 of
    each; ``moved``: share of weights that training changed; ``seconds``: of a step, the median; ``memory`` in bytes.
    """
    rows = []
    for arm in [arm for arm in arms if arm in runs]:
        right = hits(runs, arm)
        low, high = interval(right)
        records = [record for record, _ in runs[arm]]
        outcomes = [record.outcome for record in records if record.outcome]
        rows.append(
            {
                "arm": arm,
                "seeds": len(right),
                "r1": float(right.mean()),
                "r5": float(hits(runs, arm, 5).mean()),
                "std": float(right.mean(1).std(ddof=1)) if len(right) > 1 else np.nan,
                "low": low,
                "high": high,
                "image_to_text": float(np.mean([record.metrics["R@1 image to text"] for record in records])),
                "text_to_image": float(np.mean([record.metrics["R@1 text to image"] for record in records])),
                "moved": float(np.mean([of["moved"] for of in outcomes])) if outcomes else np.nan,
                "seconds": float(np.median([of["seconds"] / of["steps"] for of in outcomes])) if outcomes else np.nan,
                "memory": max((of["peak_memory"] for of in outcomes), default=np.nan),
            }
        )
    return pd.DataFrame(rows)
