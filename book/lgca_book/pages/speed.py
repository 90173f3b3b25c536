"""How near the way from files to logits comes to the encoder alone: the table of targets, and stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lgca_book.style import NOT_AVAILABLE, OURS, name, subplots, with_sign
from lgca_core.bench.record import newest

Record = Mapping[str, Any]


class Ratio(NamedTuple):
    """Of the medians, and the least and the largest of a single turn; NaN where there are no turns."""

    value: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Target:
    """A row of the table: what is timed against what, which record tells it, and what was aimed at.

    ``wanted`` are the fields of the record, and ``workers`` the processes of the peers' loop where it is what is
    compared with; ``ratio`` is its figure, which should be at least (or at most) ``goal``.
    """

    what: str
    against: str
    wanted: Mapping[str, str | int]
    ratio: Callable[[Record], Ratio | None]
    goal: float
    form: str = "{:.3f}"
    at_most: bool = False
    workers: int | None = None


def _times(one: str, other: str) -> Callable[[Record], Ratio]:
    """How many times the seconds of one arm are those of another."""

    def ratio(record: Record) -> Ratio:
        median, seconds = record["median_seconds"], record["seconds"]
        turns = [a / b for a, b in zip(seconds[one], seconds[other], strict=True)]
        return Ratio(median[one] / median[other], min(turns), max(turns))

    return ratio


def _memory_growth(record: Record) -> Ratio | None:
    few, *more = record["peak_device_memory"].values()
    return Ratio(more[0] / few) if few and more else None


PIPELINE: dict[str, str | int] = {"benchmark": "pipeline"}
VIT_ON_GPU = PIPELINE | {"encoder": "ViT-B-32-quickgelu", "device": "cuda"}
ON_CPU = PIPELINE | {"device": "cpu", "precision": "float32"}
TEXTS: dict[str, str | int] = {"benchmark": "class-matrix", "encoder": "aviary"}
TARGETS = (
    Target(
        "files to WCA's logits, ViT-B/32, GPU", "the encoder alone", VIT_ON_GPU, _times("encoder alone", "wca"), 0.85
    ),
    Target(
        "the same",
        "the peers' loop, 16 workers",
        VIT_ON_GPU,
        _times("peers' wca", "wca"),
        5,
        "{:.1f} ×",
        workers=16,
    ),
    Target("LGCA at equal passes, GPU", "WCA", VIT_ON_GPU, _times("wca", "lgca at equal passes"), 0.95),
    Target(
        "files to WCA's logits, embedded encoder, CPU",
        "the peers' loop, 2 workers",
        ON_CPU | {"encoder": "aviary"},
        _times("peers' wca", "wca"),
        2,
        "{:.1f} ×",
        workers=2,
    ),
    Target(
        "files to WCA's logits, ViT-B/32, CPU",
        "the encoder alone",
        ON_CPU | {"encoder": "ViT-B-32-quickgelu"},
        _times("encoder alone", "wca"),
        0.95,
    ),
    Target(
        "class matrix, 1,000 classes of 50 sentences, GPU",
        "a class at a time",
        TEXTS | {"device": "cuda"},
        _times("class by class", "in one go"),
        5,
        "{:.1f} ×",
    ),
    Target(
        "the same, CPU",
        "a class at a time",
        TEXTS | {"device": "cpu"},
        _times("class by class", "in one go"),
        1.5,
        "{:.1f} ×",
    ),
    Target(
        "resampling alone, GPU, bit for bit",
        "torchvision, a crop at a time",
        {"benchmark": "resample", "device": "cuda", "size": 224},
        _times("torchvision", "all at once"),
        20,
        "{:.1f} ×",
    ),
    Target(
        "resampling and sending",
        "encoding, ViT-B/32, GPU",
        VIT_ON_GPU,
        _times("resample", "encoder alone"),
        0.05,
        at_most=True,
    ),
    Target(
        "peak GPU memory, twice the pictures", "half of them", VIT_ON_GPU, _memory_growth, 1.01, "{:.2f}", at_most=True
    ),
)


def targets(records: Sequence[Record]) -> pd.DataFrame:
    """A row a target: ``what``, ``against``, ``target``, ``measured``, ``turns``, ``reached``, ``machine``, ``utc``."""
    rows = []
    for target in TARGETS:
        workers = target.workers
        fitting = [record for record in records if workers is None or record.get("work", {}).get("workers") == workers]
        record = newest(fitting, **target.wanted)
        ratio = None if record is None else target.ratio(record)
        row = {
            "what": target.what,
            "against": target.against,
            "target": f"{'at most' if target.at_most else 'at least'} {target.form.format(target.goal)}",
            "measured": NOT_AVAILABLE,
            "turns": "",
            "reached": NOT_AVAILABLE,
            "machine": "",
            "utc": "",
        }
        if record is not None and ratio is not None:
            value, low, high = ratio
            reached = value <= target.goal if target.at_most else value >= target.goal
            row |= {
                "measured": target.form.format(value),
                "turns": "" if math.isnan(low) else f"{low:.2f} to {high:.2f}",
                "reached": "yes" if reached else "no",
                "machine": f"{machine(record)}, {record.get('precision', 'integers')}",
                "utc": record["utc"][:10],
            }
        rows.append(row)
    return pd.DataFrame(rows)


def machines_told(frame: pd.DataFrame) -> str:
    """Of `targets`: where and when each figure was measured, in a sentence a machine."""
    known = frame[frame["machine"] != ""]
    return " ".join(
        f"Measured on {machine} ({utc}): {'; '.join(part['what'])}."
        for (machine, utc), part in known.groupby(["machine", "utc"], sort=False)
    )


def machine(record: Record) -> str:
    """The accelerator, or the processor and its cores."""
    of = record["machine"]
    return of["accelerator"] or f"{of['processor']}, {of['cores']} cores"


def peers_told(records: Sequence[Record]) -> str:
    """How much faster than the peers' loop each encoder, precision and device was in its newest record, in words."""
    last = {
        (record["encoder"], record["precision"], record["device"]): record["ratios"]["times_peers"]
        for record in records
        if record["benchmark"] == "pipeline"
    }
    if not last:
        return "Beside the peers' loop nothing has been timed: *not available*."
    each = "; ".join(f"{' in '.join(of[:2])} on {of[2]} {times:.2f} times" for of, times in last.items())
    return (
        f"As fast as the peers' loop, files to logits: {each}. What is gained is what the loop spends outside the "
        "encoder, so a large encoder on a CPU gains little, and a small one much."
    )


