"""Every way to score pictures against classes, in one table (floor 2).

Adding a method is a file beside this one and a line in :data:`METHODS`; the core's README does it in ten lines.
"""

from collections.abc import Sequence
from dataclasses import replace

from lgca_core.errors import LgcaError
from lgca_core.methods import alignment, bifta, guided_cropping, lazsl, whole_picture
from lgca_core.methods.base import Method, Scorer, Settings, Texts, plain
from lgca_core.wca import WCA

__all__ = ["METHODS", "Method", "Scorer", "Settings", "Texts", "check_methods", "plain"]

METHODS: dict[str, Method] = {
    "clip": whole_picture.method("one plain prompt a class, the whole picture", "plain"),
    "clip-e": whole_picture.method("a mean of templates, the whole picture", "templates"),
    "clip-d": whole_picture.method("a mean of short descriptors, the whole picture", "descriptors"),
    "waffle": whole_picture.method("a mean of prompts with random words and letters, the whole picture", "waffle"),
    "cupl": whole_picture.method("a mean of descriptions, the whole picture", "descriptions"),
    "wca": alignment.wca(
        "weighted descriptions against weighted crops, as the paper writes it", "wca", lambda run: run.wca
    ),
    "wca-released": alignment.wca(
        "the same as its released code runs", "wca-released", lambda run: replace(WCA.as_released(), n=run.wca.n)
    ),
    "lgca": alignment.lgca("crops that start local; the salient ones expand", "lgca", lambda run: run.lgca),
    "lgca-equal": alignment.lgca(
        "lgca with no more encoder passes than wca", "lgca-equal", lambda run: run.lgca.at_passes(run.wca.passes())
    ),
    "gc": guided_cropping.method("the most salient crop, with more and more of what surrounds it"),
    "bifta": bifta.method("wca without crops and descriptions that repeat others"),
    "lazsl": lazsl.method("crops matched with descriptions by optimal transport", "descriptions"),
    "lazsl-d": lazsl.method("the same with short descriptors, as its paper has it", "descriptors"),
}
"""Every method by name."""


def check_methods(methods: Sequence[str]) -> None:
    """Raises LgcaError for a method that does not exist (the choices are named), one given twice, or none."""
    if not methods:
        raise LgcaError(f"no method given: choose from {', '.join(METHODS)}")
    for method in methods:
        if method not in METHODS:
            raise LgcaError(f"there is no method {method!r}: choose from {', '.join(METHODS)}")
    if len(set(methods)) < len(methods):
        raise LgcaError(f"a method is given twice: {', '.join(methods)}")
