"""Other ways to cut a box out and resize it than the reference of `resample`, and what each would change.

The reference cuts first and resizes then, in Pillow's integers. What others do is done here by the libraries
themselves, all to squares of the encoder's size:

- ``Image.resize(box=...)`` resizes without cutting: its filter reaches over the edge of the box;
- torchvision resizes a cut tensor of uint8 as Pillow does, but for the rounding of weights; one of float, as on a GPU,
  is rounded once at the end;
- without anti-aliasing a pixel is made of the two (or four) nearest a side, however much the crop shrinks;
- ``roi_align`` averages bilinear samples, for many boxes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from lgca_core.class_vectors import logits
from lgca_core.data.manifest import Item, Manifest
from lgca_core.encoder import Encoder
from lgca_core.evaluation.statistics import paired_interval
from lgca_core.pixels.cropping import crops_pillow
from lgca_core.pixels.pictures import open_picture, picture_tensor
from lgca_core.views import Views
from lgca_core.wca import WCA

Cut = Callable[[Image.Image, Tensor, int], Tensor]
"""RGB picture, boxes (n, 4) int64 of squares, size S -> (n, 3, S, S) uint8."""

REFERENCE = "Pillow, crop and resize"


def _pillow_box(picture: Image.Image, boxes: Tensor, size: int) -> Tensor:
    resized = [
        picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        for top, left, height, width in boxes.tolist()
    ]
    return torch.stack([picture_tensor(crop) for crop in resized])


def _torchvision(
    picture: Image.Image, boxes: Tensor, size: int, *, mode: str, antialias: bool, dtype: torch.dtype = torch.float32
) -> Tensor:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    pixels = picture_tensor(picture).to(dtype)
    resized = [
        resize(
            pixels[:, top : top + height, left : left + width],
            [size, size],
            InterpolationMode(mode),
            antialias=antialias,
        )
        for top, left, height, width in boxes.tolist()
    ]
    return _levels(torch.stack(resized))


def _roi_align(picture: Image.Image, boxes: Tensor, size: int) -> Tensor:
    from torchvision.ops import roi_align

    top, left, height, width = boxes.float().T
    corners = torch.stack([left, top, left + width, top + height], dim=1)
    return _levels(roi_align(picture_tensor(picture).float()[None], [corners], size, aligned=True))


def _levels(pixels: Tensor) -> Tensor:
    return pixels if pixels.dtype == torch.uint8 else pixels.round().clamp(0, 255).to(torch.uint8)


PATHS: dict[str, Cut] = {
    REFERENCE: crops_pillow,
    "torchvision, uint8": partial(_torchvision, mode="bicubic", antialias=True, dtype=torch.uint8),
    "Pillow, resize(box=...)": _pillow_box,
    "torchvision, float": partial(_torchvision, mode="bicubic", antialias=True),
    "torchvision, bilinear": partial(_torchvision, mode="bilinear", antialias=True),
    "roi_align": _roi_align,
    "not anti-aliased, bilinear": partial(_torchvision, mode="bilinear", antialias=False),
    "not anti-aliased, bicubic": partial(_torchvision, mode="bicubic", antialias=False),
}
"""Each way by its name, bicubic and anti-aliased unless that says otherwise; the first is the reference. The whole
picture too goes its way where it is square."""


class PathViews(Views):
    """`Views` whose boxes are cut by `cut`, on the CPU: all else about them is the same."""

    def __init__(self, cut: Cut, encoder: Encoder, pictures: Sequence[Image.Image]) -> None:
        super().__init__(encoder, pictures)
        self.cut = cut

    def crops(self, b: int, boxes: Tensor) -> Tensor:
        return self.cut(self._picture(b), boxes, self.encoder.size)


def measure(
    manifest: Manifest,
    items: Sequence[Item],
    encoder: Encoder,
    matrix: Tensor,
    *,
    wca: WCA,
    seed: int = 0,
    paths: Mapping[str, Cut] = PATHS,
    chunk: int = 16,
) -> pd.DataFrame:
    """WCA through every path on the same boxes, a row a path and picture, against the first of `paths`.

    Columns: ``path``; ``picture`` (its key in `manifest`); ``label``; ``prediction``; over the picture's crops
    ``levels`` (mean absolute difference of 0..255), ``differ`` (share of values that differ), ``largest`` (levels);
    over the crops' unit vectors ``cosine`` and ``least`` (mean and smallest cosine to the same crop's, -1..1).

    Whole pictures that are no squares are cut by the reference: the other ways here make squares only.
    """
    rows = []
    for start in range(0, len(items), chunk):
        part = items[start : start + chunk]
        pictures = [open_picture(item.path) for item in part]
        identities = [item.identity for item in part]
        squares = [wca.boxes(p.height, p.width, seed, of) for p, of in zip(pictures, identities)]  # B x (N, 4)
        kept: tuple[list[Tensor], list[Tensor]] | None = None
        for path, cut in paths.items():
            views = PathViews(partial(_squares_only, cut), encoder, pictures)
            predicted = logits(wca.vectors(views, identities, seed), matrix).argmax(dim=1)  # (B,)
            pixels = [cut(p, boxes, encoder.size).int() for p, boxes in zip(pictures, squares)]  # B x (N, 3, S, S)
            vectors = views.encode(squares)  # B x (N, D), all known by now
            kept = kept or (pixels, vectors)
            for b, item in enumerate(part):
                off = (pixels[b] - kept[0][b]).abs()
                alike = (vectors[b] * kept[1][b]).sum(dim=1)  # (N,)
                rows.append(
                    {
                        "path": path,
                        "picture": manifest.key(item),
                        "label": item.label,
                        "prediction": int(predicted[b]),
                        "levels": float(off.float().mean()),
                        "differ": float((off > 0).float().mean()),
                        "largest": int(off.max()),
                        "cosine": float(alike.mean()),
                        "least": float(alike.min()),
                    }
                )
    return pd.DataFrame(rows)


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """A row a path of :func:`measure`, in order.

    Columns: ``path``, ``pictures``; ``levels``, ``differ``, ``cosine`` (means over pictures), ``largest``, ``least``
    (extremes); ``changed``, predictions that differ from the first path's; ``difference`` of top-1 to the first path's,
    with its 95 % paired bootstrap interval ``difference_low`` to ``difference_high``.
    """
    first = measured[measured["path"] == measured["path"].iloc[0]]
    right = (first["prediction"] == first["label"]).to_numpy()
    rows = []
    for path, own in measured.groupby("path", sort=False):
        hits = (own["prediction"] == own["label"]).to_numpy()
        low, high = paired_interval(hits, right)
        rows.append(
            {
                "path": path,
                "pictures": len(own),
                **own[["levels", "differ", "cosine"]].mean(),
                "largest": own["largest"].max(),
                "least": own["least"].min(),
                "changed": int((own["prediction"].to_numpy() != first["prediction"].to_numpy()).sum()),
                "difference": hits.mean() - right.mean(),
                "difference_low": low,
                "difference_high": high,
            }
        )
    return pd.DataFrame(rows)


def _squares_only(cut: Cut, picture: Image.Image, boxes: Tensor, size: int) -> Tensor:
    """`cut`, but the reference for boxes that are no squares: whole pictures."""
    square = boxes[:, 2] == boxes[:, 3]
    out = torch.empty((len(boxes), 3, size, size), dtype=torch.uint8)
    for chosen, way in ((square, cut), (~square, crops_pillow)):
        if chosen.any():
            out[chosen] = way(picture, boxes[chosen], size)
    return out
