"""What the book lists, what its environment pins."""

import re
import tomllib

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lgca_book import style
from lgca_book.building import run_notebook
from lgca_core.methods import METHODS
from support.shared import ROOT

BOOK = ROOT / "book"
NOTEBOOKS = sorted(path.name for path in BOOK.glob("*.ipynb"))
COMMON = {"profile", "wanted", "encoder", "datasets", "methods", "seeds", "records"}


# What is listed


def listed(entry) -> list[str]:
    if isinstance(entry, dict):
        return [entry[key] for key in ("root", "file") if key in entry] + listed(list(entry.values()))
    if isinstance(entry, list):
        return [name for item in entry for name in listed(item)]
    return []


TOC = listed(yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8")))


def test_every_page_and_notebook_is_in_the_table_of_contents_once():
    files = [path.stem for path in BOOK.iterdir() if path.suffix in {".md", ".ipynb"}]
    assert sorted(TOC) == sorted(files)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_source_carries_no_outputs(name):
    for cell in nbformat.read(BOOK / name, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


OTHER_RECORDS = {"goal.ipynb", "hada.ipynb"}
"""Notebooks that show records of a related system, the same under every choice."""


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if name not in OTHER_RECORDS])
def test_a_notebook_has_the_common_parameters(name):
    assert set(run_notebook.parameters(nbformat.read(BOOK / name, as_version=4))) >= COMMON


# What is pinned


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def wanted() -> list[Requirement]:
    extras = project()["optional-dependencies"]
    return [Requirement(line) for lines in [project()["dependencies"], *extras.values()] for line in lines]


def pins() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


@pytest.mark.parametrize("requirement", wanted(), ids=lambda requirement: requirement.name)
def test_the_lock_pins_what_pyproject_asks_for(requirement):
    for pin in pins()[canonicalize_name(requirement.name)]:
        (version,) = pin.specifier
        assert version.operator == "=="
        assert requirement.specifier.contains(version.version, prereleases=True)


def test_every_line_of_the_lock_is_a_pin_and_none_an_address():
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        assert re.match(r"\s*#|[A-Za-z0-9._-]+==[^\s;]+(\s;.*)?$", line), line
        assert "://" not in line and "--" not in line.replace("# ", "")


def test_conda_installs_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    assert f"python{project()['requires-python']}" in environment["dependencies"]


def test_every_method_has_a_name_on_the_pages():
    assert style.NAMES.keys() == METHODS.keys()


def test_every_rule_of_the_style_sheet_is_closed():
    """A merge can lose a brace, and with it every rule that follows."""
    depth = 0
    for line in (BOOK / "_static" / "custom.css").read_text(encoding="utf-8").splitlines():
        assert not (line.startswith("/*") and depth), line
        depth += line.count("{") - line.count("}")
    assert depth == 0
