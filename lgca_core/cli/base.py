"""The command ``lgca`` and how it ends: whatever a user's input can get wrong, in one sentence and exit status 2."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lgca_core.cli.output import any_encoding, say
from lgca_core.errors import LgcaError

FULL = "lower --batch-size or --chunk"


class Stopped(Exception):
    """A command was stopped by Ctrl-C or another signal; the sentence says what is kept and how to go on."""


class _Ended(KeyboardInterrupt):
    """A signal by which machines are cleared, and which ends a command as Ctrl-C does: its number."""


@contextmanager
def stopping(sentence: Callable[[], str]) -> Iterator[None]:
    """What to say where Ctrl-C or another signal stops the block: what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped("; ".join([sentence(), *getattr(stop, "__notes__", ())])) from stop


class _Group(TyperGroup):
    """Turns what a user's input can cause into one sentence on stderr and exit status 2.

    Status 128 and the number of the signal for a command that one stopped (130 for Ctrl-C, 143 for SIGTERM), 1 where
    nobody reads what is printed.
    """

    def main(self, *args: Any, **extra: Any) -> Any:
        any_encoding()
        with _terminable():
            code, message = self._ended(lambda: super(_Group, self).main(*args, **{**extra, "standalone_mode": False}))
        if message:
            say(" ".join(message.splitlines()), err=True)
        sys.exit(code)

    def _ended(self, run: Callable[[], Any]) -> tuple[int, str]:
        """Exit status, and what to say of it."""
        try:
            status = run()
            sys.stdout.flush()  # what cannot be written shows here, and not when Python ends
            return status if isinstance(status, int) else 0, ""
        except LgcaError as error:
            return 2, f"error: {error}"
        except Stopped as stopped:
            cause = stopped.__cause__
            return 128 + (cause.args[0] if isinstance(cause, _Ended) else signal.SIGINT), f"stopped: {stopped}"
        except MemoryError:
            return 2, f"error: the memory is full: {FULL}"
        except OSError as error:
            return self._unwritten(error)
        except Exception as error:
            if hasattr(error, "format_message"):  # Typer's usage errors, of click's class or its own by version
                return 2, "error: " + error.format_message().replace("Value error, ", "")
            if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
                return 2, f"error: the device's memory is full: {FULL}"
            if type(error).__name__ == "Abort":  # a question that got no answer
                return 130, "stopped: there was no answer, so nothing was done"
            raise

    def _unwritten(self, error: OSError) -> tuple[int, str]:
        """Of what is printed, or of a file that nobody foresaw; any other is a mistake of ours."""
        if isinstance(error, BrokenPipeError) or error.errno == errno.EPIPE:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what is left in the buffer has no reader either
            return 1, ""
        if error.errno == errno.ENOSPC and error.filename is None:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
            return 2, "error: what is printed cannot be written (No space left on device): make room and try again"
        if error.filename is not None:
            return 2, f"error: {os.fsdecode(error.filename)}: {error.strerror}: see that it is there and may be used"
        raise error

    def invoke(self, ctx: Any) -> Any:
        with stopping(lambda: "nothing was left half-done; give the same command to begin anew"):
            return super().invoke(ctx)


@contextmanager
def _terminable() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the block as Ctrl-C does, unless they are ignored, as under nohup.

    Only a process's main thread can say so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        raise _Ended(number)

    ending = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    before = {number: signal.signal(number, stop) for number in ending}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


app = typer.Typer(
    cls=_Group,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    invoke_without_command=True,
    epilog="\b\nExamples:\n"
    "  lgca classify photo.jpg --classes cat,dog \\\n"
    "    --encoder ViT-B-32-quickgelu:openai      (real CLIP; its weights are fetched once)\n"
    "  lgca evaluate --dataset aviary             (painted birds; nothing is fetched)",
)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Zero-shot classification by cross alignment of crops and sentences.

    LGCA, WCA and their baselines, on your pictures with any CLIP, or on a
    world of painted birds that comes along.
    """
    if version:
        from lgca_core.evaluation.provenance import library_versions

        say(f"lgca {library_versions().get('lgca-core', '(not installed)')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
