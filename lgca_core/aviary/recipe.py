"""Settings that fix a training run of an embedded encoder; apart from the training, so that a page can read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sees = Literal["all", "colour", "shape"]
"""What an embedded encoder is not blind to; see `lgca_core.aviary.sees`."""


@dataclass(frozen=True)
class Config:
    """Everything that fixes a training run."""

    seed: int = 1
    steps: int = 3000
    batch: int = 256
    scenes: int = 16000
    lr: float = 1.5e-3
    warmup: int = 200
    weight_decay: float = 0.05
    first_scale: float = 14.0
    last_scale: float = 100.0
    whole: float = 0.42
    crops: float = 0.30
    blank: float = 0.06
    attributes: float = 0.3
    patches: float = 0.3
    sees: Sees = "all"
    warm: bool = False
    precision: Literal["bfloat16", "float32"] = "bfloat16"
