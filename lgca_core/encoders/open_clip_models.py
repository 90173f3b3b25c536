"""Encoders of open_clip: an architecture by name, with the weights of a published tag or of a file."""

import difflib
import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lgca_core.encoder import Encoder, Parts
from lgca_core.encoders.checkpoints import (
    Activation,
    check_activation,
    config_beside,
    load_strictly,
    part_of,
    read_state,
    scale_and_bias_of,
    weights_in,
    wrong_activation,
)
from lgca_core.encoders.devices import Options, how_to_run, pick_device, pick_precision
from lgca_core.encoders.fast_towers import bytes_of_picture, image_tower, text_tower
from lgca_core.errors import LgcaError, first_line
from lgca_core.files import sha256_of
from lgca_core.pixels.gpu_streams import to_device
from lgca_core.pixels.pillow_weights import Interpolation, ResizeMode

OPEN_CLIP_PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
BATCH_SIZE = {"cpu": 32, "cuda": 512, "mps": 64}  # on a CPU larger batches fall out of the cache and are slower
SHARE_OF_MEMORY = 0.4  # of what is free on a GPU, for one batch: two can be on their way


def load_named(spec: str, options: Options, *, others: Sequence[str] = ()) -> Encoder:
    """The encoder of ``NAME:TAG``, or of ``NAME:/path/to/file``; see :func:`~lgca_core.encoders.registry.load_encoder`.

    ``others`` are names of encoders that are not open_clip's, for the suggestion where there is no such name.
    """
    name, colon, source = spec.partition(":")
    name = name.replace("/", "-")  # OpenAI's spelling, ViT-B/32
    config_of(name, others)
    if not colon or not source:
        raise LgcaError(
            f"encoder {spec!r} does not say which weights: give {name}:TAG or {name}:/path/to/file; {_known_tags(name)}"
        )
    return load_architecture(name, source, label_of(name, source), options)


def load_architecture(name: str, source: str, label: str, options: Options) -> Encoder:
    """The encoder of an architecture of open_clip with the weights of a tag or file; ``label`` becomes its name."""
    pick_precision(options.precision, pick_device(options.device))
    config = config_of(name)
    file, preprocess = _weights(name, source)
    return build(name, config, file, preprocess, label, options)


def build(
    name: str, config: dict[str, Any], file: Path, preprocess: dict[str, Any], label: str, options: Options,
    tokenizer_of: str | None = None,
) -> Encoder:  # fmt: skip
    """The encoder that open_clip makes of `name`, whose configuration is `config`, with the weights in a file."""
    place = pick_device(options.device)
    precision = pick_precision(options.precision, place)
    if problem := lacking(config, preprocess):
        raise LgcaError(f"encoder {label} wants {problem}")
    sha256 = sha256_of(file)
    state = read_state(file, sha256)
    activation: Activation = "quick_gelu" if _quick(config) else "gelu"
    check_activation(name, activation, file, sha256, state)
    model, tokenizer = _build(name, precision, place, tokenizer_of or name)
    sides = model.visual.image_size
    size: int = sides if isinstance(sides, int) else sides[0]
    load_strictly(model, state, name, file)
    dtype: torch.dtype = getattr(torch, precision)
    if place.type == "cuda" and dtype == torch.float32:
        torch.backends.cudnn.allow_tf32 = False
    scale, bias = scale_and_bias_of(state)
    image_of, text_of = image_tower(model), text_tower(model)

    def image(pixels: Tensor) -> Tensor:
        return image_of(pixels.to(place, dtype))

    def text(sentences: list[str]) -> Tensor:
        return text_of(to_device(tokenizer(sentences), place))

    return Encoder(
        image=image,
        text=text,
        size=size,
        mean=preprocess["mean"],
        std=preprocess["std"],
        name=label,
        sha256=sha256,
        architecture=hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        activation=activation,
        precision=precision,
        batch_size=pick_batch_size(place, bytes_of_picture(model, dtype), options.batch_size),
        **how_to_run(place, options),
        pixels=dtype,
        interpolation=preprocess["interpolation"],
        resize_mode=preprocess["resize_mode"],
        logit_scale=scale,
        logit_bias=bias,
        tokenizer=tokenizer,
        parts=Parts(model, config, preprocess),
    )


