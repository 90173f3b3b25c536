"""Which device an encoder runs on, in which precision it is fast there, and what a caller asks for of both."""

from dataclasses import dataclass
from typing import Literal

import torch

from lgca_core.errors import LgcaError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Options:
    """How an encoder is to run; see :func:`~lgca_core.encoders.registry.load_encoder`, whose keywords these are."""

    device: Device = "auto"
    precision: Precision = "float32"
    batch_size: int | None = None
    workers: int = 1


def pick_device(device: str) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one. Raises LgcaError where there is no such device."""
    if device not in ("auto", "cpu", "cuda"):
        raise LgcaError(f"device must be one of auto, cpu, cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise LgcaError("no CUDA device is available here: use device cpu or auto")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())  # by number: threads have a current device of their own


def fast_precision(device: torch.device) -> Precision:
    """float16 on a GPU, bfloat16 on a CPU that multiplies matrices of it, else float32."""
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if has_amx() else "float32"


def has_amx() -> bool:
    """Whether the processor has Intel's matrix units: without them bfloat16 is no faster than float32, or slower."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())
