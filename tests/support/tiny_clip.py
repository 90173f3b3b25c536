"""Small untrained CLIPs as folders that open_clip loads, for tests that train one."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

TINY = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""Trains a step in a hundredth of a second."""


def write(folder: Path, seed: int = 0, **changes: object) -> Path:
    """Write a model of :data:`TINY` with changes; those of ``vision_cfg`` and ``text_cfg`` are merged."""
    config = json.loads(json.dumps(TINY))
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    with torch.no_grad():
        model.logit_scale.fill_(2.0)
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    return folder
