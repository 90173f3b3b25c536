"""The record of an evaluation: what it says, and how it is written, read and found.

Every number of the book is read from a record: a folder that holds ``record.json`` (a :class:`Record`: what
was run, on what, with what, how long) and ``predictions.parquet`` (one row a picture, method and seed), so
that anybody can redo the statistics.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeVar

import pandas as pd
from pydantic import AwareDatetime, BaseModel, Field, JsonValue, ValidationError, model_validator

from lgca_core.data.manifest import Skipped
from lgca_core.errors import LgcaError, first_line
from lgca_core.evaluation.parts import EncoderInfo, Part, Sha256, Strict, misfit
from lgca_core.evaluation.predictions import COLUMNS, FILLED_IN, RANKED, completed, to_parquet
from lgca_core.evaluation.targets import check_parent, claimed, put_back, restore_folder
from lgca_core.files import make_folder

RECORD = "record.json"
PREDICTIONS = "predictions.parquet"
RECORD_FILES = (RECORD, PREDICTIONS)

_Kind = TypeVar("_Kind", bound=BaseModel)


class Dataset(Strict):
    """Which pictures: ``count`` is how many were asked for, skipped ones included."""

    name: str
    split: str
    count: int = Field(ge=1)
    classes: list[str] = Field(min_length=1)
    manifest_sha256: str = Sha256


class Run(Strict):
    """One method with one seed. ``passes_per_image`` is what the method needs alone, by its formula."""

    method: str
    seed: int = Field(ge=0)
    config: dict[str, JsonValue]
    correct: int = Field(ge=0)
    total: int = Field(ge=1)
    passes_per_image: float = Field(ge=1)


class Record(Strict):
    """An evaluation: code, pictures, prompts, encoder, methods, cost and answers.

    ``commit`` and ``dirty`` describe the checkout that the code came from and are both None outside one;
    ``image_passes`` and ``text_passes`` are what the encoder actually did for the whole evaluation, where
    methods share crops; times are wall-clock seconds; memory is in bytes, ``peak_device_memory`` None without
    an accelerator. All of these are of the evaluation's own process; ``parts`` has what others encoded ahead.
    ``notes`` say which classes the encoder could not tell apart and which sentences it cut.
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
    parts: list[Part] = Field(default=[])
    notes: list[str] = Field(default=[])
    skipped: list[Skipped] = Field(default=[])
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


def check_free(folder: Path | str, *, force: bool = False, files: Collection[str] = RECORD_FILES) -> Path:
    """Check that a record can be written to `folder`; called before a long run and again by :func:`save`.

    `files` are the names of a record's files, where it is a record of another kind.

    That is tried, see :func:`~lgca_core.evaluation.targets.check_parent`. A folder that is absent or empty is free.
    With `force` one that holds a record and nothing else is free too: anything else might be somebody's files.

    Raises:
        LgcaError: the folder is taken, cannot be written or exchanged, or a file is in the way.
    """
    folder = Path(folder)
    check_parent(folder, "the record")
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise LgcaError(f"{folder} is a file: give a folder for the record")
    held = {path.name for path in folder.iterdir()}
    if not held <= set(files):
        raise LgcaError(f"{folder} holds other files than a record: choose an empty or a new folder")
    if held and not force:
        raise LgcaError(f"{folder} already holds a record: choose another folder, or overwrite it with --force")
    if os.path.ismount(folder) or folder.resolve() == Path.cwd():
        what = "mounted there" if os.path.ismount(folder) else "the current folder"
        inside = folder / "record"
        raise LgcaError(f"{folder} is {what}, and a record takes the place of its folder: give one inside, as {inside}")
    return folder


@contextmanager
def reserved(folder: Path | str, *, force: bool = False, files: Collection[str] = RECORD_FILES) -> Iterator[None]:
    """Hold a folder for a record against other processes, from before the work until the record is saved.

    What a killed :func:`save` left beside it is swept up; an earlier record that it had moved aside comes back.

    Raises:
        LgcaError: as :func:`check_free`, or another process holds it.
    """
    folder = _real(folder)
    with claimed(folder, "the record"):
        restore_folder(folder)
        check_free(folder, force=force, files=files)
        yield


