"""What else predictions tell beside top-1: by class, balanced, top-5, what is taken for what, and how sure rightly.

All take predictions in long form (``predictions.COLUMNS``), of one method or of several, and count a picture with its
mean over seeds. Accuracies and probabilities lie in 0..1.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lgca_core.errors import LgcaError
from lgca_core.evaluation.predictions import RANKED

BINS = 15
"""Bins of probability of a calibration error, of equal width."""


def of_method(predictions: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows of one method, all its seeds.

    Raises:
        LgcaError: there are none.
    """
    if not (rows := predictions[predictions["method"] == method]).empty:
        return rows
    has = ", ".join(predictions["method"].unique())
    raise LgcaError(f"the record has no method {method!r}; it has {has}")


def metrics(predictions: pd.DataFrame) -> pd.DataFrame:
    """A row a method, in order of appearance.

    Columns: ``method``; ``top1``, of all pictures; ``balanced``, the mean of the classes' accuracies, of classes that
    have a picture; ``top5``, the label is among the best five, NaN where the record does not say them; ``ece``, the
    expected calibration error (Guo et al., 2017) over :data:`BINS` bins, NaN without probabilities.
    """
    rows: list[dict[str, Any]] = []
    for method in predictions["method"].unique():
        own = of_method(predictions, method)
        right = own["label"] == own["prediction"]
        rows.append(
            {
                "method": method,
                "top1": float(right.mean()),
                "balanced": float(right.groupby(own["label"]).mean().mean()),
                "top5": _top5(own),
                "ece": calibration_error(own),
            }
        )
    return pd.DataFrame(rows)


def _top5(predictions: pd.DataFrame) -> float:
    if predictions["score_1"].isna().all():
        return math.nan
    return float((predictions[RANKED].to_numpy() == predictions[["label"]].to_numpy()).any(axis=1).mean())


def by_class(predictions: pd.DataFrame) -> pd.DataFrame:
    """A row a method and class that has pictures, by class.

    Columns: ``method``; ``label``, its number; ``label_name``; ``pictures``; ``accuracy``; ``taken_for``, the name of
    the wrong class that was said most often of it, None where all is right, and ``taken_for_share``, how often.
    """
    if predictions.empty:
        raise LgcaError("there are no predictions")
    frame = predictions.assign(right=predictions["label"] == predictions["prediction"])
    keys = ["method", "label"]
    grouped = frame.groupby(keys, sort=True)
    table = grouped.agg(label_name=("label_name", "first"), pictures=("path", "nunique"), accuracy=("right", "mean"))
    most = confused(predictions).drop_duplicates(keys).set_index(keys)
    table["taken_for"] = most["prediction_name"].reindex(table.index).astype(object)
    table["taken_for_share"] = most["share"].reindex(table.index).fillna(0.0)
    table["taken_for"] = table["taken_for"].where(table["taken_for"].notna(), None)
    return table.reset_index().astype({"label_name": object})


def confusion(predictions: pd.DataFrame, method: str, classes: Sequence[str]) -> pd.DataFrame:
    """Of the pictures of a class (row), the share that was taken for each (column): C x C, by the record's class names.

    A row without pictures is NaN.

    Raises:
        LgcaError: there are no predictions of the method.
    """
    own = of_method(predictions, method)
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, (own["label"].to_numpy(), own["prediction"].to_numpy()), 1)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    return pd.DataFrame(shares, index=list(classes), columns=list(classes))


