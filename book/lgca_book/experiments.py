"""What the book evaluates and which page shows it: `book/experiments.yaml`, and the plan for a `--config`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from lgca_core.errors import LgcaError

FILE = Path(__file__).parents[1] / "experiments.yaml"

SETTINGS = {
    "embedded": ["parts", "gpus", "repository"],
    "full": ["parts", "gpus", "datasets", "encoders", "methods", "seeds", "crops", "sweeps", "device", "repository"],
}
"""What `--config` can say under each profile; make gives its own names to the same."""

RECORDS = "**/record.json"

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


class Experiments(_Strict):
    """The content of `experiments.yaml`; `common` is what the embedded evaluations share, by YAML's merging."""

    full: Full
    sweeps: dict[str, Sweep]
    common: dict[str, JsonValue]
    embedded: dict[str, Evaluation]
    pages: dict[str, Page]

    @field_validator("embedded")
    @classmethod
    def _within_their_crops(cls, embedded: dict[str, Evaluation]) -> dict[str, Evaluation]:
        return {
            name: evaluation.model_copy(update={"methods": _within(evaluation.methods, evaluation.n)})
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


@dataclass(frozen=True)
class Plan:
    """What a `--config` asks for: which evaluations are made, and what each page makes of their records.

    Attributes:
        methods: what a full run evaluates; ``named`` says whether `--config` named them.
        full: evaluations of the full run; none under the profile "embedded".
        root: the checkout, where records of earlier runs may lie.
    """

    gpus: int
    encoders: Names
    datasets: Names
    methods: Names
    named: bool
    seeds: int
    embedded: dict[str, Evaluation]
    full: dict[str, Evaluation]
    root: Path

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """All evaluations that can be made; those of the embedded world always can."""
        return self.embedded | self.full

    @property
    def wanted(self) -> list[str]:
        """Records that were asked for."""
        return [f"results/{name}/record.json" for name in self.full] or [_made(name) for name in self.embedded]

    def parts_of(self, name: str) -> list[str]:
        """Outputs of the jobs that encode an evaluation's features; none where the evaluation encodes them itself."""
        n = self.evaluations[name].parts
        return [f"_build/features/{name}/{k}-of-{n}.json" for k in range(1, n + 1)] if n > 1 else []

    def before(self, name: str) -> list[str]:
        """The record of the evaluation that goes first, as an input.

        It orders the jobs and changes nothing else; Snakemake's `ancient()` would suppress other reasons to rerun.
        """
        after = self.evaluations[name].after
        return [] if after is None else [_made(after)]

    def records_of(self, page: str) -> list[str]:
        """Records that a page reads: full ones where all that it needs are made or there, else the embedded."""
        own = experiments().page(page)
        if self.full and not own.fixed:
            datasets = [slug(dataset) for dataset in own.datasets or self.datasets]
            names = dict.fromkeys(pattern.format(dataset=dataset) for pattern in own.full for dataset in datasets)
            found = [f"results/{slug(self.encoders[0])}/{name}/record.json" for name in names]
            if all(record in self.wanted or (self.root / record).is_file() for record in found):
                return found
        return [_made(name) for name in own.reads]

    def kept_of(self, page: str) -> list[str]:
        """Files of results/ that a page shows beside its records: those that are there, and those that are made."""
        shows = experiments().page(page).shows
        if shows is None:
            return []
        there = {file.relative_to(self.root).as_posix() for file in (self.root / "results").glob(shows)}
        made = set(self.wanted) if self.full and shows == RECORDS else set()
        return sorted(file for file in there | made if "/." not in file)  # no hidden drafts

    def compared_in(self, page: str) -> list[str]:
        """Records that a page reads, refused where they will lack what it compares.

        Raises:
            LgcaError: a method that the page compares is not evaluated.
        """
        found, own = self.records_of(page), experiments().page(page)
        if self.full and set(found) & set(self.wanted) and self.datasets[0].startswith(own.compares_on):
            for method in own.compares:
                if method not in self.methods:
                    words = f"lacks {method}, which the page {page} compares: name it as well"
                    raise LgcaError(f"--config methods= {words}")
        return found

    def parameters_of(self, page: str) -> dict[str, JsonValue]:
        """Values that differ from a notebook's own; it may declare fewer parameters."""
        own = experiments().page(page)
        if own.fixed or not self.full:
            return {}
        if set(self.records_of(page)) & {_made(name) for name in self.embedded}:
            return {"wanted": "full"}
        values: dict[str, JsonValue] = {
            "profile": "full",
            "wanted": "full",
            "encoder": self.encoders[0],
            "datasets": list(own.datasets or self.datasets),
            "records": f"../results/{slug(self.encoders[0])}",
        }
        if own.methods:
            values |= {"methods": list(self.methods if self.named else own.methods), "seeds": self.seeds}
        for dataset, parameters in own.prefers.items():
            if dataset in self.datasets:
                values |= {"datasets": [dataset], **parameters}
        return values


def plan(config: Mapping[str, object], root: Path = Path()) -> Plan:
    """Plan what a `--config` asks for, in a checkout.

    Raises:
        LgcaError: a setting that is unknown, or a value that it cannot have.
    """
    profile = config.get("profile", "embedded")
    if not isinstance(profile, str) or profile not in SETTINGS:
        raise LgcaError(f"there is no profile {profile!r}: --config profile= must be {' or '.join(SETTINGS)}")
    for setting in config:
        if setting not in ["profile", *SETTINGS[profile]]:
            known = ", ".join(SETTINGS[profile])
            raise LgcaError(f"--config has no {setting!r} under the profile {profile}: it has {known}")
    usual, embedded = experiments().full, experiments().embedded
    parts = _number(config, "parts", 1)
    if profile == "embedded" and parts > 1:
        embedded = {name: evaluation.model_copy(update={"parts": parts}) for name, evaluation in embedded.items()}
    made = Plan(
        gpus=_number(config, "gpus", 0, least=0),
        encoders=_names(config, "encoders", usual.encoders),
        datasets=_names(config, "datasets", usual.datasets),
        methods=_names(config, "methods", usual.methods + usual.peers),
        named="methods" in config,
        seeds=_number(config, "seeds", usual.seeds),
        embedded=embedded,
        full={},
        root=root,
    )
    if profile == "full":
        crops, device = _number(config, "crops", usual.crops), str(config.get("device", usual.device))
        sweeps = _names(config, "sweeps", ()) if config.get("sweeps") else ()
        return replace(made, full=_full(made, crops, device, parts, sweeps))
    return made


def slug(text: str) -> str:
    """A data set or an encoder as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-")


def _full(run: Plan, crops: int, device: str, parts: int, sweeps: Names) -> dict[str, Evaluation]:
    """Evaluations of every data set with every encoder: the methods, and the sweeps after them."""
    table = experiments().sweeps
    for sweep in sweeps:
        if sweep not in table:
            raise LgcaError(f"there is no sweep {sweep!r}: --config sweeps= can name {', '.join(table)}")
    made: dict[str, Evaluation] = {}
    for encoder in run.encoders:
        for dataset in run.datasets:
            name = f"{slug(encoder)}/{slug(dataset)}"
            if name in made:
                raise LgcaError("two of encoders= or of datasets= would share a folder of results/: leave one out")
            made[name] = Evaluation(
                dataset=dataset,
                encoder=encoder,
                methods=run.methods,
                seeds=run.seeds,
                n=crops,
                device=device,
                parts=parts,
            )
            for sweep in sweeps:
                own = {"methods": _within(table[sweep].methods, crops), "seeds": table[sweep].seeds, "after": name}
                made[f"{name}-{sweep}"] = made[name].model_copy(update=own)
    return made


def _within(methods: Iterable[str], crops: int) -> Names:
    """Methods without those that are set to draw more crops than so many."""
    drawn = {method: re.search(r":n=(\d+)", method) for method in methods}
    return tuple(method for method, n in drawn.items() if n is None or int(n[1]) <= crops)


def _made(name: str) -> str:
    return f"_build/records/{name}/record.json"


def _names(config: Mapping[str, object], name: str, usual: Names) -> Names:
    """A list of `--config`, "pets,dtd" as ("pets", "dtd")."""
    default = ",".join(usual)
    names = tuple(word for word in str(config.get(name, default) or "").split(",") if word)
    if not names:
        raise LgcaError(f"--config {name}= names nothing: give at least one, or leave it out for {default}")
    return names


def _number(config: Mapping[str, object], name: str, usual: int, least: int = 1) -> int:
    """A whole number of `--config`."""
    value = config.get(name, usual)
    if type(value) is not int or value < least:  # True is an int too
        raise LgcaError(f"--config {name}={value} must be a whole number from {least} on")
    return value
