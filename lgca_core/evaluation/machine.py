"""The machine that something is measured on: its name, the memory that a job takes, what its hours cost."""

import ctypes
import gc
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from lgca_core.encoders.devices import has_amx
from lgca_core.errors import NO_WINDOWS, LgcaError

try:
    import resource
except ImportError as error:
    raise LgcaError(NO_WINDOWS) from error

if TYPE_CHECKING:
    from filelock import FileLock

_Result = TypeVar("_Result")


def recorded(device: torch.device) -> str:
    """Where an encoder runs, as records say it: ``cuda:0: its name``, or ``cpu: n processors, n threads`` of torch."""
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {os.cpu_count()} processors, {torch.get_num_threads()} threads"


def processor() -> str:
    """The processor's name, as far as the system tells, and whether it multiplies matrices of bfloat16 (AMX)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = named[0] if named else platform.processor() or platform.machine()
    if platform.machine() not in ("x86_64", "AMD64"):
        return name
    return f"{name}, {'with' if has_amx() else 'without'} AMX"


def money(seconds: float, price_per_hour: float | None) -> float:
    """Cost of so many seconds on a machine of a price an hour, in its currency; NaN where no price is given.

    Raises:
        LgcaError: a negative price.
    """
    if price_per_hour is None:
        return math.nan
    if price_per_hour < 0:
        raise LgcaError(f"a price an hour cannot be negative, got {price_per_hour}")
    return seconds / 3600 * price_per_hour


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_growth(job: Callable[[], _Result], device: torch.device | str = "cpu") -> tuple[_Result, float]:
    """Run a job: its result, and by how many bytes memory grew at its peak.

    On a GPU the tensors on it. On a CPU the resident memory of this process: what was freed is handed back to the
    system first, the system's record of the peak (``VmHWM``) is set back, and read again afterwards. Linux does that;
    elsewhere the growth is NaN.
    """
    place = torch.device(device)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
        before = torch.cuda.memory_allocated(place)
        result = job()
        return result, float(torch.cuda.max_memory_allocated(place) - before)
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")
        before = _resident("VmRSS")
    except (OSError, AttributeError):
        return job(), math.nan
    result = job()
    return result, float(max(_resident("VmHWM") - before, 0))


_RESET = Path("/proc/self/clear_refs")


def _resident(field: str) -> int:
    """``VmRSS``, the resident memory of this process, or ``VmHWM``, its peak: bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, amount = line.partition(":")
        if name == field:
            return 1024 * int(amount.split()[0])
    raise OSError(f"the system does not tell {field}")


def claim_gpu() -> "FileLock | None":
    """Make a GPU that no other process of this user has claimed the current one, until this one ends; None without any.

    Raises:
        LgcaError: all of them are claimed.
    """
    from filelock import FileLock, Timeout

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    for index in range(torch.cuda.device_count()):
        uuid = torch.cuda.get_device_properties(index).uuid
        file = Path(tempfile.gettempdir()) / f"lgca-gpu-{uuid}-{user}.lock"
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        except OSError as error:
            raise LgcaError(
                f"cannot claim a GPU with {file} ({error.strerror}): set TMPDIR to another folder"
            ) from error
        torch.cuda.set_device(index)
        _claimed.append(lock)  # or it would be let go with its last reference
        return lock
    if torch.cuda.device_count():
        raise LgcaError(
            "every GPU is claimed by another process: run fewer side by side, or unset LGCA_ONE_PROCESS_A_GPU"
        )
    return None


_claimed: "list[FileLock]" = []
