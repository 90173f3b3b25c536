"""Token features of frozen models: each item encoded once, kept in the store as float16, read as it is needed.

Axes: n items (pictures or captions), n_i tokens of item i, d width of a token, p width of a model's own vector.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.boxes import whole
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.code_digest import digest_of_code
from lgca_core.evaluation.store import FeatureSet, Shard, Store, pool_key, sentences_key
from lgca_core.files import sha256_of
from lgca_core.pixels.cropping import normalised
from lgca_core.pixels.gpu_streams import to_device
from lgca_core.read_ahead import views_of_files
from lgca_core.related import towers
from lgca_core.views import unit_from_float16

PICTURES_OF_A_SHARD, CAPTIONS_OF_A_SHARD = 64, 1024
ItemProgress = Callable[[int, int | None], None]


class FrozenModel:
    """A frozen encoder that gives all tokens of an item besides its vector.

    Tokens are those of the last layer after its norm, the CLS first: of a picture the class token, of a caption the end
    token, which sees the whole of it; the start token, the same for every caption, is left out. An encoder whose
    tokens cannot be told from its vector, such as one with attentional pooling, gives its vector as its only token.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._towers = None
        if encoder.parts is not None:
            try:
                self._towers = towers.TokenTowers(encoder.parts.model)
            except LgcaError:
                return
            encoder.parts.model.eval()

    @torch.inference_mode()
    def pictures(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        """(n, 3, S, S), normalised as the encoder expects -> tokens (n_i, d) of each, and unit vectors (n, p)."""
        encoder = self.encoder
        encoder.image_passes += len(pixels)
        if self._towers is None:
            own = F.normalize(encoder.image(pixels).float(), dim=-1)
            return [*own[:, None]], own
        pooled, tokens = self._towers.image(pixels)
        return [*self._towers.visual.ln_post(tokens)], F.normalize(pooled.float(), dim=-1)

    @torch.inference_mode()
    def captions(self, texts: Sequence[str]) -> tuple[list[Tensor], Tensor]:
        """n texts -> tokens (n_i, d) of each, and unit vectors (n, p). What a model does not read of one is cut."""
        encoder = self.encoder
        encoder.text_passes += len(texts)
        if self._towers is None:
            own = F.normalize(encoder.text([*texts]).float(), dim=-1)
            return [*own[:, None]], own
        numbers = encoder.tokenizer([*texts])
        ends = numbers.argmax(-1)  # CLIP's end token has the highest number
        numbers = to_device(numbers[:, : int(ends.max()) + 1], encoder.device)
        pooled, tokens = self._towers.text(numbers)
        tokens = self._towers.words.ln_final(tokens)
        rows = [torch.cat([of[end : end + 1], of[1:end]]) for of, end in zip(tokens, ends.tolist(), strict=True)]
        return rows, F.normalize(pooled.float(), dim=-1)


@dataclass(frozen=True)
class Features:
    """What a frozen model says of n items; tokens stay on disk until they are read, equal items are kept once."""

    shards: tuple[Tensor, ...]  # of each (M, d) float16, memory-mapped
    starts: np.ndarray  # (n, 3) int64: shard, first row, row after the last
    own: Tensor  # (n, p) float16

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def widths(self) -> tuple[int, int]:
        """d and p."""
        return self.shards[0].shape[1], self.own.shape[1]

    def tokens(self, item: int) -> Tensor:
        """(n_i, d) float16, a view of the file."""
        shard, start, stop = self.starts[item]
        return self.shards[shard][start:stop]

    def vectors(self, items: Any = slice(None)) -> Tensor:
        """Unit vectors (n, p) float32."""
        return unit_from_float16(self.own[items])


def picture_features(
    model: FrozenModel, files: Sequence[Path], store: Store, *, dataset: str, progress: ItemProgress | None = None
) -> Features:
    """Of pictures, through the model's own preprocessing as a whole (shorter side to the input's, centre crop).

    Raises LgcaError for a file that cannot be read, or a store that cannot be written.
    """
    encoder = model.encoder

    def encode(positions: Sequence[int]) -> Iterator[tuple[list[Tensor], Tensor]]:
        places = [chosen[position] for position in positions]
        for part, views in views_of_files(encoder, places, chunk=encoder.batch_size):
            cut = [views.crops(n, whole(*size)[:1]) for n, size in zip(range(len(part)), views.sizes, strict=True)]
            crops = to_device(torch.cat(cut), encoder.device)
            yield model.pictures(normalised(crops, encoder.mean, encoder.std, encoder.pixels))

    hashes = [sha256_of(file) for file in files]
    distinct = dict(zip(hashes, files, strict=True))
    chosen = [*distinct.values()]
    pools = _pools(store, dataset, [*distinct], PICTURES_OF_A_SHARD, lambda plan: pool_key(
        [*distinct], encoder, plan, encoder.resize.said))  # fmt: skip
    return _kept(pools, hashes, encode, progress)


def caption_features(
    model: FrozenModel, texts: Sequence[str], store: Store, *, dataset: str, progress: ItemProgress | None = None
) -> Features:
    """Of captions. Raises LgcaError for a store that cannot be written."""
    encoder = model.encoder
    distinct = sorted(set(texts), key=lambda text: (len(text), text))  # of like length side by side

    def encode(positions: Sequence[int]) -> Iterator[tuple[list[Tensor], Tensor]]:
        for start in range(0, len(positions), encoder.batch_size):
            yield model.captions([distinct[position] for position in positions[start : start + encoder.batch_size]])

    hash_of_text = {text: hashlib.sha256(text.encode()).hexdigest() for text in distinct}
    identities = [*hash_of_text.values()]
    pools = _pools(store, dataset, identities, CAPTIONS_OF_A_SHARD, lambda plan: {
        **sentences_key(encoder, identities), "plan": plan})  # fmt: skip
    return _kept(pools, [hash_of_text[text] for text in texts], encode, progress)


def _pools(
    store: Store, dataset: str, identities: Sequence[str], of_a_shard: int, key: Callable[[dict[str, Any]], Any]
) -> tuple[FeatureSet, FeatureSet]:
    """The pools of tokens and of own vectors, which are of other widths."""
    code = digest_of_code([Path(__file__), Path(towers.__file__)])
    kinds: tuple[Literal["tokens", "vectors"], ...] = ("tokens", "vectors")
    tokens, own = (
        store.pool(key({"draw": draw, "code": code}), identities, dataset=f"{dataset}, {draw}", of_a_shard=of_a_shard)
        for draw in kinds
    )
    return tokens, own


def _kept(
    pools: tuple[FeatureSet, FeatureSet],
    hashes: Sequence[str],
    encode: Callable[[Sequence[int]], Iterator[tuple[list[Tensor], Tensor]]],
    progress: ItemProgress | None,
) -> Features:
    """Items by their hashes, from the store; what it lacks is encoded first, shard by shard."""
    tokens, own = pools
    shards, vectors = [], []
    place: dict[str, tuple[int, int, int, int]] = {}  # of its own vector, then of its tokens
    for index in range(len(tokens)):
        positions = tokens.pictures(index)
        found = tokens.read(index, mapped=True), own.read(index)
        if found[0] is None or found[1] is None:
            said = [*encode(positions)]
            rows, e = [of for part, _ in said for of in part], torch.cat([of for _, of in said])
            identities = tokens.identities[positions.start : positions.stop]
            tokens.write(index, _shard(identities, rows))
            own.write(index, _shard(identities, [*e[:, None]]))
            found = tokens.read(index, mapped=True), own.read(index)
        if found[0] is None or found[1] is None:
            raise LgcaError(
                f"what was written to {tokens.folder} cannot be read again: is another process removing it?"
            )
        ends = np.cumsum(found[0].counts.numpy(), dtype=np.int64)
        for identity, end, count in zip(found[0].identities, ends, found[0].counts.tolist(), strict=True):
            place[identity] = len(place), index, end - count, end
        shards.append(found[0].features)
        vectors.append(found[1].features)
        if progress:
            progress(positions.stop, len(tokens.identities))
    found_at = np.array([place[of] for of in hashes], np.int64).reshape(-1, 4)
    return Features(tuple(shards), found_at[:, 1:], torch.cat(vectors)[found_at[:, 0]])


def _shard(identities: Sequence[str], rows: Sequence[Tensor]) -> Shard:
    """Token k of an item is kept as box (k, 0, 1, 1) of a picture n_i high, since the store knows only pictures."""
    counts = torch.tensor([len(of) for of in rows], dtype=torch.int32)
    number = torch.cat([torch.arange(len(of), dtype=torch.int32) for of in rows])
    one = torch.ones_like(number)
    boxes = torch.stack([number, torch.zeros_like(number), one, one], 1)
    sizes = torch.stack([counts, torch.ones_like(counts)], 1)
    return Shard(tuple(identities), sizes, counts, boxes, torch.cat([*rows]).half().cpu())
