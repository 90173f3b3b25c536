"""A data set's pictures as Views, a chunk at a time, with what a store knows of them.

Without a store the chunks follow one another and their vectors are forgotten. With one, the data set is walked shard by
shard: what the pools of a run's box plans hold is handed to the Views, pictures are decoded where something is
missing, and what was encoded anew is added to its pools: at the end of a shard, every :data:`KEEP_SECONDS` within it,
and when the run is interrupted or fails. A run that is killed outright loses what it did since.
"""

import hashlib
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lgca_core.box_numbers import BoxNumbers, Size
from lgca_core.box_plans import Plan, ahead, draw
from lgca_core.data.manifest import Item, Manifest, OnError, Skipped
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.store.feature_set import FeatureSet, check_finite
from lgca_core.evaluation.store.keys import pool_key, sentences_key
from lgca_core.evaluation.store.shard import Shard
from lgca_core.evaluation.store.shard_files import files_in
from lgca_core.evaluation.store.store import Store
from lgca_core.methods import Scorer
from lgca_core.pixels.gpu_streams import map_in_streams
from lgca_core.pixels.pictures import open_picture
from lgca_core.views import Encoded, Views, unit_from_float16

_Result = TypeVar("_Result")

KEEP_SECONDS = 60.0
"""After so long within a shard what was encoded of it is written: a shard may take hours on a CPU. Where writing takes
more than a twentieth of that, less often."""


class Chunk:
    """Some pictures of a data set, to be scored by one method after the other.

    Attributes:
        positions: of the B pictures in the manifest, ascending; those that could not be read are left out.
        items: the pictures.
        views: of them.
    """

    def __init__(self, positions: Sequence[int], items: Sequence[Item], views: Views) -> None:
        self.positions, self.items, self.views = positions, items, views
        self._asked: list[tuple[tuple[Plan, ...], Callable[[], Encoded]]] = []

    def scores(self, scorer: Scorer) -> tuple[Tensor, int]:
        """Logits (B, C) on the CPU, and the encoder passes that the method would take alone."""
        with self.views.recording() as asked:
            scores = scorer.scores(self.views, [item.identity for item in self.items])
        self._asked.append((scorer.plans, asked))
        passes = len(asked().boxes) if scorer.passes is None else len(self.items) * scorer.passes
        return scores.float().cpu(), passes

    def look_ahead(self, plans: Sequence[Plan]) -> None:
        """Encode what is still missing of the boxes of plans that draw ahead, one plan after the other.

        A crop's vector depends, in its last bits, on what it shares a batch with. So that a run which was killed
        between two pools ends with the same bits, a pool is encoded by itself, before others can ask for a part of it.
        """
        for plan in plans:
            with self.views.recording() as asked:
                boxes = [
                    draw(plan, *size, item.identity) for size, item in zip(self.views.sizes, self.items, strict=True)
                ]
                self.views.encode(boxes)
            self._asked.append(((plan,), asked))

    def by_pool(self) -> dict[str, Encoded]:
        """The boxes that were asked for, by the feature set that each belongs to, each box once.

        A box that a plan draws ahead is of that plan; all others of a method are of its one plan that does not.
        """
        numbers = BoxNumbers(self.views.sizes)
        drawn: dict[str, Tensor] = {}
        for plan in (plan for plans, _ in self._asked for plan in plans if ahead(plan)):
            if pool_of(plan) not in drawn:  # the first is the longest
                drawn[pool_of(plan)] = self._drawn(plan, numbers)
        found: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
        for plans, asked in self._asked:
            encoded = asked()
            owner = torch.arange(len(self.items)).repeat_interleave(encoded.counts)  # (M,)
            number = torch.from_numpy(numbers(owner.numpy(), encoded.boxes.long().numpy()))  # (M,)
            left = torch.ones(len(number), dtype=torch.bool)
            for plan in sorted(plans, key=ahead, reverse=True):
                name = pool_of(plan)
                own = torch.isin(number, drawn[name]) if ahead(plan) else left
                left = left & ~own
                columns = {"owner": owner, "number": number, "boxes": encoded.boxes, "features": encoded.features}
                for column, values in columns.items():
                    found[name][column].append(values[own])
            assert not left.any(), f"a method asked for {int(left.sum())} boxes that its plans do not hold: {plans}"
        return {name: self._once({key: torch.cat(parts) for key, parts in of.items()}) for name, of in found.items()}

    def _drawn(self, plan: Plan, numbers: BoxNumbers) -> Tensor:
        """The numbers of the boxes that a plan draws ahead."""
        boxes = [draw(plan, *size, item.identity) for size, item in zip(self.views.sizes, self.items, strict=True)]
        owner = np.repeat(np.arange(len(boxes)), [len(of_picture) for of_picture in boxes])
        return torch.from_numpy(numbers(owner, torch.cat(boxes).numpy()))

    def _once(self, found: Mapping[str, Tensor]) -> Encoded:
        """Each box once, picture by picture."""
        first = np.unique(found["number"].numpy(), return_index=True)[1]
        rows = torch.from_numpy(first)[found["owner"][first].argsort(stable=True)]
        counts = found["owner"][rows].bincount(minlength=len(self.items))
        return Encoded(counts.int(), found["boxes"][rows], found["features"][rows])


