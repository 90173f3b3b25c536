"""Paired pictures as batches for training: pixels, tokens, and which tokens stand for each region and sentence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgca_core.data.manifest import OnError, Skipped
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.pixels.cropping import crops
from lgca_core.pixels.pictures import open_picture
from lgca_core.related.goal.geometry import BoxRule, CaptionReader, PatchGrid, SpanRule, padded
from lgca_core.related.goal.losses import RegionRows
from lgca_core.related.goal.pairs import Pair, PairedPicture, check_inside
from lgca_core.seeding import generator

PairWeights = Literal["equal", "score"]
TURNED = {5, 6, 7, 8}
"""Orientations of a photograph's EXIF that swap its sides."""
ORIENTATION = 0x0112


class Sample(NamedTuple):
    """One picture with its K pairs, before it is put into a batch; or what is wrong with it."""

    pixels: Tensor  # (1 + K, 3, S, S) uint8: the whole picture, then its regions
    caption: list[int]
    sentences: list[list[int]]  # K
    touched: Tensor  # (K, P) bool
    spans: list[tuple[int, int]]  # K; (0, 0) where the sentence has no tokens in the window
    weights: list[float]  # K
    cut: bool


class Collated(NamedTuple):
    """A batch on its way to the device; the pixels of B pictures and R regions are still uint8."""

    pixels: Tensor  # (B + R, 3, S, S) uint8, pictures first
    captions: Tensor  # (B, L) int64
    sentences: Tensor  # (R, L') int64
    touched: Tensor  # (R, P) bool
    spoken: Tensor  # (R, L) bool
    rows: RegionRows  # (R,) each
    cut: int  # captions that did not fit


@dataclass(frozen=True)
class PairSettings:
    """How many pairs of a picture go into a step, how they count, and what stands for region and sentence."""

    pairs: int = 1
    weights: PairWeights = "equal"
    boxes: BoxRule = "right"
    spans: SpanRule = "right"
    seed: int = 0


class PairData(torch.utils.data.Dataset):
    """Item i is picture i with its best pairs, or a sentence that says what is wrong with it.

    A picture with fewer pairs than ``settings.pairs`` is filled up with its best one at weight 0.
    """

    def __init__(
        self, pictures: Sequence[PairedPicture], encoder: Encoder, grid: PatchGrid, reader: CaptionReader,
        settings: PairSettings,
    ) -> None:  # fmt: skip
        self.pictures, self.grid, self.reader, self.settings = tuple(pictures), grid, reader, settings
        self.size, self.resize = encoder.size, encoder.resize

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Sample | str:
        try:
            return self._sample(self.pictures[index])
        except LgcaError as error:  # a process of its own could not hand the exception on as it is
            return str(error)

    def _sample(self, paired: PairedPicture) -> Sample:
        picture, settings = paired.picture, self.settings
        with open_picture(picture.path) as image:
            chosen = paired.pairs[: settings.pairs]
            filled = [*chosen, *[chosen[0]] * (settings.pairs - len(chosen))]
            check_inside(paired, image.width, image.height)
            boxes = [(0, 0, image.width, image.height), *(pair.box for pair in filled)]
            cut = torch.tensor([[y1, x1, y2 - y1, x2 - x1] for x1, y1, x2, y2 in boxes])
            pixels = crops(image, cut, self.size, self.resize, threads=1)
            sides = image.size
        caption = picture.captions[0]
        tokens = self.reader.read(caption)
        spans = [self.reader.span(caption, pair.start, pair.end, settings.spans) for pair in filled]
        touched = [
            self.grid.by_rule(settings.boxes, pair.box, *sides, seed=settings.seed, key=f"{picture.name} {number}")
            for number, pair in enumerate(filled)
        ]
        return Sample(
            pixels=pixels,
            caption=tokens.ids,
            sentences=[self.reader.read(caption[pair.start : pair.end]).ids for pair in filled],
            touched=torch.stack(touched),
            spans=[span or (0, 0) for span in spans],
            weights=[*_weights(chosen, settings.weights), *[0.0] * (settings.pairs - len(chosen))],
            cut=tokens.cut > 0,
        )


def _weights(pairs: Sequence[Pair], how: PairWeights) -> list[float]:
    """Shares of one unit."""
    if how == "equal" or sum(max(pair.score, 0.0) for pair in pairs) == 0:
        return [1 / len(pairs)] * len(pairs)
    scores = [max(pair.score, 0.0) for pair in pairs]
    return [score / sum(scores) for score in scores]


def usable(pictures: Sequence[PairedPicture], on_error: OnError) -> tuple[list[PairedPicture], list[Skipped]]:
    """Pictures that are there and hold their regions, by their files' heads alone, and those that are passed over.

    Raises LgcaError for the first that is not, unless ``on_error="skip"``.
    """
    kept, skipped = [], []
    for paired in pictures:
        try:
            check_inside(paired, *_sides(paired))
            kept.append(paired)
        except LgcaError as error:
            if on_error == "raise":
                raise
            skipped.append(Skipped(paired.picture.name, str(error)))
    return kept, skipped


def _sides(paired: PairedPicture) -> tuple[int, int]:
    """Width and height of a picture once it is upright."""
    path = paired.picture.path
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ORIENTATION) in TURNED
            return (image.height, image.width) if turned else image.size
    except Exception as error:  # Pillow's formats raise what they like
        raise LgcaError(f"{path}: the picture cannot be read: mend it, or skip it with --on-error skip") from error


def collate(samples: Sequence[Sample | str]) -> Collated | str:
    """Samples of one batch, texts padded to the longest; or what is wrong with the first bad one."""
    good = []
    for sample in samples:
        if isinstance(sample, str):
            return sample
        good.append(sample)
    captions = padded([sample.caption for sample in good])
    spans = torch.tensor([span for sample in good for span in sample.spans])  # (R, 2)
    place = torch.arange(captions.shape[1])
    touched = torch.cat([sample.touched for sample in good])
    spoken = (place >= spans[:, :1]) & (place < spans[:, 1:])
    return Collated(
        pixels=torch.cat([torch.stack([s.pixels[0] for s in good]), *(s.pixels[1:] for s in good)]),
        captions=captions,
        sentences=padded([ids for sample in good for ids in sample.sentences]),
        touched=touched,
        spoken=spoken,
        rows=RegionRows(torch.tensor([w for s in good for w in s.weights]), touched.any(-1), spoken.any(-1)),
        cut=sum(sample.cut for sample in good),
    )


class Order:
    """The pictures of each step of a training, from a first step on: shuffled anew each epoch, the last rest dropped.

    Keyed by the seed, so the same whenever and wherever it is asked for. With several processes each takes its share of
    every batch.
    """

    def __init__(self, pictures: int, batch: int, epochs: int, seed: int, first: int, rank: int, processes: int):
        self.pictures, self.batch, self.epochs, self.seed, self.first = pictures, batch, epochs, seed, first
        self.share = slice(rank * batch // processes, (rank + 1) * batch // processes)

    @property
    def steps_an_epoch(self) -> int:
        return self.pictures // self.batch

    def __len__(self) -> int:
        return self.epochs * self.steps_an_epoch - self.first

    def __iter__(self) -> Iterator[list[int]]:
        for epoch in range(self.first // self.steps_an_epoch, self.epochs):
            order = generator(self.seed, "order", str(epoch)).permutation(self.pictures)
            begin = max(self.first - epoch * self.steps_an_epoch, 0)
            for row in np.array_split(order[: self.steps_an_epoch * self.batch], self.steps_an_epoch)[begin:]:
                yield row[self.share].tolist()
