"""Prompts that the WCA authors published, a set a data set: fetched once, verified, kept in the cache (floor 1).

``prompt_files.csv`` pins every file by repository, commit, path and hash. A file is fetched when first needed, from
``$LGCA_PROMPTS_URL`` where that is set (a mirror, or a ``file://`` folder that is a copy of the repository), and lies
from then on in ``home()/prompts/<commit>/<path>``. Each reading verifies it.

What the files are like: ``clip-e.json`` is a list of templates with ``{}`` for the name; ``clip-d.json`` (descriptors)
and ``cupl.json`` (sentences) are keyed by class name, in no order to rely on, and spell some names otherwise than the
class list beside them and the data sets' own folders do. So everything is looked up by name, with
:func:`lgca_core.prompts.match`. Duplicates and odd sentences (``1.``) are kept: published numbers rest on them.
"""

import csv
import hashlib
import http.client
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from lgca_core import prompts
from lgca_core.datasets import home
from lgca_core.errors import LgcaError

LICENCE = "MIT"
"""Terms of the repository that the files come from (its ``LICENSE.md``: Copyright 2024 Jinhao Li)."""

Kind = Literal["classes", "templates", "descriptors", "descriptions"]
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
    table = resources.files("lgca_core").joinpath("prompt_files.csv").read_text(encoding="utf-8")
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


# Two editions of OpenAI's names for ImageNet's classes: clip-d.json follows the first, cupl.json the present one, which
# says "missile" and "sunglasses" twice. Each is another name of the other.
_EDITIONS = {"eft": "newt", "maillot": "tights", "projectile": "missile", "sunglass": "sunglasses"}
_OTHER_EDITION = _EDITIONS | {new: old for old, new in _EDITIONS.items()}


def _other_edition(name: str) -> list[str]:
    return [_OTHER_EDITION[name]] if name in _OTHER_EDITION else []


def _unqualified(name: str) -> list[str]:
    """``church`` of ``/c/church/indoor``, ``church/indoor``, ``church (indoor)`` and ``indoor church``.

    Whatever word comes first may go; but this is asked only about names that have no prompts of their own.
    """
    place = re.sub(r"^/\w/", "", name)
    return [re.split(r"[/(,]", place)[0].strip(), prompts.wordify(place).partition(" ")[2]]


def _nothing(name: str) -> list[str]:
    return []


@dataclass(frozen=True)
class Source:
    """Where the prompts of a data set lie: a folder of the repository's ``prompts/``, and its class list, if any.

    ``ordered`` says that the descriptors come in the data set's order and so stand for a class list. ``also`` gives
    other names under which to look for a class whose own is not there.
    """

    folder: str
    classes: str | None = None
    ordered: bool = False
    also: Callable[[str], Sequence[str]] = _nothing

    def files(self) -> dict[Kind, PromptFile]:
        found: dict[Kind, PromptFile] = {} if self.classes is None else {"classes": FILES[self.classes]}
        names: dict[Kind, str] = {"templates": "clip-e", "descriptors": "clip-d", "descriptions": "cupl"}
        return found | {kind: FILES[f"prompts/{self.folder}/{name}.json"] for kind, name in names.items()}


def _listed_source(folder: str, also: Callable[[str], Sequence[str]] = _nothing) -> Source:
    return Source(folder, f"features/{folder}/{folder}.json", also=also)


# The class list beside ImageNet's prompts holds WordNet's synonyms, which name only two thirds of the prompts; so the
# names of clip-d.json stand for it: OpenAI's, in the order of the class indices. The four variants have the same files.
_IMAGENET = Source("imagenet", ordered=True, also=_other_edition)

SOURCES: dict[str, Source] = {
    "cub": _listed_source("cub"),
    "dtd": _listed_source("dtd"),
    "eurosat": Source("eurosat"),
    "food101": _listed_source("food101"),
    "oxford_pet": _listed_source("oxford_pet"),
    "place365": _listed_source("place365", also=_unqualified),
    "imagenet": _IMAGENET,
    "imagenet-a": _IMAGENET,
    "imagenet-r": _IMAGENET,
    "imagenet-sketch": _IMAGENET,
    "imagenet-v2": _IMAGENET,
}
"""Every data set that has published prompts, by key."""

ALIASES = {
    "pets": "oxford_pet",
    "places365": "place365",
    "places365-distinct": "place365",
    "imagenet-s": "imagenet-sketch",
    "imagenetv2": "imagenet-v2",
}
"""Other names of a key: the data set's elsewhere, or the folder's in the repository."""


