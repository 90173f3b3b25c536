"""Statistics of answers: bootstrap intervals, McNemar's test, Holm's correction, comparisons, a record's summary.

Correctness is a 0/1 array over pictures, shape (n,) or (seeds, n).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import Record

COMPARED = ("method", "baseline", "difference", "difference_low", "difference_high", "p")
"""Columns of :func:`compare_methods`, in order, before ``p_holm``."""


def _per_image(correct: ArrayLike) -> NDArray[np.float64]:
    """Mean over seeds of each picture: (n,) or (seeds, n) -> (n,)."""
    array = np.asarray(correct, dtype=np.float64)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"correct must have shape (n,) or (seeds, n) and hold something, not {array.shape}")
    return array.mean(axis=0)


def _bootstrap(values: NDArray[np.float64], level: float, resamples: int, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of the mean of `values` (n,).

    Where few of the values are distinct (k of S seeds right), a resample of n pictures is one multinomial draw over the
    distinct ones: the same distribution as n draws with replacement, whatever n. It takes 8 bytes times `resamples`
    times the number of distinct values.
    """
    distinct, counts = np.unique(values.round(12), return_counts=True)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(values), counts / len(values), size=resamples)
    tail = 50 * (1 - level)
    low, high = np.percentile(draws @ distinct / len(values), [tail, 100 - tail])
    return float(low), float(high)


