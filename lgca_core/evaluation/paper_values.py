"""The papers' values, row by row with their sources, and how our records compare with them.

The numbers lie beside this module, in :data:`TABLES`. LGCA's own table could not be consulted: its cells are absent
and are said to be so, never shown as a blank or a zero. Accuracies are top-1 in percent, differences in points.

**The tolerance** was fixed before any full run, from what is known of the papers' protocol and not from results:

- 0.5 points for every method. The pictures, weights and prompts are the papers' own, so what remains is printing (at
  most 0.05 points), half against single precision, and image libraries, which decode and resize a little otherwise.
  Half precision moves about ten predictions in a thousand (`lgca bench official-wca` counts them), some for the better
  and some for the worse. A wrong protocol costs more: a missing QuickGELU about 4 points.
- and twice the published standard deviation, where a method draws at random and its deviation is published.
- and 0.5 points more, where a method draws at random and no deviation is published: Waffle, LaZSL, and WCA on
  ImageNet's variants.

It does not depend on our own numbers: a noisy run earns no wider one. Nor does the 95 % interval enter the verdict. It
says how far another draw of *pictures* might move ours, but the papers score the same pictures; on DTD's 1880 it spans
more than 4 points, and would excuse almost anything. And ``within`` says that a number is repeated, not a ranking:
neighbouring methods of the published table are half a point apart as often as not, so whether one beats another is for
the paired tests of :func:`lgca_core.evaluation.statistics.summary` to say.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from lgca_core.data.sources import SOURCES
from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.evaluation.parts import EncoderInfo
from lgca_core.evaluation.record import Record

TABLES = tuple(
    Path(__file__).with_name(name) for name in ("published_zero_shot.csv", "published_out_of_distribution.csv")
)

PAPERS_DATASETS: dict[str, str] = {
    "ImageNet": "imagenet",
    "CUB": "cub",
    "OxfordPets": "pets",
    "DTD": "dtd",
    "Food101": "food101",
    "Places365": "places365",
    "Places365 (365 names)": "places365-distinct",
    "ImageNet-V2": "imagenet-v2",
    "ImageNet-R": "imagenet-r",
    "ImageNet-Sketch": "imagenet-sketch",
    "ImageNet-A": "imagenet-a",
}
"""The papers' name of a data set -> ours. Places365 is the protocol of WCA's code, with 344 distinct names. LaZSL's
code has a name for each of the 365 classes, as `places365-distinct` has, but names of its own."""

PUBLISHED_PICTURES: dict[str, int] = {name: source.images for name, source in SOURCES.items()}
"""How many pictures the published split holds. A record of fewer is no full run, and gets no verdict."""

ENCODERS: dict[str, str] = {
    "ViT-B/32": "ViT-B-32-quickgelu:openai",
    "ViT-B/16": "ViT-B-16-quickgelu:openai",
    "ViT-L/14": "ViT-L-14-quickgelu:openai",
}
"""The papers' name of a backbone -> our encoder: OpenAI's weights, which need QuickGELU."""

ARCHIVES: dict[str, str] = {
    "ViT-B-32-quickgelu:openai": "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "ViT-B-16-quickgelu:openai": "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    "ViT-L-14-quickgelu:openai": "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
}
"""sha256 of the archive that OpenAI published, by which an encoder loaded from a file of any name is known."""

TERMS = "MIT: the LICENSE of github.com/openai/CLIP, whose code downloads these weights; it does not name the weights"
"""Under which licence OpenAI's weights are."""

PAPERS_METHODS: dict[str, str] = {
    "clip": "CLIP",
    "clip-e": "CLIP-E",
    "clip-d": "CLIP-D",
    "waffle": "Waffle",
    "cupl": "CuPL",
    "wca": "WCA",
    "wca-released": "WCA",
    "lazsl-d": "LaZSL",
    "lgca": "LGCA",
}
"""Our method -> the papers' name. WCA as written and as released differ, and the paper has one number for both; LaZSL's
paper reads short descriptors."""

REPEATED_BY_SETTINGS = frozenset({"wca-released", "lazsl-d"})
"""Our methods whose published protocol needs settings in the name on some data set: ``wca-released:pool=60`` on
ImageNet, ``lazsl-d:n=90:alpha=0.6`` everywhere."""

DRAWN = frozenset({"Waffle", "WCA", "LaZSL", "LGCA"})
"""The papers' methods that draw at random: words or crops."""

NOT_RUN: dict[str, str] = {
    "CoOp": "learns prompts from labelled pictures",
    "CoCoOp": "learns prompts from labelled pictures",
    "UPT": "learns prompts from labelled pictures",
    "ProGrad": "learns prompts from labelled pictures",
    "KgCoOp": "learns prompts from labelled pictures",
    "TPT": "tunes a prompt at test time",
    "DiffTPT": "tunes a prompt at test time",
}
"""Published methods that are not zero-shot classification without training, and are not run here: why."""

Verdict = Literal["within", "above", "below", "not available"]


