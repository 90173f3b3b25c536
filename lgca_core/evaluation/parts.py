"""The cost of encoding a part of a data set ahead, in a process of its own: as a file, and as the record keeps it."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from lgca_core.data.manifest import Manifest
from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import peak_memory
from lgca_core.evaluation.provenance import utc_now
from lgca_core.evaluation.store.store import Store
from lgca_core.evaluation.targets import check_parent
from lgca_core.files import write_whole

Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class Strict(BaseModel):
    """A part of a record: no unknown field, no conversion of types, no change."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class EncoderInfo(Strict):
    """Which encoder. ``weights_sha256`` and ``activation`` are None for a foreign model that does not say.

    ``logit_scale`` multiplies a cosine before the softmax (or, with ``logit_bias`` added, the sigmoid) that the model
    was trained with; None where the model, or a record made before it was kept, does not say.
    """

    name: str
    weights_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    activation: str | None = None
    precision: str
    logit_scale: float | None = None
    logit_bias: float | None = None


class Part(Strict):
    """Cost of one process that encoded one part of the pictures before the evaluation.

    ``part`` is the k-th of n as ``k/n``; ``encoder`` and ``device`` are None for a part without shards. Passes, times
    and memory as in :class:`Record`, of the process that finished the part: what an earlier one left in the store is
    not counted.
    """

    part: str = Field(pattern=r"^[1-9]\d*/[1-9]\d*$")
    utc: AwareDatetime
    manifest_sha256: str = Sha256
    encoder: EncoderInfo | None
    device: str | None
    pictures: int = Field(ge=0)
    seconds: float = Field(ge=0)
    image_passes: int = Field(ge=0)
    text_passes: int = Field(ge=0)
    peak_memory: int = Field(ge=0)
    peak_device_memory: int | None = Field(default=None, ge=0)


def misfit(parts: Sequence[Part], manifest_sha256: str, encoder: EncoderInfo | None = None) -> str | None:
    """Why parts are not those of one evaluation, or None; precisions may differ between machines.

    Args:
        encoder: any if None.
    """
    names = [part.part for part in parts]
    if twice := [name for name in names if names.count(name) > 1]:
        return f"part {twice[0]} is there twice"
    if len({name.partition("/")[2] for name in names}) > 1:
        return f"{', '.join(names)} are not parts of one division"
    for part in parts:
        if part.manifest_sha256 != manifest_sha256:
            return f"part {part.part} is of other pictures"
        if encoder and (of := part.encoder) and (of.name, of.weights_sha256) != (encoder.name, encoder.weights_sha256):
            return f"part {part.part} was encoded with another encoder, {of.name}"
    return None


def check_free_file(file: Path, *, force: bool = False) -> None:
    """Check that the cost of a part may be written to `file`; called before a long run.

    Raises:
        LgcaError: it is a folder, or, without `force`, there already; or its folder cannot be written.
    """
    check_parent(file, "what the part took")
    if file.is_dir():
        raise LgcaError(f"{file} is a folder: give a file for what the part took")
    if file.exists() and not force:
        raise LgcaError(f"{file} is already there: choose another file, or overwrite it with --force")


def save_part(part: Part, file: Path | str) -> None:
    """Write the cost of a part as JSON, all or nothing; an earlier file is replaced.

    Raises:
        LgcaError: the file cannot be written.
    """
    try:
        write_whole(Path(file), (part.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        raise LgcaError(f"cannot write what the part took to {file}: {error.strerror}") from error


def load_part(file: Path | str) -> Part:
    """Read the cost of a part, as :func:`save_part` wrote it.

    Raises:
        LgcaError: the file cannot be read, or is something else.
    """
    writes = "`lgca encode --part K/N --out FILE` writes it"
    try:
        return Part.model_validate_json(Path(file).read_bytes())
    except OSError as error:
        raise LgcaError(f"{file} cannot be read: {error.strerror}; {writes}") from error
    except ValidationError as error:
        raise LgcaError(f"{file} does not say what a part took; {writes}") from error


def check_part(part: tuple[int, int]) -> None:
    """Raises LgcaError where there is no such part."""
    k, n = part
    if not 1 <= k <= n:
        raise LgcaError(f"there is no part {k} of {n}: parts are counted from 1")


def shards_of_part(part: tuple[int, int], manifest: Manifest, store: Store) -> range:
    """Which shards of the store belong to a part of a data set; of few pictures, not every part has one."""
    (k, n), total = part, store.shards(len(manifest.items))
    return range((k - 1) * total // n, k * total // n)


def empty_part(part: tuple[int, int], manifest: Manifest) -> Part:
    """Zero cost of a part without shards, where the data set has fewer of them than parts."""
    return Part(
        part="{}/{}".format(*part),
        utc=utc_now(),
        manifest_sha256=manifest.sha256,
        encoder=None,
        device=None,
        pictures=0,
        seconds=0,
        image_passes=0,
        text_passes=0,
        peak_memory=peak_memory(),
    )
