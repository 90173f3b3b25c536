"""``lgca``: classify pictures and evaluate methods from the command line.

A command a file, each registering itself with :mod:`lgca_core.cli.base`; `commands` gathers them. torch and open_clip
are imported inside the commands that need them, so that ``lgca --help`` answers at once.
"""

import sys


def main() -> None:
    """Entry point of the ``lgca`` script."""
    if sys.argv[1:2] == ["bench"]:  # it runs where only torch, torchvision, open_clip and pandas are installed
        from lgca_core.cli.bench import main as bench

        bench(sys.argv[2:])
    else:
        from lgca_core.cli.commands import app

        app()
