"""Models as Hugging Face keeps them: a folder, or a repository, of a configuration, weights and a tokenizer."""

from pathlib import Path
from typing import Any

from lgca_core.encoder import Encoder
from lgca_core.encoders import hf_models, open_clip_models
from lgca_core.encoders.checkpoints import part_of, read_json, weights_in
from lgca_core.encoders.devices import Options, pick_device, pick_precision
from lgca_core.errors import LgcaError, first_line

OPEN_CLIP, TRANSFORMERS = "open_clip_config.json", "config.json"
OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
)


def load_folder(source: str, options: Options) -> Encoder:
    """The encoder of ``local-dir:FOLDER``: open_clip's or transformers', as the configuration in it says."""
    folder = Path(source).expanduser()
    if not source or not folder.is_dir():
        raise LgcaError(f"{source or 'local-dir:'}: no such folder: give local-dir:FOLDER, which holds a configuration")
    spec = f"local-dir:{folder.resolve().name}"
    pick_precision(options.precision, pick_device(options.device))
    if (folder / OPEN_CLIP).is_file():
        name = f"local-dir:{folder}"
        model, preprocess = _open_clip_config(folder / OPEN_CLIP)
        return open_clip_models.build(name, model, weights_in(folder, OPEN_CLIP_WEIGHTS), preprocess, spec, options)
    if (folder / TRANSFORMERS).is_file():
        return hf_models.load_transformers(folder, spec, options)
    raise LgcaError(f"{folder}: holds neither {OPEN_CLIP} of open_clip nor {TRANSFORMERS} of transformers")


def load_hub(source: str, options: Options) -> Encoder:
    """The encoder of ``hf-hub:ORG/NAME``, whose files are downloaded once, the weights after all was checked."""
    if source.count("/") != 1 or not all(source.split("/")):
        raise LgcaError(f"hf-hub:{source} names no repository: give hf-hub:ORG/NAME")
    pick_precision(options.precision, pick_device(options.device))
    spec = f"hf-hub:{source}"
    if config := _fetched(source, OPEN_CLIP):
        model, preprocess = _open_clip_config(config)
        if problem := open_clip_models.lacking(model, preprocess):
            raise LgcaError(f"encoder {spec} wants {problem}")
        weights = _first(source, OPEN_CLIP_WEIGHTS)
        tokenizer_of = spec if "hf_tokenizer_name" in model["text_cfg"] else None  # often another repository's
        name = f"local-dir:{config.parent}"
        return open_clip_models.build(name, model, weights, preprocess, spec, options, tokenizer_of)
    config = _first(source, (TRANSFORMERS,))
    hf_models.kind_and_size(config, spec)
    for name in hf_models.BESIDE:
        _fetched(source, name)
    index = read_json(_first(source, (*hf_models.WEIGHT_FILES, *hf_models.INDICES)))
    for name in sorted(set(part_of(index, "weight_map").values())):
        _first(source, (str(name),))
    return hf_models.load_transformers(config.parent, spec, options)


def _open_clip_config(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What open_clip builds a model of, and its preprocessing."""
    said = read_json(file)
    model = part_of(said, "model_cfg")
    if not {"embed_dim", "vision_cfg", "text_cfg"} <= model.keys():
        raise LgcaError(f"{file}: is no configuration of open_clip: it has no model_cfg with embed_dim and two towers")
    return model, open_clip_models.preprocessing(part_of(said, "preprocess_cfg"))


def _fetched(repository: str, name: str) -> Path | None:
    """A file of a repository, from the cache of huggingface_hub or downloaded into it; None where it has no such."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name))
    except LocalEntryNotFoundError as error:  # no network, and not in the cache: it may be there all the same
        problem: Exception = error.__cause__ if isinstance(error.__cause__, Exception) else error
    except EntryNotFoundError:
        return None
    except Exception as error:  # networks, discs, permissions: each has its own
        problem = error
    if _cached(repository):  # what was downloaded before is all that is wanted
        return None
    raise LgcaError(
        f"could not download hf-hub:{repository} ({name}): {first_line(problem)}; without a network, fetch the "
        f"repository elsewhere and give local-dir:FOLDER"
    ) from problem


def _cached(repository: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in (OPEN_CLIP, TRANSFORMERS))


def _first(repository: str, names: tuple[str, ...]) -> Path:
    for name in names:
        if file := _fetched(repository, name):
            return file
    raise LgcaError(f"hf-hub:{repository}: has none of {', '.join(names)}, or they were never downloaded")
