"""Keys of stored features: everything that decides a feature's bits."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

import PIL
from pydantic import JsonValue

from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.code_digest import digest_of_code

FEATURES = 1
"""Version of the features. Whoever changes how a number is rounded, on any device, raises it."""

DECIDING = (
    "boxes.py",
    "box_numbers.py",
    "views.py",
    "encoder.py",
    "pixels/*.py",
    "encoders/fast_towers.py",
    "encoders/open_clip_models.py",
    "encoders/hf_models.py",
    "encoders/checkpoints.py",
)
"""Files of the package that decide a feature's bits."""


def pool_key(
    identities: Sequence[str], encoder: Encoder, plan: Mapping[str, JsonValue], resize: str
) -> dict[str, JsonValue]:
    """The key of a feature set: all that decides its features, down to the rounding of the device.

    Args:
        identities: sha256 of the pictures, in the manifest's order. What their classes are called decides no feature.
        plan: which boxes, such as ``{"draw": "squares", "a0": 0.5, "b0": 0.9, "seed": 0}``.

    Raises:
        LgcaError: the encoder does not say which weights it has, so that another could be taken for it.
    """
    return {
        "pictures": _digest(identities),
        "encoder": _encoder_key(encoder),
        "resize": resize,
        "plan": dict(plan),
    }


def sentences_key(encoder: Encoder, identities: Sequence[str]) -> dict[str, JsonValue]:
    """The key of a set of sentences, whose identities are the sha256 of each."""
    return {"sentences": _digest(identities), "encoder": _encoder_key(encoder), "plan": {"draw": "sentences"}}


def _digest(identities: Sequence[str]) -> str:
    return hashlib.sha256("".join(identities).encode()).hexdigest()


def _encoder_key(encoder: Encoder) -> dict[str, JsonValue]:
    if encoder.sha256 is None:
        raise LgcaError(
            f"the encoder {encoder.name!r} has no hash of its weights, which its stored features would go by: "
            f"give it one, or do without the store"
        )
    return {
        "name": encoder.name,
        "weights_sha256": encoder.sha256,
        "architecture": encoder.architecture,
        "activation": encoder.activation,
        "precision": encoder.precision,
        "size": encoder.size,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "code": _code(),
    }


@cache
def _code() -> str:
    """Hash of what else decides a feature: our code, :data:`FEATURES`, and the versions of Pillow and open_clip.

    A change to them makes all that was stored useless, as it must; one of comments, docstrings, imports or layout
    does not.
    """
    package = Path(__file__).parents[2]
    files = [file for pattern in DECIDING for file in sorted(package.glob(pattern))]
    versions = f"{FEATURES} {PIL.__version__} {metadata.version('open_clip_torch')}"
    return hashlib.sha256(f"{versions} {digest_of_code(files)}".encode()).hexdigest()
