"""Crops cut and resized, alone: ours beside torchvision and Pillow."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, resized_crop

from lgca_core.bench.harness import Say, paint_photographs, pictures_with_boxes, time_in_turns
from lgca_core.bench.record import begin, timings
from lgca_core.encoders.devices import Device, pick_device
from lgca_core.errors import LgcaError
from lgca_core.pixels.cropping import crops, crops_on_device, crops_pillow, cutter
from lgca_core.pixels.pictures import picture_tensor
from lgca_core.wca import WCA


def time_resampling(device: Device, pictures: int, n: int, size: int, repeats: int, report: Say) -> dict[str, Any]:
    """Time crops cut all at once and bit for bit as Pillow does, beside torchvision and on a CPU Pillow: the record.

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
    arms: dict[str, Callable[[], object]] = {"all at once": all_at_once, "torchvision": one_by_one}
    if place.type == "cpu":
        arms["pillow"] = by_pillow
    timed = timings(time_in_turns(arms, repeats, place, report))
    median = timed["median_seconds"]
    return (
        begin("resample", place)
        | {
            "device": place.type,
            "size": size,
            "crops_by": cutter(place),
            "work": {"pictures": pictures, "n": n, "repeats": repeats},
        }
        | timed
        | {
            "crops_per_second": {arm: pictures * n / spent for arm, spent in median.items()},
            "ratios": {f"times_{arm}": median[arm] / median["all at once"] for arm in list(arms)[1:]},
        }
    )
