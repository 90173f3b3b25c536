"""``lgca evaluate``: measure methods on labelled pictures."""

import math
import re
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import stdout
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    import pandas as pd

    from lgca_core.datasets import Manifest
    from lgca_core.results import Record


@app.command(
    epilog="\b\nExamples:\n"
    "  lgca evaluate --dataset aviary --seeds 5\n"
    "  lgca evaluate --images birds/ --descriptions birds.json \\\n"
    "    --encoder ViT-B-32-quickgelu:openai --method wca,lgca,cupl,clip\n"
    "  lgca evaluate --dataset aviary --method wca,lgca,lgca-equal \\\n"
    "    --steps 2 --start 0.1,0.5 --out runs/small"
)
def evaluate(
    images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Your pictures: one folder a class, named like the class."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PATH]", help="A data set of the table that `lgca datasets` prints; PATH: your copy of it."
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME,...", help=f"Any of {options.METHODS_HELP}.")
    ] = "wca,lgca,cupl,clip",
    seeds: Annotated[int, typer.Option(min=1, help="How many independent crop pools, seeds 0, 1, ...")] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel="Output",
            help="Of the record; runs/<data set>-<UTC time> if absent.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel="Output", help="Overwrite an earlier record.")
    ] = False,
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(help="Stop at a picture that cannot be read, or list it in the record and go on."),
    ] = "raise",
    chunk: Annotated[int, typer.Option(min=1, help="Pictures held in memory at once.")] = 32,
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
    from lgca_core import evaluate as floor
    from lgca_core import prompts, results
    from lgca_core.datasets import DATASETS, folder, open_dataset

    methods = options.names(method, "--method")
    floor.check_methods(methods)
    wca, lgca = options.settings(n, steps, rho, gamma, start, saliency, lam, growth, whole_image)
    if (images is None) == (dataset is None):
        raise LgcaError("give either --images FOLDER or --dataset NAME: which pictures to evaluate on")
    if out is not None:
        results.check_free(out, force=force)
    terminal = Console(stderr=True)
    with terminal.status("reading the pictures") if terminal.is_terminal else nullcontext():
        manifest = folder(images, on_error=on_error) if images else open_dataset(str(dataset), on_error=on_error)
    own = DATASETS[dataset].descriptions if dataset in DATASETS else None
    sentences = None
    if descriptions:
        sentences = prompts.read_descriptions(descriptions, manifest.classes)
    elif own:
        sentences = own()
    elif wanting := [name for name in methods if floor.METHODS[name].prompts == "descriptions"]:
        raise LgcaError(f"the method {wanting[0]!r} needs sentences of every class: give --descriptions FILE.json")
    short = prompts.read_descriptions(descriptors, manifest.classes) if descriptors else None
    generic = prompts.read_templates(templates) if templates else prompts.GENERIC_TEMPLATES
    if "clip-d" in methods and short is None:
        raise LgcaError("the method 'clip-d' needs short descriptors of every class: give --descriptors FILE.json")
    model = options.load(encoder, device, precision, batch_size, workers)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True) as bar:
        task = bar.add_task(manifest.name, total=len(manifest.items))
        record, predictions = floor.evaluate(
            manifest,
            model,
            methods,
            descriptions=sentences,
            descriptors=short,
            templates=generic,
            seeds=range(seeds),
            wca=wca,
            lgca=lgca,
            chunk=chunk,
            on_error=on_error,
            progress=lambda done, _: bar.update(task, completed=done),
            parameters={
                "encoder": encoder or "aviary",
                "device": device,
                "dataset": dataset or manifest.name,
            },
        )
    target = out or Path("runs") / _run_name(manifest, record.utc)
    record = results.save(record, predictions, target, force=force)
    console = stdout()
    _report(console, record, predictions)
    if manifest.note:
        console.print(manifest.note, style="yellow")
    if options.embedded(encoder) and not manifest.name.startswith("aviary"):
        console.print(options.OWN_WORLD, style="yellow")
    console.print(f"record: {target}", soft_wrap=True, highlight=False)


def _run_name(manifest: "Manifest", utc: datetime) -> str:
    return re.sub(r"[^\w.-]+", "-", manifest.name) + utc.astimezone(UTC).strftime("-%Y%m%dT%H%M%SZ")


def _report(console: Console, record: "Record", predictions: "pd.DataFrame") -> None:
    """The table of a record, and a line about what it took."""
    from lgca_core import results

    methods = {run.method for run in record.runs}
    rows = results.summary(record, predictions, "wca" if "wca" in methods else None)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method")
    for heading in ("top-1 %", "95 % interval", "std (seeds)", "passes/image"):
        table.add_column(heading, justify="right")
    compared = bool(rows["difference"].notna().any())
    if compared:
        table.add_column("minus wca (points)", justify="right")
        table.add_column("p (Holm)", justify="right")
    for row in rows.to_dict("records"):
        cells = [
            row["method"],
            f"{100 * row['top1']:.1f}",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f}",
            "" if math.isnan(row["std"]) else f"{100 * row['std']:.2f} ({row['seeds']})",
            f"{row['passes']:g}",
        ]
        if compared:
            cells += _difference(row)
        table.add_row(*cells)
    console.print(table)
    dataset, used = record.dataset, record.image_passes
    read = dataset.count - len(record.skipped)
    line = (
        f"{dataset.name}: {read} pictures of {len(dataset.classes)} classes, "
        f"{record.encoder.name} on {record.device}; "
        f"{record.seconds:.1f} s, {record.images_per_second:.1f} pictures/s, {used} image passes in all."
    )
    console.print(line, highlight=False)
    if record.skipped:
        first = record.skipped[0]
        console.print(f"Skipped {len(record.skipped)}, listed in the record; the first: {first.path} ({first.reason})")


def _difference(row: Mapping[str, Any]) -> list[str]:
    if math.isnan(row["difference"]):
        return ["", ""]
    low, high = 100 * row["difference_low"], 100 * row["difference_high"]
    return [f"{100 * row['difference']:+.1f} ({low:+.1f} to {high:+.1f})", f"{row['p_holm']:.2g}"]