def confused(predictions: pd.DataFrame) -> pd.DataFrame:
    """Pairs of classes that are confused: a row a method, class and wrong class, the most frequent first.

    Columns: ``method``; ``label``, ``label_name``; ``prediction``, ``prediction_name``; ``times``, the mean over seeds
    of how many pictures; ``share`` of the class's pictures, 0..1.
    """
    keys = ["method", "label", "prediction"]
    wrong = predictions[predictions["label"] != predictions["prediction"]]
    names = ["label_name", "prediction_name"]
    table = wrong.groupby(keys, sort=True).agg(
        label_name=(names[0], "first"), prediction_name=(names[1], "first"), times=("path", "size")
    )
    table = table.reset_index().astype(dict.fromkeys(names, object))
    seeds = predictions.groupby("method")["seed"].nunique()
    size = predictions.groupby(["method", "label"]).size().rename("of").reset_index()
    table = table.merge(size, on=["method", "label"], how="left")
    table["share"] = table["times"] / table.pop("of")
    table["times"] = table["times"] / table["method"].map(seeds).astype("float64")
    order = [*keys[:2], "label_name", "prediction", "prediction_name", "times", "share"]
    return table.sort_values(["times", "share"], ascending=False, kind="stable", ignore_index=True)[order]


def reliability(predictions: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """How often predictions are right by how sure they are: a row a bin of probability that holds any.

    Columns: ``low``, ``high``, the bin's borders (a probability of ``high`` belongs to it, 0 to the first);
    ``count``; ``probability``, its mean; ``accuracy``. Empty without probabilities.

    Raises:
        LgcaError: less than one bin.
    """
    if bins < 1:
        raise LgcaError(f"a calibration needs at least one bin, not {bins}")
    known = predictions[predictions["probability"].notna()]
    probability = known["probability"].to_numpy(dtype=np.float64)
    number = np.clip(np.ceil(probability * bins).astype(int) - 1, 0, bins - 1)
    right = (known["label"] == known["prediction"]).to_numpy()
    frame = pd.DataFrame({"bin": number, "probability": probability, "right": right})
    table = frame.groupby("bin").agg(
        count=("right", "size"), probability=("probability", "mean"), accuracy=("right", "mean")
    )
    table = table.reset_index()
    borders = table.pop("bin").to_numpy()
    table.insert(0, "low", borders / bins)
    table.insert(1, "high", (borders + 1) / bins)
    return table


def calibration_error(predictions: pd.DataFrame, bins: int = BINS) -> float:
    """How far the accuracy of a bin is from its probability, on average over predictions; NaN without probabilities."""
    table = reliability(predictions, bins)
    if table.empty:
        return math.nan
    gap = (table["accuracy"] - table["probability"]).abs()
    return float((gap * table["count"]).sum() / table["count"].sum())


def hardest(predictions: pd.DataFrame, method: str, count: int) -> pd.DataFrame:
    """The pictures that a method gets most wrong: by the share of seeds that are wrong, then by the mean margin.

    Columns: ``path``, ``image``, ``label_name``; ``prediction_name``, what the surest wrong seed says; ``wrong``, the
    share of its seeds; ``margin``, how far ahead the wrong answers are, their mean, in cosine units.
    """
    own = of_method(predictions, method)
    wrong = own[own["label"] != own["prediction"]].sort_values("margin", ascending=False, kind="stable")
    table = wrong.groupby("path", sort=True).agg(
        image=("image", "first"),
        label_name=("label_name", "first"),
        prediction_name=("prediction_name", "first"),
        wrong=("seed", "nunique"),
        margin=("margin", "mean"),
    )
    table["wrong"] = table["wrong"] / own["seed"].nunique()
    order = table.reset_index().sort_values(["wrong", "margin"], ascending=False, kind="stable", ignore_index=True)
    return order.head(count).astype({"image": object, "label_name": object, "prediction_name": object})


def worst_classes(predictions: pd.DataFrame, count: int = 3) -> str:
    """A sentence that names the classes that the best method gets most wrong; empty where it gets all right."""
    table = metrics(predictions)
    best = str(table.loc[table["top1"].idxmax(), "method"])
    classes = by_class(of_method(predictions, best)).sort_values("accuracy", kind="stable")
    wrong = classes[classes["accuracy"] < 1].head(count)
    said = [
        f"{row.label_name} {100 * row.accuracy:.1f} % of {row.pictures} (mostly taken for {row.taken_for})"
        for row in wrong.itertuples()
    ]
    return f"Hardest classes for {best}: {'; '.join(said)}." if said else ""
