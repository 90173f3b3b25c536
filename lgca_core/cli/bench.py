"""``lgca bench``: what things take on this machine, a command a benchmark, each leaving a record.

``pipeline``, ``encoding``, ``resampling`` and ``class-matrix`` need torch, torchvision, open_clip, pandas and typer
only, so that they run on a machine without the rest of the package's libraries: ``python -m lgca_core.cli bench``.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lgca_core.cli.base import app
from lgca_core.cli.options import DeviceName, PrecisionName
from lgca_core.errors import LgcaError
from lgca_core.evaluation.targets import check_parent

WIDTH = 40
BESIDE = {"times_torchvision": "torchvision, a crop at a time", "times_pillow": "Pillow"}

bench_app = typer.Typer(invoke_without_command=True)
app.add_typer(bench_app, name="bench")

Encoder = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="aviary, or an architecture of open_clip such as ViT-B-32-quickgelu, with random weights.",
    ),
]
Device = Annotated[DeviceName, typer.Option(help="Where the encoder runs.")]
Precision = Annotated[
    PrecisionName,
    typer.Option(help="Of the encoder. auto: float16 on a GPU, bfloat16 on a CPU with AMX, else float32."),
]
Crops = Annotated[int, typer.Option("--n", min=1, help="Crops of a picture.")]
Repeats = Annotated[int, typer.Option(min=1, help="Turns that count.")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the record goes.")]
BENCH = Path("results/bench")


@bench_app.callback()
def bench(context: typer.Context) -> None:
    """Time WCA and LGCA, and what they are made of, on this machine.

    Whatever is compared takes turns, so that a machine that is busy for a
    while slows all of it: read ratios, not seconds. Before anything is timed,
    all ways must come to the same result. Each command prints what it found
    and adds a record to results/bench/, which the book's pages Speed and What
    it costs show. Begin with `lgca bench pipeline`.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


@bench_app.command(
    epilog="\b\nExamples:\n  lgca bench pipeline\n  lgca bench pipeline --encoder ViT-B-32-quickgelu --precision auto"
)
def pipeline(
    encoder: Encoder = "aviary",
    device: Device = "auto",
    precision: Precision = "float32",
    pictures: Annotated[
        int | None,
        typer.Option(min=1, help="Of 500 x 375 pixels, painted for it: 32, on a GPU 1024.", show_default=False),
    ] = None,
    n: Crops = 60,
    classes: Annotated[int, typer.Option(min=2, help="Whose vectors pictures are compared with.")] = 100,
    repeats: Repeats = 5,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that cut crops for the peers: 2, on a GPU 16.", show_default=False),
    ] = None,
    out: Out = BENCH,
) -> None:
    """Files to logits, beside the encoder alone and beside the loop that peers publish.

    The encoder alone gets crops that are cut already, in full batches. The
    peers' loop cuts crops one at a time with Pillow and encodes those of one
    picture together.
    """
    with _benchmark(out):
        from lgca_core.bench.pipeline import Work, time_pipeline
        from lgca_core.bench.record import write
        from lgca_core.encoders.devices import pick_device

        gpu = pick_device(device).type == "cuda"
        work = Work(
            pictures=pictures or (1024 if gpu else 32),
            n=n,
            classes=classes,
            repeats=repeats,
            workers=(16 if gpu else 2) if workers is None else workers,
        )
        record = time_pipeline(encoder, device, precision, work, _progress)
        file = write(record, out, f"{encoder}-{record['precision']}-{record['device']}")
    print(pipeline_in_words(record))
    print(f"record: {file}")


