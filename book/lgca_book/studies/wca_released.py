"""WCA as written and as released: what each difference changes.

The differences are the crops' range, the second normalisation, the seeds that draw from one pool, and, on Places365,
names that several classes share. Axes: B pictures, N crops of a picture, C classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lgca_book.studies.statistical_power import deviation_interval
from lgca_core.boxes import draw_squares
from lgca_core.class_vectors import logits
from lgca_core.data.manifest import Item
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.pixels.pictures import open_picture
from lgca_core.read_ahead import views_of_files
from lgca_core.seeding import generator
from lgca_core.wca import WCA, cosine, encode_with_whole, weigh

# ---- from records --------------------------------------------------------------------------------------------


def changes(predictions: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Changes from ``baseline`` to ``method``, a row a pair: the columns of `compare_methods`, and

    ``pictures``; ``seeds``, how many both have; ``changed``, how many predictions differ at equal seeds, their mean.

    Args:
        predictions: of one data set, columns as `record.COLUMNS`.
        pairs: (method, baseline).

    Raises:
        LgcaError: a method is not there, or the two share no seed. ValueError: they were run on different pictures.
    """
    chosen = list(pairs)
    frame = statistics.compare_methods(statistics.correctness(predictions), chosen)
    told = {method: _answers(predictions, method) for pair in chosen for method in pair}
    counts = []
    for method, baseline in chosen:
        ours, theirs = told[method], told[baseline]
        seeds = ours.index.intersection(theirs.index)
        if seeds.empty:
            raise LgcaError(f"{method} and {baseline} have no seed in common: evaluate both with the same")
        differ = ours.loc[seeds].to_numpy() != theirs.loc[seeds].to_numpy()
        counts.append({"pictures": differ.shape[1], "seeds": len(seeds), "changed": differ.sum(axis=1).mean()})
    return frame.join(pd.DataFrame(counts))


def reseeded(predictions: pd.DataFrame, method: str) -> pd.Series:
    """Changes by another seed alone: a row as of :func:`changes` without p values, the second seed against the first.

    ``changed`` is the mean over all pairs of seeds, ``seeds`` how many there are.

    Raises:
        LgcaError: the method is not there or has one seed only.
    """
    own = predictions[predictions["method"] == method]
    answers = _answers(own, method)
    if answers.empty:
        has = ", ".join(predictions["method"].unique())
        raise LgcaError(f"there are no predictions of {method!r}: there are of {has}")
    if len(answers) < 2:
        raise LgcaError(f"{method} has one seed only: evaluate it with --seeds 2 or more")
    first, second = statistics.correctness(own)[method][:2]
    row = (
        statistics.compare_methods({method: second, "first seed": first}, [(method, "first seed")])
        .iloc[0]
        .drop(["p", "p_holm"])
    )
    values = answers.to_numpy()
    changed = np.mean([(values[a] != values[b]).sum() for a, b in combinations(range(len(values)), 2)])
    return pd.concat([row, pd.Series({"pictures": values.shape[1], "seeds": len(values), "changed": changed})])


