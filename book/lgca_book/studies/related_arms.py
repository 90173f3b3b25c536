"""Arms of the related systems, by the records of their trainings: paired differences, and what crops gain with each."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import find_records, load
from lgca_core.evaluation.statistics import correctness, paired_interval
from lgca_core.related.captions.record import RelatedRecord, find_related

THREE = "three-"
"""Before the name of an arm that fused three encoders."""

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


def arm_of(record: RelatedRecord) -> str:
    """The name of a record's arm on the pages: where three encoders were fused, with "three-" before it."""
    return f"{THREE}{record.arm}" if len(record.encoders) == 3 else record.arm


def runs_of(root: Path | str) -> dict[str, list[tuple[RelatedRecord, pd.DataFrame]]]:
    """Records of retrieval below a folder by arm, in order of seed; empty where there are none.

    Raises:
        LgcaError: arms that were tested on different captions.
    """
    by_arm: dict[str, list[tuple[RelatedRecord, pd.DataFrame]]] = {}
    for record, ranks in find_related(Path(root)).values():
        by_arm.setdefault(arm_of(record), []).append((record, ranks))
    tested = {record.captions.sha256 for runs in by_arm.values() for record, _ in runs}
    if len(tested) > 1:
        raise LgcaError(f"{root} holds records of different captions: remove those that do not belong there")
    return {arm: sorted(runs, key=lambda run: run[0].seed) for arm, runs in by_arm.items()}


def compare_arms(
    values: Mapping[str, NDArray[np.generic]], pairs: Iterable[tuple[str, str]], fixed: Collection[str] = ()
) -> pd.DataFrame:
    """Pairs of arms on the same queries (or pictures), a row each: ``arm`` minus ``baseline``.

    Columns: ``arm``, ``baseline``; ``seeds`` of both; ``difference``, means over seeds, in the unit of the values;
    ``difference_low``, ``difference_high``: its 95 % bootstrap interval over queries, for these trainings;
    ``seeds_low``, ``seeds_high``: the t interval over the differences of equal seeds, for these queries and other
    orders of training (NaN with one; of no width between two arms that are fixed).

    Args:
        values: arm -> (seeds, queries), in the same order: 0/1, or any number a query.
        fixed: arms in which nothing is trained, so that another training could not change them.
    """
    rows = []
    for pair in pairs:
        if not set(pair) <= values.keys():
            continue
        a, b = (values[arm].astype(float) for arm in pair)
        low, high = paired_interval(a, b)
        difference = float(a.mean() - b.mean())
        seeds_low, seeds_high = _over_seeds(*(of.mean(1) for of in (a, b)), *(arm in fixed for arm in pair))
        rows.append([*pair, f"{len(a)}, {len(b)}", difference, low, high, seeds_low, seeds_high])
    return pd.DataFrame(rows, columns=list(COMPARISON))


def _over_seeds(
    a: NDArray[np.float64], b: NDArray[np.float64], a_is_fixed: bool, b_is_fixed: bool
) -> tuple[float, float]:
    """The t interval of the differences of equal seeds, (seeds,) each."""
    if a_is_fixed and b_is_fixed:
        return (float(a.mean() - b.mean()),) * 2
    seeds = min(len(of) for of, fixed in ((a, a_is_fixed), (b, b_is_fixed)) if not fixed)
    by_seed = (a.mean() if a_is_fixed else a[:seeds]) - (b.mean() if b_is_fixed else b[:seeds])
    if seeds < 2:
        return np.nan, np.nan
    reach = stats.t.ppf(0.975, seeds - 1) * by_seed.std(ddof=1) / np.sqrt(seeds)
    return float(by_seed.mean() - reach), float(by_seed.mean() + reach)


def differs(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Rows of :func:`compare_arms` whose two intervals leave zero on the same side."""
    above = (frame["difference_low"] > 0) & (frame["seeds_low"] > 0)
    below = (frame["difference_high"] < 0) & (frame["seeds_high"] < 0)
    return above | below


def with_verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`compare_arms` and ``verdict``: "better" or "worse" where `differs`, else "open"."""
    side = np.where(frame["difference"] > 0, "better", "worse")
    return frame.assign(verdict=np.where(differs(frame), side, "open").astype(object))


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


def changes_of_methods(
    found: Mapping[str, Mapping[str, NDArray[np.bool_]]],
    methods: Iterable[str],
    pairs: Iterable[tuple[str, str]],
    fixed: Collection[str] = (),
) -> pd.DataFrame:
    """What an arm's encoder does to each method: rows of :func:`compare_arms`, and ``method``."""
    pairs = list(pairs)
    frames = [
        compare_arms({arm: by[method] for arm, by in found.items() if method in by}, pairs, fixed).assign(method=method)
        for method in methods
    ]
    return pd.concat([pd.DataFrame(columns=[*COMPARISON, "method"]), *frames], ignore_index=True)
