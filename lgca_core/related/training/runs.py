"""The folder of a training: its checkpoint, the report at its end, and whether it is the training that is asked for."""

import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import peak_memory
from lgca_core.evaluation.provenance import code_version
from lgca_core.files import draft_of, write_whole
from lgca_core.related.training.metrics import EVENTS, TABLE

CHECKPOINT = "checkpoint.pt"
REPORT = "training.json"

_OTHERS = "{folder} holds a training with other {names}: choose another --out, or give --force to begin anew"


def write_report(out: Path, identity: dict[str, Any], outcome: dict[str, Any]) -> None:
    """Write what a training was, and what it came to. ``identity`` has the settings under a key of that name."""
    said = {"identity": identity, "outcome": outcome, "commit": code_version()[0]}
    write_whole(out / REPORT, json.dumps(said, indent=2).encode())


def finished_outcome(out: Path, identity: dict[str, Any], result: str) -> dict[str, Any] | None:
    """What the training in a folder came to, if one ended there; ``result`` is the file that it writes last.

    Raises LgcaError where it was another training, or its report cannot be read.
    """
    file = out / REPORT
    if not file.is_file() or not (out / result).is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        outcome, others = dict(said["outcome"]), _differences(said["identity"], identity)
    except (ValueError, KeyError, TypeError) as error:
        raise LgcaError(f"{file}: is no report of a training: give --force to begin anew") from error
    if others:
        raise LgcaError(_OTHERS.format(folder=out, names=", ".join(others)))
    return outcome


def arm_in(out: Path) -> str | None:
    """The arm of the training that a folder holds, ended or not; None where there is none, or it does not say."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((out / REPORT).read_text(encoding="utf-8"))["identity"]["arm"])
    with suppress(Exception):  # torch and pickle raise what they like; who takes it up says what is wrong
        return str(torch.load(out / CHECKPOINT, weights_only=True, map_location="cpu", mmap=True)["identity"]["arm"])
    return None


def clear_run(out: Path, results: Iterable[Path]) -> None:
    """Remove what an earlier training left in its folder, ``results`` among it, and nothing else."""
    for file in (*(out / name for name in (CHECKPOINT, REPORT, TABLE)), *results):
        file.unlink(missing_ok=True)
    shutil.rmtree(out / EVENTS, ignore_errors=True)


def save_checkpoint(out: Path, identity: dict[str, Any], content: dict[str, Any]) -> None:
    """Write a checkpoint, all or nothing."""
    with draft_of(out / CHECKPOINT) as draft:
        torch.save({"identity": identity, **content}, draft)


def load_checkpoint(out: Path, identity: dict[str, Any], device: torch.device) -> dict[str, Any] | None:
    """The content of a checkpoint, None where there is none. LgcaError for one of another training."""
    file = out / CHECKPOINT
    if not file.exists():
        return None
    try:
        saved = torch.load(file, weights_only=True, map_location=device)
        others = _differences(saved["identity"], identity)
    except Exception as error:  # torch and pickle raise what they like
        raise LgcaError(f"{file}: is no checkpoint of this program: give --force to begin anew") from error
    if others:
        raise LgcaError(_OTHERS.format(folder=out, names=", ".join(others)))
    return saved


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Names of what differs, those of settings by themselves."""
    flat = [{**said, **said["settings"]} for said in (old, new)]
    names = dict.fromkeys([*flat[0], *flat[1]])
    return [name for name in names if name != "settings" and flat[0].get(name) != flat[1].get(name)]


def memory_of(device: torch.device) -> int:
    """Bytes: most so far of the GPU; of this process what it holds now, mapped files left out, where Linux says so."""
    status = Path("/proc/self/status")
    if device.type != "cuda" and status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    return peak_memory_of(device)


def peak_memory_of(device: torch.device) -> int:
    """Most memory so far, in bytes: of the GPU, else of this process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
