"""The pictures below a folder, by names and first bytes, and what lies there that is no picture, counted.

A file is a picture by its suffix, then it must be readable. A file of another suffix, or none, is one by its first
bytes, except where the suffix says that it goes along with a picture or is a camera's raw data, which is not read here.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from lgca_core.data.manifest import printable


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SUFFIXES = _words(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .jp2 .j2k .j2c .jpc "
    ".jpf .jpx .avif .avifs .heic .heics .heif .hif"
)
"""Suffixes of pictures, in lower case."""

_BESIDE = _words(
    ".json .jsonl .xmp .xml .yaml .yml .txt .csv .tsv .md .html .htm .pdf .aae .thm .pp3 .dop .ini .db .lnk .url .log "
    ".py .ipynb .mat .npy .npz .pt .pkl .zip .tar .gz .tgz .mov .mp4 .avi .cls .tmp .part "
    ".cr2 .cr3 .nef .nrw .arw .dng .orf .rw2 .raf .pef .srw"
)
_SYSTEM = _words("thumbs.db ehthumbs.db desktop.ini @eadir @__thumb __macosx $recycle.bin #recycle lost+found") | {
    "system volume information",
    "icon\r",
}
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


_KINDS = {
    "system": ("hidden or system entry", "hidden or system entries"),
    "loop": ("link to a folder that is read anyway", "links to folders that are read anyway"),
    "special": ("pipe, socket or device", "pipes, sockets or devices"),
    "loose": ("picture outside the class folders", "pictures outside the class folders"),
    "unpaired": ("sample without a picture", "samples without a picture"),
}


class Passed:
    """What was passed over: files that are no pictures by suffix, others by kind, and class folders left empty."""

    def __init__(self) -> None:
        self.suffixes: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.empty: list[str] = []

    def __str__(self) -> str:
        """One sentence; empty where nothing was passed over."""
        parts = []
        if number := self.suffixes.total():
            names = ", ".join(suffix or "without suffix" for suffix, _ in self.suffixes.most_common(5))
            what = "file that is no picture" if number == 1 else "files that are no pictures"
            parts.append(f"{number:,} {what} ({names}{', ...' if len(self.suffixes) > 5 else ''})")
        parts += [f"{number:,} {_KINDS[kind][number > 1]}" for kind, number in self.kinds.items()]
        if self.empty:
            names = ", ".join(map(repr, self.empty[:3])) + (", ..." if len(self.empty) > 3 else "")
            what = "class folder" if len(self.empty) == 1 else "class folders"
            parts.append(f"{len(self.empty):,} {what} without pictures ({names})")
        return f"Passed over: {'; '.join(parts)}." if parts else ""


def is_debris(name: str) -> bool:
    """Whether a file or folder belongs to an operating system, or is hidden."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def pictures_below(folder: Path, passed: Passed, above: Iterable[Path] = ()) -> list[Path]:
    """The pictures at any depth below a folder, sorted; links to folders are followed, each folder once.

    A link that leads back, to one of `above` or to a folder that one of them or `folder` lies in, is passed over, like
    one to a folder that was read already. Pipes, sockets and devices are never opened.

    Raises OSError where a folder cannot be read.
    """
    back = {*folder.resolve().parents, *(up for near in above for up in (near, *near.resolve().parents))}
    seen = set(map(_identity, back))
    files: list[Path] = []
    links: list[Path] = []
    todo = [folder]
    while todo or links:
        # What lies there itself comes first, so that its pictures keep their paths whatever links lead there.
        place = todo.pop() if todo else links.pop(0)
        if (identity := _identity(place)) in seen:
            passed.kinds["loop"] += 1
            continue
        seen.add(identity)
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if is_debris(entry.name):
                    passed.kinds["system"] += 1
                elif entry.is_dir():
                    (links if entry.is_symlink() else todo).append(Path(entry.path))
                elif not entry.is_file() and not (entry.is_symlink() and not os.path.exists(entry.path)):
                    passed.kinds["special"] += 1
                elif is_picture(Path(entry.path)):
                    files.append(Path(entry.path))
                else:
                    passed.suffixes[printable(Path(entry.name).suffix.lower())] += 1
    return sorted(files)


def is_picture(file: Path) -> bool:
    """Whether a file must be a picture, by its suffix, or else by its first bytes; one that cannot be read must be."""
    suffix = file.suffix.lower()
    if suffix in SUFFIXES or suffix in _BESIDE:
        return suffix in SUFFIXES
    try:
        with file.open("rb") as stream:
            head = stream.read(16)
    except OSError:
        return True  # hashing it says what is wrong
    return (
        head.startswith(_BEGINNINGS)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[6:10] == bytes(4))
        or (head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in b" \t\r\n")
        or (head[4:8] == b"ftyp" and head[8:12] in _BRANDS)
    )


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
