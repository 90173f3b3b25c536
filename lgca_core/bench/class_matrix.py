"""The class matrix of many classes in one go, beside a class at a time: a ratio in one run.

    python -m lgca_core.bench.class_matrix   # 1000 classes x 50 sentences, embedded encoder
    python -m lgca_core.bench.class_matrix --encoder ViT-B-32-quickgelu   # OpenAI's architecture, random weights

Three ways to the same matrix, which must agree to 1e-5:

- ``in one go``: `lgca_core.classifier.class_matrix`, all sentences in flat batches of like length, each batch cut
  at its longest sentence;
- ``class by class``: what published code does, restated: one forward pass a class through open_clip's own text encoder,
  every sentence padded to the full context of 77;
- ``class by class, cut short``: `class_matrix` called a class at a time, which tells how much of the ratio comes from
  the batches and how much from the cut.

They take turns, so that a machine that is busy for a while slows them all. The sentences are generated: as ragged and
as long as CuPL's (a median of about 20 tokens), and no two alike, so that none is saved. Times hold tokenising too. A
record is written to ``results/bench/``.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.bench.pipeline import models
from lgca_core.bench.record import begin, write
from lgca_core.class_vectors import encode_classes
from lgca_core.encoders.embedded import MODEL_NAME
from lgca_core.errors import LgcaError
from lgca_core.prompts.sentences import WORDS

AGREE = 1e-5
Prompts = list[list[str]]


def sentences(classes: int, mean: int, seed: int) -> Prompts:
    """Different sentences of every class, about as long as CuPL's: `mean` a class, up to 30 % more or less."""
    rng = np.random.default_rng(seed)
    shift = rng.integers(-(3 * mean // 10), 3 * mean // 10 + 1, size=classes // 2)
    counts = np.concatenate([mean + shift, mean - shift, np.full(classes % 2, mean)])  # classes x mean in all

    def sentence(name: str) -> str:
        words = np.clip(rng.lognormal(np.log(14), 0.4), 4, 45).round().astype(int)
        return f"The {name}: {' '.join(rng.choice(WORDS, size=words))}."

    known = open_clip.IMAGENET_CLASSNAMES
    names = [known[k % len(known)] + (f" {k // len(known) + 1}" if k >= len(known) else "") for k in range(classes)]
    made = [[sentence(name) for _ in range(n)] for name, n in zip(names, counts)]
    assert len({text for of_class in made for text in of_class}) == classes * mean
    return made


def class_by_class(model: Any, tokenizer: Callable[[list[str]], Tensor], prompts: Prompts) -> Tensor:
    """(C, D): a pass a class, at full context; the mean of unit vectors, re-normalised."""
    device = model.logit_scale.device
    rows = []
    with torch.inference_mode():
        for of_class in prompts:
            t = F.normalize(model.encode_text(tokenizer(of_class).to(device)), dim=-1)  # (P, D)
            rows.append(F.normalize(t.mean(dim=0), dim=-1))
    return torch.stack(rows)


def measure(
    arms: dict[str, Callable[[Prompts], Tensor]], prompts: Prompts, repeats: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds of every arm and repeat, and the largest difference between two matrices."""
    for run in arms.values():
        run(prompts[:2])  # not counted: the first call loads kernels
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    difference = 0.0
    for turn in range(repeats):
        made = {}
        for name, run in arms.items():
            start = time.perf_counter()
            made[name] = run(prompts).cpu()  # waits for the device
            seconds[name].append(time.perf_counter() - start)
            print(f"{turn + 1} of {repeats}: {name}: {seconds[name][-1]:.2f} s", file=sys.stderr)
        first, *others = made.values()
        difference = float(torch.stack([torch.tensor(difference), *((first - of).abs().max() for of in others)]).max())
        assert difference <= AGREE, f"the matrices differ by {difference:.1e}, more than {AGREE:.0e}"
    return seconds, difference


def benchmark(
    name: str, device: str, classes: int, mean: int, repeats: int, seed: int, batch_size: int | None
) -> dict[str, Any]:
    """One run: what was timed, on what, and the ratio."""
    prompts = sentences(classes, mean, seed)
    with models(name, device) as (encoder, model):
        tokenizer = open_clip.get_tokenizer(MODEL_NAME if name == "aviary" else name)
        if batch_size is not None:
            encoder.batch_size = batch_size
        arms: dict[str, Callable[[Prompts], Tensor]] = {
            "in one go": lambda some: encode_classes(encoder, some),
            "class by class": lambda some: class_by_class(model, tokenizer, some),
            "class by class, cut short": lambda some: torch.cat([encode_classes(encoder, [of]) for of in some]),
        }
        seconds, difference = measure(arms, prompts, repeats)
        tokens = (tokenizer([text for of_class in prompts for text in of_class]) != 0).sum(dim=1)
    median = {arm: statistics.median(times) for arm, times in seconds.items()}
    counts = [len(of_class) for of_class in prompts]
    return begin("class-matrix", encoder.device) | {
        "encoder": name,
        "weights": "embedded" if name == "aviary" else "random",
        "weights_sha256": encoder.sha256,
        "precision": encoder.precision,
        "device": encoder.device.type,
        "classes": classes,
        "sentences": {"all": sum(counts), "fewest": min(counts), "most": max(counts)},
        "tokens": {"median": float(tokens.double().median()), "longest": int(tokens.max())},
        "seed": seed,
        "batch_size": encoder.batch_size,
        "seconds": seconds,
        "median_seconds": median,
        "times_faster": {arm: median[arm] / median["in one go"] for arm in arms if arm != "in one go"},
        "largest_difference": difference,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--classes", type=int, default=1000, help="at most ImageNet's 1000")
    parser.add_argument("--sentences", type=int, default=50, help="of a class, on average")
    parser.add_argument("--encoder", default="aviary", help="aviary, or an architecture of open_clip: random weights")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batch-size", type=int, help="sentences a pass in one go; the encoder's own if absent")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the sentences")
    parser.add_argument("--out", type=Path, default=Path("results/bench"), metavar="FOLDER", help="of the record")
    asked = parser.parse_args(words)
    if not 2 <= asked.classes <= 1000:
        parser.error(f"--classes must lie in 2..1000, got {asked.classes}")
    for option in ("sentences", "repeats", "batch_size"):
        if getattr(asked, option) is not None and getattr(asked, option) < 1:
            parser.error(f"--{option.replace('_', '-')} must be at least 1, got {getattr(asked, option)}")
    try:
        asked.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    except OSError as error:
        parser.error(f"cannot write to {asked.out}: {error.strerror}")
    try:
        record = benchmark(
            asked.encoder, asked.device, asked.classes, asked.sentences, asked.repeats, asked.seed, asked.batch_size
        )
        file = write(record, asked.out, f"{record['encoder']}-{record['device']}")
    except LgcaError as error:
        parser.error(str(error))
    for arm, seconds in record["median_seconds"].items():
        times = record["times_faster"].get(arm)
        print(f"{arm:<26} {seconds:9.2f} s" + (f"   {times:6.2f} x" if times else ""))
    print(f"record: {file}")


if __name__ == "__main__":
    main()
