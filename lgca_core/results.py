"""The record of an evaluation, and the statistics read from it (floor 0).

Every number of the book is read from a record: a folder that holds ``record.json`` (a :class:`Record`: what
was run, on what, with what, how long) and ``predictions.parquet`` (one row a picture, method and seed), so
that anybody can redo the statistics. Correctness is a 0/1 array over pictures, shape (n,) or (seeds, n).
"""

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from lgca_core.errors import LgcaError

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
COLUMNS: dict[str, str] = {
    "path": "str",  # relative to the data set's root: the key of a picture within a record
    "image": "str",  # sha256 of the file: the identity that keys its boxes
    "label": "int64",
    "method": "str",
    "seed": "int64",
    "prediction": "int64",
    "margin": "float32",  # best logit minus the second best, in cosine units
}
"""Columns of the predictions, in order, with dtypes. Labels and predictions index the record's classes."""

COMPARED = ("method", "baseline", "difference", "difference_low", "difference_high", "p")
"""Columns of :func:`compare`, in order, before ``p_holm``."""

Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Dataset(_Strict):
    """Which pictures: ``count`` is how many were asked for, skipped ones included."""

    name: str
    split: str
    count: int = Field(ge=1)
    classes: list[str] = Field(min_length=1)
    manifest_sha256: str = Sha256


class EncoderInfo(_Strict):
    """Which encoder. ``weights_sha256`` and ``activation`` are None for a foreign model that does not say."""

    name: str
    weights_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    activation: str | None = None
    precision: str


class Skipped(_Strict):
    """A picture that could not be read, relative to the data set's root, and why."""

    path: str
    reason: str


class Run(_Strict):
    """One method with one seed. ``passes_per_image`` is what the method needs alone, by its formula."""

    method: str
    seed: int = Field(ge=0)
    config: dict[str, JsonValue]
    correct: int = Field(ge=0)
    total: int = Field(ge=1)
    passes_per_image: float = Field(ge=1)


class Part(_Strict):
    """What it took a process of its own to encode one part of the pictures before the evaluation.

    ``part`` is the k-th of n as ``k/n``; ``encoder`` and ``device`` are None for a part without shards. Passes, times
    and memory as in :class:`Record`, of the process that finished the part: what an earlier one left in the store is
    not counted.
    """

    part: str = Field(pattern=r"^[1-9]\d*/[1-9]\d*$")
    utc: AwareDatetime
    manifest_sha256: str = Sha256
    encoder: EncoderInfo | None
    device: str | None
    pictures: int = Field(ge=0)
    seconds: float = Field(ge=0)
    image_passes: int = Field(ge=0)
    text_passes: int = Field(ge=0)
    peak_memory: int = Field(ge=0)
    peak_device_memory: int | None = Field(default=None, ge=0)


def misfit(parts: "Sequence[Part]", manifest_sha256: str, encoder: EncoderInfo) -> str | None:
    """Why parts are not those of one evaluation, or None; precisions may differ between machines."""
    names = [part.part for part in parts]
    if twice := [name for name in names if names.count(name) > 1]:
        return f"part {twice[0]} is there twice"
    if len({name.partition("/")[2] for name in names}) > 1:
        return f"{', '.join(names)} are not parts of one division"
    for part in parts:
        if part.manifest_sha256 != manifest_sha256:
            return f"part {part.part} is of other pictures"
        if (of := part.encoder) and (of.name, of.weights_sha256) != (encoder.name, encoder.weights_sha256):
            return f"part {part.part} was encoded with another encoder, {of.name}"
    return None


