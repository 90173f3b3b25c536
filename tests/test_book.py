"""The book and its platform: what is listed and pinned, how notebooks run, how pages behave in a browser."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from functools import partial
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lgca_core import notebooks
from lgca_core.errors import LgcaError

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
HTML = ROOT / "_build" / "html"
NOTEBOOKS = sorted(path.name for path in BOOK.glob("*.ipynb"))
COMMON = {"profile", "encoder", "datasets", "methods", "seeds", "records"}


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


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_the_common_parameters(name):
    assert set(notebooks.parameters(nbformat.read(BOOK / name, as_version=4))) >= COMMON


# What is pinned


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def wanted() -> list[Requirement]:
    extras = {name: lines for name, lines in project()["optional-dependencies"].items() if name != "cluster"}
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


# How a notebook is run


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
    assert notebooks.main([str(source), str(tmp_path / "out" / "small.ipynb"), *given]) == 0
    assert shown(tmp_path / "out" / "small.ipynb") == "3 ['a', 'b'] full\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.ipynb"]


def test_the_working_folder_and_the_python_are_the_notebooks_own(tmp_path, monkeypatch):
    impostor = tmp_path / "jupyter" / "kernels" / "python3"
    impostor.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "broken", "language": "python"}
    (impostor / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    check = "import os, sys\nprint(os.path.exists('small.ipynb'), sys.executable == python)"
    source = notebook(tmp_path, f"python = {sys.executable!r}", check)
    notebooks.run(source, tmp_path / "out.ipynb", {})
    assert shown(tmp_path / "out.ipynb") == "True True\n"


@pytest.mark.parametrize(
    ("sources", "tags", "given", "message"),
    [
        (["seeds = 5"], ["parameters"], ["-p", "seed", "3"], "no parameter seed; it has seeds"),
        (["seeds = 5"], [], [], "0 cells tagged 'parameters'"),
        (["import os"], ["parameters"], [], "more than plain assignments: import os"),
        (["seeds = 5", "1 / 0"], ["parameters"], [], "cell 3 raised ZeroDivisionError"),
        (["seeds = 5", "import warnings\nwarnings.warn('oops')"], ["parameters"], [], "UserWarning: oops"),
        (["seeds = 5", "import sys\nsys.prefix + '/lib'"], ["parameters"], [], "cell 3 shows a path of this"),
    ],
)
def test_what_a_page_must_not_show_is_refused(tmp_path, capsys, sources, tags, given, message):
    source, target = notebook(tmp_path, *sources, tags=tuple(tags)), tmp_path / "out.ipynb"
    assert notebooks.main([str(source), str(target), *given]) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"error: {source}") and message in first
    assert not target.exists()


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(LgcaError, match=r"absent\.ipynb does not exist"):
        notebooks.run(tmp_path / "absent.ipynb", tmp_path / "out.ipynb", {})


# What decides whether a step runs again


@pytest.fixture
def graph(tmp_path):
    """A copy of the graph with a page, a small notebook and little of the core; a call runs what is due."""
    for name in ("Snakefile", "_config.yml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "lgca_core").mkdir()
    for name in ("__init__.py", "errors.py", "notebooks.py"):
        shutil.copy(ROOT / "lgca_core" / name, tmp_path / "lgca_core")
    shutil.copytree(BOOK / "_static", tmp_path / "book" / "_static")
    (tmp_path / "book" / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n- file: small\n")
    (tmp_path / "book" / "intro.md").write_text("# Start\n")
    (tmp_path / "book" / "references.bib").touch()
    notebook(tmp_path / "book", "seeds = 5", "print(seeds)")

    def steps() -> set[str]:
        targets = ["_build/executed/small.ipynb", "_build/executed/intro.md"]
        command = [Path(sys.executable).with_name("snakemake"), *targets, "--cores", "1", "--nolock"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return set(re.findall(r"^(copy|notebook)\s+\d+$", done.stderr + done.stdout, re.MULTILINE))

    steps.root = tmp_path
    return steps


def test_content_and_not_time_decides_what_runs_again(graph):
    assert graph() == {"copy", "notebook"}
    for path in graph.root.rglob("*"):
        if path.is_file() and "_build" not in path.parts and ".snakemake" not in path.parts:
            os.utime(path)
    assert graph() == set()
    (graph.root / "book" / "intro.md").write_text("# Start again\n")
    assert graph() == {"copy"}
    (graph.root / "lgca_core" / "errors.py").open("a").write("\n# changed\n")
    assert graph() == {"notebook"}


# The built pages in a browser

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
built = pytest.mark.skipif(not (HTML / "index.html").exists(), reason="no built book: run `make book` first")
browsed = pytest.mark.skipif(BROWSER is None, reason="no chromium and no google-chrome on this machine")


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def addresses():
    """The two ways to open the book: from disk, and from a server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(HTML))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"file": HTML.as_uri(), "http": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield browser
        browser.close()


@built
@browsed
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("page_name", [*TOC, "search", "genindex"])
def test_a_page_reads_offline_without_complaint(addresses, chromium, page_name, width):
    way = "file" if width == 400 else "http"
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme="dark")
    page = context.new_page()
    complaints = []
    home = (addresses[way], "data:", "blob:")
    page.on("console", lambda said: said.type in {"error", "warning"} and complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(home) or complaints.append(f"asked: {asked.url}"))
    page.on("requestfailed", lambda asked: complaints.append(f"failed: {asked.url}"))
    page.on("response", lambda got: got.status < 400 or complaints.append(f"{got.status}: {got.url}"))
    page.goto(f"{addresses[way]}/{page_name}.html", wait_until="networkidle")
    if page.locator(".math").count():
        page.wait_for_selector("mjx-container svg", state="attached")
        assert page.locator("mjx-merror").count() == 0
    scrolled = page.evaluate("document.scrollingElement.scrollWidth")
    images = page.locator("article img").evaluate_all("all => all.map(i => [i.src, i.alt.trim(), i.naturalWidth])")
    context.close()
    assert complaints == []
    assert scrolled <= width
    for source, alt, natural_width in images:
        assert natural_width, source
        assert alt and not alt.endswith((".png", ".svg")), f"{source}: set mystnb.image.alt in the cell's metadata"


@built
def test_the_site_stays_small():
    assert sum(path.stat().st_size for path in HTML.rglob("*") if path.is_file()) < 30e6


@built
def test_pages_carry_no_error_output_and_no_path_of_this_machine():
    for path in HTML.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'class="output stderr' not in text and 'class="output traceback' not in text, path.name
        assert f"{ROOT}/" not in text and f"{Path.home()}/" not in text, path.name
