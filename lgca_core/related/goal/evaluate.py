"""Retrieval with long captions: how well pictures and captions find each other, and regions and sentences too."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lgca_core.boxes import whole
from lgca_core.data.manifest import Skipped
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.alike import cut_by
from lgca_core.read_ahead import views_of_files
from lgca_core.related.captions.captioned import CaptionSet
from lgca_core.related.captions.retrieval import RetrievalResult, Ties, average_precisions, items_ahead, retrieved
from lgca_core.related.goal.pairs import PairedPicture, check_inside

RECALLS = (1, 5, 25, 50)
"""The k of R@k in GOAL's tables."""
PRECISION_AT = 10
"""The k of the joint set's mAP@k."""
Joint = Literal["right", "released"]
"""What is relevant in the joint set. ``released``: as GOAL's code keys it, no region finds its picture, nor back."""


def evaluate_retrieval(
    encoder: Encoder,
    captions: CaptionSet,
    *,
    ties: Ties = "middle",
    progress: Callable[[int, int | None], None] | None = None,
) -> RetrievalResult:
    """R@1/5/25/50 both ways over all pictures and captions of a set, one gallery each.

    A picture goes through the model's own preprocessing as a whole (shorter side to the input's, centre crop), as in
    GOAL's training and evaluation. A picture's best-ranked caption counts. Captions beyond the model's window are cut
    and counted in a note. Raises LgcaError for an empty set, or a picture that cannot be read.
    """
    if not captions.pictures:
        raise LgcaError(f"{captions.name} ({captions.split}) has no pictures to find")
    images = _whole_pictures(encoder, captions, progress)
    said = [caption for picture in captions.pictures for caption in picture.captions]
    result = retrieved(captions, images, encoder.encode_texts(said), RECALLS, ties=ties)
    result.notes += _notes(encoder, said, captions)
    return result


def evaluate_joint(
    encoder: Encoder, pictures: Sequence[PairedPicture], *, joint: Joint = "right", ties: Ties = "middle"
) -> dict[str, float]:
    """mAP@10 of whole pictures, their best regions, captions and sentences in one gallery a side.

    Of each picture its best pair takes part. A whole picture (caption) is to find its caption (picture) and the
    sentence (region) of its region; a region (sentence) its sentence (region) and the whole caption (picture). Over all
    queries, and over those of distinct texts.
    """
    if not pictures:
        raise LgcaError("there are no pairs for a joint set")
    images, said = [], []
    for part, views in views_of_files(encoder, [paired.picture.path for paired in pictures]):
        boxes = []
        for at, (height, width) in zip(part, views.sizes, strict=True):
            check_inside(pictures[at], width, height)
            x1, y1, x2, y2 = pictures[at].pairs[0].box
            boxes.append(torch.cat([whole(height, width), torch.tensor([[y1, x1, y2 - y1, x2 - x1]])]))
        images.append(torch.stack(views.encode(boxes)))  # (b, 2, D)
    for paired in pictures:
        caption, best = paired.picture.captions[0], paired.pairs[0]
        said += [caption, caption[best.start : best.end]]
    every = torch.cat(images).flatten(0, 1)  # whole, region, whole, region, ...
    texts = encoder.encode_texts(said)
    both = [[2 * (n // 2), 2 * (n // 2) + 1] for n in range(len(said))]
    relevant = both if joint == "right" else [[n] for n in range(len(said))]
    first = {text: n for n, text in reversed([*enumerate(said)])}
    distinct = np.array([first[text] == n for n, text in enumerate(said)])
    out = {}
    for way, queries, gallery in (("image to text", every, texts), ("text to image", texts, every)):
        found = average_precisions(items_ahead(queries, gallery, relevant), PRECISION_AT, ties)
        out[f"mAP@{PRECISION_AT} {way}"] = float(found.mean())
        out[f"mAP@{PRECISION_AT} {way}, distinct texts"] = float(found[distinct].mean())
    return out


def _whole_pictures(
    encoder: Encoder, captions: CaptionSet, progress: Callable[[int, int | None], None] | None
) -> Tensor:
    """(n, D) unit vectors."""
    vectors, total = [], len(captions.pictures)
    for part, views in views_of_files(encoder, [picture.path for picture in captions.pictures]):
        vectors += views.encode([whole(height, width) for height, width in views.sizes])
        if progress:
            progress(part.stop, total)
    return torch.cat(vectors)


def _notes(encoder: Encoder, said: list[str], captions: CaptionSet) -> list[str]:
    notes = []
    if (window := getattr(encoder.tokenizer, "context_length", None)) and (cut := cut_by(encoder.tokenizer, said)):
        lost = ""
        if hasattr(encoder.tokenizer, "encode"):
            lost = f", {sum(len(encoder.tokenizer.encode(text)) + 2 - window for text in cut):,} tokens in all"
        notes.append(
            f"{len(cut):,} of {len(said):,} captions are longer than the {window} tokens that {encoder.name} "
            f"reads, and their end is cut{lost}."
        )
    if captions.skipped:
        first: Skipped = captions.skipped[0]
        notes.append(f"{len(captions.skipped):,} pictures were skipped, the first: {first.path}: {first.reason}")
    return notes
