"""Files and folders: where the package keeps things, hashes of files, and writing all or nothing."""

import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lgca_core.errors import LgcaError

CHUNK = 1 << 20  # bytes read or copied at a time


def home() -> Path:
    """Folder for data sets, prompts and features made or fetched: ``$LGCA_HOME``, else the user's cache folder."""
    if chosen := os.environ.get("LGCA_HOME"):
        return Path(chosen).expanduser()
    import platformdirs  # `lgca bench` does without

    return platformdirs.user_cache_path("lgca")


def sha256_of(file: Path | str) -> str:
    """sha256 of what a file holds, in hexadecimal. Raises LgcaError where it cannot be read."""
    try:
        with Path(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise LgcaError(f"{file}: the file cannot be read ({error.strerror})") from error


def check_parent(target: Path, what: str) -> None:
    """Whether `target` can be made: LgcaError, naming `what` was to go there, where its folder cannot be written."""
    parent = next(p for p in target.absolute().parents if p.exists())
    if not parent.is_dir():
        raise LgcaError(f"{parent} is a file, so {what} cannot go to {target}: choose another folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise LgcaError(f"{parent} cannot be written, so {what} cannot go to {target}: choose another folder")


def write_whole(file: Path, data: bytes) -> None:
    """Write a file all or nothing: beside its place, then renamed into it; an earlier one is replaced.

    Raises OSError where that fails, and leaves no draft.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as folder:
        draft = Path(folder) / file.name
        draft.write_bytes(data)
        draft.replace(file)


def make_folder(
    root: Path,
    fill: Callable[[Path], None],
    *,
    taken: Literal["keep", "refuse", "replace"] = "keep",
    mend: str = "set LGCA_HOME to another folder",
) -> None:
    """Make a folder that `fill` fills, all or nothing: filled beside its place, then renamed into it.

    Args:
        fill: called with an empty folder; what it raises passes through.
        taken: what to do where a folder that is not empty stands in the place when this one is ready: ``keep`` that
            one (another process made the same), ``refuse``, or ``replace`` it.
        mend: what helps where the place cannot be written, for the sentence that says so.

    Raises:
        LgcaError: it cannot be written, or is taken and ``taken="refuse"``.
    """
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=_drafts(root), dir=root.parent))
    except OSError as error:
        raise LgcaError(f"cannot write to {root.parent} ({error.strerror}): {mend}") from error
    try:
        fill(draft)
        draft.chmod(0o755)
        if taken == "replace" and root.exists():
            old = draft.with_name(f"{draft.name}-old")
            root.rename(old)
            draft.rename(root)
            shutil.rmtree(old)
            return
        try:
            draft.rename(root)
        except OSError:
            if not root.is_dir():
                raise
            if taken != "keep":
                raise LgcaError(f"another process has made {root} in the meantime: choose another folder") from None
    except OSError as error:
        raise LgcaError(f"cannot make {root} ({error.strerror}): {mend}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(root: Path) -> None:
    """Remove what a :func:`make_folder` that was killed left. Only for a caller who knows that no other makes it."""
    for left in root.parent.glob(f"{glob.escape(_drafts(root))}*"):
        shutil.rmtree(left, ignore_errors=True)


def _drafts(root: Path) -> str:
    """How the names of a folder's drafts begin; those of no other folder do, though one name may begin another."""
    return f".{root.name}.draft-"
