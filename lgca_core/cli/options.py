"""Options that several commands take, and what they mean."""

import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lgca_core.cli.output import say, status
from lgca_core.errors import LgcaError, first_line

if TYPE_CHECKING:
    from lgca_core.data.manifest import Manifest
    from lgca_core.encoder import Encoder
    from lgca_core.evaluation.store import Store as FeatureStore
    from lgca_core.lgca import LGCA
    from lgca_core.prompts.class_prompts import ClassPrompts
    from lgca_core.wca import WCA

OWN_WORLD = (
    "The embedded encoder knows only the painted birds of its own aviary: on other pictures expect accuracy "
    "near chance, and use --encoder ViT-B-32-quickgelu:openai for real CLIP."
)

METHODS_HELP = (
    "clip, clip-e, clip-d, waffle, cupl, cupl-weighted, wca, wca-released, lgca, lgca-equal, gc, bifta, "
    "lazsl or lazsl-d"
)

AVIARY = "aviary"
"""Captioned pictures of the embedded world, where no --data is given."""


def of_aviary(data: str | None) -> bool:
    """Whether --data of captioned pictures is of the embedded world, or left out, which means it."""
    return data is None or data.partition(":")[0] == "aviary"


Ties = Annotated[
    Literal["middle", "pessimistic"],
    typer.Option(help="Of items that score alike half go before the right one, or all."),
]
RanksFolder = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FOLDER", rich_help_panel="Output", help="For a record, with the rank of every query."
    ),
]
ForceRecord = Annotated[bool, typer.Option("--force", rich_help_panel="Output", help="Overwrite an earlier record.")]
ForceTraining = Annotated[
    bool, typer.Option("--force", rich_help_panel="Output", help="Begin anew where the folder holds a training.")
]
Printed = Annotated[
    Literal["table", "json", "csv"], typer.Option("--format", rich_help_panel="Output", help="What is printed.")
]
MOST_SEED = 2**32 - 1
"""Of what torch and numpy take alike."""
EncoderSpec = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        metavar="SPEC",
        rich_help_panel="Encoder",
        help="NAME:TAG of open_clip (downloads once), NAME:/path/to/checkpoint, hf-hub:ORG/NAME, local-dir:FOLDER; see "
        'lgca encoders. Your own default: LGCA_ENCODER, or encoder = "..." in config.toml, see the README.',
    ),
]
DeviceName = str
Device = Annotated[
    DeviceName,
    typer.Option(
        metavar="[auto|cpu|cuda|cuda:N|mps]",
        rich_help_panel="Encoder",
        help="Where the encoder runs. auto: a CUDA GPU, else the CPU.",
    ),
]
PrecisionName = Literal["auto", "float32", "bfloat16", "float16"]
Precision = Annotated[
    PrecisionName,
    typer.Option(
        rich_help_panel="Encoder",
        help="Of the encoder. auto is the fast one: float16 on a GPU, bfloat16 on a CPU with AMX, else float32.",
    ),
]
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
Store = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        rich_help_panel="Store",
        help="Where features are kept, so that none is encoded twice; LGCA_STORE, else in LGCA_HOME.",
    ),
]
NoStore = Annotated[
    bool, typer.Option("--no-store", rich_help_panel="Store", help="Keep none, and use them without rounding.")
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
        help='For clip-d and lazsl-d: {"class name": ["long, black bill", ...]}',
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
N = Annotated[
    int,
    typer.Option(
        "--n",
        min=1,
        rich_help_panel="WCA and LGCA",
        help="Crops a picture at the start. Other settings belong to a method's name, see lgca methods.",
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        parser=lambda text: folder(text),
        help="Your pictures: one folder a class, named like the class; a zip or tar of such, or a webdataset (.tar).",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE.csv",
        help="Path and label a line, for pictures that are not in class folders; relative to --images if given.",
    ),
]
ClassNames = Annotated[
    Path | None,
    typer.Option(
        "--class-names",
        metavar="FILE",
        help="CSV or JSON: folder or label, class name; where --images has ids or numbers.",
    ),
]
ScaleGrey = Annotated[
    bool, typer.Option("--scale-grey", help="Scale grey values of 16 bits to 8, by their whole range.")
]
OnWhite = Annotated[bool, typer.Option("--on-white", help="Put transparent pictures on white.")]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME[:PATH]",
        help="A data set of the table that `lgca datasets` prints; PATH: your copy of it.",
    ),
]
Methods = Annotated[
    str,
    typer.Option(
        "--method",
        metavar="NAME,...",
        help=f"Any of {METHODS_HELP}; with settings of its own as in lgca:steps=1:gamma=1.5.",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="How many independent draws of crops, seeds 0, 1, ...")]
OnError = Annotated[
    Literal["raise", "skip"],
    typer.Option(help="Stop at a picture that cannot be read, or list it in the record and go on."),
]
Chunk = Annotated[int, typer.Option(min=1, help="Pictures looked at together; memory holds these and the next.")]


def wca_and_lgca(n: int, dataset: str | None = None) -> "tuple[WCA, LGCA]":
    """The two methods with N crops; WCA's least crop is the one that its paper sets for the data set.

    Their other settings belong to a method's name, as in ``lgca:steps=1``.
    """
    from lgca_core.data.table import DATASETS, split_spec
    from lgca_core.lgca import LGCA
    from lgca_core.wca import WCA

    entry = DATASETS.get(split_spec(dataset)[0]) if dataset else None
    alpha = entry.source.alpha if entry and entry.source else WCA.alpha
    return WCA(n=n, alpha=alpha), LGCA(n=n)