def stages(records: Sequence[Record]) -> pd.DataFrame:
    """Of the newest pipeline of each encoder, precision, device: ``run``, ``machine``, ``stage``, ``ms`` a picture."""
    names = {
        "wca": "files to logits",
        "encoder alone": "encoder alone",
        "all but the encoder": "all but the encoder",
        "decode": "decoding, one thread",
        "resample": "resampling",
        "lgca at equal passes": f"{OURS}, files to logits",
        "peers' wca": "the peers' loop",
    }
    return pd.DataFrame(
        [
            {
                "run": run,
                "machine": machine(record),
                "stage": names[arm],
                "ms": 1000 * spent / record["work"]["pictures"],
            }
            for run, record in _pipelines(records).items()
            for arm, spent in sorted(record["median_seconds"].items(), key=lambda known: list(names).index(known[0]))
        ],
        columns=["run", "machine", "stage", "ms"],
    )


def bars(frame: pd.DataFrame) -> Figure:
    """`stages` as bars, a panel a run, each with its own scale."""
    runs = list(dict.fromkeys(frame["run"]))
    figure, axes = subplots(len(runs), 1, figsize=(5.6, 0.4 + 2.4 * len(runs)), squeeze=False, layout="constrained")
    for ax, run in zip(axes.flat, runs):
        part = frame[frame["run"] == run]
        sns.barplot(part, x="ms", y="stage", ax=ax, color=sns.color_palette()[0])
        ax.bar_label(ax.containers[0], fmt="%.1f", padding=3)
        ax.margins(x=0.25)
        ax.set(title=f"{run}\n{part['machine'].iloc[0]}", xlabel="milliseconds a picture", ylabel="")
    return figure


def resampled(records: Sequence[Record]) -> pd.DataFrame:
    """A row a way of cutting in the newest resample record of each device and size: ``crops a second``, ``ratio``."""
    names = {"all at once": "ours", "torchvision": "torchvision, a crop at a time", "pillow": "Pillow, in threads"}
    return pd.DataFrame(
        [
            {
                "on": on,
                "way": names[arm],
                "crops a second": f"{record['crops_per_second'][arm]:,.0f}",
                "ours is faster": "" if arm == "all at once" else f"{record['ratios'][f'times_{arm}']:.1f} ×",
            }
            for on, record in _resamplings(records).items()
            for arm in record["median_seconds"]
        ],
        columns=["on", "way", "crops a second", "ours is faster"],
    )


def resampled_told(records: Sequence[Record]) -> str:
    """What the newest resample records are of."""
    return _told(_resamplings(records)) or "Resampling alone is *not available*: no record of it is here."


