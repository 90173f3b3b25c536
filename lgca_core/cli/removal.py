"""What is asked before something is removed, and how much it is."""

import typer

from lgca_core.cli.output import say
from lgca_core.errors import LgcaError


def agreed(question: str) -> bool:
    """Whether the user says yes. LgcaError where nobody is there to ask."""
    try:
        answer = typer.confirm(question)
    except typer.Abort:  # Ctrl-C, or no terminal
        raise LgcaError("nothing was removed, for want of an answer: give --yes to remove without asking") from None
    if not answer:
        say("Nothing was removed.")
    return answer


def in_words(number: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
