"""Which files a page or an evaluation depends on, so that a change reruns what it can change and nothing else.

Imports are read, not run: those of functions count as well, those for a type checker alone do not.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import grimp
import nbformat

import lgca_core
from lgca_core.errors import LgcaError

PACKAGE = Path(__file__).parent

DATA: dict[str, tuple[str, ...]] = {
    "lgca_core.published": ("published_*.csv",),
    "lgca_core.prompt_files": ("prompt_files.csv",),
    "lgca_core.catalogue": ("classes/*",),
    "lgca_core.aviary.encoder": ("aviary/configs/*.json", "aviary/weights.safetensors"),
}
"""The files of the package that are not code, by the module that reads them."""


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("lgca_core", exclude_type_checking_imports=True, cache_dir=None)


def files(modules: Iterable[str]) -> list[Path]:
    """The files of the package behind modules: their own, those of all that they import, and the data these read.

    Raises:
        LgcaError: there is no such module.
    """
    needed: set[str] = set()
    for module in modules:
        if module not in _graph().modules:
            raise LgcaError(f"there is no module {module}")
        needed |= {module} | _graph().find_upstream_modules(module)
    found = {_file(module) for module in needed}
    found |= {path for module in needed & DATA.keys() for pattern in DATA[module] for path in PACKAGE.glob(pattern)}
    return sorted(found)


def of_notebook(path: Path) -> list[Path]:
    """The files of the package that a notebook depends on, itself not among them.

    Raises:
        LgcaError: it imports what is not there.
    """
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    try:
        return files(_imported(ast.parse(code)))
    except LgcaError as error:
        raise LgcaError(f"{path}: {error}") from None


def _file(module: str) -> Path:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _imported(tree: ast.Module) -> Iterator[str]:
    """Modules of the package; a public name of the package counts as the module that it lives in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "lgca_core")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lgca_core":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if node.module == "lgca_core" and alias.name in lgca_core.MODULES:
                    yield f"lgca_core.{lgca_core.MODULES[alias.name]}"
                else:
                    yield inner if inner in _graph().modules else node.module
