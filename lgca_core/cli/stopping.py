"""Ctrl-C, and the signals by which machines are cleared: an evaluation ends with a sentence, and keeps what it has."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lgca_core.evaluation.store.store import Store

SIGNALS = ("SIGTERM", "SIGHUP")

PicturesDone = Callable[[int, int], None]


@contextmanager
def stoppable(store: "Store | None", progress: PicturesDone) -> Iterator[PicturesDone]:
    """Within the block a signal to end is an interrupt; an interrupt says what is kept, and how to go on.

    Gives the function to be called with (pictures done, pictures in all), which calls `progress`. The exit status is
    128 and the signal's number, as of a command that the signal ended.
    """
    seen, came = [0, 0], [int(signal.SIGINT)]

    def count(done: int, total: int) -> None:
        seen[:] = done, total
        progress(done, total)

    def stop(number: int, _: FrameType | None) -> None:
        came[0] = number
        raise KeyboardInterrupt

    with _handled(stop):
        try:
            yield count
        except KeyboardInterrupt as interrupt:
            done, total = seen
            after = f"after {done} of {total} pictures" if total else "before the first picture was done"
            kept = "nothing is kept, as --no-store asks"
            if store is not None:
                kept = f"what was encoded is kept in {store.root}, and the same command goes on from there"
            if notes := getattr(interrupt, "__notes__", []):
                kept = notes[0]
            print(f"stopped {after}: {kept}", file=sys.stderr)
            raise typer.Exit(128 + came[0]) from None


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Signals that would end the process go to a handler; those that are ignored, as under nohup, stay so."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in SIGNALS:
            number = getattr(signal, name, None)  # there is no SIGHUP on Windows
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
