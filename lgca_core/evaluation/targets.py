"""Whether a result can be written to its place: tried before the work, not after it; and the place held meanwhile."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lgca_core.errors import LgcaError
from lgca_core.files import remove_drafts

TRIAL = 1 << 16  # bytes that are written on trial, so that a full disk is noticed


def check_parent(target: Path, what: str) -> None:
    """Try that `target` can be made: a folder and a file of its kind are written beside it, and removed.

    Nothing but trying tells: root may write where it is not allowed to, until the file system is one for reading only.

    Raises:
        LgcaError: it cannot be made; says what was to go there.
    """
    place, parent = target.absolute(), target.parent
    try:
        parent = next(folder for folder in place.parents if folder.exists())
        if not parent.is_dir():
            raise LgcaError(f"{parent} is a file, so {what} cannot go to {target}: choose another folder")
        with tempfile.TemporaryDirectory(prefix=".lgca-", dir=parent) as trial:
            folder = Path(trial, *place.parent.relative_to(parent).parts)
            folder.mkdir(parents=True, exist_ok=True)
            draft = folder / f".{place.name}.draft-12345678-old"  # drafts have longer names than what comes of them
            with draft.open("xb") as stream:
                stream.write(bytes(TRIAL))
                stream.flush()
                os.fsync(stream.fileno())
    except OSError as error:
        reason = error.strerror or error
        raise LgcaError(
            f"{parent} cannot be written ({reason}), so {what} cannot go to {target}: choose another folder"
        ) from error


def check_room(target: Path, what: str, room: int) -> None:
    """Check that the disk of `target` has so many bytes free, as far as it says. Raises LgcaError if it has less."""
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if room > free:
        raise LgcaError(
            f"{what} takes about {room / 1e6:.0f} MB, and {parent} has {free / 1e6:.0f} MB free, so it cannot go to "
            f"{target}: choose another folder"
        )


@contextmanager
def claimed(target: Path, what: str) -> Iterator[None]:
    """Hold the place of a result, once it was tried, against other processes until the block ends.

    A lock file beside it says so, where the file system can lock; it and folders made for it go with the block, unless
    something is in them.

    Raises:
        LgcaError: as :func:`check_parent`, or another process holds the place.
    """
    from filelock import FileLock, Timeout

    check_parent(target, what)
    place = target.absolute()
    made = [folder for folder in place.parents if not folder.exists()]  # the innermost first
    place.parent.mkdir(parents=True, exist_ok=True)
    file = place.with_name(f".{place.name}.lock")
    lock = FileLock(file)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise LgcaError(
                f"another process is at work on {target}: choose another place for {what}, or wait for it"
            ) from None
        except (OSError, NotImplementedError):  # not every file system can
            pass
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):
                file.unlink()  # while it is held, so that it is nobody else's
            lock.release()
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def put_back(root: Path) -> None:
    """Bring back what `files.make_folder` had moved aside to replace it, where it came no further."""
    for old in root.parent.glob(f"{glob.escape(f'.{root.name}.draft-')}*-old"):
        if not root.exists():
            old.rename(root)


def restore_folder(root: Path) -> None:
    """:func:`put_back`, and remove the drafts of a killed `files.make_folder`.

    No other process may be making the folder.
    """
    put_back(root)
    remove_drafts(root)
