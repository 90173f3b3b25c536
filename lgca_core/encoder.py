"""An image-text model as two functions to unit vectors: by open_clip name, by checkpoint file, or your own.

Axes: n crops or sentences, S input side in pixels, D embedding width.
"""

import difflib
import hashlib
import json
import logging
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lgca_core.errors import LgcaError
from lgca_core.machine import has_amx
from lgca_core.overlap import sent
from lgca_core.resample import normalised
from lgca_core.towers import bytes_of_picture, image_tower, text_tower

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Activation = Literal["gelu", "quick_gelu"]

OPEN_CLIP_PRECISION = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
BATCH_SIZE = {"cpu": 32, "cuda": 512}  # on a CPU larger batches fall out of the cache and are slower
FLIGHTS = {"cpu": 1, "cuda": 2}  # on a CPU one has all processors already
SHARE_OF_MEMORY = 0.4  # of what is free on a GPU, for one batch: two can be on their way
OPENAI_KEYS = ("input_resolution", "context_length", "vocab_size")  # numbers that OpenAI keeps among its weights

_counting = threading.Lock()


@dataclass(eq=False)
class Encoder:
    """f (crops) and g (sentences) of algorithms: two callables and the preprocessing they expect.

    Any model will do. ``image`` takes (n, 3, S, S), already ``(pixel / 255 - mean) / std``, and ``text``
    takes a list of n strings; both return (n, D) vectors of any length, on any device, in any float type.

    Attributes:
        size: S, side of the square input in pixels.
        mean, std: of the three channels, for pixels scaled to [0, 1].
        name, sha256, activation, precision: for the record; ``sha256`` is that of the weights. A store goes by
            them, and by ``architecture``, a hash of what the model is built from besides its weights.
        device: where ``image`` wants its crops, and where the vectors are returned.
        batch_size: most crops or sentences in one call; halved when the device's memory does not hold so many.
        workers: batches of crops encoded side by side in threads, for a CPU; the vectors do not depend on it. More
            than one pays where torch itself runs one thread (``OMP_NUM_THREADS=1``).
        flights: chunks of pictures looked at side by side, see `overlap.in_flight`. With more than one, ``image`` is
            called from several threads, on a GPU each with a stream of its own.
        pixels: the type that ``image`` takes.
        image_passes, text_passes: crops and sentences encoded so far.
    """

    image: Callable[[Tensor], Tensor]
    text: Callable[[list[str]], Tensor]
    size: int
    mean: Sequence[float]
    std: Sequence[float]
    name: str = "custom"
    sha256: str | None = None
    architecture: str | None = None
    activation: str | None = None
    precision: str = "float32"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batch_size: int = 64
    workers: int = 1
    flights: int = 1
    pixels: torch.dtype = torch.float32
    image_passes: int = 0
    text_passes: int = 0

    def __post_init__(self) -> None:
        self.device = torch.device(self.device)
        if self.device.type == "mps":
            raise LgcaError("an encoder's vectors cannot stay on mps, which has no float64: name the device cpu")
        for name, value in (("batch size", self.batch_size), ("workers", self.workers), ("flights", self.flights)):
            if value < 1:
                raise LgcaError(f"{name} must be at least 1, got {value}")
        if self.size < 1 or len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise LgcaError(
                f"an encoder needs an input side of 1 pixel or more and three means and positive deviations, "
                f"got size {self.size}, mean {self.mean}, std {self.std}"
            )

    def encode_crops(self, crops: Tensor) -> Tensor:
        """Crops (n, 3, S, S) uint8 on any device -> unit vectors (n, D) float32; counts n image passes."""
        expected = (3, self.size, self.size)
        assert crops.dtype == torch.uint8, f"crops are {crops.dtype}, the encoder takes torch.uint8"
        assert crops.shape[1:] == expected, f"crops are {tuple(crops.shape[1:])}, the encoder takes {expected}"

        def run(part: Tensor) -> Tensor:  # (<= batch_size, 3, S, S) -> (<= batch_size, D)
            return self.image(normalised(sent(part, self.device), self.mean, self.std, self.pixels))

        def encode(part: Tensor) -> Tensor:
            return self._unit(self._within_memory(run, part), len(part))

        parts = crops.split(self.batch_size)
        if self.workers > 1 and len(parts) > 1 and self.device.type == "cpu":  # on a GPU they would leave its stream
            with ThreadPoolExecutor(self.workers) as pool:
                out = list(pool.map(encode, parts))
        else:
            out = [encode(part) for part in parts]
        with _counting:
            self.image_passes += len(crops)
        return torch.cat(out)  # (n, D)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> unit vectors (n, D) float32, in their order; each distinct one is encoded, and counted, once.

        Sentences of like length share a batch, so that a short batch can be cut short.
        """
        assert len(texts) > 0, f"{len(texts)} sentences, at least 1 is needed"
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        out = []
        batch_size = self.batch_size
        for start in range(0, len(distinct), batch_size):
            part = distinct[start : start + batch_size]
            out.append(self._unit(self._within_memory(self.text, part), len(part)))
            self.text_passes += len(part)
        row = {text: i for i, text in enumerate(distinct)}
        return torch.cat(out)[[row[text] for text in texts]]  # (n, D)

    def _within_memory(self, run: Callable[[Any], Tensor], part: Any) -> Tensor:
        """``run(part)``, in halves where the device's memory does not hold it, now or as seen before."""
        half = -(-len(part) // 2)
        if len(part) <= self.batch_size:
            try:
                with torch.inference_mode():
                    return run(part)
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
            self.halve(len(part))  # past the handler, whose traceback holds on to memory
        return torch.cat([self._within_memory(run, part[:half]), self._within_memory(run, part[half:])])

    def halve(self, n: int) -> None:
        """Go on with batches of half of n, which the device's memory did not hold; a warning says so."""
        half = -(-n // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.batch_size = min(self.batch_size, half)  # another thread may have learnt of less
        full = f"the device's memory does not hold {n} inputs at once: going on with {half}"
        warnings.warn(full, RuntimeWarning, stacklevel=5)

    def _unit(self, vectors: Tensor, n: int) -> Tensor:
        # Outside inference mode, so that what leaves is an ordinary tensor.
        assert vectors.ndim == 2 and len(vectors) == n, f"{n} inputs gave vectors of shape {tuple(vectors.shape)}"
        return F.normalize(vectors.detach().to(self.device).float(), dim=-1)


def load_encoder(
    spec: str | None = None,
    *,
    device: Device = "auto",
    precision: Precision = "float32",
    batch_size: int | None = None,
    workers: int = 1,
) -> Encoder:
    """The encoder that ``spec`` names.

    ``None`` or ``"aviary"``: the embedded one. ``"NAME:TAG"``: open_clip's model and pretrained weights, which are
    downloaded once. ``"NAME:/path/to/file"``, where NAME may be ``aviary``: the same architecture from a file:
    safetensors, a state dict saved by torch (read with ``weights_only``), or OpenAI's TorchScript archive.

    Mean, deviation and input side come from open_clip's preprocessing configuration. ``batch_size`` defaults to
    32 on a CPU, and on a GPU to what its free memory holds, up to 512. ``precision="auto"`` is the fast one: float16
    on a GPU, bfloat16 on a CPU that multiplies matrices of it (AMX), else float32; the encoder's ``precision`` says
    which it was. In float32 on a GPU, convolutions of this process are float32 from then on: by default torch rounds
    what they multiply to 10 bits (TF32).

    Raises LgcaError for an unknown name or tag, a missing file, weights of another architecture or activation, a
    model that wants another resize than bicubic of the shorter side, no network, or no such device.
    """
    place = pick_device(device)
    if precision == "auto":
        precision = _fast_precision(place)
    if precision not in OPEN_CLIP_PRECISION:
        raise LgcaError(f"precision must be one of auto, {', '.join(OPEN_CLIP_PRECISION)}, got {precision!r}")
    with quiet():
        name, source, label = _resolve(spec)
        config = _config(name)
        file, preprocess = _weights(name, source)
        sha256 = _file_sha256(file)
        state = _read_state(file)
        activation: Activation = "quick_gelu" if config.get("quick_gelu", False) else "gelu"
        _check_activation(name, activation, file, sha256, state)
        model, tokenizer = _build(name, precision, place)
        size = _check_preprocess(label, preprocess, model)
        _load(model, state, name, file)
    dtype: torch.dtype = getattr(torch, precision)
    if place.type == "cuda" and dtype == torch.float32:
        torch.backends.cudnn.allow_tf32 = False
    image_of, text_of = image_tower(model), text_tower(model)

    def image(pixels: Tensor) -> Tensor:
        return image_of(pixels.to(dtype))

    def text(sentences: list[str]) -> Tensor:
        return text_of(sent(tokenizer(sentences), place))

    return Encoder(
        image=image,
        text=text,
        size=size,
        mean=tuple(preprocess["mean"]),
        std=tuple(preprocess["std"]),
        name=label,
        sha256=sha256,
        architecture=hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        activation=activation,
        precision=precision,
        device=place,
        batch_size=_batch_size(place, bytes_of_picture(model, dtype)) if batch_size is None else batch_size,
        workers=workers,
        flights=FLIGHTS[place.type],
        pixels=dtype,
    )


def list_encoders() -> list[dict[str, str]]:
    """What ``--encoder`` can name, one row each: the embedded encoder, then open_clip's that this package takes."""
    import open_clip

    rows = [{"encoder": "aviary", "input": "64 px", "activation": "quick_gelu", "weights": "embedded"}]
    for name, tag in open_clip.list_pretrained():
        config, pretrained = _config(name), open_clip.get_pretrained_cfg(name, tag)
        quick = bool(config.get("quick_gelu", False))
        size = config["vision_cfg"].get("image_size", 224)
        if quick == bool(pretrained.get("quick_gelu", False)) and _resize_problem(pretrained, size) is None:
            rows.append(
                {
                    "encoder": f"{name}:{tag}",
                    "input": f"{size} px",
                    "activation": "quick_gelu" if quick else "gelu",
                    "weights": "downloaded once",
                }
            )
    return rows


def pick_device(device: str) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one. Raises LgcaError where there is no such device."""
    if device not in ("auto", "cpu", "cuda"):
        raise LgcaError(f"device must be one of auto, cpu, cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise LgcaError("no CUDA device is available here: use device cpu or auto")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())  # by number: threads have a current device of their own


def _batch_size(device: torch.device, bytes_of_one: int | None) -> int:
    """How many crops go together; on a GPU half as many, and so on, where its free memory would not hold them."""
    most = BATCH_SIZE[device.type]
    if device.type != "cuda" or bytes_of_one is None:
        return most
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    while most > 1 and most * bytes_of_one > SHARE_OF_MEMORY * free:
        most //= 2
    return most


def _fast_precision(device: torch.device) -> Precision:
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if has_amx() else "float32"


def _resolve(spec: str | None) -> tuple[str, str, str]:
    """Architecture, tag or path, and the name that the record shows."""
    from lgca_core.aviary import encoder as aviary

    aviary.register()
    if spec is None or spec == "aviary":
        return aviary.MODEL_NAME, str(aviary.WEIGHTS), "aviary"
    name, colon, source = spec.partition(":")
    name = name.replace("/", "-")  # OpenAI's spelling, ViT-B/32
    architecture = aviary.MODEL_NAME if name == "aviary" else name
    _config(architecture)
    if not colon or not source:
        raise LgcaError(
            f"encoder {spec!r} does not say which weights: give {name}:TAG or {name}:/path/to/file; "
            f"{_known_tags(architecture)}"
        )
    return architecture, source, f"{name}:{Path(source).name if _is_path(source) else source}"


def _config(name: str) -> dict[str, Any]:
    import open_clip

    config = open_clip.get_model_config(name) if ":" not in name else None
    if config is None:
        known = [*open_clip.list_models(), "aviary"]
        near = difflib.get_close_matches(name, known, n=3) or ["ViT-B-32-quickgelu", "aviary"]
        raise LgcaError(f"there is no encoder {name!r}: did you mean {' or '.join(near)}? (lgca encoders lists them)")
    return config


def _is_path(source: str) -> bool:
    return "/" in source or "\\" in source or Path(source).is_file()


def _known_tags(name: str) -> str:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    return f"known tags: {', '.join(tags)}" if tags else "it has no pretrained tags, only files"


def _weights(name: str, source: str) -> tuple[Path, dict[str, Any]]:
    """The checkpoint file, downloaded where it is a tag, and open_clip's preprocessing configuration."""
    import open_clip
    from open_clip import pretrained

    entry = open_clip.get_pretrained_cfg(name, source)
    if entry:
        quick = bool(_config(name).get("quick_gelu", False))
        if quick != bool(entry.get("quick_gelu", False)):
            raise _wrong_activation(f"the weights {source}", name, not quick, source)
        try:
            return Path(pretrained.download_pretrained(entry)), _preprocess(entry)
        except Exception as error:  # urllib, Hugging Face hub, disc: each has its own
            where = entry.get("hf_hub") or entry.get("url")
            raise LgcaError(
                f"could not download {name}:{source} ({where}): {_first_line(error)}; without a network, "
                f"fetch the file elsewhere and give {name}:/path/to/file"
            ) from error
    file = Path(source).expanduser()
    if file.is_file():
        return file, _preprocess_of_file(name, file)
    if _is_path(source):
        raise LgcaError(f"{file}: no such checkpoint file")
    for sibling in (f"{name}-quickgelu", name.removesuffix("-quickgelu")):
        if open_clip.get_pretrained_cfg(sibling, source):
            quick = bool(_config(name).get("quick_gelu", False))
            raise _wrong_activation(f"the weights {source}", name, not quick, source)
    raise LgcaError(f"encoder {name} has no weights {source!r}, nor is that a file; {_known_tags(name)}")


def _preprocess(given: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    from open_clip.transform import PreprocessCfg

    default = asdict(PreprocessCfg())
    return default | {key: value for key, value in given.items() if key in default and key != "size"}


def _preprocess_of_file(name: str, file: Path) -> dict[str, Any]:
    """What a bare checkpoint expects: by the configuration beside it, else as the model's own tags agree."""
    import open_clip

    beside = _config_beside(file).get("preprocess_cfg")
    if beside:
        return _preprocess(beside)
    tags = open_clip.list_pretrained_tags_by_model(name)
    known = [_preprocess(open_clip.get_pretrained_cfg(name, tag)) for tag in tags]
    return known[0] if known and all(entry == known[0] for entry in known) else _preprocess({})


def _config_beside(file: Path) -> dict[str, Any]:
    """The open_clip_config.json that Hugging Face repositories keep next to their weights, or nothing."""
    try:
        return json.loads((file.parent / "open_clip_config.json").read_text())
    except (OSError, ValueError):
        return {}


def _file_sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise LgcaError(f"{file}: cannot be read ({error.strerror})") from error


def _read_state(file: Path) -> dict[str, Tensor]:
    """The state dict in a checkpoint file, by what the file is rather than by its suffix. Runs no pickled code."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                script = any(Path(name).name == "constants.pkl" for name in archive.namelist())
            found = torch.jit.load(file, map_location="cpu").state_dict() if script else _load_pickle(file)
        elif file.open("rb").read(9)[8:] == b"{":
            from safetensors.torch import load_file

            found = load_file(file)
        else:
            found = _load_pickle(file)
    except Exception as error:  # unpickling, zip, safetensors and TorchScript errors share no base
        raise LgcaError(
            f"{file}: not a checkpoint of safetensors, of a torch state dict, or of OpenAI's archive "
            f"({_first_line(error)})"
        ) from error
    for nested in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(nested), dict):
            found = found[nested]
    if not isinstance(found, dict) or not found or not all(isinstance(x, Tensor) for x in found.values()):
        raise LgcaError(f"{file}: holds no state dict (names and tensors)")
    return {key.removeprefix("module."): value for key, value in found.items()}


def _load_pickle(file: Path) -> Any:
    with file.open("rb") as stream:  # given a path, torch would go by its suffix
        return torch.load(stream, map_location="cpu", weights_only=True)


def _check_activation(name: str, activation: Activation, file: Path, sha256: str, state: dict[str, Tensor]) -> None:
    """Weights know their activation from their hash, from OpenAI's own keys, or from the configuration beside them."""
    import open_clip

    beside = _config_beside(file).get("model_cfg", {}).get("quick_gelu")
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
        raise _wrong_activation(str(file), name, trained, str(file))


def _published_sha256(url: str) -> str:
    """The hash, or its first eight digits, that the addresses of OpenAI and open_clip carry; else nothing."""
    if "openaipublic" in url:
        return url.split("/")[-2]
    return Path(url).stem.rpartition("-")[2] if "mlfoundations" in url else ""


def _wrong_activation(what: str, name: str, quick: bool, source: str) -> LgcaError:
    import open_clip

    other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
    mend = f"use {other}:{source}" if other in open_clip.list_models() else "open_clip has no such configuration"
    used, wanted = ("GELU", "QuickGELU") if quick else ("QuickGELU", "GELU")
    return LgcaError(f"{what}: trained with {wanted}, but {name} computes {used}, which costs accuracy: {mend}")


class _Unfilled(TorchFunctionMode):
    """Leaves out random initial values: all are overwritten, and drawing them is most of the time to load."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


def _build(name: str, precision: str, device: torch.device) -> tuple[Any, Callable[[list[str]], Tensor]]:
    import open_clip

    try:
        tokenizer = open_clip.get_tokenizer(name)
        with _Unfilled():
            model = open_clip.create_model(
                name,
                load_weights=False,
                pretrained_text=False,
                precision=OPEN_CLIP_PRECISION[precision],
                device=device,
            )
    except Exception as error:  # a text tower of the hub needs the network; timm and transformers raise their own
        raise LgcaError(f"could not build the encoder {name}: {_first_line(error)}") from error
    return model.eval().requires_grad_(False), tokenizer


def _resize_problem(preprocess: dict[str, Any], size: Any) -> str | None:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if sides[0] != sides[1]:
        return f"an input of {sides[0]} x {sides[1]} pixels"
    resize = (preprocess["interpolation"], preprocess["resize_mode"])
    return None if resize == ("bicubic", "shortest") else f"{resize[0]} resizing in mode {resize[1]!r}"


def _check_preprocess(label: str, preprocess: dict[str, Any], model: Any) -> int:
    size = model.visual.image_size
    problem = _resize_problem(preprocess, size)
    if problem:
        raise LgcaError(
            f"encoder {label} wants {problem}; crops are cut square and resized bicubically by the shorter "
            f"side only: choose another encoder (lgca encoders lists them)"
        )
    return size if isinstance(size, int) else size[0]


def _load(model: Any, state: dict[str, Tensor], name: str, file: Path) -> None:
    """Fills the model, strictly: no weight is left random, none left over, none resized to fit."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    state = {key: value for key, value in state.items() if key not in OPENAI_KEYS}
    state = convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = convert_to_custom_text_state_dict(state)
    expected = model.state_dict()
    for key in ("logit_scale", "logit_bias"):  # saved as a number or as a vector of one; not used here
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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def quiet() -> Iterator[None]:
    """Silences what open_clip and its libraries log and warn about; what matters of it is checked here instead."""
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
