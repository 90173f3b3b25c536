"""Archives unpacked so that no file leaves its folder."""

import errno
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from lgca_core.data.downloads import CHUNK, Progress
from lgca_core.errors import LgcaError

FULL = (errno.ENOSPC, errno.EDQUOT)


def unpack(archive: Path, folder: Path, *, progress: Progress | None = None) -> None:
    """Files and folders of a tar, plain or compressed, or of a zip, into `folder`, which must be the caller's own.

    What a file holds decides, not its name: several ``.tar.gz`` of the data sets are plain tars.

    Raises:
        LgcaError: neither tar nor zip; damaged; a member that is a link or a device, or whose path is absolute or
            leaves the folder; no room. `folder` may then hold part of it.
    """
    try:
        with archive.open("rb") as raw:
            if tarfile.is_tarfile(raw):
                raw.seek(0)
                with tarfile.open(fileobj=raw) as tar:
                    _place(archive, raw, _of_tar(archive, tar), folder, progress)
            elif zipfile.is_zipfile(raw):
                with zipfile.ZipFile(raw) as packed:
                    _place(archive, raw, _of_zip(archive, packed), folder, progress)
            else:
                raise LgcaError(f"{archive} is neither a tar nor a zip archive: remove it and fetch it again")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, RuntimeError) as error:
        raise LgcaError(f"{archive} is damaged ({error}): remove it and fetch it again") from error
    except OSError as error:
        mend = (
            ": make room, or set LGCA_HOME to another folder; the archive is kept, so run the same command again"
            if error.errno in FULL
            else ""
        )
        raise LgcaError(f"cannot unpack {archive} ({error.strerror or error}){mend}") from error


Member = tuple[str, IO[bytes] | None]
"""A path as the archive has it, and the bytes, or None for a folder."""


def _of_tar(archive: Path, opened: tarfile.TarFile) -> Iterator[Member]:
    for member in opened:
        if not (member.isfile() or member.isdir()):
            raise _refused(archive, member.name, "is a link or a device")
        yield member.name, opened.extractfile(member)


def _of_zip(archive: Path, opened: zipfile.ZipFile) -> Iterator[Member]:
    for member in opened.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where it was not packed on Unix
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, member.filename, "is a link or a device")
        if member.is_dir():
            yield member.filename, None
        else:
            with opened.open(member) as stream:
                yield member.filename, stream


def _place(archive: Path, raw: IO[bytes], members: Iterator[Member], folder: Path, progress: Progress | None) -> None:
    size = archive.stat().st_size
    # No link is ever made here, so a relative path without '..' cannot lead out of the folder.
    for name, stream in members:
        if any(path.anchor or ".." in path.parts for path in (PurePosixPath(name), PureWindowsPath(name))):
            raise _refused(archive, name, "leads out of the folder")
        target = folder / PurePosixPath(name)
        if stream is None:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            shutil.copyfileobj(stream, out, CHUNK)
        if progress:
            progress(f"unpacking {archive.name}", raw.tell(), size)
    if progress:
        progress(f"unpacking {archive.name}", size, size)


def _refused(archive: Path, name: str, why: str) -> LgcaError:
    return LgcaError(f"{archive} is not unpacked: its member {name!r} {why}")
