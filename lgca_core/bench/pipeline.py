"""How near the way from files to logits comes to the encoder's own speed, beside what peers do.

Every ratio is of medians of one run on one machine, whose arms take turns: a machine that is busy for a while slows
them all. The weights of an architecture of open_clip are random: no time depends on them. Axes: B pictures, N crops of
a picture, C classes, P sentences a class, S input side, D width.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lgca_core.bench import record
from lgca_core.class_vectors import logits
from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Device, Precision
from lgca_core.encoders.embedded import MODEL_NAME, WEIGHTS
from lgca_core.encoders.open_clip_models import OPEN_CLIP_PRECISION, quiet
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import peak_growth
from lgca_core.lgca import LGCA
from lgca_core.pixels.cropping import crops, cutter, normalised
from lgca_core.pixels.gpu_streams import map_in_streams
from lgca_core.pixels.pictures import open_picture
from lgca_core.read_ahead import views_of_files
from lgca_core.views import Views
from lgca_core.wca import WCA, cosine, weigh

PHOTOGRAPH = (375, 500)
"""Height and width of the pictures: ImageNet's most common."""

SEED = 0
AGREE = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 3e-3}
"""How far a cosine of ours may be from the peers' in each precision; their attention adds up in another order."""

Say = Callable[[str], None]


# ---- what is encoded, and by what --------------------------------------------------------------------------


def paint_photographs(folder: Path, count: int, seed: int = SEED) -> list[Path]:
    """JPEG files of `SIZE` with shapes and grain, about as large as photographs are (100 kB)."""
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
            torch.manual_seed(0)
            file = Path(folder) / "random.safetensors"
            with quiet():
                save_file(open_clip.create_model(name, load_weights=False).state_dict(), file)
            encoder = load_encoder(f"{name}:{file}", device=device, precision=precision)
        model = open_clip.create_model(
            name, pretrained=str(file), device=encoder.device, precision=OPEN_CLIP_PRECISION[encoder.precision]
        ).eval()
    yield encoder, model


def timed(arms: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device, report: Say) -> dict[str, Any]:
    """Seconds of every arm and turn; the first turn, which loads kernels and starts workers, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(repeats + 1):
        for name, run in arms.items():
            start = now(device)
            run()
            spent = now(device) - start
            report(f"{f'{turn} of {repeats}' if turn else 'warming up'}: {name}: {spent:.2f} s")
            if turn:
                seconds[name].append(spent)
    return seconds


def now(device: torch.device) -> float:
    """Seconds of a clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# ---- files to logits ---------------------------------------------------------------------------------------


def files_to_logits(files: Sequence[Path], encoder: Encoder, look: WCA | LGCA, classes: Tensor) -> Tensor:
    """Ours, as `lgca classify` does it for many pictures at once: (B, C) on the CPU."""

    def scores(chunk: tuple[range, Views]) -> Tensor:
        part, views = chunk
        return logits(look.vectors(views, [files[at].name for at in part], SEED), classes).cpu()

    return torch.cat(list(map_in_streams(scores, views_of_files(encoder, files), encoder.device, encoder.streams)))


