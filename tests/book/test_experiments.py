"""The file of the book's experiments: what it names exists, and a slip in it is named."""

import re
import subprocess
import sys

import nbformat
import pytest
import yaml

from lgca_book.building.contents import names_in
from lgca_book.experiments import FILE, experiments, read
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA
from lgca_core.methods import check_methods
from support.shared import ROOT


def test_every_page_is_in_the_table_of_contents_and_those_that_read_records_are_in_the_file():
    listed = names_in(ROOT / "book" / "_toc.yml")
    assert experiments().pages.keys() <= set(listed)
    for path in (ROOT / "book").glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        code = "\n".join(cell.source for cell in cells if "parameters" not in cell.metadata.get("tags", []))
        reads = re.search(r"\b(load_all|read_all|records_in)\(", code)
        own = experiments().page(path.stem)
        assert not reads or own.reads or own.shows, path.stem


def test_every_method_of_the_file_exists():
    for evaluation in experiments().embedded.values():
        check_methods(evaluation.methods)
    for sweep in experiments().sweeps.values():
        check_methods(sweep.methods)
    check_methods(experiments().full.methods + experiments().full.peers)


def test_crops_that_are_never_expanded_are_those_that_lgca_expands():
    low, high = LGCA().range()
    for name in ("lgca", "lgca-equal"):
        assert f"{name}:steps=0:start={low!r}-{high!r}" in experiments().sweeps["ablation"].methods


SMALL = {"dataset": "aviary", "methods": ["clip"], "seeds": 1, "n": 1, "device": "cpu"}


@pytest.mark.parametrize(
    ("section", "entry", "value", "named"),
    [
        ("pages", "table1", {"raeds": ["aviary"]}, "raeds"),
        ("pages", "table1", {"reads": ["aviary-nihgt"]}, "table1 wants aviary-nihgt"),
        ("embedded", "aviary", SMALL | {"seeds": 0}, "embedded.aviary.seeds"),
        ("embedded", "more", SMALL | {"after": "avairy"}, "more wants avairy"),
    ],
)
def test_a_slip_in_the_file_is_named(tmp_path, section, entry, value, named):
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    content[section][entry] = value
    (tmp_path / "experiments.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(LgcaError, match=named):
        read(tmp_path / "experiments.yaml")


def test_reading_the_file_loads_no_drawing_and_no_torch():
    code = "import sys; from lgca_book.planning import plan; plan({}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"matplotlib", "nbformat", "torch"}.isdisjoint(done.stdout.split())
