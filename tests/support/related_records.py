"""Made-up records of retrieval with the arms of related systems."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet
from lgca_core.related.captions.record import save_related
from lgca_core.related.captions.retrieval import RetrievalResult
from support.stub_encoder import rich


def write_retrieval(
    folder: Path,
    arm: str | None,
    seed: int,
    images: Sequence[float],
    texts: Sequence[float],
    ks: Sequence[int],
    outcome: dict[str, Any],
    *,
    encoders: int = 1,
    caption: str = "One.",
    metrics: dict[str, float] | None = None,
) -> dict[str, float]:
    """A record with these ranks of pictures, and of their captions, as many a picture; and its metrics.

    ``arm`` None: nothing was trained. ``metrics`` are added.
    """
    many = len(texts) // len(images)
    names = [f"{n:03d}" for n in range(len(images))]
    pictures = tuple(CaptionedPicture(name, Path(name), (caption,) * many) for name in names)
    ways = {"image to text": (names, images), "text to image": (list(np.repeat(names, many)), texts)}
    frames = [pd.DataFrame({"query": of, "direction": way, "rank": np.float32(r)}) for way, (of, r) in ways.items()]
    said = {f"R@{k} {way}": float((np.array(ranks) <= k).mean()) for way, (_, ranks) in ways.items() for k in ks}
    said |= metrics or {}
    training = {"identity": {"arm": arm, "settings": {"seed": seed}}, "outcome": outcome}
    save_related(
        folder,
        RetrievalResult(said, pd.concat(frames, ignore_index=True)),
        [rich(sha256="0" * 64)] * encoders,
        CaptionSet("aviary", "test", pictures),
        parameters={"ties": "middle"},
        training=None if arm is None else training,
        seconds=1.0,
    )
    return said
