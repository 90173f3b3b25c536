"""The plan for a `--config`: which evaluations are made, what each page is made of, and what is still current."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Literal

from pydantic import JsonValue

from lgca_book.experiments import Evaluation, Names, experiments, within
from lgca_book.places import file_of, folder_of_dataset, folder_of_encoder, told
from lgca_core.errors import LgcaError

SETTINGS = {
    "embedded": ["parts", "gpus", "repository"],
    "full": ["parts", "gpus", "datasets", "encoders", "methods", "seeds", "crops", "sweeps", "device", "repository"],
}
"""What `--config` can say under each profile; make gives its own names to the same."""

CONTENTS = "contents"
"""The setting in which the pre-flight says what lies behind each data set and checkpoint."""

RECORDS = "**/record.json"


@dataclass(frozen=True)
class Reading:
    """What a page is made of.

    Attributes:
        kind: records of the ``full`` run, those of the ``embedded`` world in their place, or ``none``: a short page.
        records: the files, as the graph names them.
        lacks: records that would have to be there for the page to show the full run.
    """

    kind: Literal["full", "embedded", "none"]
    records: list[str]
    lacks: Names = ()


@dataclass(frozen=True)
class Plan:
    """What a `--config` asks for: which evaluations are made, and what each page makes of their records.

    Attributes:
        methods: what a full run evaluates; ``named`` says whether `--config` named them.
        full: evaluations of the full run; none under the profile "embedded".
        root: the checkout, where records of earlier runs may lie.
        code: digest of the code that evaluates.
        contents: hash of what lies behind a data set (of its manifest) or a checkpoint (of its weights), by spelling.
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
    code: str
    contents: Mapping[str, str]

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """Evaluations that are made: a full run makes none of the embedded world."""
        return self.full or self.embedded

    @property
    def folder(self) -> str:
        """Where records are made; those of a full run go to results/ once they are whole."""
        return "_build/evaluated" if self.full else "_build/records"

    @property
    def wanted(self) -> list[str]:
        """Records that were asked for."""
        return [f"results/{name}/record.json" for name in self.full] or [_made(name) for name in self.embedded]

    def content_of(self, name: str) -> str:
        """What lies behind the spellings of an evaluation, as far as it is known: another content is another record.

        A tag always means the same weights, whether they are here yet or not; a path does not.
        """
        of = self.evaluations[name]
        specs = [of.dataset, *([of.encoder] if of.encoder and file_of(of.encoder) else [])]
        return " ".join(self.contents.get(spec, "") for spec in specs).strip()

    def digest_of(self, name: str) -> str:
        """Hash of all that decides an evaluation's record, kept beside it when it is made."""
        all_of_it = [self.code, (self.full | self.embedded)[name].options()]
        all_of_it += [self.content_of(name)] if name in self.full else []
        return hashlib.sha256(json.dumps(all_of_it).encode()).hexdigest()

    def is_current(self, name: str) -> bool:
        """Whether the record of an evaluation is there and nothing that decides it has changed since."""
        try:
            noted = (self.root / digest_file(name, full=name in self.full)).read_text(encoding="utf-8").strip()
        except OSError:
            return False
        record = f"results/{name}/record.json" if name in self.full else _made(name)
        return noted == self.digest_of(name) and (self.root / record).is_file()

    def parts_of(self, name: str) -> list[str]:
        """Outputs of the jobs that encode an evaluation's features; none where the evaluation encodes them itself."""
        n = self.evaluations[name].parts
        return [f"_build/features/{name}/{k}-of-{n}.json" for k in range(1, n + 1)] if n > 1 else []

    def before(self, name: str) -> list[str]:
        """The record of the evaluation that goes first, as an input.

        It orders the jobs and changes nothing else; Snakemake's `ancient()` would suppress other reasons to rerun.
        """
        after = self.evaluations[name].after
        return [] if after is None else [f"{self.folder}/{after}/record.json"]

    def reading(self, page: str) -> Reading:
        """What a page is made of.

        In a full run the records of the full run, where all that it needs are made or there and of the same pictures
        and weights; else those of the embedded world, where these are there and current; else nothing.
        """
        own = experiments().page(page)
        embedded = [_made(name) for name in own.reads]
        if not self.full:
            return Reading("embedded", embedded)
        current = [_made(name) for name in own.reads if self.is_current(name)]
        if own.fixed:
            return Reading("embedded", current)
        datasets = {folder_of_dataset(dataset): dataset for dataset in own.datasets or self.datasets}
        found = {
            f"results/{folder_of_encoder(self.encoders[0])}/{pattern.format(dataset=name)}/record.json": dataset
            for pattern in own.full
            for name, dataset in datasets.items()
        }
        lacks = tuple(record for record, dataset in found.items() if not self._serves(record, dataset))
        if not lacks:
            return Reading("full", list(found))
        return Reading("embedded", embedded, lacks) if current == embedded else Reading("none", [], lacks)

    def _serves(self, record: str, dataset: str) -> bool:
        """Whether a record is made, or is there and of these pictures and this encoder, as far as either is known."""
        if record in self.wanted:
            return True
        try:
            said = json.loads((self.root / record).read_text(encoding="utf-8"))
            found = said["dataset"]["manifest_sha256"], said["encoder"]["weights_sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        known = self.contents.get(dataset), self.contents.get(self.encoders[0])
        return all(of is None or of == by for of, by in zip(known, found, strict=True))

    def how_to_get(self, page: str) -> str:
        """The command that makes what a page lacks; places of this machine are not shown."""
        own = experiments().page(page)
        words = [f"DATASETS={','.join(own.datasets or [told(dataset) for dataset in self.datasets])}"]
        words += [f"ENCODERS={told(self.encoders[0])}"]
        sweeps = [pattern.partition("{dataset}-")[2] for pattern in own.full if "{dataset}-" in pattern]
        words += [f"SWEEPS={','.join(sweeps)}"] if sweeps else []
        return " ".join(["make reproduce", *map(quote, words)])

    def kept_of(self, page: str) -> list[str]:
        """Files of results/ that a page shows beside its records: those that are there, and those that are made."""
        shows = experiments().page(page).shows
        if shows is None:
            return []
        there = {file.relative_to(self.root).as_posix() for file in (self.root / "results").glob(shows)}
        made = set(self.wanted) if self.full and shows == RECORDS else set()
        return sorted(file for file in there | made if "/." not in file)  # no hidden drafts

    def missing_told(self, page: str) -> str:
        """What a page says that can show neither the full run nor the embedded world, in Markdown."""
        lacks = ", ".join(f"`{record.removesuffix('/record.json')}`" for record in self.reading(page).lacks)
        return (
            "**Not in this edition.** This page shows records that are not there, or are of other pictures or weights: "
            f"{lacks}. To make them, and this page with them:\n\n```bash\n{self.how_to_get(page)}\n```\n\n"
            "`make book` shows the page on the embedded world."
        )

    def compared_in(self, page: str) -> list[str]:
        """Records that a page reads, refused where they will lack what it compares.

        Raises:
            LgcaError: a method that the page compares is not evaluated.
        """
        found, own = self.reading(page).records, experiments().page(page)
        if self.full and set(found) & set(self.wanted) and self.datasets[0].startswith(own.compares_on):
            for method in own.compares:
                if method not in self.methods:
                    words = f"lacks {method}, which the page {page} compares: name it as well"
                    raise LgcaError(f"methods= {words}")
        return found

    def parameters_of(self, page: str) -> dict[str, JsonValue]:
        """Values that differ from a notebook's own; it may declare fewer parameters."""
        own = experiments().page(page)
        if own.fixed or not self.full:
            return {}
        if self.reading(page).kind == "embedded":
            return {"wanted": "full"}
        values: dict[str, JsonValue] = {
            "profile": "full",
            "wanted": "full",
            "encoder": self.encoders[0],
            "datasets": list(own.datasets or self.datasets),
            "records": f"../results/{folder_of_encoder(self.encoders[0])}",
        }
        if own.methods:
            values |= {"methods": list(self.methods if self.named else own.methods), "seeds": self.seeds}
        for dataset in self.datasets:
            if parameters := own.prefers.get(folder_of_dataset(dataset)):
                values |= {"datasets": [dataset], **parameters}
        return values


def plan(config: Mapping[str, object], root: Path = Path(), code: str = "") -> Plan:
    """Plan what a `--config` asks for, in a checkout whose evaluating code has a digest.

    Raises:
        LgcaError: a setting that is unknown, or a value that it cannot have.
    """
    profile = config.get("profile", "embedded")
    if not isinstance(profile, str) or profile not in SETTINGS:
        raise LgcaError(f"there is no profile {profile!r}: profile= must be {' or '.join(SETTINGS)}")
    for setting in config:
        if setting not in ["profile", CONTENTS, *SETTINGS[profile]]:
            known = ", ".join(SETTINGS[profile])
            raise LgcaError(f"there is no setting {setting!r} under the profile {profile}: there are {known}")
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
        code=code,
        contents=_contents(config),
    )
    if profile == "full":
        crops, device = _number(config, "crops", usual.crops), str(config.get("device", usual.device))
        sweeps = _names(config, "sweeps", ()) if config.get("sweeps") else ()
        return replace(made, full=_full(made, crops, device, parts, sweeps))
    return made


