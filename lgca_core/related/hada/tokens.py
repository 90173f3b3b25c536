"""Token features of frozen models: each item encoded once, kept in the store as float16, read as it is needed.

Axes: n items (pictures or captions), n_i tokens of item i, d width of a token, p width of a model's own vector.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lgca_core.boxes import whole
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.code_digest import digest_of_code
from lgca_core.evaluation.store import Shard, Store, pool_key, sentences_key
from lgca_core.files import sha256_of
from lgca_core.pixels.cropping import normalised
from lgca_core.pixels.gpu_streams import to_device
from lgca_core.read_ahead import views_of_files
from lgca_core.related import towers
from lgca_core.views import unit_from_float16

PICTURES_OF_A_SHARD, CAPTIONS_OF_A_SHARD = 64, 1024
READ_AHEAD = 64  # pictures decoded while others are encoded
ItemProgress = Callable[[int, int | None], None]


class FrozenModel:
    """A frozen encoder that gives all tokens of an item besides its vector.

    Tokens are those of the last layer after its norm, the CLS first: of a picture the class token, of a caption the end
    token, which sees the whole of it; the start token, the same for every caption, is left out. An encoder whose
    tokens cannot be told from its vector, such as one with attentional pooling, gives its vector as its only token.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._towers: towers.TokenTowers | None = None
        if encoder.parts is not None:
            try:
                self._towers = towers.TokenTowers(encoder.parts.model)
            except LgcaError:
                return
            encoder.parts.model.eval()

    @property
    def gives_tokens(self) -> bool:
        """Whether there are tokens beside its vector."""
        return self._towers is not None

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
    model: FrozenModel,
    files: Sequence[Path],
    store: Store,
    *,
    dataset: str,
    hashes: Sequence[str] | None = None,
    progress: ItemProgress | None = None,
) -> Features:
    """Of pictures, through the model's own preprocessing as a whole (shorter side to the input's, centre crop).

    ``hashes`` are the sha256 of the files, where they are known. Raises LgcaError for a file that cannot be read, or a
    store that cannot be written.
    """
    encoder = model.encoder
    hashes = hashes or [sha256_of(file) for file in files]
    distinct = dict(zip(hashes, files, strict=True))
    chosen = [*distinct.values()]

    def encode(positions: Sequence[int]) -> Iterator[tuple[list[Tensor], Tensor]]:
        places = [chosen[position] for position in positions]
        for part, views in views_of_files(encoder, places, chunk=min(encoder.batch_size, READ_AHEAD)):
            cut = [views.crops(n, whole(*size)[:1]) for n, size in zip(range(len(part)), views.sizes, strict=True)]
            crops = to_device(torch.cat(cut), encoder.device)
            yield model.pictures(normalised(crops, encoder.mean, encoder.std, encoder.pixels))

    kept = _Kept(store, dataset, [*distinct], PICTURES_OF_A_SHARD, lambda plan: pool_key(
        [*distinct], encoder, plan, encoder.resize.said))  # fmt: skip
    return kept.features(hashes, encode, progress)


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
    kept = _Kept(store, dataset, identities, CAPTIONS_OF_A_SHARD, lambda plan: {
        **sentences_key(encoder, identities), "plan": plan})  # fmt: skip
    return kept.features([hash_of_text[text] for text in texts], encode, progress)


