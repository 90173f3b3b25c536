"""``lgca hada train``: train the fusion of frozen models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgca_core.cli import options
from lgca_core.cli.hada import (
    FrozenSpecs,
    RetrievalData,
    captions_of,
    features_of,
    folder_for,
    hada,
    specs_for,
)
from lgca_core.cli.output import listing, note, say, status
from lgca_core.cli.progress import progress
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.encoder import Encoder
    from lgca_core.related.captions.captioned import CaptionSet
    from lgca_core.related.hada.items import SplitFeatures
    from lgca_core.related.hada.model import ModelSaid
    from lgca_core.related.hada.train import HadaOutcome, HadaSettings

RELEASED: dict[str, Any] = {"epochs": 100, "batch": 20, "rate": 1e-4, "width": 512, "queue": 64_000, "patience": 20}
OF_AVIARY: dict[str, Any] = {"epochs": 10, "batch": 64, "rate": 1e-3, "width": 64, "queue": 4096, "patience": 4}
NO_DROPOUT = 0.0
"""Both of the embedded world, whose models are small; rate, width and dropout by the graph's RSum on validation."""


def _number(help_text: str, least: float) -> Any:
    return typer.Option(min=least, rich_help_panel="Training", help=help_text)


@hada.command(
    epilog="\b\nExamples:\n"
    "  lgca hada train                        (painted birds, some minutes on two cores)\n"
    "  lgca hada train --data flickr30k:/data/flickr30k --encoder ViT-B-32-quickgelu:openai \\\n"
    "    --encoder ViT-L-14:laion2b_s32b_b82k --out run --stage2"
)
def train(
    data: RetrievalData = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Which pictures of the data to learn from.")] = "train",
    validation: Annotated[
        str, typer.Option(metavar="NAME", help="The split that decides when to stop, and the shares of a score sum.")
    ] = "val",
    encoder: FrozenSpecs = None,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", rich_help_panel="Output", help="For the networks, their losses and checkpoints."
        ),
    ] = Path("hada-run"),
    force: options.ForceTraining = False,
    stage2: Annotated[
        bool,
        typer.Option(
            "--stage2",
            rich_help_panel="Training",
            help="Go on with the second stage, in which a share of the stronger model's own score is learned.",
        ),
    ] = False,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel="Training",
            help="A first stage for --stage2, trained before. Left out: OUT/stage-one, trained first.",
        ),
    ] = None,
    arm: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel="Training",
            help="hada, or score-sum, pooled, no-cross, released, ...: lgca hada arms lists all.",
        ),
    ] = "hada",
    epochs: Annotated[int | None, _number("At most 100 as released; of the aviary 10.", 1)] = None,
    batch: Annotated[int | None, _number("Captions a step: 20; of the aviary 64.", 2)] = None,
    rate: Annotated[float | None, _number("First learning rate: 1e-4; of the aviary 1e-3.", 0.0)] = None,
    width: Annotated[int | None, _number("Of a head and of the fused vector: 512; of the aviary 64.", 1)] = None,
    queue: Annotated[int | None, _number("Pairs kept as negatives: 64,000; of the aviary 4,096.", 1)] = None,
    patience: Annotated[int | None, _number("Epochs without a better RSum: 20; of the aviary 4.", 1)] = None,
    dropout: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.99,
            rich_help_panel="Training",
            help="Of attention and linear layers: 0.4, in a second stage 0.7; of the aviary 0.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=options.MOST_SEED, rich_help_panel="Training", help="Of weights, order and negatives."),
    ] = 0,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    batch_size: options.BatchSize = None,
    on_error: options.OnError = "raise",
) -> None:
    """Train a small network that makes one vector of what several frozen models say (HADA, arXiv 2301.04742).

    Stop it at will: the same command goes on from the last checkpoint. The
    result is an encoder like any other: --encoder hada:FOLDER.
    """
    from lgca_core.evaluation.targets import claimed
    from lgca_core.related.hada.arms import WITH_SHARE, fusion_settings_of, shares_of
    from lgca_core.related.hada.model import load_fusion, said_of
    from lgca_core.related.hada.network import Dropouts
    from lgca_core.related.hada.train import HadaSettings, check_start, second_stage
    from lgca_core.related.training.runs import REPORT, arm_in

    specs = specs_for(data, encoder)
    usual = OF_AVIARY if options.of_aviary(data) else RELEASED
    given = {"epochs": epochs, "batch": batch, "rate": rate, "queue": queue, "patience": patience}
    chosen: dict[str, Any] = {name: usual[name] if value is None else value for name, value in given.items()}
    plain = HadaSettings(**chosen, seed=seed, restart=max(1, chosen["epochs"] // 2), floor=min(5e-6, chosen["rate"]))
    rate_of_dropout = NO_DROPOUT if dropout is None and usual is OF_AVIARY else dropout
    rates = None if rate_of_dropout is None else Dropouts(0.0, *[rate_of_dropout] * 3)
    plain = replace(plain, network=replace(plain.network, width=width or usual["width"], dropouts=rates))
    settings = fusion_settings_of(arm, plain, len(specs))
    if stage2 and settings.kind == "sum":
        raise LgcaError(f"the arm {arm} has nothing to train, and so no second stage: leave --stage2 out")
    before = _first_stage(out, start, stage2)
    named = f"{arm}{WITH_SHARE}" if stage2 else arm
    folder_for(out)
    with claimed(out / REPORT, "the training"):
        if not force and (there := arm_in(out)) not in (None, named):
            raise LgcaError(
                f"{out} holds a training of the arm {there}: choose another --out (for a second stage of it, with "
                f"--start {out}), or give --force to begin anew"
            )
        with status("reading the captions"):
            learnt, chosen_by = (captions_of(data, name, on_error) for name in (split, validation))
        _check_captions(learnt, chosen_by, settings)
        encoders = [options.load(spec, device, precision, batch_size, 1) for spec in specs]
        if start is not None:
            check_start(load_fusion(start, encoders[0].device), second_stage(settings), start)
        features = features_of([learnt, chosen_by], encoders)
        run = _Run(features, said_of(specs, encoders, features[0]), shares_of(arm, len(specs)), encoders, force)
        if before is None:
            outcome = run(f"{arm}, seed {seed}", named, settings, out)
        else:
            if start is None:
                run(f"{arm}, seed {seed}, first stage", arm, settings, before)
            outcome = run(f"{arm}, seed {seed}, second stage", named, second_stage(settings), out, before)
    for one in (skipped := [of for part in (learnt, chosen_by) for of in part.skipped])[:3]:
        note(f"skipped {one.path}: {one.reason}")
    if len(skipped) > 3:
        note(f"{len(skipped):,} pictures were skipped in all")
    _tell(outcome, out)


def _first_stage(out: Path, start: Path | None, stage2: bool) -> Path | None:
    """The folder of the first stage of a second, None without one. LgcaError where it cannot be."""
    from lgca_core.related.hada.model import FUSION

    if not stage2:
        if start is not None:
            raise LgcaError("--start names the first stage of --stage2: give both, or neither")
        return None
    if start is None:
        return out / "stage-one"
    if not (start / FUSION).is_file():
        raise LgcaError(f"{start}: holds no trained fusion: end its training first, or leave --start out")
    if start.resolve() == out.resolve():
        raise LgcaError(f"{start} is both --start and --out: choose another --out for the second stage")
    return start


def _check_captions(learnt: "CaptionSet", chosen_by: "CaptionSet", settings: "HadaSettings") -> None:
    """Raises LgcaError for fewer captions than a batch, or pictures that are in both splits."""
    captions = sum(len(of.captions) for of in learnt.pictures)
    if settings.kind != "sum" and captions < settings.batch:
        raise LgcaError(f"{captions} captions are fewer than a batch of {settings.batch}: lower --batch")
    twice = {of.path for of in learnt.pictures} & {of.path for of in chosen_by.pictures}
    if twice:
        raise LgcaError(
            f"{len(twice):,} pictures are both to learn from and to validate by: give the lines of captions.jsonl a "
            f'"split", or name other splits by --split and --validation'
        )


class _Run:
    """One training after another on the same features."""

    def __init__(
        self,
        features: "Sequence[SplitFeatures]",
        models: "tuple[ModelSaid, ...]",
        shares: tuple[float, ...] | None,
        encoders: "Sequence[Encoder]",
        force: bool,
    ) -> None:
        self.learnt, self.validation = features
        self.models, self.shares, self.encoders, self.force = models, shares, encoders, force
        self.data = [of.captions.sha256(of.hashes) for of in features]

    def __call__(
        self, title: str, arm: str, settings: "HadaSettings", out: Path, before: Path | None = None
    ) -> "HadaOutcome":
        from lgca_core.files import sha256_of
        from lgca_core.related.hada.model import FUSION_WEIGHTS, load_fusion
        from lgca_core.related.hada.train import check_start, clear_fusion, finished_fusion, fuse

        device = self.encoders[0].device
        identity: dict[str, Any] = {
            "arm": arm,
            "models": [
                {"name": said.spec, "weights": said.sha256, "precision": encoder.precision}
                for said, encoder in zip(self.models, self.encoders, strict=True)
            ],
            "data": self.data,
            "pictures": len(self.learnt.captions.pictures),
            "captions": len(self.learnt.picture_of),
            "start": None if before is None else sha256_of(before / FUSION_WEIGHTS),
        }
        start = None
        if before is not None:
            start = load_fusion(before, device)
            check_start(start, settings, before, self.models)
        if self.force:  # all that can be wrong with what was given is known
            clear_fusion(out)
        outcome = finished_fusion(out, identity, settings)
        if outcome is not None:
            return outcome
        with progress(title, kept=f"the same command goes on from the last checkpoint in {out}") as shown:
            return fuse(
                self.learnt,
                self.validation,
                self.models,
                settings,
                out,
                identity=identity,
                device=device,
                start=start,
                shares=self.shares,
                progress=lambda step, steps, _: shown(step * settings.batch, steps * settings.batch),
            )


def _tell(outcome: "HadaOutcome", out: Path) -> None:
    rows = {name: f"{value:.4g}" for name, value in outcome.losses.items()}
    rows["RSum of the validation"] = f"{100 * outcome.rsum:.1f} of 600"
    rows["shares of the score sum"] = " + ".join(f"{share:g}" for share in outcome.shares)
    if outcome.steps:
        rows |= {
            "best epoch": f"{outcome.best_epoch} of {outcome.epochs}",
            "temperature": f"{outcome.tau:.3g}",
            "trained parameters": f"{outcome.parameters:,}",
            "seconds a step": f"{outcome.seconds / outcome.steps:.3g}",
        }
    if outcome.w is not None:
        rows["share of the stronger model"] = f"{outcome.w:.3g}"
    rows["peak memory"] = f"{outcome.peak_memory / 2**30:.2f} GiB"
    listing([{"of the training": name, "": value} for name, value in rows.items()], right=[""])
    say(f"The fusion: {out}; use it as --encoder hada:{out}")


@hada.command()
def arms() -> None:
    """List the arms of the comparison: HADA, and what `lgca hada train --arm NAME` trains instead."""
    from lgca_core.related.hada.arms import FUSION_ARMS

    listing([{"arm": name, "what it is": arm.summary} for name, arm in FUSION_ARMS.items()])
