"""The record of a benchmark: what every one of them says, how it is written, and how pages find it again."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import processor
from lgca_core.evaluation.provenance import code_version, library_versions, utc_now
from lgca_core.files import write_whole


def begin(benchmark: str, device: torch.device) -> dict[str, Any]:
    """What ran, when, and on what the figures depend."""
    commit, dirty = code_version()
    return {
        "benchmark": benchmark,
        "utc": utc_now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit,
        "dirty": dirty,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "system": f"{platform.system()} {platform.machine()}",
        },
        "libraries": library_versions(),
    }


def begin_with_encoder(benchmark: str, name: str, encoder: Encoder) -> dict[str, Any]:
    """The same of a benchmark that runs an encoder, and which one: ``aviary``, or an architecture of open_clip."""
    return begin(benchmark, encoder.device) | {
        "encoder": name,
        "weights": "embedded" if name == "aviary" else "random",
        "precision": encoder.precision,
        "device": encoder.device.type,
        "batch_size": encoder.batch_size,
    }


def timings(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Seconds of every arm and turn as a record has them, with the median of each arm."""
    return {"seconds": seconds, "median_seconds": {arm: statistics.median(turns) for arm, turns in seconds.items()}}


def write(record: dict[str, Any], folder: Path, of: str) -> Path:
    """The record as a new file of a folder, whole or not at all; `of` says in its name what it is of.

    Raises LgcaError where it cannot be written.
    """
    stamp = record["utc"].translate(str.maketrans("", "", "-:"))
    file = folder / f"{record['benchmark']}-{of}-{stamp}.json"
    try:
        write_whole(file, (json.dumps(record, indent=1) + "\n").encode())
    except OSError as error:
        raise LgcaError(f"cannot write {file}: {error.strerror}") from error
    return file


def read_all(folder: Path) -> list[dict[str, Any]]:
    """The records of a folder, oldest first; none where no folder is.

    Raises LgcaError for a file that is no such record.
    """
    found = []
    for file in folder.glob("*.json"):
        if file.name.startswith("."):
            continue  # a draft
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            found.append((record["utc"], file.name, record))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LgcaError(f"{file}: not the record of a benchmark ({type(error).__name__})") from error
    return [record for _, _, record in sorted(found, key=lambda dated: dated[:2])]


def newest(records: Sequence[Mapping[str, Any]], **wanted: str | int) -> Mapping[str, Any] | None:
    """The last of `records`, oldest first, whose fields are as wanted; None where there is none."""
    like = [record for record in records if all(record.get(field) == value for field, value in wanted.items())]
    return like[-1] if like else None
