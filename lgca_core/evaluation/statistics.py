"""Statistics of answers: intervals, an exact paired test, Holm's correction, comparisons, a record's summary.

Correctness is a 0/1 array over pictures, shape (n,) or (seeds, n).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import Record

COMPARED = ("method", "baseline", "difference", "difference_low", "difference_high", "p")
"""Columns of :func:`compare_methods`, in order, before ``p_holm``."""
OVER_CLASSES = ("classes_low", "classes_high", "p_classes")
"""Those of the same difference with the classes drawn too; before ``p_holm``."""
LEAST_P = 1e-12
"""The smallest p value that :func:`sign_flip` tells from zero."""


def _per_image(correct: ArrayLike) -> NDArray[np.float64]:
    """Mean over seeds of each picture: (n,) or (seeds, n) -> (n,)."""
    array = np.asarray(correct, dtype=np.float64)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"correct must have shape (n,) or (seeds, n) and hold something, not {array.shape}")
    return array.mean(axis=0)


def _numbered(classes: ArrayLike, pictures: int) -> NDArray[np.intp]:
    """The class of each picture as 0, 1, ...: (n,) anything -> (n,)."""
    names = np.asarray(classes)
    if names.shape != (pictures,):
        raise ValueError(f"classes must have shape ({pictures},), one a picture, not {names.shape}")
    return np.unique(names, return_inverse=True)[1]


def _sums(number: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of `values` (n,) by their `number` (n,), 0..kinds - 1 -> (kinds,)."""
    return np.asarray(np.bincount(number, values), dtype=np.float64)


