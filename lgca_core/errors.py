"""The one exception that a user's input can cause."""


class LgcaError(Exception):
    """One clear sentence that names the thing at fault and the mend.

    Library code raises it for anything that a path, a name, a file or an option can be wrong about; the command line
    prints ``error: <sentence>`` on stderr and exits with status 2. A mistake in the code itself stays an ordinary
    Python exception, with its traceback.
    """


NO_WINDOWS = "native Windows has not the file locks that this needs: install it in WSL (wsl --install) and run it there"


def first_line(error: Exception) -> str:
    """What another library's exception says, cut to its first line; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
