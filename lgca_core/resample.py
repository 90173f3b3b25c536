"""Pixels: open a picture, cut boxes out of it and resize them, with Pillow's own numbers.

The reference is what CLIP and its peers do: crop, bicubic resize of the shorter side with anti-aliasing,
centre crop. :func:`crops_pillow` is Pillow itself. The others restate its arithmetic and give the same bits:
:func:`crops` compiled for a CPU, :func:`crops_int32` in torch for any device, :func:`crops_on_device` the fastest
there.
"""

import functools
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lgca_core.boxes import check_boxes
from lgca_core.errors import LgcaError
from lgca_core.overlap import sent
from lgca_core.taps import PRECISION_BITS, SUPPORT, centre, in_order, passes, resized

#: Largest picture that :func:`open_picture` accepts, in pixels (about 9,459 x 9,459): the size up to which
#: Pillow, as it comes, sees no danger of a decompression bomb.
MAX_PIXELS = 89_478_485

RESIZE = "crop, bicubic with anti-aliasing to the shorter side, centre crop (Pillow's numbers)"
"""What is done here, for the record."""

CHUNK_BYTES = 2**27  # working memory that `crops_int32` aims to stay within, whatever the number of boxes
PILLOW_PIXELS = 2**24  # above this, a resized crop is mostly thrown away by the centre crop: long thin boxes

logging.getLogger("PIL").addHandler(logging.NullHandler())  # or logging prints Pillow's complaints on stderr


# -- pictures ------------------------------------------------------------------------------------------------


