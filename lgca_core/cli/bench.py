"""``lgca bench``: how near the way from files to logits comes to the encoder's own speed.

Needs torch, torchvision, open_clip and pandas only, so that it runs on a machine without the rest of the package's
libraries: ``python -m lgca_core.cli bench``.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lgca_core.errors import LgcaError

WIDTH = 40
BESIDE = {"times_torchvision": "torchvision, a crop at a time", "times_pillow": "Pillow"}


def parser() -> argparse.ArgumentParser:
    """The options, each with its default."""
    made = argparse.ArgumentParser(
        prog="lgca bench",
        description="Time WCA and LGCA from JPEG files to logits, beside the encoder alone on crops that are already "
        "cut and beside the loop that peers publish, taking turns. Prints the ratios and what a picture waits for, and "
        "writes a record. Weights of an architecture are random: no time depends on them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument(
        "--encoder", default="aviary", help="aviary, or an architecture of open_clip such as ViT-B-32-quickgelu"
    )
    made.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    made.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="float32")
    made.add_argument(
        "--pictures",
        type=int,
        default=argparse.SUPPRESS,
        help="of 500 x 375 pixels, painted for the occasion (default: 32, on a GPU 1024)",
    )
    made.add_argument("--n", type=int, default=60, help="crops of a picture")
    made.add_argument("--classes", type=int, default=100)
    made.add_argument("--repeats", type=int, default=5, help="turns that count; one more warms up")
    made.add_argument(
        "--workers",
        type=int,
        default=argparse.SUPPRESS,
        help="processes that cut crops for the peers' loop (default: 2, on a GPU 16)",
    )
    made.add_argument("--out", type=Path, default=Path("results/bench"), metavar="FOLDER", help="of the record")
    return made


def main(words: Sequence[str] | None = None) -> None:
    """Entry point; exit status 2 and one sentence for what a user can mend."""
    asked = parser().parse_args(words)
    try:
        asked.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    except OSError as error:
        _refuse(f"cannot write to {asked.out}: {error.strerror}")
    try:
        from lgca_core.bench import pipeline, resampling
        from lgca_core.bench.record import write
        from lgca_core.encoders.devices import pick_device

        given = {"pictures": 1024, "workers": 16} if pick_device(asked.device).type == "cuda" else {}
        given |= {name: value for name, value in vars(asked).items() if name in ("pictures", "workers")}
        work = pipeline.Work(n=asked.n, classes=asked.classes, repeats=asked.repeats, **given)
        record = pipeline.pipeline(asked.encoder, asked.device, asked.precision, work, report=_progress)
        file = write(record, asked.out, f"{record['encoder']}-{record['precision']}-{record['device']}")
        resampled = resampling.resampling(asked.device, n=asked.n, size=record["size"], repeats=asked.repeats)
        write(resampled, asked.out, f"{resampled['size']}-{resampled['device']}")
    except LgcaError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"cannot paint pictures or keep a model: {error}")
    except Exception as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        _refuse("the device's memory is full: give a smaller --encoder, or --precision auto")
    print(told(record))
    beside = [
        f"{resampled['ratios'][ratio]:.1f} times as fast as {what}"
        for ratio, what in BESIDE.items()
        if ratio in resampled["ratios"]
    ]
    print(f"resampling alone, to {resampled['size']} pixels: {', '.join(beside)}")
    print(f"record: {file}")


def told(record: Mapping[str, Any]) -> str:
    """A record in words: the machine, the ceiling, the ratios, and a bar for each stage."""
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


def _progress(said: str) -> None:
    print(said, file=sys.stderr)


def _refuse(said: str) -> None:
    print(f"error: {said}", file=sys.stderr)
    sys.exit(2)
