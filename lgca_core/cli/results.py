"""``lgca results``: what records hold, and how they compare with what the papers report."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lgca_core.cli import options, output
from lgca_core.cli.base import app
from lgca_core.cli.output import listing, say, stdout
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    import pandas as pd

    from lgca_core.evaluation.record import Record

DEFAULT = Path("results")
DEFAULTS = (DEFAULT, Path("runs"))  # the second is where `lgca evaluate` writes
NOT_AVAILABLE = "not available"
FEW = 10  # classes and pictures of a comparison in text
PAIRED = ("A %", "B %", "A minus B", "95 % interval", "p", "p (Holm)", "over classes", "p of these", "gained", "lost")
NOT_RUN_YET = {"verdict": "not run", "record": "not run"}
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
        typer.Argument(metavar="FOLDER", help="Records, or folders of them; results/ and runs/ if absent."),
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
    more for a method that draws at random and publishes none. Where nothing
    of ours has run, the published values stand alone.
    """
    from lgca_core.evaluation import paper_values
    from lgca_core.evaluation.record import find_records, load

    if folders is None:
        folders = [folder for folder in DEFAULTS if folder.is_dir()]
    records = {str(folder): load(folder) for given in folders for folder in find_records(given)}
    every = frame = paper_values.compare_with_papers(records)
    for column, text, papers in (
        ("dataset", dataset, paper_values.PAPERS_DATASETS),
        ("encoder", encoder, paper_values.ENCODERS),
        ("method", method, {}),
    ):
        if text is not None:
            frame = frame[frame[column].isin(_names(list(every[column].unique()), column, text, papers))]
    if frame.empty or (format in ("text", "markdown") and frame[["paper", "ours"]].isna().all(axis=None)):
        raise LgcaError("there is neither a published value nor a record of these together: ask for one of them only")
    if not any(record.dataset.name in paper_values.PUBLISHED_PICTURES for record, _ in records.values()):
        say(_no_record(folders), err=True)
    match format:
        case "csv":
            print(frame.to_csv(index=False, na_rep=NOT_AVAILABLE, float_format="%.6g"), end="")
        case "json":
            print(json.dumps(_plain(frame), indent=1, allow_nan=False))
        case _:
            _tables(frame, markdown=format == "markdown")


@results_app.command(epilog="\b\nExample:\n  lgca results show runs/aviary-20260102T030405Z")
def show(record: Annotated[Path, typer.Argument(metavar="RECORD", help="The folder of one record.")]) -> None:
    """Show one record: its code, pictures, encoder, cost, and the table of its methods."""
    from lgca_core.evaluation.report import facts

    read, predictions = _record(record)
    listing([{"of the record": name, str(record): value} for name, value in facts(read).items()])
    output.report(stdout(), read, predictions)


