"""Short trainings of HADA on made-up features, for tests of them."""

import csv
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet
from lgca_core.related.hada.items import SplitFeatures
from lgca_core.related.hada.model import ModelSaid
from lgca_core.related.hada.network import FusionSettings
from lgca_core.related.hada.tokens import Features
from lgca_core.related.hada.train import HadaSettings, fuse
from lgca_core.related.training.metrics import TABLE

CPU = torch.device("cpu")
SETTINGS = HadaSettings(
    network=FusionSettings(width=16, heads=2), epochs=3, batch=4, rate=1e-3, restart=2, queue=6, patience=3
)
MODELS = (
    ModelSaid(spec="one", name="one", sha256="1" * 64, picture=(12, 6), caption=(8, 6)),
    ModelSaid(spec="two", name="two", sha256="2" * 64, picture=(10, 4), caption=(6, 4)),
)


def features(lengths, width: int, vectors: torch.Tensor, seed: int) -> Features:
    """Random tokens, the first of an item its vector, filled up or cut."""
    generator = torch.Generator().manual_seed(seed)
    ends = np.cumsum(lengths)
    tokens = torch.randn(int(ends[-1]), width, generator=generator)
    first = torch.from_numpy(ends - lengths)
    shared = min(width, vectors.shape[1])
    tokens[first, :shared] = vectors[:, :shared]
    starts = np.stack([np.zeros_like(ends), ends - lengths, ends], 1)
    return Features((tokens.half(),), starts, torch.nn.functional.normalize(vectors, dim=1).half())


def a_split(pictures: int = 7, captions: int = 2, seed: int = 0, name: str = "train") -> SplitFeatures:
    """Pictures that model "one" knows by some numbers and model "two" by others, with captions that say both."""
    rng = np.random.default_rng(seed)
    picture_of = torch.arange(pictures).repeat_interleave(captions)
    seen, said = [], []
    for m, model in enumerate(MODELS):
        known = torch.from_numpy(rng.normal(size=(pictures, model.picture[1]))).float()
        noisy = known[picture_of] + 0.3 * torch.from_numpy(rng.normal(size=(len(picture_of), known.shape[1]))).float()
        seen.append(features(rng.integers(1, 5, pictures), model.picture[0], known, seed + m))
        said.append(features(rng.integers(1, 4, len(picture_of)), model.caption[0], noisy, seed + 10 + m))
    of = tuple(
        CaptionedPicture(f"{n}.png", Path(f"{n}.png"), tuple(f"{n} {k}" for k in range(captions)))
        for n in range(pictures)
    )
    return SplitFeatures(CaptionSet("made up", name, of), tuple(seen), tuple(said), picture_of)


def run(out: Path, settings: HadaSettings = SETTINGS, **words):
    train, validation = a_split(), a_split(9, 3, seed=1, name="val")
    return fuse(train, validation, MODELS, settings, out, identity={"data": "some"}, device=CPU, **words)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "hada.safetensors")


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / TABLE).open(newline="")))
