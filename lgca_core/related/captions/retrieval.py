"""Retrieval between two sets of vectors: exact ranks with stated ties, recall and average precision, in blocks.

Scores are cosines of unit vectors rounded to 26 binary places. Then every product and sum is exact in float64,
whatever the order of adding, so equal vectors have equal scores and no rank depends on block, device or order. The
rounding, 7e-9 a component, is that of float32 itself.

Axes: n queries, m items of the gallery, D width, P pairs of a query and an item that is relevant to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgca_core.errors import LgcaError
from lgca_core.related.captions.captioned import CaptionSet

Ties = Literal["middle", "pessimistic"]
"""What items that score exactly like a relevant one do to its rank: half of them go before it, or all."""

STEPS = 2.0**26
"""Products of unit vectors of so many steps stay below 2^53 in sum, up to which float64 holds every whole number."""
NEARLY_ONE = 1.01
"""Of a unit vector, rounding included; up to 1.4 the sums are exact."""
BLOCK_SIDE = 2048
"""Queries, and items of the gallery, that are compared at a time: 32 MiB of scores."""


class Ahead(NamedTuple):
    """For every relevant pair how many irrelevant items score higher and how many the same; one row a pair, (P,)."""

    query: NDArray[np.int64]
    item: NDArray[np.int64]
    score: NDArray[np.float64]  # -1 to 1
    more: NDArray[np.int64]
    equal: NDArray[np.int64]


def items_ahead(
    queries: Tensor, gallery: Tensor, relevant: Sequence[Sequence[int]], *, block: int = BLOCK_SIDE
) -> Ahead:
    """How many irrelevant items of a gallery go before each relevant one; never holds more than block x block scores.

    Args:
        queries: (n, D) unit vectors, on any device but mps, and gallery (m, D) on the same.
        relevant: for each query the items that are relevant to it, one or more.

    Raises:
        LgcaError: vectors that are not finite or longer than one, or a query without a relevant item.
    """
    for what, vectors in (("queries", queries), ("gallery", gallery)):
        if bad := int((~torch.isfinite(vectors).all(dim=-1)).sum()):
            raise LgcaError(f"{bad} of {len(vectors)} vectors of the {what} are not finite, so nothing can be ranked")
        if len(vectors) and float(vectors.double().norm(dim=-1).max()) > NEARLY_ONE:
            raise LgcaError(f"the vectors of the {what} must be of unit length: normalise them")
    if len(relevant) != len(queries) or not all(relevant):
        raise LgcaError("every query needs an item that is relevant to it")
    most = max(map(len, relevant))
    filled = torch.tensor([[*items, *[-1] * (most - len(items))] for items in relevant], device=queries.device)
    q, g = (torch.round(vectors.double() * STEPS) for vectors in (queries, gallery))
    more, equal = (torch.zeros(len(q), most, dtype=torch.int64, device=q.device) for _ in range(2))
    own = torch.full((len(q), most), torch.nan, dtype=torch.float64, device=q.device)
    for rows in torch.arange(len(q), device=q.device).split(block):
        there = filled[rows] >= 0  # (b, R)
        chosen = (q[rows][:, None] * g[filled[rows].clamp(min=0)]).sum(-1)  # (b, R), exact
        own[rows] = chosen.masked_fill(~there, torch.nan)  # with nothing is NaN compared as true
        for part in g.split(block):
            scores = q[rows] @ part.T  # (b, block), exact
            for k in range(most):
                more[rows, k] += (scores > own[rows, k, None]).sum(1)
                equal[rows, k] += (scores == own[rows, k, None]).sum(1)
        for k in range(most):  # relevant items, themselves too, were counted among the others
            more[rows, k] -= (own[rows] > own[rows, k, None]).sum(1)
            equal[rows, k] -= (own[rows] == own[rows, k, None]).sum(1)
    query, place = torch.nonzero(filled >= 0, as_tuple=True)
    columns = (query, filled[query, place], own[query, place] / STEPS**2, more[query, place], equal[query, place])
    return Ahead(*(column.cpu().numpy() for column in columns))


def first_ranks(found: Ahead, ties: Ties = "middle") -> NDArray[np.float64]:
    """Rank, from 1 on, of each query's best relevant item among the irrelevant ones: (n,), halves by ``middle``."""
    order = np.lexsort((-found.score, found.query))
    _, first = np.unique(found.query[order], return_index=True)
    best = order[first]
    return 1 + found.more[best] + found.equal[best] * _share(ties)


