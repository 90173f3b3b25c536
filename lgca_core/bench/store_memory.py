"""Memory and time of an evaluation whose features are all in the store.

    python -m lgca_core.bench.store_memory   50,000 pictures x (60 crops + the whole), 512 wide: 3.2 GB
    python -m lgca_core.bench.store_memory --pictures 5000   a tenth

Another process fills a store in a temporary folder with random unit vectors, for the boxes that WCA draws; then this
one evaluates WCA on every picture against 1,000 classes, as `lgca evaluate` does. ``beyond_bytes`` is the largest
resident size meanwhile less the largest before it, with torch imported: from 2 GB on the script fails. Times are
wall-clock, so they want a machine to themselves. A record is written to ``results/bench/`` in either case.
"""

import argparse
import hashlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.bench.record import begin, write
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
from lgca_core.pixels.cropping import RESIZE
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.views import Encoded
from lgca_core.wca import WCA

SIZE = (375, 500)  # height and width of every picture: ImageNet's most common
LOOK = WCA()
SEED = 0
MOST = 2e9
"""Bytes from which on an evaluation takes too many."""


def pictures(count: int, classes: int) -> Manifest:
    """A data set whose files are nowhere: to open one would be an error."""
    root = Path("nowhere")
    names = [f"{number:06d}.jpg" for number in range(count)]
    items = [Item(root / name, k % classes, hashlib.sha256(name.encode()).hexdigest()) for k, name in enumerate(names)]
    return Manifest("generated", "all", root, tuple(f"class {c}" for c in range(classes)), tuple(items))


def encoder(width: int) -> Encoder:
    """Random vectors for sentences, none for pictures."""
    generator = torch.Generator().manual_seed(1)

    def image(_: Tensor) -> Tensor:
        raise AssertionError("a crop was encoded although all of them are in the store")

    def text(sentences: list[str]) -> Tensor:
        return torch.randn(len(sentences), width, generator=generator)

    return Encoder(image, text, 224, mean=(0,) * 3, std=(1,) * 3, name="random", sha256=f"{width:064x}")


def fill(root: Path, manifest: Manifest, width: int) -> None:
    """Write every shard, as an evaluation would, but for the encoder."""
    generator = torch.Generator().manual_seed(0)
    identities = [item.sha256 for item in manifest.items]
    for plan in LOOK.plans(SEED):
        pool = Store(root).pool(pool_key(identities, encoder(width), json.loads(pool_of(plan)), RESIZE), identities)
        for index in range(len(pool)):
            some = [identities[b] for b in pool.pictures(index)]
            boxes = [draw(plan, *SIZE, identity) for identity in some]
            counts = torch.tensor([len(of) for of in boxes], dtype=torch.int32)
            vectors = F.normalize(torch.randn(int(counts.sum()), width, generator=generator), dim=-1).half()
            pool.write(index, Shard.of(some, [SIZE] * len(some), Encoded(counts, torch.cat(boxes).int(), vectors)))


def main(words: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512, help="of a vector")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--folder", help="where the temporary folder goes: needs 66 kB a picture")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), metavar="FOLDER", help="of the record")
    asked = parser.parse_args(words)
    for option in ("pictures", "width", "classes"):
        if getattr(asked, option) < 1:
            parser.error(f"--{option} must be at least 1, got {getattr(asked, option)}")
    try:
        asked.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    except OSError as error:
        parser.error(f"cannot write to {asked.out}: {error.strerror}")
    with tempfile.TemporaryDirectory(prefix="lgca-store-", dir=asked.folder) as folder:
        root, manifest = Path(folder), pictures(asked.pictures, asked.classes)
        writer = multiprocessing.get_context("spawn").Process(target=fill, args=(root, manifest, asked.width))
        writer.start()
        writer.join()
        if writer.exitcode:
            sys.exit(writer.exitcode)
        said = ClassPrompts.by_name(
            manifest.classes, descriptions={name: [f"{name}, {k}" for k in range(50)] for name in manifest.classes}
        )
        before, begun = peak_memory(), time.perf_counter()
        run, _ = evaluate(manifest, encoder(asked.width), ["wca"], said, seeds=(SEED,), wca=LOOK, store=Store(root))
        seconds = time.perf_counter() - begun
        beyond = peak_memory() - before
        size = sum(path.stat().st_size for path in root.rglob("*.safetensors"))
    record = begin("store-memory", torch.device("cpu")) | {
        "pictures": run.dataset.count,
        "boxes_a_picture": LOOK.passes(),
        "width": asked.width,
        "classes": asked.classes,
        "store_bytes": size,
        "peak_before_bytes": before,
        "beyond_bytes": beyond,
        "seconds": seconds,
        "image_passes": run.image_passes,
    }
    try:
        file = write(record, asked.out, f"{asked.pictures}x{LOOK.passes()}x{asked.width}")
    except LgcaError as error:
        parser.error(str(error))
    print(f"{beyond / 1e9:.2f} GB beyond, {1000 * seconds / asked.pictures:.2f} ms a picture")
    print(f"record: {file}")
    if beyond >= MOST:
        sys.exit(f"error: {beyond / 1e9:.2f} GB beyond what was there before; it must stay under {MOST / 1e9:g} GB")


if __name__ == "__main__":
    main()
