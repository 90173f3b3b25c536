"""``lgca``: classify pictures and evaluate methods from the command line (floor 5).

A command a file, each registering itself with :mod:`lgca_core.cli.base`. torch and open_clip are imported inside the
commands that need them, so that ``lgca --help`` answers at once.
"""

from lgca_core.cli import classify, evaluate, methods, encoders, datasets, prompts, store, results  # isort: skip
from lgca_core.cli.base import app, main

__all__ = ["app", "classify", "datasets", "encoders", "evaluate", "main", "methods", "prompts", "results", "store"]
