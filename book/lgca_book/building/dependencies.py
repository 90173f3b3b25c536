"""Which files pages and evaluations depend on, so that a change reruns what it can change and nothing else.

An evaluation depends on a list of folders, a page on what it imports. Imports are read, not run: those of functions
count as well, those for a type checker alone do not. Importing a module runs the packages that it lies in, so these
count too.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import grimp
import nbformat

import lgca_book
import lgca_core
from lgca_core.errors import LgcaError
from lgca_core.evaluation.code_digest import digest_of_code

PACKAGES = {package.__name__: Path(str(package.__file__)).parent for package in (lgca_core, lgca_book)}

DATA: dict[str, str] = {
    "lgca_book.experiments": "../experiments.yaml",
    "lgca_core.data.class_names": "classes/*",
    "lgca_core.encoders.embedded": "weights/*",
    "lgca_core.evaluation.paper_values": "published_*.csv",
    "lgca_core.prompts.published": "published.csv",
    "lgca_core.related.goal.published": "published.csv",
    "lgca_core.related.hada.published": "published.csv",
}
"""The files that are not code, by the module that lies beside them and reads them."""

MEASURING = (
    "*.py",
    "pixels/*.py",
    "encoders/*.py",
    "encoders/weights/*",
    "data/*.py",
    "data/classes/*",
    "prompts/*.py",
    "prompts/published.csv",
    "methods/*.py",
    "evaluation/*.py",
    "evaluation/store/*.py",
    "aviary/*.py",
    "cli/evaluate.py",
    "cli/options.py",
)
"""The files of the core that can change a record; training the embedded encoder cannot, its weights can."""


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def files(modules: Iterable[str]) -> list[Path]:
    """The files of the packages behind modules: their own, those of all that they import, and the data these read.

    Raises:
        LgcaError: there is no such module.
    """
    needed: set[str] = set()
    wanted = list(modules)
    while wanted:
        module = wanted.pop()
        if module in needed:
            continue
        if module not in _graph().modules:
            raise LgcaError(f"there is no module {module}")
        needed.add(module)
        wanted += _graph().find_modules_directly_imported_by(module)
        if "." in module:
            wanted.append(module.rpartition(".")[0])
    found = {_file(module) for module in needed}
    found |= {path.resolve() for module in needed & DATA.keys() for path in _file(module).parent.glob(DATA[module])}
    return sorted(found)


def of_evaluations(core: Path = PACKAGES["lgca_core"]) -> list[Path]:
    """The files of the core that an evaluation depends on."""
    found = {file for pattern in MEASURING for file in core.glob(pattern)}
    return sorted(found - {core / "aviary" / "train.py"})


def of_notebook(path: Path) -> list[Path]:
    """The files of the packages that a notebook depends on, itself not among them.

    Raises:
        LgcaError: it imports what is not there.
    """
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    try:
        return files(_imported(ast.parse(code)))
    except LgcaError as error:
        raise LgcaError(f"{path}: {error}") from None


def code_of_notebook(path: Path) -> str:
    """Digest of the code that a notebook runs, and that runs it.

    Raises:
        LgcaError: it imports what is not there.
    """
    return digest_of_code(files(["lgca_book.building.run_notebook"]) + of_notebook(path))


def _file(module: str) -> Path:
    package, *inner = module.split(".")
    place = PACKAGES[package].joinpath(*inner)
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _imported(tree: ast.Module) -> Iterator[str]:
    """Modules of the packages; a public name of the core counts as the module that it lives in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if node.module == "lgca_core" and alias.name in lgca_core.MODULES:
                    yield f"lgca_core.{lgca_core.MODULES[alias.name]}"
                else:
                    yield inner if inner in _graph().modules else node.module