@bench_app.command(epilog="\b\nExample:\n  lgca bench encoding --encoder ViT-B-32-quickgelu --precision auto")
def encoding(
    encoder: Encoder = "aviary",
    device: Device = "auto",
    precision: Precision = "float32",
    batches: Annotated[int, typer.Option(min=4, help="Crops to encode, in batches of the encoder's own size.")] = 8,
    repeats: Repeats = 7,
    out: Out = BENCH,
) -> None:
    """Ways to run the encoder on crops that are cut already, and a profile of ours.

    Our towers beside open_clip's own model, smaller and larger batches, and
    our towers compiled by torch where it finds a compiler.
    """
    with _benchmark(out):
        from lgca_core.bench.encoding import time_encoding  # before torch, which it silences
        from lgca_core.bench.record import write

        record = time_encoding(encoder, device, precision, batches, repeats, _progress)
        file = write(record, out, f"{encoder}-{record['precision']}-{record['device']}")
    for arm, speed in record["crops_per_second"].items():
        print(f"{arm:<28} {speed:9.1f} crops a second   {record['times_ours'][arm]:5.2f} x")
    for row in record["operators"]:
        print(f"{row['operator']:<56} {100 * row['share']:5.1f} %")
    print(f"record: {file}")


@bench_app.command(epilog="\b\nExamples:\n  lgca bench resampling\n  lgca bench resampling --size 64 --device cpu")
def resampling(
    device: Annotated[DeviceName, typer.Option(help="Where crops are cut.")] = "auto",
    pictures: Annotated[int, typer.Option(min=1, help="Of 500 x 375 pixels, painted for it.")] = 8,
    n: Crops = 60,
    size: Annotated[int, typer.Option(min=1, help="Side of what is cut, in pixels.")] = 224,
    repeats: Repeats = 5,
    out: Out = BENCH,
) -> None:
    """Cutting and resizing alone, beside torchvision and on a CPU Pillow.

    Ours and Pillow's crops must be equal to the last bit.
    """
    with _benchmark(out):
        from lgca_core.bench.record import write
        from lgca_core.bench.resampling import time_resampling

        record = time_resampling(device, pictures, n, size, repeats, _progress)
        file = write(record, out, f"{size}-{record['device']}")
    for ratio, what in BESIDE.items():
        if ratio in record["ratios"]:
            print(f"to {size} pixels {record['ratios'][ratio]:.1f} times as fast as {what}")
    print(f"record: {file}")


@bench_app.command(epilog="\b\nExample:\n  lgca bench class-matrix --classes 200 --sentences 20")
def class_matrix(
    encoder: Encoder = "aviary",
    device: Device = "auto",
    classes: Annotated[int, typer.Option(min=2, max=1000, help="With ImageNet's names.")] = 1000,
    sentences: Annotated[int, typer.Option(min=1, help="Of a class, on average.")] = 50,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Sentences a pass in one go; else the encoder's own.", show_default=False),
    ] = None,
    repeats: Repeats = 3,
    seed: Annotated[int, typer.Option(help="Of the sentences.")] = 0,
    out: Out = BENCH,
) -> None:
    """The class matrix of many classes in one go, beside a class at a time."""
    with _benchmark(out):
        from lgca_core.bench.class_matrix import time_class_matrix
        from lgca_core.bench.record import write

        record = time_class_matrix(encoder, device, classes, sentences, repeats, seed, batch_size, _progress)
        file = write(record, out, f"{encoder}-{record['device']}")
    for arm, seconds in record["median_seconds"].items():
        times = record["times_faster"].get(arm)
        print(f"{arm:<26} {seconds:9.2f} s" + (f"   {times:6.2f} x" if times else ""))
    print(f"record: {file}")


@bench_app.command(epilog="\b\nExamples:\n  lgca bench growth --precision auto\n  lgca bench growth --most 100")
def growth(
    device: Device = "auto",
    precision: Precision = "float32",
    most: Annotated[int, typer.Option(min=10, help="Largest value of any axis; 100 takes minutes.")] = 10_000,
    repeats: Annotated[int, typer.Option(min=1, help="Turns that count; from 1,000 of anything on one.")] = 3,
    out: Out = BENCH,
) -> None:
    """How time grows with pictures, crops, steps, classes and sentences, and the fitted powers."""
    with _benchmark(out):
        from lgca_core.bench.growth import time_growth
        from lgca_core.bench.record import write

        record = time_growth(device, precision, most, repeats, _progress)
        file = write(record, out, f"aviary-{record['precision']}-{record['device']}")
    for row in record["fitted"]:
        power = f"{row['exponent']:.2f} ± {row['error']:.2f}"
        print(f"{row['what']:<13} grows with {row['symbol']} to the power {power}, by theory {row['expected']}")
    print(f"record: {file}")


