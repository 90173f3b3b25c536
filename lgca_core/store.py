"""Features on disk: encoded once, shared by methods, seeds and ablations (floor 3).

    $LGCA_STORE, else home()/store
      <sha256 of its key>/                         a pool: some pictures, an encoder and a plan of boxes
        pool.json                                  the key, for people and for ``lgca store``
        000003-15616-<sha256 of the file>.safetensors
                                                   its shard 3, of pictures 768 to 1023: 15,616 boxes

No file is ever changed. A shard is written beside its place, forced to the disc, and renamed: a reader sees all of it
or nothing, and two writers cannot mix. A shard grows by a larger file that takes the place of the smaller. Of several
files for one shard the one with the most boxes counts, of equals the one whose name sorts first: so whatever wrote
them, in whatever order, all readers agree. What is damaged no longer has the content that its name says; it is
reported, removed, and encoded again.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from io import BufferedRandom
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import PIL
import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lgca_core import datasets
from lgca_core.errors import LgcaError
from lgca_core.views import BoxNumbers, Encoded, Ints, Size

if TYPE_CHECKING:
    from lgca_core.encoder import Encoder

PICTURES = 256
"""Pictures of a shard: of 60 boxes and 512 numbers each it takes 16 MB."""

SOURCES = ("boxes", "taps", "resample", "compiled", "fused", "towers", "encoder", "views")
"""Modules that decide a feature."""

FORMAT = 1
LABEL = "pool.json"
DRAFT_SECONDS = 24 * 3600  # how old a draft must be to be given up, where the file system cannot lock
INFINITE = 0x7C00  # the bits that float16 sets in infinities and in what is not a number, and only there
GONE = (errno.ENOENT, errno.ESTALE)  # of a file that another process has replaced; the second over a network

Report = Callable[[str], None]


def default_root() -> Path:
    """``$LGCA_STORE``, else ``store`` in the user's cache, see :func:`datasets.home`."""
    chosen = os.environ.get("LGCA_STORE")
    return Path(chosen).expanduser() if chosen else datasets.home() / "store"


def pool_key(
    identities: Sequence[str], encoder: "Encoder", plan: Mapping[str, JsonValue], resize: str
) -> dict[str, JsonValue]:
    """What decides the features of a pool, down to the rounding of the device.

    Args:
        identities: sha256 of the pictures, in the manifest's order. What their classes are called decides no feature.
        plan: which boxes, such as ``{"draw": "squares", "a0": 0.5, "b0": 0.9, "seed": 0}``.

    Raises:
        LgcaError: the encoder does not say which weights it has, so that another could be taken for it.
    """
    return {
        "pictures": _digest(identities),
        "encoder": _encoder_key(encoder),
        "resize": resize,
        "plan": dict(plan),
    }


def sentences_key(encoder: "Encoder", identities: Sequence[str]) -> dict[str, JsonValue]:
    """The same for sentences, whose identities are the sha256 of each."""
    return {"sentences": _digest(identities), "encoder": _encoder_key(encoder), "plan": {"draw": "sentences"}}


def _digest(identities: Sequence[str]) -> str:
    return hashlib.sha256("".join(identities).encode()).hexdigest()


def _encoder_key(encoder: "Encoder") -> dict[str, JsonValue]:
    if encoder.sha256 is None:
        raise LgcaError(
            f"the encoder {encoder.name!r} has no hash of its weights, which its stored features would go by: "
            f"give it one, or do without the store"
        )
    return {
        "name": encoder.name,
        "weights_sha256": encoder.sha256,
        "architecture": encoder.architecture,
        "activation": encoder.activation,
        "precision": encoder.precision,
        "size": encoder.size,
        "mean": list(encoder.mean),
        "std": list(encoder.std),
        "code": _code(),
    }


@cache
def _code() -> str:
    """Hash of what else decides a feature: our sources, and the versions of Pillow and open_clip.

    A change to them makes all that was stored useless, as it must.
    """
    digest = hashlib.sha256(f"{PIL.__version__} {metadata.version('open_clip_torch')}".encode())
    for module in SOURCES:
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()


