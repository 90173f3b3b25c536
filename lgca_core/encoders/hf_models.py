"""CLIP and SigLIP as transformers keeps and runs them (extra ``hf``): no code of a repository is ever run."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgca_core.encoder import Encoder
from lgca_core.encoders.checkpoints import (
    fill,
    part_of,
    read_json,
    read_state,
    scale_and_bias_of,
    weights_in,
)
from lgca_core.encoders.devices import Options, how_to_run, pick_device, pick_precision
from lgca_core.encoders.open_clip_models import channels, pick_batch_size
from lgca_core.errors import LgcaError, first_line
from lgca_core.files import sha256_of
from lgca_core.pixels.gpu_streams import to_device

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
INDICES = tuple(f"{name}.index.json" for name in WEIGHT_FILES)
TOKENIZER = (
    "tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
BESIDE = (*PREPROCESSING, *TOKENIZER)
MEAN = {"clip": (0.48145466, 0.4578275, 0.40821073), "siglip": (0.5, 0.5, 0.5)}
STD = {"clip": (0.26862954, 0.26130258, 0.27577711), "siglip": (0.5, 0.5, 0.5)}
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def kind_and_size(config: Path, spec: str) -> tuple[str, int]:
    """The kind of a model, ``clip`` or ``siglip``, and the side of its input; LgcaError where it cannot run here."""
    said = read_json(config)
    kind = said.get("model_type")
    if kind == "siglip2":
        raise LgcaError(f"encoder {spec} takes pictures of any shape (NaFlex): take a SigLIP 2 of a fixed size instead")
    if kind not in MEAN:
        raise LgcaError(f"encoder {spec} is of the kind {kind!r}: of transformers, clip and siglip are known")
    if find_spec("transformers") is None:
        raise LgcaError(f"encoder {spec} wants transformers, which is not installed: pip install 'lgca-core[hf]'")
    side = part_of(said, "vision_config").get("image_size", 224)
    if not isinstance(side, int) or not 1 <= side <= 10_000:
        raise LgcaError(f"encoder {spec} has an input of {side!r} pixels, but crops are square and of 1 to 10,000")
    return kind, side


def load_transformers(folder: Path, spec: str, options: Options) -> Encoder:
    """The encoder of a folder with config.json, weights, preprocessing and tokenizer."""
    place = pick_device(options.device)
    precision = pick_precision(options.precision, place)
    kind, size = kind_and_size(folder / "config.json", spec)
    preprocess = _preprocessing(folder, kind, size, spec)
    files = _weights(folder)
    state: dict[str, Tensor] = {}
    hashes = [sha256_of(file) for file in files]
    for file, sha256 in zip(files, hashes):
        state |= read_state(file, sha256, piece=len(files) > 1)
    model, tokenizer, activation = _build(folder, kind, spec)
    expected = model.state_dict()
    for key in ("logit_scale", "logit_bias"):
        if key in expected and key in state and state[key].numel() == 1:
            state[key] = state[key].reshape(expected[key].shape)
    # What follows from the architecture alone, kept by transformers before 4.31.
    state = {key: value for key, value in state.items() if not key.endswith(".position_ids")}
    fill(model, expected, state, spec, files[0])
    dtype: torch.dtype = getattr(torch, precision)
    model.to(place, dtype).eval().requires_grad_(False)
    if place.type == "cuda" and dtype == torch.float32:
        torch.backends.cudnn.allow_tf32 = False
    words = {"max_length": model.config.text_config.max_position_embeddings, "truncation": True, "return_tensors": "pt"}

    def image(pixels: Tensor) -> Tensor:
        return _vectors(model.get_image_features(pixel_values=pixels.to(place, dtype)))

    def text(sentences: list[str]) -> Tensor:
        if kind == "clip":
            tokens = tokenizer(sentences, padding=True, **words)
            mask = to_device(tokens["attention_mask"], place)
            return _vectors(
                model.get_text_features(input_ids=to_device(tokens["input_ids"], place), attention_mask=mask)
            )
        # SigLIP was trained on sentences padded to the full length, which its text tower reads.
        tokens = tokenizer(sentences, padding="max_length", **words)
        return _vectors(model.get_text_features(input_ids=to_device(tokens["input_ids"], place)))

    scale, bias = scale_and_bias_of(state)
    return Encoder(
        image=image,
        text=text,
        size=size,
        name=spec,
        sha256=hashes[0] if len(files) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest(),
        architecture=_architecture(folder),
        activation=activation,
        precision=precision,
        batch_size=pick_batch_size(place, None, options.batch_size),
        pixels=dtype,
        logit_scale=scale,
        logit_bias=bias,
        **preprocess,
        **how_to_run(place, options),
    )


def _vectors(found: Any) -> Tensor:
    """transformers 5 wraps what it returned before."""
    return found if isinstance(found, Tensor) else found.pooler_output


def _weights(folder: Path) -> list[Path]:
    """The files of the weights: one, or the pieces that an index names."""
    indices = [folder / name for name in INDICES if (folder / name).is_file()]
    if indices and not any((folder / name).is_file() for name in WEIGHT_FILES):
        names = sorted({str(name) for name in part_of(read_json(indices[0]), "weight_map").values()})
        files = [folder / Path(name).name for name in names]
        if missing := next((file for file in files if not file.is_file()), None if files else indices[0]):
            raise LgcaError(f"{missing}: no such checkpoint file, of those that {indices[0].name} names")
        return files
    return [weights_in(folder, WEIGHT_FILES)]


def _build(folder: Path, kind: str, spec: str) -> tuple[Any, Any, str]:
    """The model without its weights, its tokenizer, and its activation."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    named = {"clip": "CLIP", "siglip": "Siglip"}[kind]
    try:
        config = getattr(transformers, f"{named}Config").from_dict(read_json(folder / "config.json"))
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        return getattr(transformers, f"{named}Model")(config), tokenizer, config.vision_config.hidden_act
    except Exception as error:  # whatever configurations and tokenizers of strangers cause
        raise LgcaError(f"could not build the encoder {spec}: {first_line(error)}") from error


