"""Local image-sentence matching: every sentence of a caption takes the region of its picture that it fits best."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lgca_core.data.manifest import OnError, Skipped
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.alike import cut_by
from lgca_core.evaluation.targets import claimed
from lgca_core.pixels.pictures import open_picture
from lgca_core.related.captions.captioned import Box, CaptionedPicture, CaptionSet
from lgca_core.related.goal.pairs import Pair, PairedPicture, write_pairs
from lgca_core.related.goal.regions import Regions, open_regions
from lgca_core.related.goal.sentences import split_sentences
from lgca_core.views import Views

PICTURES_AT_ONCE = 16
"""Pictures looked at together: memory holds these and the next."""


def make_pairs(
    captions: CaptionSet,
    encoder: Encoder,
    regions: Regions | str | Path,
    *,
    out: Path,
    seed: int = 0,
    random: int = 8,
    on_error: OnError = "raise",
    progress: Callable[[int, int | None], None] | None = None,
    counts: Counter[str] | None = None,
    skipped: list[Skipped] | None = None,
) -> list[PairedPicture]:
    """LISM: the local pairs of every picture of a set, also written to a file, by `write_pairs`.

    Of a picture, the whole and every region are cut out of the original and encoded, its first caption is split into
    sentences, and each sentence takes the candidate of the highest cosine, the first of equal ones. Sentences that take
    the whole picture are left out, and pictures that keep none. The score is the cosine, -1 to 1; the pairs of a
    picture come best first, then as they stand in the caption; a sentence that occurs twice is two pairs. A sentence is
    cut to what the encoder reads; GOAL as released gives up the picture instead.

    Every :data:`PICTURES_AT_ONCE` pictures are kept in a draft beside `out`, which goes once `out` is written. The
    next call takes it up where the encoder's weights, the regions and the data are the same; an encoder that does not
    say which weights it has begins anew.

    Args:
        regions: of the set, or what :func:`~lgca_core.related.goal.regions.open_regions` opens with `seed` and
            `random`: ``grid``, ``true`` or a file.
        on_error: ``skip`` goes on past pictures that cannot be read.
        progress: called with (pictures done, pictures in all).
        counts: gets how many ``pictures`` were read, how many ``sentences``, ``pairs`` and sentences that took the
            ``whole`` picture there are, and how many of the sentences were ``cut`` (if the encoder's tokenizer tells);
            boxes passed over as ``empty`` or for their ``size``; pictures ``without`` a pair, and ``skipped`` ones.
        skipped: gets the pictures that could not be read.

    Raises:
        LgcaError: the set is empty, a picture cannot be read and is not to be skipped, no picture has a pair, or the
            place cannot be written or is another process's.
    """
    if not isinstance(regions, Regions):
        regions = open_regions(regions, captions, seed=seed, random=random)
    if not captions.pictures:
        raise LgcaError(f"{captions.name} ({captions.split}) has no pictures to find pairs in")
    with claimed(out, "the pairs"):
        draft = _Draft(out.with_name(f".{out.name}.draft.jsonl"), _key(captions, encoder, regions), on_error)
        tell = progress or (lambda done, total: None)
        parts = [
            captions.pictures[start : start + PICTURES_AT_ONCE]
            for start in range(0, len(captions.pictures), PICTURES_AT_ONCE)
        ]
        kept = draft.taken_up()[: len(parts)]
        done = PICTURES_AT_ONCE * len(kept)
        tell(0, len(captions.pictures) - done)
        for number, read in enumerate(_read_ahead(parts[len(kept) :], on_error), len(kept)):
            kept.append(_chunk(read, encoder, regions))
            draft.add(kept[-1])
            tell(PICTURES_AT_ONCE * number + len(read) - done, len(captions.pictures) - done)
        found = [
            PairedPicture(captions.pictures[PICTURES_AT_ONCE * number + place], tuple(_pair(*pair) for pair in pairs))
            for number, chunk in enumerate(kept)
            for place, pairs in chunk["pairs"]
        ]
        if not found:
            draft.remove()
            raise LgcaError(f"no sentence of {captions.name} fits a region better than its whole picture: no pairs")
        write_pairs(out, found)
        draft.remove()
    if counts is not None:
        for chunk in kept:
            counts.update(chunk["counts"])
    if skipped is not None:
        skipped.extend(Skipped(**one) for chunk in kept for one in chunk["skipped"])
    return found


def _pair(box: Sequence[int], start: int, end: int, score: float) -> Pair:
    x1, y1, x2, y2 = box
    return Pair((x1, y1, x2, y2), start, end, score)


_Read = Sequence[tuple[CaptionedPicture, Image.Image | LgcaError]]


def _read_ahead(parts: Sequence[Sequence[CaptionedPicture]], on_error: OnError) -> Iterator[_Read]:
    """The pictures of each chunk, while threads read the next one's."""

    def read(picture: CaptionedPicture) -> Image.Image | LgcaError:
        try:
            return open_picture(picture.path)
        except LgcaError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        try:
            reading = [threads.submit(read, picture) for picture in (parts[0] if parts else ())]
            for part, following in zip(parts, [*parts[1:], ()]):
                found = [future.result() for future in reading]
                reading = [threads.submit(read, picture) for picture in following]
                for opened in found:
                    if isinstance(opened, LgcaError) and on_error == "raise":
                        raise LgcaError(f"{opened}; remove it, or go on past such files with --on-error skip")
                yield list(zip(part, found))
        finally:
            threads.shutdown(cancel_futures=True)


def _chunk(read: _Read, encoder: Encoder, regions: Regions) -> dict[str, Any]:
    """What is kept of a chunk: [place in it, [box, start, end, score] a pair] a picture, counts, skipped pictures."""
    opened = [(n, picture, image) for n, (picture, image) in enumerate(read) if isinstance(image, Image.Image)]
    skipped = [
        {"path": picture.name, "reason": str(error).removeprefix(f"{picture.path}: ")}
        for picture, error in read
        if isinstance(error, LgcaError)
    ]
    counts: Counter[str] = Counter(pictures=len(opened), skipped=len(skipped), sentences=0, pairs=0, whole=0, without=0)
    before = Counter(regions.passed_over)
    boxes = [regions.of(picture, image.width, image.height) for _, picture, image in opened]
    counts.update(regions.passed_over - before)
    places = [split_sentences(picture.captions[0]) for _, picture, _ in opened]
    said = [[picture.captions[0][start:end] for start, end in of] for of, (_, picture, _) in zip(places, opened)]
    sentences = [sentence for of in said for sentence in of]
    pairs = []
    if sentences:
        if getattr(encoder.tokenizer, "context_length", None):
            counts["cut"] = len(cut_by(encoder.tokenizer, sentences))
        vectors = encoder.encode_texts(sentences).split([len(of) for of in said])
        seen = Views(encoder, [image for *_, image in opened]).encode([_as_cut(of) for of in boxes])
        for (n, _, _), of, spans, image_vectors, text_vectors in zip(opened, boxes, places, seen, vectors):
            scores, best = (text_vectors @ image_vectors.T).cpu().max(dim=1)  # (sentences, candidates) -> the best
            found = [
                (of[at], start, end, score)
                for (start, end), at, score in zip(spans, best.tolist(), scores.tolist())
                if at > 0
            ]
            counts.update(sentences=len(spans), pairs=len(found), whole=len(spans) - len(found))
            if found:
                pairs.append([n, sorted(found, key=lambda pair: -pair[3])])
    counts["without"] = len(opened) - len(pairs)
    return {"pairs": pairs, "counts": dict(counts), "skipped": skipped}


def _as_cut(boxes: Sequence[Box]) -> torch.Tensor:
    """Boxes as crops are cut: (n, 4) int64 of (top, left, height, width)."""
    return torch.tensor([[y1, x1, y2 - y1, x2 - x1] for x1, y1, x2, y2 in boxes])


def _key(captions: CaptionSet, encoder: Encoder, regions: Regions) -> str | None:
    """What decides the pairs, as one hash; None where the encoder does not say which weights it has."""
    if encoder.sha256 is None:
        return None
    files: list[list[int]] = []
    for picture in captions.pictures:
        try:
            status = picture.path.stat()
            files.append([status.st_size, status.st_mtime_ns])
        except OSError:
            files.append([])
    model = [encoder.sha256, encoder.architecture, encoder.precision, str(encoder.device)]
    said = [PICTURES_AT_ONCE, model, regions.sha256, captions.sha256(), files]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


class _Draft:
    """The chunks that are done, a line each, after a line that says of what; beside the file of pairs."""

    def __init__(self, file: Path, key: str | None, on_error: OnError) -> None:
        self._file, self._key, self._on_error = file, key, on_error

    def taken_up(self) -> list[dict[str, Any]]:
        """What an earlier call has done of the same work; the file holds just that from now on."""
        try:
            head, *lines = self._file.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            head, lines = "", []
        found: list[dict[str, Any]] = []
        for line in lines if head == self._key else ():
            try:
                chunk = json.loads(line)
            except ValueError:
                break  # the line at which it was stopped
            if chunk["skipped"] and self._on_error == "raise":
                break
            found.append(chunk)
        self.remove()
        for chunk in found:
            self.add(chunk)
        return found

    def add(self, chunk: dict[str, Any]) -> None:
        if self._key is None:
            return
        try:
            with self._file.open("a", encoding="utf-8") as stream:
                if not stream.tell():
                    stream.write(f"{self._key}\n")
                stream.write(json.dumps(chunk) + "\n")
        except OSError as error:
            raise LgcaError(f"cannot write {self._file} ({error.strerror}): choose another place") from error

    def remove(self) -> None:
        self._file.unlink(missing_ok=True)
