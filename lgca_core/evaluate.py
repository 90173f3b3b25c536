"""Data set x encoder x method x seed -> record (floor 4).

Axes: B images of a chunk, C classes, D embedding width. All methods and seeds of a chunk read their crops
through one :class:`~lgca_core.views.Views`, so that no crop of a picture is encoded twice; the record gives
both what each method needs alone and what was encoded in all.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd
import torch
from PIL import Image
from pydantic import JsonValue
from torch import Tensor

from lgca_core import prompts as prompt
from lgca_core.boxes import whole
from lgca_core.classifier import class_matrix, logits
from lgca_core.datasets import Item, Manifest, OnError, file_hash
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA
from lgca_core.resample import open_picture
from lgca_core.results import (
    COLUMNS,
    Dataset,
    EncoderInfo,
    Record,
    Run,
    Skipped,
    code_version,
    library_versions,
    utc_now,
)
from lgca_core.views import Views
from lgca_core.wca import WCA

Prompts = Literal["plain", "templates", "descriptors", "waffle", "descriptions"]
Look = Literal["whole", "wca", "wca-released", "lgca", "lgca-equal"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Method:
    """What a class is asked with, how its prompts are combined, and how a picture is looked at."""

    summary: str
    prompts: Prompts
    look: Look = "whole"

    @property
    def weighted(self) -> bool:
        """Prompts weighted by the plain prompt (algorithms, section 1); else their mean."""
        return self.look != "whole"

    @property
    def seeded(self) -> bool:
        """Whether the outcome depends on a seed; a method that does not is run once, as seed 0."""
        return self.look != "whole" or self.prompts == "waffle"


METHODS: dict[str, Method] = {
    "clip": Method("one plain prompt a class, the whole picture", "plain"),
    "clip-e": Method("a mean of templates, the whole picture", "templates"),
    "clip-d": Method("a mean of short descriptors, the whole picture", "descriptors"),
    "waffle": Method("a mean of prompts with random words and letters, the whole picture", "waffle"),
    "cupl": Method("a mean of descriptions, the whole picture", "descriptions"),
    "wca": Method("weighted descriptions against weighted crops, as the paper writes it", "descriptions", "wca"),
    "wca-released": Method("the same as its released code runs", "descriptions", "wca-released"),
    "lgca": Method("crops that start local; the salient ones expand", "descriptions", "lgca"),
    "lgca-equal": Method("lgca with no more encoder passes than wca", "descriptions", "lgca-equal"),
}
"""Every method by name."""


@dataclass(frozen=True)
class _Texts:
    """What prompts can be made of, for the classes in order."""

    classes: tuple[str, ...]
    descriptions: Mapping[str, Sequence[str]] | None
    descriptors: Mapping[str, Sequence[str]] | None
    templates: Sequence[str]

    def prompts(self, method: str, seed: int) -> list[list[str]]:
        kind = METHODS[method].prompts
        if kind == "plain":
            return prompt.plain(self.classes)
        if kind == "templates":
            return prompt.templates(self.classes, self.templates)
        if kind == "waffle":
            return prompt.waffle(self.classes, seed=seed)
        if kind == "descriptors":
            if self.descriptors is None:
                raise LgcaError(f"the method {method!r} needs short descriptors of every class: give --descriptors")
            return prompt.descriptors(self.classes, self.descriptors)
        if self.descriptions is None:
            raise LgcaError(f"the method {method!r} needs descriptions of every class: give --descriptions")
        if missing := [name for name in self.classes if not self.descriptions.get(name)]:
            raise LgcaError(f"no descriptions for the class {missing[0]!r}: write at least one sentence")
        return [list(self.descriptions[name]) for name in self.classes]


class _Known:
    """The text half of an encoder for sentences encoded ahead: several methods read the same ones."""

    def __init__(self, encoder: Encoder, sentences: Sequence[str]) -> None:
        self._row = {sentence: row for row, sentence in enumerate(dict.fromkeys(sentences))}
        self._vectors = encoder.encode_texts(list(self._row))  # (distinct, D)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(n, D)"""
        return self._vectors[[self._row[text] for text in texts]]


