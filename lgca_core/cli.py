"""``lgca``: classify pictures and evaluate methods from the command line (floor 5).

Whatever a user's input can get wrong ends in one sentence on stderr and exit status 2. torch and open_clip
are imported inside the commands that need them, so that ``lgca --help`` answers at once.
"""

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    import pandas as pd

    from lgca_core.datasets import Manifest
    from lgca_core.encoder import Encoder
    from lgca_core.lgca import LGCA
    from lgca_core.results import Record
    from lgca_core.wca import WCA

OWN_WORLD = (
    "The embedded encoder knows only the painted birds of its own aviary: on other pictures expect accuracy "
    "near chance, and use --encoder ViT-B-32-quickgelu:openai for real CLIP."
)


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
prompts_app = typer.Typer(help="Look after prompt files.", no_args_is_help=False)
app.add_typer(prompts_app, name="prompts")


def main() -> None:
    """Entry point of the ``lgca`` script."""
    app()


# ---- options -----------------------------------------------------------------------------------------------

METHODS_HELP = "clip, clip-e, clip-d, waffle, cupl, wca, wca-released, lgca or lgca-equal"

EncoderSpec = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="SPEC",
        rich_help_panel="Encoder",
        help="NAME:TAG of open_clip (downloads once), NAME:/path/to/checkpoint; else the embedded one.",
    ),
]
DeviceName = Literal["auto", "cpu", "cuda"]
Device = Annotated[DeviceName, typer.Option(rich_help_panel="Encoder", help="Where the encoder runs.")]
PrecisionName = Literal["float32", "bfloat16", "float16"]
Precision = Annotated[PrecisionName, typer.Option(rich_help_panel="Encoder", help="Of the encoder.")]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel="Encoder", help="Crops or sentences a pass."),
]
Workers = Annotated[
    int,
    typer.Option(
        min=1,
        rich_help_panel="Encoder",
        help="Batches encoded side by side on a CPU; for OMP_NUM_THREADS=1. The result is the same.",
    ),
]
Descriptions = Annotated[
    Path | None,
    typer.Option(
        "--descriptions",
        metavar="FILE.json",
        rich_help_panel="Prompts",
        help='{"class name": ["sentence", ...]}',
    ),
]
Descriptors = Annotated[
    Path | None,
    typer.Option(
        "--descriptors",
        metavar="FILE.json",
        rich_help_panel="Prompts",
        help='For clip-d: {"class name": ["long, black bill", ...]}',
    ),
]
Templates = Annotated[
    Path | None,
    typer.Option(
        "--templates",
        metavar="FILE.json",
        rich_help_panel="Prompts",
        help='For clip-e: ["a photo of a {}.", ...]',
    ),
]
N = Annotated[int, typer.Option("--n", min=1, rich_help_panel="WCA and LGCA", help="Crops a picture at the start.")]
Steps = Annotated[int, typer.Option(min=0, rich_help_panel="WCA and LGCA", help="Expansion steps of LGCA.")]
Rho = Annotated[float, typer.Option(rich_help_panel="WCA and LGCA", help="Share of crops kept at each step.")]
Gamma = Annotated[float, typer.Option(rich_help_panel="WCA and LGCA", help="Growth of a kept crop's side.")]
Start = Annotated[
    str,
    typer.Option(
        metavar="local|wca|A,B",
        rich_help_panel="WCA and LGCA",
        help="First sizes of LGCA: small ones, WCA's, or shares of the shorter side such as 0.1,0.5.",
    ),
]
Saliency = Annotated[
    Literal["image", "stratified", "text"],
    typer.Option(rich_help_panel="WCA and LGCA", help="What makes a crop salient."),
]
Lam = Annotated[
    Literal["uniform", "geometric", "last"],
    typer.Option("--lam", rich_help_panel="WCA and LGCA", help="How the steps are weighted."),
]
Growth = Annotated[
    Literal["square", "free"],
    typer.Option(rich_help_panel="WCA and LGCA", help="Whether a crop may stop being square at the picture's edge."),
]
WholeImage = Annotated[
    bool,
    typer.Option("--whole-image", rich_help_panel="WCA and LGCA", help="Let LGCA score the whole picture as well."),
]


def _settings(
    n: int,
    steps: int,
    rho: float,
    gamma: float,
    start: str,
    saliency: str,
    lam: str,
    growth: str,
    whole_image: bool,
) -> "tuple[WCA, LGCA]":
    from lgca_core.lgca import LGCA
    from lgca_core.wca import WCA

    fields: dict[str, Any] = {
        "steps": steps,
        "rho": rho,
        "gamma": gamma,
        "start": _start(start),
        "saliency": saliency,
        "lam": lam,
        "growth": growth,
        "whole_image": whole_image,
    }
    return WCA(n=n), LGCA(n=n, **fields)


def _start(text: str) -> str | tuple[float, float]:
    if text in ("local", "wca"):
        return text
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise LgcaError(f"--start must be local, wca or two shares such as 0.1,0.5, not {text!r}") from None
    return low, high


