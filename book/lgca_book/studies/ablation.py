"""The worth of each part of a method: it is taken away, or added, and the same pictures are classified.

A record of an ablation holds the full methods and their variants, each under its own name with its settings
(``wca:image_temperature=0``). Two readings of it: :func:`parts`, component by component, for WCA and for LGCA at equal
crops and at equal passes; and :func:`choices`, setting by setting, for what we had to choose of LGCA.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import JsonValue

from lgca_book.studies.sweeps import split, word
from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import Record
from lgca_core.evaluation.statistics import compare_methods, correctness, holm, tied_with_best

FULL = ("wca", "lgca", "lgca-equal")
"""The methods whose parts are taken away."""


@dataclass(frozen=True)
class Change:
    """One change of a method.

    Attributes:
        component: what is tested.
        change: what became of the method, in few words.
        variant: the method that results; one that begins with a colon carries settings of the full method, and ``*``
            stands for any text.
        of: the full methods that it is a change of.
    """

    component: str
    change: str
    variant: str
    of: tuple[str, ...] = FULL

    def found(self, full: str, methods: Iterable[str]) -> str | None:
        """The first of `methods` that is this change of `full`."""
        wanted = full + self.variant if self.variant.startswith(":") else self.variant
        return next((method for method in methods if fnmatchcase(method, wanted)), None)


LGCAS = ("lgca", "lgca-equal")
CHANGES = (
    Change("crops", "no crops: the whole picture", "cupl-weighted"),
    Change("crops, text weights", "no crops, no text weights", "cupl"),
    Change("crops, sentences", "no crops, a plain prompt", "clip"),
    Change("crop weights", "no crop weights", ":image_temperature=0"),
    Change("text weights", "no text weights", ":text_temperature=0"),
    Change("crop weights, text weights", "no weights at all", ":image_temperature=0:text_temperature=0"),
    Change("expansion", "no expansion: first crops only", ":steps=0:start=*", LGCAS),
    Change("expansion", "the last step alone", ":lam=last", LGCAS),
    Change("expansion", "steps weighed by their boxes", ":lam=geometric", LGCAS),
    Change("whole image", "whole image added", ":whole_image=true", LGCAS),
    Change("crop size", "small crops, as LGCA's first", "lgca-equal:steps=0:start=*", ("wca",)),
    Change("expansion", "LGCA with as many first crops", "lgca", ("wca",)),
    Change("expansion", "LGCA with as many passes", "lgca-equal", ("wca",)),
)
"""Every change that is looked for in a record, in the order of the table."""


def parts(record: Record, predictions: pd.DataFrame, full: Sequence[str] = FULL) -> pd.DataFrame:
    """Component by component: what each of :data:`CHANGES` that the record holds does to its full method.

    Columns: ``full``, the method that is changed; ``component`` and ``change``, empty for the row of the full method
    itself; ``method``, what was run; ``crops``, that it draws first, ``NA`` without any; ``passes`` an image;
    ``seeds``; ``top1``; ``tied``, whether it is the best of its full method's rows or tied with it; and
    ``difference`` to the full method and what follows as `compare_methods` has it, ``p_holm``
    over all rows.

    Args:
        full: the methods whose parts are taken away.

    Raises:
        LgcaError: the record does not hold one of them, or no change of it.
    """
    hits = correctness(predictions)
    rows: list[Row] = []
    for whole in full:
        variants = [(change, change.found(whole, hits)) for change in CHANGES if whole in change.of]
        found = [(whole, change.component, change.change, method) for change, method in variants if method is not None]
        if whole not in hits or not found:
            raise LgcaError(f"the record holds no ablation of {whole!r}; it has {', '.join(hits)}")
        rows += [(whole, "", "", whole), *found]
    frame = _compared(record, hits, rows)
    marks = {
        whole: tied_with_best({method: hits[method] for method in own})
        for whole, own in frame.groupby("full")["method"]
    }
    frame["tied"] = [marks[row.full][row.method] for row in frame.itertuples()]
    return _corrected(frame)


SETTINGS = {
    "start": "Where does it start?",
    "saliency": "What is salient?",
    "rho": "How many are kept?",
    "gamma": "How fast do they grow?",
    "growth": "How do they expand?",
    "steps": "How many steps?",
    "lam": "How are the steps combined?",
    "whole_image": "Is the whole picture scored too?",
}
"""A choice that we made of LGCA -> the question that it answers."""


def choices(records: Sequence[tuple[Record, pd.DataFrame]], full: str = "lgca-equal") -> pd.DataFrame:
    """Setting by setting: every variant of `full` in the records that changes one of :data:`SETTINGS` alone.

    Columns as :func:`parts`, without ``tied`` and without rows of the full method; ``component`` is the setting and
    ``change`` says its value and ours. A variant is compared with `full` of its own record.
    """
    frames = []
    for record, predictions in records:
        hits = correctness(predictions)
        configs = {run.method: run.config for run in record.runs}
        rows: list[Row] = []
        for method in hits:
            base, settings = split(method)
            if base == full and len(settings) == 1 and settings[0] in SETTINGS and full in hits:
                value, own = (_said(configs[of][settings[0]]) for of in (method, full))
                rows.append((full, settings[0], f"{value} instead of {own}", method))
        frames.append(_compared(record, hits, rows))
    frame = pd.concat(frames, ignore_index=True)
    order = frame["component"].map(list(SETTINGS).index)
    return _corrected(frame.iloc[order.argsort(kind="stable")].reset_index(drop=True))


Row = tuple[str, str, str, str]  # full, component, change, method


def _said(value: JsonValue) -> str:
    """A setting's value as a reader says it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(word(value))


def _compared(record: Record, hits: Mapping[str, NDArray[np.bool_]], rows: Sequence[Row]) -> pd.DataFrame:
    """Rows with what each ran, and its difference to its full method; NaN for the full method itself."""
    runs = {run.method: run for run in record.runs}
    frame = pd.DataFrame(rows, columns=["full", "component", "change", "method"])
    frame["crops"] = pd.array([runs[method].config.get("n") for method in frame["method"]], dtype="Int64")
    frame["passes"] = [runs[method].passes_per_image for method in frame["method"]]
    frame["seeds"] = [len(hits[method]) for method in frame["method"]]
    frame["top1"] = [float(hits[method].mean()) for method in frame["method"]]
    against = compare_methods(hits, zip(frame["method"], frame["full"])).drop(columns=["method", "baseline", "p_holm"])
    return frame.join(against.mask(frame["method"] == frame["full"]))


def _corrected(frame: pd.DataFrame) -> pd.DataFrame:
    """With Holm's correction over all comparisons of the table."""
    made = frame["p"].notna()
    frame["p_holm"] = np.nan
    frame.loc[made, "p_holm"] = holm(frame.loc[made, "p"].to_numpy())
    return frame
