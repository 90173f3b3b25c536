"""Prompts that the WCA authors published, a set a data set: fetched once, verified, kept in the cache.

``published.csv`` pins every file by repository, commit, path and hash. A file is fetched when first needed, from
``$LGCA_PROMPTS_URL`` where that is set (a mirror, or a ``file://`` folder that is a copy of the repository), and lies
from then on in ``home()/prompts/<commit>/<path>``. Each reading verifies it.

``clip-e.json`` is a list of templates with ``{}`` for the name; ``clip-d.json`` (descriptors) and ``cupl.json``
(sentences) are keyed by class name, in no order to rely on, and spell some names otherwise than the class list beside
them and the data sets' own folders do. So everything is looked up by name, never by position, with :func:`entries_of`.
Duplicates and odd sentences (``1.``) are kept: published numbers rest on them.
"""

import csv
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from lgca_core.data.downloads import Archive, NotServed, download, fault_of
from lgca_core.data.source import Source
from lgca_core.data.sources import SOURCES
from lgca_core.errors import LgcaError
from lgca_core.files import draft_of, home
from lgca_core.prompts.files import read_descriptions, read_templates
from lgca_core.prompts.names import nearest

LICENCE = "MIT"
"""Terms of the repository with the files (its ``LICENSE.md``: Copyright 2024 Jinhao Li)."""

FileKind = Literal["templates", "descriptors", "descriptions"]
State = Literal["cached", "partly cached", "damaged", "not cached"]


@dataclass(frozen=True)
class PromptFile:
    """One published file: ``blob`` is its hash by git; ``size`` (bytes) and ``sha256`` are None where not known."""

    repository: str
    commit: str
    path: str
    size: int | None
    blob: str
    sha256: str | None

    @property
    def address(self) -> str:
        """URL of the file."""
        base = (
            os.environ.get("LGCA_PROMPTS_URL") or f"https://raw.githubusercontent.com/{self.repository}/{self.commit}"
        )
        return f"{base.rstrip('/')}/{self.path}"

    @property
    def place(self) -> Path:
        """Path of the file once it is fetched."""
        return home() / "prompts" / self.commit / self.path

    @property
    def archive(self) -> Archive:
        """The file as the downloader takes it."""
        checksum = f"sha256:{self.sha256}" if self.sha256 else f"git-blob:{self.blob}"
        return Archive(self.place.name, (self.address,), self.size, checksum, self.repository)


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
"""Every published file by its path in the repository, including files that no method here reads."""


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

    :func:`entries_of` finds the prompts of a data set's classes among them.

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
    """Read the published prompts of a data set, fetched if need be.

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
    """Name of the data set with a key: its own, or its folder's in the repository. Raises LgcaError where none has."""
    name = ALIASES.get(key, key)
    if name not in FOLDERS:
        hint = nearest(key, (*FOLDERS, *ALIASES))
        raise LgcaError(f"no published prompts of {key!r}{hint}: known are {', '.join(FOLDERS)}")
    return name


def state_of(key: str) -> State:
    """Whether the files of a data set lie in the cache and are sound; fetches nothing."""
    held = [_held(file) for file in files_of(key).values()]
    if any(held):
        return "damaged"
    there = [fault is not None for fault in held]
    return "cached" if all(there) else "partly cached" if any(there) else "not cached"


def fetch_prompts(key: str, *, progress: Callable[[str], None] = lambda path: None) -> list[str]:
    """Fetch the prompt files of a data set that the cache lacks, or holds damaged.

    Args:
        progress: called with the path of each file before it is fetched.

    Returns:
        A sentence about each file that was damaged.

    Raises:
        LgcaError: no such key; a file cannot be fetched, is not the published one, or cannot be kept.
    """
    notes = []
    for file in files_of(key).values():
        fault = _held(file)
        if fault == "":
            continue
        progress(file.path)
        subject = f"{file.place} was damaged ({fault}) and" if fault else file.path
        try:
            with draft_of(file.place) as draft:
                download(file.archive, draft.parent)
        except NotServed as error:
            raise LgcaError(
                f"{subject} could not be fetched ({error}): try again, or set LGCA_PROMPTS_URL to a mirror, or to the "
                "file:// folder of a copy of the repository"
            ) from error
        except OSError as error:
            raise LgcaError(f"cannot write {file.place} ({error.strerror}): set LGCA_HOME to another folder") from error
        if fault:
            notes.append(f"{subject} has been fetched again.")
    return notes


def _held(file: PromptFile) -> str | None:
    """Fault of the file in the cache: empty where it is sound, None where there is no file."""
    return fault_of(file.archive, file.place) if os.path.exists(file.place) else None


def entries_of(
    source: Source,
    class_ids: Sequence[str],
    table: Mapping[str, Sequence[str]],
    kind: Literal["descriptions", "descriptors"],
) -> list[tuple[str, list[str]]]:
    """Entries of a published prompt file for each class: by name, never by position.

    Four classes of ImageNet have other names in the published descriptors than everywhere else: they are looked up and
    read out under these. Classes with distinct names of which the file has a shared one find the shared entries; in
    sentences the distinct name then stands in the shared name's place.

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
