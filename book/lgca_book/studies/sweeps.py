"""Records in which one method stands with many settings: tidy frames, and the pairs that are fair to compare.

A method that carries settings, ``lgca-equal:rho=0.25``, is a *point* of its base, ``lgca-equal``; the base without any
is the base point, and its values are read from the run's config.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pydantic import JsonValue, TypeAdapter

from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.evaluation.record import Record, Run
from lgca_core.lgca import LGCA
from lgca_core.wca import WCA

CROPS = ("crops", "smallest", "largest")
"""Columns that :func:`points` adds to those of `statistics.summary`: how many first crops, and the range of their sides
as shares of the picture's shorter side."""


def settings_of(run: Run) -> WCA | LGCA:
    """The settings of a run of WCA or LGCA, out of its config.

    Raises:
        LgcaError: a run of another method.
    """
    config = {name: value for name, value in run.config.items() if name != "look"}
    kind = str(run.config.get("look", "")).partition("-")[0]
    if kind == "wca":
        return TypeAdapter(WCA).validate_python(config)
    if kind == "lgca":
        return TypeAdapter(LGCA).validate_python(config)
    raise LgcaError(f"{run.method} is neither WCA nor LGCA: it has none of their settings")


def points(record: Record, predictions: pd.DataFrame, bases: Sequence[str]) -> pd.DataFrame:
    """Points of some methods of a record: a row a point and setting that it changes.

    A base point is a row of every setting that another point of it changes, and of none (``setting`` empty) where
    nothing does; so the rows of a base and a setting are a curve.

    Columns: ``base``; ``setting``, ``value`` (as the config has it; a range is "0.1-0.3"); ``default``, whether this is
    the base point; ``changed``, how many settings the point changes; :data:`CROPS`; and those of `statistics.summary`
    without a baseline: ``method`` (with its settings), ``top1``, ``low``, ``high``, ``passes`` and so on.

    Raises:
        LgcaError: a base of which the record has no point, or that is neither WCA nor LGCA.
    """
    runs = {run.method: run for run in record.runs}
    rows = []
    for base in bases:
        own = {method: split(method)[1] for method in runs if split(method)[0] == base}
        if not own:
            raise LgcaError(f"the record of {record.dataset.name} has no method {base!r}; it has {', '.join(runs)}")
        swept = list(dict.fromkeys(name for names in own.values() for name in names)) or [""]
        for method, names in own.items():
            settings = settings_of(runs[method])
            smallest, largest = settings.range() if isinstance(settings, LGCA) else (settings.alpha, settings.beta)
            of_point = {
                "method": method,
                "base": base,
                "default": not names,
                "changed": len(names),
                **dict(zip(CROPS, (settings.n, smallest, largest))),
            }
            rows += [
                of_point | {"setting": name, "value": word(runs[method].config.get(name))} for name in names or swept
            ]
    measured = statistics.summary(record, predictions, None)
    columns = ["method", "seeds", "images", "top1", "std", "low", "high", "passes"]
    frame = pd.DataFrame(rows).merge(measured[columns], on="method", how="left")
    return frame[["base", "setting", "value", "default", "changed", *CROPS, *columns]]


def split(method: str) -> tuple[str, list[str]]:
    """A method's base and the names of the settings that it carries: "wca:n=8" -> ("wca", ["n"])."""
    base, *assigned = method.split(":")
    return base, [words.partition("=")[0] for words in assigned]


def word(value: JsonValue) -> JsonValue:
    """A setting's value as one cell of a frame: a range as the method's name has it, "0.1-0.3"."""
    return "-".join(map(str, value)) if isinstance(value, list) else value


def at_same_passes(frame: pd.DataFrame, method: str, baseline: str) -> list[tuple[str, str]]:
    """Pairs (point of `method`, point of `baseline`) of :func:`points`, none of them in the method's favour.

    Every point of the baseline is a budget. Of the method that point is taken which uses the most of it without
    exceeding it, and each is used once, at the smallest budget that it fits into. Budgets ascend.
    """
    own, budgets = _by_passes(frame, method), _by_passes(frame, baseline)
    pairs: list[tuple[str, str]] = []
    for budget, against in zip(budgets["passes"], budgets["method"]):
        within = own[own["passes"] <= budget]
        if len(within) and within["method"].iloc[-1] not in [point for point, _ in pairs]:
            pairs.append((within["method"].iloc[-1], against))
    return pairs


def at_same_crops(frame: pd.DataFrame, method: str, baseline: str) -> list[tuple[str, str]]:
    """Pairs (point of `method`, point of `baseline`) of :func:`points` with as many first crops, ascending."""
    own, others = _by_passes(frame, method), _by_passes(frame, baseline)
    both = own.merge(others, on="crops", suffixes=("", "_baseline"))
    return list(zip(both["method"], both["method_baseline"]))


def _by_passes(frame: pd.DataFrame, base: str) -> pd.DataFrame:
    own = frame[frame["base"] == base].drop_duplicates("method")
    return own.sort_values(["passes", "crops"]).reset_index(drop=True)


def at_same_range(frame: pd.DataFrame, method: str, baseline: str) -> list[tuple[str, str]]:
    """Pairs (point of `method`, point of `baseline`) of :func:`points` whose first crops are of the same sizes."""
    own, others = _by_passes(frame, method), _by_passes(frame, baseline)
    both = own.merge(others, on=["smallest", "largest"], suffixes=("", "_baseline"))
    return list(zip(both["method"], both["method_baseline"]))


def to_base(frame: pd.DataFrame, base: str) -> list[tuple[str, str]]:
    """Pairs (every other point of `base`, the base point) of :func:`points`, in the record's order."""
    changed = frame[(frame["base"] == base) & ~frame["default"]]
    return [(method, base) for method in dict.fromkeys(changed["method"])]


def compare_points(frame: pd.DataFrame, predictions: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """`compare_methods` of points, with :data:`CROPS`, ``top1`` and ``passes`` of both (``crops_baseline`` and so on).

    Raises:
        LgcaError: a pair names a method that is not in the record.
    """
    table = statistics.compare_methods(statistics.correctness(predictions), pairs)
    told = frame.drop_duplicates("method").set_index("method")[[*CROPS, "top1", "passes"]]
    return table.join(told, on="method").join(told.add_suffix("_baseline"), on="baseline")


def overtakes(compared: pd.DataFrame) -> pd.Series | None:
    """The row of :func:`compare` from which on the method leads: None if it does not.

    To lead is to be better with the whole 95 % interval of the difference, at this budget and at every larger one.
    `compared` ascends.
    """
    leads = (compared["difference_low"] > 0).to_numpy()
    if not len(leads) or not leads[-1]:
        return None
    behind = np.flatnonzero(~leads)
    return compared.iloc[behind[-1] + 1 if len(behind) else 0]
