"""Data set x encoder x method x seed -> record (floor 4).

Axes: B images of a chunk, C classes, D embedding width. All methods and seeds of a chunk read their crops
through one :class:`~lgca_core.views.Views`, so that no crop of a picture is encoded twice; the record gives
both what each method needs alone and what was encoded in all.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from pydantic import JsonValue
from torch import Tensor

from lgca_core import prompts as prompt
from lgca_core.class_prompts import ClassPrompts
from lgca_core.datasets import Item, Manifest, OnError, file_hash
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.features import Reader, sentence_vectors
from lgca_core.lgca import LGCA
from lgca_core.methods import METHODS, Scorer, Settings, Texts, check_methods, plain
from lgca_core.resample import RESIZE, open_picture
from lgca_core.results import (
    COLUMNS,
    Dataset,
    EncoderInfo,
    Record,
    Run,
    code_version,
    library_versions,
    utc_now,
)
from lgca_core.store import Store
from lgca_core.views import Views
from lgca_core.wca import WCA

Progress = Callable[[int, int], None]


class _Known:
    """The text half of an encoder for sentences encoded ahead: several methods read the same ones."""

    def __init__(self, encoder: Encoder, sentences: Sequence[str], store: Store | None) -> None:
        self._row = {sentence: row for row, sentence in enumerate(dict.fromkeys(sentences))}
        self._vectors = sentence_vectors(encoder, list(self._row), store)  # (distinct, D)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(n, D)"""
        return self._vectors[[self._row[text] for text in texts]]


