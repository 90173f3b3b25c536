"""The large study: differences between methods over several trainings of the encoder and many species.

results/aviary-large/README.md says what was declared before it was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lgca_book.experiments import Study
from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.evaluation.record import Record, load_found

FOLDER = "results/aviary-large"
WORK = "_build/study"

Records = Mapping[str, tuple[Record, pd.DataFrame]]


def trainings(folder: Path | str) -> dict[str, tuple[Record, pd.DataFrame]]:
    """The records of the study: "seed 1" of ``folder/seed-1``, in order; none where there is no such folder.

    Raises:
        LgcaError: records of other pictures, or of one encoder twice.
    """
    found = load_found(folder)
    named = {place.replace("-", " "): found[place] for place in sorted(found)}
    for what, of in (
        ("other pictures", {record.dataset.manifest_sha256 for record, _ in named.values()}),
        ("other sentences", {record.prompts_sha256 for record, _ in named.values()}),
    ):
        if len(of) > 1:
            raise LgcaError(f"{folder} holds records of {what}: a study compares trainings on the same")
    if len({record.encoder.weights_sha256 for record, _ in named.values()}) < len(named):
        raise LgcaError(f"{folder} holds two records of one encoder: each training counts once")
    return named


def cells(records: Records, method: str, baseline: str) -> NDArray[np.float64]:
    """(trainings, classes): of each training and class the mean over pictures of `method` minus `baseline`, -1..1."""
    rows = []
    for _, predictions in records.values():
        hits = statistics.correctness(predictions)
        by_picture = hits[method].mean(axis=0) - hits[baseline].mean(axis=0)
        rows.append(pd.Series(by_picture).groupby(statistics.classes_of(predictions)).mean().to_numpy())
    return np.stack(rows)


def compare(records: Records, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Differences over trainings and classes, a row a pair; all in -1..1.

    Columns: ``method``, ``baseline``; ``top1`` and ``top1_baseline``, means over trainings; ``difference``; ``low``,
    ``high``, ``p`` for other trainings and other classes (`statistics.crossed_interval`); ``trainings_low``,
    ``trainings_high`` for other trainings on these classes (t interval over trainings); ``classes_low``,
    ``classes_high`` for other classes seen by these trainings (bootstrap over classes); ``ahead``, trainings in which
    the difference is positive; ``trainings``.
    """
    rows = []
    for method, baseline in pairs:
        by = cells(records, method, baseline)
        of_training = by.mean(axis=1)
        reach = stats.t.ppf(0.975, len(by) - 1) * of_training.std(ddof=1) / np.sqrt(len(by))
        crossed = statistics.crossed_interval(by)
        over_classes = statistics.interval(by.mean(axis=0))
        mean = by.mean()
        rows.append(
            {
                "method": method,
                "baseline": baseline,
                "top1": top1(records, method).mean(),
                "top1_baseline": top1(records, baseline).mean(),
                "difference": mean,
                **crossed._asdict(),
                "trainings_low": mean - reach,
                "trainings_high": mean + reach,
                "classes_low": over_classes[0],
                "classes_high": over_classes[1],
                "ahead": int((of_training > 0).sum()),
                "trainings": len(by),
            }
        )
    return pd.DataFrame(rows)


def top1(records: Records, method: str) -> NDArray[np.float64]:
    """(trainings,) the accuracy of a method in each training, 0..1."""
    return np.array([statistics.correctness(predictions)[method].mean() for _, predictions in records.values()])


def left(study: Study, root: Path) -> str:
    """What of the study is not there yet, in a line."""
    seeds = range(1, study.trainings + 1)
    trained = [(root / WORK / "weights" / f"seed-{seed}.safetensors").exists() for seed in seeds]
    kept = [(root / FOLDER / f"seed-{seed}" / "record.json").exists() for seed in seeds]
    to_train = sum(not weights and not record for weights, record in zip(trained, kept))
    return f"the study: {to_train} of {study.trainings} trainings and {kept.count(False)} evaluations are left"
