"""Whatever holds labelled pictures, opened as a manifest: class folders, archives of them, lists of labels.

Archives are unpacked once below :func:`~lgca_core.files.home`, each under the hash of its content, whole or not at all.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from lgca_core.data.archives import unpack
from lgca_core.data.debris import SUFFIXES, Passed, is_debris
from lgca_core.data.downloads import Progress, check_space
from lgca_core.data.folders import assembled, class_folders, folder, remembered_hashes
from lgca_core.data.labels import LABEL_HEADINGS, by_class_id, labelled, read_class_names
from lgca_core.data.manifest import AS_IT_IS, Conversion, Manifest, OnError, Skipped, printable
from lgca_core.errors import LgcaError
from lgca_core.files import home, make_folder, remove_drafts, write_whole

SPARE = 1 << 30  # bytes that any archive may hold,
TIMES = 100  # or so many times its own size: pictures hardly shrink


def pictures_at(
    path: Path | str | None = None,
    *,
    labels: Path | str | None = None,
    class_names: Path | str | Mapping[str, str] | None = None,
    conversion: Conversion = AS_IT_IS,
    on_error: OnError = "raise",
    remember: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Open labelled pictures of one's own.

    Args:
        path: a folder of class folders; a zip or tar of them; a webdataset, which is a tar, several
            (``shard-{000..007}.tar``, a pattern with ``*``) or a folder of them, of ``key.jpg`` and ``key.cls``,
            ``key.json`` or ``key.txt``; or, with `labels`, what their paths are relative to.
        labels: a CSV or TSV file of a path and a label a line; relative to its own folder without `path`.
        class_names: folder or label -> class name, or a file of that (:func:`~lgca_core.data.labels.read_class_names`).
        conversion: what is done on request where a picture becomes RGB.
        on_error, remember: as of :func:`~lgca_core.data.folders.folder`.

    Raises:
        LgcaError: nothing there, or nothing of these; an archive that is damaged, unsafe or too large; and as
            :func:`~lgca_core.data.folders.folder` and :func:`~lgca_core.data.labels.labelled` raise.
    """
    if not isinstance(class_names, Mapping | None):
        class_names = read_class_names(Path(class_names))
    archives = [] if path is None else _archives(Path(path))
    name = None
    if archives:
        name = _stem(archives[0]) if len(archives) == 1 else printable(archives[0].absolute().parent.name)
        path, remember = unpacked(archives, progress=progress), True
    if labels is not None:
        base = None if path is None else _top(Path(path)) if archives else Path(path)
        if name is None and base is not None:
            name = printable(base.resolve().name)
        made = labelled(Path(labels), base, name=name, on_error=on_error, remember=remember, class_names=class_names)
    elif path is None:
        raise LgcaError("no pictures are named: give a folder of class folders, an archive, or a file of labels")
    elif archives:
        made = _webdataset(Path(path), name or "", len(archives) > 1, on_error, class_names) or folder(
            _top(Path(path)), name=name, on_error=on_error, remember=True, class_names=class_names
        )
    else:
        made = folder(path, on_error=on_error, remember=remember, class_names=class_names)
    return replace(made, conversion=conversion)


def _archives(path: Path) -> list[Path]:
    """The archives that a path names; none where it is a folder of class folders, or nothing."""
    try:
        if path.is_dir():
            shards = sorted(entry for entry in path.iterdir() if entry.suffix == ".tar" and not is_debris(entry.name))
            return [] if class_folders(path) else shards
        if path.is_file():
            packed = tarfile.is_tarfile(path) or zipfile.is_zipfile(path)
            if not packed and path.name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz")):
                raise LgcaError(f"{path} is neither a tar nor a zip archive, whatever its name says: fetch it again")
            return [path] if packed else []
    except OSError as error:
        raise LgcaError(f"{path} cannot be read ({error.strerror})") from error
    if path.exists() or not re.search(r"[*?]|\{\d+\.\.\d+\}", str(path)):
        return []
    named = [Path(spelled) for spelled in _braces(str(path))]
    shards = [Path(found) for one in named for found in sorted(glob.glob(str(one))) or [str(one)]]
    if absent := [shard for shard in shards if not shard.is_file()]:
        raise LgcaError(f"{path} names {len(absent):,} archives that are not there, such as {absent[0]}")
    return shards


def _stem(archive: Path) -> str:
    return re.sub(r"\.(zip|tgz|tar|tar\.\w+)$", "", printable(archive.name), flags=re.IGNORECASE)


def _braces(text: str) -> Iterable[str]:
    """``a-{08..10}`` -> ``a-08``, ``a-09``, ``a-10``."""
    parts = re.split(r"\{(\d+)\.\.(\d+)\}", text)
    ranges = [
        [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        for first, last in zip(parts[1::3], parts[2::3])
    ]
    for numbers in product(*ranges):
        yield "".join(part for pair in zip(parts[::3], (*numbers, "")) for part in pair)


@dataclass(frozen=True)
class Unpacked:
    """An archive, or several of one data set, as unpacked here: what it was called, its folder, its bytes on disk."""

    name: str
    place: Path
    size: int


def unpacked(archives: Sequence[Path], *, progress: Progress | None = None) -> Path:
    """The folder of what archives hold, unpacked now unless that was done before.

    Raises LgcaError as :func:`~lgca_core.data.archives.unpack` does, or where the content has more than ``TIMES`` the
    size of the archives, and more than ``SPARE`` bytes.
    """
    from filelock import FileLock

    digests = []
    for archive in archives:
        [(sha256, fault)] = remembered_hashes(archive.absolute().parent, [archive.absolute()])
        if fault:
            raise LgcaError(f"{archive}: {fault}")
        digests.append(sha256)
    key = digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()
    place = home() / "unpacked" / key
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.parent / f".{key}.lock"):
            if _whole(place):
                return place / "files"
            remove_drafts(place)
            sizes = [archive.stat().st_size for archive in archives]
            check_space(place.parent, str(archives[0]), sum(sizes))
            limit = max(SPARE, TIMES * sum(sizes))

            stems = list(map(_stem, archives))
            unique = len(set(stems)) == len(stems)

            def fill(draft: Path) -> None:
                for number, (archive, stem) in enumerate(zip(archives, stems, strict=True)):
                    inside = stem if unique else f"{number}-{stem}"
                    into = draft / "files" / (inside if len(archives) > 1 else "")
                    into.mkdir(parents=True, exist_ok=True)
                    unpack(archive, into, progress=progress, limit=limit, mend="pack or copy it again")
                about = {
                    "archives": [printable(archive.name) for archive in archives],
                    "files": _count(draft / "files"),
                }
                write_whole(draft / "about.json", json.dumps(about).encode())

            make_folder(place, fill, taken="replace")
    except OSError as error:
        raise LgcaError(
            f"cannot write to {place.parent} ({error.strerror}): set LGCA_HOME to another folder"
        ) from error
    return place / "files"