def _preprocessing(folder: Path, kind: str, size: int, spec: str) -> dict[str, Any]:
    """Mean, deviation and resizing, by the preprocessor's configuration, else as the kind's own."""
    said: dict[str, Any] = {}
    for name in PREPROCESSING:
        found = read_json(folder / name)
        said = said or part_of(found, "image_processor") or (found if "image_mean" in found else {})
    side = said.get("size", {"height": size, "width": size} if kind == "siglip" else {"shortest_edge": size})
    if isinstance(side, int):
        side = (
            {"shortest_edge": side} if said.get("do_center_crop", kind == "clip") else {"height": side, "width": side}
        )
    sides = [*(side.values() if isinstance(side, dict) else [side])]
    if "shortest_edge" in side and said.get("do_center_crop", True):
        crop = said.get("crop_size", size)
        sides += crop.values() if isinstance(crop, dict) else [crop]
    resample = said.get("resample", 3)
    usual = all(said.get(key, True) for key in ("do_resize", "do_rescale", "do_normalize"))
    if (
        any(other != size for other in sides)
        or resample not in RESAMPLE
        or not usual
        or abs(said.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-9
    ):
        raise LgcaError(
            f"encoder {spec} prepares pictures in a way that is not known here: see {PREPROCESSING[0]} of it"
        )
    return {
        **channels({"mean": said.get("image_mean", MEAN[kind]), "std": said.get("image_std", STD[kind])}),
        "interpolation": RESAMPLE[resample],
        "resize_mode": "shortest" if "shortest_edge" in side else "squash",
    }


def _architecture(folder: Path) -> str:
    """A hash of what decides vectors besides the weights and the preprocessing."""
    import transformers

    files = {name: sha256_of(folder / name) for name in TOKENIZER if (folder / name).is_file()}
    said = [transformers.__version__, read_json(folder / "config.json"), files]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
