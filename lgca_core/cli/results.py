"""``lgca results``: what records hold, and how they compare with what the papers report."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import listing, report, stdout
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    import pandas as pd

    from lgca_core.evaluation.record import Record

DEFAULT = Path("results")
NOT_AVAILABLE = "not available"
NUMBERS = ("paper %", "ours %", "95 % interval", "difference", "tolerance")

results_app = typer.Typer(invoke_without_command=True)
app.add_typer(results_app, name="results")


@results_app.callback()
def overview(context: typer.Context) -> None:
    """Read records, and compare them with what the papers report."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@results_app.command(
    epilog="\b\nExamples:\n"
    "  lgca results table\n"
    "  lgca results table --dataset imagenet,pets --encoder ViT-B-32-quickgelu:openai\n"
    "  lgca results table runs/ --method wca,lgca --format csv > table.csv"
)
def table(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER", help="Records, or folders of them; results/ if absent."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Only these, by our name or the papers'.")
    ] = None,
    encoder: Annotated[str | None, typer.Option(metavar="SPEC,...", help="Only these, or backbones: ViT-B/32.")] = None,
    method: Annotated[str | None, typer.Option(metavar="NAME,...", help="Only these.")] = None,
    format: Annotated[
        Literal["text", "markdown", "csv", "json"], typer.Option(help="csv and json hold every column.")
    ] = "text",
) -> None:
    """The papers' values beside ours: difference, interval and verdict.

    The verdict is within, above or below a tolerance that was fixed before
    any full run: 0.5 points, twice the published deviation on top, or 0.5
    more for a method that draws at random and publishes none. What the
    papers or we do not have is not available.
    """
    from lgca_core.evaluation import paper_values
    from lgca_core.evaluation.record import find_records, load

    if folders is None:
        folders = [DEFAULT] if DEFAULT.is_dir() else []
    records = {str(folder): load(folder) for given in folders for folder in find_records(given)}
    every = frame = paper_values.compare_with_papers(records)
    for column, text, papers in (
        ("dataset", dataset, paper_values.PAPERS_DATASETS),
        ("encoder", encoder, paper_values.ENCODERS),
        ("method", method, {}),
    ):
        if text is not None:
            frame = frame[frame[column].isin(_names(list(every[column].unique()), column, text, papers))]
    if frame.empty:
        raise LgcaError("there is neither a published value nor a record of these together: ask for one of them only")
    if not any(record.dataset.name in paper_values.PUBLISHED_PICTURES for record, _ in records.values()):
        print(_no_record(folders), file=sys.stderr)
    match format:
        case "csv":
            print(frame.to_csv(index=False, na_rep=NOT_AVAILABLE, float_format="%.6g"), end="")
        case "json":
            print(json.dumps(_plain(frame), indent=1, ensure_ascii=False, allow_nan=False))
        case _:
            _tables(frame, markdown=format == "markdown")


@results_app.command(epilog="\b\nExample:\n  lgca results show runs/aviary-20260102T030405Z")
def show(record: Annotated[Path, typer.Argument(metavar="RECORD", help="The folder of one record.")]) -> None:
    """Show one record: its code, pictures, encoder, cost, and the table of its methods."""
    from lgca_core.evaluation.record import RECORD, load

    if not os.path.exists(record / RECORD):
        raise LgcaError(
            f"{record} holds no {RECORD}: name the folder of one record; lgca results check {record} lists them"
        )
    read, predictions = load(record)
    listing([{"of the record": name, str(record): value} for name, value in _facts(read).items()])
    report(stdout(), read, predictions)


@results_app.command(epilog="\b\nExample:\n  lgca results check results/ runs/")
def check(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Records, or folders of them.")],
) -> None:
    """Whether records hold: their form, their files, and every count against the predictions.

    Looks through the folders at any depth, lists each record with what is
    wrong with it, and exits with 2 if anything is.
    """
    from lgca_core.evaluation.record import find_records, load

    rows, faults = [], []
    for given in folders:
        found = find_records(given)
        if not found:
            raise LgcaError(f"{given} holds no record: nothing was checked there")
        for folder in found:
            try:
                read, _ = load(folder)
                holds = f"holds: {read.dataset.name}, {read.encoder.name}, {len(read.runs)} runs"
            except LgcaError as error:
                holds = str(error)
                faults.append(holds)
            rows.append({"record": folder, "check": holds})
    listing(rows)
    if faults:
        raise LgcaError(f"{len(faults)} of {len(rows)} records do not hold; the first: {faults[0]}")


def _no_record(folders: Sequence[Path]) -> str:
    from lgca_core.evaluation.paper_values import ENCODERS, PAPERS_METHODS

    where = (
        f"{', '.join(map(str, folders))} {'holds' if len(folders) == 1 else 'hold'} no record"
        if folders
        else "There is no record"
    )
    encoder = ENCODERS["ViT-B/32"]
    return (
        f"{where} of the papers' data sets yet, so nothing of ours is available for them. One is made with the data "
        f"set, OpenAI's weights and a GPU by, for instance,\n"
        f"  lgca evaluate --dataset pets --encoder {encoder} --seeds 5 --method {','.join(PAPERS_METHODS)} \\\n"
        f"    --out {DEFAULT}/{encoder.replace(':', '-')}/pets"
    )


