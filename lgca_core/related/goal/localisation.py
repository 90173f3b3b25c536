"""Local pairs against the truth: did a sentence find the region that it speaks of? For worlds that know it."""

from collections.abc import Callable, Iterable, Sequence

import pandas as pd
import torch

from lgca_core.boxes import iou
from lgca_core.related.captions.captioned import Box, CaptionedPicture, Truth
from lgca_core.related.goal.pairs import Pair, PairedPicture

OVERLAP = 0.5
"""Least IoU of a region that was found."""


def localisation(
    pairs: Iterable[PairedPicture],
    truths: Iterable[CaptionedPicture],
    candidates: Callable[[CaptionedPicture], Sequence[Box]] | None = None,
) -> pd.DataFrame:
    """What became of every truth, a row each, in the pictures' order.

    Args:
        pairs: as LISM made them; a picture without any may be missing.
        truths: the pictures with their truths, which pictures of `pairs` need not have; they are the same by name.
        candidates: the regions among which each picture's sentences chose, such as
            :meth:`~lgca_core.related.goal.regions.Regions.of`, the whole picture first. Without them `best`,
            `nearest` and `chance` are not known.

    A truth's pair is that whose sentence shares most characters with it, the better scored of equal ones. Columns:
    ``picture``; ``about``; ``paired``: whether there is one, else the sentence took the whole picture; ``iou`` of the
    pair's box with the true one, 0 where there is no pair; ``found``: whether that is at least 0.5; ``covered``: the
    share of the true box that lies in the pair's, which tells more where all regions are coarse; ``best``: the highest
    IoU of any candidate; ``nearest``: whether the pair's box is a candidate of that IoU; ``chance``: `covered` of a
    candidate drawn at random, the whole picture left out. Of a truth without a box, as of a habitat, only the first
    three are known: it is right where it is not paired.
    """
    by_name = {paired.picture.name: paired for paired in pairs}
    rows = []
    for picture in truths:
        paired = by_name.get(picture.name)
        regions = list(candidates(picture)) if candidates else []
        for truth in picture.truths:
            pair = _pair_of(truth, paired.pairs if paired else ())
            row = {"picture": picture.name, "about": truth.about, "paired": pair is not None}
            if truth.box is not None:
                [overlap] = _ious(truth.box, [pair.box]) if pair else [0.0]
                row |= {"iou": overlap, "found": overlap >= OVERLAP}
                row["covered"] = _covered(truth.box, pair.box) if pair else 0.0
                if regions:
                    best = max(_ious(truth.box, regions))
                    row |= {"best": best, "nearest": overlap >= best}
                    row["chance"] = sum(_covered(truth.box, box) for box in regions[1:]) / max(len(regions) - 1, 1)
            rows.append(row)
    columns = ["picture", "about", "paired", "iou", "found", "covered", "best", "nearest", "chance"]
    return pd.DataFrame(rows, columns=columns).astype({"found": "boolean", "nearest": "boolean"})


def localisation_table(truths: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`localisation` by what they are about, and all that have a box as ``all``, in one table.

    Columns: ``sentences``; ``paired``, ``found`` and ``nearest``: shares of them, 0 to 1; ``iou``, ``covered`` and
    ``chance``: means, 0 to 1; ``reachable``: the share for which any candidate has an IoU of at least 0.5. NaN is not
    known.
    """
    frame = truths.assign(reachable=(truths["best"] >= OVERLAP).where(truths["best"].notna()).astype("boolean"))
    boxed = frame[frame["iou"].notna()].assign(about="all")
    grouped = pd.concat([boxed, frame]).groupby("about", sort=False)
    means = grouped[["paired", "found", "iou", "nearest", "reachable", "covered", "chance"]].mean().astype(float)
    return pd.concat([grouped.size().rename("sentences"), means], axis=1)


def _pair_of(truth: Truth, pairs: Iterable[Pair]) -> Pair | None:
    shared = [(min(truth.end, pair.end) - max(truth.start, pair.start), pair) for pair in pairs]
    most, pair = max(shared, key=lambda one: one[0], default=(0, None))
    return pair if most > 0 else None


def _covered(box: Box, by: Box) -> float:
    """The share of a box, 0 to 1, that lies in another."""
    width, height = min(box[2], by[2]) - max(box[0], by[0]), min(box[3], by[3]) - max(box[1], by[1])
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


def _ious(box: Box, others: Sequence[Box]) -> list[float]:
    return iou(_corner_and_sides([box]), _corner_and_sides(others))[0].tolist()


def _corner_and_sides(boxes: Sequence[Box]) -> torch.Tensor:
    """(x1, y1, x2, y2) -> (n, 4) int64 of (top, left, height, width), as boxes are elsewhere."""
    return torch.tensor([[y1, x1, y2 - y1, x2 - x1] for x1, y1, x2, y2 in boxes])
