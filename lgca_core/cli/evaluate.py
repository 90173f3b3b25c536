"""``lgca evaluate``: measure methods on labelled pictures."""

import re
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import note, report, say, stdout
from lgca_core.cli.progress import progress
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    import pandas as pd

    from lgca_core.data.manifest import Manifest
    from lgca_core.evaluation.record import Record

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
    labels: options.Labels = None,
    class_names: options.ClassNames = None,
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
    scale_grey: options.ScaleGrey = False,
    on_white: options.OnWhite = False,
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
    seeds, encoder passes an image, the mean of the classes' accuracies
    (balanced), how often the class is among the best five, the difference to
    WCA on the same pictures, and the hardest classes. The record keeps every
    prediction with its five best classes.
    """
    from lgca_core.encoders.embedded import EMBEDDED
    from lgca_core.evaluation.evaluate import evaluate as run
    from lgca_core.evaluation.metrics import worst_classes
    from lgca_core.evaluation.parts import load_part, misfit
    from lgca_core.evaluation.predictions import BYTES_A_ROW
    from lgca_core.evaluation.record import check_free, reserved
    from lgca_core.evaluation.targets import check_room
    from lgca_core.methods import check_methods

    methods = options.names(method, "--method")
    check_methods(methods)
    encoder = options.resolve_encoder(encoder, dataset)
    wca, lgca = options.wca_and_lgca(n, dataset)
    kept = options.open_store(store, no_store)
    if parts and kept is None:
        raise LgcaError("--parts tells who filled the store, which --no-store does not read: give one of the two")
    place = RUNS / "new" if out is None else out
    with reserved(out, force=force) if out else nullcontext(check_free(place)):
        ahead = [load_part(file) for file in parts or []]
        manifest = options.pictures(
            images,
            dataset,
            on_error,
            labels=labels,
            class_names=class_names,
            scale_grey=scale_grey,
            on_white=on_white,
        )
        if fault := misfit(ahead, manifest.sha256):
            raise LgcaError(f"{fault}: encode it again for {manifest.name}, remove its file, or leave it out")
        own = {"templates": templates, "descriptions": descriptions, "descriptors": descriptors}
        said = options.prompts(dataset, manifest, methods, **own)
        check_room(place, "the record", BYTES_A_ROW * len(manifest.items) * len(methods) * seeds)
        if kept is not None:
            kept.check()
        model = options.load(encoder, device, precision, batch_size, workers)
        with progress(manifest.name, lambda: model.image_passes, kept=options.kept_in(kept)) as shown:
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
                progress=shown,
                parameters={
                    "encoder": encoder,
                    "device": device,
                    "dataset": dataset or manifest.name,
                    **({"images": str(images)} if images else {}),
                    "own_prompts": [kind for kind, file in own.items() if file],
                },
                parts=ahead,
                notice=note,
            )
        record, target = _save(record, predictions, out or RUNS / _run_name(manifest, record.utc), out, force)
    console = stdout()
    report(console, record, predictions)
    if hardest := worst_classes(predictions):
        console.print(hardest, soft_wrap=True)
    for line in (manifest.note, *said.notes):
        if line:
            console.print(line, style="yellow")
    if encoder in EMBEDDED and not manifest.name.startswith("aviary"):
        console.print(options.OWN_WORLD, style="yellow")
    console.print(f"record: {target}", soft_wrap=True, highlight=False)


def _save(
    record: "Record", predictions: "pd.DataFrame", name: Path, out: Path | None, force: bool
) -> "tuple[Record, Path]":
    """Write the record to --out, or to a new folder of that name: name-2, name-3, ... where one is there.

    So it does where --out was filled meanwhile: the work is done, and must not be lost to that.
    """
    from lgca_core.evaluation.record import save

    if out is not None:
        try:
            return save(record, predictions, out, force=force), out
        except LgcaError as error:
            if not out.exists():
                raise
            say(f"warning: {error}", err=True)
    for folder in chain([name], (name.with_name(f"{name.name}-{number}") for number in count(2))):
        try:
            folder.mkdir(parents=True)  # so that no two processes take the same
        except FileExistsError:
            continue
        try:
            return save(record, predictions, folder), folder
        except LgcaError:
            folder.rmdir()
            raise
    raise AssertionError("names never end")


def _run_name(manifest: "Manifest", utc: datetime) -> str:
    return re.sub(r"[^\w.-]+", "-", manifest.name) + utc.astimezone(UTC).strftime("-%Y%m%dT%H%M%SZ")