class Record(_Strict):
    """What was run, on what, with what, how long.

    ``commit`` and ``dirty`` describe the checkout that the code came from and are both None outside one;
    ``image_passes`` and ``text_passes`` are what the encoder actually did for the whole evaluation, where
    methods share crops; times are wall-clock seconds; memory is in bytes, ``peak_device_memory`` None without
    an accelerator. All of these are of the evaluation's own process; ``parts`` has what others encoded ahead.
    """

    version: Literal[1] = 1
    utc: AwareDatetime
    commit: str | None
    dirty: bool | None
    parameters: dict[str, JsonValue]
    seeds: list[int]
    dataset: Dataset
    prompts_sha256: str = Sha256
    encoder: EncoderInfo
    resize: str
    libraries: dict[str, str]
    device: str
    seconds: float = Field(gt=0)
    images_per_second: float = Field(ge=0)
    image_passes: int = Field(ge=0)
    text_passes: int = Field(ge=0)
    peak_memory: int = Field(ge=0)
    peak_device_memory: int | None = Field(default=None, ge=0)
    parts: list[Part] = []
    skipped: list[Skipped] = []
    runs: list[Run] = Field(min_length=1)
    predictions_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _agrees(self) -> "Record":
        if (self.commit is None) != (self.dirty is None):
            raise ValueError("commit and dirty are known together or not at all")
        offset = self.utc.utcoffset()
        if offset is None or offset.total_seconds() != 0:
            raise ValueError("utc must be a UTC time")
        read = self.dataset.count - len(self.skipped)
        for run in self.runs:
            if run.total != read:
                raise ValueError(f"{run.method} scored {run.total} pictures, but {read} were read")
            if run.correct > run.total:
                raise ValueError(f"{run.method}: {run.correct} correct of {run.total}")
        keys = [(run.method, run.seed) for run in self.runs]
        if len(set(keys)) != len(keys):
            raise ValueError("a method and seed occur twice")
        if fault := misfit(self.parts, self.dataset.manifest_sha256, self.encoder):
            raise ValueError(fault)
        return self

    @property
    def processes(self) -> "list[Record | Part]":
        """All that did some of the work: the evaluation, and the parts that encoded ahead."""
        return [self, *self.parts]

    @property
    def image_passes_in_all(self) -> int:
        """Of all processes."""
        return sum(process.image_passes for process in self.processes)

    @property
    def seconds_in_all(self) -> float:
        """Of all processes, those that ran side by side added up."""
        return sum(process.seconds for process in self.processes)


# ---- disk --------------------------------------------------------------------------------------------------


def check_free(folder: Path | str, *, force: bool = False) -> Path:
    """Whether a record may be written to `folder`; called before a long run and again by :func:`save`.

    A folder that is absent or empty is free. With `force` one that holds a record and nothing else is free
    too: anything else might be somebody's files.

    Raises:
        LgcaError: the folder is taken, or a file is in the way.
    """
    folder = Path(folder)
    if not folder.exists():
        _check_parent(folder, "the record")
        return folder
    if not folder.is_dir():
        raise LgcaError(f"{folder} is a file: give a folder for the record")
    held = {path.name for path in folder.iterdir()}
    if not held:
        return folder
    if not held <= {RECORD, PREDICTIONS}:
        raise LgcaError(f"{folder} holds other files than a record: choose an empty or a new folder")
    if not force:
        raise LgcaError(f"{folder} already holds a record: choose another folder, or overwrite it with --force")
    return folder


