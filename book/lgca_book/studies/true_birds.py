"""Where the bird really is: the aviary's pictures are painted, so the boxes of its birds are known.

No real data set of the papers tells whether a crop that is called salient holds what the picture is of. Boxes are
``(top, left, height, width)`` in pixels; the true one is the tight box round the bird's visible pixels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgca_core.aviary.splits import SPLITS, paintings
from lgca_core.boxes import iou
from lgca_core.data.manifest import Manifest, every_nth
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.lgca import LGCA
from lgca_core.read_ahead import views_of_files

BOX = ["top", "left", "height", "width"]
THIRDS = ("smallest third", "middle third", "largest third")
SALIENT, MEAN, ANYWHERE = "most salient box", "mean box of the step", "as large, anywhere"


def true_boxes(manifest: Manifest) -> pd.DataFrame:
    """The box of the labelled bird in every picture of an aviary data set, in the manifest's order.

    The pictures are painted again, some 15 ms each. Columns: ``path`` (`Manifest.key`), ``top``, ``left``, ``height``,
    ``width``, and ``share`` of the picture that the box covers, 0..1. A picture whose bird is hidden has no row.

    Raises:
        LgcaError: not a data set of the aviary, or a copy of one with other pictures.
    """
    if manifest.name not in SPLITS:
        raise LgcaError(f"only the aviary knows where its birds are, and {manifest.name} is not one of {list(SPLITS)}")
    rows = {}
    paths = set()
    for path, painting in paintings(manifest.name):
        paths.add(path)
        if (box := painting.box()) is not None:
            rows[path] = [path, *box, box[2] * box[3] / painting.parts.size]
    keys = [manifest.key(item) for item in manifest.items]
    if paths != set(keys):
        odd = min(paths.symmetric_difference(keys))
        raise LgcaError(f"{manifest.root} is not {manifest.name} as it is painted: {odd} is only in one of them")
    return pd.DataFrame([rows[key] for key in keys if key in rows], columns=["path", *BOX, "share"])


def thirds(truth: pd.DataFrame) -> pd.Series:
    """Which third by size each bird of :func:`true_boxes` is in: path -> one of :data:`THIRDS`, ordered."""
    size = pd.qcut(truth["share"].rank(method="first"), len(THIRDS), labels=list(THIRDS))
    return pd.Series(size.to_numpy(), index=pd.Index(truth["path"], name="path"), name="size")


def accuracy_by_size(predictions: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Top-1 by size of the bird, a row a third and method, of a record's predictions.

    Columns: ``size``; ``share_low``, ``share_high``, the birds' boxes as shares of the picture; ``images``; ``method``;
    ``top1`` (mean over seeds, 0..1); ``low``, ``high`` (95 % bootstrap over pictures).
    """
    rows = []
    for size, share, hits in _by_size(predictions, truth):
        for method, correct in hits.items():
            low, high = statistics.interval(correct)
            rows.append(
                {
                    "size": size,
                    "share_low": share.min(),
                    "share_high": share.max(),
                    "images": len(share),
                    "method": method,
                    "top1": correct.mean(),
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


def compare_by_size(predictions: pd.DataFrame, truth: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """`compare_each` third of :func:`thirds`, in the column ``size``: p values are corrected over all rows."""
    return statistics.compare_each({size: hits for size, _, hits in _by_size(predictions, truth)}, pairs, "size")


def _by_size(
    predictions: pd.DataFrame, truth: pd.DataFrame
) -> Iterator[tuple[str, pd.Series, dict[str, NDArray[np.bool_]]]]:
    """(third, shares of its birds, `statistics.correctness` of its pictures), small birds first."""
    third = thirds(truth)
    share = truth.set_index("path")["share"]
    for size in THIRDS:
        paths = third.index[third == size]
        yield size, share[paths], statistics.correctness(predictions[predictions["path"].isin(paths)])


def salient_boxes(
    manifest: Manifest,
    truth: pd.DataFrame,
    encoder: Encoder,
    lgca: LGCA,
    *,
    every: int = 1,
    seed: int = 0,
    chunk: int = 16,
) -> pd.DataFrame:
    """How LGCA's boxes lie to the true bird, a row a picture, step and kind of box.

    Kinds: the step's most salient box; the mean over all boxes of the step; and what is expected of a box as large as
    the most salient one that lies anywhere in the picture, every place being as likely (exactly, over all places).
    A larger box overlaps more by itself, so the first says something only beside the last.

    Columns: ``path``, ``step``, ``box`` (:data:`SALIENT`, :data:`MEAN`, :data:`ANYWHERE`), ``iou`` of box and bird,
    ``inside`` (share of the bird's box that lies in it), ``area`` (share of the picture that it covers).

    Args:
        truth: see :func:`true_boxes`. every: every `every`-th picture of the manifest is looked at. seed: of the boxes.

    Raises:
        LgcaError: `lgca` needs classes to tell what is salient, or `every` is less than 1.
    """
    known = truth.set_index("path")[BOX]
    items = [item for item in every_nth(manifest, every) if manifest.key(item) in known.index]
    rows: list[dict[str, object]] = []
    for places, views in views_of_files(encoder, [item.path for item in items], chunk=chunk):
        part = [items[place] for place in places]
        trace = lgca.trace(views, [item.identity for item in part], seed)
        for b, item in enumerate(part):
            bird = torch.tensor(known.loc[manifest.key(item)].to_numpy())  # (4,)
            for t, step in enumerate(trace.steps):
                boxes = step.boxes[b]  # (n_t, 4)
                salient = boxes[int(step.saliency[b].argmax())]  # (4,)
                kinds = {SALIENT: salient[None], MEAN: boxes, ANYWHERE: _anywhere(salient, *views.sizes[b])}
                for kind, those in kinds.items():
                    of = {"path": manifest.key(item), "step": t, "box": kind}
                    rows.append(of | overlap(those, bird, *views.sizes[b]))
    return pd.DataFrame(rows)


def overlap(boxes: Tensor, bird: Tensor, height: int, width: int) -> dict[str, float]:
    """Means over boxes (n, 4) in a picture: ``iou`` with the bird (4,), its share ``inside``, the boxes' ``area``."""
    shared = iou(boxes, bird[None])[:, 0]  # (n,)
    area, of_bird = boxes[:, 2:].prod(-1), bird[2:].prod()
    both = shared / (1 + shared) * (area + of_bird)  # from iou = both / (area + of_bird - both)
    means = {"iou": shared, "inside": both / of_bird, "area": area / (height * width)}
    return {name: float(values.double().mean()) for name, values in means.items()}


def _anywhere(box: Tensor, height: int, width: int) -> Tensor:
    """A box as large at every place of the picture: (m, 4)."""
    h, w = box[2:].tolist()
    corners = torch.cartesian_prod(torch.arange(height - h + 1), torch.arange(width - w + 1))
    return torch.cat([corners, box[2:].expand(len(corners), 2)], dim=1)


def by_step(salient: pd.DataFrame) -> pd.DataFrame:
    """Means of :func:`salient_boxes` over pictures: a row a step, kind of box and measure.

    Columns: ``step``, ``box``, ``measure`` (iou, inside, area), ``mean``, ``low``, ``high`` (95 % bootstrap over
    pictures).
    """
    long = salient.melt(["path", "step", "box"], ["iou", "inside", "area"], var_name="measure")
    rows = []
    for (step, box, measure), values in long.groupby(["step", "box", "measure"], sort=False)["value"]:
        low, high = statistics.interval(values)
        rows.append({"step": step, "box": box, "measure": measure, "mean": values.mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


def beyond_chance(salient: pd.DataFrame) -> pd.DataFrame:
    """By how much the most salient box meets the bird better than one as large anywhere, paired by picture.

    Columns: ``step``, ``iou``, ``anywhere`` (means), ``difference``, ``difference_low``, ``difference_high`` (95 %
    bootstrap over pictures).
    """
    wide = salient.pivot(index=["step", "path"], columns="box", values="iou")
    rows = []
    for step, of_step in wide.groupby("step"):
        own, chance = of_step[SALIENT], of_step[ANYWHERE]
        low, high = statistics.paired_interval(own, chance)
        difference = own.mean() - chance.mean()
        row = {"step": step, "iou": own.mean(), "anywhere": chance.mean(), "difference": difference}
        rows.append(row | {"difference_low": low, "difference_high": high})
    return pd.DataFrame(rows)