# ---- what is published -------------------------------------------------------------------------------------


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: str
    dataset: str
    backbone: str
    top1_percent: float = Field(gt=0, le=100)
    std_percent: float | None = Field(default=None, ge=0, le=100)
    source: str = Field(pattern=r"\S")

    @field_validator("method", "dataset", "backbone")
    @classmethod
    def _known(cls, name: str, field: Any) -> str:
        known = {"method": {*PAPERS_METHODS.values(), *NOT_RUN}, "dataset": PAPERS_DATASETS, "backbone": ENCODERS}[
            field.field_name
        ]
        if name not in known:
            raise ValueError(f"{name!r} is not known here")
        return name


def read(file: Path | str) -> pd.DataFrame:
    """Published numbers of one CSV file; columns as :func:`table`, ``std_percent`` NaN where a row has none.

    Raises:
        LgcaError: a row without a source, of an unknown method, data set or backbone, or with a number out of
            range: the line and the field are named.
    """
    with Path(file).open(encoding="utf-8", newline="") as stream:
        lines = csv.DictReader(stream, restkey="more than the heading's fields")
        rows = []
        for line in lines:
            try:
                row = _Row.model_validate({key: value for key, value in line.items() if value != ""})
            except ValidationError as error:
                first = error.errors()[0]
                problem = first["msg"].removeprefix("Value error, ")
                where = f"{file}, line {lines.line_num}"
                raise LgcaError(f"{where}: {'.'.join(map(str, first['loc']))}: {problem}") from error
            rows.append(row.model_dump())
    return pd.DataFrame(rows, columns=list(_Row.model_fields)).astype({"std_percent": "float64"})