# ---- shards ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Shard:
    """Features of boxes of some pictures, picture by picture.

    Attributes:
        identities: sha256 of each picture's file, n of them, in hexadecimal.
        sizes: (n, 2) int32, height and width; (0, 0) for a picture that could not be read.
        counts: (n,) int32, boxes of each picture, M in all.
        boxes: (M, 4) int32. features: (M, D) float16.

    Raises:
        ValueError: shapes, types or numbers that do not fit together.
        LgcaError: a box outside its picture.
    """

    identities: tuple[str, ...]
    sizes: Tensor
    counts: Tensor
    boxes: Tensor
    features: Tensor

    def __post_init__(self) -> None:
        n, m = len(self.identities), len(self.boxes)
        if bad := [identity for identity in self.identities if not re.fullmatch("[0-9a-f]{64}", identity)]:
            raise ValueError(f"{bad[0]!r} is not a sha256")
        for name, dtype, shape in (
            ("sizes", torch.int32, (n, 2)),
            ("counts", torch.int32, (n,)),
            ("boxes", torch.int32, (m, 4)),
            ("features", torch.float16, (m, self.features.shape[-1])),
        ):
            found = getattr(self, name)
            if found.dtype != dtype or tuple(found.shape) != shape:
                raise ValueError(f"{name} are {tuple(found.shape)} {found.dtype}, not {shape} {dtype}")
        if int(self.counts.sum()) != m or (self.counts < 0).any():
            raise ValueError(f"counts {self.counts.tolist()} do not add up to {m} boxes")
        self._numbers()

    @classmethod
    def of(cls, identities: Sequence[str], sizes: Sequence[Size], encoded: Encoded) -> "Shard":
        """What :class:`~lgca_core.views.Views` hand out, made a shard."""
        return cls(tuple(identities), torch.tensor(sizes, dtype=torch.int32).reshape(-1, 2), *encoded)

    @property
    def encoded(self) -> Encoded:
        """For :meth:`Views.know`."""
        return Encoded(self.counts, self.boxes, self.features)

    def select(self, pictures: Sequence[int]) -> "Shard":
        """The shard of some of the pictures, by position, in the order given."""
        of_picture = torch.arange(len(self.boxes)).split(self.counts.tolist())
        rows = torch.cat([torch.empty(0, dtype=torch.int64), *(of_picture[b] for b in pictures)])
        chosen = torch.tensor(pictures, dtype=torch.int64)
        identities = tuple(self.identities[b] for b in pictures)
        return Shard(identities, self.sizes[chosen], self.counts[chosen], self.boxes[rows], self.features[rows])

    def union(self, other: "Shard") -> "Shard":
        """What either holds of the same pictures; a box that both hold keeps the features of this one."""
        if self.identities != other.identities:
            raise ValueError("the two shards are of different pictures")
        sizes = torch.where(self.sizes > 0, self.sizes, other.sizes)
        if not torch.equal(torch.where(other.sizes > 0, other.sizes, sizes), sizes):
            raise ValueError("the two shards disagree about the size of a picture")
        new = torch.from_numpy(~np.isin(other._numbers(sizes), self._numbers(sizes)))
        owner = torch.cat([self._owner(), other._owner()[new]])
        order = owner.argsort(stable=True)
        return Shard(
            self.identities,
            sizes,
            owner.bincount(minlength=len(self.identities)).int(),
            torch.cat([self.boxes, other.boxes[new]])[order],
            _rows([self.features, other.features[new]])[order],
        )

    def to_bytes(self) -> bytes:
        """As a safetensors file; equal shards give equal bytes."""
        identities = np.frombuffer(bytes.fromhex("".join(self.identities)), np.uint8).reshape(len(self.identities), 32)
        tensors = {"identities": torch.from_numpy(identities.copy()), "sizes": self.sizes, "counts": self.counts}
        tensors |= {"boxes": self.boxes, "features": self.features}
        return save({name: tensor.contiguous() for name, tensor in tensors.items()})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Shard":
        """The inverse of :meth:`to_bytes`. ValueError for anything else."""
        try:
            tensors = load(data)
            identities = tuple(bytes(row).hex() for row in tensors.pop("identities").numpy())
            return cls(identities, **tensors)
        except (SafetensorError, KeyError, TypeError, LgcaError) as error:
            raise ValueError(f"no shard: {error}") from error

    def _owner(self) -> Tensor:
        """(M,) int64: the picture of each box, by position."""
        return torch.arange(len(self.identities)).repeat_interleave(self.counts)

    def _numbers(self, sizes: Tensor | None = None) -> Ints:
        """(M,): see :class:`BoxNumbers`. LgcaError for a box outside its picture."""
        numbers = BoxNumbers((self.sizes if sizes is None else sizes).tolist())
        return numbers(self._owner().numpy(), self.boxes.long().numpy())


def _rows(parts: Sequence[Tensor]) -> Tensor:
    """Features one after the other; parts without a row do not know the width."""
    return torch.cat([part for part in parts if len(part)] or [*parts[:1]])


