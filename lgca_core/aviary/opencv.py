"""OpenCV, which only the painting of birds needs: imported at its first use, so that lists of data sets do without."""

from importlib import import_module
from typing import Any

from lgca_core.errors import LgcaError


def __getattr__(name: str) -> Any:
    try:
        cv2 = import_module("cv2")
    except ImportError as error:
        raise LgcaError(
            "the birds of the aviary are painted with OpenCV, which is not installed: pip install 'lgca-core[aviary]'"
        ) from error
    return getattr(cv2, name)
