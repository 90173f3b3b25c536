"""Which differences are there, by paired tests over all comparisons, and which could have been found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from lgca_book.studies.statistical_power import ALPHA, detectable, deviation_interval, most_discordance
from lgca_core.errors import LgcaError
from lgca_core.evaluation import paper_values, statistics
from lgca_core.evaluation.record import Record

Records = Mapping[str, tuple[Record, pd.DataFrame]]


def all_pairs(records: Records) -> pd.DataFrame:
    """Every pair of methods of every record, a row each: the columns of `statistics.compare_methods`, and

    ``record``, its key; ``pictures``; ``discordance``, share of pictures that exactly one of the two gets right (one
    answer a picture, `majority_answer`); ``repeated``, whether an earlier record holds the same comparison of the same
    answers. ``p_holm`` is corrected over all rows but the repeated, which have that of the first.

    A pair stands the way round in which its difference is not negative.
    """
    frames = []
    for name, (record, predictions) in records.items():
        hits = statistics.correctness(predictions)
        pairs = [(a, b) if hits[a].mean() >= hits[b].mean() else (b, a) for a, b in combinations(hits, 2)]
        frame = statistics.compare_methods(hits, pairs, statistics.classes_of(predictions))
        answers = {method: statistics.majority_answer(correct) for method, correct in hits.items()}
        frame["discordance"] = [float((answers[a] != answers[b]).mean()) for a, b in pairs]
        frame["key"] = [
            (record.dataset.manifest_sha256, frozenset((pair, hits[pair].tobytes()) for pair in (a, b)))
            for a, b in pairs
        ]
        frames.append(frame.assign(record=name, pictures=next(iter(hits.values())).shape[1]))
    table = pd.concat(frames, ignore_index=True)
    table["repeated"] = table["key"].duplicated()
    once = table[~table["repeated"]]
    corrected = dict(zip(once["key"], statistics.holm(once["p"].to_numpy())))
    table["p_holm"] = table["key"].map(corrected)
    return table.drop(columns="key")


def discordances(table: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The discordance of pairs of one record, either way round, out of :func:`all_pairs`: "a and b" -> 0..1.

    Raises:
        LgcaError: a pair is not there.
    """
    found = {}
    for a, b in pairs:
        rows = table[table["method"].isin([a, b]) & table["baseline"].isin([a, b])]
        if len(rows) != 1:
            raise LgcaError(f"{a} and {b} are compared {len(rows)} times, not once: give the rows of one record")
        found[f"{a} and {b}"] = float(rows["discordance"].iloc[0])
    return found