def merge(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a method, data set and backbone: a cell printed in two tables keeps its number and both sources.

    Raises:
        LgcaError: two rows of a cell give different numbers.
    """
    rows = []
    for key, cell in frame.groupby(["method", "dataset", "backbone"], sort=False):
        for column in ("top1_percent", "std_percent"):
            if cell[column].nunique() > 1:
                raise LgcaError(f"{', '.join(key)}: {column} is published as {' and as '.join(map(str, cell[column]))}")
        spread = cell["std_percent"].max()  # of the rows that give one
        sources = "; ".join(dict.fromkeys(cell["source"]))
        rows.append((*key, cell["top1_percent"].iloc[0], spread, sources))
    return pd.DataFrame(rows, columns=frame.columns)


@cache
def _table() -> pd.DataFrame:
    return merge(pd.concat([read(file) for file in TABLES], ignore_index=True))


def table() -> pd.DataFrame:
    """Every published number, a row a method, data set and backbone, by the papers' names.

    Columns: ``method``, ``dataset``, ``backbone``; ``top1_percent``, in (0, 100]; ``std_percent``, as published, NaN
    where none is; ``source``, never empty. Checked as it is read (:func:`read`, :func:`merge`).
    """
    return _table().copy()


# ---- compared with ours ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tolerance:
    """How far ours may lie from a published value and still agree with it. The defaults are the ones fixed beforehand.

    Attributes:
        points: for every method, in points.
        stds: published standard deviations on top.
        unpublished: points on top for a method that draws at random and publishes no deviation.
    """

    points: float = 0.5
    stds: float = 2.0
    unpublished: float = 0.5

    def of(self, method: str, std: float) -> float:
        """In points, for a published `method` with the deviation `std`, NaN where none is published."""
        if not math.isnan(std):
            return self.points + self.stds * std
        return self.points + (self.unpublished if method in DRAWN else 0.0)


TOLERANCE = Tolerance()


def verdict(difference: float, tolerance: float) -> Verdict:
    """``within`` where the difference, in points, is at most the tolerance either way; NaN is ``not available``."""
    if math.isnan(difference) or math.isnan(tolerance):
        return "not available"
    if abs(difference) <= tolerance + 1e-9:  # 64.01 - 63.51 is more than 0.5 in binary
        return "within"
    return "above" if difference > 0 else "below"


COMPARISON = (
    "dataset", "encoder", "method", "paper", "paper_std", "ours", "low", "high", "tied", "seeds", "difference",
    "tolerance", "verdict", "note", "record", "source",
)  # fmt: skip
"""Columns of :func:`compare`, in order."""


def compare_with_papers(
    records: Mapping[str, tuple[Record, pd.DataFrame]], tolerance: Tolerance = TOLERANCE
) -> pd.DataFrame:
    """The papers beside our records: a row for every method on every published data set and encoder, and for every
    other method, data set or encoder that a record holds; several records of one cell are several rows.

    Columns: ``dataset``, ``encoder``, ``method``, by our names; ``paper`` and ``paper_std``, published; ``ours``, mean
    over ``seeds``, with its 95 % bootstrap interval over pictures ``low`` to ``high``; ``tied``, whether ours is the
    best of its record or tied with it (`statistics.summary`); ``difference``, ours minus paper, and the
    ``tolerance`` it is held to; ``verdict``: ``within``, ``above``, ``below`` or ``not available``; ``note``, why a
    record that is there gets no verdict (of a part of the pictures, or with prompts of its own, or with other settings
    than the paper's), else empty; ``record``, its key in `records`; ``source`` of the paper's value. Accuracies in
    percent, differences in points. What the papers or we do not have is NaN, or None where it is no number.

    Args:
        records: name -> record and predictions, as :func:`lgca_core.evaluation.record.load` gives them.
    """
    paper = {
        (PAPERS_DATASETS[row.dataset], ENCODERS[row.backbone], method): row
        for row in _table().itertuples()
        for method, name in PAPERS_METHODS.items()
        if name == row.method
    }
    groups = {(dataset, encoder) for dataset, encoder, _ in paper}
    cells: dict[tuple[str, str, str], list[dict[str, Any]]] = {
        (*group, method): [] for group in groups for method in PAPERS_METHODS
    }
    for name, (record, predictions) in records.items():
        encoder = encoder_name(record.encoder)
        for row in statistics.summary(record, predictions, None).to_dict("records"):
            ours = {
                "ours": 100 * row["top1"],
                "low": 100 * row["low"],
                "high": 100 * row["high"],
                "tied": row["tied"],
                "seeds": row["seeds"],
                "note": _unlike(record, row["method"]),
                "record": name,
            }
            cells.setdefault((record.dataset.name, encoder, row["method"]), []).append(ours)
    rows = []
    for cell in sorted(cells, key=_place):
        known: dict[str, Any] = dict(zip(("dataset", "encoder", "method"), cell))
        if row := paper.get((*cell[:2], _published_as(cell[2]))):
            known |= {"paper": row.top1_percent, "paper_std": row.std_percent, "source": row.source}
            known["tolerance"] = tolerance.of(row.method, row.std_percent)
        for ours in cells[cell] or [{"note": ""}]:
            like = not ours["note"]
            difference = ours.get("ours", math.nan) - known.get("paper", math.nan) if like else math.nan
            judged = verdict(difference, known.get("tolerance", math.nan))
            rows.append(known | ours | {"difference": difference, "verdict": judged})
    numbers = dict.fromkeys(("paper", "paper_std", "ours", "low", "high", "difference", "tolerance"), "float64")
    frame = pd.DataFrame(rows, columns=list(COMPARISON)).astype(numbers | {"seeds": "Int64"})
    texts = ["tied", "record", "source"]
    frame[texts] = frame[texts].astype(object).where(frame[texts].notna(), None)
    return frame


def encoder_name(info: EncoderInfo) -> str:
    """The encoder's name; that of the published weights where a file of another name holds them."""
    for name, sha256 in ARCHIVES.items():
        if info.weights_sha256 == sha256 and info.name.split(":")[0] == name.split(":")[0]:
            return name
    return info.name


def _place(cell: tuple[str, str, str]) -> tuple[Any, ...]:
    """Sorts as the papers do, and what they do not have behind, by name."""
    known = (list(PUBLISHED_PICTURES), list(ENCODERS.values()), list(PAPERS_METHODS))
    return tuple((order.index(name) if name in order else len(order), name) for name, order in zip(cell, known))


def _settings(method: str, dataset: str) -> dict[str, JsonValue]:
    """Settings that a run's configuration must have to be the published protocol."""
    if method == "wca":
        return {"n": 60, "alpha": SOURCES[dataset].alpha, "beta": 0.9}
    if method == "wca-released":
        known: dict[str, JsonValue] = {"n": 60, "alpha": 0.1, "beta": 0.9}
        pool = SOURCES[dataset].released_pool  # not known of ImageNet-R, -A and -Sketch
        return known if pool is None else known | {"pool": pool}
    if method == "lazsl-d":
        return {"n": 90, "alpha": 0.6, "beta": 0.9}
    return {}


def _published_as(method: str) -> str:
    """The method whose published cell a name with settings may stand beside: ``wca-released:pool=60`` is WCA's on
    ImageNet. Any other name is its own."""
    base = method.split(":")[0]
    return base if base in REPEATED_BY_SETTINGS else method


def _unlike(record: Record, method: str) -> str:
    """Why a method of a record is not what the papers ran; empty where it is, as far as the record tells."""
    dataset, published = record.dataset, _published_as(method)
    if dataset.name not in PUBLISHED_PICTURES or published not in PAPERS_METHODS:
        return ""
    if published == "lazsl-d" and dataset.name == "places365-distinct":
        return "read other names than LaZSL's for the classes that share one"
    own = record.parameters.get("own_prompts")
    if isinstance(own, list) and any(run.method == method and run.config.get("prompts") in own for run in record.runs):
        return "was made with prompts of its own"
    read, all_of_them = dataset.count - len(record.skipped), PUBLISHED_PICTURES[dataset.name]
    if read != all_of_them:
        return f"scored {read} pictures, not the split's {all_of_them}"
    for run in record.runs:
        crops = run.config.get("wca", run.config)
        for setting, value in _settings(published, dataset.name).items():
            if run.method == method and isinstance(crops, dict) and crops.get(setting) != value:
                return f"ran with {setting} = {crops.get(setting)}, not the published {value}"
    return ""