# ---- files -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """A shard on disk."""

    path: Path
    index: int
    boxes: int
    size: int

    NAME = re.compile(r"(\d{6,})-(\d+)-([0-9a-f]{64})\.safetensors")

    @property
    def rank(self) -> tuple[int, int, str]:
        """Of the files of one index, the one of the least rank counts."""
        return self.index, -self.boxes, self.path.name

    def read(self, *, discard: bool = False) -> Shard:
        """The shard; ValueError for a damaged one, which `discard` removes."""
        with self.path.open("rb") as stream:
            try:
                return self._shard(stream.read())
            except ValueError:
                # Another process may have put a sound one in its place, or we may not be allowed to remove it.
                with suppress(OSError):
                    if discard and os.path.samestat(os.fstat(stream.fileno()), self.path.stat()):
                        self.path.unlink()
                raise

    def _shard(self, data: bytes) -> Shard:
        if hashlib.sha256(data).hexdigest() != self.path.stem.rpartition("-")[2]:
            raise ValueError("its content is not what its name says")
        shard = Shard.from_bytes(data)
        if len(shard.boxes) != self.boxes:
            raise ValueError(f"it holds {len(shard.boxes)} boxes, not the {self.boxes} of its name")
        return shard


def _files(folder: Path) -> list[_File]:
    """The shards in a folder, by rank."""
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if match := _File.NAME.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    found.append(_File(Path(entry), int(match[1]), int(match[2]), entry.stat().st_size))
    return sorted(found, key=lambda file: file.rank)


