"""``lgca evaluate``: measure methods on labelled pictures."""

import re
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import report, status, stdout
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.data.manifest import Manifest

RUNS = Path("runs")


@app.command(
    epilog="\b\nExamples:\n"
    "  lgca evaluate --dataset aviary --seeds 5\n"
    "  lgca evaluate --images birds/ --descriptions birds.json \\\n"
    "    --encoder ViT-B-32-quickgelu:openai --method wca,lgca,cupl,clip\n"
    "  lgca evaluate --dataset aviary --method wca,lgca,lgca-equal \\\n"
    "    --steps 2 --start 0.1,0.5 --out runs/small\n"
    "  lgca evaluate --dataset aviary --method wca,wca:n=8,wca:alpha=0.1,lgca:rho=0.25\n"
    "  lgca evaluate --dataset pets --encoder ViT-B-32-quickgelu:openai \\\n"
    "    --part 1/2 --out part-1.json   (and --part 2/2, perhaps elsewhere; then)\n"
    "  lgca evaluate --dataset pets --encoder ViT-B-32-quickgelu:openai \\\n"
    "    --parts part-1.json --parts part-2.json"
)
def evaluate(
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", parser=options.folder, help="Your pictures: one folder a class, named like the class."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PATH]", help="A data set of the table that `lgca datasets` prints; PATH: your copy of it."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help=f"Any of {options.METHODS_HELP}; with settings of its own as in lgca:steps=1:gamma=1.5.",
        ),
    ] = "wca,lgca,cupl,clip",
    seeds: Annotated[int, typer.Option(min=1, help="How many independent draws of crops, seeds 0, 1, ...")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel="Output",
            help="Of the record; runs/<data set>-<UTC time> if absent. With --part, a file for what the part took.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel="Output", help="Overwrite what an earlier run put there.")
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            rich_help_panel="Store",
            help="Only fill the store, with the K-th of N parts of the pictures; writes no record.",
        ),
    ] = None,
    parts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel="Store",
            help="What a part took, as --part wrote it with --out, for the record to keep; repeat it for each.",
        ),
    ] = None,
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(help="Stop at a picture that cannot be read, or list it in the record and go on."),
    ] = "raise",
    chunk: Annotated[
        int, typer.Option(min=1, help="Pictures looked at together; memory holds these and the next.")
    ] = 32,
    store: options.Store = None,
    no_store: options.NoStore = False,
    descriptions: options.Descriptions = None,
    descriptors: options.Descriptors = None,
    templates: options.Templates = None,
    encoder: options.EncoderSpec = None,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    batch_size: options.BatchSize = None,
    workers: options.Workers = 1,
    n: options.N = 60,
    steps: options.Steps = 3,
    rho: options.Rho = 0.5,
    gamma: options.Gamma = 1.25,
    start: options.Start = "local",
    saliency: options.Saliency = "image",
    lam: options.Lam = "uniform",
    growth: options.Growth = "square",
    whole_image: options.WholeImage = False,
) -> None:
    """Measure methods on labelled pictures and write a record of it.

    Prints top-1 accuracy, its 95 % interval over pictures, its spread over
    seeds, encoder passes an image, and the difference to WCA on the same
    pictures. The record keeps every prediction.
    """
    from lgca_core.data.folders import folder
    from lgca_core.data.table import DATASETS, open_dataset, split_spec
    from lgca_core.evaluation import evaluate as floor
    from lgca_core.evaluation.parts import check_free_file, check_part, empty_part, load_part, save_part, shards_of_part
    from lgca_core.evaluation.record import check_free, save
    from lgca_core.methods import check_methods, find
    from lgca_core.prompts import files
    from lgca_core.prompts.class_prompts import prompts_of_dataset

    methods = options.names(method, "--method")
    check_methods(methods)
    entry = DATASETS.get(split_spec(dataset)[0]) if dataset else None
    alpha = entry.source.alpha if entry and entry.source else None
    wca, lgca = options.settings(n, steps, rho, gamma, start, saliency, lam, growth, whole_image, alpha=alpha)
    if (images is None) == (dataset is None):
        raise LgcaError("give either --images FOLDER or --dataset NAME: which pictures to evaluate on")
    kept = options.open_store(store, no_store)
    piece = (1, 1) if part is None else _part(part)
    check_part(piece)
    if part is not None and kept is None:
        raise LgcaError("--part fills the store: do without --no-store")
    if part is not None and parts:
        raise LgcaError("--parts is for the record of the whole, which --part does not write: give one of the two")
    if parts and kept is None:
        raise LgcaError("--parts tells who filled the store, which --no-store does not read: give one of the two")
    if part is None:
        check_free(RUNS / "new" if out is None else out, force=force)
    elif out is not None:
        check_free_file(out, force=force)
    ahead = [load_part(file) for file in parts or []]
    with status("reading the pictures"):
        manifest = folder(images, on_error=on_error) if images else open_dataset(str(dataset), on_error=on_error)
    with status("reading the prompts"):
        said = prompts_of_dataset(
            dataset,
            manifest,
            [find(name).prompts for name in methods],
            templates=files.read_templates(templates) if templates else None,
            descriptions=files.read_descriptions(descriptions, manifest.classes) if descriptions else None,
            descriptors=files.read_descriptions(descriptors, manifest.classes) if descriptors else None,
        )
    for name in methods:
        said.of(find(name).prompts, method=name, seed=0)  # what is missing is said before the model is loaded
    if kept is not None and not shards_of_part(piece, manifest, kept):
        if out is not None:
            save_part(empty_part(piece, manifest), out)
        print(f"part {part} of {manifest.name}: nothing to encode, all its shards are in other parts; {kept.root}")
        return
    model = options.load(encoder, device, precision, batch_size, workers)

    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True) as bar:
        task = bar.add_task(manifest.name, total=None)
        common: dict[str, Any] = {
            "seeds": range(seeds),
            "wca": wca,
            "lgca": lgca,
            "chunk": chunk,
            "on_error": on_error,
            "progress": lambda done, total: bar.update(task, completed=done, total=total),
        }
        if part is not None and kept is not None:
            took = floor.encode(manifest, model, methods, said, kept, part=piece, **common)
            if out is not None:
                save_part(took, out)
            print(
                f"part {part} of {manifest.name}: {took.pictures} pictures, {took.image_passes} image passes, "
                f"{took.seconds:.1f} s; {kept.root}"
            )
            return
        own = {"templates": templates, "descriptions": descriptions, "descriptors": descriptors}
        parameters: dict[str, Any] = {
            "encoder": encoder or "aviary",
            "device": device,
            "dataset": dataset or manifest.name,
            "own_prompts": [kind for kind, file in own.items() if file],
        }
        record, predictions = floor.evaluate(
            manifest, model, methods, said, store=kept, parameters=parameters, parts=ahead, **common
        )
    target = out or _free(RUNS / _run_name(manifest, record.utc))
    record = save(record, predictions, target, force=force)
    console = stdout()
    report(console, record, predictions)
    for note in (manifest.note, *said.notes):
        if note:
            console.print(note, style="yellow")
    if options.embedded(encoder) and not manifest.name.startswith("aviary"):
        console.print(options.OWN_WORLD, style="yellow")
    console.print(f"record: {target}", soft_wrap=True, highlight=False)


def _part(text: str) -> tuple[int, int]:
    numbers = text.split("/")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise LgcaError(f"--part must be two numbers such as 2/8, not {text!r}")
    k, n = map(int, numbers)
    return k, n


def _free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, ... that is not there: runs may begin in the same second."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return next(name for name in chain([folder], numbered) if not name.exists())


def _run_name(manifest: "Manifest", utc: datetime) -> str:
    return re.sub(r"[^\w.-]+", "-", manifest.name) + utc.astimezone(UTC).strftime("-%Y%m%dT%H%M%SZ")
