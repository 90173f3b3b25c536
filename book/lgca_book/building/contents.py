"""The table of contents of the book."""

from pathlib import Path
from typing import Any

import yaml


def names_in(file: Path) -> list[str]:
    """Every page of a table of contents, in its order."""
    return _listed(yaml.safe_load(file.read_text(encoding="utf-8")))


def _listed(entry: Any) -> list[str]:
    if isinstance(entry, list):
        return [name for item in entry for name in _listed(item)]
    own = [entry[key] for key in ("root", "file") if key in entry]
    return own + [name for key in ("parts", "chapters", "sections") for name in _listed(entry.get(key, []))]
