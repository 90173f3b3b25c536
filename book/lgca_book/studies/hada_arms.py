"""HADA's arms, out of the records of their trainings: RSum, paired differences, and which way each came out."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgca_book.studies.related_arms import THREE, Runs, compare_arms, with_verdicts
from lgca_core.evaluation.statistics import interval
from lgca_core.related.hada.evaluate import RSUM, rsum_by_picture

SUMS = ("first", "second", "third", "score-sum")
FIXED = frozenset({*SUMS, *(THREE + arm for arm in SUMS)})
"""Arms in which nothing is trained: each model alone, and the sum of their scores."""

RESHUFFLED = f"{RSUM} reshuffled"
"""The metric of a record whose evaluation was made once more, with its batches in another order."""

WAYS = tuple(f"R@{k} {way}" for way in ("image to text", "text to image") for k in (1, 5, 10))
"""The six recalls that RSum adds up."""


def rsums(runs: Runs) -> dict[str, NDArray[np.float64]]:
    """Arm -> what each picture adds to RSum, 0 to 6: (seeds, pictures), pictures by name."""
    return {arm: np.stack([rsum_by_picture(ranks).to_numpy() for _, ranks in of]) for arm, of in runs.items()}


def arms_table(runs: Runs, arms: Sequence[str]) -> pd.DataFrame:
    """A row an arm that there is; all but counts are means over seeds.

    Columns: ``arm``; ``seeds``; ``rsum``, 0 to 6; its ``std`` over seeds; ``low``, ``high``: its 95 % interval over
    pictures, a picture with all its captions; the six recalls, 0 to 1, by :data:`WAYS`; ``parameters`` that are
    trained; ``seconds`` of an epoch, the median; ``memory``, the most, in bytes; ``w``, the learned share of the
    stronger model; ``reshuffled``, by how much RSum changes where the evaluation's batches are in another order.
    """
    by_picture = rsums({arm: runs[arm] for arm in arms if arm in runs})
    rows = []
    for arm, values in by_picture.items():
        low, high = interval(values)
        records = [record for record, _ in runs[arm]]
        totals = np.array([record.metrics[RSUM] for record in records])
        trained = [record.outcome for record in records if record.outcome.get("epochs")]
        shares = [of["w"] for of in trained if of["w"] is not None]
        again = [of.metrics[RESHUFFLED] - of.metrics[RSUM] for of in records if RESHUFFLED in of.metrics]
        rows.append(
            {
                "arm": arm,
                "seeds": len(records),
                "rsum": float(totals.mean()),
                "std": float(totals.std(ddof=1)) if len(totals) > 1 else np.nan,
                "low": low,
                "high": high,
                **{way: float(np.mean([record.metrics[way] for record in records])) for way in WAYS},
                "parameters": trained[0]["parameters"] if trained else 0,
                "seconds": float(np.median([of["seconds"] / of["epochs"] for of in trained])) if trained else np.nan,
                "memory": max((of["peak_memory"] for of in trained), default=np.nan),
                "w": float(np.mean(shares)) if shares else np.nan,
                "reshuffled": float(np.mean(again)) if again else np.nan,
            }
        )
    return pd.DataFrame(rows)


def compare(runs: Runs, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Rows of ``compare_arms`` on RSum by picture, which way each came out included."""
    return with_verdicts(compare_arms(rsums(runs), pairs, FIXED))


def stronger_alone(runs: Runs) -> str | None:
    """Which of the first two models alone has the larger RSum; None without their records."""
    alone = {arm: runs[arm][0][0].metrics[RSUM] for arm in SUMS[:2] if arm in runs}
    return max(alone, key=lambda arm: alone[arm]) if len(alone) == 2 else None
