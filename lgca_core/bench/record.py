"""The record of a benchmark: what every one of them says, and how it is written."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import processor
from lgca_core.evaluation.provenance import code_version, library_versions, utc_now


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


def write(record: dict[str, Any], folder: Path, of: str) -> Path:
    """The record as a new file of a folder, whole or not at all; `of` says in its name what it is of.

    Raises LgcaError where it cannot be written.
    """
    stamp = record["utc"].translate(str.maketrans("", "", "-:"))
    file = folder / f"{record['benchmark']}-{of}-{stamp}.json"
    draft = file.with_name(f".{file.name}")
    try:
        draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        raise LgcaError(f"cannot write {file}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
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
    return [record for _, _, record in sorted(found, key=lambda known: known[:2])]


def newest(records: Sequence[Mapping[str, Any]], **wanted: str | int) -> Mapping[str, Any] | None:
    """The last of `records`, oldest first, whose fields are as wanted; None where there is none."""
    like = [record for record in records if all(record.get(field) == value for field, value in wanted.items())]
    return like[-1] if like else None
