"""What benchmarks share: photographs to work on, models to compare, arms that take turns, and the clock.

Every ratio is of medians of one run on one machine, whose arms take turns: a machine that is busy for a while slows
them all. The weights of an architecture of open_clip are random: no time depends on them. Axes: B pictures, N crops of
a picture, C classes, S input side, D width.
"""

import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from lgca_core.class_vectors import logits
from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Device, Precision
from lgca_core.encoders.embedded import MODEL_NAME, WEIGHTS
from lgca_core.encoders.open_clip_models import OPEN_CLIP_PRECISION, quiet
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA
from lgca_core.pixels.gpu_streams import map_in_streams
from lgca_core.pixels.pictures import open_picture
from lgca_core.read_ahead import views_of_files
from lgca_core.views import Views
from lgca_core.wca import WCA

PHOTOGRAPH = (375, 500)
"""Height and width of the pictures: ImageNet's most common."""

SEED_OF_WORK = 0
"""Seed of everything that a benchmark draws: pictures, boxes, weights, class vectors."""

COSINES_AGREE = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 3e-3}
"""How far a cosine of ours may be from open_clip's in each precision; its attention adds up in another order."""

Say = Callable[[str], None]


def paint_photographs(folder: Path, count: int, seed: int = SEED_OF_WORK) -> list[Path]:
    """JPEG files of `PHOTOGRAPH` with shapes and grain, about as large as photographs are (100 kB)."""
    height, width = PHOTOGRAPH
    files = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
        pixels = smooth + rng.normal(0, 14, smooth.shape)
        files.append(folder / f"{number:05d}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def pictures_with_boxes(files: Sequence[Path], wca: WCA) -> list[tuple[Image.Image, Tensor]]:
    """Each picture, decoded, with the boxes that WCA draws on it."""
    pictures = [open_picture(path) for path in files]
    return [
        (picture, wca.boxes(picture.height, picture.width, SEED_OF_WORK, path.name))
        for picture, path in zip(pictures, files)
    ]


@contextmanager
def models(name: str, device: Device, precision: Precision = "float32") -> Iterator[tuple[Encoder, Any]]:
    """Our encoder, and open_clip's own model with the same weights: the embedded ones, or random ones.

    Raises:
        LgcaError: there is no such architecture.
    """
    with tempfile.TemporaryDirectory() as folder:
        if name == "aviary":
            encoder, file = load_encoder("aviary", device=device, precision=precision), WEIGHTS
            name = MODEL_NAME
        else:
            if name not in open_clip.list_models():
                raise LgcaError(f"open_clip has no architecture {name!r}: give one, without a tag, or aviary")
            torch.manual_seed(SEED_OF_WORK)
            file = Path(folder) / "random.safetensors"
            with quiet():
                save_file(open_clip.create_model(name, load_weights=False).state_dict(), file)
            encoder = load_encoder(f"{name}:{file}", device=device, precision=precision)
        model = open_clip.create_model(
            name, pretrained=str(file), device=encoder.device, precision=OPEN_CLIP_PRECISION[encoder.precision]
        ).eval()
    yield encoder, model


def files_to_logits(files: Sequence[Path], encoder: Encoder, method: WCA | LGCA, classes: Tensor) -> Tensor:
    """Score files as `lgca classify` does, many pictures at once: (B, C) on the CPU."""

    def scores(chunk: tuple[range, Views]) -> Tensor:
        part, views = chunk
        return logits(method.vectors(views, [files[at].name for at in part], SEED_OF_WORK), classes).cpu()

    return torch.cat(list(map_in_streams(scores, views_of_files(encoder, files), encoder.device, encoder.streams)))


def time_in_turns(
    arms: Mapping[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    report: Say,
    *,
    warm_up: bool = True,
    once: Collection[str] = (),
) -> dict[str, list[float]]:
    """Seconds of every arm in every turn; all arms run in each turn, one after the other.

    A first turn, which loads kernels and starts workers, is not counted; with ``warm_up=False`` there is none, for arms
    that have run already. The arms in `once`, which take long, run in the first turn that counts and in no other.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(0 if warm_up else 1, repeats + 1):
        for name, run in arms.items():
            if turn != 1 and name in once:
                continue
            start = clock(device)
            run()
            spent = clock(device) - start
            report(f"{f'{turn} of {repeats}' if turn else 'warming up'}: {name}: {spent:.2f} s")
            if turn:
                seconds[name].append(spent)
    return seconds


def clock(device: torch.device) -> float:
    """Seconds of a clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
