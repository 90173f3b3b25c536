"""``lgca encoders``: what ``--encoder`` takes."""

import json
from typing import Annotated

import typer

from lgca_core.cli.base import app
from lgca_core.cli.output import listing
from lgca_core.errors import LgcaError


@app.command()
def encoders(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="Only names with all of these.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for other programs.")] = False,
) -> None:
    """List what --encoder takes: models that can be built here.

    Besides, hf-hub:ORG/NAME and local-dir:FOLDER name a model of open_clip or
    transformers that Hugging Face or a folder keeps, and NAME:FILE a checkpoint.
    """
    from lgca_core.encoders.registry import list_encoders

    rows = list_encoders(" ".join(words or []))
    if as_json:
        print(json.dumps(rows, indent=1))
    elif not rows:
        raise LgcaError(f"no encoder's name holds {' and '.join(words or [])}: lgca encoders lists all of them")
    else:
        listing(rows)