def _bootstrap(
    values: NDArray[np.float64], classes: ArrayLike | None, level: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap of the mean of `values` (n,): over pictures, or over classes with all pictures they have.

    One multinomial draw says how often each class is drawn, or each of the distinct values (k of S seeds right): the
    same distribution as drawing one picture after the other, whatever n. A thousand resamples at a time take 8000 bytes
    a class, or a distinct value.
    """
    rng = np.random.default_rng(seed)
    if classes is None:  # pictures of one value are alike
        number = np.unique(values.round(12), return_inverse=True)[1]
        times = _sums(number, np.ones_like(values))
        total, size = _sums(number, values) / times, np.ones_like(times)  # of one picture
    else:
        number = _numbered(classes, len(values))
        total, size = _sums(number, values), _sums(number, np.ones_like(values))  # of a class
        times = np.ones_like(total)
    means = []
    for start in range(0, resamples, 1000):
        draws = rng.multinomial(int(times.sum()), times / times.sum(), size=min(1000, resamples - start))
        means.append(draws @ total / (draws @ size))
    tail = 50 * (1 - level)
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(low), float(high)


def interval(
    correct: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of a mean over pictures, such as top-1, given the seeds that were run.

    Without `classes` it speaks for other pictures of these classes, with them for other classes of this kind and their
    pictures: pictures of one class are right and wrong together, and the second interval is wider for it.

    Args:
        correct: 0/1, or any number a picture, (n,) or (seeds, n); with several seeds a picture counts with its mean,
            for 0/1 its share of right answers.
        classes: the class of each picture (n,), names or numbers. Whole classes are drawn, each with all its pictures:
            pictures drawn again within a class would count their scatter twice (Davison and Hinkley 1997, section 3.8).

    Returns:
        (low, high), in the unit of the numbers: of 0/1 in 0..1. By the percentile method, so where every picture is
        right (or wrong) it has no width.
    """
    return _bootstrap(_per_image(correct), classes, level, resamples, seed)


def paired_interval(
    a: ArrayLike,
    b: ArrayLike,
    *,
    classes: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of the mean of `a` minus that of `b` on the same pictures, in the same order.

    Args:
        a, b: 0/1, or any number a picture, (n,) or (seeds, n); the numbers of seeds may differ, the pictures may not.
        classes: as in :func:`interval`, which says what the two intervals speak for.

    Returns:
        (low, high) of the difference, in the unit of the numbers: of 0/1 in -1..1.
    """
    first, second = _per_image(a), _per_image(b)
    if len(first) != len(second):
        raise ValueError(f"paired methods need the same pictures: {len(first)} and {len(second)}")
    return _bootstrap(first - second, classes, level, resamples, seed)


class Crossed(NamedTuple):
    """What :func:`crossed_interval` says of a mean: its interval, and the two-sided p value of zero."""

    low: float
    high: float
    p: float


def crossed_interval(differences: ArrayLike, *, level: float = 0.95) -> Crossed:
    """Interval of a mean over trainings and classes, both drawn at random: for another encoder and other classes.

    Two-way analysis of variance with random effects and one value a cell: of K trainings and C classes the grand mean
    has the variance (MS_trainings + MS_classes - MS_rest) / (K C), and Satterthwaite's degrees of freedom (Searle,
    Casella and McCulloch 1992, chapter 4). Where the first two do not exceed the rest twice, the rest stands alone.

    Args:
        differences: (K, C), K, C >= 2: a training's mean over a class's pictures, such as of one method minus another.

    Returns:
        (low, high, p): the ends in the unit of the numbers, and p of the t test that belongs to them.
    """
    from scipy import stats

    cells = np.asarray(differences, dtype=np.float64)
    if cells.ndim != 2 or min(cells.shape) < 2:
        raise ValueError(f"differences must have shape (trainings, classes), two of each or more, not {cells.shape}")
    trainings, classes = cells.shape
    mean = cells.mean()
    by_training, by_class = cells.mean(axis=1), cells.mean(axis=0)
    rest = cells - by_training[:, None] - by_class[None] + mean
    freedom = np.array([trainings - 1, classes - 1, (trainings - 1) * (classes - 1)])
    squares = np.array(
        [classes * ((by_training - mean) ** 2).sum(), trainings * ((by_class - mean) ** 2).sum(), (rest**2).sum()]
    )
    parts = squares / freedom * [1, 1, -1]
    total = parts.sum()
    if total <= -parts[2]:
        parts, total = np.array([0.0, 0.0, -parts[2]]), -parts[2]
    degrees = total**2 / (parts**2 / freedom).sum() if total else np.inf
    error = np.sqrt(total / cells.size)
    reach = stats.t.ppf((1 + level) / 2, degrees) * error
    p = 2 * stats.t.sf(abs(mean) / error, degrees) if error else float(mean == 0)
    return Crossed(float(mean - reach), float(mean + reach), float(p))


def majority_answer(correct: ArrayLike) -> NDArray[np.bool_]:
    """One answer a picture out of several seeds: right where more than half of the seeds are; a tie goes by
    the first.

    (n,) or (seeds, n) 0/1 -> (n,) bool.
    """
    array = np.atleast_2d(np.asarray(correct, dtype=bool))
    twice = 2 * array.sum(axis=0)
    return np.where(twice == len(array), array[0], twice > len(array))


def sign_flip(a: ArrayLike, b: ArrayLike, *, classes: ArrayLike | None = None) -> float:
    """The exact two-sided p value of a paired difference of accuracy, by flipping signs.

    Were the methods equally good, a picture's difference (its mean over the seeds of `a` minus that of `b`) would be as
    likely to have the other sign. The p value is the share of all 2^n ways to choose the signs whose sum is as far from
    zero as the one seen, or further. Of one seed each this is McNemar's exact test. With `classes` it is the sum of a
    class that may have the other sign. So it asks what :func:`paired_interval` answers, with the same `classes`.

    Args:
        a, b: 0/1, (n,) or (seeds, n) on the same pictures; the numbers of seeds may differ.
        classes: the class of each picture, (n,).

    Returns:
        p, :data:`LEAST_P`..1; 1.0 where they never differ.
    """
    from scipy import fft

    first, second = (np.atleast_2d(np.asarray(hits, dtype=bool)) for hits in (a, b))
    if first.shape[1:] != second.shape[1:] or first.ndim != 2:
        raise ValueError(f"paired methods need the same pictures: {first.shape} and {second.shape}")
    seeds = math.lcm(len(first), len(second))
    steps = seeds // len(first) * first.sum(axis=0) - seeds // len(second) * second.sum(axis=0)  # (n,) in 1 / seeds
    if classes is not None:
        number = _numbered(classes, len(steps))
        steps = np.bincount(number, steps).round().astype(np.int64)
    sizes, times = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    seen, most = abs(int(steps.sum())), int(sizes @ times)
    if not seen:
        return 1.0
    length = fft.next_fast_len(2 * most + 1, real=True)
    angles = 2 * np.pi * np.arange(length // 2 + 1) / length
    spectrum = np.ones(len(angles))  # the characteristic function of the sum, a product of cosines
    for size, count in zip(sizes, times):
        spectrum *= np.cos(size * angles) ** count
    chances = fft.irfft(spectrum, length)  # chances[s]: of the sum s
    return float(np.clip(2 * chances[seen : most + 1].sum(), LEAST_P, 1.0))


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


def classes_of(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """(n,) the true class of each picture, pictures in the order of :func:`correctness`."""
    return predictions.drop_duplicates("path").sort_values("path")["label"].to_numpy()


def compare_methods(
    hits: Mapping[str, ArrayLike], pairs: Iterable[tuple[str, str]], classes: ArrayLike | None = None
) -> pd.DataFrame:
    """Pairs of methods on the same pictures, a row a pair: ``method`` minus ``baseline``.

    Columns: ``method``; ``baseline``; ``difference`` of top-1 (means over seeds, -1..1) with its 95 % paired bootstrap
    interval ``difference_low`` to ``difference_high`` and ``p`` of :func:`sign_flip`, both over pictures; the same over
    classes, ``classes_low``, ``classes_high`` and ``p_classes`` (NaN without `classes`, or with fewer than two);
    ``p_holm``, ``p`` corrected over the rows of this table.

    Args:
        hits: method -> 0/1, (n,) or (seeds, n), as :func:`correctness` gives them.
        pairs: (method, baseline), keys of `hits`.
        classes: the class of each picture, as :func:`classes_of` gives them.

    Raises:
        LgcaError: a pair names a method that is not in `hits`.
    """
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        for method in pair:
            if method not in hits:
                raise LgcaError(f"the record has no method {method!r} to compare with; it has {', '.join(hits)}")
        first, second = (np.asarray(hits[method]) for method in pair)
        values = [first.mean() - second.mean(), *paired_interval(first, second), sign_flip(first, second)]
        row = dict(zip(COMPARED, [*pair, *values]))
        if classes is not None and len(np.unique(np.asarray(classes))) > 1:
            over = [*paired_interval(first, second, classes=classes), sign_flip(first, second, classes=classes)]
            row |= dict(zip(OVER_CLASSES, over))
        rows.append(row)
    columns = [*COMPARED, *OVER_CLASSES]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[2:], "float64"))
    return table.assign(p_holm=holm(table["p"].to_numpy()))


def compare_each(
    hits: Mapping[str, Mapping[str, ArrayLike]],
    pairs: Iterable[tuple[str, str]],
    key: str = "dataset",
    classes: Mapping[str, ArrayLike] | None = None,
) -> pd.DataFrame:
    """:func:`compare_methods` within each of several tables of hits: ``key`` comes first, ``p_holm`` is over all rows.

    Args:
        hits: name, such as a data set's -> hits by method, as :func:`compare_methods` takes them.
        key: what the column of names is called.
        classes: name -> the class of each picture; those of some names may be missing.
    """
    wanted, classes = list(pairs), classes or {}
    frames = [compare_methods(table, wanted, classes.get(name)).assign(**{key: name}) for name, table in hits.items()]
    table = pd.concat(frames, ignore_index=True)[[key, *COMPARED, *OVER_CLASSES]]
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
    """One row a method: accuracy, its interval, its spread over seeds, its cost, and its distance from a baseline.

    Columns: ``method``; ``seeds`` (how many); ``images``; ``top1`` (mean over seeds, 0..1); ``std`` over
    seeds (n - 1; NaN for one seed); ``low``, ``high`` (95 % bootstrap over pictures); ``tied`` (the best or tied
    with it, :func:`tied_with_best`, and not at chance: ``low`` is above one in as many as there are classes);
    ``passes`` (encoder passes an image); and, against the baseline, the difference and what follows as
    :func:`compare_methods` gives it, over pictures and over classes, ``p_holm`` corrected over the rows of this table.

    Args:
        baseline: method that the others are compared with; None leaves those columns NaN.

    Raises:
        LgcaError: the baseline is not among the methods of the record.
    """
    hits = correctness(predictions)
    passes = {run.method: run.passes_per_image for run in record.runs}
    equal = tied_with_best(hits)
    classes = len(record.dataset.classes)
    chance = 1 / classes if classes > 1 else 0.0
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
                "tied": equal[method] and low > chance,
                "passes": passes[method],
            }
        )
    others = [] if baseline is None else [(method, baseline) for method in hits if method != baseline]
    against = compare_methods(hits, others, classes_of(predictions)).drop(columns="baseline")
    return pd.DataFrame(rows).merge(against, on="method", how="left")
