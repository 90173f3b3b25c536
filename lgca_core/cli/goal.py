"""``lgca goal``: tune a CLIP on long captions and local matches; its first step, the pairs."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import listing, note, say, status
from lgca_core.cli.progress import progress
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.data.manifest import Skipped

ROWS = {
    "pictures": "pictures read",
    "sentences": "sentences of their captions",
    "pairs": "pairs: a sentence and its region",
    "whole": "sentences that took the whole picture: left out",
    "without": "pictures without a pair: left out",
    "cut": "sentences longer than the encoder reads: cut",
    "skipped": "pictures skipped",
    "empty": "regions outside of their picture: left out",
    "size": "regions below 1 % or above 80 % of their picture: left out",
}
"""What is counted, in the order in which it is shown; the last three only where there are any."""

goal = typer.Typer(help="GOAL: tune a CLIP on long captions and local matches.", invoke_without_command=True)
app.add_typer(goal, name="goal")


@goal.callback()
def _goal(context: typer.Context) -> None:
    """GOAL: tune a CLIP on long captions and local matches."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def encoder_for(data: str | None, encoder: str | None) -> str:
    """The encoder that is named, or one's own default; on the aviary without either, the aviary's."""
    return options.resolve_encoder(encoder, "aviary" if options.of_aviary(data) else None)


CaptionData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SPEC",
        help="Captioned pictures: docci:PATH, dci:PATH, urban1k:PATH, a file of JSON lines or a folder that holds a "
        "captions.jsonl, or aviary. Left out: the aviary, with its own encoder.",
    ),
]

RegionSource = Annotated[
    str | None,
    typer.Option(
        "--regions",
        metavar="grid|true|FILE",
        help="grid: quadrants, the centre and random squares. true: the boxes that a painted world knows. FILE: "
        "boxes or masks of a segmenter or detector. Left out: true on the aviary, else grid.",
    ),
]


@goal.command(
    epilog="\b\nExamples:\n"
    "  lgca goal pairs --out pairs.json        (painted birds, their true boxes)\n"
    "  lgca goal pairs --data docci:/path --encoder ViT-L-14-336-quickgelu:openai \\\n"
    "    --regions grid --out pairs.json\n"
    "  lgca goal pairs --data dci:/path --encoder ViT-L-14-336-quickgelu:openai \\\n"
    "    --regions masks.jsonl --on-error skip --out pairs.json\n\n"
    "\b\nA file of regions holds one of these, or a line of the last three a picture:\n"
    '  {"images": \\[...], "annotations": \\[...]}                   (COCO)\n'
    '  {"image": "a.jpg", "annotations": \\[{"bbox": \\[x, y, w, h],\n'
    '    "area": 900}, ...]}                                       (SAM)\n'
    '  {"image": "a.jpg", "boxes": \\[{"box": {"xmin": 0, "ymin": 0,\n'
    '    "xmax": 9, "ymax": 9}}, ...]}                             (a detector)\n'
    '  {"image": "a.jpg", "boxes": \\[\\[x1, y1, x2, y2], ...]}       (your own)'
)
def pairs(
    data: CaptionData = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Split of the data.")] = "train",
    regions: RegionSource = None,
    random: Annotated[int, typer.Option(min=0, metavar="N", help="Random squares of the grid.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the random squares.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", rich_help_panel="Output", help="Where the pairs go.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel="Output", help="Overwrite the file of an earlier run.")
    ] = False,
    on_error: options.OnError = "raise",
    encoder: options.EncoderSpec = None,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    batch_size: options.BatchSize = None,
    workers: options.Workers = 1,
) -> None:
    """Match every sentence of a caption with a region of its picture.

    GOAL learns from such pairs besides whole pictures and captions. Of each
    picture the whole and its regions are encoded; a sentence takes the one
    that it fits best, and is left out where that is the whole. A run that is
    stopped goes on from where it was, by the same command.
    """
    if out is None:
        raise LgcaError("give --out FILE.json: where the pairs go")
    from lgca_core.evaluation.targets import check_parent
    from lgca_core.related.captions.opening import open_captions
    from lgca_core.related.goal.matching import make_pairs
    from lgca_core.related.goal.regions import open_regions

    check_parent(out, "the pairs")
    if out.is_dir():
        raise LgcaError(f"{out} is a folder: give a file for the pairs")
    if out.exists() and not force:
        raise LgcaError(f"{out} is already there: choose another file, or overwrite it with --force")
    spec = encoder_for(data, encoder)
    with status("reading the captions"):
        captions = open_captions(data or options.AVIARY, split, on_error=on_error)
        chosen = regions or ("true" if options.of_aviary(data) else "grid")
        found = open_regions(chosen, captions, seed=seed, random=random)
    model = options.load(spec, device, precision, batch_size, workers)
    counts: Counter[str] = Counter()
    skipped: list[Skipped] = [*captions.skipped]
    kept = f"what was done is kept beside {out}: give the same command again, and it goes on from there"
    kept = kept if model.sha256 else "nothing of it is kept"
    with progress(captions.name, lambda: model.image_passes, kept=kept) as shown:
        made = make_pairs(
            captions, model, found, out=out, on_error=on_error, progress=shown, counts=counts, skipped=skipped
        )
    counts["skipped"] = len(skipped)
    known = [key for key in ROWS if counts[key] or key in ("pictures", "sentences", "pairs", "whole", "without")]
    known += ["cut"] if "cut" in counts and not counts["cut"] else []
    listing([{"of": ROWS[key], "number": f"{counts[key]:,}"} for key in ROWS if key in known], right=("number",))
    if "cut" not in counts:
        note(f"whether sentences were cut is not known: {model.name} has no tokenizer like open_clip's")
    for one in skipped[:3]:
        note(f"skipped {one.path}: {one.reason}")
    say(f"{captions.name} ({captions.split}), {model.name}, regions {found.kind}: {len(made):,} pictures in {out}")