def pictures(
    images: Path | None,
    dataset: str | None,
    on_error: Literal["raise", "skip"],
    *,
    labels: Path | None = None,
    class_names: Path | None = None,
    scale_grey: bool = False,
    on_white: bool = False,
) -> "Manifest":
    """The pictures of --images, --labels or --dataset. LgcaError unless it is one's own or a data set's."""
    from lgca_core.data import Conversion, open_dataset, pictures_at

    conversion = Conversion(scale_grey, on_white)
    if (images is None and labels is None) == (dataset is None):
        raise LgcaError(
            "give either --images FOLDER or --dataset NAME, or --labels FILE: which pictures to evaluate on"
        )
    if dataset is not None and class_names is not None:
        raise LgcaError(f"--class-names is for pictures of your own: {dataset} has names for its classes")
    with status("reading the pictures"):
        if dataset is not None:
            return replace(open_dataset(dataset, on_error=on_error), conversion=conversion)
        return pictures_at(images, labels=labels, class_names=class_names, conversion=conversion, on_error=on_error)


def prompts(
    dataset: str | None,
    manifest: "Manifest",
    methods: list[str],
    *,
    templates: Path | None,
    descriptions: Path | None,
    descriptors: Path | None,
) -> "ClassPrompts":
    """Prompts that the methods read. LgcaError, before a model is loaded, where some are missing."""
    from lgca_core.methods import find
    from lgca_core.prompts.class_prompts import prompts_of_dataset
    from lgca_core.prompts.files import read_descriptions, read_templates

    with status("reading the prompts"):
        said = prompts_of_dataset(
            dataset,
            manifest,
            [find(name).prompts for name in methods],
            templates=read_templates(templates) if templates else None,
            descriptions=read_descriptions(descriptions, manifest.classes) if descriptions else None,
            descriptors=read_descriptions(descriptors, manifest.classes) if descriptors else None,
        )
    for name in methods:
        said.of(find(name).prompts, method=name, seed=0)
    return said


def folder(text: str) -> Path:
    """A folder of pictures as it is named; to a path, no name at all would be the current folder."""
    if not text:
        raise LgcaError("--images names no folder: the current one is .")
    return Path(text)


def names(text: str, option: str) -> list[str]:
    """Names with commas between them. LgcaError where one is empty."""
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise LgcaError(f"{option} must be names with commas between them, not {text!r}")
    return names


def open_store(folder: Path | None, without: bool) -> "FeatureStore | None":
    """The store that --store and --no-store ask for."""
    from lgca_core.evaluation.store.store import Store

    if folder is not None and without:
        raise LgcaError("give --store or --no-store, not both")
    return None if without else Store(folder, report=lambda damage: say(f"warning: {damage}", err=True))


def kept_in(store: "FeatureStore | None") -> str:
    """For who stops an evaluation: what is kept of it, and how to go on."""
    if store is None:
        return "nothing is kept, as --no-store asks: without it the same command would go on from here"
    return f"what was encoded is kept in {store.root}: give the same command again, and it goes on from there"


def resolve_encoder(spec: str | None, dataset: str | None = None) -> str:
    """The encoder that is asked for: `spec`, else the user's default, else the embedded one for its own aviary.

    The user's default is ``$LGCA_ENCODER``, else ``encoder = "..."`` in :func:`config_file`.

    Raises:
        LgcaError: none is named, and the pictures are not of the aviary, the only ones that the embedded encoder knows;
            the file cannot be read.
    """
    if spec is not None:
        if not spec.strip():
            raise LgcaError("--encoder names no encoder: see lgca encoders")
        return spec
    if found := os.environ.get("LGCA_ENCODER") or _configured_encoder():
        return found
    if dataset is not None and dataset.partition(":")[0].startswith("aviary"):
        return "aviary"
    raise LgcaError(
        "no encoder is named: give --encoder ViT-B-32-quickgelu:openai (real CLIP, small), "
        "--encoder ViT-L-14-quickgelu:dfn2b (better, slower), or --encoder aviary (knows only painted birds, for "
        f'trying out); for a default of your own set LGCA_ENCODER or write encoder = "..." into {config_file()}'
    )


def config_file() -> Path:
    """Where a user's defaults are: ``lgca/config.toml`` in the folder that the system has for that."""
    import platformdirs  # `lgca bench` does without

    return platformdirs.user_config_path("lgca") / "config.toml"


def _configured_encoder() -> str | None:
    """The encoder of the user's file, or None. LgcaError where the file is there and says something else."""
    file = config_file()
    form = 'it must hold lines such as encoder = "ViT-B-32-quickgelu:openai"'
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LgcaError(f"{file} cannot be read ({error.strerror}): mend or remove it") from error
    except ValueError as error:  # of TOML or of UTF-8
        raise LgcaError(f"{file} is not TOML ({first_line(error)}): {form}") from error
    if unknown := sorted(said.keys() - {"encoder"}):
        raise LgcaError(f"{file} sets {unknown[0]!r}, which nothing reads: {form}")
    encoder = said.get("encoder")
    if encoder is not None and not (isinstance(encoder, str) and encoder.strip()):
        raise LgcaError(f"{file} sets encoder = {encoder!r}: {form}")
    return encoder


def load(
    spec: str, device: DeviceName, precision: PrecisionName, batch_size: int | None, workers: int = 1
) -> "Encoder":
    """The encoder that the options ask for; `spec` is of :func:`resolve_encoder`."""
    from lgca_core.encoders.registry import load_encoder
    from lgca_core.evaluation.machine import claim_gpu

    if os.environ.get("LGCA_ONE_PROCESS_A_GPU") and device in ("auto", "cuda"):
        claim_gpu()
    return load_encoder(spec, device=device, precision=precision, batch_size=batch_size, workers=workers)
