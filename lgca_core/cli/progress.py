"""How far a long command is: a bar on a terminal, lines of a log elsewhere; and what to say where it is stopped."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lgca_core.cli.base import stopping
from lgca_core.cli.output import say, shown, stderr

LONG = 10.0
"""Seconds. Work that takes less says nothing in a log, and a tenth of it that took less says nothing either."""
EVERY = 30.0
"""Seconds after which a log is told, whatever was done meanwhile."""


class Log:
    """Lines about work that goes on: an estimate as soon as there is one, then each tenth, or every 30 s.

    Args:
        name: of the work.
        passes: encoder passes so far, where they are known.
        clock: seconds, from any beginning. write: takes a line.
    """

    def __init__(
        self,
        name: str,
        passes: Callable[[], int] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] = lambda line: say(line, err=True),
    ) -> None:
        self._name, self._passes, self._clock, self._write = name, passes, clock, write
        self._began = self._told = clock()
        self._tenth = 0
        self._estimated = False

    def __call__(self, done: int, total: int | None) -> None:
        """`done` pictures of `total` (None: nobody knows how many) are finished."""
        now = self._clock()
        if not done:
            self._began = self._told = now  # whatever came before was no work on pictures
            return
        left = None if total is None else (now - self._began) / done * (total - done)
        first = not self._estimated and left is not None and now - self._began + left >= LONG
        tenth = 0 if total is None else 10 * done // total
        if not (first or now - self._told >= EVERY or (tenth > self._tenth and now - self._told >= LONG)):
            return
        self._estimated, self._told, self._tenth = True, now, tenth
        self._write(self._line(done, total, now - self._began, left))

    def _line(self, done: int, total: int | None, took: float, left: float | None) -> str:
        said = [f"{self._name}: {done:,} {'' if total is None else f'of {total:,} '}pictures"]
        if self._passes:
            said.append(f"{self._passes():,} passes")
        if took > 0:
            said.append(f"{done / took:.3g} pictures/s")
        if left is not None:
            said.append(f"about {timedelta(seconds=round(left))} left")
        return ", ".join(said)


@contextmanager
def progress(
    name: str, passes: Callable[[], int] | None = None, *, kept: str = "nothing of it is kept"
) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on a terminal, else lines on stderr; gives a function to call with (pictures done, pictures in all).

    Args:
        passes: encoder passes so far.
        kept: for who stops the work: what is kept of it, and how to go on.
    """
    terminal = stderr()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}", markup=False),
        TimeRemainingColumn(),
    )
    at: tuple[int, int | None] = (0, None)
    before = passes() if passes else 0
    counted = (lambda: passes() - before) if passes else None
    log = Log(name, counted)
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True) as bar:
        task = bar.add_task(shown(name), total=None, speed="")

        def report(done: int, total: int | None) -> None:
            nonlocal at
            at = done, total
            if not terminal.is_terminal:
                log(done, total)
            bar.update(task, completed=done, total=total, speed=f"{counted():,} passes" if counted else "")

        with stopping(lambda: f"{_after(*at)}; {kept}"):
            yield report


def _after(done: int, total: int | None) -> str:
    if not done:
        return "before the first picture was done"
    return f"after {done:,}{'' if total is None else f' of {total:,}'} pictures"
