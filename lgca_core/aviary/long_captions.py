"""Long captions of a painting, a sentence for each thing seen, and where in the painting each sentence looks."""

from dataclasses import dataclass

import numpy as np

from lgca_core.aviary.language import HABITAT_PHRASES, Speaker, an
from lgca_core.aviary.painter import Painting
from lgca_core.aviary.species import Species


@dataclass(frozen=True)
class Span:
    """A sentence's place in a long caption, characters [start, end), and the region it speaks of.

    `about` is a part of the bird, "habitat", or a distractor's kind; `box` is (top, left, height, width) in the
    painting, None for the habitat.
    """

    start: int
    end: int
    about: str
    box: tuple[int, int, int, int] | None


def long_caption(
    species: Species, habitat: str, painting: Painting, rng: np.random.Generator
) -> tuple[str, tuple[Span, ...]]:
    """A caption of several sentences (the place, each visible part, a distractor) and the spans of each.

    Its words are those of training, so that the embedded encoder knows them all.
    """
    speak = Speaker(rng)
    sentences: list[tuple[str, str, tuple[int, int, int, int] | None]] = []
    place = speak.pick(HABITAT_PHRASES[habitat])
    sentences.append((f"Here is {an(species.body)} {species.family} {place}.", "habitat", None))
    for part in ("cap", "eye", "beak", "belly", "wing", "tail", "legs"):
        box = painting.box(part)
        if box is not None:
            phrase, _ = speak.part(species, part)
            sentences.append(
                (
                    speak.pick(["It has {}.", "The bird shows {}.", "One can see {}."]).format(phrase),
                    part,
                    box,
                )
            )
    if painting.objects:
        kind, colour, box = painting.objects[int(rng.integers(len(painting.objects)))]
        sentences.append((f"There is {an(colour)} {kind} in the scene.", kind, box))
    text, spans = "", []
    for sentence, about, box in sentences:
        start = len(text) + bool(text)
        text = f"{text} {sentence}".strip()
        spans.append(Span(start, start + len(sentence), about, box))
    return text, tuple(spans)
