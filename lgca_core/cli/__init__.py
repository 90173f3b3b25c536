"""``lgca``: classify pictures and evaluate methods from the command line.

A command a file, each registering itself with :mod:`lgca_core.cli.base`; `commands` gathers them. torch and open_clip
are imported inside the commands that need them, so that ``lgca --help`` answers at once.
"""

import sys

from lgca_core.errors import NO_WINDOWS


def main() -> None:
    """Entry point of the ``lgca`` script."""
    if sys.platform == "win32":
        print(f"error: {NO_WINDOWS}", file=sys.stderr)
        sys.exit(2)
    try:
        from lgca_core.cli.commands import app
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    app()
