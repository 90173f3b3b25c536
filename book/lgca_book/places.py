"""Where the records of a data set and an encoder lie below results/: by what the two are, however they are spelt."""

import re
from pathlib import Path

from lgca_core.data import DATASETS
from lgca_core.data.table import split_spec
from lgca_core.errors import LgcaError

NOT_FILES = ("hf-hub",)
"""Encoders whose source has slashes and is no path of this machine."""


def file_of(encoder: str) -> Path | None:
    """The checkpoint, or the folder of one, that ``NAME:SOURCE`` means; None for a tag, and for a name alone."""
    name, _, source = encoder.partition(":")
    path = Path(source).expanduser()
    is_path = name not in NOT_FILES and ("/" in source or "\\" in source or path.is_file())
    return path if source and is_path else None


def folder_of_encoder(encoder: str) -> str:
    """``NAME:TAG`` -> ``NAME-TAG``, ``NAME:/path/to/file.pt`` -> ``NAME-file.pt``.

    Raises:
        LgcaError: nothing is left of the name.
    """
    file = file_of(encoder)
    return _slug(encoder if file is None else f"{encoder.partition(':')[0]}:{file.name}", encoder)


def folder_of_dataset(dataset: str) -> str:
    """``NAME`` and ``NAME:/path/to/copy`` -> ``NAME``; a folder of class folders -> its own name.

    Raises:
        LgcaError: nothing is left of the name, or the table has the data set and it takes no path.
    """
    name, _ = split_spec(dataset)
    return _slug(name if name in DATASETS else Path(name).expanduser().resolve().name, dataset)


def told(spec: str) -> str:
    """A data set or an encoder as a page may show it: without the place of a copy or a checkpoint on this machine."""
    name, colon, _ = spec.partition(":")
    if colon and name in DATASETS:
        return f"{name}:/path/to/copy"
    if not colon:
        return spec if spec in DATASETS or not Path(spec).is_dir() else f"/path/to/{Path(spec).resolve().name}"
    file = file_of(spec)
    return spec if file is None else f"{name}:/path/to/{file.name}"


def _slug(text: str, spec: str) -> str:
    """A text as the name of a folder that is not hidden."""
    slug = re.sub(r"[^\w.-]+", "-", text).strip("-.")
    if not slug:
        raise LgcaError(f"{spec!r} leaves no name for a folder of results/: give it a name with a letter in it")
    return slug
