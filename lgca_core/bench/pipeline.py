"""How near the way from files to logits comes to the encoder's own speed, beside what peers do."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lgca_core.bench.harness import (
    COSINES_AGREE,
    SEED_OF_WORK,
    Say,
    files_to_logits,
    models,
    paint_photographs,
    pictures_with_boxes,
    time_in_turns,
)
from lgca_core.bench.record import begin_with_encoder, timings
from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Device, Precision
from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import peak_growth
from lgca_core.lgca import LGCA
from lgca_core.pixels.cropping import crops, cutter, normalised
from lgca_core.pixels.pictures import open_picture
from lgca_core.views import Views
from lgca_core.wca import WCA, cosine, weigh


class PeersPictures(Dataset[Tensor]):
    """What peers' workers do: a picture and its crops, one at a time, by Pillow and torchvision, as float32."""

    def __init__(self, files: Sequence[Path], wca: WCA, encoder: Encoder) -> None:
        self.files, self.wca = files, wca
        self.transform = open_clip.image_transform(
            encoder.size, is_train=False, mean=tuple(encoder.mean), std=tuple(encoder.std)
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        """(1 + N, 3, S, S)"""
        picture = Image.open(self.files[index]).convert("RGB")
        boxes = self.wca.boxes(picture.height, picture.width, SEED_OF_WORK, self.files[index].name).tolist()
        cut = [picture.crop((left, top, left + w, top + h)) for top, left, h, w in boxes]
        return torch.stack([self.transform(one) for one in [picture, *cut]])


def peers_logits(loader: Iterable[Tensor], model: Any, dtype: torch.dtype, wca: WCA, classes: Tensor) -> Tensor:
    """The peers' loop, restated: the crops of one picture a batch, through open_clip's own model: (B, C) on the CPU.

    Raises:
        LgcaError: the workers of a `DataLoader` have no room to hand crops over.
    """
    rows = []
    try:
        with torch.inference_mode():
            for pixels in loader:
                k = F.normalize(model.encode_image(pixels.to(classes.device).to(dtype)).float(), dim=-1)[None]
                _, u = weigh(k[:, 1:], cosine(k[:, 1:], k[:, 0]), wca.image_temperature)
                rows.append(u @ classes.T)
    except RuntimeError as error:
        if "shared memory" not in str(error):
            raise
        raise LgcaError(
            "the peers' workers have too little shared memory: give a container more (--shm-size=8g), or --workers 0"
        ) from error
    return torch.cat(rows).cpu()


@dataclass(frozen=True)
class Work:
    """What :func:`time_pipeline` runs: B pictures, N crops, C classes, turns, and the peers' worker processes."""

    pictures: int = 32
    n: int = 60
    classes: int = 100
    repeats: int = 5
    workers: int = 2


def time_pipeline(name: str, device: Device, precision: Precision, work: Work, report: Say) -> dict[str, Any]:
    """Time WCA and LGCA from JPEG files to logits, beside the encoder alone and beside the peers' loop: the record.

    Raises:
        LgcaError: there is no such architecture or device; ours and the peers' logits are not the same.
    """
    wca = WCA(n=work.n)
    equal = LGCA(n=work.n).at_passes(wca.passes())
    with tempfile.TemporaryDirectory() as folder, models(name, device, precision) as (encoder, model):
        files = paint_photographs(Path(folder), work.pictures)
        generator = torch.Generator().manual_seed(SEED_OF_WORK)
        width = model.encode_image(_pixels(encoder, files[:1], wca)[:1]).shape[1]
        classes = F.normalize(torch.randn(work.classes, width, generator=generator), dim=-1).to(encoder.device)
        blind = replace(encoder, image=lambda pixels: torch.ones(len(pixels), width, device=pixels.device))
        pixels = _pixels(encoder, files, wca)  # (a few batches, 3, S, S)
        loader: DataLoader[Tensor] = DataLoader(
            PeersPictures(files, wca, encoder),
            batch_size=None,
            num_workers=work.workers,
            persistent_workers=work.workers > 0,
            multiprocessing_context="spawn" if work.workers else None,  # a fork of a process with threads can hang
            pin_memory=encoder.device.type == "cuda",
        )
        passes = work.pictures * wca.passes()
        opened = pictures_with_boxes(files, wca)
        arms: dict[str, Callable[[], Any]] = {
            "encoder alone": lambda: _encode(encoder, pixels, passes),
            "wca": lambda: files_to_logits(files, encoder, wca, classes),
            "lgca at equal passes": lambda: files_to_logits(files, encoder, equal, classes),
            "peers' wca": lambda: peers_logits(loader, model, encoder.pixels, wca, classes),
            "decode": lambda: [open_picture(path) for path in files],
            "resample": lambda: [Views(encoder, [picture]).crops(0, boxes) for picture, boxes in opened],
            "all but the encoder": lambda: files_to_logits(files, blind, wca, classes),
        }
        apart = float((arms["wca"]() - arms["peers' wca"]()).abs().max())
        if not apart <= COSINES_AGREE[encoder.precision]:  # nor is what is not a number
            raise LgcaError(f"ours and the peers' logits differ by {apart:.1e}: they do not compute the same")
        timed = timings(time_in_turns(arms, work.repeats, encoder.device, report))
        peaks = {str(n): _peak(encoder, files[:n], wca, classes) for n in sorted({-(-len(files) // 2), len(files)})}
    median = timed["median_seconds"]
    return (
        begin_with_encoder("pipeline", name, encoder)
        | {
            "size": encoder.size,
            "crops_by": cutter(encoder.device),
            "work": vars(work) | {"passes": passes, "passes_lgca": work.pictures * equal.passes()},
        }
        | timed
        | {
            "crops_per_second": {"encoder alone": passes / median["encoder alone"], "wca": passes / median["wca"]},
            "ratios": {
                "share_of_encoder": median["encoder alone"] / median["wca"],
                "times_peers": median["peers' wca"] / median["wca"],
                "lgca_to_wca": median["wca"] / median["lgca at equal passes"],
            },
            "largest_difference": apart,
            "peak_device_memory": peaks,
        }
    )


def _peak(encoder: Encoder, files: Sequence[Path], wca: WCA, classes: Tensor) -> int | None:
    """Most bytes of a GPU's memory that were taken meanwhile, beside what was there before; None on a CPU."""
    if encoder.device.type != "cuda":
        return None
    return int(peak_growth(lambda: files_to_logits(files, encoder, wca, classes), encoder.device)[1])


def _encode(encoder: Encoder, pixels: Tensor, passes: int) -> None:
    """Run so many passes in full batches, over the same pixels again and again."""
    with torch.inference_mode():
        batches = pixels.split(encoder.batch_size)
        done = number = 0
        while done < passes:
            batch = batches[number % len(batches)][: passes - done]
            encoder.image(batch)
            done, number = done + len(batch), number + 1


def _pixels(encoder: Encoder, files: Sequence[Path], wca: WCA) -> Tensor:
    """A few batches of crops as the encoder takes them: (<= 4 batches, 3, S, S) on its device."""
    wanted = 4 * encoder.batch_size
    few = files[: -(-wanted // wca.n)]
    found = [crops(picture, boxes, encoder.size) for picture, boxes in pictures_with_boxes(few, wca)]
    return normalised(torch.cat(found)[:wanted].to(encoder.device), encoder.mean, encoder.std, encoder.pixels)
