"""The embedded encoder's place and architecture: an ordinary open_clip model under its own name."""

from __future__ import annotations

from pathlib import Path

MODEL_NAME = "aviary-ViT-8"
CONFIG = Path(__file__).with_name("configs") / f"{MODEL_NAME}.json"
WEIGHTS = Path(__file__).with_name("weights.safetensors")
WORLD_COMMIT = "9dea853fcaed245b41d144f805a042c616e0b6da"
"""The commit that fixed species, painter, language, splits and training, before any method was compared on them."""


def register() -> None:
    """Make open_clip know the architecture `aviary-ViT-8` (idempotent)."""
    import open_clip

    if MODEL_NAME not in open_clip.list_models():
        open_clip.add_model_config(CONFIG)