def _real(folder: Path | str) -> Path:
    """Where a link leads: it is the folder there that is exchanged."""
    return Path(os.path.realpath(folder)) if os.path.islink(folder) else Path(folder)


def save(record: Record, predictions: pd.DataFrame, folder: Path | str, *, force: bool = False) -> Record:
    """Write a record and its predictions as one new folder, all or nothing.

    Both files are written to a hidden folder beside the target, which is then renamed, so a reader sees the
    whole record or none.

    Args:
        record: the record; its ``predictions_sha256`` is filled in here.
        predictions: long form, columns as ``predictions.COLUMNS``; those of names are filled in here, those after
            ``margin`` may be absent.
        folder: target; absent or empty, or an earlier record with `force`.
        force: replace an earlier record.

    Returns:
        The record as written, with the hash of the predictions file.

    Raises:
        LgcaError: the folder is taken or cannot be written.
        ValueError: the predictions disagree with the record.
    """
    folder = check_free(_real(folder), force=force)
    _check(record, predictions)
    data = to_parquet(completed(predictions, record.dataset.classes))
    written = record.model_copy(update={"predictions_sha256": hashlib.sha256(data).hexdigest()})
    write_record(folder, {PREDICTIONS: data, RECORD: written}, force=force)
    return written


def write_record(folder: Path, files: Mapping[str, bytes | BaseModel], *, force: bool) -> None:
    """Write the files of a record as one new folder, all or nothing; an earlier record is replaced with `force`."""

    def fill(draft: Path) -> None:
        for name, content in files.items():
            if isinstance(content, BaseModel):
                content = (content.model_dump_json(indent=1) + "\n").encode()
            (draft / name).write_bytes(content)

    try:
        make_folder(folder, fill, taken="replace" if force else "refuse", mend="choose another folder")
    except BaseException:
        put_back(folder)
        raise


def read_record(folder: Path, kind: type[_Kind], files: tuple[str, str]) -> tuple[_Kind, bytes]:
    """A record of a kind, and the content of the file beside it. LgcaError where either cannot be read or is none."""
    try:
        text = (folder / files[0]).read_text(encoding="utf-8")
        blob = (folder / files[1]).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise LgcaError(f"{folder} holds no record that can be read ({' and '.join(files)}): {error}") from error
    try:
        return kind.model_validate_json(text), blob
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        raise LgcaError(f"{folder / files[0]} is not a valid record: {where}: {first['msg']}") from error


def load(folder: Path | str) -> tuple[Record, pd.DataFrame]:
    """Read a record and its predictions, and check that they belong together.

    The predictions have every column of ``predictions.COLUMNS``, whenever the record was made.

    Raises:
        LgcaError: no record there, a field that does not validate (named), a predictions file whose hash is
            not the recorded one, or counts that the predictions do not bear out.
    """
    folder = Path(folder)
    record, blob = read_record(folder, Record, RECORD_FILES)
    if hashlib.sha256(blob).hexdigest() != record.predictions_sha256:
        raise LgcaError(f"{folder / PREDICTIONS} is not the file that the record beside it was written with")
    try:
        predictions = pd.read_parquet(BytesIO(blob))
        _check(record, predictions)
        return record, completed(predictions, record.dataset.classes)
    except (ValueError, TypeError, IndexError, OSError) as error:  # columns of other types; no parquet file
        raise LgcaError(f"{folder}: {first_line(error)}") from error


