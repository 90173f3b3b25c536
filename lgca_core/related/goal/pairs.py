"""Local pairs: a region of a picture and the sentence of its caption that matches it."""

from dataclasses import dataclass

from lgca_core.related.captions.captioned import Box, CaptionedPicture


@dataclass(frozen=True)
class Pair:
    """A region and a sentence: characters [start, end) of the picture's first caption; ``score`` by the scorer."""

    box: Box
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class PairedPicture:
    """A picture and its pairs, that of the highest score first."""

    picture: CaptionedPicture
    pairs: tuple[Pair, ...]
