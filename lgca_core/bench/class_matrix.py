"""The class matrix of many classes in one go, beside a class at a time.

Three ways to the same matrix, which must agree to 1e-5:

- ``in one go``: `lgca_core.class_vectors.encode_classes`, all sentences in flat batches of like length, each batch cut
  at its longest sentence;
- ``class by class``: what published code does, restated: one forward pass a class through open_clip's own text encoder,
  every sentence padded to the full context of 77;
- ``class by class, cut short``: `encode_classes` called a class at a time, which tells how much of the ratio comes from
  the batches and how much from the cut.

The sentences are generated: as ragged and as long as CuPL's (a median of about 20 tokens), and no two alike, so that
none is saved. Times hold tokenising too.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.bench.harness import Say, models, time_in_turns
from lgca_core.bench.record import begin_with_encoder, timings
from lgca_core.class_vectors import encode_classes
from lgca_core.encoders.devices import Device
from lgca_core.encoders.embedded import MODEL_NAME
from lgca_core.errors import LgcaError
from lgca_core.prompts.sentences import WORDS

MATRICES_AGREE = 1e-5
"""How far two ways' numbers may be apart."""

Prompts = list[list[str]]


def sentences(classes: int, mean: int, seed: int) -> Prompts:
    """Different sentences of every class, about as long as CuPL's: `mean` a class, up to 30 % more or fewer."""
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
    """The matrix (C, D) as published code makes it: a pass a class at full context, their means, of unit length."""
    device = model.logit_scale.device
    rows = []
    with torch.inference_mode():
        for of_class in prompts:
            t = F.normalize(model.encode_text(tokenizer(of_class).to(device)), dim=-1)  # (P, D)
            rows.append(F.normalize(t.mean(dim=0), dim=-1))
    return torch.stack(rows)


def time_class_matrix(
    name: str, device: Device, classes: int, mean: int, repeats: int, seed: int, batch_size: int | None, report: Say
) -> dict[str, Any]:
    """Time the three ways, with `mean` sentences a class: the record.

    Raises:
        LgcaError: there is no such architecture or device; the matrices differ.
    """
    prompts = sentences(classes, mean, seed)
    with models(name, device) as (encoder, model):
        tokenizer = open_clip.get_tokenizer(MODEL_NAME if name == "aviary" else name)
        if batch_size is not None:
            encoder = replace(encoder, batch_size=batch_size)
        # Each hands its matrix to the CPU, which waits for the device.
        arms: dict[str, Callable[[], Tensor]] = {
            "in one go": lambda: encode_classes(encoder, prompts).cpu(),
            "class by class": lambda: class_by_class(model, tokenizer, prompts).cpu(),
            "class by class, cut short": lambda: torch.cat([encode_classes(encoder, [of]) for of in prompts]).cpu(),
        }
        first, *others = [run() for run in arms.values()]
        difference = float(torch.stack([(first - other).abs().max() for other in others]).max())
        if not difference <= MATRICES_AGREE:  # nor is what is not a number
            raise LgcaError(f"the matrices differ by {difference:.1e}: they do not compute the same")
        timed = timings(time_in_turns(arms, repeats, encoder.device, report, warm_up=False))
        tokens = (tokenizer([text for of_class in prompts for text in of_class]) != 0).sum(dim=1)
    median = timed["median_seconds"]
    counts = [len(of_class) for of_class in prompts]
    return (
        begin_with_encoder("class-matrix", name, encoder)
        | {
            "weights_sha256": encoder.sha256,
            "classes": classes,
            "sentences": {"all": sum(counts), "fewest": min(counts), "most": max(counts)},
            "tokens": {"median": float(tokens.double().median()), "longest": int(tokens.max())},
            "seed": seed,
        }
        | timed
        | {
            "times_faster": {arm: median[arm] / median["in one go"] for arm in arms if arm != "in one go"},
            "largest_difference": difference,
        }
    )
