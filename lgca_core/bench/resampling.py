"""Crops cut and resized, alone: ours beside torchvision and Pillow."""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, resized_crop

from lgca_core.bench import record
from lgca_core.bench.pipeline import paint_photographs, pictures_with_boxes, timed
from lgca_core.encoders.devices import Device, pick_device
from lgca_core.errors import LgcaError
from lgca_core.pixels.cropping import crops, crops_on_device, crops_pillow, cutter
from lgca_core.pixels.pictures import picture_tensor
from lgca_core.wca import WCA


def resampling(device: Device, pictures: int = 8, n: int = 60, size: int = 224, repeats: int = 5) -> dict[str, Any]:
    """Crops cut all at once and bit for bit as Pillow does, beside torchvision and on a CPU Pillow: the record.

    Raises:
        LgcaError: there is no such device; the crops are not Pillow's.
    """
    place = pick_device(device)
    with tempfile.TemporaryDirectory() as folder:
        files = paint_photographs(Path(folder), pictures)
        opened = pictures_with_boxes(files, WCA(n=n))
    there = [(picture_tensor(picture).to(place), boxes) for picture, boxes in opened]
    planes = [(picture.contiguous(), boxes) for picture, boxes in there]  # as torchvision's own reader lays them out

    def by_pillow() -> list[Tensor]:
        return [crops_pillow(picture, boxes, size) for picture, boxes in opened]

    def all_at_once() -> list[Tensor]:
        if place.type == "cpu":
            return [crops(picture, boxes, size) for picture, boxes in opened]
        return [crops_on_device(picture, boxes, size) for picture, boxes in there]

    def one_by_one() -> list[Tensor]:
        return [
            resized_crop(picture, top, left, height, width, [size, size], InterpolationMode.BICUBIC, antialias=True)
            for picture, boxes in planes
            for top, left, height, width in boxes.tolist()
        ]

    if not all(torch.equal(cut.cpu(), theirs) for cut, theirs in zip(all_at_once(), by_pillow())):
        raise LgcaError("the crops are not Pillow's: nothing is timed")
    arms: dict[str, Callable[[], Any]] = {"all at once": all_at_once, "torchvision": one_by_one}
    if place.type == "cpu":
        arms["pillow"] = by_pillow
    seconds = timed(arms, repeats, place, lambda said: None)
    median = {arm: statistics.median(spent) for arm, spent in seconds.items()}
    return record.begin("resample", place) | {
        "device": place.type,
        "size": size,
        "crops_by": cutter(place),
        "work": {"pictures": pictures, "n": n, "repeats": repeats},
        "seconds": seconds,
        "median_seconds": median,
        "crops_per_second": {arm: pictures * n / spent for arm, spent in median.items()},
        "ratios": {f"times_{arm}": median[arm] / median["all at once"] for arm in list(arms)[1:]},
    }
