"""Every command of ``lgca``, in the order in which its help lists them."""

# isort: off
from lgca_core.cli import classify, evaluate, encode, methods, encoders
from lgca_core.cli import datasets, prompts, sentences, store, results, goal, goal_train, goal_evaluate
from lgca_core.cli import hada, hada_train, hada_evaluate, bench

# isort: on
from lgca_core.cli.base import app

__all__ = [
    "app",
    "bench",
    "classify",
    "datasets",
    "encode",
    "encoders",
    "evaluate",
    "goal",
    "goal_evaluate",
    "goal_train",
    "hada",
    "hada_evaluate",
    "hada_train",
    "methods",
    "prompts",
    "results",
    "sentences",
    "store",
]
