"""An encoder whose answers can be worked out by hand, and pictures for it."""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgca_core.data.folders import folder
from lgca_core.data.manifest import Manifest
from lgca_core.encoder import Encoder

SIZE = 16
WORDS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


def mean_colour(pixels: Tensor) -> Tensor:
    """(n, 3, S, S) in [0, 1] -> (n, 3): what a crop is made of."""
    return pixels.mean(dim=(2, 3))


def colour_words(texts: list[str]) -> Tensor:
    """The sum of the colours a sentence names, (n, 3); white for none."""
    rows = [np.sum([WORDS[word] for word in text.split() if word in WORDS] or [(1, 1, 1)], axis=0) for text in texts]
    return torch.tensor(np.array(rows), dtype=torch.float32)


def stub(
    image: Callable[[Tensor], Tensor] = mean_colour, text: Callable[[list[str]], Tensor] = colour_words, **other: object
) -> Encoder:
    """An encoder of two functions of pixels in [0, 1] and strings."""
    return Encoder(image=image, text=text, size=SIZE, mean=(0, 0, 0), std=(1, 1, 1), **other)  # type: ignore[arg-type]


def rich(width: int = 12, **other: object) -> Encoder:
    """A stub with much to tell apart: a fixed random projection of the pixels, and a random vector a string."""
    matrix = torch.randn(3 * SIZE * SIZE, width, generator=torch.Generator().manual_seed(0))

    def text(texts: list[str]) -> Tensor:
        seeds = [int.from_bytes(sha256(text.encode()).digest()[:4], "big") for text in texts]
        # A common part, as in CLIP, where any two sentences are alike.
        return torch.stack([1 + torch.randn(width, generator=torch.Generator().manual_seed(s)) for s in seeds])

    return stub(lambda pixels: (pixels - 0.2).flatten(1) @ matrix, text, **other)


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    """A picture of coarse random blotches, so that near crops are alike and far ones are not."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def noise_folders(
    root: Path, classes: Iterable[str], sizes: Sequence[tuple[int, int]] = ((40, 56),), **named: str
) -> Manifest:
    """A data set below `root`: a folder a class, with a picture of noise of each size (height, width), no two alike."""
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i, size in enumerate(sizes):
            noise(*size, len(sizes) * c + i).save(root / name / f"{i}.png")
    return folder(root, **named)


def patches(height: int, width: int, *painted: tuple[tuple[int, int, int, int], Sequence[int]]) -> Image.Image:
    """A black picture with rectangles (top, left, height, width) of plain colours."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for (top, left, h, w), colour in painted:
        pixels[top : top + h, left : left + w] = colour
    return Image.fromarray(pixels)


def header_of_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds one byte of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
