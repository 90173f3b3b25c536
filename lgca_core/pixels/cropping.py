"""Boxes cut out of a picture and resized with Pillow's own numbers, and the input that an encoder takes.

The reference is what CLIP and its peers do: crop, bicubic resize of the shorter side with anti-aliasing, centre crop;
or bilinear, or both sides to a square, where a model says so (:class:`Resize`). :func:`crops_pillow` is Pillow
itself. The others restate its arithmetic and give the same bits: :func:`crops` compiled for a CPU,
:func:`~lgca_core.pixels.torch_crops.crops_int32` in torch for any device, :func:`crops_on_device` the fastest there.
"""

import functools
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgca_core.boxes import check_boxes
from lgca_core.errors import LgcaError
from lgca_core.pixels.gpu_streams import to_device
from lgca_core.pixels.pictures import check_rgb, picture_tensor
from lgca_core.pixels.pillow_weights import BICUBIC, Resize, centre, in_order, resize_passes
from lgca_core.pixels.torch_crops import check_picture, check_size, crops_int32

PILLOW_PIXELS = 2**24  # above this, a resized crop is mostly thrown away by the centre crop: long thin boxes


def crops(
    image: Image.Image, boxes: Tensor, size: int, resize: Resize = BICUBIC, *, threads: int | None = None
) -> Tensor:
    """Every box cut out, its shorter side resized to ``size`` (bicubic, anti-aliased) unless `resize` differs, cropped.

    ``image`` RGB, ``boxes`` (N, 4) int64 -> (N, 3, size, size) uint8, contiguous, on the CPU. The numbers are
    those of torchvision's ``Resize(size, BICUBIC)`` and ``CenterCrop(size)`` on the cropped picture, as
    open_clip builds them. ``threads`` (all processors if None) changes only the speed; the threads are shared
    between calls. Without Numba this is :func:`crops_pillow`.

    Raises LgcaError for a picture that is not RGB, a box outside it, or a size or number of threads below 1.
    """
    numba_crops = _numba()
    if numba_crops is None:
        return crops_pillow(image, boxes, size, resize, threads=threads)
    threads = _checked(image, boxes, size, threads)

    def cut(some: np.ndarray, turned: bool) -> Tensor:
        out = np.empty((len(some), 3, size, size), np.uint8)
        if not len(some):
            return torch.from_numpy(out)
        columns = np.array(image if turned else image.transpose(Image.Transpose.TRANSPOSE))
        taps, across, down = resize_passes(some, size, resize)
        arguments = columns.reshape(len(columns), -1), some, across, down, *taps
        _in_threads(lambda which: numba_crops.cut_compiled(*arguments, which, out), np.arange(len(some)), threads)
        return torch.from_numpy(out)

    return in_order(np.ascontiguousarray(boxes.cpu().numpy()), size, resize, cut)


def crops_pillow(
    image: Image.Image, boxes: Tensor, size: int, resize: Resize = BICUBIC, *, threads: int | None = None
) -> Tensor:
    """:func:`crops` by Pillow itself: the reference for the others, and what they stand in for without Numba."""
    threads = _checked(image, boxes, size, threads)
    image.load()  # decoding on first use is not safe in threads
    out = torch.empty((len(boxes), 3, size, size), dtype=torch.uint8)
    pixels = out.numpy()
    boxes = boxes.cpu()
    new_height, new_width = resize.sides(boxes[:, 2].numpy(), boxes[:, 3].numpy(), size)
    sides = np.stack([new_width, new_height], axis=1).tolist()
    rows = boxes.tolist()
    kind = Image.Resampling[resize.interpolation.upper()]

    def work(some: np.ndarray) -> None:
        for i in some.tolist():
            top, left, height, width = rows[i]
            crop = image.crop((left, top, left + width, top + height))
            crop = crop.resize(sides[i], kind)
            if crop.size != (size, size):
                left, top = centre(crop.width, size), centre(crop.height, size)
                crop = crop.crop((left, top, left + size, top + size))
            pixels[i] = np.asarray(crop).transpose(2, 0, 1)

    # A box of 1 x 5,000 would be blown up to 224 x 1,120,000 before the centre crop: no work for Pillow.
    thin = new_height * new_width > max(PILLOW_PIXELS, size * size)
    if thin.any():
        out[torch.from_numpy(thin)] = crops_int32(picture_tensor(image), boxes[torch.from_numpy(thin)], size, resize)
    _in_threads(work, np.flatnonzero(~thin), threads)
    return out


