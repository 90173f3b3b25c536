"""How a page ends that lacks what it needs: with one sentence."""

from lgca_core.errors import LgcaError


class LacksError(LgcaError):
    """What a page needs is not there: no fault, so the book says it in the page's place."""


def needs(is_there: bool, page: str, what: str) -> None:
    """End a page with one sentence where something is missing.

    Raises:
        LacksError: it is not there.
    """
    if not is_there:
        raise LacksError(f"{page} needs {what}")
