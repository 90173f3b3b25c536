"""``lgca hada``: fuse frozen models into one; its first step, their token features."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import listing, note, say, status
from lgca_core.cli.progress import progress
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.data.manifest import OnError
    from lgca_core.encoder import Encoder
    from lgca_core.related.captions.captioned import CaptionSet
    from lgca_core.related.hada.items import SplitFeatures

HADA_AVIARY = "aviary:1280"
OF_THE_AVIARY = ("aviary-shape", "aviary-colour")
"""Two small encoders of the embedded world: one without colour, one without detail."""
SPLITS = ("train", "val", "test")

hada = typer.Typer(help="HADA: fuse frozen image-text models into one.", invoke_without_command=True)
app.add_typer(hada, name="hada")


@hada.callback()
def _hada(context: typer.Context) -> None:
    """HADA: fuse frozen image-text models into one."""
    if context.invoked_subcommand is None:
        print(context.get_help())


RetrievalData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SPEC",
        help="Captioned pictures: flickr30k:PATH, coco:PATH (with the JSON of the Karpathy split), a file of JSON "
        f"lines or a folder that holds a captions.jsonl, or aviary. Left out: {HADA_AVIARY}.",
    ),
]
FrozenSpecs = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        metavar="SPEC",
        rich_help_panel="Encoder",
        help="A frozen model, two or more of them: --encoder A --encoder B; see lgca encoders. Left out, on the "
        f"aviary: {' and '.join(OF_THE_AVIARY)}.",
    ),
]


def specs_for(data: str | None, encoders: Sequence[str] | None) -> tuple[str, ...]:
    """The models that are named; on the aviary without any, its own. LgcaError for fewer than two, or one twice."""
    specs = tuple(encoders or (OF_THE_AVIARY if options.of_aviary(data) else ()))
    if len(specs) < 2:
        raise LgcaError("a fusion is of two models or more: give --encoder A --encoder B")
    if twice := [spec for spec in specs if specs.count(spec) > 1]:
        raise LgcaError(f"the model {twice[0]} is named twice: name different ones")
    return specs


def captions_of(data: str | None, split: str, on_error: "OnError") -> "CaptionSet":
    """One split of --data, without pictures that cannot be read where these are to be skipped."""
    from lgca_core.related.captions.opening import open_captions, readable

    captions = open_captions(data or HADA_AVIARY, split, on_error=on_error, of_aviary="five")
    return readable(captions, on_error=on_error) if on_error == "skip" else captions


def features_of(splits: "Sequence[CaptionSet]", encoders: "Sequence[Encoder]") -> "list[SplitFeatures]":
    """Features of splits by frozen models, from the store; what it lacks is encoded with a bar."""
    from lgca_core.evaluation.store import Store
    from lgca_core.related.hada.items import split_features
    from lgca_core.related.hada.tokens import FrozenModel

    store = Store(report=note)
    store.check()
    models = [FrozenModel(encoder) for encoder in encoders]
    for model in models:
        if not model.gives_tokens:
            note(f"{model.encoder.name} gives its vector as its only token: its tokens cannot be told from it")
    made = []
    for of in splits:
        kept = f"what was encoded is in {store.root}: the same command goes on from there"
        passes = lambda: sum(model.encoder.image_passes for model in models)  # noqa: E731
        with progress(f"{of.name} {of.split}, features", passes, kept=kept) as shown:
            made.append(split_features(of, models, store, progress=shown))
    return made


@hada.command(
    epilog="\b\nExamples:\n"
    "  lgca hada features                          (painted birds, two small encoders)\n"
    "  lgca hada features --data flickr30k:/data/flickr30k \\\n"
    "    --encoder ViT-B-32-quickgelu:openai --encoder ViT-L-14:laion2b_s32b_b82k"
)
def features(
    data: RetrievalData = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A split of the data; several may be given. Left out: train, val and test."),
    ] = None,
    encoder: FrozenSpecs = None,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    batch_size: options.BatchSize = None,
    on_error: options.OnError = "raise",
) -> None:
    """Take every picture and caption through each frozen model once, and keep all their tokens in the store.

    Training and evaluation read them there; both make what is missing
    themselves. A run that is stopped goes on from where it was.
    """
    specs = specs_for(data, encoder)
    with status("reading the captions"):
        splits = [captions_of(data, name, on_error) for name in split or SPLITS]
    encoders = [options.load(spec, device, precision, batch_size, 1) for spec in specs]
    rows = []
    for of in splits:
        began = time.perf_counter()
        [made] = features_of([of], encoders)
        seconds = time.perf_counter() - began
        for spec, seen, said in zip(specs, made.pictures, made.texts, strict=True):
            counts = [int((one.starts[:, 2] - one.starts[:, 1]).sum()) for one in (seen, said)]
            size = sum(2 * count * one.widths[0] for count, one in zip(counts, (seen, said), strict=True))
            rows.append(
                {
                    "split": of.split,
                    "model": spec,
                    "pictures": f"{len(seen):,}",
                    "captions": f"{len(said):,}",
                    "tokens of a picture": f"{counts[0] / len(seen):.0f}",
                    "of a caption": f"{counts[1] / len(said):.1f}",
                    "GB": f"{size / 1e9:.2g}",
                }
            )
        say(f"{of.name} {of.split}: {seconds:.0f} s")
    listing(rows, right=["pictures", "captions", "tokens of a picture", "of a caption", "GB"])


def folder_for(out: Path) -> Path:
    """``out``, which may be a folder or nothing yet. LgcaError for a file."""
    if out.exists() and not out.is_dir():
        raise LgcaError(f"{out} is a file: choose another --out")
    return out
