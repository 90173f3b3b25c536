"""Short trainings of GOAL, for tests of them."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lgca_core.encoders.registry import load_encoder
from lgca_core.related.captions.captioned import CaptionedPicture
from lgca_core.related.goal.pairs import Pair, PairedPicture
from lgca_core.related.goal.train import TrainSettings, tune
from lgca_core.related.training.metrics import TABLE

SENTENCES = ("A red box is here.", "Beside it stands a tall blue thing.", "The rest is grey.")
SETTINGS = TrainSettings(epochs=2, batch=4, rate=1e-3, pairs=2, pair_weights="score")


def paired(folder: Path, count: int = 10) -> list[PairedPicture]:
    """Pictures of 48 x 40 pixels with three sentences and two or three pairs each."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for number in range(count):
        rng = np.random.default_rng(number)
        file = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(file)
        caption = " ".join(rng.permutation(SENTENCES).tolist()[: 2 + number % 2])
        starts = [caption.index(sentence) for sentence in SENTENCES if sentence in caption]
        pairs = []
        for start in starts:
            x, y = (int(of) for of in rng.integers(0, 24, 2))
            pairs.append(Pair((x, y, x + 14, y + 12), start, caption.index(".", start) + 1, float(rng.random())))
        picture = CaptionedPicture(file.name, file, (caption,))
        out.append(PairedPicture(picture, tuple(sorted(pairs, key=lambda pair: -pair.score))))
    return out


def run(pictures, start, out, settings=SETTINGS, **words):
    encoder = load_encoder(start, device="cpu")
    return tune(pictures, encoder, settings, out, identity={"data": "some"}, **words)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "open_clip_model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def losses(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / TABLE).open(newline="")))


@contextmanager
def gradients() -> Iterator[list[list[torch.Tensor]]]:
    """Of each step that is made in the block, the gradient of every parameter."""
    found: list[list[torch.Tensor]] = []
    real = torch.optim.AdamW.step

    def spy(self, *args, **words):
        found.append([of.grad.clone() for group in self.param_groups for of in group["params"]])
        return real(self, *args, **words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", spy)
        yield found