def deviations(predictions: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """How far accuracy moves with the seed, a row a method, in 0..1.

    Columns: ``method``, ``seeds``, ``top1``; ``std`` over seeds, with its 95 % interval ``low`` to ``high``
    (`statistical_power.deviation_interval`: of normal values); ``by_picture``, what it comes to where pictures flip
    independently of each other, ``sqrt(sum_i s_i^2) / n`` with s_i the deviation of picture i over seeds: known far
    better, since every picture adds to it.

    Raises:
        LgcaError: a method is not there or has one seed only.
    """
    hits = statistics.correctness(predictions)
    rows = []
    for method in methods:
        if method not in hits or len(hits[method]) < 2:
            raise LgcaError(f"{method} has no two seeds: evaluate it with --seeds 2 or more")
        of_seeds = hits[method]
        std = float(of_seeds.mean(axis=1).std(ddof=1))
        low, high = deviation_interval(std, len(of_seeds))
        rows.append(
            {
                "method": method,
                "seeds": len(of_seeds),
                "top1": of_seeds.mean(),
                "std": std,
                "low": low,
                "high": high,
                "by_picture": float(np.sqrt(of_seeds.var(axis=0, ddof=1).sum())) / of_seeds.shape[1],
            }
        )
    return pd.DataFrame(rows)


def _answers(predictions: pd.DataFrame, method: str) -> pd.DataFrame:
    """Predicted classes: a row a seed, a column a picture, both sorted."""
    return predictions[predictions["method"] == method].pivot(index="seed", columns="path", values="prediction")


# ---- the second normalisation --------------------------------------------------------------------------------


def vectors_of(items: Sequence[Item], encoder: Encoder, wca: WCA, *, seed: int = 0, chunk: int = 16) -> Tensor:
    """WCA's image vectors, (B, D), of the given pictures; a few in memory at a time."""
    parts = []
    for places, views in views_of_files(encoder, [item.path for item in items], chunk=chunk):
        part = [items[place] for place in places]
        parts.append(wca.vectors(views, [item.identity for item in part], seed))
    return torch.cat(parts)


def renormalisation(vectors: Tensor, matrix: Tensor, labels: Sequence[int]) -> pd.DataFrame:
    """Changes by scaling to unit length: of each picture's vector, of each class's vector, or of both.

    Columns: ``scaled``; ``pictures``; ``changed``, predictions that differ from those of the vectors as they are, and
    ``difference``, of their accuracy, -1..1; ``shortest`` and ``longest`` of the lengths that are scaled away (NaN for
    both).

    Args:
        vectors: (B, D), not of unit length. matrix: (C, D), `class_vectors.class_matrix` without renormalise.
        labels: B true classes.
    """
    plain = logits(vectors, matrix).argmax(dim=1)  # (B,)
    truth = torch.as_tensor(labels, device=plain.device)
    ways = {
        "image vectors": (F.normalize(vectors, dim=-1), matrix, vectors),
        "class vectors": (vectors, F.normalize(matrix, dim=-1), matrix),
        "both": (F.normalize(vectors, dim=-1), F.normalize(matrix, dim=-1), None),
    }
    rows = []
    for scaled, (of_pictures, of_classes, changed) in ways.items():
        lengths = torch.full((1,), torch.nan) if changed is None else changed.norm(dim=-1)
        predicted = logits(of_pictures, of_classes).argmax(dim=1)  # (B,)
        rows.append(
            {
                "scaled": scaled,
                "pictures": len(vectors),
                "changed": int((predicted != plain).sum()),
                "difference": (int((predicted == truth).sum()) - int((plain == truth).sum())) / len(vectors),
                "shortest": float(lengths.min()),
                "longest": float(lengths.max()),
            }
        )
    return pd.DataFrame(rows)


# ---- the pool ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoolVariance:
    """Variance of a mean over N crops, in units of the variance of one crop.

    For N crops drawn with replacement from a pool of M, itself M independent crops, the variance falls into two parts
    (the law of total variance): around the pool's own mean, ``(1 - 1/M) / N``, which draws from that pool show; and of
    the pool's mean, ``1 / M``, which they all share, so that no number of them shows it.
    """

    n: int
    pool: int

    @property
    def shown(self) -> float:
        return (1 - 1 / self.pool) / self.n

    @property
    def hidden(self) -> float:
        return 1 / self.pool

    @property
    def independent(self) -> float:
        """Of N independent crops."""
        return 1 / self.n

    @property
    def hidden_share(self) -> float:
        """Share of its variance that a draw does not show, 0..1."""
        return self.hidden / (self.hidden + self.shown)

    @property
    def worth(self) -> float:
        """As many independent crops estimate as well as N out of the pool."""
        return 1 / (self.hidden + self.shown)

    @property
    def distinct(self) -> float:
        """How many different crops N draws with replacement are expected to give."""
        return self.pool * self.shared

    @property
    def shared(self) -> float:
        """Share of a draw's crops that another draw from the same pool is expected to have too, 0..1."""
        return 1 - (1 - 1 / self.pool) ** self.n


def overlap(items: Sequence[Item], wca: WCA, seeds: int) -> float:
    """Share of a draw's crops that another seed has too, mean over pairs of seeds and over pictures: 0..1.

    Boxes are compared, in whole pixels.
    """
    shares = []
    for item in items:
        picture = open_picture(item.path)
        drawn = [wca.boxes(picture.height, picture.width, seed, item.identity).tolist() for seed in range(seeds)]
        sets = [set(map(tuple, boxes)) for boxes in drawn]
        shares += [np.mean([tuple(box) in sets[b] for box in drawn[a]]) for a, b in combinations(range(seeds), 2)]
    return float(np.mean(shares))


def pool_variances(
    items: Sequence[Item],
    encoder: Encoder,
    matrix: Tensor,
    wca: WCA,
    *,
    pools: int = 4,
    draws: int = 50,
    chunk: int = 8,
) -> pd.DataFrame:
    """The variance of WCA's margin over draws of crops, measured, a row a picture.

    The margin is ``s(x, true class) - max of the others``, in cosine units: what decides whether a picture is right.
    Of each picture `pools` x M crops are encoded. Columns: ``picture`` (position in `items`); ``independent``, variance
    over disjoint sets of N of them; ``shown``, over `draws` draws of N with replacement from one pool of M, mean over
    pools; ``hidden``, of the mean over such draws, from pool to pool (the part of `shown` that a mean of so many draws
    still has is taken off, so that it can come out below zero).

    Args:
        wca: with a pool. matrix: (C, D).
    """
    m = wca.pool
    assert m is not None, "WCA without a pool has no pool's variance"
    chosen = torch.from_numpy(generator(0, "draws").integers(m, size=(draws, wca.n)))  # as released: of all pictures
    apart = torch.arange(pools * m // wca.n * wca.n).reshape(-1, wca.n)
    rows = []
    for places, views in views_of_files(encoder, [item.path for item in items], chunk=chunk):
        part = [items[place] for place in places]
        boxes = [
            draw_squares(h, w, pools * m, wca.alpha, wca.beta, seed=0, identity=item.identity)
            for (h, w), item in zip(views.sizes, part)
        ]
        k0, k = encode_with_whole(views, boxes)  # (B, D), (B, pools M, D)
        saliency = cosine(k, k0)  # (B, pools M)
        for b, item in enumerate(part):
            margins = partial(_margins, k[b], saliency[b], wca.image_temperature, matrix, item.label)
            of_pools = np.stack([margins(chosen + p * m) for p in range(pools)])  # (pools, draws)
            within = of_pools.var(axis=1, ddof=1).mean()
            between = of_pools.mean(axis=1).var(ddof=1)
            rows.append(
                {
                    "picture": places[b],
                    "independent": margins(apart).var(ddof=1),
                    "shown": within,
                    "hidden": between - within / draws,
                }
            )
    return pd.DataFrame(rows)


def relative(measured: pd.DataFrame, column: str, *, resamples: int = 10_000) -> tuple[float, float, float]:
    """A column of :func:`pool_variances` over ``independent``, sums over pictures: the ratio and its 95 % bootstrap
    interval over pictures (ratio, low, high)."""
    above, below = measured[column].to_numpy(), measured["independent"].to_numpy()
    again = np.random.default_rng(0).integers(len(measured), size=(resamples, len(measured)))
    low, high = np.percentile(above[again].sum(axis=1) / below[again].sum(axis=1), [2.5, 97.5])
    return float(above.sum() / below.sum()), float(low), float(high)


def _margins(
    k: Tensor, saliency: Tensor, temperature: float, matrix: Tensor, label: int, indices: Tensor
) -> NDArray[np.float64]:
    """A picture's margin for each choice of its crops (R, N): (R,)."""
    _, u = weigh(k[indices], saliency[indices], temperature)  # (R, D)
    scores = logits(u, matrix)  # (R, C)
    own = scores[:, label].clone()
    scores[:, label] = float("-inf")
    return (own - scores.max(dim=1).values).cpu().double().numpy()


# ---- names that classes share --------------------------------------------------------------------------------


@dataclass(frozen=True)
class SharedNames:
    """A list of classes of equally many pictures, some of which have the same name.

    Classes of one name have the same class vector, so the same score for every picture. A tie goes to the first, and no
    picture of the others can be right.
    """

    classes: tuple[str, ...]

    @property
    def names(self) -> int:
        """How many distinct names there are."""
        return len(set(self.classes))

    @property
    def sharing(self) -> int:
        """How many classes have a name that another one has too."""
        return sum(self.classes.count(name) > 1 for name in self.classes)

    @property
    def ceiling(self) -> float:
        """The highest possible accuracy, 0..1."""
        return self.names / len(self.classes)


# ---- all together --------------------------------------------------------------------------------------------

DIFFERENCES = (
    "what differs", "what it changes", "changed", "pictures", "difference", "difference_low", "difference_high", "p",
)  # fmt: skip
"""Columns of :func:`differences` before ``p_holm``; accuracies in 0..1, NaN for what is not available."""


def all_differences(
    draws: pd.DataFrame, ranges: pd.DataFrame, scaled: pd.DataFrame, shared: SharedNames, paths: pd.DataFrame
) -> pd.DataFrame:
    """Every difference between WCA as written and as released, and the ways to resize: columns as :func:`differences`.

    Args:
        draws: predictions of ``wca``, ``wca:renormalise=true``, ``wca:alpha=0.1:pool=100`` and ``wca-released``.
        ranges: predictions of ``wca`` and ``wca:alpha=0.1`` with at least one seed of `draws`, on the same pictures.
        scaled: of :func:`renormalisation`. paths: of `resize_paths.summary`.

    Raises:
        LgcaError: a method is not there.
    """
    wide, pooled = "wca:alpha=0.1", "wca:alpha=0.1:pool=100"
    apart = pd.concat([draws, ranges[ranges["method"] == wide]])
    [crop_range] = changes(ranges, [(wide, "wca")]).to_dict("records")
    pairs = [("wca:renormalise=true", "wca"), (pooled, wide), ("wca-released", "wca")]
    classes, pool, released = changes(apart, pairs).to_dict("records")
    return differences(
        [
            ("another seed (the yardstick)", "which crops are cut", reseeded(draws, "wca").to_dict()),
            ("crop range U(0.1, 0.9)", "smaller crops", crop_range),
            (
                "image vectors scaled",
                "nothing: the order of the classes stays",
                scaled.set_index("scaled").loc["image vectors"].to_dict(),
            ),
            ("class vectors scaled", "classes whose sentences agree lose an advantage", classes),
            ("a pool of 100 crops", "which crops; all seeds share the pool's error", pool),
            ("all of these: as released", "the above together", released),
            (
                "shared names (Places365)",
                "classes after the first of a name are lost",
                {"difference": shared.ceiling - 1},
            ),
            *((row["path"], "pixels", row) for row in paths.iloc[1:].to_dict("records")),
        ]
    )


def differences(rows: Iterable[tuple[str, str, Mapping[str, Any]]]) -> pd.DataFrame:
    """(what differs, what it changes, row of :func:`changes` or of `resize_paths.summary`) as one tidy table.

    Columns: :data:`DIFFERENCES`, and ``p_holm``, corrected over the rows that have a ``p``.
    """
    found = [
        {"what differs": label, "what it changes": what, **{of: row.get(of, np.nan) for of in DIFFERENCES[2:]}}
        for label, what, row in rows
    ]
    table = pd.DataFrame(found, columns=list(DIFFERENCES))
    tested = table["p"].notna()
    table["p_holm"] = np.nan
    table.loc[tested, "p_holm"] = statistics.holm(table.loc[tested, "p"].to_numpy())
    return table
