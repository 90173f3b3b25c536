"""``lgca evaluate``: measure methods on labelled pictures."""

import re
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import report, stdout
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.data.manifest import Manifest

RUNS = Path("runs")


@app.command(
    epilog="\b\nExamples:\n"
    "  lgca evaluate --dataset aviary --seeds 5\n"
    "  lgca evaluate --images birds/ --descriptions birds.json \\\n"
    "    --encoder ViT-B-32-quickgelu:openai --method wca,lgca,cupl,clip\n"
    "  lgca evaluate --dataset aviary --out runs/small \\\n"
    "    --method wca,lgca:steps=2:start=0.1-0.5,lgca-equal\n"
    "  lgca evaluate --dataset aviary --method wca,wca:n=8,wca:alpha=0.1,lgca:rho=0.25\n"
    "  lgca evaluate --dataset pets --encoder ViT-B-32-quickgelu:openai \\\n"
    "    --parts part-1.json --parts part-2.json   (which lgca encode wrote)"
)
def evaluate(
    images: options.Images = None,
    dataset: options.DatasetName = None,
    method: options.Methods = "wca,lgca,cupl,clip",
    seeds: options.Seeds = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", rich_help_panel="Output", help="Of the record; runs/<data set>-<UTC time> if absent."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel="Output", help="Overwrite the record of an earlier run.")
    ] = False,
    parts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel="Store",
            help="What a part took, as lgca encode wrote it with --out, for the record to keep; repeat it for each.",
        ),
    ] = None,
    on_error: options.OnError = "raise",
    chunk: options.Chunk = 32,
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
) -> None:
    """Measure methods on labelled pictures and write a record of it.

    Prints top-1 accuracy, its 95 % interval over pictures, its spread over
    seeds, encoder passes an image, and the difference to WCA on the same
    pictures. The record keeps every prediction.
    """
    from lgca_core.evaluation.evaluate import evaluate as run
    from lgca_core.evaluation.parts import load_part
    from lgca_core.evaluation.record import check_free, save
    from lgca_core.methods import check_methods

    methods = options.names(method, "--method")
    check_methods(methods)
    wca, lgca = options.wca_and_lgca(n, dataset)
    kept = options.open_store(store, no_store)
    if parts and kept is None:
        raise LgcaError("--parts tells who filled the store, which --no-store does not read: give one of the two")
    check_free(RUNS / "new" if out is None else out, force=force)
    ahead = [load_part(file) for file in parts or []]
    manifest = options.pictures(images, dataset, on_error)
    own = {"templates": templates, "descriptions": descriptions, "descriptors": descriptors}
    said = options.prompts(dataset, manifest, methods, **own)
    model = options.load(encoder, device, precision, batch_size, workers)
    with options.progress(manifest.name) as progress:
        record, predictions = run(
            manifest,
            model,
            methods,
            said,
            seeds=range(seeds),
            wca=wca,
            lgca=lgca,
            chunk=chunk,
            on_error=on_error,
            store=kept,
            progress=progress,
            parameters={
                "encoder": encoder or "aviary",
                "device": device,
                "dataset": dataset or manifest.name,
                "own_prompts": [kind for kind, file in own.items() if file],
            },
            parts=ahead,
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


def _free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, ... that is not there: runs may begin in the same second."""
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return next(name for name in chain([folder], numbered) if not name.exists())


def _run_name(manifest: "Manifest", utc: datetime) -> str:
    return re.sub(r"[^\w.-]+", "-", manifest.name) + utc.astimezone(UTC).strftime("-%Y%m%dT%H%M%SZ")
