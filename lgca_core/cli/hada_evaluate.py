"""``lgca hada evaluate``: retrieval with a fusion, beside its models alone and the sum of their scores."""

import csv
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgca_core.cli import options
from lgca_core.cli.hada import FrozenSpecs, RetrievalData, captions_of, features_of, hada, specs_for
from lgca_core.cli.output import listing, note, say, status
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    import pandas as pd

    from lgca_core.related.captions.retrieval import RetrievalResult
    from lgca_core.related.hada.model import HadaModel


@hada.command(
    epilog="\b\nExamples:\n"
    "  lgca hada evaluate --model hada-run        (the embedded world)\n"
    "  lgca hada evaluate --data flickr30k:/data/flickr30k --model run\n"
    "  lgca hada evaluate --encoder A --encoder B      (each alone, and the tuned sum)"
)
def evaluate(
    data: RetrievalData = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Which pictures of the data.")] = "test",
    validation: Annotated[
        str, typer.Option(metavar="NAME", help="Without --model, the split by which the score sum is tuned.")
    ] = "val",
    encoder: FrozenSpecs = None,
    model: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="What lgca hada train wrote; it knows its encoders.")
    ] = None,
    ties: options.Ties = "middle",
    reshuffled: Annotated[
        bool,
        typer.Option("--reshuffled", help="Also RSum with items in another order: the same, but for the arm lavis."),
    ] = False,
    out: options.RanksFolder = None,
    force: options.ForceRecord = False,
    form: options.Printed = "table",
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    batch_size: options.BatchSize = None,
    on_error: options.OnError = "raise",
) -> None:
    """How well pictures and captions find each other: R@1/5/10 both ways and RSum, their sum of 600.

    In the first rows each model alone and the tuned sum of their scores; the
    last is the fusion. Intervals are over pictures, whose captions go together.
    """
    from lgca_core.encoders.devices import pick_device
    from lgca_core.evaluation.record import reserved
    from lgca_core.related.captions.record import RELATED_FILES, save_related, training_report
    from lgca_core.related.hada.encoder import check_weights
    from lgca_core.related.hada.evaluate import RESHUFFLED, RSUM, SUM, baselines, evaluate_fusion, reshuffled_rsum
    from lgca_core.related.hada.model import HadaModel, load_fusion, said_of
    from lgca_core.related.hada.train import tuned_shares

    found = None if model is None else load_fusion(model, pick_device(device))
    specs = _specs(data, encoder, found)
    with reserved(out, force=force, files=RELATED_FILES) if out else nullcontext():
        with status("reading the captions"):
            captions = captions_of(data, split, on_error)
            tuning = None if found else captions_of(data, validation, on_error)
        encoders = [options.load(spec, device, precision, batch_size, 1) for spec in specs]
        for one, said in zip(encoders, found.models if found else (), strict=False):
            check_weights(one, said)
        report = None if model is None else training_report(model)
        [features] = features_of([captions], encoders)
        place = encoders[0].device
        if tuning is None:
            assert found is not None
            name = _name(report)
        else:
            [validated] = features_of([tuning], encoders)
            shares, stronger = tuned_shares(validated, place)
            found, name = HadaModel(said_of(specs, encoders, features), "sum", shares, stronger=stronger), SUM
        with status("comparing pictures and captions"):
            systems = {**baselines(found), name: found}
            results = {
                of: evaluate_fusion(one, features, place, ties=ties) for of, one in systems.items() if of != name
            }
            began = time.perf_counter()
            results[name] = evaluate_fusion(found, features, place, ties=ties)
            seconds = time.perf_counter() - began
            if reshuffled:
                results[name].metrics[RESHUFFLED] = reshuffled_rsum(found, features, place)
        if out is not None:
            save_related(
                out,
                results[name],
                encoders,
                captions,
                parameters={"ties": ties, "shares": list(found.shares)},
                training=report,
                seconds=seconds,
                force=force,
            )
    rows = [_row(of, result) for of, result in results.items()]
    if form == "json":
        print(json.dumps(rows, indent=1))
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        size = f"{len(captions.pictures):,} pictures, {len(features.texts[0]):,} captions"
        say(f"{captions.name} ({captions.split}), {size}")
        listing([{"of": row["of"], **_shown(row)} for row in rows], right=[*_shown(rows[0])])
        _compare(results, name)
        if reshuffled:
            moved = results[name].metrics[RESHUFFLED] - results[name].metrics[RSUM]
            say(f"With the items in another order RSum changes by {100 * moved:+.1f} points")
    if report and captions.sha256(features.hashes) in report.get("identity", {}).get("data", []):
        note("these are pictures that the fusion was trained on, or chosen by: what it finds among them says little")
    for fault in captions.skipped[:3]:
        note(f"skipped {fault.path}: {fault.reason}")


