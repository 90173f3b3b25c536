"""Classes of one's own, in words: their names, and the sentences that describe them, from Python or from files."""

from collections.abc import Iterable, Mapping, Sequence

from lgca_core.errors import LgcaError
from lgca_core.kinds import kind_of
from lgca_core.prompts import sentences
from lgca_core.prompts.class_prompts import ClassPrompts, Kind
from lgca_core.prompts.names import listed, match, nearest


def check_classes(classes: object, what: str = "classes") -> list[str]:
    """The names of classes, as a list.

    Raises:
        LgcaError: they are no names in an order, one is empty or given twice, or there are fewer than two.
    """
    if isinstance(classes, str):
        raise LgcaError(f"{what} is the string {classes!r}: give a list of names")
    if isinstance(classes, bytes | set | frozenset) or not isinstance(classes, Iterable):
        raise LgcaError(f"{what} must be names in an order, not {kind_of(classes)}: give a list")
    names = list(classes)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise LgcaError(f"{what} must be names, but one is {kind_of(wrong[0])}: give a list of strings")
    if not all(name.strip() for name in names):
        raise LgcaError(f"one of the {what} has an empty name: name it, or leave it out")
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise LgcaError(f"at least two different {what} are needed, each once, but {listed(twice)} is given twice")
    if len(names) < 2:
        raise LgcaError(f"at least two different {what} are needed, not {names}")
    return [str(name) for name in names]


def prompts_of_classes(
    classes: object,
    kinds: Mapping[str, Kind],
    templates: object = None,
    *,
    descriptions: object = None,
    descriptors: object = None,
) -> ClassPrompts:
    """The prompts of classes of one's own; generic templates stand in for descriptions, and a note says so.

    Args:
        kinds: method -> which prompts it reads.

    Raises:
        LgcaError: as :func:`check_classes`; a table lacks a class, has another, or holds no sentences of it.
    """
    names = check_classes(classes)
    generic = sentences.GENERIC_TEMPLATES if templates is None else _sentences("templates", templates)
    described = None if descriptions is None else _by_name("descriptions", descriptions, names)
    notes = []
    if described is None and (reading := [name for name, kind in kinds.items() if kind == "descriptions"]):
        described = dict(zip(names, sentences.templates(names, generic), strict=True))
        these = f"{', '.join(reading)} read{'s' if len(reading) == 1 else ''}"
        notes.append(f"No descriptions given: {these} {len(generic)} templates instead.")
    said = ClassPrompts.by_name(
        names,
        templates=generic,
        descriptions=described,
        descriptors=None if descriptors is None else _by_name("descriptors", descriptors, names),
    )
    return ClassPrompts(said.classes, said.templates, said.descriptions, said.descriptors, (*said.notes, *notes))


def _by_name(what: str, table: object, names: Sequence[str]) -> dict[str, list[str]]:
    """A table name -> sentences, by the names of the classes."""
    if not isinstance(table, Mapping):
        raise LgcaError(f"{what} must be a dict of class name -> list of sentences, not {kind_of(table)}")
    if wrong := [key for key in table if not isinstance(key, str)]:
        raise LgcaError(f"{what} must be by class name, but one name is {kind_of(wrong[0])}: make it a string")
    found = match(names, table, f"the dict of {what}", what)
    if unknown := [entry for entry in table if entry not in set(found.values())]:
        raise LgcaError(
            f"{what} are of {listed(unknown)}, which is no class{nearest(unknown[0], found)}: remove or rename"
        )
    return {name: _sentences(f"{what} of {name!r}", table[entry]) for name, entry in found.items()}


def _sentences(what: str, given: object) -> list[str]:
    if isinstance(given, str):
        raise LgcaError(f"{what} is the string {given!r}: put it in a list")
    if isinstance(given, Mapping | set | frozenset) or not isinstance(given, Iterable):
        raise LgcaError(f"{what} must be a list of sentences, not {kind_of(given)}")
    said = list(given)
    if wrong := [sentence for sentence in said if not isinstance(sentence, str)]:
        raise LgcaError(f"{what} must be a list of sentences, but one is {kind_of(wrong[0])}: make it a string")
    kept = [sentence.strip() for sentence in said if sentence.strip()]
    if not kept:
        raise LgcaError(f"there are no {what}: write at least one sentence")
    return kept