def _whole(place: Path) -> bool:
    """Whether all is there that was unpacked; users and systems clear caches."""
    try:
        return json.loads((place / "about.json").read_bytes())["files"] == _count(place / "files")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _count(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder))


def all_unpacked() -> list[Unpacked]:
    """What is unpacked here, by name."""
    found = []
    for about in (home() / "unpacked").glob("[!.]*/about.json"):
        try:
            names = json.loads(about.read_bytes())["archives"]
            size = size_of(about.parent)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found.append(
            Unpacked(names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", about.parent, size)
        )
    return sorted(found, key=lambda entry: (entry.name, entry.place))


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(os.lstat(Path(place) / name).st_size for place, _, names in os.walk(folder) for name in names)


def remove_folder(folder: Path) -> None:
    """Remove a folder of ours, so that a half-removed one is never used. Raises LgcaError where that fails."""
    try:
        if folder.is_symlink():
            return folder.unlink()  # what it leads to is the user's
        gone = folder.with_name(f".{folder.name}.draft-removed")
        shutil.rmtree(gone, ignore_errors=True)  # of a removal that was killed
        folder.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise LgcaError(f"cannot remove {folder} ({error.strerror})") from error


def _top(place: Path) -> Path:
    """The folder of class folders in an archive that has one folder around them."""
    while len(inside := class_folders(place)) == 1 and class_folders(inside[0]):
        place = inside[0]
    return place


def _webdataset(
    root: Path, name: str, sharded: bool, on_error: OnError, class_names: Mapping[str, str] | None
) -> Manifest | None:
    """Samples of files that share a key, their path up to the first dot of the name; None where there are none.

    A label is the text of ``key.cls``, else a field of ``key.json``, else the one line of ``key.txt``. Without any
    ``.cls``, files in class folders are no samples, since sidecars may lie beside pictures.
    """
    samples: dict[Path, dict[str, Path]] = defaultdict(dict)
    passed = Passed()
    for place, below, names in os.walk(root):
        below[:] = sorted(entry for entry in below if not is_debris(entry))
        for file in sorted(names):
            if is_debris(file):
                passed.kinds["system"] += 1
                continue
            stem, _, kind = file.partition(".")
            samples[Path(place) / stem][kind.lower()] = Path(place) / file
    kinds = {kind for sample in samples.values() for kind in sample}
    flat = all(key.parent == root or (sharded and key.parent.parent == root) for key in samples)
    if "cls" not in kinds and not (flat and {"json", "txt"} & kinds):
        return None
    rows, lacking = [], []
    for key, sample in samples.items():
        pictures = [kind for kind in sample if f".{kind.rpartition('.')[2]}" in SUFFIXES]
        plain = [kind for kind in pictures if "." not in kind] or pictures
        if not pictures:
            passed.kinds["unpaired"] += 1
            continue
        if len(plain) > 1:
            raise LgcaError(f"{printable(key)} has several pictures, {' and '.join(plain)}: keep one a sample")
        label = _label(sample)
        if label:
            rows.append((label, sample[plain[0]]))
        elif on_error == "raise":
            raise LgcaError(
                f"{name}: the sample {printable(key.relative_to(root).as_posix())!r} has no label in a .cls, .json or "
                ".txt beside it; add it, or go on past such samples with --on-error skip"
            )
        else:
            lacking.append(Skipped(printable(sample[plain[0]].relative_to(root).as_posix()), "no label beside it"))
    if not rows:
        raise LgcaError(f"{name} holds no picture with a label: a sample is key.jpg and key.cls, key.json or key.txt")
    made = assembled(
        by_class_id(rows),
        root,
        name=name,
        on_error=on_error,
        remember=True,
        class_names=class_names,
        notes=[str(passed)],
    )
    return replace(made, skipped=(*lacking, *made.skipped))


def _label(sample: Mapping[str, Path]) -> str:
    """The label of a sample; empty where it has none."""
    try:
        if "cls" in sample:
            text = sample["cls"].read_text(encoding="utf-8-sig").strip()
            return str(int(text)) if text.isdecimal() else text
        if "json" in sample:
            fields = json.loads(sample["json"].read_bytes())
            if isinstance(fields, dict):
                for heading in LABEL_HEADINGS:
                    if isinstance(value := fields.get(heading), str | int) and not isinstance(value, bool):
                        return str(value).strip()
        if "txt" in sample:
            text = sample["txt"].read_text(encoding="utf-8-sig").strip()
            return "" if "\n" in text else text
    except (OSError, ValueError):
        pass
    return ""
