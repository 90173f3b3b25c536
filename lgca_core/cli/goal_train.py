"""``lgca goal train``: tune a CLIP on captioned pictures and local pairs."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lgca_core.cli import options
from lgca_core.cli.goal import CaptionData, RegionSource, encoder_for, goal
from lgca_core.cli.output import listing, note, say, status
from lgca_core.cli.progress import progress
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.data.manifest import OnError, Skipped
    from lgca_core.encoder import Encoder
    from lgca_core.related.captions.captioned import CaptionSet
    from lgca_core.related.goal.pairs import PairedPicture
    from lgca_core.related.goal.regions import Regions
    from lgca_core.related.goal.train import Outcome

RELEASED = {"epochs": 10, "batch": 16, "rate": 5e-6}
OF_AVIARY = {"epochs": 3, "batch": 32, "rate": 3e-4}
"""Of the embedded world, whose model is small and far from its goal; chosen on the validation species."""


@goal.command(
    epilog="\b\nExamples:\n"
    "  lgca goal train                      (the embedded world, a few minutes on two cores)\n"
    "  lgca goal train --data docci:/data/docci --encoder ViT-B-16-quickgelu:openai \\\n"
    "    --pairs pairs.json --autocast bfloat16 --out run\n"
    "  torchrun --nproc-per-node 4 -m lgca_core goal train ...   (a batch shared by four GPUs)"
)
def train(
    data: CaptionData = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Which pictures of the data.")] = "train",
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="What `lgca goal pairs` wrote; without it, pairs are made first."),
    ] = None,
    regions: RegionSource = None,
    encoder: options.EncoderSpec = None,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", rich_help_panel="Output", help="For the model, its losses and checkpoints."),
    ] = Path("goal-run"),
    force: options.ForceTraining = False,
    arm: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel="Training",
            help="goal, or global, local, global-local, random-boxes, full-matrix, bfloat16-weights, three-pairs, ...: "
            "lgca goal arms lists all.",
        ),
    ] = "goal",
    epochs: Annotated[
        int | None, typer.Option(min=1, rich_help_panel="Training", help="10 as released; of the aviary 3.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=2, rich_help_panel="Training", help="Pictures a step: 16; of the aviary 32.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.0, rich_help_panel="Training", help="First learning rate: 5e-6; of the aviary 3e-4."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=options.MOST_SEED, rich_help_panel="Training", help="Of the order of pictures.")
    ] = 0,
    autocast: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(
            rich_help_panel="Training",
            help="What the towers compute in; their weights stay float32. bfloat16 pays on a GPU.",
        ),
    ] = "float32",
    chunks: Annotated[
        int,
        typer.Option(
            min=1,
            rich_help_panel="Training",
            help="Encode a batch in so many parts, twice: less memory, and the loss of the whole batch.",
        ),
    ] = 1,
    checkpointing: Annotated[
        bool,
        typer.Option(
            "--checkpointing",
            rich_help_panel="Training",
            help="Recompute activations in the backward pass, for less memory.",
        ),
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            rich_help_panel="Training",
            help="Run the towers through torch.compile; it does not pay on a CPU.",
        ),
    ] = False,
    device: options.Device = "auto",
    workers: Annotated[int, typer.Option(min=0, rich_help_panel="Training", help="Processes that read pictures.")] = 0,
    on_error: options.OnError = "raise",
) -> None:
    """Tune a CLIP on long captions and on matches of a region and a sentence (GOAL, arXiv 2503.17782).

    Stop it at will: the same command goes on from the last checkpoint. The
    result is an encoder like any other: --encoder goal:FOLDER.
    """
    from lgca_core.evaluation.targets import claimed
    from lgca_core.related.captions.opening import open_captions
    from lgca_core.related.goal.arms import settings_of
    from lgca_core.related.goal.batches import usable
    from lgca_core.related.goal.pairs import digest_of_pairs, read_pairs
    from lgca_core.related.goal.regions import open_regions
    from lgca_core.related.goal.sharing import is_first, join_processes, leave_processes, wait_for_first
    from lgca_core.related.goal.train import (
        TrainSettings,
        check_trainable,
        clear_training,
        finished,
        tune,
    )
    from lgca_core.related.training.runs import REPORT

    usual = OF_AVIARY if options.of_aviary(data) else RELEASED
    settings = settings_of(
        arm,
        TrainSettings(
            epochs=epochs or usual["epochs"],  # type: ignore[arg-type]
            batch=batch or usual["batch"],  # type: ignore[arg-type]
            rate=usual["rate"] if rate is None else rate,
            autocast=autocast,
            chunks=chunks,
            seed=seed,
        ),
    )
    spec = encoder_for(data, encoder)
    if out.exists() and not out.is_dir():
        raise LgcaError(f"{out} is a file: choose another --out")
    place = join_processes(device)
    with claimed(out / REPORT, "the training") if is_first() else nullcontext():
        with status("reading the captions"):
            captions = open_captions(data or options.AVIARY, split, on_error=on_error)
        if len(captions.pictures) < settings.batch:
            raise LgcaError(
                f"{len(captions.pictures)} pictures are fewer than a batch of {settings.batch}: lower --batch"
            )
        model = options.load(spec, place, "float32", None)
        check_trainable(model)
        how = regions or ("true" if options.of_aviary(data) else "grid")
        candidates = open_regions(how, captions)
        given = read_pairs(pairs, captions, on_error=on_error) if pairs else None
        if force and is_first():  # all that can be wrong with what was given is known
            clear_training(out)
        wait_for_first()  # else another process might still find what is being cleared
        paired, skipped = given or _made(captions, candidates, model, out / f"pairs-{Path(how).stem}.json", on_error)
        kept, left_out = usable(paired, on_error)
        for one in (skipped := [*captions.skipped, *skipped, *left_out])[:3]:
            note(f"skipped {one.path}: {one.reason}")
        if len(skipped) > 3:
            note(f"{len(skipped):,} pictures were skipped in all")
        identity: dict[str, Any] = {"arm": arm, "encoder": model.name, "weights": model.sha256}
        identity |= {"data": digest_of_pairs(kept), "pictures": len(kept)}
        outcome = finished(out, identity, settings)
        if outcome is None:
            kept_in = f"the same command goes on from the last checkpoint in {out}"
            with progress(f"{arm}, seed {seed}", kept=kept_in) as shown:
                outcome = tune(
                    kept,
                    model,
                    settings,
                    out,
                    identity=identity,
                    checkpointing=checkpointing,
                    compiled=compiled,
                    workers=workers,
                    progress=lambda step, steps, _: shown(step * settings.batch, steps * settings.batch),
                )
    if is_first():
        _tell(outcome, out)
    leave_processes()


def _made(
    captions: "CaptionSet", regions: "Regions", model: "Encoder", file: Path, on_error: "OnError"
) -> "tuple[list[PairedPicture], Sequence[Skipped]]":
    """Pairs made beside the training: once, by the first of its processes."""
    from lgca_core.related.goal.matching import make_pairs
    from lgca_core.related.goal.pairs import read_pairs
    from lgca_core.related.goal.sharing import is_first, wait_for_first

    if is_first() and not file.exists():
        with progress("local pairs", lambda: model.image_passes, kept="the same command goes on") as shown:
            make_pairs(captions, model, regions, out=file, on_error=on_error, progress=shown)
    wait_for_first()
    return read_pairs(file, captions, on_error=on_error)


def _tell(outcome: "Outcome", out: Path) -> None:
    counts = outcome.counts
    rows = [{"of the training": name, "": f"{value:.4g}"} for name, value in outcome.losses.items()]
    rows += [{"of the training": name, "": f"{value:,}"} for name, value in counts.items()]
    rows += [
        {"of the training": "steps", "": f"{outcome.steps:,}"},
        {"of the training": "seconds a step", "": f"{outcome.seconds_a_step:.3g}"},
        {"of the training": "peak memory", "": f"{outcome.peak_memory / 2**30:.2f} GiB"},
        {"of the training": "weights that moved", "": f"{100 * outcome.moved:.1f} %"},
    ]
    listing(rows, right=[""])
    say(f"The model: {out}; use it as --encoder goal:{out}")


@goal.command()
def arms() -> None:
    """List the arms of the comparison: GOAL, and what `lgca goal train --arm NAME` trains instead."""
    from lgca_core.related.goal.arms import ARMS

    listing([{"arm": name, "what it is": arm.summary} for name, arm in ARMS.items()])
