"""Options that several commands take, and what they mean."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from filelock import FileLock

    from lgca_core.encoder import Encoder
    from lgca_core.evaluation.store.store import Store as FeatureStore
    from lgca_core.lgca import LGCA
    from lgca_core.wca import WCA

OWN_WORLD = (
    "The embedded encoder knows only the painted birds of its own aviary: on other pictures expect accuracy "
    "near chance, and use --encoder ViT-B-32-quickgelu:openai for real CLIP."
)


METHODS_HELP = (
    "clip, clip-e, clip-d, waffle, cupl, cupl-weighted, wca, wca-released, lgca, lgca-equal, gc, bifta, "
    "lazsl or lazsl-d"
)

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


def settings(
    n: int,
    steps: int,
    rho: float,
    gamma: float,
    start: str,
    saliency: str,
    lam: str,
    growth: str,
    whole_image: bool,
    *,
    alpha: float | None = None,
) -> "tuple[WCA, LGCA]":
    """The two methods as the options have them; ``alpha`` is the least crop of WCA where a data set has its own."""
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
    wca = WCA(n=n, alpha=WCA.alpha if alpha is None else alpha)
    if start == "wca":
        fields["start"] = wca.alpha, wca.beta
    return wca, LGCA(n=n, **fields)


def _start(text: str) -> str | tuple[float, float]:
    if text in ("local", "wca"):
        return text
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise LgcaError(f"--start must be local, wca or two shares such as 0.1,0.5, not {text!r}") from None
    return low, high


def folder(text: str) -> Path:
    """A folder of pictures as it is named; to a path, no name at all would be the current folder."""
    if not text:
        raise LgcaError("--images names no folder: the current one is .")
    return Path(text)


def names(text: str, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise LgcaError(f"{option} must be names with commas between them, not {text!r}")
    return names


def open_store(folder: Path | None, without: bool) -> "FeatureStore | None":
    """The store that --store and --no-store ask for."""
    from lgca_core.evaluation.store.store import Store

    if folder is not None and without:
        raise LgcaError("give --store or --no-store, not both")
    return None if without else Store(folder, report=lambda damage: print(f"warning: {damage}", file=sys.stderr))


def embedded(encoder: str | None) -> bool:
    return encoder in (None, "aviary")


def load(
    spec: str | None, device: DeviceName, precision: PrecisionName, batch_size: int | None, workers: int = 1
) -> "Encoder":
    from lgca_core.encoders.registry import load_encoder

    if os.environ.get("LGCA_ONE_PROCESS_A_GPU") and device != "cpu":
        claim_gpu()
    return load_encoder(spec, device=device, precision=precision, batch_size=batch_size, workers=workers)


def claim_gpu() -> "FileLock | None":
    """Make a GPU that no other process of this user has claimed the current one, until this one ends; None without any.

    Raises:
        LgcaError: all of them are claimed.
    """
    import torch
    from filelock import FileLock, Timeout

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    for index in range(torch.cuda.device_count()):
        uuid = torch.cuda.get_device_properties(index).uuid
        file = Path(tempfile.gettempdir()) / f"lgca-gpu-{uuid}-{user}.lock"
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        except OSError as error:
            raise LgcaError(
                f"cannot claim a GPU with {file} ({error.strerror}): set TMPDIR to another folder"
            ) from error
        torch.cuda.set_device(index)
        _claimed.append(lock)  # or it would be let go with its last reference
        return lock
    if torch.cuda.device_count():
        raise LgcaError(
            "every GPU is claimed by another process: run fewer side by side, or unset LGCA_ONE_PROCESS_A_GPU"
        )
    return None


_claimed: "list[FileLock]" = []