@bench_app.command(epilog="\b\nExample:\n  lgca bench precision --precision bfloat16")
def precision(
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "bfloat16", "float16"], typer.Option(help="What is compared with float32; auto as elsewhere.")
    ] = "auto",
    n: Crops = 30,
    dataset: Annotated[str, typer.Option(metavar="NAME", help="Of the embedded world.")] = "aviary",
    out: Out = BENCH,
) -> None:
    """What half the bits cost: predictions that flip against float32."""
    with _benchmark(out):
        from lgca_core.bench.precision import count_flips
        from lgca_core.bench.record import write
        from lgca_core.data.table import open_dataset

        record = count_flips(open_dataset(dataset), device, precision, n)
        file = write(record, out, f"aviary-{record['precision']}-{record['device']}")
    for method, flipped in record["flips_per_10000"].items():
        print(f"{method:<12} {flipped:6.0f} of 10,000 flip, {record['accuracy_points'][method]:+.2f} points")
    print(f"record: {file}")


@bench_app.command(epilog="\b\nExample:\n  lgca bench official-wca --checkout ~/WCA")
def official_wca(
    checkout: Annotated[
        Path, typer.Option(metavar="DIR", help="A copy of github.com/tmlr-group/WCA, which is run as it is.")
    ],
    pictures: Annotated[int, typer.Option(min=2, max=600, help="Of the embedded world.")] = 200,
    seeds: Annotated[int, typer.Option(min=2, help="Of the released code, each with crops of its own.")] = 6,
    out: Out = BENCH,
) -> None:
    """WCA's released code beside ours, on its own boxes: crops, weights, scores, predictions. Times nothing."""
    with _benchmark(out):
        from lgca_core.bench.official_wca import compare_with_checkout
        from lgca_core.bench.record import write

        record = compare_with_checkout(checkout, pictures, seeds, _progress)
        file = write(record, out, f"{pictures}x{record['pool']}x{seeds}")
    crops, predictions, half = record["crops"], record["predictions"], record["half"]
    apart, own = record["largest_difference"], record["own_boxes"]
    print(f"{crops['identical']:,} of {crops['compared']:,} crops are equal in every value")
    print(f"weights within {apart['weights']:.1e}, scores within {apart['logits']:.1e}")
    print(f"{predictions['differ']:,} of {predictions['compared']:,} predictions differ")
    print(f"on boxes of our own {own['points']:+.2f} points ({own['interval'][0]:+.2f} to {own['interval'][1]:+.2f})")
    print(f"the released code in half precision: {half['differ']:,} of {half['compared']:,} predictions differ")
    print(f"record: {file}")


@bench_app.command(epilog="\b\nExample:\n  lgca bench store-memory --pictures 5000")
def store_memory(
    pictures: Annotated[int, typer.Option(min=1, help="Whose features are stored; 50,000 take 3.2 GB.")] = 50_000,
    width: Annotated[int, typer.Option(min=1, help="Of a vector.")] = 512,
    classes: Annotated[int, typer.Option(min=1, help="Of 50 sentences each.")] = 1000,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="For the store meanwhile; else the system's.", show_default=False),
    ] = None,
    out: Out = BENCH,
) -> None:
    """Memory and time of an evaluation whose features are all in the store.

    Exits with 1 where it takes 2 GB or more beyond what was there before.
    """
    with _benchmark(out):
        from lgca_core.bench.record import write
        from lgca_core.bench.store_memory import TOO_MUCH, weigh_evaluation

        record = weigh_evaluation(pictures, width, classes, folder)
        file = write(record, out, f"{pictures}x{record['boxes_a_picture']}x{width}")
    beyond = record["beyond_bytes"]
    print(f"{beyond / 1e9:.2f} GB beyond, {1000 * record['seconds'] / pictures:.2f} ms a picture")
    print(f"record: {file}")
    if beyond >= TOO_MUCH:
        print(
            f"error: {beyond / 1e9:.2f} GB beyond what was there before; it must stay under {TOO_MUCH / 1e9:g} GB",
            file=sys.stderr,
        )
        raise typer.Exit(1)


