"""The papers' tables, with ours where it has run: a row a method, a column a data set, a table a backbone."""

from __future__ import annotations

import html
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from lgca_book.style import NOT_AVAILABLE, minus, name, simple_table
from lgca_core.evaluation import paper_values
from lgca_core.evaluation.record import load_found

ZERO_SHOT = ("imagenet", "cub", "pets", "dtd", "food101", "places365", "places365-distinct")
"""The data sets of the papers' table of zero-shot accuracies, and ours with a name for each class."""

SHIFTED = ("imagenet-v2", "imagenet-r", "imagenet-sketch", "imagenet-a")
"""The data sets of the papers' table of shifts, which has ImageNet beside them."""


def beside(folder: Path | str, datasets: Sequence[str]) -> pd.DataFrame:
    """`paper_values.compare_with_papers` of these data sets and the records of them under `folder`.

    Without the folder nothing of ours is available.
    """
    records = load_found(folder)
    frame = paper_values.compare_with_papers(
        {key: one for key, one in records.items() if one[0].dataset.name in datasets}
    )
    return frame[frame["dataset"].isin(datasets)].reset_index(drop=True)


def with_trained(frame: pd.DataFrame, datasets: Sequence[str]) -> pd.DataFrame:
    """:func:`beside`, and behind it what is published on these data sets of methods that are not run here.

    Such a method has the papers' name.
    """
    table = paper_values.table()
    rows = table[table["method"].isin(list(paper_values.NOT_RUN))]
    further = pd.DataFrame(
        {
            "dataset": rows["dataset"].map(paper_values.PAPERS_DATASETS),
            "encoder": rows["backbone"].map(paper_values.ENCODERS),
            "method": rows["method"],
            "paper": rows["top1_percent"],
            "paper_std": rows["std_percent"],
            "verdict": NOT_AVAILABLE,
            "note": "",
            "source": rows["source"],
        }
    )
    further = further[further["dataset"].isin(datasets)].reindex(columns=list(paper_values.COMPARISON))
    return pd.concat([frame, further.astype(frame.dtypes)], ignore_index=True)


def tolerance(of: paper_values.Tolerance = paper_values.TOLERANCE) -> str:
    """The meaning of `within`, in a sentence."""
    return (
        f"*Within* means within a tolerance that was fixed before any full run: {of.points:g} points; for a method "
        f"that draws at random, {of.stds:g} published standard deviations on top, or {of.unpublished:g} points where "
        "none is published."
    )


def tables(frame: pd.DataFrame, caption: str, reference: Sequence[str] = ()) -> HTML:
    """:func:`beside` as a page shows it, a table an encoder: the papers' value, and below it ours with the verdict,
    where a record has it.

    What is neither published nor run has no row, no column and no table; one published number that stands for two of
    our methods is shown once, unless the second has run. Ours is bold where it is the best of its record or tied with
    it. Sources are letters, told below each table.

    Args:
        caption: what the tables show; the encoder's name follows.
        reference: data sets that are shown beside others only.
    """
    there = frame[frame["ours"].notna() | (frame["paper"].notna() & ~_same_number(frame))]
    shown = []
    for encoder, rows in there.groupby("encoder", sort=False):
        datasets = list(dict.fromkeys(rows["dataset"]))
        if set(datasets) - set(reference):
            shown.append(_table(rows, datasets, f"{caption}: {_papers(str(encoder), paper_values.ENCODERS)}"))
    return HTML("".join(shown))


def sentence_about_ours(frame: pd.DataFrame) -> str:
    """Which data sets and encoders of :func:`beside` have records of ours, and how the others are run."""
    published = frame[frame["paper"].notna()]
    cells = published.groupby(["encoder", "dataset"], sort=False)["ours"].apply(lambda ours: bool(ours.notna().any()))
    datasets = ",".join(dict.fromkeys(dataset for _, dataset in cells.index if dataset != "places365-distinct"))
    encoders = ",".join(dict.fromkeys(encoder for encoder, _ in cells.index))
    how = f"`make reproduce DATASETS={datasets} ENCODERS={encoders}`, or a part of them, on a GPU."
    if not cells.any():
        return f"**Ours: not run yet.** {how}"
    return f"Ours has run on {cells.sum()} of {len(cells)} pairs of data set and encoder. The others: {how}"


def _same_number(frame: pd.DataFrame) -> pd.Series:
    """Whether the published number of a row stands in the row of another of our methods already."""
    names = [paper_values.PAPERS_METHODS.get(method, method) for method in frame["method"]]
    return frame.assign(name=names).duplicated(["dataset", "encoder", "name"])


def _table(rows: pd.DataFrame, datasets: Sequence[str], caption: str) -> str:
    sources = dict(zip(dict.fromkeys(rows["source"].dropna()), string.ascii_lowercase))
    cells = {cell: _cell(group, sources) for cell, group in rows.groupby(["method", "dataset"], sort=False)}
    columns = {
        _papers(dataset, paper_values.PAPERS_DATASETS): [
            cells.get((method, dataset), _cell(rows.head(0), sources)) for method in rows["method"].unique()
        ]
        for dataset in datasets
    }
    methods = [
        f'{name(method)} <span class="quiet">trained</span>' if method in paper_values.NOT_RUN else name(method)
        for method in rows["method"].unique()
    ]
    table = simple_table(pd.DataFrame({"method": methods, **columns}), caption, compact=True)
    told = "".join(f"<li><sup>{letter}</sup> {html.escape(source)}</li>" for source, letter in sources.items())
    return f'{table.to_html()}<ul class="sources">{told}</ul>'


def _cell(rows: pd.DataFrame, sources: Mapping[str, str]) -> str:
    """Values of one method on one data set: the papers', a dash where there is none, and ours of each record."""
    paper = "–"
    for row in rows[rows["paper"].notna()].head(1).itertuples():
        spread = "" if pd.isna(row.paper_std) else f" ± {row.paper_std:.2f}"
        paper = f"{row.paper:.2f}{spread}<sup>{sources[row.source]}</sup>"
    ours = [_ours(row) for row in rows[rows["ours"].notna()].to_dict("records")]
    return "".join([paper, *(f'<br><span class="ours">ours {said}</span>' for said in ours)])


def _ours(row: Mapping[str, object]) -> str:
    value = f"{row['ours']:.2f}"
    said = f"{f'<b>{value}</b>' if row['tied'] else value} ({row['low']:.2f} to {row['high']:.2f})"
    if row["note"]:
        return f"{said}, no verdict: it {html.escape(str(row['note']))}"
    if row["verdict"] == NOT_AVAILABLE:
        return said
    return f"{said}, {minus(format(row['difference'], '+.2f'))}: {row['verdict']}"


def _papers(ours: str, names: Mapping[str, str]) -> str:
    """The papers' name of something of ours; ours where they have none."""
    return {value: key for key, value in names.items()}.get(ours, ours)
