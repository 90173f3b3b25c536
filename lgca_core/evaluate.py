"""Data set x encoder x method x seed -> record (floor 4).

Axes: B images of a chunk, C classes, D embedding width. All methods and seeds of a chunk read their crops
through one :class:`~lgca_core.views.Views`, so that no crop of a picture is encoded twice; the record gives
both what each method needs alone and what was encoded in all.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import JsonValue
from torch import Tensor

from lgca_core import prompts as prompt
from lgca_core.class_prompts import ClassPrompts, Kind
from lgca_core.datasets import Item, Manifest, OnError, file_hash
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.features import Chunk, Reader, sentence_vectors
from lgca_core.lgca import LGCA
from lgca_core.looking import looked_at
from lgca_core.machine import peak_memory, recorded
from lgca_core.methods import Scorer, Settings, Texts, check_methods, find, plain
from lgca_core.plans import ahead
from lgca_core.provenance import code_version, library_versions, utc_now
from lgca_core.resample import RESIZE
from lgca_core.results import (
    COLUMNS,
    Dataset,
    EncoderInfo,
    Part,
    Record,
    Run,
    misfit,
)
from lgca_core.store import Store
from lgca_core.wca import WCA

Progress = Callable[[int, int], None]


class _Known:
    """The text half of an encoder for lists of sentences encoded ahead, with their vectors.

    A list is encoded by itself, so that a vector does not depend, in its last bits, on which other methods run.
    """

    def __init__(self, *lists: tuple[Sequence[str], Tensor]) -> None:
        sentences = [sentence for of_list, _ in lists for sentence in of_list]
        self._row = {sentence: row for row, sentence in reversed(list(enumerate(sentences)))}  # the first of equals
        self._vectors = torch.cat([vectors for _, vectors in lists])  # (M, D)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(n, D)"""
        return self._vectors[[self._row[text] for text in texts]]


