"""Archives unpacked so that no file leaves its folder."""

import errno
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TypeVar

from lgca_core.data.downloads import Progress
from lgca_core.errors import LgcaError

_Member = TypeVar("_Member", tarfile.TarInfo, zipfile.ZipInfo)

_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, RuntimeError, ValueError, OverflowError
)  # fmt: skip
_FULL = (errno.ENOSPC, errno.EDQUOT)


def unpack(
    archive: Path,
    folder: Path,
    *,
    progress: Progress | None = None,
    limit: int | None = None,
    mend: str = "remove it and fetch it again",
) -> None:
    """Unpack a tar, plain or compressed, or a zip into `folder`, which must be the caller's own.

    The file's content decides, not its name: several ``.tar.gz`` of the data sets are plain tars.

    Args:
        limit: bytes that the content may have at most, each member counted with its header of 512.
        mend: what helps where the archive is at fault, for the message.

    Raises:
        LgcaError: neither tar nor zip; damaged; a member that is a link or a device, or whose path is absolute or
            leaves the folder; more content than the limit; no room. `folder` may then hold part of it.
    """
    try:
        with archive.open("rb") as raw:
            if tarfile.is_tarfile(raw):
                raw.seek(0)
                with tarfile.open(fileobj=raw) as tar:
                    tar.extractall(folder, _checked(archive, raw, tar, progress, limit), filter="data")
            elif zipfile.is_zipfile(raw):
                with zipfile.ZipFile(raw) as packed:
                    packed.extractall(folder, _checked(archive, raw, packed.infolist(), progress, limit))
            else:
                raise LgcaError(f"{archive} is neither a tar nor a zip archive: {mend}")
    except _DAMAGED as error:
        raise LgcaError(f"{archive} is damaged or encrypted ({error}): {mend}") from error
    except OSError as error:
        room = (
            ": make room, or set LGCA_HOME to another folder; the archive is kept, so run the same command again"
            if error.errno in _FULL
            else ""
        )
        raise LgcaError(f"cannot unpack {archive} ({error.strerror or error}){room}") from error


def _checked(
    archive: Path, raw: IO[bytes], members: Iterable[_Member], progress: Progress | None, limit: int | None
) -> Iterator[_Member]:
    """Members of an archive, each checked before it is unpacked. Raises LgcaError at the first that is refused."""
    size, content = archive.stat().st_size, 0
    for member in members:
        if isinstance(member, tarfile.TarInfo):
            name, plain = member.name, member.isfile() or member.isdir()
        else:  # the kind is 0 where the zip was not packed on Unix
            name, plain = member.filename, stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
        if not plain:
            raise LgcaError(f"{archive} is not unpacked: its member {name!r} is a link or a device")
        if any(path.anchor or ".." in path.parts for path in (PurePosixPath(name), PureWindowsPath(name))):
            raise LgcaError(f"{archive} is not unpacked: its member {name!r} leads out of the folder")
        content += 512 + (member.size if isinstance(member, tarfile.TarInfo) else member.file_size)
        if limit is not None and content > limit:
            raise LgcaError(
                f"{archive} is not unpacked: it holds more than {limit:,} bytes, far more than its own size"
            )
        yield member
        if progress:
            progress(f"unpacking {archive.name}", raw.tell(), size)
    if progress:
        progress(f"unpacking {archive.name}", size, size)