def load_all(
    folder: Path | str,
    names: Sequence[str],
    *,
    methods: Sequence[str] = (),
    seeds: int = 1,
    beside: Mapping[str, tuple[Record, pd.DataFrame]] | None = None,
) -> dict[str, tuple[Record, pd.DataFrame]]:
    """Records ``folder/<name>`` that a page needs: name -> record and its predictions, only those of `methods`.

    What a page shows side by side must be of one encoder, and where records are of one data set, of the same pictures.
    Hashes of weights and of manifests decide that; how an encoder or a data set was spelt does not.

    Args:
        methods: which methods each record must hold, in the order wanted; all of the record's when empty.
        seeds: how many seeds each record must hold, at least.
        beside: records loaded before, which the page shows with these.

    Raises:
        LgcaError: a record is absent, or lacks a method or seeds (says what it has), or is not of the same weights or
            pictures as the others.
    """
    found: dict[str, tuple[Record, pd.DataFrame]] = {}
    for name in names:
        record, predictions = load(Path(folder) / name)
        has = list(dict.fromkeys(run.method for run in record.runs))
        if missing := [method for method in methods if method not in has]:
            raise LgcaError(f"the record {name} has no method {missing[0]!r}; it has {', '.join(has)}")
        if len(record.seeds) < seeds:
            raise LgcaError(
                f"the record {name} has {len(record.seeds)} seeds, not {seeds}: evaluate it with --seeds {seeds}"
            )
        for other, (known, _) in {**(beside or {}), **found}.items():
            if record.encoder.weights_sha256 != known.encoder.weights_sha256:
                raise LgcaError(
                    f"the records {other} and {name} are of different weights, of {known.encoder.name} and "
                    f"{record.encoder.name}: show them apart, or evaluate one of them again"
                )
            sets = record.dataset, known.dataset
            if sets[0].name == sets[1].name and sets[0].manifest_sha256 != sets[1].manifest_sha256:
                raise LgcaError(
                    f"the records {other} and {name} are of different pictures of {record.dataset.name}: "
                    "show them apart, or evaluate one of them again"
                )
        if methods:
            runs = [run for method in methods for run in record.runs if run.method == method]
            record = record.model_copy(update={"runs": runs})
            predictions = pd.concat(predictions[predictions["method"] == method] for method in methods)
        found[name] = record, predictions
    return found


def load_found(folder: Path | str) -> dict[str, tuple[Record, pd.DataFrame]]:
    """The records that :func:`find_records` finds and their predictions, by place in the folder; none without a folder.

    Raises:
        LgcaError: a record that is damaged.
    """
    if not Path(folder).is_dir():
        return {}
    return {place.relative_to(folder).as_posix(): load(place) for place in find_records(folder)}


def find_records(folder: Path | str) -> list[Path]:
    """The records in `folder`, itself one or holding them at any depth: their folders, sorted.

    Hidden folders, such as the drafts of :func:`save`, are passed over. A record that lacks one of its two files
    is listed too, so that :func:`load` can say what is wrong with it.

    Raises:
        LgcaError: no such folder.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):  # without an error for a name too long, or a place that may not be entered
        raise LgcaError(f"{folder} is not a folder: give one that holds records")
    found = []
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        if {RECORD, PREDICTIONS} & set(names):
            found.append(Path(place))
    return sorted(found)


def _check(record: Record, predictions: pd.DataFrame) -> None:
    """The predictions bear out every run of the record, and hold nothing else. ValueError where they do not."""
    needed = [name for name in COLUMNS if name not in FILLED_IN]
    if missing := [name for name in needed if name not in predictions]:
        raise ValueError(f"the predictions have no column {missing[0]!r}")
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
    for least, columns in (0, ["label", "prediction"]), (-1, [name for name in RANKED[1:] if name in predictions]):
        values = predictions[columns].to_numpy()
        if values.size and (values.min() < least or values.max() > last):
            what = "labels and predictions" if least == 0 else "the classes next to a prediction"
            raise ValueError(f"{what} must lie in {least}..{last}, found {values.min()}..{values.max()}")
    if predictions.duplicated(["path", "method", "seed"]).any():
        raise ValueError("a picture occurs twice for one method and seed")