def open_picture(path: str | Path) -> Image.Image:
    """The picture in a file, upright and in RGB, fully decoded.

    EXIF orientation is always honoured, and comes first: boxes are in the pixels of the upright picture.
    Other modes become RGB by Pillow's ``convert``: grey is repeated, a palette looked up, transparency
    dropped. Of an animation the first frame is taken. Pillow's warnings are silenced.

    Raises LgcaError, one sentence, for a file that is missing, empty, damaged, cut short or no picture, for a
    picture of more than ``MAX_PIXELS`` pixels (before any of them is decoded), and for grey values of more
    than 8 bits, which Pillow would clip rather than scale.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise LgcaError(f"{path}: the file is empty")
        with _quiet_pillow(), Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                pixels = f"{image.width:,} x {image.height:,} pixels are"
                raise LgcaError(_too_large(path, pixels))
            if image.mode.startswith(("I", "F")):
                raise LgcaError(f"{path}: grey values of more than 8 bits ({image.mode}); save it with 8 bits first")
            image.load()
            return ImageOps.exif_transpose(image).convert("RGB")
    except LgcaError:
        raise
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        pixels = f"{int(count[0]):,} pixels are" if count else "the pixels are"
        raise LgcaError(_too_large(path, pixels)) from error
    except FileNotFoundError as error:
        raise LgcaError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise LgcaError(f"{path}: a folder, not a picture") from error
    except PermissionError as error:
        raise LgcaError(f"{path}: no permission to read the file") from error
    except Image.UnidentifiedImageError as error:
        raise LgcaError(f"{path}: not a picture in a format that Pillow knows") from error
    except Exception as error:  # on a damaged file decoders raise OSError, SyntaxError, struct.error, ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LgcaError(f"{path}: the file is damaged or cut short and cannot be read ({reason})") from error


def picture_tensor(image: Image.Image) -> Tensor:
    """The pixels of an RGB picture: (3, H, W) uint8, on the CPU; in memory as Pillow has them, channels innermost."""
    _check_rgb(image)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


# -- crops on a CPU ------------------------------------------------------------------------------------------


def crops(image: Image.Image, boxes: Tensor, size: int, *, threads: int | None = None) -> Tensor:
    """Every box cut out, its shorter side resized to ``size`` (bicubic, anti-aliased), centre-cropped.

    ``image`` RGB, ``boxes`` (N, 4) int64 -> (N, 3, size, size) uint8, contiguous, on the CPU. The numbers are
    those of torchvision's ``Resize(size, BICUBIC)`` and ``CenterCrop(size)`` on the cropped picture, as
    open_clip builds them. ``threads`` (all processors if None) changes only the speed; the threads are shared
    between calls. Without Numba this is :func:`crops_pillow`.

    Raises LgcaError for a picture that is not RGB, a box outside it, or a size or number of threads below 1.
    """
    compiled = _compiled()
    if compiled is None:
        return crops_pillow(image, boxes, size, threads=threads)
    threads = _checked(image, boxes, size, threads)

    def cut(some: np.ndarray, turned: bool) -> Tensor:
        out = np.empty((len(some), 3, size, size), np.uint8)
        if not len(some):
            return torch.from_numpy(out)
        columns = np.array(image if turned else image.transpose(Image.Transpose.TRANSPOSE))
        taps, across, down = passes(some, size)
        arguments = columns.reshape(len(columns), -1), some, across, down, *taps
        _in_threads(lambda which: compiled.cut(*arguments, which, out), np.arange(len(some)), threads)
        return torch.from_numpy(out)

    return in_order(np.ascontiguousarray(boxes.cpu().numpy()), size, cut)


def crops_pillow(image: Image.Image, boxes: Tensor, size: int, *, threads: int | None = None) -> Tensor:
    """:func:`crops` by Pillow itself: the reference for the others, and what they stand in for without Numba."""
    threads = _checked(image, boxes, size, threads)
    image.load()  # decoding on first use is not safe in threads
    out = torch.empty((len(boxes), 3, size, size), dtype=torch.uint8)
    pixels = out.numpy()
    boxes = boxes.cpu()
    new_height, new_width = resized(boxes[:, 2].numpy(), boxes[:, 3].numpy(), size)
    sides = np.stack([new_width, new_height], axis=1).tolist()
    rows = boxes.tolist()

    def work(some: np.ndarray) -> None:
        for i in some.tolist():
            top, left, height, width = rows[i]
            crop = image.crop((left, top, left + width, top + height))
            crop = crop.resize(sides[i], Image.Resampling.BICUBIC)
            if crop.size != (size, size):
                left, top = centre(crop.width, size), centre(crop.height, size)
                crop = crop.crop((left, top, left + size, top + size))
            pixels[i] = np.asarray(crop).transpose(2, 0, 1)

    # A box of 1 x 5,000 would be blown up to 224 x 1,120,000 before the centre crop: no work for Pillow.
    thin = new_height * new_width > max(PILLOW_PIXELS, size * size)
    if thin.any():
        out[torch.from_numpy(thin)] = crops_int32(picture_tensor(image), boxes[torch.from_numpy(thin)], size)
    _in_threads(work, np.flatnonzero(~thin), threads)
    return out


def _checked(image: Image.Image, boxes: Tensor, size: int, threads: int | None) -> int:
    """The number of threads, if all arguments are sound."""
    _check_rgb(image)
    check_boxes(boxes, image.height, image.width)
    _check_size(size)
    threads = _processors() if threads is None else threads
    if threads < 1:
        raise LgcaError(f"number of threads must be at least 1, got {threads}")
    return threads


def _in_threads(work: Callable[[np.ndarray], None], which: np.ndarray, threads: int) -> None:
    threads = min(threads, len(which))
    if threads <= 1:
        work(which)
    else:
        list(_pool(threads).map(work, [which[k::threads] for k in range(threads)]))


def cutter(device: torch.device) -> str:
    """What cuts crops for an encoder: ``numba`` or ``pillow`` on a CPU, ``triton`` or ``torch`` on a GPU."""
    if device.type == "cuda":
        return "torch" if _fused(device) is None else "triton"
    return "pillow" if _compiled() is None else "numba"


@functools.cache
def _compiled() -> ModuleType | None:
    """The compiled passes, made when first needed: a second to load, and some to compile on a new machine."""
    try:
        from lgca_core import compiled
    except (ImportError, RuntimeError):
        return None  # no Numba here, or none for this NumPy, or no folder where it may keep what it compiles
    return compiled


# -- crops on any device -------------------------------------------------------------------------------------


def crops_on_device(image: Tensor, boxes: Tensor, size: int) -> Tensor:
    """:func:`crops_int32` by fused kernels, on a GPU for which Triton compiles them; the same bits.

    The kernels are compared with torch before they are first used on a device.
    """
    fused = _fused(image.device) if image.is_cuda else None
    if fused is None:
        return crops_int32(image, boxes, size)
    _check_picture(image, boxes, size)
    return fused.cut(image, boxes.cpu().numpy(), size)


def normalised(crops: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """What an encoder takes: ``(pixel / 255 - mean) / std``, in open_clip's order, to the last bit.

    Crops (n, 3, S, S) uint8 -> the same shape in ``dtype``, on their device; ``mean`` and ``std`` of three channels.
    """
    fused = _fused(crops.device) if crops.is_cuda else None
    if fused is None:
        by, less = (sent(torch.tensor(of), crops.device).view(3, 1, 1) for of in (std, mean))
        largest = torch.full((1,), 255.0, device=crops.device)  # a GPU would multiply by a number's reciprocal
        return crops.float().div_(largest).sub_(less).div_(by).to(dtype)
    return fused.look_up(crops, _normal(tuple(mean), tuple(std), dtype, crops.device))


@functools.cache
def _normal(mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Every value of a pixel of each channel, normalised: (3, 256)."""
    every = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    return normalised(every, mean, std, dtype).view(3, 256).to(device)  # waited for: any stream may read it


