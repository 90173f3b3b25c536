"""Prompts that the WCA authors published, a set a data set: fetched once, verified, kept in the cache.

``published.csv`` pins every file by repository, commit, path and hash. A file is fetched when first needed, from
``$LGCA_PROMPTS_URL`` where that is set (a mirror, or a ``file://`` folder that is a copy of the repository), and lies
from then on in ``home()/prompts/<commit>/<path>``. Each reading verifies it.

What the files are like: ``clip-e.json`` is a list of templates with ``{}`` for the name; ``clip-d.json`` (descriptors)
and ``cupl.json`` (sentences) are keyed by class name, in no order to rely on, and spell some names otherwise than the
class list beside them and the data sets' own folders do. So everything is looked up by name, never by position, with
:func:`entries_of`. Duplicates and odd sentences (``1.``) are kept: published numbers rest on
them.
"""

import csv
import hashlib
import http.client
import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from lgca_core.data.source import Source
from lgca_core.data.sources import SOURCES
from lgca_core.errors import LgcaError
from lgca_core.files import home
from lgca_core.prompts.files import read_descriptions, read_templates
from lgca_core.prompts.names import nearest

LICENCE = "MIT"
"""Terms of the repository that the files come from (its ``LICENSE.md``: Copyright 2024 Jinhao Li)."""

FileKind = Literal["templates", "descriptors", "descriptions"]
State = Literal["cached", "partly cached", "damaged", "not cached"]

TIMEOUT = 30  # seconds without an answer
MOST = 64 << 20  # bytes of a file whose size is not known


@dataclass(frozen=True)
class PromptFile:
    """One published file: ``blob`` is git's hash of it; ``size`` (bytes) and ``sha256`` are None where not known."""

    repository: str
    commit: str
    path: str
    size: int | None
    blob: str
    sha256: str | None

    @property
    def address(self) -> str:
        """Where it is fetched from."""
        base = (
            os.environ.get("LGCA_PROMPTS_URL") or f"https://raw.githubusercontent.com/{self.repository}/{self.commit}"
        )
        return f"{base.rstrip('/')}/{self.path}"

    @property
    def place(self) -> Path:
        """Where it lies once fetched."""
        return home() / "prompts" / self.commit / self.path

    def fault(self, content: bytes) -> str:
        """What tells `content` from the published file, or nothing."""
        if self.size is not None and len(content) != self.size:
            return f"it has {len(content):,} bytes instead of {self.size:,}"
        if self.sha256 is not None:
            return "" if hashlib.sha256(content).hexdigest() == self.sha256 else "its sha256 is another"
        named = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return "" if named == self.blob else "its git blob id is another"


def _read_files() -> dict[str, PromptFile]:
    table = resources.files("lgca_core.prompts").joinpath("published.csv").read_text(encoding="utf-8")
    return {
        row["path"]: PromptFile(
            repository=row["repository"],
            commit=row["commit"],
            path=row["path"],
            size=int(row["bytes"]) if row["bytes"] else None,
            blob=row["git_blob_sha1"],
            sha256=row["sha256"] or None,
        )
        for row in csv.DictReader(table.splitlines())
    }


FILES: dict[str, PromptFile] = _read_files()
"""Every published file by its path in the repository, those that no method here reads included."""


FOLDERS: dict[str, str] = {
    # ImageNet's variants have the very files of ImageNet, which are fetched once.
    name: "imagenet" if name.startswith("imagenet-") else source.prompts
    for name, source in SOURCES.items()
} | {"eurosat": "eurosat"}
"""Every data set that has published prompts -> its folder of the repository's ``prompts/``. EuroSAT is no data set
here, but its prompts may serve somebody's folder of pictures."""

ALIASES: dict[str, str] = {
    source.prompts: name for name, source in reversed(SOURCES.items()) if source.prompts not in FOLDERS
}
"""The folder's name in the repository -> the data set, where it is called otherwise here."""


@dataclass(frozen=True)
class PromptSet:
    """Prompts as published, under the names and in the order of the files.

    :func:`entries_of` finds those of a data set's classes among them.

    Attributes:
        templates: for CLIP-E, with ``{}`` for the name.
        descriptors: name -> descriptors, for CLIP-D.
        descriptions: name -> sentences, for CuPL, WCA and LGCA.
        mended: a sentence about each file of the cache that was damaged and has been fetched again.
    """

    templates: tuple[str, ...]
    descriptors: dict[str, list[str]]
    descriptions: dict[str, list[str]]
    mended: tuple[str, ...] = ()


def load_prompts(key: str, *, progress: Callable[[str], None] = lambda path: None) -> PromptSet:
    """The published prompts of a data set, fetched if need be.

    Args:
        key: one of :data:`FOLDERS`.
        progress: called with the path of each file before it is fetched.

    Raises:
        LgcaError: no such key (near ones are suggested); a file cannot be fetched, kept or verified.
    """
    mended = fetch_prompts(key, progress=progress)
    places = {kind: file.place for kind, file in files_of(key).items()}
    return PromptSet(
        tuple(read_templates(places["templates"])),
        read_descriptions(places["descriptors"]),
        read_descriptions(places["descriptions"]),
        tuple(mended),
    )


