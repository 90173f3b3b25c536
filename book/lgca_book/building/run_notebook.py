"""Run one notebook of the book with papermill, strictly.

A page is only as good as the run behind it, so what papermill lets pass with a warning is an error here: a
parameter that the notebook does not have, a notebook without a cell tagged ``parameters``, anything on
stderr, and a path of this machine in an output. The executed copy is written whole or not at all.

The kernel is the Python that runs this module (no kernelspec of the user is read), and its working folder is
the notebook's own, so a relative path means the same here as in Jupyter opened on the source.

    python -m lgca_book.building.run_notebook book/table1.ipynb _build/executed/table1.ipynb -p profile full -p seeds 5

With ``--short TEXT`` the notebook is not run: the page says this text. With ``--failures FOLDER`` a page that fails
becomes such a page, what went wrong goes to the folder, and the command succeeds: one page does not keep the others
from being built.
"""

import argparse
import ast
import html
import json
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_markdown_cell

from lgca_book.building import exit_status
from lgca_book.building.short_page import short_page
from lgca_book.lacks import LacksError
from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import processor
from lgca_core.evaluation.provenance import library_versions
from lgca_core.files import write_whole

# The kernel's own noise, silenced at its source: progress bars, the debugger's remark about frozen modules.
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TQDM_DISABLE": "1",
}


def parameters(notebook: nbformat.NotebookNode, name: str = "the notebook") -> dict[str, str]:
    """Names and default expressions (source text) that the cell tagged ``parameters`` assigns.

    Raises:
        LgcaError: no cell, or more than one, carries the tag; or the cell is not plain assignments.
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise LgcaError(f"{name} has {len(cells)} cells tagged 'parameters': tag exactly one.")
    found = {}
    for statement in ast.parse(cells[0].source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=key)], value=value):
                found[key] = ast.unparse(value)
            case ast.AnnAssign(target=ast.Name(id=key), value=ast.expr() as value):
                found[key] = ast.unparse(value)
            case _:
                line = ast.unparse(statement)
                raise LgcaError(f"{name}: the parameters cell holds more than plain assignments: {line}")
    return found


def options(source: Path, values: Mapping[str, Any]) -> str:
    """Options of this module, such as ``-p seeds 5``, for the values whose parameters a notebook declares.

    Raises:
        LgcaError: no cell, or more than one, is tagged ``parameters``; or the cell is not plain assignments.
    """
    known = parameters(nbformat.read(source, as_version=4), str(source))
    return " ".join(f"-p {name} {shlex.quote(json.dumps(value))}" for name, value in values.items() if name in known)


def run(source: Path, target: Path, values: Mapping[str, Any]) -> None:
    """Execute ``source`` with ``values`` for its parameters and write the executed copy to ``target``.

    Raises:
        LacksError: the page lacks what it needs.
        LgcaError: an unknown parameter, a missing parameters cell, a cell that raised, or output that a page
            must not show. ``target`` is then left as it was.
    """
    if not source.is_file():
        raise LgcaError(f"{source} does not exist.")
    known = parameters(nbformat.read(source, as_version=4), str(source))
    if unknown := sorted(set(values) - set(known)):
        raise LgcaError(f"{source} has no parameter {', '.join(unknown)}; it has {', '.join(known)}.")

    started = time.perf_counter()
    executed = _execute(source, dict(values))
    seconds = time.perf_counter() - started
    for problem in _problems(executed):
        raise LgcaError(f"{source}: {problem}")

    # Of when and how long a reader needs one line, and not papermill's on every cell.
    executed.cells.append(new_markdown_cell(ran(seconds), id="ran"))
    executed.metadata.pop("papermill", None)
    for cell in executed.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    _write(executed, target)


def ran(seconds: float) -> str:
    """How long a page took, on what and with what, as its last line."""
    versions = library_versions()
    told = ", ".join(
        f"{name} {versions[name]}" for name in ("lgca-core", "torch", "open_clip_torch") if name in versions
    )
    return (
        f'<p class="ran">This page was computed in {max(seconds, 1):.0f} s on {html.escape(processor())} '
        f"({os.cpu_count()} processors), with Python {versions['python']}, {told}.</p>"
    )


def run_or_tell(source: Path, target: Path, values: Mapping[str, Any], failures: Path) -> None:
    """As :func:`run`; where that fails, a short page says so, and ``failures/<name>.txt`` what went wrong.

    A page that lacks what it needs says what that is, and has not failed.
    """
    file = failures / f"{target.stem}.txt"
    try:
        run(source, target, values)
    except LacksError as error:
        tell(source, target, f"**Not in this edition.** {error}.")
        file.unlink(missing_ok=True)
    except LgcaError as error:
        print(f"error: {error}", file=sys.stderr)
        write_whole(file, f"{error}\n".encode())
        tell(
            source,
            target,
            "**This page could not be made.** The records that it reads are kept in `results/`, and the next "
            f"`make reproduce` tries it again; what went wrong is in `_build/{failures.name}/{file.name}`.",
        )
    else:
        file.unlink(missing_ok=True)


def tell(source: Path, target: Path, said: str) -> None:
    """Write a short page in the place of a notebook's, with a text in Markdown."""
    _write(short_page(nbformat.read(source, as_version=4), said), target)


