"""Pictures in files or in memory, upright and in RGB, and their pixels as a tensor."""

import logging
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lgca_core.errors import LgcaError, first_line

MAX_PIXELS = 89_478_485
"""Most pixels of a picture (about 9,459 x 9,459): up to here Pillow sees no danger of a decompression bomb."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Formats that are read, as Pillow calls them: no others are tried, since some of those start other programs."""

_REFUSED: dict[type[Exception], str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "a folder, not a picture",
    PermissionError: "no permission to read the file",
    Image.UnidentifiedImageError: f"not a picture in a format that is read ({', '.join(FORMATS)})",
}

logging.getLogger("PIL").addHandler(logging.NullHandler())  # or logging prints Pillow's complaints on stderr


def open_picture(path: str | Path, *, scale_grey: bool = False, on_white: bool = False) -> Image.Image:
    """The picture in a file, upright and in RGB, fully decoded.

    EXIF orientation is always honoured, and comes first: boxes are in the pixels of the upright picture.
    Other modes become RGB by Pillow's ``convert``: grey is repeated, a palette looked up, transparency
    dropped. Of an animation the first frame is taken. Pillow's warnings are silenced. HEIF is read where the
    package ``pillow-heif`` is installed.

    Args:
        scale_grey: scale grey values of more than 8 bits by their whole range, 0..65535 to 0..255, and floats in
            0..1 likewise; otherwise such a picture is refused.
        on_white: put transparent pictures on white, instead of dropping their transparency.

    Raises LgcaError, one sentence, for a file that is missing, empty, damaged, cut short or no picture, for a
    picture of more than ``MAX_PIXELS`` pixels (before any of them is decoded), and for grey values of more
    than 8 bits unless they are to be scaled: Pillow would clip them.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise LgcaError(f"{path}: not a regular file, so not a picture")  # a pipe would wait for a writer
        if status.st_size == 0 and not stat.S_ISDIR(status.st_mode):
            raise LgcaError(f"{path}: the file is empty")
        with _quiet_pillow(), path.open("rb") as stream:
            if _is_heif(stream.read(12)) and not _reads_heif():
                raise LgcaError(f"{path}: a HEIF picture, which the extra heif reads: pip install 'lgca-core[heif]'")
            stream.seek(0)
            with Image.open(stream, formats=[name for name in FORMATS if _known(name)]) as image:
                return _rgb(image, scale_grey, on_white, str(path))
    except LgcaError:
        raise
    except Image.DecompressionBombError as error:
        count, *_ = re.findall(r"\d+", str(error)) or ["0"]
        raise LgcaError(_too_large(str(path), f"{int(count):,} pixels are")) from error
    except tuple(_REFUSED) as error:
        [said] = [said for kind, said in _REFUSED.items() if isinstance(error, kind)]
        raise LgcaError(f"{path}: {said}") from error
    except Exception as error:  # on a damaged file decoders raise OSError, SyntaxError, struct.error, ...
        if isinstance(error, OSError) and error.errno:
            raise LgcaError(f"{path}: the file cannot be read ({error.strerror})") from error
        raise LgcaError(f"{path}: the file is damaged or cut short and cannot be read ({first_line(error)})") from error


def as_picture(picture: Any, *, scale_grey: bool = False, on_white: bool = False) -> Image.Image:
    """A picture in memory as an RGB picture of Pillow, upright, by the rules of :func:`open_picture`.

    Args:
        picture: a picture of Pillow in any mode; or an array or a tensor on any device, (H, W), (H, W, C) or (C, H, W)
            with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels; uint8, floats in 0..1 (times 255, rounded),
            or uint16 grey, which is refused or scaled as in a file. Where both the first and the last axis could be the
            channels, as in 3 x H x 3, they are the first of a tensor and the last of an array.

    Raises LgcaError for anything else: other types, shapes, channels or values, floats outside 0..1, NaN, no pixels.
    """
    try:
        if isinstance(picture, Image.Image):
            with _quiet_pillow():
                return _rgb(picture, scale_grey, on_white, "the picture")
        if isinstance(picture, Tensor):
            values = picture.detach().cpu()
            array = (values.float() if values.is_floating_point() else values).numpy()
        elif isinstance(picture, np.ndarray):
            array = picture
        else:
            kind = type(picture).__name__
            mend = "open_picture reads files" if isinstance(picture, str | Path) else "one at a time"
            raise LgcaError(f"a picture is a picture of Pillow, an array or a tensor, not {kind}: {mend}")
        array = _eight_bit(_channels_last(array, first=isinstance(picture, Tensor)))
        return _rgb(Image.fromarray(np.ascontiguousarray(array)), scale_grey, on_white, "the picture")
    except LgcaError:
        raise
    except Exception as error:  # of a file that Pillow reads only now, or a mode without a way to RGB
        raise LgcaError(f"the picture cannot be read ({first_line(error)})") from error


def _channels_last(array: np.ndarray, first: bool) -> np.ndarray:
    """(H, W) or (C, H, W) or (H, W, C) -> (H, W) where there is one channel, else (H, W, C)."""
    shape = tuple(array.shape)
    ends = (0, -1) if first else (-1, 0)
    axis = next((end for end in ends if len(shape) == 3 and 1 <= shape[end] <= 4), None)
    if len(shape) != 2 and axis is None:
        raise LgcaError(f"a picture has the shape (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels C, not {shape}")
    if not array.size:
        raise LgcaError(f"the picture has no pixels: its shape is {shape}")
    if axis is None:
        return array
    array = np.moveaxis(array, axis, -1)
    return array[..., 0] if array.shape[-1] == 1 else array


def _eight_bit(array: np.ndarray) -> np.ndarray:
    """Values of an array -> uint8; grey of 16 bits stays, and is treated as that of a file."""
    if array.dtype == np.uint8 or (array.dtype == np.uint16 and array.ndim == 2):
        return array
    if array.dtype.kind != "f":
        raise LgcaError(f"a picture has uint8 values, or floats in 0..1, not {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # so that NaN is refused
        raise LgcaError(f"a picture of floats has values in 0..1, not in {low:g}..{high:g}: undo its normalisation")
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)


def _rgb(image: Image.Image, scale_grey: bool, on_white: bool, what: str) -> Image.Image:
    """Upright and in RGB; `what` begins the sentence for a picture that is refused."""
    if image.width * image.height > MAX_PIXELS:
        raise LgcaError(_too_large(what, f"{image.width:,} x {image.height:,} pixels are"))
    if not image.width * image.height:
        raise LgcaError(f"{what} has no pixels")
    deep = image.mode.startswith(("I", "F"))
    if deep and not scale_grey:
        raise LgcaError(
            f"{what}: grey values of more than 8 bits ({image.mode}); save it with 8 bits first, or have it scaled by "
            "scale_grey=True (--scale-grey)"
        )
    image.load()
    image = ImageOps.exif_transpose(image)
    if deep:
        top = 1 if image.mode == "F" else 65_535
        values = np.asarray(image).astype(np.float64)
        if not (values.min() >= 0 and values.max() <= top):
            raise LgcaError(f"{what}: grey values outside 0..{top} ({image.mode}); save it with 8 bits first")
        return Image.fromarray(np.rint(values * (255 / top)).astype(np.uint8)).convert("RGB")
    if on_white and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _is_heif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def _reads_heif() -> bool:
    if "HEIF" not in Image.OPEN:
        with suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
    return "HEIF" in Image.OPEN


def _known(name: str) -> bool:
    """Whether this Pillow, as it was built, reads a format."""
    if name not in Image.OPEN and name != "HEIF":
        Image.init()
    return name in Image.OPEN


def picture_tensor(image: Image.Image) -> Tensor:
    """The pixels of an RGB picture: (3, H, W) uint8, on the CPU; in memory as Pillow has them, channels innermost."""
    check_rgb(image)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _too_large(what: str, pixels: str) -> str:
    return f"{what}: {pixels} more than the limit of {MAX_PIXELS:,}; scale the picture down first"


def check_rgb(image: Image.Image) -> None:
    """Raises LgcaError for a picture that is not in RGB."""
    if image.mode != "RGB":
        raise LgcaError(f"the picture must be in RGB, got {image.mode}: open it with open_picture")


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
