"""``lgca datasets``: what ``--dataset`` takes, how to get it, and whether a copy is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from lgca_core.cli.base import app, stopping
from lgca_core.cli.output import listing, say, stderr, stdout
from lgca_core.cli.removal import agreed, in_words
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.data import downloads
    from lgca_core.data.table import Entry

datasets_app = typer.Typer(
    help="What --dataset takes: list, fetch, check and remove data sets.", invoke_without_command=True
)
app.add_typer(datasets_app, name="datasets")


@datasets_app.callback()
def datasets(context: typer.Context) -> None:
    """List what --dataset takes, and what of it is here."""
    if context.invoked_subcommand is None:
        from lgca_core.data.opening import all_unpacked
        from lgca_core.data.table import DATASETS

        wide = stdout().width >= 120
        listing([_row(name, entry, wide) for name, entry in DATASETS.items()])
        if archives := all_unpacked():
            rows = [
                {"unpacked archive": one.name, "size": in_words(one.size), "in": str(one.place)} for one in archives
            ]
            listing(rows, right=("size",))


def _row(name: str, entry: "Entry", wide: bool) -> dict[str, str]:
    facts = entry.facts()
    return {
        "name": name,
        **({"what": entry.summary} if wide else {}),
        "split": facts.split,
        "pictures": f"{facts.images:,}",
        "classes": f"{facts.classes:,}",
        "licence": facts.licence,
        "size": facts.size,
        "here": "yes" if facts.present else "no",
    }


@datasets_app.command(
    epilog="\b\nExamples:\n  lgca datasets fetch pets dtd\n  lgca datasets fetch imagenet:/folder/with/the/two/archives"
)
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME[:FOLDER]...", help="Data sets; FOLDER holds archives that you already have."),
    ],
) -> None:
    """Download, verify and unpack data sets; a download that broke off goes on.

    They go to datasets/ in LGCA_HOME (~/.cache/lgca if unset), downloads to
    downloads/ beside it until they are unpacked; archives of yours are never
    removed. That takes the download's size, which `lgca datasets` lists, and
    at least as much again. Each is subject to its own licence.
    """
    from lgca_core.data import fetching

    asked = [(name, fetching.published(name)[1]) for name in names]  # all of them, before the first download
    for name, source in asked:
        with stopping(partial("run lgca datasets fetch {} again, and it goes on".format, name)), _progress() as report:
            place, there = fetching.fetch(name, progress=report)
        say(f"{place}{' (already there, and whole)' if there else ''}")
        say(f"  licence   {source.licence} ({source.terms})")


@datasets_app.command(
    epilog="\b\nExamples:\n  lgca datasets check pets\n  lgca datasets check pets:/data/oxford-iiit-pet"
)
def check(
    name: Annotated[str, typer.Argument(metavar="NAME[:PATH]", help="A data set, or your own copy of one.")],
) -> None:
    """Whether a copy has the pictures and the classes that it should have.

    Compares the copy's own lists and folders with the table, and reads no
    picture. Exits with 2 where anything is off.
    """
    from lgca_core.data import fetching

    place, rows, faults, mend = fetching.check(name)
    say(str(place))
    for what, finding in rows:
        say(f"  {what:<10}{finding}")
    for fault in faults:
        say(f"  off       {fault}")
    if faults:
        raise LgcaError(f"{name} is not whole: {faults[0]}: {mend}")


@datasets_app.command(epilog="\b\nExample:\n  lgca datasets show imagenet")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A published data set.")],
) -> None:
    """What is known of a data set: its counts, archives, licence and layout, each with its source."""
    from lgca_core.data import copies, fetching

    name, source, _ = fetching.published(name)
    rows = [
        ("title", source.title),
        ("homepage", source.homepage),
        ("split", source.split),
        ("pictures", f"{source.images:,} of {len(source.class_ids):,} classes ({source.counted})"),
        ("licence", f"{source.licence} ({source.terms})"),
        ("layout", source.layout),
        ("place", str(copies.place_of(source))),
    ]
    rows += [("note", source.note)] if source.note else []
    for archive in source.archives:
        size = f"{archive.size:,} bytes" if archive.size else f"about {archive.about:,} bytes" if archive.about else ""
        rows += [
            ("archive", ", ".join(filter(None, (archive.name, size)))),
            *(("  address", url) for url in archive.urls or (f"ask for it on {source.homepage}",)),
            ("  checksum", archive.checksum or "none is published"),
            ("  source", archive.source),
        ]
    for what, said in rows:
        say(f"{what:<12}{said}")


@datasets_app.command(epilog="\b\nExamples:\n  lgca datasets rm pets\n  lgca datasets rm photos.zip --yes")
def rm(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Data sets, or archives of yours that were unpacked here."),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove data sets that were fetched or made here, and what archives were unpacked to.

    Archives and copies of yours are never removed; stored features are
    looked after by lgca store rm.
    """
    from lgca_core.data import fetching, opening

    for name in names:  # all of them, before the first removal
        fetching.places_of(name)
    for name in names:
        places = [place for place in fetching.places_of(name) if place.exists()]
        if not places:
            say(f"{name} is not here: nothing to remove.")
            continue
        what = f"{name}, {in_words(sum(map(opening.size_of, places)))} in {' and '.join(map(str, places))}"
        if yes or agreed(f"Remove {what}?"):
            fetching.remove_all(name)
            say(f"Removed {what}.")


@contextmanager
def _progress() -> "Iterator[downloads.Progress]":
    """Show progress on stderr: a bar for each file and stage; without a terminal, a line as each begins."""
    console = stderr()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what)
                if not console.is_terminal:
                    say(what, err=True)
            bar.update(tasks[what], completed=done, total=total)

        yield report
