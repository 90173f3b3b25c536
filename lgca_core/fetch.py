"""Archives from the network: downloads that resume, verified, and unpacked so that no file leaves its folder (floor 1).

A download grows in ``NAME.part`` beside its target and gets its name only once size and checksum are right. A
folder is filled beside its place and then renamed into it, so that it is there whole or not at all.
"""

import errno
import glob
import hashlib
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from lgca_core.errors import LgcaError

Progress = Callable[[str, int, int | None], None]
"""Called with (what is done to which file, bytes done, bytes in all or None)."""

CHUNK = 1 << 20  # bytes
ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 2.0  # seconds before the next attempt
TIMEOUT = 60.0  # seconds without a byte
LATER = (408, 429)  # of a server that is slow or asked too often: worth another attempt, as 5xx are
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Archive:
    """One file as its publisher has it.

    Attributes:
        name: its file name.
        urls: where it is served, tried in this order; none where each user must ask its publisher.
        size: in bytes, or None where no source gives it to the byte.
        checksum: ``sha256:...`` or ``md5:...``; None where none is published: then counts and sizes are verified.
        source: where the address, the size and the checksum are taken from.
        about: in bytes, as its page rounds it, where the size is None; 0 where it says nothing.
        unpacked: the bytes of what it holds, where a source gives them; else it is taken to hold at least its own size.
        into: folder that it is unpacked into, under the data set's.
    """

    name: str
    urls: tuple[str, ...]
    size: int | None
    checksum: str | None
    source: str
    about: int = 0
    unpacked: int | None = None
    into: str = ""

    @property
    def bytes(self) -> int:
        """Its size as far as it is known."""
        return self.about if self.size is None else self.size


class _NotServed(LgcaError):
    """An address that does not serve the archive; another may."""


# ---- download ----------------------------------------------------------------------------------------------


def download(archive: Archive, folder: Path, *, progress: Progress | None = None) -> Path:
    """The verified file ``folder/name``, downloaded unless it is there; an earlier attempt is continued.

    Raises:
        LgcaError: no address serves it, or the connection breaks off again and again (what came is kept, and every
            address is named with its reason); the disk is full; what came is not the published file (it is removed).
    """
    target = folder / archive.name
    if target.exists():
        verify(archive, target, progress=progress)
        return target
    part = folder / f"{archive.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LgcaError(f"cannot write to {folder} ({error.strerror}): set LGCA_HOME to another folder") from error
    reasons = []
    for url in archive.urls:
        try:
            _receive(archive, url, part, progress)
            break
        except _NotServed as error:
            reasons.append(str(error))
    else:
        kept = f"{_size(part):,} bytes are kept in {folder}: " if _size(part) else ""
        raise LgcaError(
            f"{'; '.join(reasons)}; {kept}run the same command again later, or get {archive.name} by other means and "
            "write :FOLDER behind the data set's name, where FOLDER is the one that it lies in"
        )
    try:
        verify(archive, part, progress=progress)
    except LgcaError as error:
        for file in (part, _tag(part)):
            file.unlink(missing_ok=True)
        raise LgcaError(f"{error}: what came was removed, so run the same command again") from error
    part.rename(target)
    _tag(part).unlink(missing_ok=True)
    return target


def verify(archive: Archive, path: Path, *, progress: Progress | None = None) -> None:
    """Whether a file is the published one, by size and checksum.

    Raises:
        LgcaError: it is another, or cannot be read.
    """
    try:
        size = path.stat().st_size
        if archive.size not in (None, size):
            raise LgcaError(f"{path} has {size:,} bytes, but the published {archive.name} has {archive.size:,}")
        if archive.checksum is None:
            return
        algorithm, _, published = archive.checksum.partition(":")
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with path.open("rb") as stream:
            while piece := stream.read(CHUNK):
                digest.update(piece)
                if progress:
                    progress(f"verifying {archive.name}", stream.tell(), size)
    except OSError as error:
        raise LgcaError(f"{path} cannot be read ({error.strerror})") from error
    if digest.hexdigest() != published:
        raise LgcaError(f"{path} has the {algorithm} {digest.hexdigest()}, not the published {published}")


