"""``python -m lgca_core``: ``lgca`` where its script is not installed."""

from lgca_core.cli import main

main()
