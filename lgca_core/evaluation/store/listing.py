"""Feature sets as they lie on disk: listed, verified, removed."""

import errno
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from lgca_core.errors import LgcaError
from lgca_core.evaluation.store.feature_set import LABEL, Label, read_label
from lgca_core.evaluation.store.shard_files import GONE, ShardFile, files_in, sweep


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
    files: tuple[ShardFile, ...]

    @classmethod
    def at(cls, folder: Path) -> "Stored":
        return cls(folder, read_label(folder), tuple(files_in(folder)))

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

    def verify(self, *, fix: bool = False, progress: Callable[[ShardFile], None] | None = None) -> list[Damage]:
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
        sweep(self.folder)
        return damaged

    def remove(self) -> None:
        """Remove the pool; a process that is writing to it goes on in an empty one. LgcaError if that fails."""
        try:
            for file in files_in(self.folder):
                file.path.unlink(missing_ok=True)
            (self.folder / LABEL).unlink(missing_ok=True)
            sweep(self.folder)
            with suppress(FileNotFoundError):
                self.folder.rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise LgcaError(f"cannot remove {self.folder}: {error.strerror}") from error


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