@dataclass
class _Job:
    """One method with one seed."""

    method: str
    seed: int
    scorer: Scorer
    passes: int = 0  # of the encoder for this method alone, so far

    def run(self, correct: int, total: int) -> Run:
        """For the record."""
        return Run(
            method=self.method,
            seed=self.seed,
            config={"prompts": METHODS[self.method].prompts} | self.scorer.config,
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
) -> tuple[list[_Job], str]:
    """Every method and seed, ready to score; and the hash of all prompts."""
    check_methods(methods)
    asked = {
        (method, seed): prompts.of(METHODS[method].prompts, method=method, seed=seed)
        for method in methods
        for seed in (seeds if METHODS[method].seeded else (0,))
    }
    anchors = [anchor for [anchor] in prompt.plain(prompts.classes)]
    sentences = [sentence for of_job in asked.values() for of_class in of_job for sentence in of_class]
    if any(METHODS[method].anchored for method in methods):
        sentences += anchors
    known = cast(Encoder, _Known(encoder, sentences, store))
    texts: dict[Any, Texts] = {}
    jobs = []
    for (method, seed), of_job in asked.items():
        kind = METHODS[method].prompts
        shared = texts.setdefault((kind, seed if kind == "waffle" else None), Texts(known, of_job, anchors))
        jobs.append(_Job(method, seed, METHODS[method].prepare(shared, seed, settings)))
    return jobs, prompt.digest({f"{method}#{seed}": of_job for (method, seed), of_job in asked.items()})


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
) -> int:
    """Fill the store with what :func:`evaluate` will look at, for one part of the pictures; says how many they are.

    Args:
        part: (k, n), the k-th of n parts, each of consecutive shards; different processes may encode different parts.

    Raises:
        LgcaError: as :func:`evaluate`, or there is no such part.
    """
    k, n = part
    if not 1 <= k <= n:
        raise LgcaError(f"there is no part {k} of {n}: parts are counted from 1")
    _check(seeds, chunk)
    jobs, _ = _jobs(encoder, prompts, methods, seeds, Settings(wca or WCA(), lgca or LGCA()), store)
    total = store.shards(len(manifest.items))
    shards = range((k - 1) * total // n, k * total // n)
    plans = [plan for job in jobs for plan in job.scorer.plans]
    reader = Reader(manifest, encoder, chunk=chunk, on_error=on_error, store=store, plans=plans, shards=shards)
    done = 0
    for pictures in reader:
        for job in jobs:
            pictures.scores(job.scorer)
        done += len(pictures.items)
        if progress:
            progress(done + len(reader.skipped), reader.total)
    return done


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
) -> tuple[Record, pd.DataFrame]:
    """Run every method with every seed over a data set.

    Args:
        methods: names in `methods.METHODS`, in the order of the table.
        prompts: what can be said of the manifest's classes; what a method reads must be there.
        seeds: crop pools (and Waffle draws); a method without chance runs once, as seed 0.
        wca, lgca: their settings; ``lgca-equal`` is `lgca` with as many crops as the passes of `wca` pay for. The peers
            ``gc``, ``bifta`` and ``lazsl`` look at the crops of `wca`.
        chunk: pictures held in memory at once; the next chunk is read meanwhile. It does not change the
            result.
        on_error: stop at a picture that cannot be read (``raise``), or list it in the record and go on
            (``skip``).
        store: where features are looked up and kept, so that no run encodes them again; their vectors are then
            rounded to float16, those that are new as well, so that the result does not depend on what was there.
        progress: called with (pictures done, pictures in all) after each chunk.
        parameters: whatever else the caller wants the record to hold.

    Returns:
        The record, and the predictions in long form (columns as ``results.COLUMNS``).

    Raises:
        LgcaError: an unknown method, missing prompts, a picture that cannot be read, no picture left.
    """
    began, started = time.perf_counter(), utc_now()
    settings = Settings(wca or WCA(), lgca or LGCA())
    _check(seeds, chunk)
    images_before, texts_before = encoder.image_passes, encoder.text_passes
    if encoder.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(encoder.device)

    if prompts.classes != manifest.classes:
        raise LgcaError(f"the prompts are of other classes than {manifest.name} has, or in another order")
    jobs, prompts_sha256 = _jobs(encoder, prompts, methods, seeds, settings, store)
    plans = [plan for job in jobs for plan in job.scorer.plans]
    reader = Reader(manifest, encoder, chunk=chunk, on_error=on_error, store=store, plans=plans)
    frames: list[pd.DataFrame] = []
    done = 0
    for part in reader:
        keys = [manifest.key(item) for item in part.items]
        for job in jobs:
            scores, passes = part.scores(job.scorer)
            job.passes += passes
            frames.append(_rows(job, keys, part.items, scores))
        done += len(part.items)
        if progress:
            progress(done + len(reader.skipped), reader.total)
    skipped = [*manifest.skipped, *reader.skipped]
    if not frames:
        raise LgcaError(f"{manifest.root}: no picture could be read, all {len(skipped)} were skipped")
    # Rows by job, then by picture: the order of the pictures does not depend on the chunks.
    predictions = pd.concat(frames[k] for j in range(len(jobs)) for k in range(j, len(frames), len(jobs)))
    predictions = predictions.reset_index(drop=True)

    hits = predictions["label"] == predictions["prediction"]
    correct = hits.groupby([predictions["method"], predictions["seed"]]).sum()
    seconds = time.perf_counter() - began
    commit, dirty = code_version()
    record = Record(
        utc=started,
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
        encoder=EncoderInfo(
            name=encoder.name,
            weights_sha256=encoder.sha256,
            activation=encoder.activation,
            precision=encoder.precision,
        ),
        resize=RESIZE,
        libraries=library_versions(),
        device=_device(encoder.device),
        seconds=seconds,
        images_per_second=done / seconds,
        image_passes=encoder.image_passes - images_before,
        text_passes=encoder.text_passes - texts_before,
        peak_memory=_peak_memory(),
        peak_device_memory=(torch.cuda.max_memory_allocated(encoder.device) if encoder.device.type == "cuda" else None),
        skipped=skipped,
        runs=[job.run(int(correct[job.method, job.seed]), done) for job in jobs],
    )
    return record, predictions


def _check(seeds: Sequence[int], chunk: int) -> None:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise LgcaError(f"seeds must be different whole numbers from 0 on, not {list(seeds)}")
    if chunk < 1:
        raise LgcaError(f"a chunk must hold at least one picture, not {chunk}")


def _rows(job: _Job, keys: Sequence[str], items: Sequence[Item], scores: Tensor) -> pd.DataFrame:
    """Predictions of one job on one chunk; scores (B, C). Of equal logits the first class wins."""
    best = scores.argmax(dim=1)
    top = scores.topk(min(2, scores.shape[1]), dim=1).values
    frame = pd.DataFrame(
        {
            "path": keys,
            "image": [item.sha256 for item in items],
            "label": [item.label for item in items],
            "method": job.method,
            "seed": job.seed,
            "prediction": best.numpy(),
            "margin": (top[:, 0] - top[:, -1]).numpy(),
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
    [job, *_], _ = _jobs(encoder, prompts, [method], [seed], Settings(wca or WCA(), lgca or LGCA()))
    for path in pictures:
        views = Views(encoder, [open_picture(path)])
        scores = job.scorer.scores(views, [file_hash(path)]).float().cpu()  # (1, C)
        order = scores[0].argsort(descending=True, stable=True).tolist()
        yield [(classes[c], float(scores[0, c])) for c in order]


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {os.cpu_count()} processors, {torch.get_num_threads()} threads"


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
