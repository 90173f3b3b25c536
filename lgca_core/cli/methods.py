"""``lgca methods``: what ``--method`` takes."""

from lgca_core.cli.base import app
from lgca_core.cli.output import listing


@app.command()
def methods() -> None:
    """List what --method takes."""
    from lgca_core.methods import METHODS

    listing([{"method": name, "what": of.summary, "reads": of.prompts} for name, of in METHODS.items()])
