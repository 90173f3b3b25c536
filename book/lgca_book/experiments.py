"""What the book evaluates and which page shows it: `book/experiments.yaml`."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from lgca_core.errors import LgcaError

FILE = Path(__file__).parents[1] / "experiments.yaml"

Names = tuple[str, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Evaluation(_Strict):
    """What makes one record: options of `lgca evaluate`, and two things that the graph alone knows.

    Attributes:
        parts: how many jobs encode its features.
        after: the evaluation that encodes most of the same features, and so goes first.
    """

    dataset: str
    methods: Names = Field(min_length=1)
    seeds: int = Field(ge=1)
    encoder: str | None = None
    n: int
    device: str
    precision: str | None = None
    store: str | None = None
    parts: int = 1
    after: str | None = None

    def options(self) -> str:
        """Options of `lgca evaluate` as the shell reads them, such as ``--dataset pets --method wca,lgca``."""
        given = {"method": ",".join(self.methods)}
        given |= self.model_dump(exclude={"methods", "parts", "after"}, exclude_none=True)
        return " ".join(f"--{name} {quote(str(value))}" for name, value in given.items())


class Full(_Strict):
    """What a full run evaluates by default; the peers are methods that Table 1 does not show."""

    encoders: Names
    datasets: Names
    methods: Names
    peers: Names
    seeds: int
    crops: int
    device: str


class Sweep(_Strict):
    """Methods with other settings, and how many seeds their page wants."""

    methods: Names
    seeds: int


class Page(_Strict):
    """Which records a page reads, compares and shows. A page without any entry computes for itself.

    Attributes:
        title: its name in tables.
        reads: records of the embedded world.
        full: records of a full run, "{dataset}" standing for each data set.
        fixed: whether the page is the same under every profile.
        datasets: the data sets that it is about, whichever are chosen.
        compares: methods that the records of data sets must hold; records of sweeps hold all that a page needs.
        compares_on: the beginning of the names of data sets on which it compares; on others it does not.
        methods: what it shows, with all seeds, where ``--config`` names no methods.
        prefers: data sets that it takes where they are chosen, each with parameters of its own.
        shows: pattern of the files of results/ that it shows beside its records.
        again: the command that makes its records of real data sets; any of `lgca datasets` may stand for those named.
    """

    title: str | None = None
    reads: Names = ()
    full: Names = ()
    fixed: bool = False
    datasets: Names = ()
    compares: Names = ()
    compares_on: str = ""
    methods: Names = ()
    prefers: dict[str, dict[str, JsonValue]] = {}
    shows: str | None = None
    again: str | None = None


class Trainings(_Strict):
    """Trainings of a related system whose records are committed: each arm with `seeds` seeds on `data`.

    Attributes:
        classified: arms whose encoders classify the aviary's test pictures too, by `methods` with `crops`.
    """

    classified: Names
    seeds: int
    data: str
    epochs: int
    batch: int
    rate: float
    methods: Names
    crops: int


class Goal(Trainings):
    """Those of GOAL; `arms` are names of `lgca goal arms`."""

    arms: Names


class Hada(Trainings):
    """Those of HADA.

    Attributes:
        trained: names of `lgca hada arms`; "-w" after one asks for a second stage.
        sums: arms in which nothing is trained, and so without seeds.
        three: arms that fuse the encoder `aviary` as a third.
    """

    trained: Names
    sums: Names
    three: Names
    width: int
    queue: int
    patience: int
    dropout: float


class Related(_Strict):
    """What `make related` trains."""

    goal: Goal
    hada: Hada


class Study(_Strict):
    """What `make study` trains and evaluates; training seeds are 1 to `trainings`.

    Attributes:
        training: options of `python -m lgca_core.aviary.train`.
        primary: the one comparison declared in advance, a method and its baseline.
        n: N, crops of a picture. seeds: draws of crops.
    """

    dataset: str
    trainings: int = Field(ge=2)
    training: dict[str, JsonValue]
    methods: Names
    primary: tuple[str, str]
    n: int
    seeds: int = Field(ge=1)

    @model_validator(mode="after")
    def _primary_is_run(self) -> Self:
        if missing := set(self.primary) - set(self.methods):
            raise ValueError(f"the primary comparison is of {', '.join(sorted(missing))}, which is not run")
        return self


class Experiments(_Strict):
    """The content of `experiments.yaml`; `common` is what the embedded evaluations share, by YAML's merging."""

    full: Full
    sweeps: dict[str, Sweep]
    common: dict[str, JsonValue]
    embedded: dict[str, Evaluation]
    study: Study
    related: Related
    pages: dict[str, Page]

    @field_validator("embedded")
    @classmethod
    def _within_their_crops(cls, embedded: dict[str, Evaluation]) -> dict[str, Evaluation]:
        return {
            name: evaluation.model_copy(update={"methods": within(evaluation.methods, evaluation.n)})
            for name, evaluation in embedded.items()
        }

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        named = [(f"the page {page}", record) for page, own in self.pages.items() for record in own.reads]
        named += [(name, evaluation.after) for name, evaluation in self.embedded.items() if evaluation.after]
        for name, record in named:
            if record not in self.embedded:
                raise ValueError(f"{name} wants {record}, which is not evaluated")
        return self

    def page(self, name: str) -> Page:
        """The page of a notebook."""
        return self.pages.get(name, Page())


def read(file: Path) -> Experiments:
    """Read a file like `experiments.yaml`.

    Raises:
        LgcaError: a key that is unknown, missing or of a wrong kind, or a record that nothing makes.
    """
    try:
        return Experiments.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise LgcaError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


@cache
def experiments() -> Experiments:
    """The experiments of the book, read once."""
    return read(FILE)


def within(methods: Iterable[str], crops: int) -> Names:
    """Methods without those that are set to draw more crops than so many."""
    drawn = {method: re.search(r":n=(\d+)", method) for method in methods}
    return tuple(method for method, n in drawn.items() if n is None or int(n[1]) <= crops)