def files_of(key: str) -> dict[FileKind, PromptFile]:
    """The published files of a data set."""
    folder = FOLDERS[name_of(key)]
    names: dict[FileKind, str] = {"templates": "clip-e", "descriptors": "clip-d", "descriptions": "cupl"}
    return {kind: FILES[f"prompts/{folder}/{name}.json"] for kind, name in names.items()}


def name_of(key: str) -> str:
    """The data set that a key, its name or its folder's in the repository, stands for; LgcaError where none."""
    name = ALIASES.get(key, key)
    if name not in FOLDERS:
        hint = nearest(key, (*FOLDERS, *ALIASES))
        raise LgcaError(f"no published prompts of {key!r}{hint}: known are {', '.join(FOLDERS)}")
    return name


def state_of(key: str) -> State:
    """Whether the files of a data set lie in the cache, verified; fetches nothing."""
    held = [_held(file) for file in files_of(key).values()]
    if any(held):
        return "damaged"
    there = [fault is not None for fault in held]
    return "cached" if all(there) else "partly cached" if any(there) else "not cached"


def fetch_prompts(key: str, *, progress: Callable[[str], None] = lambda path: None) -> list[str]:
    """Fetch what the cache lacks of a data set, and what is damaged there.

    Args:
        progress: called with the path of each file before it is fetched.

    Returns:
        A sentence about each file that was damaged.

    Raises:
        LgcaError: no such key; a file cannot be fetched, is not what was published, or cannot be kept.
    """
    notes = []
    for file in files_of(key).values():
        fault = _held(file)
        if fault == "":
            continue
        progress(file.path)
        damaged = "" if fault is None else f"{file.place} was damaged ({fault})"
        _keep(file, _get(file, f"{damaged} and " if damaged else ""))
        if damaged:
            notes.append(f"{damaged} and has been fetched again.")
    return notes


def _held(file: PromptFile) -> str | None:
    """What is wrong with the file in the cache, nothing if it is sound, None if it is not there."""
    try:
        return file.fault(file.place.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _get(file: PromptFile, before: str) -> bytes:
    """The published file, verified; `before` begins the sentence that says why not."""
    mend = "set LGCA_PROMPTS_URL to a mirror, or to the file:// folder of a copy of the repository"
    scheme = file.address.partition(":")[0]
    if scheme not in ("https", "http", "file"):
        raise LgcaError(f"LGCA_PROMPTS_URL must begin with https://, http:// or file://, unlike {file.address}")
    try:
        with urlopen(file.address, timeout=TIMEOUT) as answer:
            content: bytes = answer.read(MOST if file.size is None else file.size + 1)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LgcaError(
            f"{before}{file.address} could not be fetched ({_reason(error)}): try again with a network, or {mend}"
        ) from error
    if fault := file.fault(content):
        raise LgcaError(f"{before}{file.address} is not the file that was published ({fault}): try again, or {mend}")
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, URLError) else error
    text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    return " ".join(text.split())


def _keep(file: PromptFile, content: bytes) -> None:
    """Write into the cache: beside the place, then renamed into it, so that nobody reads half a file."""
    draft = file.place.with_name(f".{file.place.name}-{uuid.uuid4().hex}")
    try:
        file.place.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(content)
            draft.replace(file.place)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise LgcaError(
            f"cannot write {file.place} ({error.strerror}): set LGCA_HOME to a folder that can be written"
        ) from error


def entries_of(
    source: Source,
    class_ids: Sequence[str],
    table: Mapping[str, Sequence[str]],
    kind: Literal["descriptions", "descriptors"],
) -> list[tuple[str, list[str]]]:
    """What a published prompt file has for each class: by name, never by position.

    Four classes of ImageNet have other names in the published descriptors than everywhere else: they are found
    under those, and those are read out. Classes with distinct names where the file knows a shared one find the
    shared entries; in sentences the shared name is then read out as the distinct one.

    Args:
        table: name -> entries, as published.

    Returns:
        For each class in label order: the name to be read out, and its entries.

    Raises:
        LgcaError: a class without entries.
    """
    former = source.former() if kind == "descriptors" else {}
    found = []
    for class_id in class_ids:
        key = former.get(class_id) or (source.key or source.name)(class_id)
        if not table.get(key):
            raise LgcaError(f"the published {kind} have none for the class {key!r} of {source.title}")
        name = former.get(class_id) or source.name(class_id)
        entries = list(table[key])
        if kind == "descriptions" and name != key:
            entries = [_said_of(name, key, entry) for entry in entries]
        found.append((name, entries))
    return found


def _said_of(name: str, shared: str, sentence: str) -> str:
    """``An arena is large.`` of the shared name ``arena`` -> ``A hockey arena is large.``"""
    told = name.removesuffix(shared)  # "hockey "
    article = "an " if told[0] in "aeiou" else "a "

    def distinct(found: re.Match[str]) -> str:
        before, own = found.groups(default="")
        return (
            (article.capitalize() if before.istitle() else article if before else "")
            + (told.capitalize() if own[0].isupper() else told)
            + own
        )

    return re.sub(rf"\b(an? )?\b({re.escape(shared)})", distinct, sentence, flags=re.IGNORECASE)