def _name(report: dict[str, Any] | None) -> str:
    """What a trained fusion is called in the table: HADA, or its arm."""
    from lgca_core.related.hada.arms import FUSION_ARMS, WITH_SHARE
    from lgca_core.related.hada.evaluate import SUM

    arm = str((report or {}).get("identity", {}).get("arm", "hada"))
    plain = arm.removesuffix(WITH_SHARE)
    if plain == "score-sum":
        return SUM
    share = " + w" if arm != plain else ""
    return f"HADA{share}" if plain == "hada" or plain not in FUSION_ARMS else f"{plain}{share}"


def _specs(data: str | None, encoder: list[str] | None, found: "HadaModel | None") -> tuple[str, ...]:
    """The models, by their options or of a trained fusion. LgcaError where the two do not agree."""
    from lgca_core.related.hada.model import lasting

    if found is None:
        return specs_for(data, encoder)
    own = tuple(said.spec for said in found.models)
    if encoder and tuple(lasting(spec) for spec in encoder) != own:
        raise LgcaError(f"the fusion is of {' and '.join(own)}, in this order: leave --encoder out")
    return own


def _row(name: str, result: "RetrievalResult") -> dict[str, Any]:
    """Percentages, RSum (of 600) and its 95 % interval."""
    from lgca_core.evaluation.statistics import interval
    from lgca_core.related.hada.evaluate import RESHUFFLED, RSUM, rsum_by_picture

    low, high = interval(rsum_by_picture(result.ranks))
    percent = {metric: round(100 * value, 2) for metric, value in result.metrics.items()}
    rsum = percent.pop(RSUM)
    percent.pop(RESHUFFLED, None)
    return {"of": name, **percent, RSUM: rsum, "low": round(100 * low, 2), "high": round(100 * high, 2)}


def _shown(row: dict[str, Any]) -> dict[str, str]:
    short = {"image to text": "i->t", "text to image": "t->i"}
    ways = {name: f"{row[name]:.1f}" for name in row if name.startswith("R@")}
    ways = {f"{name.split(' ', 1)[0]} {short[name.split(' ', 1)[1]]}": value for name, value in ways.items()}
    return {**ways, "RSum": f"{row['RSum']:.1f}", "95 % interval": f"{row['low']:.1f} to {row['high']:.1f}"}


def _compare(results: "dict[str, RetrievalResult]", name: str) -> None:
    """In a sentence, by how much the last system is better than the best of the others."""
    from lgca_core.evaluation.statistics import interval
    from lgca_core.related.hada.evaluate import RSUM, rsum_by_picture

    others = {of: result for of, result in results.items() if of != name}
    best = max(others, key=lambda of: others[of].metrics[RSUM])
    paired: pd.Series = rsum_by_picture(results[name].ranks) - rsum_by_picture(others[best].ranks)
    low, high = interval(paired)
    gain = results[name].metrics[RSUM] - others[best].metrics[RSUM]
    say(f"{name} minus {best}: {100 * gain:+.1f} points of RSum ({100 * low:+.1f} to {100 * high:+.1f}), of 600")
