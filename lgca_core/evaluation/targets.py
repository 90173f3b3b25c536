"""Whether a result can be written to its place: checked before the work, not after it."""

import os
from pathlib import Path

from lgca_core.errors import LgcaError


def check_parent(target: Path, what: str) -> None:
    """Check that `target` can be made. Raises LgcaError, which names `what` was to go there, if it cannot."""
    parent = next(p for p in target.absolute().parents if p.exists())
    if not parent.is_dir():
        raise LgcaError(f"{parent} is a file, so {what} cannot go to {target}: choose another folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise LgcaError(f"{parent} cannot be written, so {what} cannot go to {target}: choose another folder")