@dataclass
class _Job:
    """One method with one seed.

    ``columns`` (C,) gives the scorer's class of each class: classes that are described alike are scored once, so that
    they tie exactly.
    """

    method: str
    seed: int
    scorer: Scorer
    columns: Tensor
    passes: int = 0  # of the encoder for this method alone, so far
    predictions: list[Tensor] = field(default_factory=list)  # a tensor a chunk
    margins: list[Tensor] = field(default_factory=list)

    def answers(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """The scorer's logits (B, C') -> logits of all classes (B, C), and how far the best is ahead (B,).

        Raises LgcaError where they are not finite.
        """
        scores = scores.float().cpu()[:, self.columns]
        if not scores.isfinite().all():
            raise LgcaError(
                f"the scores of {self.method} are not finite: choose another precision, or lower temperatures"
            )
        top = scores.topk(min(2, scores.shape[1]), dim=1).values
        return scores, top[:, 0] - top[:, -1]

    def keep(self, scores: Tensor, passes: int) -> None:
        """Of equal logits the first class wins."""
        scores, margins = self.answers(scores)
        self.predictions.append(scores.argmax(dim=1))
        self.margins.append(margins)
        self.passes += passes

    def run(self, correct: int, total: int) -> Run:
        """For the record."""
        return Run(
            method=self.method,
            seed=self.seed,
            config={"prompts": find(self.method).prompts} | self.scorer.config,
            correct=correct,
            total=total,
            passes_per_image=self.passes / total,
        )


def _jobs(
    encoder: Encoder,
    prompts: ClassPrompts,
    methods: Sequence[str],
    seeds: Sequence[int],
    settings: Settings,
    store: Store | None = None,
    dataset: str | None = None,
) -> tuple[list[_Job], str]:
    """Every method and seed, ready to score; and the hash of all prompts."""
    check_methods(methods)
    runs = [(method, seed) for method in methods for seed in (seeds if find(method).seeded else (0,))]
    read: dict[tuple[Kind, int], list[list[str]]] = {}
    for method, seed in runs:
        if (key := _reads(method, seed)) not in read:
            read[key] = prompts.of(find(method).prompts, method=method, seed=seed)
    anchors = [anchor for [anchor] in prompt.plain(prompts.classes)]

    @cache
    def encoded(sentences: tuple[str, ...]) -> tuple[Sequence[str], Tensor]:
        return sentences, sentence_vectors(encoder, sentences, store, dataset=dataset)

    @cache
    def texts(key: tuple[Kind, int], anchored: bool) -> tuple[Texts, Tensor]:
        """Of the classes that differ in what is read of them, and which of these each class is."""
        of_class = [(tuple(said), anchor if anchored else "") for said, anchor in zip(read[key], anchors, strict=True)]
        distinct = {of: number for number, of in enumerate(dict.fromkeys(of_class))}
        lists = [encoded(tuple(dict.fromkeys(sentence for said, _ in distinct for sentence in said)))]
        if anchored:
            lists.append(encoded(tuple(dict.fromkeys(anchors))))
        of_distinct = Texts(_Known(*lists), [said for said, _ in distinct], [anchor for _, anchor in distinct])
        return of_distinct, torch.tensor([distinct[of] for of in of_class])

    jobs = []
    for method, seed in runs:
        shared, columns = texts(_reads(method, seed), find(method).anchored)
        jobs.append(_Job(method, seed, find(method).prepare(shared, seed, settings), columns))
    return jobs, prompt.digest({f"{kind}#{seed}": said for (kind, seed), said in read.items()})


def _reads(method: str, seed: int) -> tuple[Kind, int]:
    """What a method reads with a seed; only Waffle's prompts depend on it."""
    kind = find(method).prompts
    return kind, seed if kind == "waffle" else 0


def check_part(part: tuple[int, int]) -> None:
    """Raises LgcaError where there is no such part."""
    k, n = part
    if not 1 <= k <= n:
        raise LgcaError(f"there is no part {k} of {n}: parts are counted from 1")


def shards_of_part(part: tuple[int, int], manifest: Manifest, store: Store) -> range:
    """Which shards of the store belong to a part of a data set; of few pictures, not every part has one."""
    (k, n), total = part, store.shards(len(manifest.items))
    return range((k - 1) * total // n, k * total // n)


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
    progress: Progress | None = None,
) -> Part:
    """Fill the store with what :func:`evaluate` will look at, for one part of the pictures; says what that took.

    Args:
        part: (k, n), the k-th of n parts, each of consecutive shards; different processes may encode different parts.

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
    jobs, _ = _jobs(encoder, prompts, methods, seeds, settings, store, manifest.name)
    plans = [plan for job in jobs for plan in job.scorer.plans]
    reader = Reader(manifest, encoder, chunk=chunk, on_error=on_error, store=store, plans=plans, shards=shards)
    done = 0

    def look(pictures: Chunk) -> None:
        for job in jobs:
            if not all(map(ahead, job.scorer.plans)):  # the others' boxes are encoded
                pictures.scores(job.scorer)

    for pictures, _ in reader.each(look):
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


def empty_part(part: tuple[int, int], manifest: Manifest) -> Part:
    """What a part took that has no pictures, since the data set has fewer shards than parts; see :func:`encode`."""
    return Part(
        part="{}/{}".format(*part),
        utc=utc_now(),
        manifest_sha256=manifest.sha256,
        encoder=None,
        device=None,
        pictures=0,
        seconds=0,
        image_passes=0,
        text_passes=0,
        peak_memory=peak_memory(),
    )


class _Meter:
    """What an encoder does from now on, and what that takes."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder, self._began, self._utc = encoder, time.perf_counter(), utc_now()
        self._images, self._texts = encoder.image_passes, encoder.text_passes
        if encoder.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(encoder.device)

    def read(self) -> dict[str, Any]:
        """The fields that :class:`~lgca_core.results.Record` and :class:`~lgca_core.results.Part` share."""
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
    progress: Progress | None = None,
    parameters: Mapping[str, JsonValue] | None = None,
    parts: Sequence[Part] = (),
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

    Returns:
        The record, and the predictions in long form (columns as ``results.COLUMNS``).

    Raises:
        LgcaError: an unknown method, missing prompts, a picture that cannot be read, no picture left, parts of
            something else.
    """
    meter = _Meter(encoder)
    settings = Settings(wca or WCA(), lgca or LGCA())
    _check(manifest, prompts, seeds, chunk)
    if fault := misfit(parts, manifest.sha256, _info(encoder)):
        raise LgcaError(f"{fault}: encode it again for {manifest.name}, remove its file, or leave it out")

    jobs, prompts_sha256 = _jobs(encoder, prompts, methods, seeds, settings, store, manifest.name)
    plans = [plan for job in jobs for plan in job.scorer.plans]
    reader = Reader(manifest, encoder, chunk=chunk, on_error=on_error, store=store, plans=plans)
    items: list[Item] = []
    for part, scored in reader.each(lambda part: [part.scores(job.scorer) for job in jobs]):
        for job, scores in zip(jobs, scored, strict=True):
            job.keep(*scores)
        items += part.items
        if progress:
            progress(len(items) + len(reader.skipped), reader.total)
    skipped = [*manifest.skipped, *reader.skipped]
    if not items:
        raise LgcaError(f"{manifest.root}: no picture could be read, all {len(skipped)} were skipped")
    done = len(items)
    predictions = _table(jobs, [manifest.key(item) for item in items], items)

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
            "wca": plain(settings.wca),
            "lgca": plain(settings.lgca),
            "chunk": chunk,
            "on_error": on_error,
            "batch_size": encoder.batch_size,
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
        resize=RESIZE,
        libraries=library_versions(),
        device=recorded(encoder.device),
        images_per_second=done / took["seconds"],
        parts=list(parts),
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


def _table(jobs: Sequence[_Job], keys: Sequence[str], items: Sequence[Item]) -> pd.DataFrame:
    """Predictions in long form: by job, then by picture."""
    frame = pd.DataFrame(
        {
            "path": np.tile(np.array(keys, dtype=object), len(jobs)),
            "image": np.tile(np.array([item.sha256 for item in items], dtype=object), len(jobs)),
            "label": np.tile([item.label for item in items], len(jobs)),
            "method": np.repeat(np.array([job.method for job in jobs], dtype=object), len(items)),
            "seed": np.repeat([job.seed for job in jobs], len(items)),
            "prediction": torch.cat([part for job in jobs for part in job.predictions]).numpy(),
            "margin": torch.cat([part for job in jobs for part in job.margins]).numpy(),
        }
    )
    return frame.astype(COLUMNS)


def classify(
    pictures: Sequence[Path | str],
    prompts: ClassPrompts,
    encoder: Encoder,
    method: str = "lgca",
    *,
    seed: int = 0,
    wca: WCA | None = None,
    lgca: LGCA | None = None,
) -> Iterator[list[tuple[str, float]]]:
    """The classes of each picture with their logits, best first, one picture at a time.

    A logit is in cosine units: a unit class vector (or a mean of unit sentences) times a mean of unit crops.
    Its boxes are those that an evaluation draws for the same file and seed.

    Raises:
        LgcaError: fewer than two classes, one given twice, or as :func:`evaluate` raises.
    """
    classes = prompts.classes
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise LgcaError(f"at least two different classes are needed, not {list(classes)}")
    [job], _ = _jobs(encoder, prompts, [method], [seed], Settings(wca or WCA(), lgca or LGCA()))
    for [at], views in looked_at(encoder, pictures, chunk=1):
        scores, _ = job.answers(job.scorer.scores(views, [file_hash(pictures[at])]))  # (1, C)
        order = scores[0].argsort(descending=True, stable=True).tolist()
        yield [(classes[c], float(scores[0, c])) for c in order]
