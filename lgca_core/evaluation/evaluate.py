"""Data set x encoder x method x seed -> record.

Axes: B images of a chunk, C classes, D embedding width. All methods and seeds of a chunk read their crops
through one :class:`~lgca_core.views.Views`, so that no crop of a picture is encoded twice; the record gives
both what each method needs alone and what was encoded in all.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import JsonValue

from lgca_core.box_plans import ahead
from lgca_core.data.manifest import Item, Manifest, OnError
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.dataset_reader import Chunk, Reader
from lgca_core.evaluation.jobs import Job, boxes_by_pool, prepare_jobs
from lgca_core.evaluation.machine import peak_memory, recorded
from lgca_core.evaluation.parts import EncoderInfo, Part, check_part, empty_part, misfit, shards_of_part
from lgca_core.evaluation.predictions import completed, repeated
from lgca_core.evaluation.provenance import code_version, library_versions, utc_now
from lgca_core.evaluation.record import Dataset, Record
from lgca_core.evaluation.store.store import Store
from lgca_core.lgca import LGCA
from lgca_core.methods import Settings, as_json
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.wca import WCA

PicturesDone = Callable[[int, int], None]


def encode(
    manifest: Manifest,
    encoder: Encoder,
    methods: Sequence[str],
    prompts: ClassPrompts,
    store: Store,
    *,
    part: tuple[int, int] = (1, 1),
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    wca: WCA | None = None,
    lgca: LGCA | None = None,
    chunk: int = 32,
    on_error: OnError = "raise",
    progress: PicturesDone | None = None,
    notice: Callable[[str], None] | None = None,
) -> Part:
    """Fill the store with what :func:`evaluate` will look at, for one part of the pictures; says what that took.

    Args:
        part: (k, n), the k-th of n parts, each of consecutive shards; different processes may encode different parts.
        notice: called before the work with each note on the prompts, see :attr:`Record.notes`.

    Raises:
        LgcaError: as :func:`evaluate`, or there is no such part.
    """
    check_part(part)
    _check(manifest, prompts, seeds, chunk)
    shards = shards_of_part(part, manifest, store)
    if not shards:
        return empty_part(part, manifest)
    meter = _Meter(encoder)
    settings = Settings(wca or WCA(), lgca or LGCA())
    jobs, _ = prepare_jobs(encoder, prompts, methods, seeds, settings, store, manifest.name)
    if notice:
        for note in jobs.notes:
            notice(note)
    plans = [plan for job in jobs for plan in job.scorer.plans]
    reader = Reader(manifest, encoder, chunk=chunk, on_error=on_error, store=store, plans=plans, shards=shards)
    store.check(reader.room(boxes_by_pool(jobs), jobs[0].width))
    done = 0

    def look(pictures: Chunk) -> None:
        for job in jobs:
            if not all(map(ahead, job.scorer.plans)):  # the others' boxes are encoded
                pictures.scores(job.scorer)

    with closing(reader.each(look)) as chunks:
        for pictures, _ in chunks:
            done += len(pictures.items)
            if progress:
                progress(done + len(reader.skipped), reader.total)
    return Part(
        part="{}/{}".format(*part),
        manifest_sha256=manifest.sha256,
        encoder=_info(encoder),
        device=recorded(encoder.device),
        pictures=done,
        **meter.read(),
    )


class _Meter:
    """Counts an encoder's passes, the seconds and the memory from its making on."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._began, self._utc = encoder, time.perf_counter(), utc_now()
        self._images, self._texts = encoder.image_passes, encoder.text_passes
        if encoder.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(encoder.device)

    def read(self) -> dict[str, Any]:
        """The fields that `record.Record` and `parts.Part` share."""
        device = self._encoder.device
        return {
            "utc": self._utc,
            "seconds": time.perf_counter() - self._began,
            "image_passes": self._encoder.image_passes - self._images,
            "text_passes": self._encoder.text_passes - self._texts,
            "peak_memory": peak_memory(),
            "peak_device_memory": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        }


def _info(encoder: Encoder) -> EncoderInfo:
    return EncoderInfo(
        name=encoder.name,
        weights_sha256=encoder.sha256,
        activation=encoder.activation,
        precision=encoder.precision,
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
    )


