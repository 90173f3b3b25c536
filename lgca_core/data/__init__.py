"""Labelled pictures: manifests of files, labels and hashes, and the table of every data set with a name."""

from lgca_core.data import aviary_sets, copies  # noqa: F401  each registers its data sets
from lgca_core.data.folders import folder
from lgca_core.data.manifest import Conversion, Item, Manifest, OnError, Skipped, every_nth
from lgca_core.data.opening import pictures_at
from lgca_core.data.table import DATASETS, Entry, Facts, open_dataset, register_dataset

__all__ = [
    "DATASETS",
    "Conversion",
    "Entry",
    "Facts",
    "Item",
    "Manifest",
    "OnError",
    "Skipped",
    "every_nth",
    "folder",
    "open_dataset",
    "pictures_at",
    "register_dataset",
]