def pool_of(plan: Plan) -> str:
    """The plan of the pool that holds a plan's boxes, as JSON.

    Random squares of one range and seed share a pool however many they are: fewer are the first of more.
    """
    shared = {key: value for key, value in plan.items() if not (ahead(plan) and key == "n")}
    return json.dumps(shared, sort_keys=True)


class _Kept(NamedTuple):
    """Boxes of a chunk that belong to one pool: positions in the manifest and sizes of its pictures, which are gone."""

    positions: Sequence[int]
    sizes: Sequence[Size]
    encoded: Encoded


class _New:
    """What was encoded of one shard and is not in the store yet, by pool."""

    def __init__(self, positions: range, pools: Mapping[str, FeatureSet], index: int) -> None:
        self._positions, self._pools, self._index = positions, pools, index
        self._parts: dict[str, list[_Kept]] = {}  # in the order in which they were encoded, see `Chunk.look_ahead`
        self._adding = threading.Lock()  # several streams may end at once
        self._due = time.monotonic() + KEEP_SECONDS

    def add(self, chunk: Chunk) -> None:
        """LgcaError, before any of it is taken, where vectors are not finite."""
        by_pool = chunk.by_pool()
        for encoded in by_pool.values():
            check_finite(encoded.features)
        with self._adding:
            for name, encoded in by_pool.items():
                self._parts.setdefault(name, []).append(_Kept(chunk.positions, chunk.views.sizes, encoded))

    def write(self) -> None:
        """Put it into the store. May be broken off and called again. LgcaError where the store cannot be written."""
        for name, parts in list(self._parts.items()):
            if taken := list(parts):
                self._pools[name].write(self._index, self._joined(taken))
                del parts[: len(taken)]

    def write_if_due(self) -> None:
        began = time.monotonic()
        if began >= self._due:
            self.write()
            ended = time.monotonic()
            self._due = ended + max(KEEP_SECONDS, 20 * (ended - began))

    def _joined(self, parts: Sequence[_Kept]) -> Shard:
        """Chunks of a shard -> the shard; pictures that are in none of them have no size and no boxes."""
        parts = sorted(parts, key=lambda part: part.positions[0])
        sizes = torch.zeros(len(self._positions), 2, dtype=torch.int32)
        counts = torch.zeros(len(self._positions), dtype=torch.int32)
        for part in parts:
            rows = torch.tensor(part.positions) - self._positions.start
            sizes[rows] = torch.tensor(part.sizes, dtype=torch.int32)
            counts[rows] = part.encoded.counts
        boxes, features = (torch.cat(columns) for columns in zip(*(part.encoded[1:] for part in parts), strict=True))
        of_shard = next(iter(self._pools.values())).identities[self._positions.start : self._positions.stop]
        return Shard(tuple(of_shard), sizes, counts, boxes, features)


