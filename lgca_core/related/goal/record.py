"""The record of a retrieval, and of the training behind it: what was run, on what, with what, and what came out."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import AwareDatetime, JsonValue, ValidationError

from lgca_core.data.manifest import Skipped
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError, first_line
from lgca_core.evaluation.machine import recorded
from lgca_core.evaluation.parts import EncoderInfo, Sha256, Strict
from lgca_core.evaluation.provenance import code_version, library_versions, utc_now
from lgca_core.evaluation.targets import check_parent, claimed, put_back, restore_folder
from lgca_core.files import make_folder
from lgca_core.related.captions.captioned import CaptionSet
from lgca_core.related.goal.evaluate import RetrievalResult
from lgca_core.related.goal.train import REPORT, peak_memory_of

RELATED = "related.json"
RANKS = "ranks.parquet"


class CaptionsInfo(Strict):
    """Which captioned pictures: ``sha256`` is of names and captions."""

    name: str
    split: str
    count: int
    sha256: str = Sha256


class RelatedRecord(Strict):
    """A retrieval. ``training`` is what `lgca goal train` reported of the encoder, None for one that it did not make.

    ``metrics`` are shares, 0 to 1; ``parameters`` how ranks were made. Ranks of all queries are in a file beside it.
    ``seconds``, passes and ``peak_memory`` (of the GPU, else of the process, in bytes) are those of the retrieval.
    """

    version: Literal[1] = 1
    utc: AwareDatetime
    commit: str | None
    dirty: bool | None
    captions: CaptionsInfo
    encoder: EncoderInfo
    parameters: dict[str, JsonValue]
    training: dict[str, JsonValue] | None
    metrics: dict[str, float]
    libraries: dict[str, str]
    device: str
    seconds: float
    image_passes: int
    text_passes: int
    peak_memory: int
    notes: list[str]
    skipped: list[Skipped]
    ranks_sha256: str = Sha256

    @property
    def arm(self) -> str:
        """Name of the arm that was trained, or "start" for an encoder as it was."""
        return str(self._identity.get("arm", "start"))

    @property
    def seed(self) -> int:
        """Seed of the training, 0 without one."""
        settings: Any = self._identity.get("settings", {})
        return int(settings.get("seed", 0))

    @property
    def outcome(self) -> dict[str, Any]:
        """What the training came to: steps, seconds, peak_memory, moved, counts, losses; empty without one."""
        found: Any = (self.training or {}).get("outcome", {})
        return found

    @property
    def _identity(self) -> dict[str, Any]:
        found: Any = (self.training or {}).get("identity", {})
        return found


def training_report(encoder_spec: str) -> dict[str, Any] | None:
    """What the training behind ``goal:RUN`` reported; None for other encoders, or where the report is gone."""
    name, _, folder = encoder_spec.partition(":")
    file = Path(folder).expanduser() / REPORT
    if name != "goal" or not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LgcaError(f"{file} is no report of a training: {first_line(error)}") from error


def check_free_record(folder: Path, *, force: bool) -> None:
    """LgcaError unless a record can be written to a folder: a new or empty one, or one that holds such a record."""
    check_parent(folder, "the record")
    if folder.exists() and not folder.is_dir():
        raise LgcaError(f"{folder} is a file: give a folder for the record")
    held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if not held <= {RELATED, RANKS}:
        raise LgcaError(f"{folder} holds other files than a record: choose an empty or a new folder")
    if held and not force:
        raise LgcaError(f"{folder} already holds a record: choose another folder, or overwrite it with --force")
    if os.path.ismount(folder) or folder.resolve() == Path.cwd():
        raise LgcaError(f"{folder}: a record takes the place of its folder: give one inside, as {folder / 'record'}")


@contextmanager
def reserved_record(folder: Path, *, force: bool = False) -> Iterator[None]:
    """Hold a folder for a record against other processes, from before the work until it is saved.

    What a killed :func:`save_related` left is swept up; an earlier record that it had moved aside comes back.
    """
    with claimed(folder, "the record"):
        restore_folder(folder)
        check_free_record(folder, force=force)
        yield


def save_related(
    folder: Path, result: RetrievalResult, encoder: Encoder, captions: CaptionSet, *, parameters: dict[str, Any],
    training: dict[str, Any] | None, seconds: float, skipped: Sequence[Skipped] = (), force: bool = False,
) -> RelatedRecord:  # fmt: skip
    """Write a record and the ranks of its queries as one folder, all or nothing. LgcaError where it is taken."""
    check_free_record(folder, force=force)
    stream = BytesIO()
    result.ranks.astype({"query": "category", "direction": "category"}).to_parquet(stream, compression="zstd")
    commit, dirty = code_version()
    record = RelatedRecord(
        utc=utc_now(),
        commit=commit,
        dirty=dirty,
        captions=CaptionsInfo(
            name=captions.name, split=captions.split, count=len(captions.pictures), sha256=captions.sha256()
        ),
        encoder=EncoderInfo(
            name=encoder.name,
            weights_sha256=encoder.sha256,
            activation=encoder.activation,
            precision=encoder.precision,
            logit_scale=encoder.logit_scale,
        ),
        parameters=parameters,
        training=training,
        metrics=result.metrics,
        libraries=library_versions(),
        device=recorded(encoder.device),
        seconds=seconds,
        image_passes=encoder.image_passes,
        text_passes=encoder.text_passes,
        peak_memory=peak_memory_of(encoder.device),
        notes=result.notes,
        skipped=[*captions.skipped, *skipped],
        ranks_sha256=hashlib.sha256(stream.getvalue()).hexdigest(),
    )

    def fill(draft: Path) -> None:
        (draft / RANKS).write_bytes(stream.getvalue())
        (draft / RELATED).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")

    try:
        make_folder(folder, fill, taken="replace" if force else "refuse", mend="choose another folder")
    except BaseException:
        put_back(folder)
        raise
    return record


def load_related(folder: Path) -> tuple[RelatedRecord, pd.DataFrame]:
    """A record and its ranks. LgcaError where there is none, or its two files do not belong together."""
    try:
        record = RelatedRecord.model_validate_json((folder / RELATED).read_text(encoding="utf-8"))
        blob = (folder / RANKS).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise LgcaError(f"{folder} holds no record that can be read ({RELATED} and {RANKS}): {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        raise LgcaError(f"{folder / RELATED} is not a valid record: {where}: {first['msg']}") from error
    if hashlib.sha256(blob).hexdigest() != record.ranks_sha256:
        raise LgcaError(f"{folder / RANKS} is not the file that the record beside it was written with")
    return record, pd.read_parquet(BytesIO(blob)).astype({"query": str, "direction": str})


def find_related(root: Path) -> dict[str, tuple[RelatedRecord, pd.DataFrame]]:
    """Every record below a folder, by its place in it, hidden drafts left out; none where there is no folder."""
    places = [file.parent.relative_to(root) for file in sorted(root.rglob(RELATED))]
    shown = [place for place in places if not any(part.startswith(".") for part in place.parts)]
    return {place.as_posix(): load_related(root / place) for place in shown}
