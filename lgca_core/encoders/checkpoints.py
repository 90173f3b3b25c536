"""Checkpoint files: their weights read without running code, checked for their activation, loaded strictly."""

import json
import math
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lgca_core.errors import LgcaError, first_line

Activation = Literal["gelu", "quick_gelu"]
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI keeps among its weights


def config_beside(file: Path) -> dict[str, Any]:
    """The open_clip_config.json that Hugging Face repositories keep next to their weights, or nothing."""
    try:
        return json.loads((file.parent / "open_clip_config.json").read_text())
    except (OSError, ValueError):
        return {}


def read_state(file: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint file, by what the file is rather than by its suffix. Runs no pickled code."""
    try:
        script = False
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                script = any(Path(name).name == "constants.pkl" for name in archive.namelist())
        if script:
            found = torch.jit.load(file, map_location="cpu").state_dict()
        elif file.open("rb").read(9)[8:] == b"{":
            from safetensors.torch import load_file

            found = load_file(file)
        else:
            with file.open("rb") as stream:  # given a path, torch would go by its suffix
                found = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip, safetensors and TorchScript errors share no base
        raise LgcaError(
            f"{file}: not a checkpoint of safetensors, of a torch state dict, or of OpenAI's archive "
            f"({first_line(error)})"
        ) from error
    for nested in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(nested), dict):
            found = found[nested]
    if not isinstance(found, dict) or not found or not all(isinstance(x, Tensor) for x in found.values()):
        raise LgcaError(f"{file}: holds no state dict (names and tensors)")
    return {key.removeprefix("module."): value for key, value in found.items()}


def check_activation(name: str, activation: Activation, file: Path, sha256: str, state: dict[str, Tensor]) -> None:
    """Weights know their activation from their hash, from OpenAI's own keys, or from the configuration beside them."""
    import open_clip

    beside = config_beside(file).get("model_cfg", {}).get("quick_gelu")
    trained: bool | None = None
    if all(key in state for key in OPENAI_KEYS):
        trained = True
    elif beside is not None:
        trained = bool(beside)
    else:
        for model, tag in open_clip.list_pretrained():
            entry = open_clip.get_pretrained_cfg(model, tag)
            published = _published_sha256(entry.get("url", ""))
            if published and sha256.startswith(published):
                trained = bool(entry.get("quick_gelu", False))
    if trained is not None and trained != (activation == "quick_gelu"):
        raise wrong_activation(str(file), name, trained, str(file))


def _published_sha256(url: str) -> str:
    """The hash, or its first eight digits, that the addresses of OpenAI and open_clip carry; else nothing."""
    if "openaipublic" in url:
        return url.split("/")[-2]
    return Path(url).stem.rpartition("-")[2] if "mlfoundations" in url else ""


def wrong_activation(what: str, name: str, quick: bool, source: str) -> LgcaError:
    import open_clip

    other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
    mend = f"use {other}:{source}" if other in open_clip.list_models() else "open_clip has no such configuration"
    used, wanted = ("GELU", "QuickGELU") if quick else ("QuickGELU", "GELU")
    return LgcaError(f"{what}: trained with {wanted}, but {name} computes {used}, which costs accuracy: {mend}")


def scale_and_bias(state: dict[str, Tensor]) -> tuple[float | None, float | None]:
    """What a model multiplies a cosine by, and what it adds then, as far as its weights say."""
    scale, bias = (state[key].item() if key in state else None for key in ("logit_scale", "logit_bias"))
    return None if scale is None else math.exp(scale), bias


def load_strictly(model: Any, state: dict[str, Tensor], name: str, file: Path) -> None:
    """Fills the model, strictly: no weight is left random, none left over, none resized to fit."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = {key: value for key, value in state.items() if key not in OPENAI_KEYS}
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    for key in ("logit_scale", "logit_bias"):  # saved as a number or as a vector of one; no vector depends on them
        if key in expected:
            state[key] = state.get(key, torch.zeros(1)).reshape(expected[key].shape)
    # What follows from the architecture alone: kept by transformers before 4.31, and by TorchScript.
    for key in ("text.transformer.embeddings.position_ids", "attn_mask"):
        if key not in expected:
            state.pop(key, None)

    for key, tensor in expected.items():
        if key not in state:
            raise LgcaError(f"{file}: not a checkpoint of {name}: it has no {key}")
        if state[key].shape != tensor.shape:
            raise LgcaError(
                f"{file}: not a checkpoint of {name}: {key} is {tuple(state[key].shape)} in the file and "
                f"{tuple(tensor.shape)} in the model"
            )
    surplus = sorted(state.keys() - expected.keys())
    if surplus:
        raise LgcaError(f"{file}: not a checkpoint of {name}: the model has no {surplus[0]}")
    model.load_state_dict(state)
