"""The record of a benchmark: what every one of them says, and how it is written."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from lgca_core import results
from lgca_core.errors import LgcaError
from lgca_core.machine import processor


def begin(benchmark: str, device: torch.device) -> dict[str, Any]:
    """What ran, when, and on what the figures depend."""
    commit, dirty = results.code_version()
    return {
        "benchmark": benchmark,
        "utc": results.utc_now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit,
        "dirty": dirty,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "system": f"{platform.system()} {platform.machine()}",
        },
        "libraries": results.library_versions(),
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