def list_named() -> list[dict[str, str]]:
    """The models and weights of open_clip that this package takes, one row each."""
    import open_clip

    rows = []
    for name, tag in open_clip.list_pretrained():
        config, pretrained = config_of(name), open_clip.get_pretrained_cfg(name, tag)
        preprocess = preprocessing(pretrained)
        if not _of_sibling(name, pretrained) and lacking(config, preprocess) is None:
            row = {"encoder": f"{name}:{tag}", "input": f"{config['vision_cfg'].get('image_size', 224)} px"}
            row["activation"] = "quick_gelu" if _quick(config) else "gelu"
            row["resize"] = f"{preprocess['interpolation']}, {preprocess['resize_mode']}"
            rows.append(row | {"weights": "downloaded once"})
    return rows


def pick_batch_size(device: torch.device, bytes_of_one: int | None, given: int | None = None) -> int:
    """How many crops go together; on a GPU half as many, and so on, where its free memory would not hold them."""
    if given is not None:
        return given
    most = BATCH_SIZE[device.type]
    if device.type != "cuda" or bytes_of_one is None:
        return most
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    while most > 1 and most * bytes_of_one > SHARE_OF_MEMORY * free:
        most //= 2
    return most


def label_of(name: str, source: str) -> str:
    """Name of an encoder in a record: ``NAME:TAG``, or ``NAME:`` and the name of a file without its folder."""
    return f"{name}:{Path(source).name if _is_path(source) else source}"


def config_of(name: str, others: Sequence[str] = ()) -> dict[str, Any]:
    """open_clip's configuration of an architecture; LgcaError, with names like it, where there is none."""
    import open_clip

    config = open_clip.get_model_config(name) if ":" not in name else None
    if config is None:
        near = difflib.get_close_matches(name, [*open_clip.list_models(), *others], n=3)
        near = near or ["ViT-B-32-quickgelu", *others]
        raise LgcaError(f"there is no encoder {name!r}: did you mean {' or '.join(near)}? (lgca encoders lists them)")
    return config


def _quick(config: dict[str, Any]) -> bool:
    """Whether open_clip's configuration of an architecture, or of weights, says QuickGELU."""
    return bool(config.get("quick_gelu", False))


def _of_sibling(name: str, entry: dict[str, Any]) -> bool:
    """Whether weights were trained with the activation of an architecture's sibling; one without a sibling is right."""
    import open_clip

    sibling = name.removesuffix("-quickgelu") if (quick := _quick(config_of(name))) else f"{name}-quickgelu"
    return quick != _quick(entry) and sibling != name and sibling in open_clip.list_models()


def _is_path(source: str) -> bool:
    return "/" in source or "\\" in source or Path(source).exists()


def _known_tags(name: str) -> str:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    return f"known tags: {', '.join(tags)}" if tags else "it has no pretrained tags, only files"


def _weights(name: str, source: str) -> tuple[Path, dict[str, Any]]:
    """The checkpoint file, downloaded where it is a tag, and open_clip's preprocessing configuration."""
    import open_clip
    from open_clip import pretrained

    quick = _quick(config_of(name))
    entry = open_clip.get_pretrained_cfg(name, source)
    if entry:
        if _of_sibling(name, entry):
            raise wrong_activation(f"the weights {source}", name, not quick, source)
        if problem := lacking(config_of(name), preprocessing(entry)):  # before anything is downloaded
            raise LgcaError(f"encoder {name}:{source} wants {problem}")
        try:
            return Path(pretrained.download_pretrained(entry)), preprocessing(entry)
        except Exception as error:  # urllib, Hugging Face hub, disc: each has its own
            where = entry.get("hf_hub") or entry.get("url")
            raise LgcaError(
                f"could not download {name}:{source} ({where}): {first_line(error)}; without a network, "
                f"fetch the file elsewhere and give {name}:/path/to/file"
            ) from error
    file = Path(source).expanduser()
    if file.is_dir():
        file = weights_in(file)
    if file.is_file():
        return file, _preprocess_of_file(name, file)
    if _is_path(source):
        raise LgcaError(f"{file}: no such checkpoint file")
    for sibling in (f"{name}-quickgelu", name.removesuffix("-quickgelu")):
        if open_clip.get_pretrained_cfg(sibling, source):
            raise wrong_activation(f"the weights {source}", name, not quick, source)
    raise LgcaError(f"encoder {name} has no weights {source!r}, nor is that a file; {_known_tags(name)}")


