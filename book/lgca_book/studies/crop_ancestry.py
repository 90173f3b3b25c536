"""Crops followed through their expansions: which ones mislead at first, and what growing does to them.

A box that survives to the last step has one ancestor at every step. For each box of such a lineage,

    margin = <k, z_true> - max over other classes <k, z_c>,

below zero where the crop alone would be classified wrongly.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from lgca_core.data.manifest import Item, Manifest
from lgca_core.encoder import Encoder
from lgca_core.lgca import LGCA, Trace
from lgca_core.read_ahead import views_of_files


def ancestors(trace: Trace, picture: int) -> Tensor:
    """Of each box of the last step, the index of its ancestor at every step: (n_T, T + 1) int64."""
    column = torch.arange(trace.steps[-1].boxes.shape[1])
    columns = [column]
    for step in reversed(trace.steps[:-1]):
        column = step.kept[picture][column]
        columns.append(column)
    return torch.stack(columns[::-1], dim=1)


def boxes_of(trace: Trace, picture: int) -> pd.DataFrame:
    """Every box of one picture, a row each: ``step``, ``box``, ``top``, ``left``, ``height``, ``width``, ``saliency``,
    ``weight``."""
    frames = []
    for t, step in enumerate(trace.steps):
        frame = pd.DataFrame(step.boxes[picture].numpy(), columns=["top", "left", "height", "width"])
        frame.insert(0, "step", t)
        frame.insert(1, "box", frame.index)
        saliency, weight = (of[picture].cpu().numpy() for of in (step.saliency, step.weights))
        frames.append(frame.assign(saliency=saliency, weight=weight))
    return pd.concat(frames, ignore_index=True)


def scores_of(
    trace: Trace, picture: int, matrix: Tensor, classes: Sequence[str], label: int, rivals: int = 4
) -> pd.DataFrame:
    """Scores <u_t, z_c> of one picture's true class and of its strongest rivals in the end: a row a class and step.

    Columns: ``class``, ``true`` (whether it is the true one), ``step``, ``score`` (cosine units).
    """
    total = trace.vector[picture] @ matrix.T  # (C,)
    others = [c for c in total.argsort(descending=True).tolist() if c != label][:rivals]
    rows = [
        {"class": classes[c], "true": c == label, "step": t, "score": float(step.vector[picture] @ matrix[c])}
        for c in [label, *others]
        for t, step in enumerate(trace.steps)
    ]
    return pd.DataFrame(rows)


def lineages(
    manifest: Manifest,
    items: Sequence[Item],
    encoder: Encoder,
    lgca: LGCA,
    matrix: Tensor,
    *,
    seed: int,
    chunk: int = 16,
) -> pd.DataFrame:
    """Every surviving box of the given pictures, a row a lineage and step.

    Columns: ``picture`` (position in `items`), ``lineage``, ``step``, ``top``, ``left``, ``height``, ``width``,
    ``saliency``, ``weight``, ``margin`` (cosine units), ``right`` (the crop's best class is the true one), ``best``
    (that class), ``rival`` (the best class but the true one).

    Args:
        items: pictures of `manifest`. matrix: class matrix (C, D). seed: of the boxes.
    """
    rows: list[dict[str, object]] = []
    for places, views in views_of_files(encoder, [item.path for item in items], chunk=chunk):
        part = [items[place] for place in places]
        trace = lgca.trace(views, [item.identity for item in part], seed, class_matrix=matrix)
        for b, item in enumerate(part):
            chains = ancestors(trace, b)
            for t, step in enumerate(trace.steps):
                of = chains[:, t]
                scores = step.vectors[b][of] @ matrix.T  # (n_T, C)
                own = scores[:, item.label].clone()
                best = scores.argmax(dim=1)
                scores[:, item.label] = float("-inf")
                rival = scores.max(dim=1)
                for lineage, index in enumerate(of.tolist()):
                    top, left, height, width = step.boxes[b, index].tolist()
                    rows.append(
                        {
                            "picture": places[b],
                            "lineage": lineage,
                            "step": t,
                            "top": top,
                            "left": left,
                            "height": height,
                            "width": width,
                            "saliency": float(step.saliency[b, index]),
                            "weight": float(step.weights[b, index]),
                            "margin": float(own[lineage] - rival.values[lineage]),
                            "right": bool(best[lineage] == item.label),
                            "best": manifest.classes[int(best[lineage])],
                            "rival": manifest.classes[int(rival.indices[lineage])],
                        }
                    )
    return pd.DataFrame(rows)


def most_misleading(chains: pd.DataFrame) -> pd.DataFrame:
    """The lineage whose first crop has the lowest margin of all: its rows, step by step.

    This is the rule that picks the example: no look at what becomes of it.
    """
    first = chains[chains["step"] == 0]
    worst = first.loc[first["margin"].idxmin()]
    chosen = (chains["picture"] == worst["picture"]) & (chains["lineage"] == worst["lineage"])
    return chains[chosen].sort_values("step").reset_index(drop=True)
