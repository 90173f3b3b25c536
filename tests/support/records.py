"""Records made up for tests."""

from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from lgca_core.evaluation.paper_values import ENCODERS
from lgca_core.evaluation.parts import EncoderInfo
from lgca_core.evaluation.record import Dataset, Record, Run
from lgca_core.methods import METHODS
from lgca_core.wca import WCA

SHA = "0" * 64
CLASSES = [f"class {number}" for number in range(47)]
"""Of a full record: as many as of DTD."""


def toy_record(runs: dict[str, np.ndarray], **changes) -> tuple[Record, pd.DataFrame]:
    """A record of methods given as (seeds, n) 0/1 arrays over two classes; every label is 0."""
    n = next(iter(runs.values())).shape[-1]
    rows, listed = [], []
    for method, correct in runs.items():
        for seed, hits in enumerate(np.atleast_2d(correct)):
            listed.append(
                Run(
                    method=method,
                    seed=seed,
                    config={"n": 60},
                    correct=int(hits.sum()),
                    total=n,
                    passes_per_image=61,
                )
            )
            rows += [
                {"path": f"a/{i}.png", "image": SHA, "label": 0, "method": method, "seed": seed,
                 "prediction": int(not hit), "margin": 0.1}
                for i, hit in enumerate(hits)
            ]  # fmt: skip
    fields = {
        "utc": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "commit": "c" * 40,
        "dirty": False,
        "parameters": {"n": 60, "methods": list(runs)},
        "seeds": [0, 1],
        "dataset": Dataset(name="toy", split="test", count=n, classes=["x", "y"], manifest_sha256=SHA),
        "prompts_sha256": SHA,
        "encoder": EncoderInfo(name="stub", precision="float32"),
        "resize": "pillow",
        "libraries": {"numpy": np.__version__},
        "device": "cpu",
        "seconds": 1.5,
        "images_per_second": n / 1.5,
        "image_passes": 61 * n,
        "text_passes": 2,
        "peak_memory": 1 << 20,
        "runs": listed,
    } | changes
    return Record(**fields), pd.DataFrame(rows)


def full_record(
    correct: dict[str, list[int]],
    *,
    dataset: str = "dtd",
    count: int = 1880,
    encoder: str = ENCODERS["ViT-B/32"],
    config: dict | None = None,
    **changes,
) -> tuple[Record, pd.DataFrame]:
    """A record of how many pictures of `count` each method had right, a number a seed."""
    skipped = changes.get("skipped", [])
    read = count - len(skipped)
    runs, frames = [], []
    for method, by_seed in correct.items():
        for seed, hits in enumerate(by_seed):
            settings = {
                "prompts": METHODS.get(method, METHODS["clip"]).prompts,
                **(asdict(WCA()) if config is None else config),
            }
            runs.append(Run(method=method, seed=seed, config=settings, correct=hits, total=read, passes_per_image=61))
            frame = pd.DataFrame({"path": [f"a/{i}.png" for i in range(read)], "image": SHA, "label": 0})
            guesses = (np.arange(read) >= hits).astype(int)
            frames.append(frame.assign(method=method, seed=seed, prediction=guesses, margin=0.1))
    fields = {
        "utc": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "commit": "c" * 40,
        "dirty": True,
        "parameters": {"device": "cuda"},
        "seeds": list(range(max(map(len, correct.values())))),
        "dataset": Dataset(name=dataset, split="test", count=count, classes=CLASSES, manifest_sha256="d" * 64),
        "prompts_sha256": "e" * 64,
        "encoder": EncoderInfo(name=encoder, weights_sha256="f" * 64, precision="float16"),
        "resize": "bicubic",
        "libraries": {"numpy": "2.0"},
        "device": "cuda: a GPU",
        "seconds": 12.5,
        "images_per_second": 150.4,
        "image_passes": 61 * read,
        "text_passes": 2,
        "peak_memory": 3 << 29,
        "peak_device_memory": 5 << 30,
        "runs": runs,
    } | changes
    return Record(**fields), pd.concat(frames, ignore_index=True)
