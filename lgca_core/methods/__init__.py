"""Every way to score pictures against classes, in one table (floor 2).

Adding a method is a file beside this one and a line in :data:`METHODS`; the core's README does it in ten lines.

A method's name can carry settings of its own, which take the place of the run's: ``wca:n=8``,
``lgca-equal:steps=1:gamma=1.5``, ``lgca:start=0.1-0.3``. They are the attributes of `wca.WCA` and `lgca.LGCA`.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA
from lgca_core.methods import alignment, bifta, guided_cropping, lazsl, whole_picture
from lgca_core.methods.base import Method, Scorer, Settings, Texts, plain
from lgca_core.wca import WCA

__all__ = ["METHODS", "Method", "Scorer", "Settings", "Texts", "check_methods", "find", "plain"]

METHODS: dict[str, Method] = {
    "clip": whole_picture.method("one plain prompt a class, the whole picture", "plain"),
    "clip-e": whole_picture.method("a mean of templates, the whole picture", "templates"),
    "clip-d": whole_picture.method("a mean of short descriptors, the whole picture", "descriptors"),
    "waffle": whole_picture.method("a mean of prompts with random words and letters, the whole picture", "waffle"),
    "cupl": whole_picture.method("a mean of descriptions, the whole picture", "descriptions"),
    "cupl-weighted": whole_picture.weighted("descriptions weighted as wca weighs them, the whole picture"),
    "wca": alignment.wca(
        "weighted descriptions against weighted crops, as the paper writes it", "wca", lambda run: run.wca
    ),
    "wca-released": alignment.wca(
        "the same as its released code runs",
        "wca-released",
        lambda run: replace(WCA.as_released(), n=run.wca.n),
        tunes=None,
    ),
    "lgca": alignment.lgca("crops that start local; the salient ones expand", "lgca", lambda run: run.lgca),
    "lgca-equal": alignment.lgca(
        "lgca with no more encoder passes than wca",
        "lgca-equal",
        lambda run: run.lgca.at_passes(run.wca.passes()),
        decides=frozenset({"n"}),
    ),
    "gc": guided_cropping.method("the most salient crop, with more and more of what surrounds it"),
    "bifta": bifta.method("wca without crops and descriptions that repeat others"),
    "lazsl": lazsl.method("crops matched with descriptions by optimal transport", "descriptions"),
    "lazsl-d": lazsl.method("the same with short descriptors, as its paper has it", "descriptors"),
}
"""Every method by name."""

TUNED: dict[str, type[WCA] | type[LGCA]] = {"wca": WCA, "lgca": LGCA}
"""What `Method.tunes` can be, and the class whose attributes a name can then set."""


def find(method: str) -> Method:
    """The method of a name, with the settings that the name carries.

    Raises:
        LgcaError: there is no such method, or it has no such setting, or not with such a value.
    """
    name, *assigned = method.split(":")
    if name not in METHODS:
        raise LgcaError(f"there is no method {name!r}: choose from {', '.join(METHODS)}")
    found = METHODS[name]
    if not assigned:
        return found
    tunes = found.tunes
    if tunes is None:
        raise LgcaError(f"{method}: {name} has no settings of its own, leave out {':'.join(assigned)}")
    given = _settings(method, assigned, TUNED[tunes], found.decides)

    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        own = replace(getattr(settings, tunes), **given)
        return found.prepare(texts, seed, replace(settings, **{tunes: own}))

    return replace(found, prepare=prepare)


def _settings(
    method: str, assigned: Sequence[str], tuned: type[WCA] | type[LGCA], decides: frozenset[str]
) -> dict[str, Any]:
    """``["steps=1", "start=0.1-0.3"]`` as values of the attributes of a class."""
    types = get_type_hints(tuned)
    names = [field.name for field in fields(tuned) if field.name not in decides]
    given: dict[str, Any] = {}
    for words in assigned:
        name, equals, text = words.partition("=")
        if not equals or name not in names or name in given:
            raise LgcaError(f"{method}: {words!r} must be one of {', '.join(names)}, each once, with =VALUE")
        value = text.split("-") if name == "start" and "-" in text else text
        try:
            given[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            raise LgcaError(f"{method}: {name} cannot be {text!r}: {error.errors()[0]['msg'].lower()}") from None
    return given


def check_methods(methods: Sequence[str]) -> None:
    """Raises LgcaError for a method that does not exist (the choices are named), one given twice, or none."""
    if not methods:
        raise LgcaError(f"no method given: choose from {', '.join(METHODS)}")
    for method in methods:
        find(method)
    if len(set(methods)) < len(methods):
        raise LgcaError(f"a method is given twice: {', '.join(methods)}")
