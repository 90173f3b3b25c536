"""Features as they were when FEATURES was last raised: sixteen crops through the embedded encoder, to their bits.

    python -m pytest tests/evaluation/test_golden_features.py --renew-golden

writes ``golden_features.safetensors`` anew. Whoever needs that has changed what a feature is, and first raises
``FEATURES`` in lgca_core/evaluation/store/keys.py, so that no store takes the old ones for the new.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from lgca_core.boxes import draw_squares
from lgca_core.encoders.registry import load_encoder
from lgca_core.evaluation.store.keys import FEATURES
from lgca_core.views import Views
from support.stub_encoder import noise

GOLDEN = Path(__file__).with_name("golden_features.safetensors")
SIZES = [(90, 120), (64, 64), (200, 150), (50, 333)]
ROUNDING = 2e-6
"""More than the float32 sums of two machines differ by, in a number of a unit vector."""


@dataclass
class Golden:
    version: str  # FEATURES
    crops: str  # sha256 of the pixels of all crops
    vectors: Tensor  # (16, D) float32, before they are rounded to float16

    @classmethod
    def load(cls) -> "Golden":
        with safe_open(GOLDEN, "pt") as file:
            return cls(file.metadata()["FEATURES"], file.metadata()["crops"], file.get_tensor("vectors"))

    def save(self) -> None:
        save_file({"vectors": self.vectors}, GOLDEN, metadata={"FEATURES": self.version, "crops": self.crops})

    def between(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest float16 that a vector may be rounded to; the same one, where that is decided."""
        return (self.vectors - ROUNDING).half(), (self.vectors + ROUNDING).half()


@pytest.fixture(scope="module")
def found() -> tuple[Golden, Tensor]:
    """What today's code gives, and its vectors rounded to float16, as a store keeps them."""
    encoder = load_encoder(device="cpu")
    pictures = [noise(height, width, seed) for seed, (height, width) in enumerate(SIZES)]
    boxes = [draw_squares(*size, 4, 0.2, 0.9, seed=0, identity=str(b)) for b, size in enumerate(SIZES)]
    exact, rounded = Views(encoder, pictures), Views(encoder, pictures, float16=True)
    pixels = torch.cat([exact.crops(b, of_picture) for b, of_picture in enumerate(boxes)])
    with rounded.recording() as asked:
        rounded.encode(boxes)
    vectors = torch.cat(exact.encode(boxes))
    return Golden(str(FEATURES), sha256(pixels.numpy().tobytes()).hexdigest(), vectors), asked().features


@pytest.fixture(scope="module")
def golden(found, request) -> Golden:
    if request.config.getoption("--renew-golden"):
        new, rounded = found
        if GOLDEN.exists() and (old := Golden.load()).version == new.version:
            low, high = old.between()
            same = old.crops == new.crops and ((low <= rounded) & (rounded <= high)).all()
            assert same, f"features are others than those of FEATURES = {FEATURES}: raise it before renewing them"
        new.save()
    return Golden.load()


def test_it_is_of_this_version(golden):
    assert golden.version == str(FEATURES), "FEATURES was raised: renew the golden features with --renew-golden"


def test_crops_are_the_same_to_every_bit(golden, found):
    assert found[0].crops == golden.crops


def test_features_are_the_same_bits(golden, found):
    rounded = found[1]
    assert rounded.dtype == torch.float16 and rounded.shape == golden.vectors.shape
    low, high = golden.between()
    decided = low.view(torch.int16) == high.view(torch.int16)
    assert decided.float().mean() > 0.75
    assert torch.equal(rounded.view(torch.int16)[decided], low.view(torch.int16)[decided])
    assert ((low <= rounded) & (rounded <= high)).all()  # the others as far as they go
