"""Which device an encoder runs on, in which precision it is fast there, and what a caller asks for of both."""

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from lgca_core.errors import LgcaError

Device = str | torch.device
"""``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``, or what torch makes of such a name."""

Precision = Literal["auto", "float32", "bfloat16", "float16"]
STREAMS = {"cpu": 1, "cuda": 2, "mps": 1}  # on a CPU one has all processors already


@dataclass(frozen=True)
class Options:
    """How an encoder is to run; see :func:`~lgca_core.encoders.registry.load_encoder`, whose keywords these are."""

    device: Device = "auto"
    precision: Precision = "float32"
    batch_size: int | None = None
    workers: int = 1


def pick_device(device: Device) -> torch.device:
    """The device of a name; ``auto`` is a CUDA GPU where there is one, else the CPU.

    Raises LgcaError where there is no such device.
    """
    name, count = str(device), torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, number = name.partition(":")
    if not re.fullmatch(r"auto|cpu(:0)?|cuda(:\d{1,4})?|mps(:0)?", name):
        raise LgcaError(f"device must be one of auto, cpu, cuda, cuda:N, mps, got {name!r}")
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise LgcaError("no Apple GPU (mps) is available to torch here: use device cpu or auto")
        return torch.device("mps")
    if kind == "cuda" and not count:
        raise LgcaError("no CUDA device is available here: use device cpu or auto")
    if number and kind == "cuda" and int(number) >= count:
        raise LgcaError(f"there is no device {name}: the CUDA devices here are cuda:0 to cuda:{count - 1}")
    if kind == "cpu" or not count:
        return torch.device("cpu")
    return torch.device("cuda", int(number) if number else torch.cuda.current_device())  # threads have a current of own


def pick_precision(precision: str, device: torch.device) -> Precision:
    """The precision of a name; ``auto`` is the fast one: float16 on a GPU, bfloat16 on a CPU that multiplies it.

    Raises LgcaError for another name.
    """
    names = get_args(Precision)
    if precision not in names:
        raise LgcaError(f"precision must be one of {', '.join(names)}, got {precision!r}")
    if precision != "auto":
        return precision  # type: ignore[return-value]
    return "float16" if device.type != "cpu" else "bfloat16" if has_amx() else "float32"


def how_to_run(place: torch.device, options: Options) -> dict[str, Any]:
    """What an encoder is told of its device. From Apple's GPU, which has no float64, vectors come back to the CPU."""
    if place.type == "mps":
        return {"device": torch.device("cpu"), "workers": min(options.workers, 1), "streams": STREAMS["mps"]}
    return {"device": place, "workers": options.workers, "streams": STREAMS[place.type]}


def has_amx() -> bool:
    """Whether the processor has Intel's matrix units: without them bfloat16 is no faster than float32, or slower."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())
