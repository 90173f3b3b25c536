"""What a page and an evaluation depend on."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lgca_core import dependencies
from lgca_core.dependencies import PACKAGE, files, of_notebook
from lgca_core.errors import LgcaError


def names(paths) -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in paths}


def page(folder: Path, *code: str) -> Path:
    path = folder / "page.ipynb"
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("from lgca_core import wca"), *map(new_code_cell, code)]), path
    )
    return path


def test_a_module_depends_on_what_it_imports_and_on_what_these_do():
    assert names(files(["lgca_core.boxes"])) == {"boxes.py", "errors.py"}
    assert {"lgca.py", "wca.py", "views.py", "boxes.py"} <= names(files(["lgca_core.lgca"]))
    assert "lgca.py" not in names(files(["lgca_core.wca"]))
    assert "lgca.py" not in names(files(["lgca_core.pages.base"]))  # imported for its types alone


def test_an_import_inside_a_function_counts():
    assert "aviary/painter.py" in names(files(["lgca_core.aviary.splits"]))


def test_data_belong_to_the_module_that_reads_them():
    assert "aviary/weights.safetensors" in names(files(["lgca_core.encoder"]))
    assert {name for name in names(files(["lgca_core.published"])) if name.startswith("published_")} == {
        path.name for path in PACKAGE.glob("published_*.csv")
    }
    assert not any(name.endswith(".csv") for name in names(files(["lgca_core.lgca"])))


def test_all_data_of_the_package_belong_to_a_module():
    data = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".md", ".typed"} and path.parent.name != "__pycache__"
    }
    assert data == {path for globs in dependencies.DATA.values() for glob in globs for path in PACKAGE.glob(glob)}


def test_an_evaluation_does_not_depend_on_what_only_pages_use():
    needed = names(files(["lgca_core.cli.evaluate"]))
    assert {"lgca.py", "store.py", "methods/lazsl.py", "cli/options.py", "classes/pets.txt"} <= needed
    assert not {name for name in needed if name.startswith("pages/")}
    assert not {"lineage.py", "notebooks.py", "cli/results.py", "cli/datasets.py", "aviary/train.py"} & needed


def test_a_notebook_depends_on_what_it_imports(tmp_path):
    assert of_notebook(page(tmp_path, "import pandas")) == []
    assert names(of_notebook(page(tmp_path, "from lgca_core import draw_squares"))) == {"boxes.py", "errors.py"}
    assert names(of_notebook(page(tmp_path, "x = 1", "from lgca_core.boxes import iou"))) == {"boxes.py", "errors.py"}
    assert names(of_notebook(page(tmp_path, "from lgca_core import boxes"))) == {"boxes.py", "errors.py"}
    assert names(of_notebook(page(tmp_path, "import lgca_core.boxes as b"))) == {"boxes.py", "errors.py"}


def test_a_notebook_that_imports_what_is_not_there_is_named(tmp_path):
    with pytest.raises(LgcaError, match=r"page\.ipynb: there is no module lgca_core\.nothing"):
        of_notebook(page(tmp_path, "from lgca_core.nothing import more"))
