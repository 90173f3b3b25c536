"""Every command of ``lgca``, in the order in which its help lists them."""

import typer

from lgca_core.cli import classify, evaluate, encode, methods, encoders, datasets, prompts, store, results  # isort: skip
from lgca_core.cli.base import app

__all__ = ["app", "classify", "datasets", "encode", "encoders", "evaluate", "methods", "prompts", "results", "store"]


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def bench(context: typer.Context) -> None:
    """Time the way from files to logits beside the encoder alone."""
    from lgca_core.cli.bench import main

    main(context.args)
