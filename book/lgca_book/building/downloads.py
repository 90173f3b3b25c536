"""Whether an encoder's weights are here: it is loaded without a network, and what it then misses is told apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


class _NoNetworkError(OSError):
    """Raised in the place of a download."""


MISSING = (_NoNetworkError.__name__, "LocalEntryNotFoundError", "OfflineModeIsEnabled")
"""What a library raises for want of a file that it would download."""


@contextmanager
def offline() -> Iterator[None]:
    """Nothing is downloaded within the block: what is not here raises an error that :func:`not_yet` knows."""
    refused = patch("urllib.request.urlopen", side_effect=_NoNetworkError("not downloaded yet"))
    with refused, patch("huggingface_hub.constants.HF_HUB_OFFLINE", True):
        yield


def not_yet(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that something is not downloaded yet."""
    while error is not None:
        if any(kind.__name__ in MISSING for kind in type(error).__mro__):
            return True
        error = error.__cause__ or error.__context__
    return False
