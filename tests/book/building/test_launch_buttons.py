"""Launch buttons and notebooks that set themselves up; the workflows that publish them."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lgca_book.building import launch_buttons
from lgca_core.errors import LgcaError
from support.shared import ROOT

CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
REPOSITORY = "https://github.com/somebody/lgca"


def test_without_a_repository_nothing_can_be_launched():
    made = launch_buttons.configuration(CONFIG, None)
    assert made | {"html": CONFIG["html"]} == CONFIG and made["html"] | {"extra_footer": ""} == CONFIG["html"]
    assert not {"colab_url", "binderhub_url"} & CONFIG["launch_buttons"].keys() and "repository" not in CONFIG


@pytest.mark.parametrize("written", [REPOSITORY, REPOSITORY + "/", REPOSITORY + ".git"])
def test_a_repository_brings_the_buttons_and_changes_nothing_else(written):
    made = launch_buttons.configuration(CONFIG, written)
    assert made["repository"] == {"url": REPOSITORY, "branch": "notebooks", "path_to_book": "book"}
    assert {"colab_url", "binderhub_url"} <= made["launch_buttons"].keys()
    assert made["html"]["use_repository_button"] and made["html"]["favicon"] == CONFIG["html"]["favicon"]
    assert made["sphinx"] == CONFIG["sphinx"]


def test_the_buttons_are_on_the_page(tmp_path):
    """In the site that Jupyter Book makes of the configuration; without a repository there are none."""
    pages = {}
    for named in (None, REPOSITORY):
        folder = tmp_path / str(bool(named))
        (folder / "book" / "_static").mkdir(parents=True)
        (folder / "book" / "_extra").mkdir()
        shutil.copy(ROOT / "book" / "_static" / "logo.svg", folder / "book" / "_static")
        shutil.copy(ROOT / "book" / "references.bib", folder / "book")
        nbformat.write(new_notebook(cells=[new_markdown_cell("# A page")]), folder / "book" / "page.ipynb")
        (folder / "book" / "_toc.yml").write_text("format: jb-book\nroot: page\n")
        (folder / "config.yml").write_text(yaml.safe_dump(launch_buttons.configuration(CONFIG, named), sort_keys=False))
        book = Path(sys.executable).with_name("jupyter-book")
        words = ["build", folder / "book", "--config", folder / "config.yml", "--path-output", folder, "-q"]
        subprocess.run([book, *words], check=True, capture_output=True)
        pages[named] = (folder / "_build" / "html" / "page.html").read_text(encoding="utf-8")
    for place in ("colab.research.google.com/github", "mybinder.org/v2/gh"):
        [button] = re.findall(rf'href="https://{place}[^"]*"', pages[REPOSITORY])
        assert "somebody/lgca/" in button and "/notebooks" in button and "book/page.ipynb" in button
        assert place not in pages[None]
    assert f'href="{REPOSITORY}"' in pages[REPOSITORY] and "https://github.com" not in pages[None]
    version = metadata.version("lgca-core")
    assert all(f'<p class="edition">LGCA companion {version}' in page for page in pages.values())
    assert all("logo.svg" in page and "page.ipynb" in page for page in pages.values())  # the rest stays: download, logo


@pytest.mark.parametrize(
    "wrong", ["somebody/lgca", "http://github.com/a/b", "https://example.org/a/b", f"{REPOSITORY}/x"]
)
def test_another_address_is_refused(wrong):
    with pytest.raises(LgcaError, match=re.escape("must be like https://github.com/OWNER/NAME")):
        launch_buttons.configuration(CONFIG, wrong)


def test_a_launched_notebook_sets_itself_up_first(tmp_path):
    (tmp_path / "made").mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), tmp_path / "page.ipynb")
    words = ["notebooks", str(tmp_path), str(tmp_path / "made"), "--repository", REPOSITORY]
    assert launch_buttons.main(words) == 0
    notebook = nbformat.read(tmp_path / "made" / "page.ipynb", as_version=4)
    nbformat.validate(notebook)
    first, second = notebook.cells
    assert second.source == "1 + 1" and "remove-cell" in first.metadata.tags
    for line in (f"--branch notebooks {REPOSITORY}", '-e "lgca[book]"', "%cd lgca/book"):
        assert line in first.source


def test_notebooks_without_a_repository_are_refused(tmp_path, capsys):
    assert launch_buttons.main(["notebooks", str(tmp_path), str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: notebooks are published from a repository: give --repository\n"


@pytest.mark.parametrize(
    ("source", "target", "said"), [("empty", "pages", "empty holds no notebooks"), ("pages", "absent", "absent is no")]
)
def test_folders_that_notebooks_cannot_come_from_or_go_to_are_refused(tmp_path, capsys, source, target, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "pages").mkdir()
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), tmp_path / "pages" / "page.ipynb")
    words = ["notebooks", str(tmp_path / source), str(tmp_path / target), "--repository", REPOSITORY]
    assert launch_buttons.main(words) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "absent").exists()


def test_the_workflows_are_valid():
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    tool = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [tool, "--builtin-schema", "vendor.github-workflows", *files], capture_output=True, text=True, check=False
    )
    assert files and done.returncode == 0, done.stdout + done.stderr


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def changed(folder: Path, files: dict[str, str], message: str) -> None:
    """Writes files, commits and pushes them."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", message)
    git(folder, "push", "-q", "origin", "HEAD:main")


