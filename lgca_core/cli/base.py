"""The command ``lgca`` and how it ends: whatever a user's input can get wrong, in one sentence and exit status 2."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lgca_core.errors import LgcaError


class _Group(TyperGroup):
    """Turns what a user's input can cause into one sentence on stderr and exit status 2."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            status = super().main(*args, **{**extra, "standalone_mode": False})
        except LgcaError as error:
            message = str(error)
        except Exception as error:
            if hasattr(error, "format_message"):  # Typer's usage errors, of click's class or its own by version
                message = error.format_message().replace("Value error, ", "")
            elif type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
                message = "the device's memory is full: lower --batch-size or --chunk"
            else:
                raise
        else:
            sys.exit(status if isinstance(status, int) else 0)
        print("error: " + " ".join(message.splitlines()), file=sys.stderr)
        sys.exit(2)


app = typer.Typer(cls=_Group, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Zero-shot classification by cross alignment of crops and sentences.

    LGCA, WCA and their baselines, on your pictures or on a world of painted
    birds that comes along: try `lgca evaluate --dataset aviary`.
    """
    if version:
        from lgca_core.evaluation.provenance import library_versions

        print("lgca", library_versions().get("lgca-core", "(not installed)"))
    elif context.invoked_subcommand is None:
        print(context.get_help())
