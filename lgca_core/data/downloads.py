"""Files from the network: downloads that resume and are verified.

A download grows in ``NAME.part`` beside its target and gets its name only once size and checksum are right.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from lgca_core.errors import LgcaError
from lgca_core.files import CHUNK, hash_of

Progress = Callable[[str, int, int | None], None]
"""Called with (what is done to which file, bytes done, bytes in all or None)."""

SCHEMES = ("https", "http", "file")
ATTEMPTS = 5  # in a row that bring nothing
PAUSE = 2.0  # seconds before the next attempt
TIMEOUT = 60.0  # seconds without a byte
LATER = (408, 429)  # of a server that is slow or asked too often: worth another attempt, as 5xx are
LIMIT = 1 << 30  # bytes of a file of which no size is published, not even a rounded one


@dataclass(frozen=True)
class Archive:
    """One file as its publisher has it.

    Attributes:
        name: its file name.
        urls: where it is served, tried in this order; none where each user must ask its publisher.
        size: in bytes, or None where no source gives it to the byte.
        checksum: ``sha256:...``, ``md5:...`` or ``git-blob:...``; None where none is published: then counts and sizes
            are verified.
        source: where the address, the size and the checksum are taken from.
        about: in bytes, as its page rounds it, where the size is None; 0 where it says nothing.
        unpacked: the bytes of its content, where a source gives them; else it is taken to hold at least its own size.
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

    @property
    def limit(self) -> int:
        """Bytes that the file cannot exceed, so that no server fills the disk."""
        return (2 * self.about or LIMIT) if self.size is None else self.size


class NotServed(LgcaError):
    """No address serves the file as it was published. The message says why, not what helps: the caller knows."""


def download(archive: Archive, folder: Path, *, progress: Progress | None = None) -> Path:
    """Download a file to ``folder/name`` and verify it; an earlier attempt is continued.

    Raises:
        NotServed: every address refuses, breaks off again and again (the bytes received are kept, see
            :func:`received`) or serves another file (which is removed). Each is named with its reason.
        LgcaError: the folder cannot be written, or the disk is full.
    """
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LgcaError(f"cannot write to {folder} ({error.strerror}): set LGCA_HOME to another folder") from error
    reasons = []
    for url in archive.urls:
        try:
            _receive(archive, url, part, progress)
        except NotServed as error:
            reasons.append(f"{url}: {error}")
            continue
        fault = fault_of(archive, part, progress=progress)
        if not fault:
            part.rename(target)
            _tag(part).unlink(missing_ok=True)
            return target
        _remove(part)
        reasons.append(f"{url} serves another file than the one that was published ({fault})")
    raise NotServed("; ".join(reasons))


def fault_of(archive: Archive, path: Path, *, progress: Progress | None = None) -> str:
    """Difference of a file from the published one, by size and checksum; empty where there is none."""
    try:
        size = path.stat().st_size
        if archive.size not in (None, size):
            return f"it has {size:,} bytes, not {archive.size:,}"
        if archive.checksum is None:
            return ""
        algorithm, _, published = archive.checksum.partition(":")
        found = hash_of(path, algorithm, lambda done: progress and progress(f"verifying {archive.name}", done, size))
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return "" if found == published else f"its {algorithm} is {found}, not {published}"


def received(archive: Archive, folder: Path) -> int:
    """Bytes that an earlier :func:`download`, which did not end, has left for the next one."""
    return _size(folder / f"{archive.name}.part")


def check_space(folder: Path, name: str, needed: int) -> None:
    """Raise LgcaError where the disk of `folder` has not the bytes that `name` needs."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LgcaError(
            f"{folder} has room for {free:,} bytes, but {name} needs {needed:,}: make room, or set LGCA_HOME to "
            "another folder"
        )


def _receive(archive: Archive, url: str, part: Path, progress: Progress | None) -> None:
    """Fill `part` from `url`, connecting again wherever the connection breaks off.

    Raises:
        NotServed: the server refuses, or attempt after attempt brings nothing that was not there before.
    """
    scheme = url.partition(":")[0].lower()
    if scheme not in SCHEMES:
        raise NotServed("the address does not begin with https://, http:// or file://")
    in_vain, most = 0, _size(part)
    while True:
        try:
            if _transfer(archive, url, part, progress):
                return
            reason = "the connection was closed early"
        except HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code not in LATER:
                raise NotServed(reason) from error
        except (ValueError, InvalidURL) as error:
            raise NotServed(_reason(error)) from error
        except (HTTPException, OSError) as error:
            reason = _reason(error)
            if scheme == "file":
                raise NotServed(reason) from error
        in_vain = 0 if _size(part) > most else in_vain + 1
        most = max(most, _size(part))
        if in_vain == ATTEMPTS:
            raise NotServed(reason)
        time.sleep(PAUSE)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    return " ".join(text.split())


def _transfer(archive: Archive, url: str, part: Path, progress: Progress | None) -> bool:
    """Receive over one connection; returns whether the file is whole after it."""
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
        total = have + int(length) if length else archive.size
        if total is not None and archive.size not in (None, total):
            raise NotServed(f"it serves {total:,} bytes, but the published {archive.name} has {archive.size:,}")
        if total is not None and total > archive.limit:
            raise NotServed(f"it serves {total:,} bytes, but {archive.name} has {archive.limit:,} at most")
        check_space(part.parent, archive.name, (total or have) - have)
        return _write(response, part, have, total, archive, progress)


def _write(
    response: HTTPResponse, part: Path, have: int, total: int | None, archive: Archive, progress: Progress | None
) -> bool:
    strong = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified", "") if strong.startswith("W/") or not strong else strong
    try:
        if validator:
            _tag(part).write_text(validator)
        else:
            _tag(part).unlink(missing_ok=True)
        if not have:
            part.write_bytes(b"")
    except OSError as error:
        raise _unwritable(part, error) from error
    while piece := response.read(CHUNK):
        have += len(piece)
        if have > archive.limit:
            _remove(part)
            raise NotServed(f"it goes on past {archive.limit:,} bytes, the most that {archive.name} can have")
        try:
            with part.open("ab") as stream:  # closed each time: a full disk may show only then
                stream.write(piece)
        except OSError as error:
            raise _unwritable(part, error) from error
        if progress:
            progress(f"downloading {archive.name}", have, total)
    return total is None or have == total


def _unwritable(part: Path, error: OSError) -> LgcaError:
    return LgcaError(
        f"cannot write {part} ({error.strerror}): make room, or set LGCA_HOME to another folder, and run the same "
        "command again"
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _tag(part: Path) -> Path:
    """File beside `part` with the server's name for the version that `part` is the beginning of."""
    return part.with_name(f"{part.name}.version")


def _remove(part: Path) -> None:
    for file in (part, _tag(part)):
        file.unlink(missing_ok=True)