def _write(notebook: nbformat.NotebookNode, target: Path) -> None:
    """A page, written whole."""
    write_whole(target, nbformat.writes(notebook).encode())


def _execute(source: Path, values: dict[str, Any]) -> nbformat.NotebookNode:
    # Imported late: they take a second, and `parameters` above needs neither.
    import matplotlib.font_manager  # noqa: F401  builds the font cache here, not with a message inside a page
    import papermill
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    with tempfile.TemporaryDirectory() as folder:

        class ThisPython(AsyncKernelManager):
            """Knows one kernel, the interpreter that runs this module; speaks over files, not open ports."""

            transport = "ipc"
            connection_file = os.path.join(folder, "kernel")

            def _kernel_spec_manager_default(self) -> KernelSpecManager:
                return KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)

        # A fresh IPython profile, so that no start-up file of the user runs inside a page.
        os.environ.update(QUIET, IPYTHONDIR=folder)
        try:
            return papermill.execute_notebook(
                str(source),
                os.path.join(folder, "executed.ipynb"),
                parameters=values,
                kernel_name="python3",
                language="python",
                kernel_manager_class=ThisPython,
                extra_arguments=["--log-level=CRITICAL"],  # or it may report its own shutdown as an interrupt
                progress_bar=False,
                cwd=str(source.parent),
            )
        except papermill.PapermillExecutionError as error:
            if error.ename == LacksError.__name__:
                raise LacksError(error.evalue) from None
            trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))  # without its terminal colours
            where = f"{source}: cell {error.cell_index + 1}"
            raise LgcaError(f"{where} raised {error.ename}: {error.evalue}\n{trace}") from None


def _problems(notebook: nbformat.NotebookNode) -> Iterator[str]:
    private = {os.path.join(folder, "") for folder in (Path.cwd(), Path.home(), sys.prefix)} - {os.sep}
    for index, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                first = (output.text.strip().splitlines() or ["white space only"])[0]
                yield f"cell {index} wrote to stderr: {first}"
            shown = "\n".join(_texts(output))
            for path in private:
                if path in shown:
                    yield f"cell {index} shows a path of this machine ({path}): print a relative one."


def _texts(output: nbformat.NotebookNode) -> Iterator[str]:
    yield output.get("text", "")
    for kind, data in output.get("data", {}).items():
        if kind.startswith("text/"):
            yield data


def _value(text: str) -> Any:
    """``5``, ``true``, ``null``, ``["a", "b"]`` as JSON; anything else is a string."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main(arguments: list[str] | None = None) -> int:
    """Command line: exit status 2 and one sentence on stderr for every :class:`LgcaError`."""
    parser = argparse.ArgumentParser(prog="python -m lgca_book.building.run_notebook")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("-p", dest="values", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--short", metavar="TEXT", help="do not run it: the page says this")
    parser.add_argument("--failures", type=Path, metavar="FOLDER", help="where it is kept what went wrong")
    given = parser.parse_args(arguments)
    values = {name: _value(text) for name, text in given.values}
    if given.short is not None:
        return exit_status(lambda: tell(given.source, given.target, given.short))
    if given.failures is not None:
        return exit_status(lambda: run_or_tell(given.source, given.target, values, given.failures))
    return exit_status(lambda: run(given.source, given.target, values))


if __name__ == "__main__":
    raise SystemExit(main())
