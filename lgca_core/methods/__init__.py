"""Every way to score pictures against classes, in one table.

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
from lgca_core.methods import bifta, clip_family, guided_cropping, lazsl, wca_and_lgca
from lgca_core.methods.base import Look, Method, Scorer, Settings, Texts, as_json
from lgca_core.wca import WCA

__all__ = ["METHODS", "Look", "Method", "Scorer", "Settings", "Texts", "as_json", "check_methods", "find"]

METHODS: dict[str, Method] = {
    "clip": clip_family.whole_picture("one plain prompt a class, the whole picture", "plain"),
    "clip-e": clip_family.whole_picture("a mean of templates, the whole picture", "templates"),
    "clip-d": clip_family.whole_picture("a mean of short descriptors, the whole picture", "descriptors"),
    "waffle": clip_family.whole_picture("a mean of prompts with random words and letters, the whole picture", "waffle"),
    "cupl": clip_family.whole_picture("a mean of descriptions, the whole picture", "descriptions"),
    "cupl-weighted": clip_family.weighted("descriptions weighted as wca weighs them, the whole picture"),
    "wca": wca_and_lgca.wca(
        "weighted descriptions against weighted crops, as the paper writes it", "wca", lambda run: run.wca
    ),
    "wca-released": wca_and_lgca.wca(
        "the same as its released code runs",
        "wca-released",
        lambda run: replace(WCA.as_released(run.wca.pool or 100), n=run.wca.n),
        fixed_settings=frozenset({field.name for field in fields(WCA)} - {"n", "pool"}),
    ),
    "lgca": wca_and_lgca.lgca("crops that start local; the salient ones expand", "lgca", lambda run: run.lgca),
    "lgca-equal": wca_and_lgca.lgca(
        "lgca with no more encoder passes than wca",
        "lgca-equal",
        lambda run: run.lgca.at_passes(run.wca.passes()),
        fixed_settings=frozenset({"n"}),
    ),
    "gc": guided_cropping.guided_cropping("the most salient crop, with more and more of what surrounds it"),
    "bifta": bifta.bifta("wca without crops and descriptions that repeat others"),
    "lazsl": lazsl.lazsl("crops matched with descriptions by optimal transport", "descriptions"),
    "lazsl-d": lazsl.lazsl("the same with short descriptors, as its paper has it", "descriptors"),
}
"""Every method by name."""

TUNED: dict[str, type[WCA] | type[LGCA]] = {"wca": WCA, "lgca": LGCA}
"""Values of `Method.settings_group`, and the class whose attributes a name can then set."""


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
    settings_group = found.settings_group
    if settings_group is None:
        raise LgcaError(f"{method}: {name} has no settings of its own, leave out {':'.join(assigned)}")
    given = _settings(method, assigned, TUNED[settings_group], found.fixed_settings)

    def prepare(texts: Texts, seed: int, settings: Settings) -> Scorer:
        own = replace(getattr(settings, settings_group), **given)
        return found.prepare(texts, seed, replace(settings, **{settings_group: own}))

    return replace(found, prepare=prepare)


def _settings(
    method: str, assigned: Sequence[str], tuned: type[WCA] | type[LGCA], fixed_settings: frozenset[str]
) -> dict[str, Any]:
    """``["steps=1", "start=0.1-0.3"]`` as values of the attributes of a class."""
    types = get_type_hints(tuned)
    names = [field.name for field in fields(tuned) if field.name not in fixed_settings]
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
