"""What a page and an evaluation depend on."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lgca_book.building import dependencies
from lgca_book.building.dependencies import files, of_notebook
from lgca_core.errors import LgcaError
from support.shared import ROOT


def names(paths) -> set[str]:
    return {path.relative_to(ROOT).as_posix().removeprefix("book/") for path in paths}


def page(folder: Path, *code: str) -> Path:
    path = folder / "page.ipynb"
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("from lgca_core import wca"), *map(new_code_cell, code)]), path
    )
    return path


CORE = {"lgca_core/__init__.py", "lgca_core/boxes.py", "lgca_core/errors.py"}


def test_a_module_depends_on_what_it_imports_and_on_what_these_do():
    assert names(files(["lgca_core.boxes"])) == CORE | {"lgca_core/seeding.py"}
    needed = names(files(["lgca_core.lgca"]))
    assert {f"lgca_core/{name}" for name in ("lgca.py", "wca.py", "views.py", "pixels/cropping.py")} <= needed
    assert "lgca_core/lgca.py" not in names(files(["lgca_core.wca"]))
    assert "lgca_core/lgca.py" not in names(files(["lgca_book.style"]))  # imported for its types alone


def test_an_import_inside_a_function_counts():
    assert "lgca_core/aviary/painter.py" in names(files(["lgca_core.aviary.splits"]))


def test_so_do_the_packages_that_a_module_lies_in():
    """Importing the registry runs `encoders`, where the embedded encoder registers itself."""
    assert "lgca_core/encoders/embedded.py" in names(files(["lgca_core.encoders.registry"]))


def test_data_belong_to_the_module_that_reads_them():
    assert "lgca_core/encoders/weights/aviary-ViT-8.safetensors" in names(files(["lgca_core.encoders.embedded"]))
    tables = {f"lgca_core/evaluation/{path.name}" for path in ROOT.glob("lgca_core/evaluation/published_*.csv")}
    assert tables and tables <= names(files(["lgca_core.evaluation.paper_values"]))
    assert not any(name.endswith(".csv") for name in names(files(["lgca_core.boxes"])))


def test_all_data_of_the_packages_belong_to_a_module():
    data = {
        path
        for package in dependencies.PACKAGES.values()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".md", ".typed"} and path.parent.name != "__pycache__"
    }
    known = {path for module in dependencies.DATA for path in files([module]) if path.suffix != ".py"}
    assert data and data == known


def test_a_notebook_depends_on_what_it_imports(tmp_path):
    needed = CORE | {"lgca_core/seeding.py"}
    assert of_notebook(page(tmp_path, "import pandas")) == []
    assert names(of_notebook(page(tmp_path, "from lgca_core import draw_squares"))) == needed
    assert names(of_notebook(page(tmp_path, "x = 1", "from lgca_core.boxes import iou"))) == needed
    assert names(of_notebook(page(tmp_path, "from lgca_core import boxes"))) == needed
    assert names(of_notebook(page(tmp_path, "import lgca_core.boxes as b"))) == needed
    assert "lgca_book/style.py" in names(of_notebook(page(tmp_path, "from lgca_book import style")))


def test_a_notebook_that_imports_what_is_not_there_is_named(tmp_path):
    with pytest.raises(LgcaError, match=r"page\.ipynb: there is no module lgca_core\.nothing"):
        of_notebook(page(tmp_path, "from lgca_core.nothing import more"))
