"""Memory and time of scoring a data set from the store, where nothing is left to encode.

    python benchmarks/store_memory.py                     50,000 pictures x (60 crops + the whole), 512 wide: 3.2 GB
    python benchmarks/store_memory.py --pictures 5000     a tenth

Another process fills a store in a temporary folder with random unit vectors, for the boxes that WCA draws; then this
one scores every picture against 1,000 classes, a shard at a time. Prints a record in JSON; ``beyond`` is the largest
resident size while scoring less that before it, with torch imported and the class matrix made. It must stay under
2 GB, and does not grow with the number of pictures. Times are wall-clock, so they want a machine to themselves.
"""

import argparse
import hashlib
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from lgca_core.boxes import whole
from lgca_core.classifier import logits
from lgca_core.encoder import Encoder
from lgca_core.store import Pool, Shard, Store
from lgca_core.views import Encoded, Views
from lgca_core.wca import WCA

SIZE = (375, 500)  # height and width of every picture: ImageNet's most common
LOOK = WCA()


def open_pool(root: Path, pictures: int) -> Pool:
    identities = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(pictures)]
    return Store(root).pool({"plan": {"draw": "squares", "n": LOOK.n, "seed": 0}}, identities)


def fill(root: Path, pictures: int, width: int) -> None:
    """Write every shard, as an evaluation would, but for the encoder."""
    pool = open_pool(root, pictures)
    generator = torch.Generator().manual_seed(0)
    for index in range(len(pool)):
        identities = [pool.identities[b] for b in pool.pictures(index)]
        boxes = [torch.cat([whole(*SIZE), LOOK.boxes(*SIZE, 0, identity)]) for identity in identities]
        counts = torch.tensor([len(of) for of in boxes], dtype=torch.int32)
        vectors = F.normalize(torch.randn(int(counts.sum()), width, generator=generator), dim=-1).half()
        pool.write(index, Shard.of(identities, [SIZE] * len(boxes), Encoded(counts, torch.cat(boxes).int(), vectors)))


def refuse_picture() -> Image.Image:
    raise AssertionError("a picture was decoded although all its boxes are in the store")


def refuse(_: object) -> Tensor:
    raise AssertionError("something was encoded although all boxes are in the store")


def resident() -> int:
    """Largest resident size so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and time of scoring from the store.")
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--folder", help="where the temporary folder goes: needs 66 kB a picture")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lgca-store-", dir=asked.folder) as folder:
        root = Path(folder)
        begun = time.perf_counter()
        writer = multiprocessing.get_context("spawn").Process(target=fill, args=(root, asked.pictures, asked.width))
        writer.start()
        writer.join()
        if writer.exitcode:
            sys.exit(writer.exitcode)
        filled = time.perf_counter() - begun

        encoder = Encoder(refuse, refuse, 224, mean=(0,) * 3, std=(1,) * 3)
        matrix = F.normalize(torch.randn(asked.classes, asked.width, generator=torch.Generator().manual_seed(1)), dim=1)
        pool = open_pool(root, asked.pictures)
        before, seconds, scored = resident(), {"reading": 0.0, "scoring": 0.0}, 0
        for index in range(len(pool)):
            begun = time.perf_counter()
            shard = pool.read(index)
            assert shard is not None, f"shard {index} is missing"
            read = time.perf_counter()
            sizes = [(height, width) for height, width in shard.sizes.tolist()]
            views = Views(encoder, [refuse_picture] * len(sizes), sizes=sizes, float16=True)
            views.know(shard.encoded)
            scored += len(logits(LOOK.vectors(views, shard.identities, 0), matrix).argmax(dim=1))
            seconds["reading"] += read - begun
            seconds["scoring"] += time.perf_counter() - read
        size = sum(path.stat().st_size for path in pool.folder.iterdir())
    print(
        json.dumps(
            {
                "pictures": scored,
                "boxes_a_picture": LOOK.n + 1,
                "width": asked.width,
                "classes": asked.classes,
                "store_bytes": size,
                "resident_before_bytes": before,
                "beyond_bytes": resident() - before,
                "seconds_filling": round(filled, 1),
                "read_bytes_a_second": round(size / seconds["reading"]),
                "reading_ms_a_picture": round(1000 * seconds["reading"] / scored, 4),
                "scoring_ms_a_picture": round(1000 * seconds["scoring"] / scored, 4),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