class _Kept:
    """Distinct items of one model in the store: a pool of tokens and one of own vectors, which are of other widths."""

    def __init__(
        self,
        store: Store,
        dataset: str,
        identities: Sequence[str],
        of_a_shard: int,
        key: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        code = digest_of_code([Path(__file__), Path(towers.__file__)])
        self.store, self.identities = store, identities
        self.keys = [key({"draw": draw, "code": code}) for draw in ("tokens", "vectors")]
        self.tokens, self.own = (
            store.pool(of, identities, dataset=f"{dataset}, {of['plan']['draw']}", of_a_shard=of_a_shard)
            for of in self.keys
        )

    def features(
        self,
        hashes: Sequence[str],
        encode: Callable[[Sequence[int]], Iterator[tuple[list[Tensor], Tensor]]],
        progress: ItemProgress | None,
    ) -> Features:
        """Items by their hashes; what the store lacks is encoded first, in one stream, and written shard by shard."""
        found = [self._read(index) for index in range(len(self.tokens))]
        lacking = [index for index, pair in enumerate(found) if pair is None]
        done = len(self.identities) - sum(len(self.tokens.pictures(index)) for index in lacking)
        known = self._elsewhere() if lacking else {}
        every = (position for index in lacking for position in self.tokens.pictures(index))
        said = _one_by_one(encode([of for of in every if self.identities[of] not in known]))
        for number, index in enumerate(lacking):
            positions = self.tokens.pictures(index)
            identities = self.tokens.identities[positions.start : positions.stop]
            rows, e = zip(*(known.get(identity) or next(said) for identity in identities), strict=True)
            shard = _shard(identities, rows)
            if not number:  # of the first it is known how large the others will be
                self.store.check(len(lacking) * 2 * shard.features.nbytes if len(lacking) > 1 else 0)
            self.tokens.write(index, shard)
            self.own.write(index, _shard(identities, [of[None] for of in e]))
            found[index] = self._read(index)
            done += len(positions)
            if progress:
                progress(done, len(self.identities))
        if progress and not lacking:
            progress(done, len(self.identities))
        return self._put_together(hashes, found)

    def _read(self, index: int) -> tuple[Shard, Shard] | None:
        tokens, own = self.tokens.read(index, mapped=True), self.own.read(index)
        return None if tokens is None or own is None else (tokens, own)

    def _put_together(self, hashes: Sequence[str], found: Sequence[tuple[Shard, Shard] | None]) -> Features:
        place: dict[str, tuple[int, int, int, int]] = {}  # of its own vector, then of its tokens
        shards: list[Tensor] = []
        vectors: list[Tensor] = []
        for pair in found:
            if pair is None:
                raise LgcaError(
                    f"what was written to {self.tokens.folder} cannot be read again: is another process removing it?"
                )
            tokens, own = pair
            ends = np.cumsum(tokens.counts.numpy(), dtype=np.int64)
            for identity, end, count in zip(tokens.identities, ends, tokens.counts.tolist(), strict=True):
                place[identity] = len(place), len(shards), end - count, end
            shards.append(tokens.features)
            vectors.append(own.features)
        found_at = np.array([place[of] for of in hashes], np.int64).reshape(-1, 4)
        return Features(tuple(shards), found_at[:, 1:], torch.cat(vectors)[found_at[:, 0]])

    def _elsewhere(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Items that pools of other lists have, by the same model: their tokens (n_i, d), and vector (p,)."""
        wanted = set(self.identities)
        by_kind: list[dict[str, Tensor]] = [{}, {}]
        for pool in self.store.stored():
            for key, own, rows in zip(self.keys, (self.tokens, self.own), by_kind, strict=True):
                if (
                    pool.label is None
                    or pool.folder == own.folder
                    or _but_for_items(pool.label.key) != _but_for_items(key)
                ):
                    continue
                for file in pool.files:
                    with suppress(ValueError, OSError):  # damaged, or gone: then it is encoded
                        shard = file.read(mapped=True)
                        split = shard.features.split(shard.counts.tolist())
                        rows |= {of: row for of, row in zip(shard.identities, split, strict=True) if of in wanted}
        tokens, vectors = by_kind
        return {of: (row, vectors[of][0]) for of, row in tokens.items() if of in vectors}


def _but_for_items(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: "" if name in ("pictures", "sentences") else of for name, of in key.items()}


def _one_by_one(chunks: Iterator[tuple[list[Tensor], Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    for rows, e in chunks:
        yield from zip(rows, e, strict=True)


def _shard(identities: Sequence[str], rows: Sequence[Tensor]) -> Shard:
    """Token k of an item is kept as box (k, 0, 1, 1) of a picture n_i high, since the store knows only pictures."""
    counts = torch.tensor([len(of) for of in rows], dtype=torch.int32)
    number = torch.cat([torch.arange(len(of), dtype=torch.int32) for of in rows])
    one = torch.ones_like(number)
    boxes = torch.stack([number, torch.zeros_like(number), one, one], 1)
    sizes = torch.stack([counts, torch.ones_like(counts)], 1)
    return Shard(tuple(identities), sizes, counts, boxes, torch.cat([*rows]).half().cpu())
