"""A tuned model as a folder that any open_clip loads, and as an encoder like any other: ``--encoder goal:RUN``."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lgca_core.encoder import Encoder, Parts
from lgca_core.encoders.devices import Options
from lgca_core.encoders.folders import OPEN_CLIP, OPEN_CLIP_WEIGHTS, load_folder
from lgca_core.errors import LgcaError
from lgca_core.files import draft_of, write_whole
from lgca_core.related.goal.positions import stretch_positions

LONG_CONTEXT = 248
"""Text positions of a tuned model, as GOAL and Long-CLIP have them."""


def load_goal(source: str | None, options: Options) -> Encoder:
    """The encoder of ``goal:RUN``, a folder that `lgca goal train` wrote. LgcaError where no training ended there."""
    folder = Path(source or "").expanduser()
    if not source or not folder.is_dir():
        raise LgcaError(f"goal:{source or ''} names no folder: give goal:RUN, which lgca goal train --out RUN wrote")
    if not (folder / OPEN_CLIP).is_file():
        raise LgcaError(f"{folder}: holds no tuned model: give the same lgca goal train command to end the training")
    return replace(load_folder(source, options), name=f"goal:{folder.resolve().name}")


def lengthen(parts: Parts) -> Parts:
    """The model with its text positions stretched for long captions (in place), to 248 at most.

    A model that has so many already is left as it is. LgcaError where there are too few positions to stretch.
    """
    model: Any = parts.model
    text = getattr(model, "text", model)
    old = text.positional_embedding
    if len(old) >= LONG_CONTEXT:
        return parts
    longer = stretch_positions(old.detach())[:LONG_CONTEXT].clone()
    length = len(longer)
    text.positional_embedding = nn.Parameter(longer)
    mask = text.attn_mask.new_full((length, length), float("-inf")).triu_(1)
    text.register_buffer("attn_mask", mask, persistent=False)
    for holder in (text, model):
        if hasattr(holder, "context_length"):
            holder.context_length = length
        if hasattr(holder, "num_pos"):
            holder.num_pos = length
    words = {**parts.model_cfg["text_cfg"], "context_length": length}
    return replace(parts, model_cfg={**parts.model_cfg, "text_cfg": words})


def context_of(parts: Parts) -> int:
    """How many positions the text tower has."""
    model: Any = parts.model
    return len(getattr(model, "text", model).positional_embedding)


def save_model(parts: Parts, folder: Path) -> None:
    """Write a model as open_clip keeps one: weights in safetensors, and last the configuration, each all or nothing."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in parts.model.state_dict().items()}
    with draft_of(folder / OPEN_CLIP_WEIGHTS[0]) as draft:
        save_file(state, draft)
    said = {"model_cfg": parts.model_cfg, "preprocess_cfg": parts.preprocess_cfg}
    write_whole(folder / OPEN_CLIP, json.dumps(said, indent=2).encode())
