"""Captioned pictures of one split as M frozen models see them, and batches of them.

Axes: n pictures, m captions, B of a batch, M models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lgca_core.evaluation.store import Store
from lgca_core.files import sha256_of
from lgca_core.pixels.gpu_streams import to_device
from lgca_core.related.captions.captioned import CaptionSet
from lgca_core.related.hada.network import TokenItems, token_items
from lgca_core.related.hada.tokens import Features, FrozenModel, ItemProgress, caption_features, picture_features
from lgca_core.seeding import generator

TokensGiven = Literal["own", "copies", "cls"]
"""``copies``, a control: in place of all tokens but the CLS stand copies of it with noise, which say nothing new.
``cls``: the first alone, for a fusion that reads no tokens."""
_NOISE = 0.1  # deviation, as a share of that of the CLS's own entries


@dataclass(frozen=True)
class SplitFeatures:
    """One split: of each model the features of its pictures and captions, and the picture of each caption.

    ``hashes`` are the sha256 of the pictures' files.
    """

    captions: CaptionSet
    pictures: tuple[Features, ...]
    texts: tuple[Features, ...]
    picture_of: Tensor  # (m,) int64
    hashes: tuple[str, ...] = ()

    def picture_items(self, rows: Sequence[int], device: torch.device, tokens: TokensGiven = "own") -> TokenItems:
        """Pictures ``rows`` as the networks take them."""
        return _items(self.pictures, rows, device, tokens, "picture")

    def caption_items(self, rows: Sequence[int], device: torch.device, tokens: TokensGiven = "own") -> TokenItems:
        """Captions ``rows`` as the networks take them."""
        return _items(self.texts, rows, device, tokens, "caption")


def split_features(
    captions: CaptionSet, models: Sequence[FrozenModel], store: Store, *, progress: ItemProgress | None = None
) -> SplitFeatures:
    """Features of a split, encoded where the store lacks them.

    ``progress`` is called with how many of M (n + m) items there are.
    """
    texts = [caption for picture in captions.pictures for caption in picture.captions]
    picture_of = [n for n, picture in enumerate(captions.pictures) for _ in picture.captions]
    files = [picture.path for picture in captions.pictures]
    name, total, done = f"{captions.name} {captions.split}", len(models) * (len(files) + len(texts)), 0

    def told(part: int, _: int | None) -> None:
        if progress:
            progress(done + part, total)

    hashes = [sha256_of(file) for file in files]
    seen, said = [], []
    for model in models:
        pictures = f"{name}, pictures"
        seen.append(picture_features(model, files, store, dataset=pictures, hashes=hashes, progress=told))
        done += len(files)
        said.append(caption_features(model, texts, store, dataset=f"{name}, captions", progress=told))
        done += len(texts)
    return SplitFeatures(captions, tuple(seen), tuple(said), torch.tensor(picture_of), tuple(hashes))


def _items(
    models: Sequence[Features], rows: Sequence[int], device: torch.device, tokens: TokensGiven, side: str
) -> TokenItems:
    said = [[of.tokens(row) for of in models] for row in rows]
    if tokens == "cls":
        said = [[of[:1] for of in item] for item in said]
    if tokens == "copies":
        said = [
            [_copies(of, side, row, number) for number, of in enumerate(item)]
            for row, item in zip(rows, said, strict=True)
        ]
    vectors = [of.vectors(torch.as_tensor(rows)) for of in models]
    made = token_items(said, [[of[n] for of in vectors] for n in range(len(rows))])
    return TokenItems(*(tuple(to_device(of, device) for of in part) for part in made))


def _copies(of: Tensor, side: str, row: int, model: int) -> Tensor:
    """As many tokens, keyed by the item, so that it looks the same whenever it is read."""
    noise = generator(row, "copies", side, str(model)).standard_normal(of[1:].shape, np.float32)
    cls = of[:1].float()
    return torch.cat([cls, cls + _NOISE * cls.std() * torch.from_numpy(noise)]).to(of.dtype)
