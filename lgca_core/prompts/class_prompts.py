"""All prompts for the classes, from any source: made, given by the user, of a data set's own, or published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lgca_core.data.manifest import Manifest
from lgca_core.data.table import DATASETS, split_spec
from lgca_core.errors import LgcaError
from lgca_core.prompts import sentences as prompt
from lgca_core.prompts.published import entries_of, load_prompts
from lgca_core.prompts.sentences import GENERIC_TEMPLATES

Kind = Literal["plain", "templates", "descriptors", "waffle", "descriptions"]
"""Kinds of prompts that a method can read of a class."""


@dataclass(frozen=True)
class ClassPrompts:
    """Prompts for C classes, in label order. A name may stand for several classes.

    Attributes:
        classes: their names.
        templates: for CLIP-E.
        descriptions: sentences of each class, or None.
        descriptors: of each class the name to be read out and its short descriptors, or None.
        notes: for the user.
    """

    classes: tuple[str, ...]
    templates: Sequence[str] = GENERIC_TEMPLATES
    descriptions: Sequence[Sequence[str]] | None = None
    descriptors: Sequence[tuple[str, Sequence[str]]] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def by_name(
        cls,
        classes: Sequence[str],
        *,
        templates: Sequence[str] = GENERIC_TEMPLATES,
        descriptions: Mapping[str, Sequence[str]] | None = None,
        descriptors: Mapping[str, Sequence[str]] | None = None,
    ) -> "ClassPrompts":
        """From tables name -> entries. LgcaError for a class that a table lacks."""
        for what, table in (("descriptions", descriptions), ("descriptors", descriptors)):
            if table is not None and (missing := [name for name in classes if not table.get(name)]):
                raise LgcaError(f"no {what} for the class {missing[0]!r}: write at least one")
        return cls(
            tuple(classes),
            templates,
            None if descriptions is None else [descriptions[name] for name in classes],
            None if descriptors is None else [(name, descriptors[name]) for name in classes],
        )

    def of(self, kind: Kind, *, method: str, seed: int) -> list[list[str]]:
        """The prompts of every class that a method reads: C x P_c strings.

        Raises:
            LgcaError: there are none of this kind.
        """
        if kind == "plain":
            return prompt.plain(self.classes)
        if kind == "templates":
            return prompt.templates(self.classes, self.templates)
        if kind == "waffle":
            return prompt.waffle(self.classes, seed=seed)
        if kind == "descriptors":
            if self.descriptors is None:
                raise LgcaError(f"the method {method!r} needs short descriptors of every class: give --descriptors")
            return [prompt.descriptors([name], {name: entries})[0] for name, entries in self.descriptors]
        if self.descriptions is None:
            raise LgcaError(f"the method {method!r} needs descriptions of every class: give --descriptions")
        return [list(sentences) for sentences in self.descriptions]


def prompts_of_dataset(
    name: str | Path | None,
    manifest: Manifest,
    kinds: Sequence[Kind] = ("descriptions",),
    *,
    templates: Sequence[str] | None = None,
    descriptions: Mapping[str, Sequence[str]] | None = None,
    descriptors: Mapping[str, Sequence[str]] | None = None,
) -> ClassPrompts:
    """The prompts of a data set's classes: those given, else those that belong to it.

    `name` is what `data.open_dataset` was asked for; None for a folder of the user's, whatever it is called.
    Published prompt files are fetched only where one of `kinds` wants them.

    Raises:
        LgcaError: as :func:`~lgca_core.prompts.published.load_prompts`, or a class has no entries.
    """
    given = ClassPrompts.by_name(
        manifest.classes,
        templates=GENERIC_TEMPLATES if templates is None else templates,
        descriptions=descriptions,
        descriptors=descriptors,
    )
    known = split_spec(name)[0] if isinstance(name, str) else ""
    entry = DATASETS.get(known)
    if entry is None:
        return given
    if entry.descriptions is not None and descriptions is None:
        own = ClassPrompts.by_name(manifest.classes, descriptions=entry.descriptions())
        return ClassPrompts(given.classes, given.templates, own.descriptions, given.descriptors)
    missing = {"templates": templates, "descriptions": descriptions, "descriptors": descriptors}
    wanted = {kind for kind in kinds if kind in missing and missing[kind] is None}
    if entry.source is None or not wanted:
        return given
    published = load_prompts(known)
    source, ids = entry.source, manifest.class_ids
    return ClassPrompts(
        given.classes,
        published.templates if "templates" in wanted else given.templates,
        [found for _, found in entries_of(source, ids, published.descriptions, "descriptions")]
        if "descriptions" in wanted
        else given.descriptions,
        entries_of(source, ids, published.descriptors, "descriptors") if "descriptors" in wanted else given.descriptors,
        published.mended,
    )