def digest_file(name: str, *, full: bool) -> str:
    """The file that keeps :meth:`Plan.digest_of` of the record that was made."""
    return f"_build/digests/{'full' if full else 'embedded'}/{name}.txt"


def _full(run: Plan, crops: int, device: str, parts: int, sweeps: Names) -> dict[str, Evaluation]:
    """Evaluations of every data set with every encoder: the methods, and the sweeps after them."""
    table = experiments().sweeps
    for sweep in sweeps:
        if sweep not in table:
            raise LgcaError(f"there is no sweep {sweep!r}: sweeps= can name {', '.join(table)}")
    made: dict[str, Evaluation] = {}
    for encoder in run.encoders:
        for dataset in run.datasets:
            name = f"{folder_of_encoder(encoder)}/{folder_of_dataset(dataset)}"
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
                own = {"methods": within(table[sweep].methods, crops), "seeds": table[sweep].seeds, "after": name}
                made[f"{name}-{sweep}"] = made[name].model_copy(update=own)
    if len(made) < len(run.encoders) * len(run.datasets) * (1 + len(sweeps)):
        raise LgcaError(_shared(run, sweeps))
    return made


def _shared(run: Plan, sweeps: Names) -> str:
    """Which two would share a folder of results/, and what to do about it."""
    endings = ["", *(f"-{sweep}" for sweep in sweeps)]
    ways = {
        "encoders": [(spec, folder_of_encoder(spec)) for spec in run.encoders],
        "datasets": [(f"{spec}{end}", f"{folder_of_dataset(spec)}{end}") for spec in run.datasets for end in endings],
    }
    for setting, named in ways.items():
        seen: dict[str, str] = {}
        for spec, folder in named:
            if folder in seen:
                return (
                    f"{seen[folder]} and {spec} of {setting}= would share the folder {folder} of results/: "
                    "leave one out, or give its file or folder another name"
                )
            seen[folder] = spec
    raise AssertionError("every evaluation has a folder of its own")


def _made(name: str) -> str:
    return f"_build/records/{name}/record.json"


def _contents(config: Mapping[str, object]) -> dict[str, str]:
    found = config.get(CONTENTS) or {}
    if not isinstance(found, Mapping):
        raise LgcaError("contents= must give hashes by spelling: leave it out, the pre-flight writes it")
    return {str(spec): str(content) for spec, content in found.items()}


def _names(config: Mapping[str, object], name: str, usual: Names) -> Names:
    """A list of `--config`, "pets,dtd" as ("pets", "dtd")."""
    given = config.get(name, usual)
    words = given if isinstance(given, list | tuple) else str(given or "").split(",")
    names = tuple(str(word).strip() for word in words if str(word).strip())
    if not names:
        raise LgcaError(f"{name}= names nothing: give at least one, or leave it out for {','.join(usual)}")
    return names


def _number(config: Mapping[str, object], name: str, usual: int, least: int = 1) -> int:
    """A whole number of `--config`."""
    value = config.get(name, usual)
    if type(value) is not int or value < least:  # True is an int too
        raise LgcaError(f"{name}={value} must be a whole number from {least} on")
    return value
