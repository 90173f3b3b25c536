"""What a report of a record says: its facts, tables, confusions and hardest pictures, before they are laid out."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import JsonValue

from lgca_core.box_plans import draw
from lgca_core.errors import LgcaError
from lgca_core.evaluation import metrics, statistics
from lgca_core.evaluation.record import Record
from lgca_core.files import hash_of
from lgca_core.lgca import LGCA
from lgca_core.pixels.pictures import open_picture
from lgca_core.wca import WCA

NOT_KNOWN = "not available"
MOST_CLASSES = 40
"""Of more classes a confusion is told by its most frequent pairs, not drawn."""

PAIRS = 20
PICTURES = 12
MOST_BOXES = 1000
"""Of more crops none is drawn: nothing of the picture would be seen."""


@dataclass(frozen=True)
class HardPicture:
    """A picture that is answered wrongly; ``image`` is None where it could not be found again, and ``missing`` why.

    ``boxes`` (top, left, height, width) in its pixels are the crops that the method began with, of its first seed.
    """

    path: str
    label: str
    prediction: str
    wrong: float
    image: Image.Image | None
    boxes: list[list[int]]
    missing: str = ""


@dataclass(frozen=True)
class RecordReport:
    """The contents of a report; the columns of ``table`` are ready to be shown."""

    record: Record
    method: str
    facts: dict[str, str]
    table: list[dict[str, str]]
    classes: pd.DataFrame
    confusion: np.ndarray | None
    pairs: pd.DataFrame
    reliability: pd.DataFrame
    pictures: list[HardPicture]
    notes: list[str]


def report_of(
    record: Record, predictions: pd.DataFrame, *, method: str | None = None, images: Path | None = None
) -> RecordReport:
    """Put a report together.

    Args:
        method: which one is looked at closely; the best by top-1 if None.
        images: folder of the pictures, to draw the hardest; they are found by path and told by their hash.

    Raises:
        LgcaError: the record has no such method, or there is no such folder.
    """
    if images is not None and not os.path.isdir(images):
        raise LgcaError(f"{images} is not a folder: give the one that holds the record's pictures")
    beside = metrics.metrics(predictions)
    chosen = method or str(beside.loc[beside["top1"].idxmax(), "method"])
    own = metrics.of_method(predictions, chosen)
    classes = record.dataset.classes
    hard = metrics.hardest(own, chosen, PICTURES)
    config = {run.seed: run.config for run in record.runs if run.method == chosen}
    seed = min(config)
    notes = []
    if images is None and len(hard):
        notes.append("The hardest pictures are not drawn: the report was made without --images.")
    pictures = [_hard_picture(row, images, config[seed], seed) for row in hard.to_dict("records")]
    if images is not None and (lost := [of for of in pictures if of.image is None]):
        notes.append(f"{len(lost)} of the {len(pictures)} hardest pictures could not be drawn; why is said of each.")
    return RecordReport(
        record=record,
        method=chosen,
        facts=facts(record),
        table=_table(record, predictions, beside),
        classes=metrics.by_class(own).sort_values(["accuracy", "label"], kind="stable", ignore_index=True),
        confusion=metrics.confusion(own, chosen, classes).to_numpy() if len(classes) <= MOST_CLASSES else None,
        pairs=metrics.confused(own).head(PAIRS),
        reliability=metrics.reliability(own),
        pictures=pictures,
        notes=notes,
    )


def facts(record: Record) -> dict[str, str]:
    """The fields of a record beside its accuracies, in words."""

    def memory(size: int) -> str:
        return f"{size / 2**30:.2f} GiB"

    dataset, encoder = record.dataset, record.encoder
    read = dataset.count - len(record.skipped)
    state = {None: "", True: ", with changes that are not committed", False: ", clean"}[record.dirty]
    scale = NOT_KNOWN if encoder.logit_scale is None else f"{encoder.logit_scale:.4g}"
    return {
        "made": f"{record.utc:%Y-%m-%d %H:%M:%S} UTC",
        "commit": f"{record.commit or 'not known: the code ran outside a checkout'}{state}",
        "data set": f"{dataset.name}, split {dataset.split}: {read} pictures scored, {len(record.skipped)} skipped, "
        f"{len(dataset.classes)} classes",
        "manifest sha256": dataset.manifest_sha256,
        "prompts sha256": record.prompts_sha256,
        "encoder": f"{encoder.name}, {encoder.activation or 'activation not known'}, {encoder.precision}",
        "weights sha256": encoder.weights_sha256 or "not known",
        "logit scale": scale + ("" if encoder.logit_bias is None else f", bias {encoder.logit_bias:.4g}"),
        "predictions sha256": record.predictions_sha256 or "not known",
        "seeds": ", ".join(map(str, record.seeds)),
        "resize": record.resize,
        "device": record.device,
        "seconds": f"{record.seconds:.1f}",
        "images/s": f"{record.images_per_second:.1f}",
        "encoder passes": f"{record.image_passes} of crops, {record.text_passes} of sentences",
        "its parts": _parts(record),
        "peak memory": memory(record.peak_memory),
        "peak device memory": NOT_KNOWN if record.peak_device_memory is None else memory(record.peak_device_memory),
        "libraries": ", ".join(f"{name} {version}" for name, version in record.libraries.items()),
        "parameters": json.dumps(record.parameters, ensure_ascii=False),
    }


def _parts(record: Record) -> str:
    """The parts that other processes encoded before the evaluation, in words."""
    if not record.parts:
        return "none"
    crops, texts = (sum(passes) for passes in zip(*((of.image_passes, of.text_passes) for of in record.parts)))
    seconds = record.seconds_in_all - record.seconds
    return f"{len(record.parts)}, with {crops} passes of crops, {texts} of sentences, in {seconds:.1f} s together"


def _table(record: Record, predictions: pd.DataFrame, beside: pd.DataFrame) -> list[dict[str, str]]:
    def percent(value: float, form: str = ".1f") -> str:
        return NOT_KNOWN if math.isnan(value) else format(100 * value, form)

    baseline = "wca" if "wca" in {run.method for run in record.runs} else None
    rows = []
    for row in statistics.summary(record, predictions, baseline).merge(beside.drop(columns="top1")).to_dict("records"):
        cells = {
            "method": str(row["method"]),
            "top-1 %": percent(row["top1"]),
            "95 % interval": f"{percent(row['low'])} to {percent(row['high'])}",
            "balanced %": percent(row["balanced"]),
            "top-5 %": percent(row["top5"]),
            "calibration error": NOT_KNOWN if math.isnan(row["ece"]) else f"{row['ece']:.3f}",
            "seeds": str(row["seeds"]),
            "passes/image": f"{row['passes']:g}",
        }
        if baseline:
            low, high = percent(row["difference_low"], "+.1f"), percent(row["difference_high"], "+.1f")
            own = row["method"] == baseline
            cells["minus wca (points)"] = "" if own else f"{percent(row['difference'], '+.1f')} ({low} to {high})"
            low, high = percent(row["classes_low"], "+.1f"), percent(row["classes_high"], "+.1f")
            cells["over classes"] = "" if own else NOT_KNOWN if low == NOT_KNOWN else f"{low} to {high}"
        rows.append(cells)
    return rows


def _hard_picture(row: Mapping[str, Any], images: Path | None, config: dict[str, JsonValue], seed: int) -> HardPicture:
    told = {
        "path": row["path"],
        "label": row["label_name"],
        "prediction": row["prediction_name"],
        "wrong": row["wrong"],
    }
    if images is None:
        return HardPicture(**told, image=None, boxes=[])
    try:
        image = open_picture(found_again(images, row["path"], row["image"]))
    except LgcaError as error:
        return HardPicture(**told, image=None, boxes=[], missing=str(error))
    return HardPicture(**told, image=image, boxes=_first_boxes(config, seed, image.height, image.width, row["image"]))


def found_again(folder: Path, key: str, sha256: str) -> Path:
    """The file of a picture of a record: by its path below a folder or, moved, by its name; with its content.

    Raises:
        LgcaError: it is not there, or no longer what was evaluated.
    """
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda code: bytes.fromhex(code[1].decode()), os.fsencode(key))
    names = [name for name in dict.fromkeys((key, os.fsdecode(raw))) if "\0" not in name]
    places = [folder / name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts]
    changed = False
    for place in places:
        if os.path.isfile(place):
            changed = True
            if _content(place) == sha256:
                return place
    for at, _, files in os.walk(folder):
        for name in {Path(place).name for place in places} & set(files):
            if _content(Path(at, name)) == sha256:
                return Path(at, name)
    if changed:
        raise LgcaError(f"{key}: the file below {folder} is no longer the picture that was evaluated")
    raise LgcaError(f"{key}: it is not below {folder}")


def _content(file: Path) -> str:
    try:
        return hash_of(file) if file.is_file() else ""  # not of a pipe, which would be waited for
    except OSError:
        return ""


def _first_boxes(config: Mapping[str, Any], seed: int, height: int, width: int, identity: str) -> list[list[int]]:
    """The crops that a run began with, from what the record says of its settings; none where it says none."""
    look, own = str(config.get("look", "")), config.get("wca", config)
    try:
        if max(config.get("n", 1), own.get("n", 1), own.get("pool") or 1) > MOST_BOXES:
            return []
        if look.startswith("lgca"):
            boxes = draw(LGCA(**_settings(LGCA, config)).drawn(seed), height, width, identity)
        elif look.startswith("wca") or "wca" in config:
            boxes = WCA(**_settings(WCA, own)).boxes(height, width, seed, identity)
        else:
            return []
    except (LgcaError, AttributeError, TypeError, ValueError):  # a record is data from anywhere
        return []
    return [list(map(int, box)) for box in boxes]


def _settings(of: type, config: Mapping[str, Any]) -> dict[str, Any]:
    given = {field.name: config[field.name] for field in fields(of) if field.name in config}
    return given | {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
