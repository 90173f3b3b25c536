"""The page of the core's names: none missing, and what it says of how they are called is so."""

import importlib
import inspect
import re
from collections import Counter
from dataclasses import MISSING, fields, is_dataclass

import pytest
import torch

import lgca_core
from lgca_core.prompts.sentences import GENERIC_TEMPLATES
from support.shared import ROOT

PAGE = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
DIRECTIVES = re.findall(r"^\.\. auto(\w+):: lgca_core\.([\w.]+)(\(.*\))?$", PAGE, flags=re.MULTILINE)


def found(dotted: str):
    """The object of a name below `lgca_core`."""
    module, dot, name = dotted.rpartition(".")
    return getattr(importlib.import_module(f"lgca_core.{module}") if dot else lgca_core, name)


def defaults(thing) -> dict[str, object]:
    """Argument -> its default, of those that have one; made anew where a dataclass makes it."""
    stated = {name: of.default for name, of in inspect.signature(thing).parameters.items()}
    made = {of.name: of.default_factory for of in (fields(thing) if is_dataclass(thing) else ())}
    stated |= {name: factory() for name, factory in made.items() if factory is not MISSING}
    return {name: default for name, default in stated.items() if default is not inspect.Parameter.empty}


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
def test_a_signature_written_by_hand_has_the_names_and_the_defaults(dotted, written):
    """Some are, where the annotations or a default would fill a screen."""
    given = [part.strip().partition("=") for part in written[1:-1].split(",") if part.strip() != "*"]
    assert [name for name, _, _ in given] == list(inspect.signature(found(dotted)).parameters)
    known = {"torch": torch, "GENERIC_TEMPLATES": GENERIC_TEMPLATES}
    assert {name: eval(value, known) for name, sign, value in given if sign} == defaults(found(dotted))