def preprocessing(given: dict[str, Any]) -> dict[str, Any]:
    """open_clip's usual preprocessing with what is given changed; LgcaError for a mean that is none."""
    from open_clip.transform import PreprocessCfg

    default = asdict(PreprocessCfg())
    preprocess = default | {key: value for key, value in given.items() if key in default and key != "size"}
    return preprocess | channels({key: preprocess[key] for key in ("mean", "std")})


def channels(said: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    """Mean and deviation as numbers; LgcaError where one is none."""
    try:
        return {key: tuple(float(channel) for channel in value) for key, value in said.items()}
    except (TypeError, ValueError) as error:
        raise LgcaError(f"mean and std of the preprocessing must be three numbers each, got {said}") from error


def _preprocess_of_file(name: str, file: Path) -> dict[str, Any]:
    """Preprocessing for a bare checkpoint: by the configuration beside it, else as the model's own tags agree."""
    import open_clip

    beside = part_of(config_beside(file), "preprocess_cfg")
    if beside:
        return preprocessing(beside)
    tags = open_clip.list_pretrained_tags_by_model(name)
    known = [preprocessing(open_clip.get_pretrained_cfg(name, tag)) for tag in tags]
    return known[0] if known and all(entry == known[0] for entry in known) else preprocessing({})


class _Unfilled(TorchFunctionMode):
    """Leaves out random initial values: all are overwritten, and drawing them is most of the time to load."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


def _build(name: str, precision: str, device: torch.device, words: str) -> tuple[Any, Callable[[list[str]], Tensor]]:
    import open_clip

    try:
        tokenizer = open_clip.get_tokenizer(words)
        with _Unfilled():
            kind = OPEN_CLIP_PRECISION[precision]
            model = open_clip.create_model(
                name, load_weights=False, pretrained_text=False, precision=kind, device=device
            )
    except Exception as error:  # a text tower of the hub needs the network; timm and transformers raise their own
        raise LgcaError(f"could not build the encoder {name}: {first_line(error)}") from error
    return model.eval().requires_grad_(False), tokenizer


def lacking(config: dict[str, Any], preprocess: dict[str, Any]) -> str | None:
    """What this package or this installation lacks for a model, as the end of a sentence; None where it has all."""
    sides = config["vision_cfg"].get("image_size", 224)
    sides = (sides, sides) if isinstance(sides, int) else tuple(sides)
    if sides[0] != sides[1]:
        return f"an input of {sides[0]} x {sides[1]} pixels, but crops are square: choose another (lgca encoders)"
    kind, mode = preprocess["interpolation"], preprocess["resize_mode"]
    if kind not in get_args(Interpolation) or mode not in get_args(ResizeMode):
        return (
            f"{kind} resizing in mode {mode!r}, but crops are resized bicubic or bilinear, in mode shortest or squash: "
            f"choose another (lgca encoders)"
        )
    text, trunk = config["text_cfg"], config["vision_cfg"].get("timm_model_name")
    if ("hf_tokenizer_name" in text or "hf_model_name" in text) and find_spec("transformers") is None:
        return "a tokenizer of transformers, which is not installed: pip install 'lgca-core[hf]'"
    if trunk:
        import timm

        if not timm.is_model(trunk):
            return f"timm's model {trunk}, which timm {timm.__version__} does not have: pip install --upgrade timm"
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """Silences logging and warnings of open_clip and its libraries; what matters of them is checked here instead."""
    disabled, root = logging.root.manager.disable, logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)  # else the first logging.info() installs a handler on stderr for good
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.removeHandler(handler)