@results_app.command(
    epilog="\b\nExamples:\n"
    "  lgca results report runs/birds-20260102T030405Z --images birds/ --out birds.html\n"
    "  lgca results report runs/birds-20260102T030405Z --out birds.md"
)
def report(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="The folder of one record.")],
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The record's pictures, to draw the hardest with their crops.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Looked at closely; the best by top-1 if absent.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ends in .html or .md; RECORD's name with .html if absent.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write one page about a record: its table, classes, confusions, calibration, hardest pictures, and what ran.

    The page is one file: it needs no network and no other file.
    """
    from lgca_core.evaluation.report import report_of
    from lgca_core.evaluation.report_page import to_html, to_markdown
    from lgca_core.evaluation.targets import claimed
    from lgca_core.files import write_whole

    target = Path(f"{record.resolve().name}.html") if out is None else out
    lay_out = {".html": to_html, ".htm": to_html, ".md": to_markdown}.get(target.suffix.lower())
    if lay_out is None:
        raise LgcaError(f"{target} ends neither in .html nor in .md: give --out one of the two")
    with claimed(target, "the report"):
        if os.path.isdir(target):
            raise LgcaError(f"{target} is a folder: give a file for the report")
        if os.path.exists(target) and not force:
            raise LgcaError(f"{target} is already there: choose another file, or overwrite it with --force")
        page = lay_out(report_of(*_record(record), method=method, images=images))
        try:
            write_whole(target, page.encode("utf-8"))
        except OSError as error:
            raise LgcaError(f"cannot write the report to {target} ({error.strerror}): choose another file") from error
    say(f"report: {target}")


@results_app.command(
    epilog="\b\nExamples:\n"
    "  lgca results compare runs/birds-new runs/birds-old\n"
    "  lgca results compare runs/birds runs/birds --method lgca --against cupl\n"
    "  lgca results compare runs/a runs/b --format csv --show pictures > changed.csv"
)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="The folder of a record.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another; or the same, for two of its methods.")],
    method: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Of A; those that both have if absent.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of B, for all of --method; each method's own if absent.")
    ] = None,
    format: Annotated[
        Literal["text", "csv", "json"], typer.Option(help="json holds all tables, csv the one that --show names.")
    ] = "text",
    show: Annotated[
        Literal["methods", "classes", "pictures"], typer.Option(help="Which table csv prints.")
    ] = "methods",
) -> None:
    """Paired differences, A minus B, on the pictures that both records have.

    A picture is the same by its content, wherever it lies. Prints the
    difference of top-1 with its 95 % interval and an exact sign-flip test,
    for other pictures of these classes and for other classes too; the
    classes that differ most, and the pictures that changed.
    """
    from lgca_core.evaluation.comparison import compare_predictions

    (_, one), (_, other) = _record(a), _record(b)
    has, theirs = (list(of["method"].unique()) for of in (one, other))
    chosen = (
        options.names(method, "--method") if method else has if against else [name for name in has if name in theirs]
    )
    if not chosen:
        raise LgcaError(f"{a} and {b} have no method in common: give --method of {a} and --against of {b}")
    found = compare_predictions(one, other, [(name, against or name) for name in chosen])
    tables = {"methods": found.methods, "classes": found.classes, "pictures": found.changed}
    match format:
        case "csv":
            print(tables[show].to_csv(index=False, float_format="%.6g"), end="")
        case "json":
            plain = {name: _plain(frame) for name, frame in tables.items()}
            print(json.dumps({"a": str(a), "b": str(b)} | plain, indent=1, allow_nan=False))
        case _:
            _compared(tables)


def _over_classes(row: "Mapping[str, Any]") -> dict[str, str]:
    """The interval and p value of a difference with classes drawn too; nothing of one class."""
    if math.isnan(row["classes_low"]):
        return {}
    ends = f"{100 * row['classes_low']:+.1f} to {100 * row['classes_high']:+.1f}"
    return {"over classes": ends, "p of these": f"{row['p_classes']:.2g}"}


def _compared(tables: "Mapping[str, pd.DataFrame]") -> None:
    """The three tables in text: of classes and pictures the first few."""
    rows = tables["methods"].to_dict("records")

    def points(value: float) -> str:
        return f"{100 * value:+.1f}"

    listing(
        [
            {
                "A": row["method_a"],
                "B": row["method_b"],
                "A %": f"{100 * row['top1_a']:.1f}",
                "B %": f"{100 * row['top1_b']:.1f}",
                "A minus B": points(row["difference"]),
                "95 % interval": f"{points(row['difference_low'])} to {points(row['difference_high'])}",
                "p": f"{row['p']:.2g}",
                "p (Holm)": f"{row['p_holm']:.2g}",
                **_over_classes(row),
                "gained": str(row["gained"]),
                "lost": str(row["lost"]),
            }
            for row in rows
        ],
        right=PAIRED,
    )
    first = rows[0]
    left_out = f", {first['other_class']} are of other classes in B" if first["other_class"] else ""
    print(f"{first['pictures']} pictures in both; {first['only_a']} in A only, {first['only_b']} in B only{left_out}.")
    for (one, other), classes in tables["classes"].groupby(["method_a", "method_b"], sort=False):
        differ = classes[classes["difference"] != 0].head(FEW).to_dict("records")
        changed = tables["pictures"].query("method_a == @one and method_b == @other")
        print(f"\n{one} of A, {other} of B: {len(changed)} pictures changed.")
        if differ:
            listing(
                [
                    {
                        "class": row["class"],
                        "pictures": str(row["pictures"]),
                        "A %": f"{100 * row['accuracy_a']:.1f}",
                        "B %": f"{100 * row['accuracy_b']:.1f}",
                        "A minus B": points(row["difference"]),
                    }
                    for row in differ
                ],
                right=("pictures", "A %", "B %", "A minus B"),
            )
        if len(changed):
            names = {"path": "picture", "class": "class", "said_a": "A says", "said_b": "B says", "change": "change"}
            listing(changed.head(FEW)[list(names)].rename(columns=names).to_dict("records"))
            if len(changed) > FEW:
                print(f"{len(changed) - FEW} more: --format csv --show pictures lists them all.")


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


def _record(folder: Path) -> "tuple[Record, pd.DataFrame]":
    """The record of one folder. LgcaError where it is none."""
    from lgca_core.evaluation.record import RECORD, load

    if not os.path.exists(folder / RECORD):
        raise LgcaError(
            f"{folder} holds no {RECORD}: name the folder of one record; lgca results check {folder} lists them"
        )
    return load(folder)


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
    from lgca_core.evaluation.report_page import as_markdown, markdown_table

    there = frame[frame[["paper", "ours"]].notna().any(axis=1)]
    for (dataset, encoder), group in there.groupby(["dataset", "encoder"], sort=False):
        rows = group.to_dict("records")
        cells = [_cells(row, with_ours=bool(group["record"].notna().any())) for row in rows]
        right = [name for name in NUMBERS if name in cells[0]]
        if markdown:
            print(f"### {as_markdown(dataset)}, {as_markdown(encoder)}\n")
            print(markdown_table(cells, right), end="\n\n")
        else:
            say(f"{dataset}, {encoder}")
            listing(cells, right=right)
        for row in rows:
            if row["note"]:
                say(f"No verdict on {row['method']} of {row['record']}: it {row['note']}.", "")
    counted = frame.loc[frame["ours"].notna(), "verdict"].value_counts()
    verdicts = ", ".join(f"{counted.get(name, 0)} {name}" for name in ("within", "above", "below", NOT_AVAILABLE))
    say(f"Verdicts on what has run: {verdicts}. Published but trained, so not run here: {', '.join(NOT_RUN)}.")


def _cells(row: Mapping[str, Any], *, with_ours: bool) -> dict[str, str]:
    """A row of :func:`~lgca_core.evaluation.paper_values.compare_with_papers` as it is shown."""

    def number(value: float, form: str) -> str:
        return NOT_AVAILABLE if math.isnan(value) else format(value, form)

    spread = "" if math.isnan(row["paper_std"]) else f" ± {row['paper_std']:.2f}"
    cells = {"method": row["method"], "paper %": number(row["paper"], ".2f") + spread}
    tolerance = {"tolerance": number(row["tolerance"], ".2f")}
    if not with_ours:
        return cells | tolerance
    if math.isnan(row["ours"]):
        return cells | dict.fromkeys(("ours %", "95 % interval", "difference"), "not run") | tolerance | NOT_RUN_YET
    return cells | {
        "ours %": number(row["ours"], ".2f"),
        "95 % interval": f"{row['low']:.2f} to {row['high']:.2f}",
        "difference": number(row["difference"], "+.2f"),
        **tolerance,
        "verdict": row["verdict"],
        "record": row["record"],
    }