class Reader:
    """The chunks of a data set, looked at in the manifest's order.

    Args:
        chunk: pictures looked at together. Those of the next chunk are read meanwhile.
        on_error: stop at a picture that cannot be read (``raise``), or list it in ``skipped`` and go on (``skip``).
        store: where features are looked up and kept; None for nowhere.
        plans: of all methods that will look.
        shards: which shards of the store; all of them if None.
    """

    def __init__(
        self,
        manifest: Manifest,
        encoder: Encoder,
        *,
        chunk: int,
        on_error: OnError,
        store: Store | None = None,
        plans: Sequence[Plan] = (),
        shards: Sequence[int] | None = None,
    ) -> None:
        assert chunk >= 1, f"{chunk} pictures a chunk"
        self._manifest, self._encoder, self._chunk, self._on_error = manifest, encoder, chunk, on_error
        self._pools: dict[str, FeatureSet] = {}
        self._ahead: list[Plan] = []
        if store is not None:
            longest: dict[str, Plan] = {}
            for plan in filter(ahead, plans):
                known = longest.setdefault(pool_of(plan), plan)
                longest[pool_of(plan)] = max(known, plan, key=lambda of: of.get("n", 1))
            self._ahead = [longest[name] for name in sorted(longest)]
            identities = list(map(manifest.content, manifest.items))
            for name in sorted({pool_of(plan) for plan in plans}):
                key = pool_key(identities, encoder, json.loads(name), encoder.resize.said)
                self._pools[name] = store.pool(key, identities, dataset=manifest.name)
        self._shards = shards
        self.skipped: list[Skipped] = []

    @property
    def total(self) -> int:
        """How many pictures there are to read."""
        return sum(map(len, self._ranges().values()))

    def room(self, boxes: Mapping[str, int], width: int) -> int:
        """Bytes that the store must have free, beyond what it has of these pictures already.

        Args:
            boxes: of a picture, by pool. width: of a vector.
        """
        there = {name: sum(file.size for file in files_in(pool.folder)) for name, pool in self._pools.items()}
        a_box = 2 * width + 4 * 4  # float16 numbers and the four of the box
        return sum(max(0, n * a_box * self.total - there[name]) for name, n in boxes.items())

    def _ranges(self) -> dict[int, range]:
        """Positions in the manifest of each shard; without a store there is one."""
        if not self._pools:
            return {0: range(len(self._manifest.items))}
        pool = next(iter(self._pools.values()))
        return {index: pool.pictures(index) for index in (range(len(pool)) if self._shards is None else self._shards)}

    def each(self, look: Callable[[Chunk], _Result]) -> Generator[tuple[Chunk, _Result], None, None]:
        """Each chunk and what ``look`` says of it; it may look at several at a time, see `Encoder`.

        Close it (``contextlib.closing``), so that what was encoded is kept at once where the caller fails. A store that
        then cannot be written does not hide why: that is a note of the exception.
        """
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            try:
                for index, positions in self._ranges().items():
                    yield from self._shard(index, positions, look, threads)
            finally:
                threads.shutdown(cancel_futures=True)

    def _shard(
        self, index: int, positions: range, look: Callable[[Chunk], _Result], threads: ThreadPoolExecutor
    ) -> Iterator[tuple[Chunk, _Result]]:
        """The chunks of one shard; what had to be encoded is in the store once the last was taken, or none will be."""
        read = {name: pool.read(index) for name, pool in self._pools.items()}
        stored = {name: shard for name, shard in read.items() if shard is not None}
        there = self._there(positions, stored)
        new = _New(positions, self._pools, index)

        def whole(chunk: Chunk) -> tuple[Chunk, _Result]:
            try:
                chunk.look_ahead(self._ahead)
                return chunk, look(chunk)
            finally:  # if it was interrupted, the pools that it had been through
                rows = [position - positions.start for position in chunk.positions]
                # Keep a chunk that a pool lacks even if nothing was encoded: other pools may hold its boxes.
                if self._pools and (chunk.views.encoded or not there[rows].all()):
                    new.add(chunk)

        try:
            chunks = self._walk(positions, stored, there, threads)
            for done in map_in_streams(whole, chunks, self._encoder.device, self._encoder.streams):
                yield done
                new.write_if_due()
            new.write()
        except BaseException as error:
            try:
                new.write()
            except LgcaError as failure:
                error.add_note(f"what was encoded could not be kept: {failure}")
            raise

    def _there(self, positions: range, stored: Mapping[str, Shard]) -> Tensor:
        """(n,) bool: of which pictures of a shard every pool has what it must."""
        if len(stored) < len(self._pools) or not stored:
            return torch.zeros(len(positions), dtype=torch.bool)
        return torch.stack([(shard.sizes > 0).all(dim=1) for shard in stored.values()]).all(dim=0)

    def _walk(
        self, positions: range, stored: Mapping[str, Shard], there: Tensor, threads: ThreadPoolExecutor
    ) -> Iterator[Chunk]:
        """Chunks of the pictures at `positions`, of which `stored` is known.

        Pictures are read ahead unless they are `there`: then one is read only if something turns out missing.
        """
        sizes = torch.zeros(len(positions), 2, dtype=torch.int32)
        for shard in stored.values():
            sizes = torch.where(sizes > 0, sizes, shard.sizes)
        parts = [positions[start : start + self._chunk] for start in range(0, len(positions), self._chunk)]

        def start(part: range) -> dict[int, Future[Image.Image | LgcaError]]:
            wanted = [p for p in part if not there[p - positions.start]]
            return {p: threads.submit(self._read, self._manifest.items[p]) for p in wanted}

        reading = start(parts[0]) if parts else {}
        for number, part in enumerate(parts):
            read = {p: future.result() for p, future in reading.items()}
            reading = start(parts[number + 1]) if number + 1 < len(parts) else {}
            readable = [p for p in part if not self._skip(p, read.get(p))]
            if not readable:
                continue
            items = [self._manifest.items[p] for p in readable]
            pictures = [
                found if isinstance(found := read.get(p), Image.Image) else partial(self._open, item)
                for p, item in zip(readable, items, strict=True)
            ]
            known = [tuple(sizes[p - positions.start].tolist()) for p in readable]
            views = Views(
                self._encoder,
                pictures,
                sizes=[size if all(size) else None for size in known],
                float16=bool(self._pools),
            )
            for shard in stored.values():
                views.add_known(shard.select([p - positions.start for p in readable]).encoded)
            yield Chunk(readable, items, views)

    def _open(self, item: Item) -> Image.Image:
        return open_picture(item.path, **self._manifest.conversion._asdict())

    def _read(self, item: Item) -> Image.Image | LgcaError:
        try:
            return self._open(item)
        except LgcaError as error:
            return error

    def _skip(self, position: int, read: Image.Image | LgcaError | None) -> bool:
        """Whether a picture could not be read; raises where that is an end."""
        if not isinstance(read, LgcaError):
            return False
        item = self._manifest.items[position]
        if self._on_error == "raise":
            raise LgcaError(f"{read}; remove it, or go on past such files with --on-error skip")
        reason = str(read).removeprefix(f"{item.path}: ")
        self.skipped.append(Skipped(path=self._manifest.key(item), reason=reason))
        return True