@functools.cache
def _fused(device: torch.device) -> ModuleType | None:
    try:
        from lgca_core import fused
    except ImportError:
        return None  # no Triton
    return fused if _proved(fused, device) else None


def _proved(fused: Any, device: torch.device) -> bool:
    """Whether the kernels do on a device what torch does; a warning if not."""
    picture = torch.randint(256, (3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).to(device)
    boxes = torch.tensor([[0, 0, 50, 70], [3, 5, 40, 40], [0, 20, 50, 11], [9, 9, 5, 5], [49, 69, 1, 1]])
    try:
        cut = crops_int32(picture, boxes, 16)
        table = torch.arange(3 * 256, dtype=torch.float32, device=device).view(3, 256)
        channels = torch.arange(3, device=device).view(3, 1, 1)
        same = torch.equal(fused.cut(picture, boxes.numpy(), 16), cut)
        same &= torch.equal(fused.look_up(cut, table), table[channels, cut.long()])
        reason = "other pixels"
    except Exception as error:  # compilers raise what they like
        same, reason = False, f"{type(error).__name__}: {error}"
    if not same:
        slow = f"crops are cut and normalised on {device} without Triton, several times slower: {reason}"
        warnings.warn(slow, RuntimeWarning, stacklevel=4)
    return same


def crops_int32(image: Tensor, boxes: Tensor, size: int) -> Tensor:
    """:func:`crops` bit for bit, as sums of ``gathered pixel * int32 weight``: any device, all boxes at once.

    ``image`` (3, H, W) uint8 on any device, ``boxes`` (N, 4) int64 -> (N, 3, size, size) uint8 on the image's
    device. Weights are computed in float64 on the CPU as in Pillow's ``Resample.c`` (a GPU may fuse a
    multiply and an add, and so round otherwise); the two passes over pixels are integers throughout, in the
    installed Pillow's order. Boxes of like height go together, in launches that use about ``CHUNK_BYTES`` of
    memory.

    Raises LgcaError for an image of another shape or type, a box outside it, or a size below 1.
    """
    _check_picture(image, boxes, size)

    def cut(some: np.ndarray, turned: bool) -> Tensor:
        out = torch.empty((len(some), 3, size, size), dtype=torch.uint8, device=image.device)
        for chosen in _launches(some, size):
            out[torch.from_numpy(chosen).to(image.device)] = _cut_int32(
                image.mT if turned else image, some[chosen], size
            )
        return out

    return in_order(boxes.cpu().numpy(), size, cut)


def _launches(boxes: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Indices of boxes (N, 4), by rising cost, in groups that take about ``CHUNK_BYTES`` to cut."""
    # Bytes a box: 9 a value, as gathered, as a product and as a sum; 64 a tap, for weights and their making.
    height, short = boxes[:, 2], boxes[:, 2:].min(axis=1)
    scale = np.maximum(short / size, 1.0)
    taps = 2 * np.ceil(SUPPORT * scale) + 1
    needed = np.minimum(height, size * scale + taps)
    cost = 27 * size * np.maximum(needed, size) + 64 * size * taps
    order = np.argsort(cost, kind="stable")
    first = 0
    while first < len(order):
        # A launch pads its boxes to the dearest, its last.
        spent = cost[order[first:]] * np.arange(1, len(order) - first + 1)
        count = max(int(np.searchsorted(spent, CHUNK_BYTES, side="right")), 1)
        yield order[first : first + count]
        first += count


def _cut_int32(image: Tensor, boxes: np.ndarray, size: int) -> Tensor:
    """One launch of :func:`crops_int32`, horizontal pass first: boxes (n, 4) -> (n, 3, size, size) uint8."""
    n = len(boxes)
    top, left, _, _ = boxes.T
    taps, across, down = passes(boxes, size)

    def there(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(image.device)

    # Horizontal, over the R rows from `first` that the vertical pass will read (R of the tallest box).
    first = taps.start[down, 0]
    last = taps.stop[down, -1] - 1
    row = np.minimum(first[:, None] + np.arange((last - first).max() + 1), last[:, None]) + top[:, None]
    rows = there(row)[:, :, None]  # (n, R, 1)
    start, stop = there(taps.start[across] + left[:, None]), there(taps.stop[across] + left[:, None] - 1)  # (n, size)
    weights = there(taps.weights)[there(across)]  # (n, size, K)
    half = 1 << (PRECISION_BITS - 1)
    total = torch.full((3, n, row.shape[1], size), half, dtype=torch.int32, device=image.device)
    for k in range(weights.shape[2]):
        columns = torch.minimum(start + k, stop)[:, None, :]  # (n, 1, size)
        total += image[:, rows, columns] * weights[:, None, :, k]  # (3, n, R, size)
    middle = (total >> PRECISION_BITS).clamp_(0, 255).to(torch.uint8)

    # Vertical, over rows of `middle`.
    start, stop = there(taps.start[down] - first[:, None]), there(taps.stop[down] - first[:, None] - 1)
    weights = there(taps.weights)[there(down)]
    box = torch.arange(n, device=image.device)[:, None]
    total = torch.full((3, n, size, size), half, dtype=torch.int32, device=image.device)
    for k in range(weights.shape[2]):
        total += middle[:, box, torch.minimum(start + k, stop)] * weights[:, :, k, None]  # (3, n, size, size)
    return (total >> PRECISION_BITS).clamp_(0, 255).to(torch.uint8).transpose(0, 1)


# -- shared --------------------------------------------------------------------------------------------------


def _too_large(path: Path, pixels: str) -> str:
    return f"{path}: {pixels} more than the limit of {MAX_PIXELS:,}; scale the picture down first"


def _check_rgb(image: Image.Image) -> None:
    if image.mode != "RGB":
        raise LgcaError(f"the picture must be in RGB, got {image.mode}: open it with open_picture")


def _check_picture(image: Tensor, boxes: Tensor, size: int) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise LgcaError(f"image must be a (3, H, W) uint8 tensor, got {tuple(image.shape)} {image.dtype}")
    check_boxes(boxes, image.shape[1], image.shape[2])
    _check_size(size)


def _check_size(size: int) -> None:
    if size < 1:
        raise LgcaError(f"crop size must be at least 1 pixel, got {size}")


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="lgca-crops")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filters: warnings.catch_warnings | None = None


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Ignores warnings out of Pillow's modules. Filters are the process's: one change serves all threads."""
    global _quiet_users, _quiet_filters
    with _quiet_lock:
        _quiet_users += 1
        if _quiet_filters is None:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0 and _quiet_filters is not None:
                _quiet_filters.__exit__(None, None, None)
                _quiet_filters = None
