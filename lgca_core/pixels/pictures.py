"""Open a picture file, upright and in RGB, and give its pixels as a tensor."""

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lgca_core.errors import LgcaError

MAX_PIXELS = 89_478_485
"""Most pixels of a picture (about 9,459 x 9,459): up to here Pillow sees no danger of a decompression bomb."""

_REFUSED: dict[type[Exception], str] = {
    FileNotFoundError: "no such file",
    IsADirectoryError: "a folder, not a picture",
    PermissionError: "no permission to read the file",
    Image.UnidentifiedImageError: "not a picture in a format that Pillow knows",
}

logging.getLogger("PIL").addHandler(logging.NullHandler())  # or logging prints Pillow's complaints on stderr


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
                raise LgcaError(_too_large(path, f"{image.width:,} x {image.height:,} pixels are"))
            if image.mode.startswith(("I", "F")):
                raise LgcaError(f"{path}: grey values of more than 8 bits ({image.mode}); save it with 8 bits first")
            image.load()
            return ImageOps.exif_transpose(image).convert("RGB")
    except LgcaError:
        raise
    except Image.DecompressionBombError as error:
        count, *_ = re.findall(r"\d+", str(error)) or ["0"]
        raise LgcaError(_too_large(path, f"{int(count):,} pixels are")) from error
    except tuple(_REFUSED) as error:
        [said] = [said for kind, said in _REFUSED.items() if isinstance(error, kind)]
        raise LgcaError(f"{path}: {said}") from error
    except Exception as error:  # on a damaged file decoders raise OSError, SyntaxError, struct.error, ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LgcaError(f"{path}: the file is damaged or cut short and cannot be read ({reason})") from error


def picture_tensor(image: Image.Image) -> Tensor:
    """The pixels of an RGB picture: (3, H, W) uint8, on the CPU; in memory as Pillow has them, channels innermost."""
    check_rgb(image)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _too_large(path: Path, pixels: str) -> str:
    return f"{path}: {pixels} more than the limit of {MAX_PIXELS:,}; scale the picture down first"


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
