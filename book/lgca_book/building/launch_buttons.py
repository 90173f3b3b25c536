"""What the book needs to be published: its edition and launch buttons, and notebooks that set themselves up.

    python -m lgca_book.building.launch_buttons config _config.yml _build/config.yml --repository https://github.com/OWNER/NAME
    python -m lgca_book.building.launch_buttons notebooks _build/executed book --repository https://github.com/OWNER/NAME

Without a repository the configuration is as it is, and the book has no launch buttons: nothing to launch from.
"""

import argparse
import html
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat.v4 import new_code_cell

from lgca_book.building import exit_status
from lgca_core.errors import LgcaError
from lgca_core.evaluation.provenance import code_version
from lgca_core.files import draft_of, write_whole

BRANCH = "notebooks"
"""Holds the executed notebooks, each with a cell that sets it up, and the records that they read."""

LAUNCHERS = {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org"}


def edition() -> str:
    """Which book this is: the version, and the commit that it was built from."""
    commit, changed = code_version()
    told = "" if commit is None else f", commit {commit[:10]}{' with changes' if changed else ''}"
    return f"LGCA companion {metadata.version('lgca-core')}{told}"


def configuration(base: dict[str, Any], repository: str | None) -> dict[str, Any]:
    """Jupyter Book's configuration with the edition below every page, and the buttons that a repository allows.

    Raises:
        LgcaError: the address is not one of a GitHub repository.
    """
    made = base | {"html": base["html"] | {"extra_footer": f'<p class="edition">{html.escape(edition())}</p>'}}
    if repository is None:
        return made
    address = _checked(repository)
    return made | {
        "repository": {"url": address, "branch": BRANCH, "path_to_book": "book"},
        "launch_buttons": base.get("launch_buttons", {}) | LAUNCHERS,
        "html": made["html"] | {"use_repository_button": True, "use_issues_button": True},
    }


def launchable(notebook: nbformat.NotebookNode, repository: str) -> nbformat.NotebookNode:
    """An executed notebook with a first cell that brings the companion and goes to where the notebook lies."""
    address = _checked(repository)
    folder = address.rsplit("/", 1)[1]
    source = (
        "# Run this first on Colab. Binder and a checkout have it all: leave it out there.\n"
        f"!git clone --quiet --depth 1 --branch {BRANCH} {address}\n"
        f'%pip install --quiet -e "{folder}[book]"\n'
        f"%cd {folder}/book"
    )
    cell = new_code_cell(source, metadata={"tags": ["remove-cell"]}, id="set-up")
    return nbformat.from_dict(notebook | {"cells": [cell, *notebook.cells]})


def _write_configuration(source: Path, target: Path, repository: str | None) -> None:
    made = configuration(yaml.safe_load(source.read_text(encoding="utf-8")), repository)
    write_whole(target, yaml.safe_dump(made, sort_keys=False).encode())


def _write_notebooks(source: Path, target: Path, repository: str | None) -> None:
    if repository is None:
        raise LgcaError("notebooks are published from a repository: give --repository")
    paths = sorted(source.glob("*.ipynb"))
    if not paths:
        raise LgcaError(f"{source} holds no notebooks: give the folder of the executed ones")
    if not target.is_dir():
        raise LgcaError(f"{target} is no folder: give the one that the notebooks go to")
    for path in paths:
        with draft_of(target / path.name) as draft:
            nbformat.write(launchable(nbformat.read(path, as_version=4), repository), draft)


def _checked(repository: str) -> str:
    address = repository.removesuffix("/").removesuffix(".git")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise LgcaError(f"the repository must be like https://github.com/OWNER/NAME, not {repository!r}")
    return address


def main(arguments: list[str] | None = None) -> int:
    """Command line: exit status 2 and one sentence on stderr for every :class:`LgcaError`."""
    parser = argparse.ArgumentParser(
        prog="python -m lgca_book.building.launch_buttons", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("what", choices=["config", "notebooks"])
    parser.add_argument("source", type=Path, help="the configuration, or the folder of executed notebooks")
    parser.add_argument("target", type=Path, help="where to write it, or the folder for the notebooks")
    parser.add_argument("--repository", metavar="URL", help="of the book on GitHub")
    options = parser.parse_args(arguments)
    write = _write_configuration if options.what == "config" else _write_notebooks
    return exit_status(lambda: write(options.source, options.target, options.repository))


if __name__ == "__main__":
    raise SystemExit(main())