def _resamplings(records: Sequence[Record]) -> dict[str, Record]:
    """The newest resample record of each device and size, by these."""
    last = {(r["device"], r["size"]): r for r in records if r["benchmark"] == "resample"}
    return {f"{device}, to {size} pixels": record for (device, size), record in sorted(last.items())}


def _told(found: Mapping[str, Record]) -> str:
    """Of records by what they are of: the machine of each, a machine once."""
    machines: dict[str, list[str]] = {}
    for of, record in found.items():
        machines.setdefault(machine(record), []).append(of)
    return " ".join(f"Timed on {where}: {'; '.join(of)}." for where, of in machines.items())


def tried(records: Sequence[Record]) -> pd.DataFrame:
    """A row a way to run the encoder in the newest encoding record of each encoder, precision and device."""
    names = {"open_clip": "open_clip's own model", "compiled": "ours, compiled by torch"}
    return pd.DataFrame(
        [
            {
                "encoder": run,
                "way": names.get(way, way),
                "crops a second": f"{record['crops_per_second'][way]:,.0f}",
                "against ours": "" if way == "ours" else f"{record['times_ours'][way]:.2f} ×",
            }
            for run, record in _encodings(records).items()
            for way in record["median_seconds"]
        ],
        columns=["encoder", "way", "crops a second", "against ours"],
    )


def tried_told(records: Sequence[Record]) -> str:
    """What the newest encoding records are of."""
    found = _encodings(records)
    if not found:
        return "What was tried is *not available*: no record of it is here."
    said = "; ".join(f"{run}: {record['crops']:,} crops, on {machine(record)}" for run, record in found.items())
    return f"Medians of turns ({said})."


def operators(records: Sequence[Record]) -> pd.DataFrame:
    """The profiles of the same records side by side: a row an operator of torch, a column of percent a run.

    An operator that a run does not name is among its others.
    """
    columns = {
        run: {row["operator"]: f"{100 * row['share']:.1f}" for row in record["operators"]}
        for run, record in _encodings(records).items()
    }
    rows = dict.fromkeys(row for column in columns.values() for row in column)
    return pd.DataFrame(
        [
            {"operator": row} | {f"{run}, %": column.get(row, "in others") for run, column in columns.items()}
            for row in sorted(rows, key=lambda row: row == "others")
        ]
    )


def _encodings(records: Sequence[Record]) -> dict[str, Record]:
    """The newest encoding record of each encoder, precision and device, by these."""
    found = [record for record in records if record["benchmark"] == "encoding"]
    return {f"{record['encoder']}, {record['precision']}, {record['device']}": record for record in found}


def _pipelines(records: Sequence[Record]) -> dict[str, Record]:
    """The newest pipeline of each encoder, precision and device, by these."""
    found = [record for record in records if record["benchmark"] == "pipeline"]
    return {f"{record['encoder']}, {record['precision']}, {record['device']}": record for record in found}


def precisions(records: Sequence[Record]) -> pd.DataFrame:
    """A row a method of the newest precision record of each device: what flips, and what accuracy does."""
    last = {(r["precision"], r["device"]): r for r in records if r["benchmark"] == "precision"}
    return pd.DataFrame(
        [
            {
                "precision": f"{precision}, {device}",
                "method": name(method),
                "flips of 10,000": f"{flips:.0f}",
                "accuracy, points": "{} ({} to {})".format(
                    *(
                        with_sign(points, 1)
                        for points in (record["accuracy_points"][method], *record["accuracy_interval"][method])
                    )
                ),
            }
            for (precision, device), record in last.items()
            for method, flips in record["flips_per_10000"].items()
        ],
        columns=["precision", "method", "flips of 10,000", "accuracy, points"],
    )


def precision_told(records: Sequence[Record]) -> str:
    """What the newest record of half the bits is of."""
    record = newest(records, benchmark="precision")
    if record is None:
        return "What half the bits cost is *not available*: no record of it is here."
    return (
        f"Counted on {record['pictures']:,} pictures, {record['n']} crops of each, in {record['precision']} on "
        f"{machine(record)}. A method whose scores lie close together flips more."
    )


def told(records: Sequence[Record]) -> str:
    """Which machines the records are of, and when they were made."""
    if not records:
        return "No benchmark has been recorded yet: `make bench` does it."
    machines = dict.fromkeys(machine(record) for record in records)
    days = " to ".join(dict.fromkeys([records[0]["utc"][:10], records[-1]["utc"][:10]]))
    return f"{len(records)} {'record' if len(records) == 1 else 'records'}, {days}, of {'; '.join(machines)}."
