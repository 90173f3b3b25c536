"""Encoders by name: those of open_clip, and whatever else has registered a name."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Device, Options, Precision
from lgca_core.encoders.folders import load_folder, load_hub
from lgca_core.encoders.open_clip_models import list_named, load_named, quiet
from lgca_core.errors import LgcaError, first_line

Loader = Callable[[str | None, Options], Encoder]
"""Gets what stands behind ``NAME:`` (None where only the name is given), and how the encoder is to run."""

ORIGINS: dict[str, tuple[Loader, dict[str, str]]] = {}
"""Every registered name, what loads its encoders, and its row in the list; other names are open_clip's."""

ENTRY_POINTS = "lgca.encoders"
"""Installed packages, this one too, declare further names as entry points of this group: NAME = "module:loader"."""

PLACES = {"hf-hub": load_hub, "local-dir": load_folder}
"""Where a configuration is kept beside its weights, by the word before the colon."""

DEFAULT = "aviary"  # where no encoder is named


def register(name: str, load: Loader, **row: str) -> None:
    """Let ``--encoder NAME`` and ``--encoder NAME:SOURCE`` mean what `load` makes of them.

    ``row`` says in a word or two what :func:`list_encoders` shows: ``input``, ``activation``, ``weights``. Raises
    LgcaError where the name is taken or has a colon in it.
    """
    if ":" in name or name in ORIGINS or name in PLACES:
        raise LgcaError(f"an encoder cannot be called {name!r}: choose a name without a colon that no other has")
    ORIGINS[name] = load, {"encoder": name, **row}


def load_encoder(
    spec: str | None = None,
    *,
    device: Device = "auto",
    precision: Precision = "float32",
    batch_size: int | None = None,
    workers: int = 1,
) -> Encoder:
    """The encoder that ``spec`` names.

    ``None`` or ``"aviary"``: the embedded one; ``"aviary-colour"`` and ``"aviary-shape"`` are two smaller ones, each
    blind to what the other sees. ``"NAME:TAG"``: open_clip's model and pretrained weights, which are downloaded once.
    ``"NAME:/path/to/file"``, where NAME may be an embedded one's: the same architecture from a file, or a folder with
    one: safetensors, a state dict saved by torch (read with ``weights_only``), or a TorchScript archive.
    ``"hf-hub:ORG/NAME"``, ``"local-dir:FOLDER"``: a repository of Hugging Face or a folder with open_clip_config.json,
    or with transformers' config.json of a CLIP or SigLIP (extra ``hf``). ``"goal:RUN"``: what `lgca goal train` wrote.
    Other names are those that :func:`register` was given, or that installed packages declare. No code of a file or
    repository is run.

    Mean, deviation, input side and resizing come from the model's preprocessing configuration. ``device``: ``auto``
    (a CUDA GPU, else the CPU), ``cpu``, ``cuda``, ``cuda:N``, ``mps``, a ``torch.device``. ``batch_size`` defaults to
    32 on a CPU, and on a GPU to what its free memory holds, up to 512. ``precision="auto"`` is the fast one: float16
    on a GPU, bfloat16 on a CPU that multiplies matrices of it (AMX), else float32; the encoder's ``precision`` says
    which it was. In float32 on a GPU, convolutions of this process are float32 from then on: by default torch rounds
    what they multiply to 10 bits (TF32).

    Raises LgcaError for an unknown name or tag, a missing file, weights of another architecture or activation, a
    model that wants what this package or installation lacks, no network, or no such device.
    """
    spec = DEFAULT if spec is None else spec
    options = Options(device, precision, batch_size, workers)
    name, colon, source = spec.partition(":")
    with quiet():  # from the first import of open_clip on
        if name in ORIGINS:
            load, _ = ORIGINS[name]
            return load(source if colon else None, options)
        if name in PLACES:
            return PLACES[name](source, options)
        for point in entry_points(group=ENTRY_POINTS, name=name):
            return _loader(point)(source if colon else None, options)
        return load_named(spec, options, others=(*ORIGINS, *entry_points(group=ENTRY_POINTS).names))


def _loader(point: EntryPoint) -> Loader:
    """What an installed package declares. LgcaError where its code cannot be imported."""
    try:
        return point.load()
    except Exception as error:  # code of others raises what it likes
        of = f"the package {point.dist.name}" if point.dist else "a package"
        why = f"cannot be loaded from {point.value} ({first_line(error)})"
        raise LgcaError(f"encoder {point.name} of {of} {why}: mend or reinstall it") from error


def list_encoders(words: str = "") -> list[dict[str, str]]:
    """Encoders that ``--encoder`` can name, one row each: registered ones, then open_clip's that can be built here.

    Only those whose names hold all of the `words`, whatever their case. What ``hf-hub:``, ``local-dir:`` and the entry
    points of packages (``goal:``) can name is not in the list.
    """
    columns = ("encoder", "input", "activation", "resize", "weights")
    with quiet():
        rows = [*(row for _, row in ORIGINS.values()), *list_named()]
    chosen = [row for row in rows if all(word in row["encoder"].lower() for word in words.lower().split())]
    return [{key: row.get(key, "") for key in columns} for row in chosen]