def _checked(image: Image.Image, boxes: Tensor, size: int, threads: int | None) -> int:
    """The number of threads, if all arguments are sound."""
    check_rgb(image)
    check_boxes(boxes, image.height, image.width)
    check_size(size)
    if threads is None:  # all processors that this process may use
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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
    """Name of the code that cuts crops: ``numba`` or ``pillow`` on a CPU, ``triton`` or ``torch`` on a GPU."""
    if device.type == "cuda":
        return "torch" if _triton(device) is None else "triton"
    return "pillow" if _numba() is None else "numba"


@functools.cache
def _numba() -> ModuleType | None:
    """The passes compiled by Numba, loaded when first needed: a second, and some to compile on a new machine."""
    try:
        from lgca_core.pixels import numba_crops
    except (ImportError, RuntimeError):
        return None  # no Numba here, or none for this NumPy, or no folder where it may keep what it compiles
    return numba_crops


def crops_on_device(image: Tensor, boxes: Tensor, size: int, resize: Resize = BICUBIC) -> Tensor:
    """:func:`crops_int32` by fused kernels, on a GPU for which Triton compiles them; the same bits.

    The kernels are compared with torch before they are first used on a device.
    """
    triton_crops = _triton(image.device) if image.is_cuda else None
    if triton_crops is None:
        return crops_int32(image, boxes, size, resize)
    check_picture(image, boxes, size)
    return triton_crops.cut(image, boxes.cpu().numpy(), size, resize)


def normalised(crops: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Crops as an encoder takes them: ``(pixel / 255 - mean) / std``, in open_clip's order, to the last bit.

    Crops (n, 3, S, S) uint8 -> the same shape in ``dtype``, on their device; ``mean`` and ``std`` of three channels.
    """
    triton_crops = _triton(crops.device) if crops.is_cuda else None
    if triton_crops is None:
        divisor, shift = (to_device(torch.tensor(of), crops.device).view(3, 1, 1) for of in (std, mean))
        largest = torch.full((1,), 255.0, device=crops.device)  # a GPU would multiply by a number's reciprocal
        return crops.float().div_(largest).sub_(shift).div_(divisor).to(dtype)
    return triton_crops.look_up(crops, _normal(tuple(mean), tuple(std), dtype, crops.device))


@functools.cache
def _normal(mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Every value of a pixel of each channel, normalised: (3, 256)."""
    every = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    return normalised(every, mean, std, dtype).view(3, 256).to(device)  # waited for: any stream may read it


@functools.cache
def _triton(device: torch.device) -> ModuleType | None:
    """The fused kernels, None where there is no Triton, or where they do not give the bits that torch gives."""
    try:
        from lgca_core.pixels import triton_crops
    except ImportError:
        return None  # no Triton
    return triton_crops if _agrees_with_torch(triton_crops, device) else None


def _agrees_with_torch(kernels: Any, device: torch.device) -> bool:
    """Whether the kernels do on a device what torch does; a warning if not."""
    picture = torch.randint(256, (3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).to(device)
    boxes = torch.tensor([[0, 0, 50, 70], [3, 5, 40, 40], [0, 20, 50, 11], [9, 9, 5, 5], [49, 69, 1, 1]])
    try:
        cut = crops_int32(picture, boxes, 16)
        table = torch.arange(3 * 256, dtype=torch.float32, device=device).view(3, 256)
        channels = torch.arange(3, device=device).view(3, 1, 1)
        same = torch.equal(kernels.cut(picture, boxes.numpy(), 16), cut)
        same &= torch.equal(kernels.look_up(cut, table), table[channels, cut.long()])
        reason = "other pixels"
    except Exception as error:  # compilers raise what they like
        same, reason = False, f"{type(error).__name__}: {error}"
    if not same:
        slow = f"crops are cut and normalised on {device} without Triton, several times slower: {reason}"
        warnings.warn(slow, RuntimeWarning, stacklevel=4)
    return same


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="lgca-crops")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
