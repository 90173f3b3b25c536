"""``lgca goal evaluate``: retrieval with long captions."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from lgca_core.cli import options
from lgca_core.cli.goal import AVIARY, CaptionData, encoder_for, goal
from lgca_core.cli.output import listing, note, say, shown
from lgca_core.cli.progress import progress


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
    ties: Annotated[
        Literal["middle", "pessimistic"],
        typer.Option(help="Of items that score alike half go before the right one, or all."),
    ] = "middle",
    joint: Annotated[
        Literal["right", "released"],
        typer.Option(help="released: as GOAL's code prints it, regions never find their pictures."),
    ] = "right",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", rich_help_panel="Output", help="For a record, with the rank of every query."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel="Output", help="Overwrite an earlier record.")
    ] = False,
    form: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", rich_help_panel="Output", help="What is printed.")
    ] = "table",
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
    from lgca_core.evaluation.statistics import interval
    from lgca_core.evaluation.targets import claimed
    from lgca_core.related.captions.opening import open_captions
    from lgca_core.related.goal.evaluate import evaluate_joint, evaluate_retrieval
    from lgca_core.related.goal.pairs import read_pairs
    from lgca_core.related.goal.record import check_free_record, save_related, training_report

    spec = encoder_for(data, encoder)
    with claimed(out, "the record") if out else nullcontext():
        if out is not None:
            check_free_record(out, force=force)
        captions = open_captions(data or AVIARY, split, on_error=on_error)
        paired = read_pairs(pairs, captions, on_error=on_error)[0] if pairs else []
        model = options.load(spec, device, precision, batch_size, workers)
        with progress(f"{captions.name} ({captions.split})", lambda: model.image_passes) as told:
            result = evaluate_retrieval(model, captions, ties=ties, progress=told)
        if pairs:
            result.metrics |= evaluate_joint(model, paired, joint=joint, ties=ties)
        if out is not None:
            parameters = {"ties": ties, "joint": joint if pairs else None}
            save_related(
                out, result, model, captions, parameters=parameters, training=training_report(spec), force=force
            )
    rows = []
    for name, value in result.metrics.items():
        kind, _, way = name.partition(" ")
        row = {"metric": kind, "direction": way, "%": f"{100 * value:.1f}", "95 % interval": ""}
        if kind.startswith("R@"):
            hits = result.ranks.loc[result.ranks["direction"] == way, "rank"] <= int(kind[2:])
            row["95 % interval"] = " to ".join(f"{100 * end:.1f}" for end in interval(hits))
        rows.append(row)
    if form == "json":
        print(json.dumps(result.metrics, indent=1))
    elif form == "csv":
        say("metric,direction,percent", *(f"{row['metric']},{row['direction']},{row['%']}" for row in rows))
    else:
        say(f"{shown(model.name)} on {shown(captions.name)} ({captions.split}), {len(captions.pictures):,} pictures")
        listing(rows, right=["%"])
    for sentence in result.notes:
        note(sentence)
