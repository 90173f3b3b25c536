"""The aviary as captioned pictures: scenes with a long caption that says where it looks, or with five short ones.

Scenes of the split train are painted once and kept: 36 kB and 30 ms of one core each (4,000: 144 MB, two minutes).
The pictures of test and validation are those of the data sets ``aviary`` and ``aviary-validation``.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from PIL import Image

from lgca_core.aviary import opencv as cv2, splits
from lgca_core.aviary.language import caption
from lgca_core.aviary.long_captions import long_caption
from lgca_core.aviary.painter import HABITATS, PARTS, SIZE, STYLES, Painting, Scene, paint
from lgca_core.aviary.species import draw_training_species
from lgca_core.data.table import open_dataset
from lgca_core.errors import LgcaError
from lgca_core.files import home, make_folder, remove_drafts
from lgca_core.related.captions.captioned import CaptionSet
from lgca_core.related.captions.listing import CAPTIONS_FILE, Places, caption_set, lines_of
from lgca_core.seeding import generator

CAPTIONS_VERSION = "1"
"""Changes whenever a training scene or a caption would change; the version of the splits stands beside it."""

SCENES = 4000
"""Scenes of the split train, where nothing else is asked for."""

HELD_OUT = {"test": "aviary", "validation": "aviary-validation"}
"""Split -> the data set whose pictures it has."""

Captions = Literal["long", "five"]

_FILES: dict[Captions, str] = {"long": CAPTIONS_FILE, "five": "five.jsonl"}
_BLOCK = 250  # scenes that one process paints in a go
_SEEN = 4 * (SIZE / 64) ** 2  # pixels from which on a part is in view, as in the training of the embedded encoder


def aviary_captions(split: str, *, scenes: int = SCENES, captions: Captions = "long") -> CaptionSet:
    """Captioned pictures of the aviary, painted when first asked for.

    Args:
        split: ``train``, scenes of freely drawn training species that the embedded encoder was not trained on;
            ``test``, the 600 pictures of the data set ``aviary``; ``validation``, the 1,000 of ``aviary-validation``.
        scenes: how many of train; fewer are the first of more.
        captions: ``long``, one of about nine sentences with exact truths, box (x1, y1, x2, y2) in the 160 x 160 pixels;
            or ``five`` short ones, no two the same, without truths. Both are of the same pictures.

    Raises:
        LgcaError: no such split, no scenes, or the folder of data sets cannot be written.
    """
    if split != "train" and split not in HELD_OUT:
        raise LgcaError(f"the aviary has no split {split!r}: it has train, {', '.join(HELD_OUT)}")
    if scenes < 1:
        raise LgcaError(f"the aviary has at least one scene, not {scenes}")
    if split == "train":
        folder = _train_folder(scenes)
        pictures = Places(folder)
    else:
        pictures = Places(open_dataset(HELD_OUT[split]).root)
        folder = _folder(split)
        _make(folder, partial(_write_captions, split=split))
    listed = (row for _, row in lines_of(folder / _FILES[captions]))
    return caption_set("aviary", split, pictures, islice(listed, scenes if split == "train" else None))


def _folder(*parts: object) -> Path:
    name = "-".join(map(str, ("aviary-captions", f"{splits.VERSION}.{CAPTIONS_VERSION}", *parts)))
    return home() / "datasets" / name


def _train_folder(scenes: int) -> Path:
    """The smallest folder of at least so many scenes; painted where there is none."""
    stem = _folder("train", "")
    there = {
        int(end): near for near in stem.parent.glob(f"{stem.name}*") if (end := near.name[len(stem.name) :]).isdecimal()
    }
    if enough := [size for size in there if size >= scenes]:
        return there[min(enough)]
    place = _folder("train", scenes)
    _make(place, partial(_paint_train, scenes=scenes))
    return place


def _make(place: Path, fill: Any) -> None:
    """Made once, however many processes ask for it at the same time."""
    if place.is_dir():
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.parent / f".{place.name}.lock"):
            if not place.is_dir():
                remove_drafts(place)
                make_folder(place, fill)
    except OSError as error:
        raise LgcaError(
            f"cannot write to {place.parent} ({error.strerror}): set LGCA_HOME to another folder"
        ) from error


def _paint_train(folder: Path, scenes: int) -> None:
    (folder / "images").mkdir()
    starts = [*range(0, scenes, _BLOCK), scenes]
    _write(folder, _in_processes(partial(_train_block, folder), pairwise(starts), len(starts) - 1))


def _write_captions(folder: Path, split: str) -> None:
    count = sum(1 for _ in splits.scenes(HELD_OUT[split]))
    starts = [*range(0, count, _BLOCK), count]
    _write(folder, _in_processes(partial(_held_out_block, split), pairwise(starts), len(starts) - 1))


def _in_processes(work: Any, blocks: Any, number: int) -> Iterator[tuple[str, str]]:
    if number == 1:
        yield from (line for block in blocks for line in work(block))
        return
    try:  # fresh processes: OpenCV's threads do not survive a fork
        with ProcessPoolExecutor(min(number, os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
            for lines in pool.map(work, blocks):
                yield from lines
    except BrokenProcessPool as error:
        raise LgcaError(
            "the processes that paint the aviary ended early: in a script of your own, keep what calls it below "
            "if __name__ == '__main__'; else see whether memory ran out"
        ) from error


def _write(folder: Path, lines: Iterator[tuple[str, str]]) -> None:
    with (folder / _FILES["long"]).open("w") as long, (folder / _FILES["five"]).open("w") as five:
        for one, other in lines:
            long.write(one)
            five.write(other)


def _train_block(folder: Path, block: tuple[int, int]) -> list[tuple[str, str]]:
    cv2.setNumThreads(1)  # the processes are the parallelism
    lines = []
    for number in range(*block):
        rng = generator(0, "aviary captions", "train", str(number))
        species, habitat = draw_training_species(rng), HABITATS[int(rng.integers(len(HABITATS)))]
        scene = Scene(species, habitat, int(rng.integers(2**62)), STYLES["test"])
        painting, path = paint(scene), f"images/{number:06d}.png"
        Image.fromarray(painting.image).save(folder / path)
        lines.append(_lines("train", number, path, scene, painting))
    return lines


def _held_out_block(split: str, block: tuple[int, int]) -> list[tuple[str, str]]:
    cv2.setNumThreads(1)
    scenes = enumerate(splits.scenes(HELD_OUT[split]))
    return [
        _lines(split, number, f"{label}/{within:03d}.png", scene, paint(scene))
        for number, (label, within, scene) in islice(scenes, *block)
    ]


def _lines(split: str, number: int, path: str, scene: Scene, painting: Painting) -> tuple[str, str]:
    """The line of a picture with its long caption, and that with its five short ones."""
    rng = generator(0, "aviary captions", split, str(number), "long")
    text, spans = long_caption(scene.species, scene.habitat, painting, rng)
    truths = []
    for span in spans:
        box = None
        if span.box is not None:
            top, left, height, width = span.box
            box = [left, top, left + width, top + height]
        truths.append({"start": span.start, "end": span.end, "about": span.about, "box": box})
    rng = generator(0, "aviary captions", split, str(number), "five")
    seen = [part for value, part in enumerate(PARTS, 1) if (painting.parts == value).sum() >= _SEEN]
    things = [(kind, colour) for kind, colour, _ in painting.objects]
    short: dict[str, None] = {}
    while len(short) < 5:
        short[caption(scene.species, scene.habitat, things, seen, rng, bool(seen)).text] = None
    return (
        json.dumps({"image": path, "caption": text, "truths": truths}) + "\n",
        json.dumps({"image": path, "captions": [*short]}) + "\n",
    )
