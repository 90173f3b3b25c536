"""``lgca encoders``: what ``--encoder`` takes."""

from lgca_core.cli.base import app
from lgca_core.cli.output import listing


@app.command()
def encoders() -> None:
    """List what --encoder takes."""
    from lgca_core.encoders.registry import list_encoders

    listing(list_encoders())
