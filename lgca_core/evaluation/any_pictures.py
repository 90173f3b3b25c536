"""Pictures in any form that people have them, one by one: opened, and each with the identity that keys its boxes."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from os import PathLike, fspath
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from lgca_core.data.folders import file_hash
from lgca_core.data.manifest import AS_IT_IS, Conversion
from lgca_core.errors import LgcaError
from lgca_core.kinds import kind_of
from lgca_core.pixels.pictures import as_picture, open_picture

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


def read_ahead(read: Callable[[_Item], _Read], items: Iterable[_Item], ahead: int) -> Iterator[_Read]:
    """``read(item)`` of each, in order; threads read up to `ahead` of the next ones meanwhile.

    With 0 an item is asked for when the one before it has been taken, as whoever answers line by line wants it.
    """
    if ahead < 1:
        yield from map(read, items)
        return
    with ThreadPoolExecutor(min(ahead, os.cpu_count() or 1)) as threads:
        reading: deque[Future[_Read]] = deque()
        try:
            for item in items:
                reading.append(threads.submit(read, item))
                if len(reading) > ahead:
                    yield reading.popleft().result()
            while reading:
                yield reading.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)


def read_picture(source: object, conversion: Conversion = AS_IT_IS) -> tuple[Image.Image, str] | LgcaError:
    """A picture in RGB and its identity, or what is wrong with it."""
    requested = conversion._asdict()
    try:
        if isinstance(source, str | PathLike):
            path = fspath(source)
            return open_picture(path, **requested), file_hash(path)
        image = as_picture(source, **requested)
        return image, _identity_of(source, image, requested)
    except LgcaError as error:
        return error


def _identity_of(source: object, image: Image.Image, requested: Mapping[str, bool]) -> str:
    """sha256 of the file that PIL opened, if these still are its pixels, else of size and pixels."""
    file = getattr(source, "filename", None) if isinstance(source, Image.Image) else None
    if isinstance(file, str | PathLike) and fspath(file):
        try:
            if open_picture(fspath(file), **requested).tobytes() == image.tobytes():
                return file_hash(fspath(file))
        except LgcaError:
            pass  # the file is gone, or another
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def one_by_one(pictures: Any) -> tuple[bool, Iterator[object]]:
    """Whether it is one picture, and the pictures one by one."""
    if _is_one(pictures):
        return True, iter([pictures])
    no_pictures = isinstance(pictures, Mapping | bytes | bytearray | set | frozenset) or hasattr(pictures, "read")
    if no_pictures or not (isinstance(pictures, Iterable) or hasattr(pictures, "__getitem__")):
        raise LgcaError(
            f"pictures cannot be {kind_of(pictures)}: give a path, a PIL picture, an array, a tensor, or a list of them"
        )
    if (
        isinstance(pictures, tuple | list)
        and len(pictures) == 2
        and not _is_one(pictures[0])
        and _is_label(pictures[1])
    ):
        pictures = pictures[0]  # a batch and its labels, as a DataLoader gives them
    return False, chain.from_iterable(map(_of_element, pictures))


def _is_one(thing: object) -> bool:
    if isinstance(thing, np.ndarray | Tensor):
        return thing.ndim in (2, 3) and not (isinstance(thing, np.ndarray) and thing.dtype.kind in "OUS")
    return isinstance(thing, str | PathLike | Image.Image)


def _of_element(element: Any) -> Iterator[object]:
    """One element of many pictures: a picture, a batch of them, or one of these with its labels."""
    if isinstance(element, tuple | list) and len(element) == 2 and _is_label(element[1]):
        element = element[0]
    if _is_one(element):
        return iter([element])
    if isinstance(element, tuple | list) or (isinstance(element, np.ndarray | Tensor) and element.ndim == 4):
        return chain.from_iterable(map(_of_element, element))
    return iter([element])  # `as_picture` says what is wrong with it


def _is_label(thing: object) -> bool:
    """Whether it is what a data set says of a picture, or of a batch: a number, or as many of them."""
    if isinstance(thing, np.ndarray | Tensor):
        return thing.ndim < 2
    if isinstance(thing, list | tuple):
        return bool(thing) and all(isinstance(label, int) for label in thing)
    return isinstance(thing, int | float | np.generic)
