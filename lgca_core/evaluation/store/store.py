"""The store: a folder of feature sets, found and made by their key."""

import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from lgca_core.errors import LgcaError
from lgca_core.evaluation.store.feature_set import FORMAT, FeatureSet, Label, Report
from lgca_core.evaluation.store.listing import Stored
from lgca_core.evaluation.store.shard_files import unreadable, unwritable
from lgca_core.evaluation.targets import TRIAL
from lgca_core.files import home

PICTURES_A_SHARD = 256
"""Pictures of a shard: of 60 boxes and 512 numbers each it takes 16 MB."""


def default_root() -> Path:
    """``$LGCA_STORE``, else ``store`` in the user's cache, see :func:`~lgca_core.files.home`."""
    chosen = os.environ.get("LGCA_STORE")
    return Path(chosen).expanduser() if chosen else home() / "store"


class Store:
    """A folder of pools.

    Args:
        root: the folder; :func:`default_root` if None. It need not exist.
        pictures: of a shard. Pools of another number are other pools.
        report: called with a sentence for each damaged shard, which is then as good as missing;
            ``warnings.warn`` if None.
    """

    def __init__(
        self, root: Path | str | None = None, *, pictures: int = PICTURES_A_SHARD, report: Report | None = None
    ) -> None:
        assert pictures >= 1, f"{pictures} pictures a shard"
        self.root = default_root() if root is None else Path(root).expanduser()
        self._pictures, self._report = pictures, report or _warn

    def pool(
        self,
        key: Mapping[str, JsonValue],
        identities: Sequence[str],
        *,
        dataset: str | None = None,
        of_a_shard: int | None = None,
    ) -> FeatureSet:
        """The pool of a key, see :func:`pool_key`; made if it is not there.

        ``identities`` are the sha256 of all pictures of the manifest, in its order; ``dataset`` is its name, for
        people. The order of the key's entries does not matter. ``of_a_shard``: how many, if not as in other pools.

        Raises:
            LgcaError: the store cannot be written.
        """
        label = Label(
            format=FORMAT,
            pictures_a_shard=of_a_shard or self._pictures,
            key=json.loads(json.dumps(key)),  # tuples as lists
            pictures=len(identities),
            dataset=dataset,
        )
        pool = FeatureSet(self.root / label.sha256, label, identities, self._report)
        try:
            pool._name()
        except OSError as error:
            raise unwritable(self.root, error) from error
        return pool

    def check(self, room: int = 0) -> None:
        """Try that the store can be written and, as far as that is known, has room for so many bytes more.

        Raises:
            LgcaError: it cannot, or the disk has less.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(prefix=".lgca-", dir=self.root) as trial:
                trial.write(bytes(TRIAL))
                trial.flush()
                os.fsync(trial.fileno())
            free = shutil.disk_usage(self.root).free
        except OSError as error:
            raise unwritable(self.root, error) from error
        if room > free:
            raise LgcaError(
                f"the features to be encoded take about {room / 1e9:.1f} GB, and {self.root} has {free / 1e9:.1f} GB "
                f"free: set LGCA_STORE to a folder that has room, look at fewer crops or seeds, or do without a store"
            )

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
            raise unreadable(self.root, error) from error
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


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)  # the caller of Pool.read