def _receive(archive: Archive, url: str, part: Path, progress: Progress | None) -> None:
    """Fills `part` from `url`, connecting again wherever the connection breaks off.

    Raises:
        _NotServed: it refuses, or attempt after attempt brings nothing that was not there before.
    """
    in_vain, most = 0, _size(part)
    while True:
        try:
            if _transfer(archive, url, part, progress):
                return
            reason = "the connection was closed early"
        except HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code not in LATER:
                raise _NotServed(f"{url}: {reason}") from error
        except (URLError, HTTPException, OSError) as error:
            reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        in_vain = 0 if _size(part) > most else in_vain + 1
        most = max(most, _size(part))
        if in_vain == ATTEMPTS:
            raise _NotServed(f"{url}: {reason}")
        time.sleep(PAUSE)


def _transfer(archive: Archive, url: str, part: Path, progress: Progress | None) -> bool:
    """One connection; whether the file is whole after it."""
    have = _size(part)
    if have and have == archive.size:
        return True
    headers = {"User-Agent": "lgca", "Accept-Encoding": "identity"}
    tag = _tag(part)
    # If-Range: a server whose file has changed since sends all of the new one, instead of its end.
    if have and tag.exists():
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    elif have and archive.checksum:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if error.code != 416:  # range not satisfiable
            raise
        whole = error.headers.get("Content-Range", "").rpartition("/")[2] == str(have)
        if not whole:
            part.unlink(missing_ok=True)
        return whole
    with response:
        goes_on = response.status == 206
        if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            return False
        have = have if goes_on else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        if total and archive.size not in (None, total):
            raise _NotServed(f"{url} serves {total:,} bytes, but the published {archive.name} has {archive.size:,}")
        check_space(part.parent, archive.name, (total or have) - have)
        return _write(response, part, tag, have, total, archive.name, progress)


def _write(
    response: HTTPResponse, part: Path, tag: Path, have: int, total: int | None, name: str, progress: Progress | None
) -> bool:
    strong = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified", "") if strong.startswith("W/") or not strong else strong
    try:
        if validator:
            tag.write_text(validator)
        else:
            tag.unlink(missing_ok=True)
        stream = part.open("ab" if have else "wb")
    except OSError as error:
        raise _unwritable(part, error) from error
    with stream:
        while piece := response.read(CHUNK):
            try:
                stream.write(piece)
            except OSError as error:
                raise _unwritable(part, error) from error
            have += len(piece)
            if progress:
                progress(f"downloading {name}", have, total)
    return total is None or have == total


def remaining(archive: Archive, folder: Path) -> int:
    """Bytes that :func:`download` would still have to fetch, as far as they are known."""
    return max(0, archive.bytes - _size(folder / f"{archive.name}.part"))


def check_space(folder: Path, name: str, needed: int) -> None:
    """Raises LgcaError where the disk of `folder` has not the bytes that `name` needs."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LgcaError(
            f"{folder} has room for {free:,} bytes, but {name} needs {needed:,}: make room, or set LGCA_HOME to "
            "another folder"
        )


def _unwritable(part: Path, error: OSError) -> LgcaError:
    return LgcaError(
        f"cannot write {part} ({error.strerror}): make room, or set LGCA_HOME to another folder, and run the same "
        "command again"
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _tag(part: Path) -> Path:
    """Holds the server's name for the version that `part` is the beginning of."""
    return part.with_name(f"{part.name}.version")


# ---- unpack ------------------------------------------------------------------------------------------------


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


def _drafts(root: Path) -> str:
    """How the names of a folder's drafts begin; those of no other folder do, though one name may begin another."""
    return f".{root.name}.draft-"


def remove_drafts(root: Path) -> None:
    """What a :func:`make_folder` that was killed left. Only for whoever knows that no other is at it."""
    for left in root.parent.glob(f"{glob.escape(_drafts(root))}*"):
        shutil.rmtree(left, ignore_errors=True)


def make_folder(root: Path, fill: Callable[[Path], None]) -> None:
    """A folder filled by `fill`, all or nothing: filled beside its place, then renamed into it.

    Raises:
        LgcaError: it cannot be written; what `fill` raises passes through.
    """
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=_drafts(root), dir=root.parent))
    except OSError as error:
        raise LgcaError(f"cannot write to {root.parent} ({error.strerror}): set LGCA_HOME to another folder") from error
    try:
        fill(draft)
        draft.chmod(0o755)
        try:
            draft.rename(root)
        except OSError:
            if not root.is_dir():  # else another process was first, with the same pictures
                raise
    except OSError as error:
        raise LgcaError(f"cannot make {root} ({error.strerror}): set LGCA_HOME to another folder") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