def _names(known: Sequence[str], column: str, text: str, papers: Mapping[str, str]) -> list[str]:
    """The names in `text`, which may be the papers', as ours; each must be `known`."""
    from lgca_core.evaluation.paper_values import NOT_RUN

    names = [papers.get(name, name) for name in options.names(text, f"--{column}")]
    for name in names:
        if name in NOT_RUN:
            raise LgcaError(f"{name} {NOT_RUN[name]}, so it is not run here: choose from {', '.join(known)}")
        if name not in known:
            what = {"dataset": "data set"}.get(column, column)
            nothing = f"there is neither a published value nor a record of the {what} {name!r}"
            raise LgcaError(f"{nothing}: choose from {', '.join(known)}")
    return names


def _plain(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as JSON knows them: null for what is not available."""
    import pandas as pd

    rows = frame.astype(object).to_dict("records")
    return [{str(key): None if pd.isna(value) else value for key, value in row.items()} for row in rows]


def _tables(frame: "pd.DataFrame", *, markdown: bool) -> None:
    """A table a data set and encoder, with what is noted about its records below."""
    from lgca_core.evaluation.paper_values import NOT_RUN

    for (dataset, encoder), group in frame.groupby(["dataset", "encoder"], sort=False):
        rows = group.to_dict("records")
        cells = [_cells(row, with_record=bool(group["record"].notna().any())) for row in rows]
        if markdown:
            print(f"### {dataset}, {encoder}\n")
            print(_markdown(cells), end="\n\n")
        else:
            print(f"{dataset}, {encoder}")
            listing(cells, right=NUMBERS)
        for row in rows:
            if row["note"]:
                print(f"No verdict on {row['method']} of {row['record']}: it {row['note']}.\n")
    counted = frame["verdict"].value_counts()
    verdicts = ", ".join(f"{counted.get(name, 0)} {name}" for name in ("within", "above", "below", NOT_AVAILABLE))
    print(f"Verdicts: {verdicts}. Published but trained, so not run here: {', '.join(NOT_RUN)}.")


def _cells(row: Mapping[str, Any], *, with_record: bool) -> dict[str, str]:
    """A row of :func:`~lgca_core.evaluation.paper_values.compare_with_papers` as it is shown."""

    def number(value: float, form: str) -> str:
        return NOT_AVAILABLE if math.isnan(value) else format(value, form)

    spread = "" if math.isnan(row["paper_std"]) else f" ± {row['paper_std']:.2f}"
    low, high = row["low"], row["high"]
    cells = {
        "method": row["method"],
        "paper %": number(row["paper"], ".2f") + spread,
        "ours %": number(row["ours"], ".2f"),
        "95 % interval": NOT_AVAILABLE if math.isnan(low) else f"{low:.2f} to {high:.2f}",
        "difference": number(row["difference"], "+.2f"),
        "tolerance": number(row["tolerance"], ".2f"),
        "verdict": row["verdict"],
    }
    return cells | ({"record": row["record"] or NOT_AVAILABLE} if with_record else {})


def _markdown(rows: Sequence[Mapping[str, str]]) -> str:
    headings = list(rows[0])
    rule = ["---:" if heading in NUMBERS else "---" for heading in headings]
    body = [[cell.replace("|", "\\|") for cell in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *body))


def _parts(record: "Record") -> str:
    """The parts that other processes encoded before the evaluation, in words."""
    if not record.parts:
        return "none"
    crops, texts = (sum(passes) for passes in zip(*((of.image_passes, of.text_passes) for of in record.parts)))
    seconds = record.seconds_in_all - record.seconds
    return f"{len(record.parts)}, with {crops} passes of crops, {texts} of sentences, in {seconds:.1f} s together"


def _facts(record: "Record") -> dict[str, str]:
    """The fields of a record beside its accuracies, in words."""

    def memory(size: int) -> str:
        return f"{size / 2**30:.2f} GiB"

    dataset, encoder = record.dataset, record.encoder
    read = dataset.count - len(record.skipped)
    state = {None: "", True: ", with changes that are not committed", False: ", clean"}[record.dirty]
    return {
        "made": f"{record.utc:%Y-%m-%d %H:%M:%S} UTC",
        "commit": f"{record.commit or 'not known: the code ran outside a checkout'}{state}",
        "data set": f"{dataset.name}, split {dataset.split}: {read} pictures scored, {len(record.skipped)} skipped, "
        f"{len(dataset.classes)} classes",
        "manifest sha256": dataset.manifest_sha256,
        "prompts sha256": record.prompts_sha256,
        "encoder": f"{encoder.name}, {encoder.activation or 'activation not known'}, {encoder.precision}",
        "weights sha256": encoder.weights_sha256 or "not known",
        "predictions sha256": record.predictions_sha256 or "not known",
        "seeds": ", ".join(map(str, record.seeds)),
        "resize": record.resize,
        "device": record.device,
        "seconds": f"{record.seconds:.1f}",
        "images/s": f"{record.images_per_second:.1f}",
        "encoder passes": f"{record.image_passes} of crops, {record.text_passes} of sentences",
        "its parts": _parts(record),
        "peak memory": memory(record.peak_memory),
        "peak device memory": NOT_AVAILABLE if record.peak_device_memory is None else memory(record.peak_device_memory),
        "libraries": ", ".join(f"{name} {version}" for name, version in record.libraries.items()),
        "parameters": json.dumps(record.parameters, ensure_ascii=False),
    }
