"""How a notebook is run, and what decides whether the graph runs it again."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lgca_book.building import run_notebook
from lgca_core.errors import LgcaError
from support.shared import ROOT

BOOK = ROOT / "book"


def notebook(folder: Path, *sources: str, tags: tuple[str, ...] = ("parameters",)) -> Path:
    """A notebook whose first cell carries ``tags``."""
    cells = [new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = list(tags)
    path = folder / "small.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Small"), *cells]), path)
    return path


def shown(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.text for cell in cells for output in cell.get("outputs", []))


def test_parameters_reach_the_notebook_with_their_types(tmp_path):
    defaults = "seeds = 5\nmethods = ['wca']\nprofile: str = 'embedded'"
    source = notebook(tmp_path, defaults, "print(seeds + 1, methods, profile)")
    given = ["-p", "seeds", "2", "-p", "methods", '["a", "b"]', "-p", "profile", "full"]
    assert run_notebook.main([str(source), str(tmp_path / "out" / "small.ipynb"), *given]) == 0
    assert shown(tmp_path / "out" / "small.ipynb") == "3 ['a', 'b'] full\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.ipynb"]


def test_a_notebook_is_given_the_values_that_it_declares(tmp_path):
    source = notebook(tmp_path, "seeds = 5\nmethods = ['wca']", "print(seeds, methods)")
    given = run_notebook.options(source, {"seeds": 2, "methods": ["a b"], "records": "unknown here"})
    assert shlex.split(given) == ["-p", "seeds", "2", "-p", "methods", '["a b"]']
    assert run_notebook.options(source, {"records": "unknown here"}) == ""


def test_the_working_folder_and_the_python_are_the_notebooks_own(tmp_path, monkeypatch):
    impostor = tmp_path / "jupyter" / "kernels" / "python3"
    impostor.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "broken", "language": "python"}
    (impostor / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    check = "import os, sys\nprint(os.path.exists('small.ipynb'), sys.executable == python)"
    source = notebook(tmp_path, f"python = {sys.executable!r}", check)
    run_notebook.run(source, tmp_path / "out.ipynb", {})
    assert shown(tmp_path / "out.ipynb") == "True True\n"


@pytest.mark.parametrize(
    ("sources", "tags", "given", "message"),
    [
        (["seeds = 5"], ["parameters"], ["-p", "seed", "3"], "no parameter seed; it has seeds"),
        (["seeds = 5"], [], [], "0 cells tagged 'parameters'"),
        (["import os"], ["parameters"], [], "more than plain assignments: import os"),
        (["seeds = 5", "1 / 0"], ["parameters"], [], "cell 3 raised ZeroDivisionError"),
        (["seeds = 5", "import warnings\nwarnings.warn('oops')"], ["parameters"], [], "UserWarning: oops"),
        (["seeds = 5", "import sys\nsys.stderr.write(' \\n')"], ["parameters"], [], "to stderr: white space only"),
        (["seeds = 5", "import sys\nsys.prefix + '/lib'"], ["parameters"], [], "cell 3 shows a path of this"),
    ],
)
def test_what_a_page_must_not_show_is_refused(tmp_path, capsys, sources, tags, given, message):
    source, target = notebook(tmp_path, *sources, tags=tuple(tags)), tmp_path / "out.ipynb"
    assert run_notebook.main([str(source), str(target), *given]) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"error: {source}") and message in first
    assert not target.exists()


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(LgcaError, match=r"absent\.ipynb does not exist"):
        run_notebook.run(tmp_path / "absent.ipynb", tmp_path / "out.ipynb", {})


@pytest.fixture
def graph(tmp_path):
    """A copy of the graph with a page and a small notebook; a call runs what is due."""
    for name in ("Snakefile", "_config.yml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "lgca_core", tmp_path / "lgca_core", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BOOK / "lgca_book", tmp_path / "book" / "lgca_book", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BOOK / "_static", tmp_path / "book" / "_static")
    shutil.copy(BOOK / "experiments.yaml", tmp_path / "book")
    (tmp_path / "book" / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n- file: small\n")
    (tmp_path / "book" / "intro.md").write_text("# Start\n")
    (tmp_path / "book" / "references.bib").touch()
    notebook(tmp_path / "book", "seeds = 5", "from lgca_core import whole\nprint(whole(2, 3).tolist())")

    def steps() -> set[str]:
        targets = ["_build/executed/small.ipynb", "_build/executed/intro.md"]
        command = [Path(sys.executable).with_name("snakemake"), *targets, "--cores", "1", "--nolock"]
        environment = {
            **os.environ,
            "PYTHONPATH": f"{tmp_path}:{tmp_path / 'book'}",
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return set(re.findall(r"^(copy|notebook)\s+\d+$", done.stderr + done.stdout, re.MULTILINE))

    steps.root = tmp_path
    return steps


@pytest.mark.slow
def test_content_and_not_time_decides_what_runs_again(graph):
    assert graph() == {"copy", "notebook"}
    for path in graph.root.rglob("*"):
        if path.is_file() and "_build" not in path.parts and ".snakemake" not in path.parts:
            os.utime(path)
    assert graph() == set()
    (graph.root / "book" / "intro.md").write_text("# Start again\n")
    assert graph() == {"copy"}
    runner = "book/lgca_book/building/run_notebook.py"
    for changed, line, due in (
        ("lgca_core/lgca.py", "changed = 1", set()),
        ("lgca_core/boxes.py", "# changed", set()),
        ("lgca_core/boxes.py", "changed = 1", {"notebook"}),
        (runner, "changed = 1", {"notebook"}),
    ):
        with (graph.root / changed).open("a") as file:
            file.write(f"\n{line}\n")
        assert graph() == due