def recall_at(ranks: NDArray[np.float64], k: int) -> float:
    """Share of queries with a relevant item among the first k: R@k, 0 to 1."""
    return float((ranks <= k).mean())


def average_precisions(found: Ahead, k: int, ties: Ties = "middle") -> NDArray[np.float64]:
    """AP@k of each query, (n,): the sum over its relevant items within rank k of the precision there, by their number.

    The number of relevant items is not capped at k.
    """
    order = np.lexsort((-found.score, found.query))
    query = found.query[order]
    _, first, count = np.unique(query, return_index=True, return_counts=True)
    number = np.arange(len(query)) - np.repeat(first, count) + 1  # of the query's relevant items, best first
    rank = number + found.more[order] + found.equal[order] * _share(ties)
    precision = np.where(rank <= k, number / rank, 0.0)
    return np.add.reduceat(precision, first) / count


def _share(ties: Ties) -> float:
    return 0.5 if ties == "middle" else 1.0


class BothWays(NamedTuple):
    """Ranks of a set of captioned pictures: of each picture's best caption, and of each caption's picture."""

    image_to_text: NDArray[np.float64]
    text_to_image: NDArray[np.float64]

    def recalls(self, *ks: int) -> dict[str, float]:
        """R@k for each k, image to text first, as "R@1 image to text"."""
        named = {"image to text": self.image_to_text, "text to image": self.text_to_image}
        return {f"R@{k} {way}": recall_at(ranks, k) for way, ranks in named.items() for k in ks}


def both_ways(images: Tensor, texts: Tensor, picture_of: Sequence[int], *, ties: Ties = "middle") -> BothWays:
    """Ranks of pictures and captions in each other.

    Args:
        images: (n, D), texts: (m, D), unit vectors.
        picture_of: for each text its picture; every picture has one text or more.
    """
    captions: list[list[int]] = [[] for _ in range(len(images))]
    for text, picture in enumerate(picture_of):
        captions[picture].append(text)
    return BothWays(
        first_ranks(items_ahead(images, texts, captions), ties),
        first_ranks(items_ahead(texts, images, [[picture] for picture in picture_of]), ties),
    )


@dataclass
class RetrievalResult:
    """What a retrieval came to.

    ``metrics``: R@k and mAP@k, 0 to 1, by names such as "R@1 image to text". ``ranks``: a row a query, with columns
    ``query`` (the picture's name), ``direction`` and ``rank`` (from 1 on). ``notes``: sentences for a reader.
    """

    metrics: dict[str, float]
    ranks: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def retrieved(
    captions: CaptionSet, images: Tensor, texts: Tensor, ks: Sequence[int], *, ties: Ties = "middle"
) -> RetrievalResult:
    """R@k both ways over all pictures and captions of a set, one gallery each.

    Args:
        images: (n, D) unit vectors, a row a picture; texts: (m, D), a row a caption, picture after picture.
    """
    picture_of = [n for n, picture in enumerate(captions.pictures) for _ in picture.captions]
    found = both_ways(images, texts, picture_of, ties=ties)
    names = [picture.name for picture in captions.pictures]
    rows = [
        pd.DataFrame({"query": of, "direction": way, "rank": ranks.astype(np.float32)})
        for way, of, ranks in (
            ("image to text", names, found.image_to_text),
            ("text to image", [names[n] for n in picture_of], found.text_to_image),
        )
    ]
    return RetrievalResult(found.recalls(*ks), pd.concat(rows, ignore_index=True))
