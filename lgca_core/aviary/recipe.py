"""Settings that fix a training run of the embedded encoder; apart from the training, so that a page can read them."""

from __future__ import annotations

from dataclasses import dataclass


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