def test_the_records_of_a_full_run_go_on_top_of_what_the_branch_became(tmp_path):
    """The scripts of the workflow, while others push."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "full.yml").read_text(encoding="utf-8"))
    [pack] = [step["run"] for step in workflow["jobs"]["evaluate"]["steps"] if step.get("name", "").startswith("Pack")]
    [commit] = [step["run"] for step in workflow["jobs"]["commit"]["steps"] if "run" in step]
    git(tmp_path, "init", "-q", "--bare", "--initial-branch=main", "origin")
    for name in ("runner", "committer", "somebody"):
        git(tmp_path, "clone", "-q", "origin", name)
        if name == "runner":
            changed(tmp_path / name, {"results/README.md": "old", "results/a/record.json": "old"}, "first")

    (tmp_path / "runner" / "results" / "a" / "record.json").write_text("new")
    (tmp_path / "runner" / "results" / "a b").mkdir()
    (tmp_path / "runner" / "results" / "a b" / "record.json").write_text("made")
    changed(tmp_path / "somebody", {"results/README.md": "edited"}, "before the commit job")
    git(tmp_path / "committer", "pull", "-q")
    changed(tmp_path / "somebody", {"code.py": "moved"}, "during the commit job")
    (tmp_path / "committer" / "packed").mkdir()

    environment = os.environ | {"DATASETS": "a", "ENCODERS": "b", "GITHUB_REF_NAME": "main"}
    for script, folder in ((pack, "runner"), (commit, "committer")):
        words = ["bash", "-e", "-c", script]
        done = subprocess.run(words, cwd=tmp_path / folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if folder == "runner":
            shutil.move(tmp_path / "runner" / "records.tar", tmp_path / "committer" / "packed")

    git(tmp_path / "somebody", "pull", "-q", "origin", "main")
    there = {str(path.relative_to(tmp_path / "somebody")) for path in (tmp_path / "somebody" / "results").rglob("*.*")}
    assert there == {"results/README.md", "results/a/record.json", "results/a b/record.json"}
    texts = [(tmp_path / "somebody" / name).read_text() for name in ("results/README.md", "results/a/record.json")]
    assert texts == ["edited", "new"] and (tmp_path / "somebody" / "code.py").is_file()
    assert git(tmp_path / "somebody", "log", "-1", "--format=%s").strip() == "Records of a with b"
