"""Every command of ``lgca``, in the order in which its help lists them."""

from lgca_core.cli import classify, evaluate, encode, methods, encoders, datasets, prompts, store, results, bench  # isort: skip
from lgca_core.cli.base import app

__all__ = [
    "app",
    "bench",
    "classify",
    "datasets",
    "encode",
    "encoders",
    "evaluate",
    "methods",
    "prompts",
    "results",
    "store",
]
