"""Files and folders: where the package keeps things, hashes of files, and writing all or nothing."""

import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def hash_of(file: Path | str, algorithm: str = "sha256", progress: Callable[[int], None] | None = None) -> str:
    """Hash of a file's content, in hexadecimal. Raises OSError where the file cannot be read.

    Args:
        algorithm: one of hashlib's, or ``git-blob``, by which git names a file's content.
        progress: called with the number of bytes read so far.
    """
    with Path(file).open("rb") as stream:
        if algorithm == "git-blob":
            digest = hashlib.sha1(b"blob %d\0" % os.fstat(stream.fileno()).st_size, usedforsecurity=False)
        else:
            digest = hashlib.new(algorithm, usedforsecurity=False)
        while piece := stream.read(CHUNK):
            digest.update(piece)
            if progress:
                progress(stream.tell())
    return digest.hexdigest()


def sha256_of(file: Path | str) -> str:
    """sha256 of a file's content, in hexadecimal. Raises LgcaError where the file cannot be read."""
    try:
        return hash_of(file)
    except OSError as error:
        raise LgcaError(f"{file}: the file cannot be read ({error.strerror})") from error


@contextmanager
def draft_of(file: Path) -> Iterator[Path]:
    """A path beside a file to write its content to, which replaces the file once the block has ended without an error.

    Nothing else lies in the draft's folder. Raises OSError where that folder cannot be made or the file not replaced;
    leaves no draft.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent) as folder:
        draft = Path(folder) / file.name
        yield draft
        draft.replace(file)


def write_whole(file: Path, data: bytes) -> None:
    """Write a file all or nothing; an earlier one is replaced. Raises OSError where that fails."""
    with draft_of(file) as draft:
        draft.write_bytes(data)


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
        taken: what to do where a folder that is not empty stands in the place when the new one is ready: ``keep`` the
            old one (another process made the same), ``refuse``, or ``replace`` it.
        mend: what helps where the place cannot be written, for the message.

    Raises:
        LgcaError: the folder cannot be written, or its place is taken and ``taken="refuse"``.
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
    """Remove the drafts that killed calls of :func:`make_folder` left. No other process may be making the folder."""
    for left in root.parent.glob(f"{glob.escape(_drafts(root))}*"):
        shutil.rmtree(left, ignore_errors=True)


def _drafts(root: Path) -> str:
    """Beginning of the names of a folder's drafts, and of no other folder's, even where one name begins another."""
    return f".{root.name}.draft-"