def evaluate(
    manifest: Manifest,
    encoder: Encoder,
    methods: Sequence[str],
    prompts: ClassPrompts,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    wca: WCA | None = None,
    lgca: LGCA | None = None,
    chunk: int = 32,
    on_error: OnError = "raise",
    store: Store | None = None,
    progress: PicturesDone | None = None,
    parameters: Mapping[str, JsonValue] | None = None,
    parts: Sequence[Part] = (),
    notice: Callable[[str], None] | None = None,
) -> tuple[Record, pd.DataFrame]:
    """Run every method with every seed over a data set.

    Args:
        methods: names of `methods.METHODS`, with settings or without, in the order of the table.
        prompts: what can be said of the manifest's classes; what a method reads must be there.
        seeds: draws of crops (and of Waffle's words); a method without chance runs once, as seed 0.
        wca, lgca: their settings; ``lgca-equal`` is `lgca` with as many crops as the passes of `wca` pay for. The peers
            ``gc``, ``bifta`` and ``lazsl`` look at the crops of `wca`.
        chunk: pictures looked at together; the next chunk is read meanwhile. It changes results by no more than the
            rounding of the encoder, whose batches it fills.
        on_error: stop at a picture that cannot be read (``raise``), or list it in the record and go on
            (``skip``).
        store: where features are looked up and kept, so that no run encodes them again; their vectors are then
            rounded to float16, those that are new as well, so that the result is the same whether they were there.
        progress: called with (pictures done, pictures in all) after each chunk.
        parameters: whatever else the caller wants the record to hold.
        parts: what :func:`encode` took before, for the record to keep.
        notice: called before the work with each note on the prompts that the record will keep.

    Returns:
        The record, and the predictions in long form (columns as ``predictions.COLUMNS``).

    Raises:
        LgcaError: an unknown method, missing prompts, a picture that cannot be read, no picture left, parts of
            something else, a store that cannot be written or whose disk has no room.
    """
    meter = _Meter(encoder)
    settings = Settings(wca or WCA(), lgca or LGCA())
    _check(manifest, prompts, seeds, chunk)
    if fault := misfit(parts, manifest.sha256, _info(encoder)):
        raise LgcaError(f"{fault}: encode it again for {manifest.name}, remove its file, or leave it out")

    jobs, prompts_sha256 = prepare_jobs(encoder, prompts, methods, seeds, settings, store, manifest.name)
    if notice:
        for note in jobs.notes:
            notice(note)
    plans = [plan for job in jobs for plan in job.scorer.plans]
    reader = Reader(manifest, encoder, chunk=chunk, on_error=on_error, store=store, plans=plans)
    if store is not None:
        store.check(reader.room(boxes_by_pool(jobs), jobs[0].width))
    items: list[Item] = []
    with closing(reader.each(lambda part: [part.scores(job.scorer) for job in jobs])) as chunks:
        for part, scored in chunks:
            for job, scores in zip(jobs, scored, strict=True):
                job.keep(*scores)
            items += part.items
            if progress:
                progress(len(items) + len(reader.skipped), reader.total)
    skipped = [*manifest.skipped, *reader.skipped]
    if not items:
        raise LgcaError(f"{manifest.root}: no picture could be read, all {len(skipped)} were skipped")
    done = len(items)
    predictions = _table(jobs, [manifest.key(item) for item in items], items, manifest.classes)

    hits = predictions["label"] == predictions["prediction"]
    correct = hits.groupby([predictions["method"], predictions["seed"]]).sum()
    took = meter.read()
    commit, dirty = code_version()
    record = Record(
        commit=commit,
        dirty=dirty,
        parameters={
            "methods": list(methods),
            "seeds": list(seeds),
            "wca": as_json(settings.wca),
            "lgca": as_json(settings.lgca),
            "chunk": chunk,
            "on_error": on_error,
            "batch_size": encoder.batch_size,
            "pictures": manifest.conversion._asdict(),
            "features": "float32" if store is None else "float16",
            **(parameters or {}),
        },
        seeds=list(seeds),
        dataset=Dataset(
            name=manifest.name,
            split=manifest.split,
            count=done + len(skipped),
            classes=list(manifest.classes),
            manifest_sha256=manifest.sha256,
        ),
        prompts_sha256=prompts_sha256,
        encoder=_info(encoder),
        resize=encoder.resize.said,
        libraries=library_versions(),
        device=recorded(encoder.device),
        images_per_second=done / took["seconds"],
        parts=list(parts),
        notes=list(jobs.notes),
        skipped=skipped,
        runs=[job.run(int(correct[job.method, job.seed]), done) for job in jobs],
        **took,
    )
    return record, predictions


def _check(manifest: Manifest, prompts: ClassPrompts, seeds: Sequence[int], chunk: int) -> None:
    if prompts.classes != manifest.classes:
        raise LgcaError(f"the prompts are of other classes than {manifest.name} has, or in another order")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise LgcaError(f"seeds must be different whole numbers from 0 on, not {list(seeds)}")
    if chunk < 1:
        raise LgcaError(f"a chunk must hold at least one picture, not {chunk}")


def _table(jobs: Sequence[Job], keys: Sequence[str], items: Sequence[Item], classes: Sequence[str]) -> pd.DataFrame:
    """Predictions in long form: by job, then by picture."""
    columns: dict[str, Any] = {
        "path": repeated(keys, len(jobs)),
        "image": repeated([item.sha256 for item in items], len(jobs)),
        "label": np.tile([item.label for item in items], len(jobs)),
        "method": np.repeat(np.array([job.method for job in jobs], dtype=object), len(items)),
        "seed": np.repeat([job.seed for job in jobs], len(items)),
    }
    columns |= {name: torch.cat([job.kept_column(name) for job in jobs]).numpy() for name in jobs[0].kept[0]}
    return completed(pd.DataFrame(columns), classes)