def _check_parent(target: Path, what: str) -> None:
    parent = next(p for p in target.absolute().parents if p.exists())
    if not parent.is_dir():
        raise LgcaError(f"{parent} is a file, so {what} cannot go to {target}: choose another folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise LgcaError(f"{parent} cannot be written, so {what} cannot go to {target}: choose another folder")


def save(record: Record, predictions: pd.DataFrame, folder: Path | str, *, force: bool = False) -> Record:
    """Write a record and its predictions as one new folder, all or nothing.

    Both files are written to a hidden folder beside the target, which is then renamed, so a reader sees the
    whole record or none.

    Args:
        record: the record; its ``predictions_sha256`` is filled in here.
        predictions: long form, columns as :data:`COLUMNS`.
        folder: target; absent or empty, or an earlier record with `force`.
        force: replace an earlier record.

    Returns:
        The record as written, with the hash of the predictions file.

    Raises:
        LgcaError: the folder is taken or cannot be written.
        ValueError: the predictions disagree with the record.
    """
    folder = check_free(folder, force=force)
    predictions = predictions[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)
    _check(record, predictions)
    buffer = BytesIO()
    predictions.to_parquet(buffer, index=False)
    written = record.model_copy(update={"predictions_sha256": hashlib.sha256(buffer.getvalue()).hexdigest()})
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise LgcaError(f"cannot write a record to {folder}: {error.strerror}") from error
    try:
        (draft / PREDICTIONS).write_bytes(buffer.getvalue())
        (draft / RECORD).write_text(written.model_dump_json(indent=1) + "\n", encoding="utf-8")
        draft.chmod(0o755)
        if folder.exists() and any(folder.iterdir()):
            old = draft.with_name(draft.name + "-old")
            folder.rename(old)
            os.replace(draft, folder)
            shutil.rmtree(old)
        else:
            os.replace(draft, folder)
    except OSError as error:
        raise LgcaError(f"cannot write a record to {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written


def check_free_file(file: Path, *, force: bool = False) -> None:
    """Whether what a part took may be written to `file`; called before a long run.

    Raises:
        LgcaError: it is a folder, or, without `force`, there already; or its folder cannot be written.
    """
    _check_parent(file, "what the part took")
    if file.is_dir():
        raise LgcaError(f"{file} is a folder: give a file for what the part took")
    if file.exists() and not force:
        raise LgcaError(f"{file} is already there: choose another file, or overwrite it with --force")


def save_part(part: Part, file: Path | str) -> None:
    """Write what a part took as JSON, all or nothing; an earlier file is replaced.

    Raises:
        LgcaError: the file cannot be written.
    """
    file = Path(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as folder:
            draft = Path(folder) / file.name
            draft.write_text(part.model_dump_json(indent=1) + "\n", encoding="utf-8")
            os.replace(draft, file)
    except OSError as error:
        raise LgcaError(f"cannot write what the part took to {file}: {error.strerror}") from error


def load_part(file: Path | str) -> Part:
    """What a part took, as :func:`save_part` wrote it.

    Raises:
        LgcaError: the file cannot be read, or is something else.
    """
    writes = "`lgca evaluate --part K/N --out FILE` writes it"
    try:
        return Part.model_validate_json(Path(file).read_bytes())
    except OSError as error:
        raise LgcaError(f"{file} cannot be read: {error.strerror}; {writes}") from error
    except ValidationError as error:
        raise LgcaError(f"{file} does not say what a part took; {writes}") from error


def load(folder: Path | str) -> tuple[Record, pd.DataFrame]:
    """Read a record and its predictions, and check that they belong together.

    Raises:
        LgcaError: no record there, a field that does not validate (named), a predictions file whose hash is
            not the recorded one, or counts that the predictions do not bear out.
    """
    folder = Path(folder)
    try:
        text = (folder / RECORD).read_text(encoding="utf-8")
        blob = (folder / PREDICTIONS).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise LgcaError(f"{folder} holds no record that can be read ({RECORD} and {PREDICTIONS}): {error}") from error
    try:
        record = Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        raise LgcaError(f"{folder / RECORD} is not a valid record: {where}: {first['msg']}") from error
    if hashlib.sha256(blob).hexdigest() != record.predictions_sha256:
        raise LgcaError(f"{folder / PREDICTIONS} is not the file that the record beside it was written with")
    predictions = pd.read_parquet(BytesIO(blob)).astype(COLUMNS)
    try:
        _check(record, predictions)
    except ValueError as error:
        raise LgcaError(f"{folder}: {error}") from error
    return record, predictions


def load_all(
    folder: Path | str, names: Sequence[str], *, methods: Sequence[str] = (), seeds: int = 1, encoder: str | None = None
) -> dict[str, tuple[Record, pd.DataFrame]]:
    """Records ``folder/<name>`` that a page needs: name -> record and its predictions, only those of `methods`.

    Args:
        methods: which methods each record must hold, in the order wanted; all of the record's when empty.
        seeds: how many seeds each record must hold, at least.
        encoder: name that each record's encoder must have, up to its source (``NAME`` of ``NAME:TAG``).

    Raises:
        LgcaError: a record is absent, or lacks a method, seeds, or the encoder; says what it has.
    """
    found = {}
    for name in names:
        record, predictions = load(Path(folder) / name)
        has = list(dict.fromkeys(run.method for run in record.runs))
        if missing := [method for method in methods if method not in has]:
            raise LgcaError(f"the record {name} has no method {missing[0]!r}; it has {', '.join(has)}")
        if len(record.seeds) < seeds:
            raise LgcaError(
                f"the record {name} has {len(record.seeds)} seeds, not {seeds}: evaluate it with --seeds {seeds}"
            )
        if encoder is not None and encoder not in (record.encoder.name, record.encoder.name.split(":")[0]):
            raise LgcaError(f"the record {name} is of the encoder {record.encoder.name!r}, not {encoder!r}")
        if methods:
            runs = [run for method in methods for run in record.runs if run.method == method]
            record = record.model_copy(update={"runs": runs})
            predictions = pd.concat(predictions[predictions["method"] == method] for method in methods)
        found[name] = record, predictions
    return found


def load_found(folder: Path | str) -> dict[str, tuple[Record, pd.DataFrame]]:
    """Every record that :func:`find` finds and its predictions, by its place in the folder; none where no folder is.

    Raises:
        LgcaError: a record that is damaged.
    """
    if not Path(folder).is_dir():
        return {}
    return {place.relative_to(folder).as_posix(): load(place) for place in find(folder)}


def find(folder: Path | str) -> list[Path]:
    """The records in `folder`, itself one or holding them at any depth: their folders, sorted.

    Hidden folders, such as the drafts of :func:`save`, are passed over. A record that lacks one of its two files
    is listed too, so that :func:`load` can say what is wrong with it.

    Raises:
        LgcaError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LgcaError(f"{folder} is not a folder: give one that holds records")
    found = []
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        if {RECORD, PREDICTIONS} & set(names):
            found.append(Path(place))
    return sorted(found)


def _check(record: Record, predictions: pd.DataFrame) -> None:
    """The predictions bear out every run of the record, and hold nothing else."""
    hits = (predictions["label"] == predictions["prediction"]).groupby([predictions["method"], predictions["seed"]])
    counted = {key: (int(hit.sum()), len(hit)) for key, hit in hits}
    recorded = {(run.method, run.seed): (run.correct, run.total) for run in record.runs}
    if counted != recorded:
        differ = next(key for key in counted.keys() | recorded.keys() if counted.get(key) != recorded.get(key))
        raise ValueError(
            f"{differ[0]}, seed {differ[1]}: the record says {recorded.get(differ)} (correct, total), "
            f"the predictions {counted.get(differ)}"
        )
    last = len(record.dataset.classes) - 1
    values = predictions[["label", "prediction"]].to_numpy()
    if values.min() < 0 or values.max() > last:
        raise ValueError(f"labels and predictions must lie in 0..{last}, found {values.min()}..{values.max()}")
    if predictions.duplicated(["path", "method", "seed"]).any():
        raise ValueError("a picture occurs twice for one method and seed")


# ---- statistics (algorithms, section 5) --------------------------------------------------------------------


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


def decided(correct: ArrayLike) -> NDArray[np.bool_]:
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
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p, dtype=np.float64)
    return multipletests(values, method="holm")[1] if len(values) else values


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


def compare(hits: Mapping[str, ArrayLike], pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Pairs of methods on the same pictures, a row a pair: ``method`` less ``baseline``.

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
        rows.append(row | {"p": mcnemar(decided(first), decided(second))})
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
    frames = [compare(table, wanted).assign(**{key: name}) for name, table in hits.items()]
    table = pd.concat(frames, ignore_index=True)[[key, *COMPARED]]
    return table.assign(p_holm=holm(table["p"].to_numpy()))


def tied(hits: Mapping[str, ArrayLike]) -> dict[str, bool]:
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
    equal = tied(hits)
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
    return pd.DataFrame(rows).merge(compare(hits, others).drop(columns="baseline"), on="method", how="left")
