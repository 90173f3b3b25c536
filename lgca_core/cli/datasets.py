"""``lgca datasets``: what ``--dataset`` takes."""

from lgca_core.cli.base import app
from lgca_core.cli.output import listing


@app.command()
def datasets() -> None:
    """List what --dataset takes."""
    from lgca_core.datasets import DATASETS

    listing([{"name": name, "what": entry.summary} for name, entry in DATASETS.items()])
