"""``lgca classify``: name what is in pictures."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import stdout
from lgca_core.errors import LgcaError


@app.command(
    epilog="\b\nExamples:\n"
    "  lgca classify photo.jpg --classes cat,dog\n"
    "  lgca classify *.jpg --descriptions pets.json --method lgca --top 3\n"
    "  lgca classify photo.jpg --classes cat,dog --json \\\n"
    "    --encoder ViT-B-32-quickgelu:openai"
)
def classify(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Pictures to name.", show_default=False)],
    classes: Annotated[
        str | None, typer.Option(help="Names with commas between; by default those of --descriptions.")
    ] = None,
    method: Annotated[str, typer.Option(help=options.METHODS_HELP + ".")] = "lgca",
    top: Annotated[int, typer.Option(min=1, help="How many classes to show for each picture.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Keys the crops.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    descriptions: options.Descriptions = None,
    descriptors: options.Descriptors = None,
    templates: options.Templates = None,
    encoder: options.EncoderSpec = None,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    batch_size: options.BatchSize = None,
    n: options.N = 60,
) -> None:
    """Name what is in pictures, out of the classes given.

    Without descriptions the methods that want them use generic templates instead.
    """
    from lgca_core import methods
    from lgca_core.evaluation.classify import classify as ranked_classes
    from lgca_core.prompts import files, sentences
    from lgca_core.prompts.class_prompts import ClassPrompts

    methods.check_methods([method])
    wca, lgca = options.wca_and_lgca(n)
    names = options.names(classes, "--classes") if classes is not None else None
    if names is None and descriptions is None:
        raise LgcaError("no classes given: name them, as in --classes cat,dog, or give --descriptions")
    described = files.read_descriptions(descriptions, names) if descriptions else None
    names = names or list(described or ())
    generic = files.read_templates(templates) if templates else sentences.GENERIC_TEMPLATES
    notes = []
    if described is None and methods.find(method).prompts == "descriptions":
        described = dict(zip(names, sentences.templates(names, generic), strict=True))
        notes.append(f"No descriptions given: {method} reads {len(generic)} templates instead.")
    if options.embedded(encoder):
        notes.append(options.OWN_WORLD)
    for photo in photos:
        if not photo.is_file():
            raise LgcaError(f"{photo} is not a file: give pictures to classify")
    model = options.load(encoder, device, precision, batch_size)
    ranked = list(
        ranked_classes(
            photos,
            ClassPrompts.by_name(
                names,
                templates=generic,
                descriptions=described,
                descriptors=files.read_descriptions(descriptors, names) if descriptors else None,
            ),
            model,
            method,
            seed=seed,
            wca=wca,
            lgca=lgca,
        )
    )
    if as_json:
        pictures = [
            {
                "path": str(photo),
                "classes": [{"name": name, "score": round(score, 6)} for name, score in rows[:top]],
            }
            for photo, rows in zip(photos, ranked, strict=True)
        ]
        print(
            json.dumps(
                {"encoder": model.name, "method": method, "seed": seed, "notes": notes, "pictures": pictures},
                indent=1,
            )
        )
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("score", justify="right")
    for photo, rows in zip(photos, ranked, strict=True):
        for place, (name, score) in enumerate(rows[:top]):
            table.add_row("" if place else str(photo), name, f"{score:.4f}", style=None if place else "bold")
    console = stdout()
    console.print(table)
    for note in notes:
        console.print(note, style="yellow")