def _names(text: str, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise LgcaError(f"{option} must be names with commas between them, not {text!r}")
    return names


def _embedded(encoder: str | None) -> bool:
    return encoder in (None, "aviary")


def _load_encoder(
    spec: str | None, device: DeviceName, precision: PrecisionName, batch_size: int | None, workers: int = 1
) -> "Encoder":
    from lgca_core.encoder import load_encoder

    return load_encoder(spec, device=device, precision=precision, batch_size=batch_size, workers=workers)


# ---- classify ----------------------------------------------------------------------------------------------


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
    method: Annotated[str, typer.Option(help=METHODS_HELP + ".")] = "lgca",
    top: Annotated[int, typer.Option(min=1, help="How many classes to show for each picture.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Keys the crops.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    descriptions: Descriptions = None,
    descriptors: Descriptors = None,
    templates: Templates = None,
    encoder: EncoderSpec = None,
    device: Device = "auto",
    precision: Precision = "float32",
    batch_size: BatchSize = None,
    n: N = 60,
    steps: Steps = 3,
    rho: Rho = 0.5,
    gamma: Gamma = 1.25,
    start: Start = "local",
    saliency: Saliency = "image",
    lam: Lam = "uniform",
    growth: Growth = "square",
    whole_image: WholeImage = False,
) -> None:
    """Name what is in pictures, out of the classes given.

    Without descriptions the methods that want them use generic templates instead.
    """
    from lgca_core import evaluate as floor
    from lgca_core import prompts

    floor.check_methods([method])
    wca, lgca = _settings(n, steps, rho, gamma, start, saliency, lam, growth, whole_image)
    names = _names(classes, "--classes") if classes is not None else None
    if names is None and descriptions is None:
        raise LgcaError("no classes given: name them, as in --classes cat,dog, or give --descriptions")
    sentences = prompts.read_descriptions(descriptions, names) if descriptions else None
    names = names or list(sentences or ())
    generic = prompts.read_templates(templates) if templates else prompts.GENERIC_TEMPLATES
    notes = []
    if sentences is None and floor.METHODS[method].prompts == "descriptions":
        sentences = dict(zip(names, prompts.templates(names, generic), strict=True))
        notes.append(f"No descriptions given: {method} reads {len(generic)} templates instead.")
    if _embedded(encoder):
        notes.append(OWN_WORLD)
    for photo in photos:
        if not photo.is_file():
            raise LgcaError(f"{photo} is not a file: give pictures to classify")
    model = _load_encoder(encoder, device, precision, batch_size)
    ranked = list(
        floor.classify(
            photos,
            names,
            model,
            method,
            descriptions=sentences,
            descriptors=prompts.read_descriptions(descriptors, names) if descriptors else None,
            templates=generic,
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
    console = _console()
    console.print(table)
    for note in notes:
        console.print(note, style="yellow")


# ---- evaluate ----------------------------------------------------------------------------------------------


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
        str | None, typer.Option(metavar="NAME", help="A data set of the table that `lgca datasets` prints.")
    ] = None,
    method: Annotated[str, typer.Option(metavar="NAME,...", help=f"Any of {METHODS_HELP}.")] = "wca,lgca,cupl,clip",
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
    descriptions: Descriptions = None,
    descriptors: Descriptors = None,
    templates: Templates = None,
    encoder: EncoderSpec = None,
    device: Device = "auto",
    precision: Precision = "float32",
    batch_size: BatchSize = None,
    workers: Workers = 1,
    n: N = 60,
    steps: Steps = 3,
    rho: Rho = 0.5,
    gamma: Gamma = 1.25,
    start: Start = "local",
    saliency: Saliency = "image",
    lam: Lam = "uniform",
    growth: Growth = "square",
    whole_image: WholeImage = False,
) -> None:
    """Measure methods on labelled pictures and write a record of it.

    Prints top-1 accuracy, its 95 % interval over pictures, its spread over
    seeds, encoder passes an image, and the difference to WCA on the same
    pictures. The record keeps every prediction.
    """
    from lgca_core import evaluate as floor
    from lgca_core import prompts, results
    from lgca_core.datasets import DATASETS, folder, open_dataset

    methods = _names(method, "--method")
    floor.check_methods(methods)
    wca, lgca = _settings(n, steps, rho, gamma, start, saliency, lam, growth, whole_image)
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
    model = _load_encoder(encoder, device, precision, batch_size, workers)

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
    console = _console()
    _report(console, record, predictions)
    if _embedded(encoder) and not manifest.name.startswith("aviary"):
        console.print(OWN_WORLD, style="yellow")
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


def _console() -> Console:
    """stdout; without a terminal wide enough that no table is broken."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


# ---- the rest ----------------------------------------------------------------------------------------------


@app.command()
def encoders() -> None:
    """List what --encoder takes."""
    from lgca_core.encoder import list_encoders

    _listing(list_encoders())


@app.command()
def datasets() -> None:
    """List what --dataset takes."""
    from lgca_core.datasets import DATASETS

    _listing([{"name": name, "what": entry.summary} for name, entry in DATASETS.items()])


def _listing(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    _console().print(table)


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
        names = _names(classes, "--classes")
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
        from lgca_core.results import library_versions

        print("lgca", library_versions().get("lgca-core", "(not installed)"))
    elif context.invoked_subcommand is None:
        print(context.get_help())
