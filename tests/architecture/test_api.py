"""The page of the core's names: every public name stands there once, as the kind of thing that it is."""

import importlib
import inspect
import re
from collections import Counter

import pytest

import lgca_core
from support.shared import ROOT

PAGE = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
DIRECTIVES = re.findall(r"^\.\. auto(\w+):: lgca_core\.([\w.]+)(\(.*\))?$", PAGE, flags=re.MULTILINE)


def found(dotted: str):
    """The object of a name below `lgca_core`."""
    module, dot, name = dotted.rpartition(".")
    return getattr(importlib.import_module(f"lgca_core.{module}") if dot else lgca_core, name)


def test_every_public_name_stands_there_once():
    names = Counter(dotted.rpartition(".")[2] for _, dotted, _ in DIRECTIVES)
    assert set(names) == {*lgca_core.__all__, "evaluate"}
    assert max(names.values()) == 1
    assert len(DIRECTIVES) == len(re.findall(r"^\.\. auto", PAGE, flags=re.MULTILINE))


@pytest.mark.parametrize(("kind", "dotted"), [(kind, dotted) for kind, dotted, _ in DIRECTIVES])
def test_it_is_what_it_is_called(kind, dotted):
    thing = found(dotted)
    kinds = {"class": inspect.isclass, "function": inspect.isfunction, "exception": inspect.isclass}
    assert kinds[kind](thing) if kind in kinds else isinstance(thing, dict)


@pytest.mark.parametrize(("dotted", "written"), [(dotted, written) for _, dotted, written in DIRECTIVES if written])
def test_a_signature_written_by_hand_has_the_names(dotted, written):
    """Some are, where the annotations or a default would fill a screen."""
    given = [part.partition("=")[0].strip() for part in written[1:-1].split(",")]
    assert [name for name in given if name != "*"] == list(inspect.signature(found(dotted)).parameters)
