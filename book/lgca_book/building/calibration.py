"""What an evaluation will take: passes counted on a few pictures without an encoder, and the rate of the real one."""

import time
import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgca_book.experiments import Evaluation
from lgca_core.data import Manifest
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.evaluate import evaluate
from lgca_core.evaluation.store.store import Store
from lgca_core.lgca import LGCA
from lgca_core.pixels.pictures import open_picture
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.views import Views
from lgca_core.wca import WCA

SECONDS = 8.0
"""How long an encoder is timed, its warm-up included."""

PICTURES = 2
CLASSES = 20
"""On how much of a data set passes are counted: classes change no pass."""


@dataclass(frozen=True)
class Cost:
    """Encoder passes of an evaluation, of crops and of sentences, and the bytes that its crops take in the store."""

    passes: int
    stored_bytes: int


def cost_of(of: Evaluation, manifest: Manifest, prompts: ClassPrompts, encoder: Encoder | None, store: Store) -> Cost:
    """What an evaluation takes beyond what a store of :func:`cost_of` holds from those before it.

    Args:
        encoder: whose vectors are kept; None where it is not here, then those of a usual width.
        store: for the stand-in's features.

    Raises:
        LgcaError: the methods cannot run on these classes.
    """
    classes = range(min(CLASSES, len(manifest.classes)))
    places = np.linspace(0, len(manifest.items) - 1, min(PICTURES, len(manifest.items))).astype(int)
    few = replace(
        manifest,
        classes=tuple(manifest.classes[c] for c in classes),
        items=tuple(replace(manifest.items[place], label=0) for place in places),
        skipped=(),
    )
    said = ClassPrompts(
        few.classes,
        prompts.templates,
        prompts.descriptions and [prompts.descriptions[c] for c in classes],
        prompts.descriptors and [prompts.descriptors[c] for c in classes],
    )
    before = _picture_bytes(store)
    width = 512 if encoder is None else encoder.encode_texts([manifest.classes[0]]).shape[1]
    record, _ = evaluate(
        few,
        _stand_in(width),
        of.methods,
        said,
        seeds=range(of.seeds),
        wca=WCA(n=of.n),
        lgca=LGCA(n=of.n),
        store=store,
    )
    share, of_classes = len(manifest.items) / len(few.items), len(manifest.classes) / len(classes)
    passes = round(record.image_passes * share) + round(record.text_passes * of_classes)
    return Cost(passes, round((_picture_bytes(store) - before) * share))


def _picture_bytes(store: Store) -> int:
    return sum(pool.size for pool in store.stored() if "sentences" not in pool.plan)


def _stand_in(width: int) -> Encoder:
    """An encoder of small inputs whose vectors are of what it is given, and of nothing learnt."""
    table = torch.randn(4096, width, generator=torch.Generator().manual_seed(0))

    def image(pixels: Tensor) -> Tensor:  # (n, 3, 8, 8) -> (n, width)
        return pixels.flatten(1) @ table[: pixels[0].numel()] + table[-1]

    def text(sentences: list[str]) -> Tensor:
        return table[[zlib.crc32(sentence.encode("utf-8", "replace")) % len(table) for sentence in sentences]]

    return Encoder(image, text, 8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), name="stand-in", sha256="0" * 64)


def rate_of(encoder: Encoder, manifest: Manifest | None, seconds: float = SECONDS) -> float:
    """Passes a second of an encoder on crops of real pictures, the best of rounds that double until the time is over.

    Without a data set, or where its pictures cannot be read, on a picture of noise.
    """
    pictures = []
    for item in manifest.items[:4] if manifest else ():
        try:
            pictures.append(open_picture(item.path))
        except LgcaError:
            continue
    noise = np.random.default_rng(0).integers(256, size=(375, 500, 3), dtype=np.uint8)
    pictures = pictures or [Image.fromarray(noise)]
    rates, crops, began = [0.0], 2, time.perf_counter()
    _round(encoder, pictures, 1)  # what is done once
    while True:
        took = _round(encoder, pictures, crops)
        rates.append(crops / took)
        left = seconds - (time.perf_counter() - began)
        settled = crops >= 256 and rates[-1] < 1.03 * rates[-2]
        if settled or 2 * took > left:
            return max(rates)
        crops *= 2


def _round(encoder: Encoder, pictures: list[Image.Image], crops: int) -> float:
    """Seconds for so many crops, at most 64 of a picture."""
    each = [min(64, crops - start) for start in range(0, crops, 64)]
    looked_at = [pictures[k % len(pictures)] for k in range(len(each))]
    boxes = [
        WCA(n=n).boxes(picture.height, picture.width, seed, "calibration")
        for seed, (n, picture) in enumerate(zip(each, looked_at, strict=True))
    ]
    began = time.perf_counter()
    Views(encoder, looked_at).encode(boxes)
    if encoder.device.type == "cuda":
        torch.cuda.synchronize(encoder.device)
    return time.perf_counter() - began
