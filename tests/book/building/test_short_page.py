"""A page that is not run, or fails, or lacks something: it says so, and nothing that others refer to is missing."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lgca_book.building import run_notebook
from lgca_book.building.short_page import HIDDEN, short_page
from lgca_core.errors import LgcaError
from support.shared import ROOT


def notebook(folder, *sources: str):
    cells = [new_code_cell("seeds = 5", metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
    path = folder / "small.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Small\n\nIt shows much."), *cells]), path)
    return path


def said_in(path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize(
    ("name", "labels", "keys"),
    [
        ("table1", ["table1-published"], ["headline", "bias"]),
        ("significance", [], ["answer", "status"]),
        ("figure3", [], []),
    ],
)
def test_a_short_page_has_its_title_and_all_that_other_pages_refer_to(name, labels, keys):
    source = nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4)
    page = short_page(source, "**Nothing yet.**")
    nbformat.validate(page)
    markdown = [cell.source for cell in page.cells if cell.cell_type == "markdown"]
    title = source.cells[0].source.splitlines()[0]
    assert markdown[0] == f"{title}\n\n**Nothing yet.**"
    assert [text.partition(")=")[0].strip("(") for text in markdown[1:]] == labels
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    assert [output.metadata["scrapbook"]["name"] for output in outputs] == keys
    assert all(kind.startswith(HIDDEN) for output in outputs for kind in output.data)


def test_a_page_that_fails_says_so_and_does_not_end_the_build(tmp_path, capsys):
    source, target = notebook(tmp_path, "1 / 0"), tmp_path / "out" / "small.ipynb"
    words = [str(source), str(target), "--failures", str(tmp_path / "failed")]
    assert run_notebook.main(words) == 0
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert "could not be made" in said_in(target) and "failed/small.txt" in said_in(target)
    assert "ZeroDivisionError" in (tmp_path / "failed" / "small.txt").read_text()
    notebook(tmp_path, "print(seeds)")
    assert run_notebook.main(words) == 0
    assert "could not" not in said_in(target)
    assert list((tmp_path / "failed").iterdir()) == []


def test_a_page_that_lacks_something_says_what_and_has_not_failed(tmp_path, capsys):
    code = "from lgca_book.lacks import needs\nneeds(seeds > 5, 'Small', 'more seeds')"
    source, target = notebook(tmp_path, code), tmp_path / "out" / "small.ipynb"
    assert run_notebook.main([str(source), str(target), "--failures", str(tmp_path / "failed")]) == 0
    assert "**Not in this edition.** Small needs more seeds." in said_in(target)
    assert not (tmp_path / "failed").exists()
    target.unlink()
    assert run_notebook.main([str(source), str(target)]) == 2  # alone, it ends with the sentence
    assert capsys.readouterr().err == "error: Small needs more seeds\n"
    with pytest.raises(LgcaError, match=r"^Small needs more seeds$"):
        run_notebook.run(source, target, {})


def test_a_page_without_records_is_not_run(tmp_path):
    source, target = notebook(tmp_path, "1 / 0"), tmp_path / "out" / "small.ipynb"
    assert run_notebook.main([str(source), str(target), "--short", "**Not yet.** Make `it`."]) == 0
    assert said_in(target) == "# Small\n\n**Not yet.** Make `it`."
