"""What a page and an evaluation depend on."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lgca_book.building import dependencies
from lgca_book.building.dependencies import code_of_notebook, files, of_evaluations, of_notebook
from lgca_core.errors import LgcaError
from lgca_core.evaluation.code_digest import digest_of_code
from support.shared import ROOT


def names(paths) -> set[str]:
    return {path.relative_to(ROOT).as_posix().removeprefix("book/") for path in paths}


def page(folder: Path, *code: str) -> Path:
    path = folder / "page.ipynb"
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("from lgca_core import wca"), *map(new_code_cell, code)]), path
    )
    return path


CORE = {f"lgca_core/{name}.py" for name in ("__init__", "boxes", "errors", "kinds/__init__")}


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
    data = {ROOT / "book" / "experiments.yaml"} | {
        path
        for package in dependencies.PACKAGES.values()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyi", ".md", ".typed"} and path.parent.name != "__pycache__"
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


def test_a_change_reaches_only_the_pages_that_depend_on_it():
    pages = {path.stem: names(of_notebook(path)) for path in (ROOT / "book").glob("*.ipynb")}

    def readers(name: str) -> set[str]:
        return {page for page, needed in pages.items() if name in needed}

    assert readers("lgca_book/studies/explorer_data.py") == {"figure2"}
    assert "figure1" in readers("lgca_book/studies/crop_ancestry.py") < pages.keys()
    assert readers("lgca_core/lgca.py").isdisjoint({"cards", "speed", "table1"})  # Table 1 reads what came of it
    assert readers("lgca_book/style.py") == pages.keys()


@pytest.mark.parametrize(("changed", "counts"), [("run_notebook.py", True), ("boxes.py", True), ("lgca.py", False)])
def test_the_code_of_a_notebook_is_what_it_imports_and_what_runs_it(tmp_path, monkeypatch, changed, counts):
    small = page(tmp_path, "from lgca_core import draw_squares")
    before = code_of_notebook(small)
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, **how: read(path, **how) + "x = 1\n" * (path.name == changed))
    assert (code_of_notebook(small) != before) == counts


def test_every_pattern_of_measuring_files_finds_some():
    core = dependencies.PACKAGES["lgca_core"]
    assert all(list(core.glob(pattern)) for pattern in dependencies.MEASURING)


def test_an_evaluation_depends_on_what_measures_and_not_on_what_times_trains_or_prints():
    needed = names(of_evaluations())
    assert {f"lgca_core/{name}" for name in ("views.py", "data/classes/pets.txt", "prompts/published.csv")} < needed
    assert "lgca_core/encoders/weights/aviary-ViT-8.safetensors" in needed and "lgca_core/aviary/painter.py" in needed
    assert not any(name.startswith("lgca_core/bench/") for name in needed)
    assert {"lgca_core/aviary/train.py", "lgca_core/cli/output.py", "lgca_core/README.md"}.isdisjoint(needed)


@pytest.fixture
def core(tmp_path) -> Path:
    """A copy of the core, which may be changed."""
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(dependencies.PACKAGES["lgca_core"], tmp_path / "lgca_core", ignore=ignored)


@pytest.mark.parametrize(
    ("file", "old", "new", "again"),
    [
        ("views.py", '"""', '"""Said otherwise: ', False),
        ("views.py", "\n\n\ndef ", "\n\n\n# A comment.\ndef ", False),
        ("views.py", "def encode(", "def encode_all(", True),
        ("evaluation/store/keys.py", "FEATURES = 1", "FEATURES = 2", True),
        ("data/classes/pets.txt", "a", "b", True),
        ("aviary/train.py", "import", "x = 1\nimport", False),
        ("cli/output.py", "import", "x = 1\nimport", False),
    ],
)
def test_code_and_data_make_an_evaluation_run_again_and_words_do_not(core, file, old, new, again):
    before = digest_of_code(of_evaluations(core))
    text = (core / file).read_text(encoding="utf-8")
    assert old in text
    (core / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert (digest_of_code(of_evaluations(core)) != before) == again


def test_a_new_module_makes_evaluations_run_again(core):
    before = digest_of_code(of_evaluations(core))
    (core / "pixels" / "more.py").write_text("x = 1\n", encoding="utf-8")
    assert digest_of_code(of_evaluations(core)) != before
