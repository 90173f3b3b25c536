"""``lgca prompts``: look after prompt files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.errors import LgcaError

prompts_app = typer.Typer(help="Look after prompt files.", no_args_is_help=False)
app.add_typer(prompts_app, name="prompts")


@prompts_app.command(
    epilog="\b\nExamples:\n"
    "  lgca prompts check birds.json --images birds/\n"
    "  lgca prompts check pets.json --classes cat,dog"
)
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help='{"class name": ["sentence", ...]}')],
    classes: Annotated[str | None, typer.Option(help="Names with commas between.")] = None,
    images: Annotated[Path | None, typer.Option(metavar="FOLDER", help="One folder a class.")] = None,
) -> None:
    """Whether a file describes every class once, and nothing else."""
    from lgca_core import prompts

    if classes is not None and images is not None:
        raise LgcaError("give --classes or --images, not both")
    names: Sequence[str] | None = None
    if classes is not None:
        names = options.names(classes, "--classes")
    elif images is not None:
        from lgca_core.datasets import folder

        names = folder(images, on_error="skip").classes
    found = prompts.read_descriptions(file, names)
    counts = sorted(len(sentences) for sentences in found.values())
    print(f"{file}: {len(counts)} classes, {sum(counts)} sentences, {counts[0]} to {counts[-1]} a class")
    short = [(name, text) for name, sentences in found.items() for text in sentences if len(text.split()) < 2]
    if short:
        name, text = short[0]
        print(f"{len(short)} of them are a single word or less; the first: {text!r} of {name!r}")
