"""The record of a retrieval, and of the training behind it: what was run, on what, with what, and what came out."""

import hashlib
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import AwareDatetime, JsonValue

from lgca_core.data.manifest import Skipped
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError, first_line
from lgca_core.evaluation.machine import recorded
from lgca_core.evaluation.parts import EncoderInfo, Sha256, Strict
from lgca_core.evaluation.provenance import code_version, library_versions, utc_now
from lgca_core.evaluation.record import check_free, read_record, write_record
from lgca_core.related.captions.captioned import CaptionSet
from lgca_core.related.captions.retrieval import RetrievalResult
from lgca_core.related.training.runs import REPORT, peak_memory_of

RELATED = "related.json"
RANKS = "ranks.parquet"
RELATED_FILES = (RELATED, RANKS)


class CaptionsInfo(Strict):
    """Which captioned pictures: ``sha256`` is of names and captions."""

    name: str
    split: str
    count: int
    sha256: str = Sha256


class RelatedRecord(Strict):
    """A retrieval with one encoder, or with several that were fused.

    ``training`` is what `lgca goal train` or `lgca hada train` reported of it, None for an encoder that neither made.
    ``metrics`` are shares, 0 to 1; ``parameters`` how ranks were made. Ranks of all queries are in a file beside it.
    ``seconds``, passes (of all encoders) and ``peak_memory`` (of the GPU, else of the process, in bytes) are those of
    the retrieval.
    """

    version: Literal[1] = 1
    utc: AwareDatetime
    commit: str | None
    dirty: bool | None
    captions: CaptionsInfo
    encoders: tuple[EncoderInfo, ...]
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


def training_report(folder: Path) -> dict[str, Any] | None:
    """What the training in a folder reported; None where the report is gone."""
    file = folder / REPORT
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LgcaError(f"{file} is no report of a training: {first_line(error)}") from error


def save_related(
    folder: Path, result: RetrievalResult, encoders: Sequence[Encoder], captions: CaptionSet, *,
    parameters: dict[str, Any], training: dict[str, Any] | None, seconds: float, skipped: Sequence[Skipped] = (),
    force: bool = False,
) -> RelatedRecord:  # fmt: skip
    """Write a record and the ranks of its queries as one folder, all or nothing. LgcaError where it is taken."""
    check_free(folder, force=force, files=RELATED_FILES)
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
        encoders=tuple(
            EncoderInfo(
                name=encoder.name,
                weights_sha256=encoder.sha256,
                activation=encoder.activation,
                precision=encoder.precision,
                logit_scale=encoder.logit_scale,
            )
            for encoder in encoders
        ),
        parameters=parameters,
        training=training,
        metrics=result.metrics,
        libraries=library_versions(),
        device=recorded(encoders[0].device),
        seconds=seconds,
        image_passes=sum(encoder.image_passes for encoder in encoders),
        text_passes=sum(encoder.text_passes for encoder in encoders),
        peak_memory=peak_memory_of(encoders[0].device),
        notes=result.notes,
        skipped=[*captions.skipped, *skipped],
        ranks_sha256=hashlib.sha256(stream.getvalue()).hexdigest(),
    )

    write_record(folder, {RANKS: stream.getvalue(), RELATED: record}, force=force)
    return record


def load_related(folder: Path) -> tuple[RelatedRecord, pd.DataFrame]:
    """A record and its ranks. LgcaError where there is none, or its two files do not belong together."""
    record, blob = read_record(folder, RelatedRecord, RELATED_FILES)
    if hashlib.sha256(blob).hexdigest() != record.ranks_sha256:
        raise LgcaError(f"{folder / RANKS} is not the file that the record beside it was written with")
    return record, pd.read_parquet(BytesIO(blob)).astype({"query": str, "direction": str})


def find_related(root: Path) -> dict[str, tuple[RelatedRecord, pd.DataFrame]]:
    """Every record below a folder, by its place in it, hidden drafts left out; none where there is no folder."""
    places = [file.parent.relative_to(root) for file in sorted(root.rglob(RELATED))]
    shown = [place for place in places if not any(part.startswith(".") for part in place.parts)]
    return {place.as_posix(): load_related(root / place) for place in shown}
