"""A page in a few lines, for a notebook that is not run: what it lacks, and all that other pages refer to."""

import ast
import html
import re

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

HIDDEN = "application/papermill.record/"
"""How `glue` marks what it keeps and does not show."""


def short_page(source: nbformat.NotebookNode, said: str) -> nbformat.NotebookNode:
    """A notebook's title, a text in Markdown, and its labelled headings and glued keys, so that no reference breaks."""
    markdown = "\n".join(cell.source + "\n" for cell in source.cells if cell.cell_type == "markdown")
    title = re.search(r"^# .+$", markdown, re.MULTILINE)
    labelled = re.findall(r"^(\([\w-]+\)=\n#+ .+)$", markdown, re.MULTILINE)
    cells = [new_markdown_cell(f"{title[0] if title else '# Not in this edition'}\n\n{said}", id="said")]
    cells += [
        new_markdown_cell(f"{heading}\n\n*Not in this edition.*", id=f"heading-{n}")
        for n, heading in enumerate(labelled)
    ]
    cells += [_glued(key, n) for n, key in enumerate(_glued_keys(source))]
    return nbformat.from_dict(source | {"cells": cells})


def _glued_keys(notebook: nbformat.NotebookNode) -> list[str]:
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    named = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "glue" and call.args]
    return list(dict.fromkeys(str(key.value) for key in named if isinstance(key, ast.Constant)))


def _glued(key: str, number: int) -> nbformat.NotebookNode:
    """A cell that is not shown and whose output is what `glue` keeps."""
    said = f"<em>Not in this edition: {html.escape(key)}.</em>"
    output = new_output(
        "display_data",
        {f"{HIDDEN}text/html": said, f"{HIDDEN}text/plain": f"Not in this edition: {key}."},
        metadata={"scrapbook": {"name": key, "mime_prefix": HIDDEN}},
    )
    return new_code_cell("", outputs=[output], metadata={"tags": ["remove-cell"]}, id=f"glued-{number}")