def _put(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, on the disc before it can be seen."""
    with _draft(path.parent) as draft:
        draft.write(data)
        draft.flush()
        os.fsync(draft.fileno())
        os.replace(draft.name, path)
    with suppress(OSError):  # not every file system can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _draft(folder: Path) -> Iterator[BufferedRandom]:
    """A new file in a folder, locked while it is being written, so that nobody takes it for left over."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            stream = open(folder / f".{uuid4().hex}.tmp", "x+b")  # noqa: SIM115 (closed below, or after the yield)
        except FileNotFoundError:
            continue  # the folder was removed in between
        _lock(stream, wait=True)
        if os.fstat(stream.fileno()).st_nlink:
            break
        stream.close()  # taken for left over before it was locked
    try:
        yield stream
    finally:
        with suppress(OSError):  # it is gone if it was renamed
            os.unlink(stream.name)
        stream.close()


def _lock(stream: BufferedRandom, *, wait: bool) -> bool | None:
    """Whether the file is locked now; None where the file system cannot lock."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sweep(folder: Path) -> int:
    """Removes the drafts of processes that were killed, and says how many."""
    removed = 0
    for draft in folder.glob(".*.tmp"):
        with suppress(OSError), open(draft, "r+b") as stream:
            locked = _lock(stream, wait=False)
            if locked or (locked is None and time.time() - os.fstat(stream.fileno()).st_mtime > DRAFT_SECONDS):
                draft.unlink()
                removed += 1
    return removed


# ---- pools -------------------------------------------------------------------------------------------------


class Label(BaseModel):
    """What pool.json holds; only the first three decide the folder's name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: int
    pictures_a_shard: int
    key: dict[str, JsonValue]
    pictures: int
    dataset: str | None

    @property
    def sha256(self) -> str:
        decides = [self.format, self.pictures_a_shard, self.key]
        text = json.dumps(decides, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


class Pool:
    """The shards of some pictures, an encoder and a plan of boxes; see :meth:`Store.pool`.

    Attributes:
        folder: where they lie.
        identities: sha256 of the pictures, in the manifest's order.
    """

    def __init__(self, folder: Path, label: Label, identities: Sequence[str], report: Report) -> None:
        self.folder, self.identities = folder, tuple(identities)
        self._label, self._report = label, report

    def __len__(self) -> int:
        """How many shards the pictures make."""
        return -(-len(self.identities) // self._label.pictures_a_shard)

    def pictures(self, index: int) -> range:
        """Which pictures a shard is of, by position in the manifest."""
        assert 0 <= index < len(self), f"shard {index} of {len(self)}"
        start = index * self._label.pictures_a_shard
        return range(start, min(start + self._label.pictures_a_shard, len(self.identities)))

    def read(self, index: int) -> Shard | None:
        """A shard, or None for one that is not there: not written, damaged (reported and removed), or of others.

        Raises:
            LgcaError: the folder or the file cannot be read.
        """
        expected = self._of(index)
        tried: set[Path] = set()
        while files := [file for file in self._all() if file.index == index and file.path not in tried]:
            # One at a time: another process may put a larger one in its place meanwhile.
            tried.add(files[0].path)
            try:
                shard = files[0].read(discard=True)
            except ValueError as error:
                self._report(f"{files[0].path} was damaged ({error}) and is removed: what it held is encoded again")
                continue
            except OSError as error:
                if error.errno in GONE:
                    continue
                raise _unreadable(files[0].path, error) from error
            if shard.identities == expected:
                return shard
            self._report(f"{files[0].path} holds features of other pictures than its pool's, so it is not used")
        return None

    def write(self, index: int, shard: Shard) -> None:
        """Add to the store what it lacks of a shard.

        What lies there stays as it is: a box that it holds already keeps its features, whoever brings others (as a
        device that rounds in another way does). Two processes that add different boxes at the same moment may leave
        those of one only; the others are then encoded again when they are wanted.

        Raises:
            LgcaError: the store cannot be written, or a feature is not finite.
        """
        if (shard.features.view(torch.int16).bitwise_and(INFINITE) == INFINITE).any():
            raise LgcaError(
                "the encoder gives vectors that are not finite, which must not be stored: choose another precision"
            )
        if shard.identities != self._of(index):
            raise ValueError(f"this is not shard {index} of the pool: its pictures are others")
        stored = self.read(index)
        if stored is not None:
            shard = stored.union(shard)
            if len(shard.boxes) == len(stored.boxes) and torch.equal(shard.sizes, stored.sizes):
                return
        data = shard.to_bytes()
        name = f"{index:06d}-{len(shard.boxes)}-{hashlib.sha256(data).hexdigest()}.safetensors"
        try:
            _put(self.folder / name, data)
            self._name()
            for file in _files(self.folder):
                if file.index == index and file.rank > (index, -len(shard.boxes), name):
                    file.path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self.folder.parent, error) from error

    def _of(self, index: int) -> tuple[str, ...]:
        pictures = self.pictures(index)
        return self.identities[pictures.start : pictures.stop]

    def _all(self) -> list[_File]:
        try:
            return _files(self.folder)
        except OSError as error:
            raise _unreadable(self.folder, error) from error

    def _name(self) -> None:
        """Writes pool.json, where it is missing or no longer what it was."""
        if _label(self.folder) is None:
            _put(self.folder / LABEL, self._label.model_dump_json(indent=1).encode() + b"\n")


class Store:
    """A folder of pools.

    Args:
        root: the folder; :func:`default_root` if None. It need not exist.
        pictures: of a shard. Pools of another number are other pools.
        report: called with a sentence for each damaged shard, which is then as good as missing;
            ``warnings.warn`` if None.
    """

    def __init__(
        self, root: Path | str | None = None, *, pictures: int = PICTURES, report: Report | None = None
    ) -> None:
        assert pictures >= 1, f"{pictures} pictures a shard"
        self.root = default_root() if root is None else Path(root).expanduser()
        self._pictures, self._report = pictures, report or _warn

    def pool(self, key: Mapping[str, JsonValue], identities: Sequence[str], *, dataset: str | None = None) -> Pool:
        """The pool of a key, see :func:`pool_key`; made if it is not there.

        ``identities`` are the sha256 of all pictures of the manifest, in its order; ``dataset`` is its name, for
        people. The order of the key's entries does not matter.

        Raises:
            LgcaError: the store cannot be written.
        """
        label = Label(
            format=FORMAT,
            pictures_a_shard=self._pictures,
            key=json.loads(json.dumps(key)),  # tuples as lists
            pictures=len(identities),
            dataset=dataset,
        )
        pool = Pool(self.root / label.sha256, label, identities, self._report)
        try:
            pool._name()
        except OSError as error:
            raise _unwritable(self.root, error) from error
        return pool

    def shards(self, pictures: int) -> int:
        """How many shards so many pictures make."""
        return -(-pictures // self._pictures)

    def stored(self) -> "list[Stored]":
        """All pools on disk, by data set, encoder and name. LgcaError where the folder cannot be read."""
        try:
            names = [entry.name for entry in os.scandir(self.root) if re.fullmatch("[0-9a-f]{64}", entry.name)]
            found = [Stored.at(self.root / name) for name in names]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(self.root, error) from error
        return sorted(found, key=lambda pool: (pool.dataset or "", pool.encoder, pool.folder.name))

    def find(self, prefixes: Sequence[str]) -> "list[Stored]":
        """The pools whose names begin so, in the order of :meth:`stored`. LgcaError for none, or several, of one."""
        stored = self.stored()
        chosen = set()
        for prefix in prefixes:
            match [pool for pool in stored if prefix and pool.folder.name.startswith(prefix)]:
                case [pool]:
                    chosen.add(pool.folder)
                case []:
                    raise LgcaError(f"no pool of {self.root} has a name that begins with {prefix!r}: see lgca store ls")
                case several:
                    raise LgcaError(
                        f"{len(several)} pools have names that begin with {prefix!r}: give more of the name"
                    )
        return [pool for pool in stored if pool.folder in chosen]


@dataclass(frozen=True)
class Damage:
    """A shard that cannot be used, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Stored:
    """A pool as it lies on disk; ``label`` is None where pool.json is missing or damaged."""

    folder: Path
    label: Label | None
    files: tuple[_File, ...]

    @classmethod
    def at(cls, folder: Path) -> "Stored":
        return cls(folder, _label(folder), tuple(_files(folder)))

    @property
    def dataset(self) -> str | None:
        return self.label.dataset if self.label else None

    @property
    def encoder(self) -> str:
        """Its name, "" if unknown."""
        return self._of_encoder("name")

    @property
    def precision(self) -> str:
        """The encoder's, "" if unknown."""
        return self._of_encoder("precision")

    def _of_encoder(self, what: str) -> str:
        encoder = self.label.key.get("encoder") if self.label else None
        return str(encoder.get(what, "")) if isinstance(encoder, dict) else ""

    @property
    def plan(self) -> str:
        """Which boxes, in a few words; "" if unknown."""
        plan = self.label.key.get("plan") if self.label else None
        return _words(plan) if isinstance(plan, dict) else ""

    @property
    def pictures(self) -> int | None:
        return self.label.pictures if self.label else None

    @property
    def present(self) -> int:
        """How many shards are there."""
        return len({file.index for file in self.files})

    @property
    def expected(self) -> int | None:
        """How many shards the pictures make."""
        return -(-self.label.pictures // self.label.pictures_a_shard) if self.label else None

    @property
    def size(self) -> int:
        """Bytes of the shards."""
        return sum(file.size for file in self.files)

    def verify(self, *, fix: bool = False, progress: Callable[[_File], None] | None = None) -> list[Damage]:
        """Read every shard and say which are damaged; with `fix` they are removed.

        What killed processes left behind, and files that a larger one has replaced, is removed in any case.
        """
        damaged: list[Damage] = []
        sound: dict[int, set[tuple[str, ...]]] = {}
        for file in self.files:
            try:
                shard = file.read(discard=fix)
            except ValueError as error:
                damaged.append(Damage(file.path, str(error)))
            except OSError as error:
                if error.errno not in GONE:
                    damaged.append(Damage(file.path, str(error.strerror)))
            else:
                if shard.identities in sound.setdefault(file.index, set()):
                    with suppress(OSError):
                        file.path.unlink()
                sound[file.index].add(shard.identities)
            if progress:
                progress(file)
        _sweep(self.folder)
        return damaged

    def remove(self) -> None:
        """Remove the pool; a process that is writing to it goes on in an empty one. LgcaError if that fails."""
        try:
            for file in _files(self.folder):
                file.path.unlink(missing_ok=True)
            (self.folder / LABEL).unlink(missing_ok=True)
            _sweep(self.folder)
            with suppress(FileNotFoundError):
                self.folder.rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise LgcaError(f"cannot remove {self.folder}: {error.strerror}") from error


def _label(folder: Path) -> Label | None:
    """What pool.json says; None where it is missing, or not that of this folder."""
    try:
        label = Label.model_validate_json((folder / LABEL).read_bytes())
        return label if label.sha256 == folder.name else None
    except (FileNotFoundError, ValidationError, ValueError):
        return None


def _words(plan: Mapping[str, JsonValue]) -> str:
    return ", ".join([str(plan.get("draw")), *(f"{name} {_short(plan[name])}" for name in plan if name != "draw")])


def _short(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return f"({_words(value)})"
    if isinstance(value, str):
        return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1", value)  # of a hash, its beginning
    return json.dumps(value)


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)  # the caller of Pool.read


def _unwritable(root: Path, error: OSError) -> LgcaError:
    return LgcaError(
        f"cannot write to the store {root} ({error.strerror}): set LGCA_STORE to a folder that has room and "
        f"can be written"
    )


def _unreadable(path: Path, error: OSError) -> LgcaError:
    return LgcaError(f"cannot read {path} ({error.strerror}): make it readable, or set LGCA_STORE to another folder")