def by_training(records: Records, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Differences between methods by training of the encoder, a row a pair and record.

    Columns: ``method``, ``baseline``, ``training`` (the record's key), ``difference`` with its 95 % paired interval
    over pictures ``difference_low`` to ``difference_high``; ``over_pictures``, the standard error of the difference
    from picture to picture, and ``over_seeds``, from seed to seed (of the mean over the record's seeds; NaN with one).
    All in 0..1.

    Raises:
        LgcaError: a record lacks a method, or records are of different pictures.
    """
    if len({record.dataset.manifest_sha256 for record, _ in records.values()}) > 1:
        raise LgcaError("encoders trained again are compared on the same pictures, these records are of different ones")
    rows: list[dict[str, Any]] = []
    for training, (_, predictions) in records.items():
        hits = statistics.correctness(predictions)
        for row in statistics.compare_methods(hits, pairs).drop(columns=["p", "p_holm"]).to_dict("records"):
            ours, theirs = hits[row["method"]], hits[row["baseline"]]
            by_picture = ours.mean(axis=0) - theirs.mean(axis=0)
            by_seed = _by_seed(ours, theirs)
            rows.append(
                row
                | {
                    "training": training,
                    "over_pictures": float(by_picture.std(ddof=1) / np.sqrt(len(by_picture))),
                    "over_seeds": float(by_seed.std(ddof=1) / np.sqrt(len(by_seed))) if len(by_seed) > 1 else np.nan,
                }
            )
    return pd.DataFrame(rows)


def _by_seed(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Differences of accuracy seed by seed: of (seeds, n) and (seeds, n), or of one seed with all of the other."""
    if 1 not in (len(ours), len(theirs)):
        seeds = min(len(ours), len(theirs))
        ours, theirs = ours[:seeds], theirs[:seeds]
    return ours.mean(axis=1) - theirs.mean(axis=1)


def spread_of_training(table: pd.DataFrame) -> pd.DataFrame:
    """Of each pair of :func:`by_training`, how far the difference moves with the training, beside its other errors.

    Columns: ``method``, ``baseline``; ``trainings``, how many; ``difference``, their mean; ``over_trainings``, their
    standard deviation, with its 95 % interval ``low`` to ``high`` (`statistical_power.deviation_interval`);
    ``over_pictures`` and ``over_seeds``, root mean squares of the standard errors within a training; ``same_sign``,
    whether all differences have one sign.
    """
    rows = []
    for (method, baseline), own in table.groupby(["method", "baseline"], sort=False):
        differences = own["difference"].to_numpy()
        std = float(differences.std(ddof=1)) if len(own) > 1 else np.nan
        low, high = deviation_interval(std, len(own))
        errors = own[["over_pictures", "over_seeds"]].pow(2).mean().pow(0.5)
        rows.append(
            {
                "method": method,
                "baseline": baseline,
                "trainings": len(own),
                "difference": differences.mean(),
                "over_trainings": std,
                "low": low,
                "high": high,
                **errors,
                "same_sign": bool((differences > 0).all() or (differences < 0).all()),
            }
        )
    return pd.DataFrame(rows)


def published_gaps(discordance: float, method: str = "WCA", baseline: str = "CuPL") -> pd.DataFrame:
    """The published gaps between two methods, and what a paired test on so many pictures could find: our estimate.

    The papers publish no answers, so nobody can test their gaps. What can be said: how large a gap must be to be found
    with a power of 80 % if the two methods differ on a share `discordance` of the pictures, as ours do; and on how many
    they may differ for the gap that is there.

    Columns: ``dataset`` and ``backbone``, by the papers' names; ``pictures``; ``gap``, published, 0..1;
    ``detectable`` (`power.detectable`); ``most`` (`power.most_discordance`, NaN for no gap or one that is too small
    whatever the discordance); ``verdict``: ``exceeds`` or ``below``; ``std``, published for `method`, and ``sampling``,
    the standard error of its accuracy from picture to picture, ``sqrt(p (1 - p) / n)``; both 0..1.

    Raises:
        LgcaError: nothing is published of such a pair.
    """
    table = paper_values.table()
    cells = {which: table[table["method"] == which].set_index(["dataset", "backbone"]) for which in (method, baseline)}
    both = cells[method].index.intersection(cells[baseline].index, sort=False)
    if both.empty:
        raise LgcaError(f"no data set and backbone has published values of both {method} and {baseline}")
    rows = []
    found: dict[int, float] = {}
    for dataset, backbone in both:
        pictures = paper_values.PUBLISHED_PICTURES[paper_values.PAPERS_DATASETS[dataset]]
        if pictures not in found:
            found[pictures] = detectable(pictures, discordance)
        ours, theirs = (cells[which].loc[(dataset, backbone)] for which in (method, baseline))
        share = ours["top1_percent"] / 100
        gap = round(ours["top1_percent"] - theirs["top1_percent"], 4) / 100
        rows.append(
            {
                "dataset": dataset,
                "backbone": backbone,
                "pictures": pictures,
                "gap": gap,
                "detectable": found[pictures],
                "most": most_discordance(pictures, gap),
                "verdict": "exceeds" if abs(gap) >= found[pictures] else "below",
                "std": ours["std_percent"] / 100,
                "sampling": float(np.sqrt(share * (1 - share) / pictures)),
            }
        )
    return pd.DataFrame(rows)


def resolution(pictures: Mapping[str, int], discordances: Mapping[str, float], comparisons: int) -> pd.DataFrame:
    """The smallest difference that is found with a power of 80 %, a row a data set and discordance.

    Columns: ``dataset``, ``pictures``, ``of`` (which discordance), ``discordance``, ``detectable`` for a single test at
    0.05, ``corrected`` for the strictest of `comparisons` tests by Holm; 0..1, NaN where there is none.
    """
    return pd.DataFrame(
        [
            {
                "dataset": dataset,
                "pictures": n,
                "of": of,
                "discordance": discordance,
                "detectable": detectable(n, discordance),
                "corrected": detectable(n, discordance, alpha=ALPHA / comparisons),
            }
            for dataset, n in pictures.items()
            for of, discordance in discordances.items()
        ]
    )