@bench_app.command(epilog="\b\nExample:\n  lgca bench graph-attention --tokens 577 --tokens 37")
def graph_attention(
    device: Device = "auto",
    items: Annotated[int, typer.Option(min=1, help="Pictures of a batch.")] = 20,
    tokens: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Of a picture by each model: 577 and 37.", show_default=False),
    ] = None,
    width: Annotated[int, typer.Option(min=1, help="Of a node and of a head.")] = 512,
    heads: Annotated[int, typer.Option(min=1, help="Of the attention.")] = 4,
    repeats: Repeats = 5,
    out: Out = BENCH,
) -> None:
    """HADA's graph layer beside PyTorch Geometric's, which must be installed."""
    with _benchmark(out):
        from lgca_core.bench.graph_attention import time_graph_attention
        from lgca_core.bench.record import write

        record = time_graph_attention(device, items, tokens or (577, 37), width, heads, repeats, _progress)
        file = write(record, out, f"{'x'.join(map(str, record['tokens']))}-{record['device']}")
    held = {name: f"{size / 1e6:,.0f} MB" for name, size in record["bytes_for_the_gradient"].items()}
    print(f"{record['times_faster']:.1f} times as fast as GATv2Conv, forward and backward")
    print(f"held for the gradient: {held['dense']} instead of {held['GATv2Conv']}")
    print(f"record: {file}")


@contextmanager
def _benchmark(out: Path) -> Iterator[None]:
    """Check before the work that a record can be written after it, and say in one sentence what a machine lacks."""
    check_parent(out / "record.json", "a record")
    try:
        yield
    except ModuleNotFoundError as error:
        raise LgcaError(f"this benchmark needs {error.name} too, which is not installed here") from error
    except OSError as error:
        raise LgcaError(f"the benchmark cannot keep what it works on: {error}") from error
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        raise LgcaError("the device's memory is full: give a smaller --encoder, or --precision auto") from error


def _progress(line: str) -> None:
    print(line, file=sys.stderr)


def pipeline_in_words(record: Mapping[str, Any]) -> str:
    """A record of ``pipeline`` in words: the machine, the ceiling, the ratios, and a bar for each stage."""
    machine, work, median = record["machine"], record["work"], record["median_seconds"]
    place = (
        machine["accelerator"] or f"{machine['processor']}, {machine['threads']} threads of {machine['cores']} cores"
    )
    speed, ratios = record["crops_per_second"], record["ratios"]
    lines = [
        f"{record['encoder']} in {record['precision']} on {place}",
        f"{work['pictures']} pictures, {work['n']} crops of each, {work['classes']} classes; "
        f"medians of {work['repeats']} turns",
        "",
        f"encoder alone          {speed['encoder alone']:10,.1f} crops a second",
        f"WCA, files to logits   {speed['wca']:10,.1f} crops a second: {ratios['share_of_encoder']:.2f} of the encoder",
        f"LGCA at equal passes   {ratios['lgca_to_wca']:10.2f} of the pictures a second of WCA",
        f"WCA as peers do it     {ratios['times_peers']:10.2f} times slower, with {work['workers']} workers",
        "",
        "what a picture takes, in milliseconds; what overlaps is counted twice",
    ]
    stages = {
        "files to logits": "wca",
        "encode": "encoder alone",
        "all but encode": "all but the encoder",
        "decode, one thread": "decode",
        "resample and send" if record["device"] == "cuda" else "resample": "resample",
    }
    for name, arm in stages.items():
        bar = "█" * max(1, round(WIDTH * median[arm] / median["wca"]))
        lines.append(f"{name:<20} {1000 * median[arm] / work['pictures']:9.1f} {bar}")
    return "\n".join(lines)
