"""Memory and time of an evaluation whose features are all in the store.

Another process fills a store in a temporary folder with random unit vectors, for the boxes that WCA draws; then this
one evaluates WCA on every picture against the classes, as `lgca evaluate` does. ``beyond_bytes`` is the largest
resident size meanwhile minus the largest before it, with torch imported. Times are wall-clock, so they want a machine
to themselves.
"""

import hashlib
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.bench.harness import PHOTOGRAPH, SEED_OF_WORK
from lgca_core.bench.record import begin
from lgca_core.box_plans import draw
from lgca_core.data.manifest import Item, Manifest
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.dataset_reader import pool_of
from lgca_core.evaluation.evaluate import evaluate
from lgca_core.evaluation.machine import peak_memory
from lgca_core.evaluation.store.keys import pool_key
from lgca_core.evaluation.store.shard import Shard
from lgca_core.evaluation.store.store import Store
from lgca_core.pixels.pillow_weights import BICUBIC
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.views import Encoded
from lgca_core.wca import WCA

TOO_MUCH = 2e9
"""Bytes from which on an evaluation takes too many."""

_WCA = WCA()


def _pictures(count: int, classes: int) -> Manifest:
    """A data set whose files are nowhere: to open one would be an error."""
    root = Path("nowhere")
    names = [f"{number:06d}.jpg" for number in range(count)]
    items = [Item(root / name, k % classes, hashlib.sha256(name.encode()).hexdigest()) for k, name in enumerate(names)]
    return Manifest("generated", "all", root, tuple(f"class {c}" for c in range(classes)), tuple(items))


def _encoder(width: int) -> Encoder:
    """Random vectors for sentences, none for pictures."""
    generator = torch.Generator().manual_seed(1)

    def image(_: Tensor) -> Tensor:
        raise AssertionError("a crop was encoded although all of them are in the store")

    def text(sentences: list[str]) -> Tensor:
        return torch.randn(len(sentences), width, generator=generator)

    return Encoder(image, text, 224, mean=(0,) * 3, std=(1,) * 3, name="random", sha256=f"{width:064x}")


def _fill(root: Path, manifest: Manifest, width: int) -> None:
    """Write every shard, as an evaluation would, but for the encoder."""
    generator = torch.Generator().manual_seed(0)
    identities = [item.sha256 for item in manifest.items]
    for plan in _WCA.plans(SEED_OF_WORK):
        key = pool_key(identities, _encoder(width), json.loads(pool_of(plan)), BICUBIC.said)
        pool = Store(root).pool(key, identities)
        for index in range(len(pool)):
            some = [identities[b] for b in pool.pictures(index)]
            boxes = [draw(plan, *PHOTOGRAPH, identity) for identity in some]
            counts = torch.tensor([len(of) for of in boxes], dtype=torch.int32)
            vectors = F.normalize(torch.randn(int(counts.sum()), width, generator=generator), dim=-1).half()
            pool.write(
                index, Shard.of(some, [PHOTOGRAPH] * len(some), Encoded(counts, torch.cat(boxes).int(), vectors))
            )


def weigh_evaluation(pictures: int, width: int, classes: int, folder: Path | None) -> dict[str, Any]:
    """Fill a store below `folder` (the system's, where it is None) and evaluate out of it: the record.

    Raises LgcaError where the store cannot be filled.
    """
    with tempfile.TemporaryDirectory(prefix="lgca-store-", dir=folder) as place:
        root, manifest = Path(place), _pictures(pictures, classes)
        writer = multiprocessing.get_context("spawn").Process(target=_fill, args=(root, manifest, width))
        writer.start()
        writer.join()
        if writer.exitcode:
            raise LgcaError(f"the store in {root.parent} could not be filled, as told above: --folder names another")
        prompts = ClassPrompts.by_name(
            manifest.classes, descriptions={name: [f"{name}, {k}" for k in range(50)] for name in manifest.classes}
        )
        before, begun = peak_memory(), time.perf_counter()
        run, _ = evaluate(
            manifest, _encoder(width), ["wca"], prompts, seeds=(SEED_OF_WORK,), wca=_WCA, store=Store(root)
        )
        seconds = time.perf_counter() - begun
        beyond = peak_memory() - before
        size = sum(path.stat().st_size for path in root.rglob("*.safetensors"))
    return begin("store-memory", torch.device("cpu")) | {
        "pictures": run.dataset.count,
        "boxes_a_picture": _WCA.passes(),
        "width": width,
        "classes": classes,
        "store_bytes": size,
        "peak_before_bytes": before,
        "beyond_bytes": beyond,
        "seconds": seconds,
        "image_passes": run.image_passes,
    }
