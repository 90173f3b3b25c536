"""The one exception that a user's input can cause, and what a command line makes of it (floor 0)."""

import sys
from collections.abc import Callable


class LgcaError(Exception):
    """One clear sentence that names the thing at fault and the mend.

    Library code raises it for anything that a path, a name, a file or an option can be wrong about; the command line
    prints ``error: <sentence>`` on stderr and exits with status 2. A mistake in the code itself stays an ordinary
    Python exception, with its traceback.
    """


def exit_status(command: Callable[[], None]) -> int:
    """Run a command: 0, or 2 after ``error: <sentence>`` on stderr where it raises an :class:`LgcaError`."""
    try:
        command()
    except LgcaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