def interval(correct: ArrayLike, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of a mean over pictures, such as top-1, given the seeds that were run.

    Memory: 8 bytes times `resamples` times the number of distinct values; 0/1 of S seeds have S + 1 at most.

    Args:
        correct: 0/1, or any number a picture, (n,) or (seeds, n); with several seeds a picture counts with its mean,
            for 0/1 its share of right answers.

    Returns:
        (low, high), in the unit of the numbers: of 0/1 in 0..1. By the percentile method, so where every picture is
        right (or wrong) it has no width.
    """
    return _bootstrap(_per_image(correct), level, resamples, seed)


def paired_interval(
    a: ArrayLike, b: ArrayLike, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the mean of `a` minus that of `b` on the same pictures, in the same order.

    Args:
        a, b: 0/1, or any number a picture, (n,) or (seeds, n); the numbers of seeds may differ, the pictures may not.

    Returns:
        (low, high) of the difference, in the unit of the numbers: of 0/1 in -1..1.
    """
    first, second = _per_image(a), _per_image(b)
    if len(first) != len(second):
        raise ValueError(f"paired methods need the same pictures: {len(first)} and {len(second)}")
    return _bootstrap(first - second, level, resamples, seed)


def majority_answer(correct: ArrayLike) -> NDArray[np.bool_]:
    """One answer a picture out of several seeds: right where more than half of the seeds are; a tie goes by
    the first.

    (n,) or (seeds, n) 0/1 -> (n,) bool.
    """
    array = np.atleast_2d(np.asarray(correct, dtype=bool))
    twice = 2 * array.sum(axis=0)
    return np.where(twice == len(array), array[0], twice > len(array))


def mcnemar(a: ArrayLike, b: ArrayLike) -> float:
    """McNemar's exact two-sided p value on the same pictures; a, b (n,) 0/1. 1.0 where they never differ."""
    from scipy.stats import binomtest

    first, second = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"McNemar's test needs one answer a picture from both: {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differ = only_first + only_second
    return float(binomtest(only_first, differ, 0.5).pvalue) if differ else 1.0


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down correction of p values (m,) -> (m,), for the m comparisons of one table."""
    values = np.asarray(p, dtype=np.float64)
    order = values.argsort()
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1.0)
    return corrected


def correctness(predictions: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Method -> (seeds, n) bool, in order of appearance; pictures sorted by path, seeds ascending.

    Raises:
        ValueError: the methods were not run on the same pictures.
    """
    hits = predictions.assign(hit=predictions["label"] == predictions["prediction"])
    table: dict[str, NDArray[np.bool_]] = {}
    paths: pd.Index | None = None
    for method, rows in hits.groupby("method", sort=False):
        wide = rows.pivot(index="seed", columns="path", values="hit")  # sorts both
        if wide.isna().to_numpy().any() or (paths is not None and not wide.columns.equals(paths)):
            raise ValueError(f"{method} was not run on the same pictures as the others")
        paths = wide.columns
        table[str(method)] = wide.to_numpy(dtype=bool)
    return table


def compare_methods(hits: Mapping[str, ArrayLike], pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Pairs of methods on the same pictures, a row a pair: ``method`` minus ``baseline``.

    Columns: ``method``; ``baseline``; ``difference`` of top-1 (means over seeds, -1..1) with its 95 % paired bootstrap
    interval ``difference_low`` to ``difference_high``; ``p``, McNemar's exact test; ``p_holm``, corrected over the rows
    of this table.

    McNemar's test takes one answer a picture. A method with several seeds enters it with :func:`decided`: right where
    more than half of its seeds are right. The difference and its interval use the mean over seeds.

    Args:
        hits: method -> 0/1, (n,) or (seeds, n), as :func:`correctness` gives them.
        pairs: (method, baseline), keys of `hits`.

    Raises:
        LgcaError: a pair names a method that is not in `hits`.
    """
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        for method in pair:
            if method not in hits:
                raise LgcaError(f"the record has no method {method!r} to compare with; it has {', '.join(hits)}")
        first, second = (np.asarray(hits[method]) for method in pair)
        low, high = paired_interval(first, second)
        row = dict(zip(COMPARED, [*pair, first.mean() - second.mean(), low, high]))
        rows.append(row | {"p": mcnemar(majority_answer(first), majority_answer(second))})
    table = pd.DataFrame(rows, columns=list(COMPARED)).astype(dict.fromkeys(COMPARED[2:], "float64"))
    return table.assign(p_holm=holm(table["p"].to_numpy()))


def compare_each(
    hits: Mapping[str, Mapping[str, ArrayLike]], pairs: Iterable[tuple[str, str]], key: str = "dataset"
) -> pd.DataFrame:
    """:func:`compare` within each of several tables of hits: ``key`` comes first, ``p_holm`` is over all rows.

    Args:
        hits: name, such as a data set's -> hits by method, as :func:`compare` takes them.
        key: what the column of names is called.
    """
    wanted = list(pairs)
    frames = [compare_methods(table, wanted).assign(**{key: name}) for name, table in hits.items()]
    table = pd.concat(frames, ignore_index=True)[[key, *COMPARED]]
    return table.assign(p_holm=holm(table["p"].to_numpy()))


def tied_with_best(hits: Mapping[str, ArrayLike]) -> dict[str, bool]:
    """Of each method, whether it is the best or statistically tied with it on the same pictures.

    Tied means that the 95 % paired bootstrap interval of (best - method) holds zero. The best is that of the highest
    top-1, the first of equals. A tie is not equality: with few pictures, much is tied.
    """
    if not hits:
        return {}
    best = max(hits, key=lambda method: _per_image(hits[method]).mean())
    rounding = 1e-9  # of sums of shares that cancel
    return {method: paired_interval(hits[best], correct)[0] <= rounding for method, correct in hits.items()}


def summary(record: Record, predictions: pd.DataFrame, baseline: str | None = "wca") -> pd.DataFrame:
    """One row a method: accuracy, its interval, its spread over seeds, its cost, and its distance from a
    baseline.

    Columns: ``method``; ``seeds`` (how many); ``images``; ``top1`` (mean over seeds, 0..1); ``std`` over
    seeds (n - 1; NaN for one seed); ``low``, ``high`` (95 % bootstrap over pictures); ``tied`` (the best, or
    :func:`tied` with it); ``passes`` (encoder passes an image); and, against the baseline, ``difference``,
    ``difference_low``, ``difference_high``, ``p`` and ``p_holm`` as :func:`compare` gives them, corrected over
    the rows of this table.

    Args:
        baseline: method that the others are compared with; None leaves those columns NaN.

    Raises:
        LgcaError: the baseline is not among the methods of the record.
    """
    hits = correctness(predictions)
    passes = {run.method: run.passes_per_image for run in record.runs}
    equal = tied_with_best(hits)
    rows: list[dict[str, Any]] = []
    for method, correct in hits.items():
        by_seed = correct.mean(axis=1)
        low, high = interval(correct)
        rows.append(
            {
                "method": method,
                "seeds": len(correct),
                "images": correct.shape[1],
                "top1": float(by_seed.mean()),
                "std": float(by_seed.std(ddof=1)) if len(correct) > 1 else math.nan,
                "low": low,
                "high": high,
                "tied": equal[method],
                "passes": passes[method],
            }
        )
    others = [] if baseline is None else [(method, baseline) for method in hits if method != baseline]
    return pd.DataFrame(rows).merge(compare_methods(hits, others).drop(columns="baseline"), on="method", how="left")
