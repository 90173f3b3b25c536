"""How far the cosines spread that WCA's two softmaxes act on.

A softmax of ``temperature * cosine`` is nearly a mean where temperature times the cosines' standard deviation is far
below one, and nearly a choice of the largest where it is far above.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from lgca_core.data.manifest import Manifest, every_nth
from lgca_core.encoder import Encoder
from lgca_core.prompts.sentences import plain
from lgca_core.read_ahead import views_of_files
from lgca_core.wca import WCA, cosine, encode_with_whole


def cosine_spread(
    manifest: Manifest,
    encoder: Encoder,
    descriptions: Sequence[Sequence[str]],
    *,
    every: int = 1,
    wca: WCA | None = None,
    chunk: int = 16,
) -> pd.DataFrame:
    """Cosines of sentences to their class's plain prompt, and of crops to their picture.

    `descriptions` are the sentences of each class, in label order.

    Columns: ``cosine`` (which), ``mean``, ``standard deviation`` (within a class, within a picture; the mean over
    those), ``temperature``, ``temperature x deviation``. Every `every`-th picture is looked at, with the boxes of
    seed 0.

    Raises:
        LgcaError: `every` is less than 1.
    """
    wca = wca or WCA()
    of_sentences = []
    for sentences, [anchor] in zip(descriptions, plain(manifest.classes), strict=True):
        vectors = encoder.encode_texts([anchor, *sentences])  # (1 + P, D)
        of_sentences.append(vectors[1:] @ vectors[0])  # (P,)
    of_crops: list[torch.Tensor] = []
    items = every_nth(manifest, every)
    for places, views in views_of_files(encoder, [item.path for item in items], chunk=chunk):
        part = [items[place] for place in places]
        squares = [wca.boxes(h, w, 0, item.identity) for (h, w), item in zip(views.sizes, part)]
        k0, k = encode_with_whole(views, squares)  # (B, D), (B, N, D)
        of_crops.extend(cosine(k, k0))  # B x (N,)
    rows = []
    for label, groups, temperature in (
        ("sentence and plain prompt", of_sentences, wca.text_temperature),
        ("crop and whole picture", of_crops, wca.image_temperature),
    ):
        deviation = float(torch.stack([group.std() for group in groups]).mean())
        rows.append(
            {
                "cosine": label,
                "mean": float(torch.cat(list(groups)).mean()),
                "standard deviation": deviation,
                "temperature": temperature,
                "temperature x deviation": temperature * deviation,
            }
        )
    return pd.DataFrame(rows)
