"""A trained fusion as an encoder like any other: ``--encoder hada:RUN`` takes crops through all its frozen models."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Options
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.code_digest import digest_of_code
from lgca_core.files import sha256_of
from lgca_core.related import towers
from lgca_core.related.hada import graph, model as fusion, network, tokens
from lgca_core.related.hada.model import FUSION, FUSION_WEIGHTS, HadaModel, ModelSaid, load_fusion
from lgca_core.related.hada.network import token_items
from lgca_core.related.hada.tokens import FrozenModel

_CODE = (Path(__file__), *(Path(str(module.__file__)) for module in (graph, fusion, network, tokens, towers)))
_PLAIN = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def load_hada(source: str | None, options: Options) -> Encoder:
    """The encoder of ``hada:RUN``, a folder that `lgca hada train` wrote, with the frozen models that it fuses.

    Where these take inputs of one side, mean and deviation, each sees what it would see alone. Else crops are cut at
    the largest side, and a model of a smaller one is given them resized (bicubic, antialiased), which is not quite
    what it sees alone.

    Raises LgcaError where no training ended there, one of the models is not to be had, has other weights than in the
    training, or cuts boxes in another way than the first.
    """
    folder = Path(source or "").expanduser()
    if not source or not folder.is_dir():
        raise LgcaError(f"hada:{source or ''} names no folder: give hada:RUN, which lgca hada train --out RUN wrote")
    found = load_fusion(folder, torch.device("cpu"))
    if found.tokens != "own":
        raise LgcaError(f"{folder} is a control, trained on tokens that say nothing: it is no encoder to use")
    try:
        models = frozen_models(found, options)
    except LgcaError as error:
        raise LgcaError(f"hada:{source} fuses models of which one is not to be had: {error}") from error
    return fused_encoder(found, models, folder)


def frozen_models(found: HadaModel, options: Options) -> list[Encoder]:
    """The encoders that a fusion was trained with, loaded by their names. LgcaError for one with other weights."""
    models = []
    for said in found.models:
        encoder = load_encoder(said.spec, **asdict(options))
        check_weights(encoder, said)
        models.append(encoder)
    return models


def check_weights(encoder: Encoder, said: ModelSaid) -> None:
    """Raises LgcaError where an encoder has other weights than that which a fusion was trained with."""
    if encoder.sha256 != said.sha256:
        raise LgcaError(
            f"{said.spec} has other weights than the fusion was trained with (sha256 {encoder.sha256}, not "
            f"{said.sha256}): put those back, or train again"
        )


def fused_encoder(found: HadaModel, encoders: list[Encoder], folder: Path) -> Encoder:
    """The encoder of a fusion and its frozen models. LgcaError where these cut boxes in different ways."""
    first, *others = encoders
    for other in others:
        if other.resize != first.resize:
            raise LgcaError(
                f"{first.name} and {other.name} cut boxes in different ways ({first.resize.said}; "
                f"{other.resize.said}), so no crop is for both: compare their retrieval with lgca hada evaluate"
            )
    same = all((of.size, [*of.mean], [*of.std]) == (first.size, [*first.mean], [*first.std]) for of in others)
    mean, std = (first.mean, first.std) if same else _PLAIN
    models = [FrozenModel(encoder) for encoder in encoders]
    device = first.device
    if found.network is not None:
        found.network.to(device)

    def image(pixels: Tensor) -> Tensor:
        said = [of.pictures(pixels if same else _as_alone(pixels, of.encoder)) for of in models]
        return found.pictures(_items(said))

    def text(sentences: list[str]) -> Tensor:
        return found.captions(_items([of.captions(sentences) for of in models]))

    hashes = [sha256_of(folder / name) for name in (FUSION, FUSION_WEIGHTS) if (folder / name).is_file()]
    own = [hashes[-1], *(str(of.sha256) for of in encoders)]
    code = f"{hashes[0]} {digest_of_code([*_CODE])} {' '.join(str(of.architecture) for of in encoders)}"
    return replace(
        first,
        image=image,
        text=text,
        size=max(of.size for of in encoders),
        mean=mean,
        std=std,
        pixels=torch.float32 if not same else first.pixels,
        name=f"hada:{folder.resolve().name}",
        sha256=None
        if any(of.sha256 is None for of in encoders)
        else hashlib.sha256(" ".join(own).encode()).hexdigest(),
        architecture=hashlib.sha256(code.encode()).hexdigest(),
        activation=None,
        batch_size=min(of.batch_size for of in encoders),
        workers=1,
        streams=1,
        logit_scale=None if found.network is None else 1 / found.tau,
        logit_bias=None,
        image_passes=0,
        text_passes=0,
        tokenizer=None,
        parts=None,
    )


def _as_alone(pixels: Tensor, encoder: Encoder) -> Tensor:
    """Pixels (n, 3, S, S) from 0 to 1 at the side of a model, normalised as it expects."""
    if pixels.shape[-1] != encoder.size:
        side = (encoder.size, encoder.size)
        pixels = F.interpolate(pixels, side, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    mean, std = (pixels.new_tensor([*of]).view(1, 3, 1, 1) for of in (encoder.mean, encoder.std))
    return ((pixels - mean) / std).to(encoder.pixels)


def _items(said: list[tuple[list[Tensor], Tensor]]) -> Any:
    """What M models say of n items, item by item."""
    rows = [[of[0][n].half() for of in said] for n in range(len(said[0][0]))]  # as the store keeps them
    return token_items(rows, [[of[1][n] for of in said] for n in range(len(rows))])
