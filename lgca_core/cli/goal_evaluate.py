"""``lgca goal evaluate``: retrieval with long captions."""

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lgca_core.cli import options
from lgca_core.cli.goal import CaptionData, encoder_for, goal
from lgca_core.cli.output import listing, note, say, status
from lgca_core.cli.progress import progress
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    import pandas as pd

    from lgca_core.data.manifest import OnError, Skipped
    from lgca_core.related.captions.captioned import CaptionSet
    from lgca_core.related.goal.pairs import PairedPicture


@goal.command(
    epilog="\b\nExamples:\n"
    "  lgca goal evaluate --encoder goal:goal-run             (the embedded world)\n"
    "  lgca goal evaluate --data urban1k:/data/Urban1k --encoder goal:run\n"
    "  lgca goal evaluate --data docci:/data/docci --split test+qual_test --encoder goal:run --pairs pairs.json"
)
def evaluate(
    data: CaptionData = None,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Which pictures of the data; several joined by +.")
    ] = "test",
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Pairs of these pictures, by `lgca goal pairs`: also mAP@10 of the joint set."
        ),
    ] = None,
    encoder: options.EncoderSpec = None,
    ties: options.Ties = "middle",
    joint: Annotated[
        Literal["right", "released"],
        typer.Option(help="released: as GOAL's code prints it, regions never find their pictures."),
    ] = "right",
    out: options.RanksFolder = None,
    force: options.ForceRecord = False,
    form: options.Printed = "table",
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    batch_size: options.BatchSize = None,
    workers: options.Workers = 1,
    on_error: options.OnError = "raise",
) -> None:
    """How well pictures and their long captions find each other: R@1/5/25/50 both ways.

    Any encoder will do: a tuned one (goal:FOLDER), or one as it was. Its
    window decides how much of a caption is read.
    """
    from lgca_core.evaluation.record import reserved
    from lgca_core.related.captions.opening import open_captions, readable
    from lgca_core.related.captions.record import RELATED_FILES, save_related
    from lgca_core.related.goal.evaluate import evaluate_joint, evaluate_retrieval

    spec = encoder_for(data, encoder)
    with reserved(out, force=force, files=RELATED_FILES) if out else nullcontext():
        with status("reading the captions"):
            captions = open_captions(data or options.AVIARY, split, on_error=on_error)
            if on_error == "skip":  # a picture that breaks on the way would end it
                captions = readable(captions, on_error=on_error)
        paired, skipped = _paired(pairs, captions, on_error) if pairs else ([], [])
        model = options.load(spec, device, precision, batch_size, workers)
        began = time.perf_counter()
        with progress(f"{captions.name} ({captions.split})", lambda: model.image_passes) as told:
            result = evaluate_retrieval(model, captions, ties=ties, progress=told)
        if paired:
            result.metrics |= evaluate_joint(model, paired, joint=joint, ties=ties)
        if out is not None:
            save_related(
                out,
                result,
                [model],
                captions,
                parameters={"ties": ties, "joint": joint if pairs else None},
                training=_training(spec),
                seconds=time.perf_counter() - began,
                skipped=skipped,
                force=force,
            )
    rows = [_row(name, value, result.ranks) for name, value in result.metrics.items()]
    if form == "json":
        print(json.dumps(rows, indent=1))
    elif form == "csv":
        say(",".join(rows[0]), *(",".join("" if of is None else str(of) for of in row.values()) for row in rows))
    else:
        say(f"{model.name} on {captions.name} ({captions.split}), {len(captions.pictures):,} pictures")
        listing([_shown(row) for row in rows], right=["%"])
    for sentence in result.notes:
        note(sentence)
    if skipped:
        note(f"{len(skipped):,} pictures with pairs were skipped, the first: {skipped[0].path}: {skipped[0].reason}")


def _paired(file: Path, captions: "CaptionSet", on_error: "OnError") -> "tuple[list[PairedPicture], list[Skipped]]":
    """Pairs of the joint set that are there and lie in their pictures. LgcaError where none is left."""
    from lgca_core.related.goal.batches import usable
    from lgca_core.related.goal.pairs import read_pairs

    found, skipped = read_pairs(file, captions, on_error=on_error)
    kept, outside = usable(found, on_error)
    if not kept:
        raise LgcaError(f"{file} has no pairs of {captions.name} ({captions.split}): make them with lgca goal pairs")
    return kept, [*skipped, *outside]


def _training(spec: str) -> dict[str, Any] | None:
    from lgca_core.related.captions.record import training_report

    name, _, folder = spec.partition(":")
    return training_report(Path(folder).expanduser()) if name == "goal" else None


def _row(name: str, value: float, ranks: "pd.DataFrame") -> dict[str, Any]:
    """A metric in percent; of recalls also the 95 % interval over pictures, whose captions go together."""
    from lgca_core.evaluation.statistics import interval

    kind, _, way = name.partition(" ")
    low = high = None
    if kind.startswith("R@"):
        own = ranks[ranks["direction"] == way]
        hits = (own["rank"] <= int(kind[2:])).groupby(own["query"], sort=False).mean()
        low, high = (round(100 * end, 2) for end in interval(hits))
    return {"metric": kind, "direction": way, "percent": round(100 * value, 2), "low": low, "high": high}


def _shown(row: dict[str, Any]) -> dict[str, str]:
    between = "" if row["low"] is None else f"{row['low']:.1f} to {row['high']:.1f}"
    shown = {"metric": row["metric"], "direction": row["direction"]}
    return {**shown, "%": f"{row['percent']:.1f}", "95 % interval": between}
