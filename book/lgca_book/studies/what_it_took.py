"""What it took, and what it would take, to run everything again: passes, seconds, bytes, hours.

What was run is read from records. What was not is told by formula as far as one goes, in passes and bytes; hours on a
machine are passes divided by what a record measured on such a machine, and unknown (NaN) where there is none.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from lgca_book.experiments import experiments
from lgca_core.data.sources import SOURCES
from lgca_core.errors import LgcaError
from lgca_core.evaluation.machine import money
from lgca_core.evaluation.paper_values import encoder_name
from lgca_core.evaluation.record import Record, load_found

PAGES = {name: page.reads for name, page in experiments().pages.items() if page.again}
"""Which records of the embedded world each page of results reads."""

FULL = {name: page.again for name, page in experiments().pages.items() if page.again}
"""The command that makes records of real data sets for each of these pages."""

PASSES_OF_ALL = 1020
STORED_OF_ALL = 1155
"""Encoder passes and stored crops a picture of all methods together, 60 crops, five seeds, no crop encoded twice: on a
picture of usual size. Counted, not computed, since boxes that coincide are shared; a test counts them again."""


def crop_bytes(width: int) -> int:
    """Of a stored crop: its vector in float16, its box in four int32."""
    return 2 * width + 4 * 4


def records_in(folder: Path | str) -> dict[str, Record]:
    """The records of a folder by their place in it, such as ``aviary`` or ``aviary-crops``; none where no folder is.

    Raises:
        LgcaError: a record that is damaged.
    """
    return {name: record for name, (record, _) in load_found(folder).items()}


def rates(record: Record) -> list[tuple[str, float]]:
    """Device, and encoder passes a second, of each process that encoded: the evaluation and its parts.

    Scoring and reading are included, so that it is less than the machine can do where crops were in the store.
    """
    done = [(item.device, item.image_passes, item.seconds) for item in record.processes]
    return [(device, passes / seconds) for device, passes, seconds in done if device is not None and passes]


def evaluations(records: Mapping[str, Record], price_per_hour: float | None = None) -> pd.DataFrame:
    """What each record took: a row a record, in the order given.

    Columns: ``record``; ``pictures``; ``runs`` (methods and seeds); ``alone``, the passes that they would take one by
    one; ``passes``, what was encoded for it (crops that methods share once, crops of the store not at all), in its
    parts too; ``seconds``, of all processes together; ``rate`` (passes a second of one, NaN where none was); ``memory``
    (peak bytes of the largest process); ``money``.
    """
    columns = ["record", "pictures", "runs", "alone", "passes", "seconds", "rate", "memory", "money"]
    rows = [
        (
            name,
            record.dataset.count,
            len(record.runs),
            round(sum(run.passes_per_image * run.total for run in record.runs)),
            record.image_passes_in_all,
            record.seconds_in_all,
            record.image_passes_in_all / record.seconds_in_all if record.image_passes_in_all else math.nan,
            max(process.peak_memory for process in record.processes),
            money(record.seconds_in_all, price_per_hour),
        )
        for name, record in records.items()
    ]
    return pd.DataFrame(rows, columns=columns)


def pages(records: Mapping[str, Record], reads: Mapping[str, Sequence[str]] = PAGES) -> pd.DataFrame:
    """What the records behind each page took: page, records (names), passes, seconds; NaN where one is missing.

    Records that several pages read are counted for each.
    """
    rows = []
    for page, names in reads.items():
        own = [records[name] for name in names if name in records]
        whole = len(own) == len(names)
        rows.append(
            {
                "page": page,
                "records": ", ".join(names),
                "passes": float(sum(record.image_passes_in_all for record in own)) if whole else math.nan,
                "seconds": sum(record.seconds_in_all for record in own) if whole else math.nan,
            }
        )
    return pd.DataFrame(rows)


def machines(records: Mapping[str, Record]) -> pd.DataFrame:
    """On what the records were made: device, encoder, records (how many), rate (the highest; NaN where none is known).

    The highest, because a store that held crops, or other work on the machine, can only lower what a process shows.
    """
    rows = [
        {
            "device": re.sub(r"^cuda:\d+", "cuda", device),
            "encoder": encoder_name(record.encoder),
            "record": name,
            "rate": passes_per_second,
        }
        for name, record in records.items()
        for device, passes_per_second in [(record.device, math.nan), *rates(record)]
    ]
    frame = pd.DataFrame(rows, columns=["device", "encoder", "record", "rate"])
    grouped = frame.groupby(["device", "encoder"], sort=False, as_index=False)
    return grouped.agg(records=("record", "nunique"), rate=("rate", "max"))


def full(
    passes_a_picture: int = PASSES_OF_ALL,
    stored_a_picture: int = STORED_OF_ALL,
    *,
    width: int = 512,
    passes_per_second: float = math.nan,
    price_per_hour: float | None = None,
) -> pd.DataFrame:
    """What each published data set would take: a row each, by formula.

    Columns: ``dataset``; ``pictures``; ``download`` (as rounded in the table); ``passes``; ``bytes`` of features in the
    store; ``hours`` and ``money``, NaN where no rate, or no price, is known.

    Args:
        passes_a_picture, stored_a_picture: of what is to be run; all methods and five seeds by default.
        width: of a vector. passes_per_second: measured, see :func:`rates`.

    Raises:
        LgcaError: a rate that is not above zero.
    """
    if passes_per_second <= 0:
        raise LgcaError(f"passes a second must be above zero, got {passes_per_second}")
    rows = []
    for name, source in SOURCES.items():
        passes = source.images * passes_a_picture
        hours = passes / passes_per_second / 3600
        rows.append(
            {
                "dataset": name,
                "pictures": source.images,
                "download": source.download,
                "passes": passes,
                "bytes": source.images * stored_a_picture * crop_bytes(width),
                "hours": hours,
                "money": money(3600 * hours, price_per_hour),
            }
        )
    return pd.DataFrame(rows)


def rate_of(records: Mapping[str, Record], encoder: str) -> float:
    """Passes a second of an encoder on a GPU, the highest that a record shows; NaN where there is none."""
    found = [
        passes_per_second
        for record in records.values()
        if encoder_name(record.encoder) == encoder
        for device, passes_per_second in rates(record)
        if device.startswith("cuda")
    ]
    return float(pd.Series(found, dtype=float).max())