@dataclass(frozen=True)
class _Job:
    """One method with one seed, ready to score pictures."""

    method: str
    seed: int
    look: WCA | LGCA | None
    matrix: Tensor  # (C, D)

    @property
    def passes(self) -> int:
        return 1 if self.look is None else self.look.passes()

    def vectors(self, views: Views, identities: Sequence[str]) -> Tensor:
        """(B, D)"""
        if self.look is None:
            return torch.cat(views.encode([whole(height, width) for height, width in views.sizes]))
        if isinstance(self.look, LGCA):
            return self.look.vectors(views, identities, self.seed, class_matrix=self.matrix)
        return self.look.vectors(views, identities, self.seed)

    def config(self) -> dict[str, JsonValue]:
        method = METHODS[self.method]
        return {"prompts": method.prompts, "look": method.look} | (_plain(self.look) if self.look else {})


def _plain(look: WCA | LGCA) -> dict[str, JsonValue]:
    """Settings as JSON knows them, so tuples as lists."""
    return json.loads(json.dumps(asdict(look)))


def _look(look: Look, wca: WCA, lgca: LGCA) -> WCA | LGCA | None:
    match look:
        case "whole":
            return None
        case "wca":
            return wca
        case "wca-released":
            return replace(WCA.as_released(), n=wca.n)
        case "lgca":
            return lgca
        case "lgca-equal":
            return lgca.at_passes(wca.passes())


def check_methods(methods: Sequence[str]) -> None:
    """Raises LgcaError for a method that does not exist (the choices are named), one given twice, or none."""
    if not methods:
        raise LgcaError(f"no method given: choose from {', '.join(METHODS)}")
    for method in methods:
        if method not in METHODS:
            raise LgcaError(f"there is no method {method!r}: choose from {', '.join(METHODS)}")
    if len(set(methods)) < len(methods):
        raise LgcaError(f"a method is given twice: {', '.join(methods)}")


def _jobs(
    encoder: Encoder, texts: _Texts, methods: Sequence[str], seeds: Sequence[int], wca: WCA, lgca: LGCA
) -> tuple[list[_Job], str]:
    """Every method and seed with its class matrix; and the hash of all prompts."""
    check_methods(methods)
    asked = {
        (method, seed): texts.prompts(method, seed)
        for method in methods
        for seed in (seeds if METHODS[method].seeded else (0,))
    }
    anchors = [plain for [plain] in prompt.plain(texts.classes)]
    sentences = [sentence for prompts in asked.values() for of_class in prompts for sentence in of_class]
    if any(METHODS[method].weighted for method in methods):
        sentences += anchors
    known = cast(Encoder, _Known(encoder, sentences))
    matrices: dict[Any, Tensor] = {}
    jobs = []
    for (method, seed), prompts in asked.items():
        look = _look(METHODS[method].look, wca, lgca)
        drawn = seed if METHODS[method].prompts == "waffle" else None
        key = (METHODS[method].prompts, drawn, look and (look.text_temperature, look.renormalise))
        if key not in matrices:
            matrices[key] = (
                class_matrix(known, prompts)
                if look is None
                else class_matrix(
                    known,
                    prompts,
                    anchors=anchors,
                    temperature=look.text_temperature,
                    renormalise=look.renormalise,
                )
            )
        jobs.append(_Job(method, seed, look, matrices[key]))
    return jobs, prompt.digest({f"{method}#{seed}": prompts for (method, seed), prompts in asked.items()})


def _score(jobs: Sequence[_Job], views: Views, identities: Sequence[str]) -> Iterator[tuple[_Job, Tensor]]:
    """Each job with its logits (B, C), on the CPU. What two jobs share of the image side is computed once."""
    seen: dict[Any, Tensor] = {}
    for job in jobs:
        key = (job.look, job.seed if job.look else None)
        if key not in seen:
            seen[key] = job.vectors(views, identities)
        yield job, logits(seen[key], job.matrix).float().cpu()