class PeersPictures(Dataset[Tensor]):
    """What peers' workers do: a picture and its crops, one at a time, by Pillow and torchvision, as float32."""

    def __init__(self, files: Sequence[Path], look: WCA, encoder: Encoder) -> None:
        self.files, self.look = files, look
        self.transform = open_clip.image_transform(
            encoder.size, is_train=False, mean=tuple(encoder.mean), std=tuple(encoder.std)
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        """(1 + N, 3, S, S)"""
        picture = Image.open(self.files[index]).convert("RGB")
        boxes = self.look.boxes(picture.height, picture.width, SEED, self.files[index].name).tolist()
        cut = [picture.crop((left, top, left + w, top + h)) for top, left, h, w in boxes]
        return torch.stack([self.transform(one) for one in [picture, *cut]])


def peers_logits(loader: Iterable[Tensor], model: Any, dtype: torch.dtype, look: WCA, classes: Tensor) -> Tensor:
    """The peers' loop, restated: the crops of one picture a batch, through open_clip's own model: (B, C) on the CPU.

    Raises:
        LgcaError: the workers of a `DataLoader` have no room to hand crops over.
    """
    rows = []
    try:
        with torch.inference_mode():
            for pixels in loader:
                k = F.normalize(model.encode_image(pixels.to(classes.device).to(dtype)).float(), dim=-1)[None]
                _, u = weigh(k[:, 1:], cosine(k[:, 1:], k[:, 0]), look.image_temperature)
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
    """What a run of :func:`pipeline` does: B pictures, N crops, C classes, turns, and the peers' worker processes."""

    pictures: int = 32
    n: int = 60
    classes: int = 100
    repeats: int = 5
    workers: int = 2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name == "workers" else 2 if name == "classes" else 1
            if value < least:
                raise LgcaError(f"{name} must be at least {least}, got {value}")


def pipeline(name: str, device: Device, precision: Precision, work: Work, report: Say = print) -> dict[str, Any]:
    """WCA and LGCA from JPEG files to logits, beside the encoder alone and beside the peers' loop: the record.

    Raises:
        LgcaError: there is no such architecture or device; ours and the peers' logits are not the same.
    """
    look = WCA(n=work.n)
    equal = LGCA(n=work.n).at_passes(look.passes())
    with tempfile.TemporaryDirectory() as folder, models(name, device, precision) as (encoder, model):
        files = paint_photographs(Path(folder), work.pictures)
        generator = torch.Generator().manual_seed(SEED)
        width = model.encode_image(_pixels(encoder, files[:1], look)[:1]).shape[1]
        classes = F.normalize(torch.randn(work.classes, width, generator=generator), dim=-1).to(encoder.device)
        blind = replace(encoder, image=lambda pixels: torch.ones(len(pixels), width, device=pixels.device))
        pixels = _pixels(encoder, files, look)  # (a few batches, 3, S, S)
        loader: DataLoader[Tensor] = DataLoader(
            PeersPictures(files, look, encoder),
            batch_size=None,
            num_workers=work.workers,
            persistent_workers=work.workers > 0,
            multiprocessing_context="spawn" if work.workers else None,  # a fork of a process with threads can hang
            pin_memory=encoder.device.type == "cuda",
        )
        passes = work.pictures * look.passes()
        opened = pictures_with_boxes(files, look)
        arms: dict[str, Callable[[], Any]] = {
            "encoder alone": lambda: _encode(encoder, pixels, passes),
            "wca": lambda: files_to_logits(files, encoder, look, classes),
            "lgca at equal passes": lambda: files_to_logits(files, encoder, equal, classes),
            "peers' wca": lambda: peers_logits(loader, model, encoder.pixels, look, classes),
            "decode": lambda: [open_picture(path) for path in files],
            "resample": lambda: [Views(encoder, [picture]).crops(0, boxes) for picture, boxes in opened],
            "all but the encoder": lambda: files_to_logits(files, blind, look, classes),
        }
        apart = float((arms["wca"]() - arms["peers' wca"]()).abs().max())
        if not apart <= AGREE[encoder.precision]:  # nor is what is not a number
            raise LgcaError(f"ours and the peers' logits differ by {apart:.1e}: they do not compute the same")
        seconds = timed(arms, work.repeats, encoder.device, report)
        peaks = {str(n): _peak(encoder, files[:n], look, classes) for n in sorted({-(-len(files) // 2), len(files)})}
    median = {arm: statistics.median(spent) for arm, spent in seconds.items()}
    return record.begin("pipeline", encoder.device) | {
        "encoder": name,
        "weights": "embedded" if name == "aviary" else "random",
        "precision": encoder.precision,
        "device": encoder.device.type,
        "batch_size": encoder.batch_size,
        "size": encoder.size,
        "crops_by": cutter(encoder.device),
        "work": vars(work) | {"passes": passes, "passes_lgca": work.pictures * equal.passes()},
        "seconds": seconds,
        "median_seconds": median,
        "crops_per_second": {"encoder alone": passes / median["encoder alone"], "wca": passes / median["wca"]},
        "ratios": {
            "share_of_encoder": median["encoder alone"] / median["wca"],
            "times_peers": median["peers' wca"] / median["wca"],
            "lgca_to_wca": median["wca"] / median["lgca at equal passes"],
        },
        "largest_difference": apart,
        "peak_device_memory": peaks,
    }


def _peak(encoder: Encoder, files: Sequence[Path], look: WCA, classes: Tensor) -> int | None:
    """Most bytes of a GPU's memory that were taken meanwhile, beside what was there before; None on a CPU."""
    if encoder.device.type != "cuda":
        return None
    return int(peak_growth(lambda: files_to_logits(files, encoder, look, classes), encoder.device)[1])


def _encode(encoder: Encoder, pixels: Tensor, passes: int) -> None:
    """So many passes in full batches, over the same pixels again and again."""
    with torch.inference_mode():
        batches = pixels.split(encoder.batch_size)
        done = number = 0
        while done < passes:
            batch = batches[number % len(batches)][: passes - done]
            encoder.image(batch)
            done, number = done + len(batch), number + 1


def pictures_with_boxes(files: Sequence[Path], look: WCA) -> list[tuple[Image.Image, Tensor]]:
    """Each picture with its boxes."""
    pictures = [open_picture(path) for path in files]
    return [(of, look.boxes(of.height, of.width, SEED, path.name)) for of, path in zip(pictures, files)]


def _pixels(encoder: Encoder, files: Sequence[Path], look: WCA) -> Tensor:
    """A few batches of crops as the encoder takes them: (<= 4 batches, 3, S, S) on its device."""
    wanted = 4 * encoder.batch_size
    few = files[: -(-wanted // look.n)]
    found = [crops(picture, boxes, encoder.size) for picture, boxes in pictures_with_boxes(few, look)]
    return normalised(torch.cat(found)[:wanted].to(encoder.device), encoder.mean, encoder.std, encoder.pixels)
