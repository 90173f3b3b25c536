"""Checkpoint files: their weights read without running code, checked for their activation, loaded strictly."""

import json
import math
import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lgca_core.errors import LgcaError

Activation = Literal["gelu", "quick_gelu"]
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI keeps among its weights
WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
WRAPPERS = ("module.", "_orig_mod.", "model.", "clip_model.", "_forward_module.")  # data parallel, compiled, Lightning
MAGIC = {b"GGUF": "a GGUF file", b"\x89HDF": "an HDF5 file of TensorFlow", b"\x1f\x8b": "a gzip archive"}
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; nothing where there is no such file, or it holds something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def config_beside(file: Path) -> dict[str, Any]:
    """The open_clip_config.json that Hugging Face repositories keep next to their weights, or nothing."""
    return read_json(file.parent / "open_clip_config.json")


def part_of(config: dict[str, Any], key: str) -> dict[str, Any]:
    """An object inside a configuration, empty where there is none."""
    found = config.get(key)
    return found if isinstance(found, dict) else {}


def weights_in(folder: Path, preferred: Sequence[str] = ()) -> Path:
    """The weights file of a folder: the first of those preferred, else the only one that it holds."""
    for name in preferred:
        if (folder / name).is_file():
            return folder / name
    found = sorted(file for file in folder.iterdir() if file.suffix in WEIGHTS_SUFFIXES and file.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise LgcaError(f"{folder}: is a folder without weights in it (a file *{', *'.join(WEIGHTS_SUFFIXES)})")
    names = ", ".join(file.name for file in found[:5])
    raise LgcaError(f"{folder}: is a folder with {len(found)} files of weights: give one of them ({names})")


def read_state(file: Path, sha256: str = "", *, piece: bool = False) -> dict[str, Tensor]:
    """The state dict in a checkpoint file, by what the file is rather than by its suffix. Runs no code of the file's.

    Names lose what training wraps around them (``module.``, ``_orig_mod.``, and whatever else all of them begin with),
    unless the file is a `piece` of several.
    ``torch.jit.load``, which would run what an archive holds, is only for OpenAI's own, known by their `sha256`.
    """
    try:
        with file.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise LgcaError(f"{file}: cannot be read ({error.strerror})") from error
    if problem := _no_weights(file, head):
        raise LgcaError(f"{file}: {problem}")
    try:
        if head[8:9] == b"{":
            from safetensors.torch import load_file

            found = load_file(file)
        elif zipfile.is_zipfile(file) and (members := _script_members(file)):
            published = sha256 in _published_archives()
            found = torch.jit.load(file, map_location="cpu").state_dict() if published else read_archive(file, members)
        else:
            with file.open("rb") as stream:  # given a path, torch would go by its suffix
                found = torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling, zip, safetensors and TorchScript errors share no base
        if other := re.search(r"GLOBAL ([\w.]+)|(?:class|function) `?(\w+\.[\w.]+)", str(error)):
            raise LgcaError(
                f"{file}: not a checkpoint of weights alone: it holds other Python objects ({other[1] or other[2]}), "
                f"which could run code: where it was made, save the state dict alone, as safetensors"
            ) from error
        said = "not a checkpoint that can be read: it was cut short or damaged: fetch it again"
        raise LgcaError(f"{file}: {said}") from error
    state = _dict_of_tensors(found, file)
    return state if piece else _unwrapped(state, file)


def _no_weights(file: Path, head: bytes) -> str | None:
    """What a file is that cannot hold weights, by how it begins, and the mend."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "the file is empty: fetch it again"
    if text.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the weights themselves: run git lfs pull where it came from"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "an HTML page, not weights: fetch the file itself, not the page that shows it"
    if head[:2] == b"PK" and not zipfile.is_zipfile(file):
        return "not a checkpoint that can be read: it was cut short: fetch it again"
    if head[8:9] == b"{" or head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return None
    named = next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)
    named = named or ("text" if head.isascii() and b"\0" not in head else "something else")
    return f"not a checkpoint of safetensors, of a torch state dict, or of OpenAI's archive, but {named}"


def _published_archives() -> set[str]:
    import open_clip

    entries = (open_clip.get_pretrained_cfg(name, tag) for name, tag in open_clip.list_pretrained())
    return {_published_sha256(url) for entry in entries if "openaipublic" in (url := entry.get("url") or "")}


def _script_members(file: Path) -> dict[str, str]:
    """By what they are called below its one folder: the members of a TorchScript archive; none of another zip."""
    with zipfile.ZipFile(file) as archive:
        members = {name.partition("/")[2]: name for name in archive.namelist()}
    return members if {"constants.pkl", "data.pkl"} <= members.keys() else {}


class _Object:
    """Whatever a TorchScript archive says a class is: only what it holds is looked at."""

    held: Any = None

    def __init__(self, *held: Any) -> None:
        self.held = held

    def __setstate__(self, held: Any) -> None:
        self.held = held


def read_archive(file: Path, members: dict[str, str]) -> dict[str, Tensor]:
    """Tensors of a TorchScript archive by their names, without the interpreter: none of its code is even read."""
    with zipfile.ZipFile(file) as archive:

        class Reader(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                    return lambda values, offset, size, stride, *_: values.as_strided(size, stride, offset)
                if (module, name) == ("collections", "OrderedDict"):
                    return dict
                return name if module == "torch" and name.endswith("Storage") else _Object

            def persistent_load(self, said: Any) -> Tensor:
                _, storage, key, _, numel = said
                data = bytearray(archive.read(members[f"data/{key}"]))
                return torch.frombuffer(data, dtype=getattr(torch, STORAGES[storage]), count=numel)

        top = Reader(archive.open(members["data.pkl"])).load()
    found: dict[str, Tensor] = {}
    waiting = [("", top)]
    while waiting:
        prefix, thing = waiting.pop()
        if isinstance(thing, Tensor):
            found[prefix[:-1]] = thing
        elif isinstance(thing, _Object) and isinstance(thing.held, dict):
            waiting += [(f"{prefix}{key}.", value) for key, value in thing.held.items()]
        if len(prefix) > 1_000:
            raise ValueError("an object holds itself")
    return found


def _dict_of_tensors(found: Any, file: Path) -> dict[str, Tensor]:
    """The state dict among what a checkpoint holds: ``state_dict`` or ``model``, else the only dict of tensors."""
    for _ in range(8):
        if not isinstance(found, dict):
            break
        inner = {key: value for key, value in found.items() if isinstance(value, dict) and _holds_tensors(value)}
        if not inner:
            tensors = {key: value for key, value in found.items() if isinstance(value, Tensor) and isinstance(key, str)}
            if tensors:
                return tensors
            break
        chosen = next((key for key in ("state_dict", "model", "model_state_dict") if key in inner), None)
        if chosen is None and len(inner) > 1:
            names = ", ".join(str(key)[:40] for key in inner)
            raise LgcaError(f"{file}: holds several state dicts ({names}): save the one that is meant alone")
        found = inner[chosen or next(iter(inner))]
    raise LgcaError(f"{file}: holds no state dict (names and tensors)")


def _holds_tensors(found: dict[Any, Any], depth: int = 8) -> bool:
    return depth > 0 and any(
        isinstance(key, str)
        and (isinstance(value, Tensor) or (isinstance(value, dict) and _holds_tensors(value, depth - 1)))
        for key, value in found.items()
    )


def _unwrapped(state: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The same tensors by the names that the model itself gives them."""

    def plain(key: str) -> str:
        while stripped := next((key[len(word) :] for word in WRAPPERS if key.startswith(word)), None):
            key = stripped
        return key

    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if plain(key) in found:
            raise LgcaError(f"{file}: holds {plain(key)} twice, under other prefixes: save one state dict alone")
        found[plain(key)] = value
    # Whatever else all names begin with, as after saving a model that was a part of another.
    names = [key for key in found if key not in (*OPENAI_KEYS, "logit_scale", "logit_bias")]
    shared = ""
    while names and len({name.partition(".")[0] for name in names}) == 1 and all("." in name for name in names):
        shared += names[0].partition(".")[0] + "."
        names = [name.partition(".")[2] for name in names]
    return {key.removeprefix(shared): value for key, value in found.items()}


def check_activation(name: str, activation: Activation, file: Path, sha256: str, state: dict[str, Tensor]) -> None:
    """Weights know their activation from their hash, from OpenAI's own keys, or from the configuration beside them."""
    import open_clip

    beside = part_of(config_beside(file), "model_cfg").get("quick_gelu")
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


def scale_and_bias_of(state: dict[str, Tensor]) -> tuple[float | None, float | None]:
    """What a model multiplies a cosine by, and what it adds then, as far as its weights say."""
    scale, bias = (state[key].item() if key in state else None for key in ("logit_scale", "logit_bias"))
    return None if scale is None else math.exp(min(scale, 100.0)), bias


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
        if key in state and state[key].numel() != 1:
            raise LgcaError(f"{file}: not a checkpoint of {name}: {key} is {tuple(state[key].shape)}, not one number")
        if key in expected:
            state[key] = state.get(key, torch.zeros(1)).reshape(expected[key].shape)
    # What follows from the architecture alone: kept by transformers before 4.31, and by TorchScript.
    for key in ("text.transformer.embeddings.position_ids", "attn_mask"):
        if key not in expected:
            state.pop(key, None)

    if "text_model.embeddings.token_embedding.weight" in state:
        raise LgcaError(
            f"{file}: its names are those of transformers, not of open_clip: put its config.json and tokenizer beside "
            f"it and give local-dir:{file.parent}, or hf-hub:ORG/NAME (pip install 'lgca-core[hf]')"
        )
    fill(model, expected, state, name, file)


def fill(model: Any, expected: dict[str, Tensor], state: dict[str, Tensor], name: str, file: Path) -> None:
    """Loads a state dict of exactly the names and shapes expected, all numbers of which are finite."""
    for key, tensor in expected.items():
        if key not in state:
            raise LgcaError(f"{file}: not a checkpoint of {name}: it has no {key}")
        if state[key].shape != tensor.shape:
            raise LgcaError(
                f"{file}: not a checkpoint of {name}: {key} is {tuple(state[key].shape)} in the file and "
                f"{tuple(tensor.shape)} in the model"
            )
        if tensor.is_floating_point() and not state[key].is_floating_point():
            raise LgcaError(f"{file}: {key} is of {state[key].dtype}, not of floating-point numbers")
        if not state[key].isfinite().all():
            raise LgcaError(
                f"{file}: {key} holds NaN or infinite numbers: its training broke down, take an earlier one"
            )
    surplus = sorted(state.keys() - expected.keys())
    if surplus:
        raise LgcaError(f"{file}: not a checkpoint of {name}: the model has no {surplus[0]}")
    model.load_state_dict(state)
