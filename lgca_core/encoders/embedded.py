"""The embedded encoder: a small CLIP trained on the aviary, an ordinary open_clip model under a name of its own."""

from pathlib import Path

from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Options
from lgca_core.encoders.open_clip_models import label_of, load_architecture
from lgca_core.encoders.registry import register

NAME = "aviary"  # in ``--encoder``
MODEL_NAME = "aviary-ViT-8"
CONFIG = Path(__file__).with_name("weights") / f"{MODEL_NAME}.json"
WEIGHTS = Path(__file__).with_name("weights") / f"{MODEL_NAME}.safetensors"
WORLD_COMMIT = "9dea853fcaed245b41d144f805a042c616e0b6da"
"""The commit that fixed species, painter, language, splits and training, before any method was compared on them."""


def add_to_open_clip() -> None:
    """Make open_clip know the architecture `aviary-ViT-8` (idempotent)."""
    import open_clip

    if MODEL_NAME not in open_clip.list_models():
        open_clip.add_model_config(CONFIG)


def load_embedded(source: str | None, options: Options) -> Encoder:
    """The embedded encoder, or the same architecture with the weights of a file."""
    add_to_open_clip()
    if source is None:
        return load_architecture(MODEL_NAME, str(WEIGHTS), NAME, options)
    return load_architecture(MODEL_NAME, source, label_of(NAME, source), options)


register(NAME, load_embedded, input="64 px", activation="quick_gelu", resize="bicubic, shortest", weights="embedded")
