"""Files from the network: downloads that resume and are verified.

A download grows in ``NAME.part`` beside its target and gets its name only once size and checksum are right.
"""

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
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
