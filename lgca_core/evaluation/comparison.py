"""Two records, or two methods of them, on the pictures that both have: what differs, where, and whether by chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lgca_core.errors import LgcaError
from lgca_core.evaluation.metrics import of_method
from lgca_core.evaluation.statistics import COMPARED, OVER_CLASSES, compare_methods, holm, majority_answer

METHOD_COLUMNS = (
    "method_a", "method_b", "pictures", "only_a", "only_b", "other_class", "seeds_a", "seeds_b", "top1_a", "top1_b",
    *COMPARED[2:], *OVER_CLASSES, "p_holm", "gained", "lost",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Of pairs of methods, A's and B's; every difference is A minus B, in 0..1.

    Attributes:
        methods: a row a pair. ``pictures``, how many are compared; ``only_a``, ``only_b``, how many one record alone
            has; ``other_class``, how many both have, but under classes of different names: left out too; ``seeds_a``,
            ``seeds_b``; ``top1_a``, ``top1_b`` on the pictures compared; ``difference`` with its 95 % paired bootstrap
            interval and ``p``, an exact sign-flip test, over pictures; the same over classes, ``classes_low``,
            ``classes_high``, ``p_classes`` (NaN where there is one class); ``p_holm``, ``p`` corrected over the rows;
            ``gained``, pictures that A has right and B wrong, and ``lost``, by the answer of most seeds.
        classes: a row a pair and class: ``method_a``, ``method_b``, ``class``, ``pictures``, ``accuracy_a``,
            ``accuracy_b``, ``difference``; the largest difference first.
        changed: a row a pair and picture that is gained or lost: ``method_a``, ``method_b``, ``path`` in A's data set,
            ``class``, ``said_a``, ``said_b`` (what most seeds say), ``change``.
    """

    methods: pd.DataFrame
    classes: pd.DataFrame
    changed: pd.DataFrame


def compare_predictions(a: pd.DataFrame, b: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Comparison:
    """Compare pairs of a method of `a` and a method of `b`, long form as `record.load` gives them.

    A picture is the same by its content: under the same path, or else wherever it lies.

    Raises:
        LgcaError: no such method, or no picture that both have in a class of one name.
    """
    methods, classes, changed = [], [], []
    for pair in pairs:
        one, other = (_pictures(of_method(of, method)) for of, method in zip((a, b), pair))
        rows_a, rows_b = _matched(one.table, other.table)
        same = one.table["label_name"].to_numpy()[rows_a].astype(str) == other.table["label_name"].to_numpy()[
            rows_b
        ].astype(str)
        kept_a, kept_b = rows_a[same], rows_b[same]
        if not len(kept_a):
            why = "no picture" if not len(rows_a) else "no picture under a class of the same name"
            raise LgcaError(f"the two records have {why} in common: compare records of the same data set")
        hits = {"a": one.hits[:, kept_a], "b": other.hits[:, kept_b]}
        right_a, right_b = (majority_answer(of) for of in hits.values())
        names = dict(zip(("method_a", "method_b"), pair))
        labels = one.table["label_name"].to_numpy()[kept_a].astype(str)
        found = compare_methods(hits, [("a", "b")], labels).to_dict("records")[0]
        methods.append(
            names
            | {
                "pictures": len(kept_a),
                "only_a": len(one.table) - len(rows_a),
                "only_b": len(other.table) - len(rows_b),
                "other_class": int((~same).sum()),
                "seeds_a": len(hits["a"]),
                "seeds_b": len(hits["b"]),
                "top1_a": float(hits["a"].mean()),
                "top1_b": float(hits["b"].mean()),
                **{name: found[name] for name in (*COMPARED[2:], *OVER_CLASSES)},
                "gained": int((right_a & ~right_b).sum()),
                "lost": int((~right_a & right_b).sum()),
            }
        )
        table = one.table.iloc[kept_a].assign(
            said_a=one.said[kept_a],
            said_b=other.said[kept_b],
            accuracy_a=hits["a"].mean(axis=0),
            accuracy_b=hits["b"].mean(axis=0),
            change=np.where(right_a, np.where(right_b, "", "gained"), np.where(right_b, "lost", "")),
        )
        table = table.rename(columns={"label_name": "class"}).assign(**names)
        by_class = table.groupby([*names, "class"], sort=True, observed=True)
        of_class = by_class.agg(
            pictures=("path", "size"), accuracy_a=("accuracy_a", "mean"), accuracy_b=("accuracy_b", "mean")
        ).reset_index()
        of_class["difference"] = of_class["accuracy_a"] - of_class["accuracy_b"]
        order = of_class["difference"].abs().sort_values(ascending=False, kind="stable").index
        classes.append(of_class.loc[order])
        changed.append(table.loc[table["change"] != "", [*names, "path", "class", "said_a", "said_b", "change"]])
    whole = pd.DataFrame(methods)
    whole["p_holm"] = holm(whole["p"].to_numpy())
    return Comparison(
        whole[list(METHOD_COLUMNS)],
        pd.concat(classes, ignore_index=True),
        pd.concat(changed, ignore_index=True),
    )


@dataclass(frozen=True)
class _Answers:
    """``table`` (n rows): ``path``, ``image``, ``label_name``; ``hits`` (seeds, n); ``said`` (n,), by most seeds."""

    table: pd.DataFrame
    hits: NDArray[np.bool_]
    said: NDArray[Any]


def _pictures(own: pd.DataFrame) -> _Answers:
    own = own.sort_values(["seed", "path"], kind="stable")
    seeds = own["seed"].nunique()
    table = own.iloc[: len(own) // seeds][["path", "image", "label_name"]].reset_index(drop=True)
    shape = (seeds, len(table))
    if len(own) != seeds * len(table) or (own["path"].to_numpy().reshape(shape) != table["path"].to_numpy()).any():
        raise LgcaError(f"the seeds of {own['method'].iloc[0]} were not run on the same pictures")
    table = table.astype({"image": object, "label_name": object})
    predictions = own["prediction"].to_numpy().reshape(shape)
    names = own["prediction_name"].astype(object).to_numpy().reshape(shape)
    times = (predictions[:, None] == predictions[None]).sum(axis=0)  # (seeds, n): how many seeds say the same
    said = np.take_along_axis(names, times.argmax(axis=0)[None], axis=0)[0]
    return _Answers(table, (own["label"] == own["prediction"]).to_numpy().reshape(shape), said)


def _matched(a: pd.DataFrame, b: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows of two tables are the same picture, each row once; ascending in the first."""
    left, right = (of[["path", "image"]].assign(row=np.arange(len(of))) for of in (a, b))
    pairs = left.merge(right, on=["path", "image"], suffixes=("_a", "_b"))[["row_a", "row_b"]]
    left, right = left.drop(index=pairs["row_a"]), right.drop(index=pairs["row_b"])
    keys = ["image", "copy"]  # the same content lies in several places: the first of one is the first of the other
    left, right = (of.assign(copy=of.groupby("image").cumcount()) for of in (left, right))
    moved = left.merge(right, on=keys, suffixes=("_a", "_b"))[["row_a", "row_b"]]
    both = pd.concat([pairs, moved]).sort_values("row_a").to_numpy(dtype=np.int64)
    return both[:, 0], both[:, 1]
