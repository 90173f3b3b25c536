"""Shards as files: written whole or not at all, read with their hash checked, drafts of killed writers swept."""

import errno
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from pathlib import Path
from uuid import uuid4

from lgca_core.errors import NO_WINDOWS, LgcaError
from lgca_core.evaluation.store.shard import Shard

try:
    import fcntl
except ImportError as error:
    raise LgcaError(NO_WINDOWS) from error

DRAFT_SECONDS = 24 * 3600  # how old a draft must be to be given up, where the file system cannot lock
GONE = (errno.ENOENT, errno.ESTALE)  # of a file that another process has replaced; the second over a network


@dataclass(frozen=True)
class ShardFile:
    """A shard on disk."""

    path: Path
    index: int
    boxes: int
    size: int

    NAME = re.compile(r"(\d{6,})-(\d+)-([0-9a-f]{64})\.safetensors")

    @property
    def rank(self) -> tuple[int, int, str]:
        """Of the files of one index, the one of the least rank counts."""
        return self.index, -self.boxes, self.path.name

    def read(self, *, discard: bool = False, mapped: bool = False) -> Shard:
        """The shard; ValueError for a damaged one, which `discard` removes.

        A mapped one stays on disk: it is read through once, for its hash, and again piece by piece as it is used.
        """
        with self.path.open("rb") as stream:
            try:
                return self._mapped(stream) if mapped else self._shard(stream.read())
            except ValueError:
                # Another process may have put a sound one in its place, or we may not be allowed to remove it.
                with suppress(OSError):
                    if discard and os.path.samestat(os.fstat(stream.fileno()), self.path.stat()):
                        self.path.unlink()
                raise

    def _mapped(self, stream: BufferedReader) -> Shard:
        self._check(hashlib.file_digest(stream, "sha256").hexdigest())
        return self._counted(Shard.of_file(self.path))

    def _shard(self, data: bytes) -> Shard:
        self._check(hashlib.sha256(data).hexdigest())
        return self._counted(Shard.from_bytes(data))

    def _check(self, sha256: str) -> None:
        if sha256 != self.path.stem.rpartition("-")[2]:
            raise ValueError("its content is not what its name says")

    def _counted(self, shard: Shard) -> Shard:
        if len(shard.boxes) != self.boxes:
            raise ValueError(f"it holds {len(shard.boxes)} boxes, not the {self.boxes} of its name")
        return shard


def files_in(folder: Path, index: int | None = None) -> list[ShardFile]:
    """The shards in a folder, or those of one index, by rank."""
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            match = ShardFile.NAME.fullmatch(entry.name)
            if match and index in (None, int(match[1])):  # a size is looked up of those that are wanted
                with suppress(FileNotFoundError):
                    found.append(ShardFile(Path(entry), int(match[1]), int(match[2]), entry.stat().st_size))
    return sorted(found, key=lambda file: file.rank)


def put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, on the disc before it can be seen."""
    with _draft(path.parent) as draft:
        draft.write(data)
        draft.flush()
        os.fsync(draft.fileno())
        os.replace(draft.name, path)
    with suppress(OSError):  # not every file system can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _draft(folder: Path) -> Iterator[BufferedRandom]:
    """A new file in a folder, locked while it is being written, so that nobody takes it for left over."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            stream = open(folder / f".{uuid4().hex}.tmp", "x+b")  # noqa: SIM115 (closed below, or after the yield)
        except FileNotFoundError:
            continue  # the folder was removed in between
        _lock(stream, wait=True)
        if os.fstat(stream.fileno()).st_nlink:
            break
        stream.close()  # taken for left over before it was locked
    try:
        yield stream
    finally:
        with suppress(OSError):  # it is gone if it was renamed
            os.unlink(stream.name)
        stream.close()


def _lock(stream: BufferedRandom, *, wait: bool) -> bool | None:
    """Whether the file is locked now; None where the file system cannot lock."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def sweep(folder: Path) -> int:
    """Removes the drafts of processes that were killed, and says how many."""
    removed = 0
    for draft in folder.glob(".*.tmp"):
        with suppress(OSError), open(draft, "r+b") as stream:
            locked = _lock(stream, wait=False)
            if locked or (locked is None and time.time() - os.fstat(stream.fileno()).st_mtime > DRAFT_SECONDS):
                draft.unlink()
                removed += 1
    return removed


def unwritable(root: Path, error: OSError) -> LgcaError:
    return LgcaError(
        f"cannot write to the store {root} ({error.strerror}): set LGCA_STORE to a folder that has room and "
        f"can be written"
    )


def unreadable(path: Path, error: OSError) -> LgcaError:
    return LgcaError(f"cannot read {path} ({error.strerror}): make it readable, or set LGCA_STORE to another folder")