def sentence_vectors(
    encoder: Encoder, sentences: Sequence[str], store: Store | None = None, *, dataset: str | None = None
) -> Tensor:
    """Sentences -> unit vectors (n, D) float32; with a store they are looked up, and kept, like those of crops.

    Sentences are kept as 1 x 1 pictures with one box each, since the store knows only pictures; `dataset` names them.
    """
    if store is None:
        return encoder.encode_texts(sentences)
    distinct = sorted(set(sentences), key=lambda text: (len(text), text))  # of like length side by side, as batches are
    identities = [hashlib.sha256(text.encode()).hexdigest() for text in distinct]
    pool = store.pool(sentences_key(encoder, identities), identities, dataset=dataset)
    parts = []
    for index in range(len(pool)):
        shard = pool.read(index)
        if shard is None:
            texts = [distinct[position] for position in pool.pictures(index)]
            n = len(texts)
            shard = Shard(
                tuple(identities[position] for position in pool.pictures(index)),
                torch.ones(n, 2, dtype=torch.int32),
                torch.ones(n, dtype=torch.int32),
                torch.tensor([[0, 0, 1, 1]], dtype=torch.int32).expand(n, 4),
                encoder.encode_texts(texts).half().cpu(),
            )
            pool.write(index, shard)
        parts.append(shard.features)
    vectors = unit_from_float16(torch.cat(parts)).to(encoder.device)  # (distinct, D)
    row = {text: number for number, text in enumerate(distinct)}
    return vectors[[row[text] for text in sentences]]
