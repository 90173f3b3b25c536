"""``lgca``: classify pictures and evaluate methods from the command line.

A command a file, each registering itself with :mod:`lgca_core.cli.base`; `commands` gathers them. torch and open_clip
are imported inside the commands that need them, so that ``lgca --help`` answers at once.
"""


def main() -> None:
    """Entry point of the ``lgca`` script."""
    from lgca_core.cli.commands import app

    app()
