"""What a page is made of: records of the book, or a user's own; and the encoder and pictures that belong to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lgca_book.experiments import experiments
from lgca_book.places import folder_of_dataset
from lgca_core.data import Item, Manifest, open_dataset
from lgca_core.encoder import Encoder
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import RECORD, Record, find_records, load
from lgca_core.prompts.class_prompts import prompts_of_dataset
from lgca_core.prompts.files import read_descriptions

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Pictures:
    """The pictures of a record and the sentences of their classes; or, in ``lacks``, what is missing of them."""

    manifest: Manifest | None
    sentences: Sequence[Sequence[str]] | None
    lacks: str = ""


@dataclass(frozen=True)
class Sources:
    """What a page is made of.

    Attributes:
        profile: of the page's badge.
        encoder: what `load_encoder` takes.
        datasets: what `open_dataset` takes, one a record.
        records: folder of the records.
        names: of the records in it, those of sweeps not among them.
        own: whether these are a user's own records, which then say which encoder and data sets are meant.
        given: the data sets that the parameters name.
    """

    profile: str
    encoder: str
    datasets: list[str]
    records: Path
    names: list[str]
    own: bool = False
    given: list[str] = field(default_factory=list)

    def asked(self, methods: Sequence[str], seeds: int) -> dict[str, Any]:
        """What `load_all` is asked for: of an own record all methods and seeds that it has."""
        return {"methods": [] if self.own else list(methods), "seeds": 1 if self.own else seeds}

    def sweep(self, name: str) -> str:
        """The record of a sweep of the first data set: an own record may hold it all."""
        swept = f"{self.names[0]}-{name}"
        return swept if not self.own or (self.records / swept / RECORD).is_file() else self.names[0]

    def pictures_of(self, record: Record | None, descriptions: str | None = None) -> Pictures:
        """The pictures of the first data set, which must be those of a record, and the sentences of their classes.

        Args:
            descriptions: a JSON file of sentences, where they are not the data set's own.

        Raises:
            LgcaError: the file cannot be read, or lacks a class.
        """
        for spec in dict.fromkeys([self.datasets[0], *self.given]):
            try:
                manifest = open_dataset(spec)
            except LgcaError:
                continue
            if record is None or manifest.sha256 == record.dataset.manifest_sha256:
                own = read_descriptions(descriptions, manifest.classes) if descriptions else None
                sentences = prompts_of_dataset(spec, manifest, descriptions=own).descriptions
                what = "" if sentences else "descriptions of its classes: name their file in the parameter descriptions"
                return Pictures(manifest, sentences, what)
        what = "the pictures of the record, which are not where it says: name their folder in the parameter datasets"
        return Pictures(None, None, what)

    def encoder_of(self, record: Record) -> Encoder:
        """The encoder of a record, in its precision.

        Raises:
            LgcaError: it cannot be loaded, or has other weights by now.
        """
        encoder = load_encoder(self.encoder, precision=record.encoder.precision)  # type: ignore[arg-type]
        if encoder.sha256 != record.encoder.weights_sha256:
            raise LgcaError(f"the weights of {encoder.name} are no longer those of the record: evaluate it again")
        return encoder


def sources(records: str, encoder: str, datasets: Sequence[str], profile: str) -> Sources:
    """What a page with these parameters is made of.

    Args:
        records: a folder of records, each named after its data set; or an own record, or a folder of own ones. A
            relative path starts where the notebook runs, or else at the checkout.
        encoder, datasets, profile: as the parameters of pages say; of own records, these say it themselves.

    Raises:
        LgcaError: an own record is damaged, or does not say what it is of.
    """
    place = _place(records)
    names = [folder_of_dataset(dataset) for dataset in datasets]
    usual = Sources(profile, encoder, list(datasets), place, names)
    of_the_book = profile != "embedded" or place.resolve() == (CHECKOUT / "_build" / "records").resolve()
    if of_the_book or not place.is_dir() or any(_is_record(place / name) for name in names):
        return usual
    found = find_records(place)
    if not found:
        return usual
    folder = place.parent if _is_record(place) else place
    own = {one.relative_to(folder).as_posix(): load(one)[0] for one in found}
    swept = {f"{name}-{sweep}" for name in own for sweep in experiments().sweeps}
    named = [name for name in own if name not in swept]
    spec = own[named[0]].parameters.get("encoder")
    return Sources(
        "own",
        spec if isinstance(spec, str) else encoder,
        [_dataset_of(own[name]) for name in named],
        folder,
        named,
        own=True,
        given=list(datasets),
    )


def at_most(items: Sequence[Item], most: int) -> Sequence[Item]:
    """No more than so many pictures, evenly spread: all of them where there are no more."""
    return items[:: max(1, -(-len(items) // most))]


def _place(records: str) -> Path:
    given = Path(records).expanduser()
    below = CHECKOUT / given
    return below if not given.is_absolute() and not given.exists() and below.exists() else given


def _is_record(folder: Path) -> bool:
    return (folder / RECORD).is_file()


def _dataset_of(record: Record) -> str:
    """Where the pictures of a record are, as far as it says so; its name otherwise."""
    for key in ("images", "dataset"):
        if isinstance(found := record.parameters.get(key), str):
            return found
    return record.dataset.name
