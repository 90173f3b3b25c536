"""``lgca encode``: fill the store with what an evaluation will look at, in parts that may run side by side."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import note, say
from lgca_core.cli.progress import progress
from lgca_core.errors import LgcaError


@app.command(
    epilog="\b\nExamples:\n"
    "  lgca encode --dataset pets --encoder ViT-B-32-quickgelu:openai \\\n"
    "    --part 1/2 --out part-1.json   (and --part 2/2, perhaps elsewhere; then)\n"
    "  lgca evaluate --dataset pets --encoder ViT-B-32-quickgelu:openai \\\n"
    "    --parts part-1.json --parts part-2.json"
)
def encode(
    images: options.Images = None,
    dataset: options.DatasetName = None,
    labels: options.Labels = None,
    class_names: options.ClassNames = None,
    method: options.Methods = "wca,lgca,cupl,clip",
    seeds: options.Seeds = 5,
    part: Annotated[
        str, typer.Option(metavar="K/N", help="The K-th of N parts of the pictures; several may run at once.")
    ] = "1/1",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel="Output", help="For what the part took; lgca evaluate --parts reads it."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel="Output", help="Overwrite the file of an earlier run.")
    ] = False,
    on_error: options.OnError = "raise",
    scale_grey: options.ScaleGrey = False,
    on_white: options.OnWhite = False,
    chunk: options.Chunk = 32,
    store: options.Store = None,
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
    """Fill the store with what an evaluation will look at, and write no record.

    Give the options that `lgca evaluate` will get: it then finds all crops of
    its pictures encoded. What is in the store already is not encoded again.
    """
    from lgca_core.evaluation import evaluate
    from lgca_core.evaluation.parts import check_free_file, check_part, empty_part, save_part, shards_of_part
    from lgca_core.evaluation.targets import claimed
    from lgca_core.methods import check_methods

    methods = options.names(method, "--method")
    check_methods(methods)
    encoder = options.resolve_encoder(encoder, dataset)
    wca, lgca = options.wca_and_lgca(n, dataset)
    piece = _part(part)
    check_part(piece)
    kept = options.open_store(store, False)
    assert kept is not None
    with claimed(out, "what the part took") if out else nullcontext():
        if out is not None:
            check_free_file(out, force=force)
        manifest = options.pictures(
            images,
            dataset,
            on_error,
            labels=labels,
            class_names=class_names,
            scale_grey=scale_grey,
            on_white=on_white,
        )
        said = options.prompts(
            dataset, manifest, methods, templates=templates, descriptions=descriptions, descriptors=descriptors
        )
        kept.check()
        if not shards_of_part(piece, manifest, kept):
            took = empty_part(piece, manifest)
            say(f"part {part} of {manifest.name}: nothing to encode, all its shards are in other parts; {kept.root}")
        else:
            model = options.load(encoder, device, precision, batch_size, workers)
            with progress(manifest.name, lambda: model.image_passes, kept=options.kept_in(kept)) as shown:
                took = evaluate.encode(
                    manifest,
                    model,
                    methods,
                    said,
                    kept,
                    part=piece,
                    seeds=range(seeds),
                    wca=wca,
                    lgca=lgca,
                    chunk=chunk,
                    on_error=on_error,
                    progress=shown,
                    notice=note,
                )
            say(
                f"part {part} of {manifest.name}: {took.pictures} pictures, {took.image_passes} image passes, "
                f"{took.seconds:.1f} s; {kept.root}"
            )
        if manifest.note:
            say(manifest.note)
        if out is not None:
            save_part(took, out)


def _part(text: str) -> tuple[int, int]:
    numbers = text.split("/")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise LgcaError(f"--part must be two numbers such as 2/8, not {text!r}")
    k, n = map(int, numbers)
    return k, n
