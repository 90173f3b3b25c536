"""What builds the book: notebooks run, what each depends on, and buttons that launch them elsewhere."""

import sys
from collections.abc import Callable

from lgca_core.errors import LgcaError


def exit_status(command: Callable[[], None]) -> int:
    """Run a command: 0, or 2 after ``error: <sentence>`` on stderr where it raises an :class:`LgcaError`."""
    try:
        command()
    except LgcaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
