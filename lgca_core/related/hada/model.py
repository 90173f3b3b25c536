"""A trained fusion, or a sum of scores, as two functions of items to unit vectors, and as a folder.

A weighted sum of cosines is the cosine of longer vectors: of [sqrt(w_1) a_1; ...; sqrt(w_M) a_M], where the shares
w_1 + ... + w_M = 1. So a sum of scores, and the second stage with its share of the stronger model, are vectors too.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError, first_line
from lgca_core.files import draft_of, write_whole
from lgca_core.related.hada.items import SplitFeatures, TokensGiven
from lgca_core.related.hada.network import FusionSettings, HadaNetwork, TokenItems, fused

FUSION, FUSION_WEIGHTS = "hada.json", "hada.safetensors"
FusionKind = Literal["graph", "pooled", "sum"]
"""The graph; a linear layer over the models' own vectors; a sum of the models' scores, which has nothing to train."""


class ModelSaid(BaseModel):
    """A frozen model: what it is loaded by and called, the hash of its weights, and the widths of tokens and vector."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: str
    name: str
    sha256: str | None
    picture: tuple[int, int]
    caption: tuple[int, int]


def said_of(specs: Sequence[str], encoders: Sequence[Encoder], of: SplitFeatures) -> tuple[ModelSaid, ...]:
    """What a trained fusion is to remember of its models."""
    rows = zip(specs, encoders, of.pictures, of.texts, strict=True)
    return tuple(
        ModelSaid(
            spec=lasting(spec), name=encoder.name, sha256=encoder.sha256, picture=seen.widths, caption=said.widths
        )
        for spec, encoder, seen, said in rows
    )


def lasting(spec: str) -> str:
    """The name of a model as it is loaded by from any folder: where it names a file or folder, by its whole path."""
    name, colon, place = spec.partition(":")
    path = Path(place).expanduser()
    return f"{name}:{path.resolve()}" if colon and place and path.exists() else spec


@dataclass
class HadaModel:
    """Items -> unit vectors, by a network (with a share ``w`` of model ``stronger``'s own score) or a sum of scores.

    ``shares`` are of the models' own scores, their sum 1: those of the sum itself, or, with a network, of the sum that
    it is compared with. ``tau`` is the learned temperature, 1 for a sum. ``tokens`` says what the network was given.
    """

    models: tuple[ModelSaid, ...]
    kind: FusionKind
    shares: tuple[float, ...]
    network: HadaNetwork | None = None
    settings: FusionSettings | None = None
    w: float | None = None
    stronger: int = 0
    tau: float = 1.0
    tokens: TokensGiven = "own"

    @property
    def reads(self) -> TokensGiven:
        """Which tokens it is to be given: only a graph reads more than the CLS."""
        return self.tokens if self.kind == "graph" else "cls"

    def pictures(self, items: TokenItems) -> Tensor:
        """(B, D) unit vectors."""
        return self._vectors(self.network and self.network.image, items)

    def captions(self, items: TokenItems) -> Tensor:
        """(B, D) unit vectors."""
        return self._vectors(self.network and self.network.text, items)

    def _vectors(self, side: Any, items: TokenItems) -> Tensor:
        if side is None:
            return summed_vectors(items.pooled, self.shares)
        own = fused(side, items)
        if self.w is None:
            return own
        return summed_vectors([own, items.pooled[self.stronger].to(own.dtype)], [1 - self.w, self.w])

    def save(self, folder: Path) -> None:
        """Write it as a folder: weights, and last the description, each all or nothing."""
        from safetensors.torch import save_file

        if self.network is not None:
            named = self.network.state_dict().items()  # the matching head is for training only
            state = {name: of.detach().cpu().contiguous() for name, of in named if not name.startswith("head.")}
            with draft_of(folder / FUSION_WEIGHTS) as draft:
                save_file(state, draft)
        said = {
            "version": 1,
            "models": [one.model_dump() for one in self.models],
            "kind": self.kind,
            "shares": self.shares,
            "settings": None if self.settings is None else _plain(self.settings),
            "w": self.w,
            "stronger": self.stronger,
            "tau": self.tau,
            "tokens": self.tokens,
        }
        write_whole(folder / FUSION, json.dumps(said, indent=2).encode())


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    models: tuple[ModelSaid, ...]
    kind: FusionKind
    shares: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    settings: FusionSettings | None
    w: Annotated[float, Field(ge=0, le=1)] | None
    stronger: int
    tau: Annotated[float, Field(gt=0)]
    tokens: TokensGiven

    @model_validator(mode="after")
    def _fits(self) -> "_Said":
        number = len(self.models)
        if number < 2 or len(self.shares) != number or not 0 <= self.stronger < number:
            raise ValueError(f"shares {[*self.shares]} and model {self.stronger} are not of {number} models")
        return self


def load_fusion(folder: Path, device: torch.device) -> HadaModel:
    """What `lgca hada train` wrote to a folder. LgcaError where no training ended there, or its files are damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / FUSION
    if not file.is_file():
        hint = "give the same lgca hada train command to end the training" if folder.is_dir() else "there is no folder"
        raise LgcaError(f"{folder}: holds no trained fusion: {hint}")
    try:
        said = _Said.model_validate_json(file.read_bytes())
        settings = said.settings
        network = None
        if said.kind != "sum":
            network = build_network(said.models, said.kind, settings)
            network.load_state_dict(load_file(folder / FUSION_WEIGHTS))
            network.to(device).eval().requires_grad_(False)
    except (LgcaError, OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise LgcaError(f"{folder}: is no fusion that can be read ({first_line(error)}): train it again") from error
    return HadaModel(
        said.models, said.kind, said.shares, network, settings, said.w, said.stronger, said.tau, said.tokens
    )


def build_network(
    models: Sequence[ModelSaid],
    kind: FusionKind,
    settings: FusionSettings | None,
    head: Literal["plain", "released"] | None = None,
) -> HadaNetwork:
    """Networks that begin untrained, for models of these widths."""
    pictures, captions = (
        tuple(zip(*(getattr(one, side) for one in models), strict=True)) for side in ("picture", "caption")
    )
    assert kind != "sum"
    return HadaNetwork(pictures, captions, settings, kind=kind, head=head)  # type: ignore[arg-type]


def summed_vectors(vectors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Unit vectors (B, p_m) of M models -> (B, p_1 + ... + p_M), whose cosines are the sum of theirs by shares."""
    return torch.cat([share**0.5 * of for share, of in zip(shares, vectors, strict=True)], 1)


def _plain(settings: FusionSettings) -> dict[str, Any]:
    return {**asdict(settings), "dropouts": settings.dropouts and [*settings.dropouts]}