def evaluate(
    manifest: Manifest,
    encoder: Encoder,
    methods: Sequence[str] = ("clip", "cupl", "wca", "lgca"),
    *,
    descriptions: Mapping[str, Sequence[str]] | None = None,
    descriptors: Mapping[str, Sequence[str]] | None = None,
    templates: Sequence[str] = prompt.GENERIC_TEMPLATES,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    wca: WCA | None = None,
    lgca: LGCA | None = None,
    chunk: int = 32,
    on_error: OnError = "raise",
    progress: Progress | None = None,
    parameters: Mapping[str, JsonValue] | None = None,
) -> tuple[Record, pd.DataFrame]:
    """Run every method with every seed over a data set.

    Args:
        methods: names in :data:`METHODS`, in the order of the table.
        descriptions: class name -> sentences; ``cupl``, ``wca`` and ``lgca`` need it.
        descriptors: class name -> short descriptors; ``clip-d`` needs it.
        templates: what ``clip-e`` fills with the names.
        seeds: crop pools (and Waffle draws); a method without chance runs once, as seed 0.
        wca, lgca: their settings; ``lgca-equal`` is `lgca` with as many crops as the passes of `wca` pay for.
        chunk: pictures held in memory at once; the next chunk is read meanwhile. It does not change the
            result.
        on_error: stop at a picture that cannot be read (``raise``), or list it in the record and go on
            (``skip``).
        progress: called with (pictures done, pictures in all) after each chunk.
        parameters: whatever else the caller wants the record to hold.

    Returns:
        The record, and the predictions in long form (columns as ``results.COLUMNS``).

    Raises:
        LgcaError: an unknown method, missing prompts, a picture that cannot be read, no picture left.
    """
    began, started = time.perf_counter(), utc_now()
    wca, lgca = wca or WCA(), lgca or LGCA()
    seeds = tuple(seeds)
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise LgcaError(f"seeds must be different whole numbers from 0 on, not {list(seeds)}")
    if chunk < 1:
        raise LgcaError(f"a chunk must hold at least one picture, not {chunk}")
    images_before, texts_before = encoder.image_passes, encoder.text_passes
    if encoder.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(encoder.device)

    texts = _Texts(manifest.classes, descriptions, descriptors, templates)
    jobs, prompts_sha256 = _jobs(encoder, texts, methods, seeds, wca, lgca)
    skipped = list(manifest.skipped)
    frames: list[pd.DataFrame] = []
    done = 0
    for items, pictures in _chunks(manifest, chunk, on_error, skipped):
        views = Views(encoder, pictures)
        keys = [manifest.key(item) for item in items]
        for job, scores in _score(jobs, views, [item.identity for item in items]):
            frames.append(_rows(job, keys, items, scores))
        done += len(items)
        if progress:
            progress(done + len(skipped) - len(manifest.skipped), len(manifest.items))
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
            "wca": _plain(wca),
            "lgca": _plain(lgca),
            "chunk": chunk,
            "on_error": on_error,
            "batch_size": encoder.batch_size,
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
        runs=[
            Run(
                method=job.method,
                seed=job.seed,
                config=job.config(),
                correct=int(correct[job.method, job.seed]),
                total=done,
                passes_per_image=float(job.passes),
            )
            for job in jobs
        ],
    )
    return record, predictions


RESIZE = "crop, bicubic with anti-aliasing to the shorter side, centre crop (Pillow's numbers)"


def _chunks(
    manifest: Manifest, chunk: int, on_error: OnError, skipped: list[Skipped]
) -> Iterator[tuple[list[Item], list[Image.Image]]]:
    """Pictures in memory, a chunk at a time, read in threads while the chunk before is being encoded."""

    def read(item: Item) -> Image.Image | LgcaError:
        try:
            return open_picture(item.path)
        except LgcaError as error:
            return error

    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        parts = [manifest.items[start : start + chunk] for start in range(0, len(manifest.items), chunk)]
        ahead = [pool.submit(read, item) for item in parts[0]] if parts else []
        for number, part in enumerate(parts):
            results = [future.result() for future in ahead]
            ahead = [pool.submit(read, item) for item in parts[number + 1]] if number + 1 < len(parts) else []
            items, pictures = [], []
            for item, result in zip(part, results, strict=True):
                if not isinstance(result, LgcaError):
                    items.append(item)
                    pictures.append(result)
                elif on_error == "skip":
                    reason = str(result).removeprefix(f"{item.path}: ")
                    skipped.append(Skipped(path=manifest.key(item), reason=reason))
                else:
                    raise LgcaError(f"{result}; remove it, or go on past such files with --on-error skip")
            if items:
                yield items, pictures
    finally:
        pool.shutdown(cancel_futures=True)


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
    classes: Sequence[str],
    encoder: Encoder,
    method: str = "lgca",
    *,
    descriptions: Mapping[str, Sequence[str]] | None = None,
    descriptors: Mapping[str, Sequence[str]] | None = None,
    templates: Sequence[str] = prompt.GENERIC_TEMPLATES,
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
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise LgcaError(f"at least two different classes are needed, not {list(classes)}")
    texts = _Texts(tuple(classes), descriptions, descriptors, templates)
    jobs, _ = _jobs(encoder, texts, [method], [seed], wca or WCA(), lgca or LGCA())
    for path in pictures:
        views = Views(encoder, [open_picture(path)])
        [(_, scores)] = _score(jobs[:1], views, [file_hash(path)])
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
