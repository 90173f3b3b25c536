"""GOAL's arms, out of the records of their trainings: recalls, paired differences, and what crops gain with each."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import find_records, load
from lgca_core.evaluation.statistics import correctness, interval, paired_interval
from lgca_core.related.captions.record import RelatedRecord, find_related

START = "start"
"""The encoder as it was, before any arm trains it."""

COMPARISON = (
    "arm",
    "baseline",
    "seeds",
    "difference",
    "difference_low",
    "difference_high",
    "seeds_low",
    "seeds_high",
)
"""Columns of :func:`compare_arms`."""

Runs = Mapping[str, Sequence[tuple[RelatedRecord, pd.DataFrame]]]
"""The records of each arm and the ranks of their queries, one a seed."""


def runs_of(root: Path | str) -> dict[str, list[tuple[RelatedRecord, pd.DataFrame]]]:
    """Records of retrieval below a folder by arm, in order of seed; empty where there are none.

    Raises:
        LgcaError: arms that were tested on different captions, or trained with different settings beside their own.
    """
    by_arm: dict[str, list[tuple[RelatedRecord, pd.DataFrame]]] = {}
    for record, ranks in find_related(Path(root)).values():
        by_arm.setdefault(record.arm, []).append((record, ranks))
    tested = {record.captions.sha256 for runs in by_arm.values() for record, _ in runs}
    if len(tested) > 1:
        raise LgcaError(f"{root} holds records of different captions: remove those that do not belong there")
    return {arm: sorted(runs, key=lambda run: run[0].seed) for arm, runs in by_arm.items()}


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


def compare_arms(right: Mapping[str, NDArray[np.bool_]], pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Pairs of arms on the same queries, a row each: ``arm`` minus ``baseline``.

    Columns: ``arm``, ``baseline``; ``seeds`` of both; ``difference``, means over seeds, -1 to 1; ``difference_low``,
    ``difference_high``: its 95 % bootstrap interval over queries, for these trainings; ``seeds_low``, ``seeds_high``:
    the t interval over the differences of equal seeds, for these queries and other orders of training (NaN with one).

    Args:
        right: arm -> (seeds, queries), in the same order.
    """
    rows = []
    for arm, baseline in pairs:
        if arm not in right or baseline not in right:
            continue
        a, b = right[arm].astype(float), right[baseline].astype(float)
        low, high = paired_interval(a, b)
        seeds = min(len(a), len(b))
        by_seed = a[:seeds].mean(1) - (b[:seeds] if len(b) > 1 else b).mean(1)
        spread = np.nan
        if len(by_seed) > 1:
            spread = stats.t.ppf(0.975, len(by_seed) - 1) * by_seed.std(ddof=1) / np.sqrt(len(by_seed))
        rows.append(
            {
                "arm": arm,
                "baseline": baseline,
                "seeds": f"{len(a)}, {len(b)}",
                "difference": float(a.mean() - b.mean()),
                "difference_low": low,
                "difference_high": high,
                "seeds_low": float(by_seed.mean() - spread),
                "seeds_high": float(by_seed.mean() + spread),
            }
        )
    return pd.DataFrame(rows, columns=list(COMPARISON))


def differs(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Rows of :func:`compare_arms` whose two intervals leave zero on the same side."""
    above = (frame["difference_low"] > 0) & (frame["seeds_low"] > 0)
    below = (frame["difference_high"] < 0) & (frame["seeds_high"] < 0)
    return above | below


def classified(root: Path | str) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Arm -> method -> (seeds, pictures): right answers of classification with each arm's encoders."""
    root = Path(root)
    found: dict[str, dict[str, list[NDArray[np.bool_]]]] = {}
    for place in find_records(root) if root.is_dir() else []:
        arm = place.relative_to(root).parts[0]
        for method, right in correctness(load(place)[1]).items():
            found.setdefault(arm, {}).setdefault(method, []).append(right[0])
    return {arm: {method: np.stack(right) for method, right in by.items()} for arm, by in found.items()}


def accuracies(found: Mapping[str, Mapping[str, NDArray[np.bool_]]], arms: Sequence[str]) -> pd.DataFrame:
    """A row an arm, a column a method: top-1, 0 to 1, the mean over seeds."""
    rows = [{"arm": arm, **{m: float(right.mean()) for m, right in found[arm].items()}} for arm in arms if arm in found]
    return pd.DataFrame(rows)


def gains_of_crops(
    found: Mapping[str, Mapping[str, NDArray[np.bool_]]], arms: Sequence[str], pairs: Iterable[tuple[str, str]]
) -> pd.DataFrame:
    """What a method gains over another with each arm's encoders: rows of :func:`compare_arms`, and ``encoder``."""
    pairs = list(pairs)
    frames = [
        compare_arms(found[arm], [pair for pair in pairs if set(pair) <= found[arm].keys()]).assign(encoder=arm)
        for arm in arms
        if arm in found
    ]
    return pd.concat([pd.DataFrame(columns=[*COMPARISON, "encoder"]), *frames], ignore_index=True)