@dataclass(frozen=True)
class PromptSet:
    """Prompts of a data set.

    Attributes:
        classes: class names in the data set's order (one may stand for several classes); None where none are published.
        templates: for CLIP-E, with ``{}`` for the name.
        descriptors: name -> descriptors, for CLIP-D.
        descriptions: name -> sentences, for CuPL, WCA and LGCA.
        sources: the files that all this was read from.
        matches: of descriptors and of descriptions: which published entry each class name finds, which find none.
        mended: a sentence about each file of the cache that was damaged and has been fetched again.
    """

    key: str
    classes: tuple[str, ...] | None
    templates: tuple[str, ...]
    descriptors: dict[str, list[str]]
    descriptions: dict[str, list[str]]
    sources: tuple[PromptFile, ...]
    matches: dict[Kind, prompts.Match]
    mended: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user: what was mended, which classes share a name, which names match only loosely."""
        return (*self.mended, *_notes(self.classes, self.matches))

    @property
    def spelling(self) -> dict[str, str]:
        """Class name -> how the sentences' file spells it, to be read out in a template; itself where that has it not.

        CUB's ``Black_footed_Albatross`` is published as ``Black-footed Albatross``, which CLIP reads as other tokens.
        """
        match = self.matches["descriptions"]
        return {name: name if name in match.borrowed else match.found.get(name, name) for name in self.classes or ()}


def load(key: str, *, progress: Callable[[str], None] = lambda path: None) -> PromptSet:
    """The prompts of a data set as published, under the names and in the order of the files; fetched if need be.

    Args:
        key: one of :data:`SOURCES`.
        progress: called with the path of each file before it is fetched.

    Raises:
        LgcaError: no such key (near ones are suggested); a file cannot be fetched, kept or verified.
    """
    key, source = _source(key)
    mended = fetch(key, progress=progress)
    files = source.files()
    descriptors = prompts.read_descriptions(files["descriptors"].place)
    descriptions = prompts.read_descriptions(files["descriptions"].place)
    classes: tuple[str, ...] | None = None
    if "classes" in files:
        classes = tuple(json.loads(files["classes"].place.read_text(encoding="utf-8")))
    elif source.ordered:
        classes = tuple(descriptors)
    return PromptSet(
        key=key,
        classes=classes,
        templates=tuple(prompts.read_templates(files["templates"].place)),
        descriptors=descriptors,
        descriptions=descriptions,
        sources=tuple(files.values()),
        matches=_matches(source, tuple(descriptions) if classes is None else classes, descriptors, descriptions),
        mended=tuple(mended),
    )


def select(made: PromptSet, classes: Sequence[str]) -> PromptSet:
    """What :func:`load` found, for these classes and under their names; classes that have none are left out."""
    matches = _matches(_source(made.key)[1], classes, made.descriptors, made.descriptions)
    return replace(
        made,
        classes=tuple(classes),
        descriptors={name: made.descriptors[entry] for name, entry in matches["descriptors"].found.items()},
        descriptions={name: made.descriptions[entry] for name, entry in matches["descriptions"].found.items()},
        matches=matches,
    )


def for_classes(key: str, classes: Sequence[str], *, progress: Callable[[str], None] = lambda path: None) -> PromptSet:
    """The published prompts of exactly these classes, in their order; a name that occurs twice shares its prompts.

    Places365's names may keep what tells them apart (``church (indoor)``, ``indoor church``, ``/c/church/indoor``):
    what was published for ``church`` then serves all of them. ImageNet's may be of either of OpenAI's editions.
    ``notes`` says where that happened.

    Raises:
        LgcaError: as :func:`load`; or a class has no descriptions or no descriptors (the nearest name is suggested).
    """
    made = select(load(key, progress=progress), classes)
    for kind, match in made.matches.items():
        for name, several in match.ambiguous.items():
            raise LgcaError(f"the published prompts of {key}: {prompts.listed(several)} could all mean {name!r}")
        if match.missing:
            raise LgcaError(
                f"the published prompts of {key} have no {kind} for {prompts.listed(match.missing)}"
                f"{prompts.nearest(match.missing[0], match.unknown or match.found.values())}: "
                f"rename, or give a file of your own with --{kind}"
            )
    return made


def _matches(
    source: Source, names: Sequence[str], descriptors: Iterable[str], descriptions: Iterable[str]
) -> dict[Kind, prompts.Match]:
    return {
        "descriptors": prompts.match(names, descriptors, source.also),
        "descriptions": prompts.match(names, descriptions, source.also),
    }


def _notes(classes: Sequence[str] | None, matches: Mapping[Kind, prompts.Match]) -> list[str]:
    notes = []
    if classes is not None and len(set(classes)) < len(classes):
        notes.append(
            f"{len(set(classes))} distinct names stand for {len(classes)} classes: "
            f"those that share a name share its prompts and cannot be told apart."
        )
    said: dict[str, list[Kind]] = {}
    for kind, match in matches.items():
        if match.loose:
            name, entry = next(iter(match.loose.items()))
            text = (
                f"{len(match.loose)} names match only without regard to case, underscores and hyphens, "
                f"such as {name!r} with {entry!r}."
            )
            said.setdefault(text, []).append(kind)
        if match.borrowed:
            name, entry = next(iter(match.borrowed.items()))
            text = f"{len(match.borrowed)} names have those of another name, such as {name!r} those of {entry!r}."
            said.setdefault(text, []).append(kind)
    notes += [f"{' and '.join(kinds)}: {text}" for text, kinds in said.items()]
    return notes


def _source(key: str) -> tuple[str, Source]:
    """The key and its source; of an alias, those that it stands for."""
    key = ALIASES.get(key, key)
    if key not in SOURCES:
        hint = prompts.nearest(key, (*SOURCES, *ALIASES))
        raise LgcaError(f"no published prompts of {key!r}{hint}: known are {', '.join(SOURCES)}")
    return key, SOURCES[key]


# ---- the cache ---------------------------------------------------------------------------------------------


def state(key: str) -> State:
    """Whether the files of a data set lie in the cache, verified; fetches nothing."""
    held = [_held(file) for file in _source(key)[1].files().values()]
    if any(held):
        return "damaged"
    there = [fault is not None for fault in held]
    return "cached" if all(there) else "partly cached" if any(there) else "not cached"


def fetch(key: str, *, progress: Callable[[str], None] = lambda path: None) -> list[str]:
    """Fetch what the cache lacks of a data set, and what is damaged there.

    Args:
        progress: called with the path of each file before it is fetched.

    Returns:
        A sentence about each file that was damaged.

    Raises:
        LgcaError: no such key; a file cannot be fetched, is not what was published, or cannot be kept.
    """
    notes = []
    for file in _source(key)[1].files().values():
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
