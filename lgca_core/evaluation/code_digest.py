"""A hash of what code does: comments, docstrings, imports and layout do not change it."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from lgca_core.files import sha256_of


def digest_of_code(files: Iterable[Path]) -> str:
    """sha256 of files: of Python the syntax without docstrings, comments and imports, of others the bytes.

    The order of the files counts, their names do not. Another version of Python may give another digest.
    """
    digest = hashlib.sha256()
    for file in files:
        if file.suffix == ".py":
            digest.update(_digest_of_syntax(file.read_text(encoding="utf-8")))
        else:
            digest.update(bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()


@cache
def _digest_of_syntax(source: str) -> bytes:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(node, name, None), list):
                setattr(node, name, [statement for statement in statements if not _does_nothing(statement)])
    return hashlib.sha256(ast.dump(tree).encode()).digest()


def _does_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is an import, or a string that stands alone, such as a docstring."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return True
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
