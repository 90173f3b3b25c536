"""The embedded encoders: small CLIPs trained on the aviary, ordinary open_clip models under names of their own."""

from functools import partial
from pathlib import Path

from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Options
from lgca_core.encoders.open_clip_models import label_of, load_architecture
from lgca_core.encoders.registry import register

NAME = "aviary"  # in ``--encoder``
MODEL_NAME = "aviary-ViT-8"
EMBEDDED = {NAME: MODEL_NAME, f"{NAME}-colour": "aviary-colour-ViT-8", f"{NAME}-shape": "aviary-shape-ViT-8"}
"""The name of every embedded encoder, and of its architecture and files. The last two are each blind to what the other
sees: one is given the mean colour of every 4 x 4 pixels, the other the luminance of every pixel."""
FOLDER = Path(__file__).with_name("weights")
WEIGHTS = FOLDER / f"{MODEL_NAME}.safetensors"
WORLD_COMMIT = "9dea853fcaed245b41d144f805a042c616e0b6da"
"""The commit that fixed species, painter, language, splits and training, before any method was compared on them."""


def add_to_open_clip() -> None:
    """Make open_clip know the architectures of the embedded encoders (idempotent)."""
    import open_clip

    if MODEL_NAME not in open_clip.list_models():
        open_clip.add_model_config(FOLDER)


def load_embedded(name: str, source: str | None, options: Options) -> Encoder:
    """The embedded encoder of that name, or the same architecture with the weights of a file."""
    add_to_open_clip()
    model = EMBEDDED[name]
    if source is None:
        return load_architecture(model, str(FOLDER / f"{model}.safetensors"), name, options)
    return load_architecture(model, source, label_of(name, source), options)


for _name in EMBEDDED:
    _load = partial(load_embedded, _name)
    register(_name, _load, input="64 px", activation="quick_gelu", resize="bicubic, shortest", weights="embedded")
