"""WCA and LGCA: zero-shot image classification by crops that are weighted, aligned with sentences, and expanded.

The public names are listed in `__init__.pyi`, for type checkers and for this module. Each is imported when first used,
so that `import lgca_core` is quick. `lgca_core.lgca` is a module, `lgca_core.LGCA` the method.
"""

import ast
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from typing import Any

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
MODULES = {name.name: node.module for node in _STUB.body if isinstance(node, ast.ImportFrom) for name in node.names}
"""Every public name, and the module it lives in."""

__all__ = sorted(MODULES)


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    thing = getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
    if isfunction(thing):  # a class looks after its own arguments
        from .kinds import checked

        return checked(thing)
    return thing


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
