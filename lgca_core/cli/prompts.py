"""``lgca prompts``: look after prompt files, published and your own."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.table import Table

from lgca_core.cli import options
from lgca_core.cli.base import app
from lgca_core.cli.output import listing, say, status, stdout
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.prompts.published import PromptSet
    from lgca_core.prompts.survey import Survey

prompts_app = typer.Typer()
app.add_typer(prompts_app, name="prompts")

KINDS = ("templates", "descriptors", "descriptions")


@prompts_app.callback(invoke_without_command=True)
def overview(context: typer.Context) -> None:
    """List the published prompts; fetch them; check them or your own.

    Alone it lists, for each data set, how many classes it has and how many
    templates, descriptors and descriptions there are for the methods.
    """
    if context.invoked_subcommand is not None:
        return
    from lgca_core.prompts.published import FOLDERS, load_prompts, state_of

    rows = []
    for key in FOLDERS:
        state = state_of(key)
        counts = dict.fromkeys(("classes", *KINDS), "-")
        if state == "cached":
            made = load_prompts(key)
            classes, tables = _read(key, made, None)
            counts["classes"] = str(classes)
            counts["templates"] = str(len(made.templates))
            for kind, table in tables.items():
                counts[kind] = str(sum(map(len, table.values())))
        rows.append({"data set": key, **counts, "state": state})
    listing(rows)
    for kind, methods in _readers().items():
        say(f"{kind:<13} read by {methods}")
    _print_source()


@prompts_app.command(epilog="\b\nExamples:\n  lgca prompts fetch\n  lgca prompts fetch cub dtd")
def fetch(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY...]", help="Data sets; all if none is named.")
    ] = None,
) -> None:
    """Fetch the published prompts, verify them, and keep them in the cache."""
    from lgca_core.prompts.published import FOLDERS

    for key in keys or FOLDERS:
        fetched: list[str] = []
        for note in _fetch(key, fetched):
            say(f"{key}: {note}")
        say(f"{key}: {f'{len(fetched)} files fetched' if fetched else 'already cached'}")
    _print_source()


@prompts_app.command(
    epilog="\b\nExamples:\n"
    "  lgca prompts check birds.json --images birds/\n"
    "  lgca prompts check pets.json --classes cat,dog\n"
    "  lgca prompts check cub dtd"
)
def check(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY|FILE.json...",
            help='A data set with published prompts, or your own {"class name": ["sentence", ...]}',
            show_default=False,
        ),
    ],
    classes: Annotated[
        str | None, typer.Option(metavar="NAME,...|FILE", help="Names with commas between, or a file of one a line.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", parser=options.folder, help="One folder a class.")
    ] = None,
) -> None:
    """Whether every class is described, once, and nothing else; and what is odd.

    Reports how many sentences a class has, single words, repetitions, and what
    CLIP would cut for being longer than 77 tokens.
    """
    from lgca_core.prompts.files import read_descriptions
    from lgca_core.prompts.names import nearest
    from lgca_core.prompts.published import ALIASES, FOLDERS, name_of
    from lgca_core.prompts.survey import survey

    names = None if classes is None and images is None else class_names(classes, images)
    for name in what:
        if name in FOLDERS or name in ALIASES:
            _check_published(name_of(name), names)
        elif name.endswith(".json") or Path(name).exists():
            found = survey(read_descriptions(name, names))
            least, _, most = found.counts
            say(f"{name}: {found.classes} classes, {found.sentences} sentences, {least} to {most} a class")
            for line in oddities(found):
                say(line)
        else:
            known = ", ".join(FOLDERS)
            raise LgcaError(
                f"{name!r} is neither a data set with published prompts nor a file"
                f"{nearest(name, FOLDERS)}: known are {known}"
            )


def class_names(classes: str | None, images: Path | None) -> list[str]:
    """The classes of --classes, names or a file of them, or of --images."""
    if classes is None and images is None:
        raise LgcaError("give --classes or --images: which classes there are")
    if classes is not None and images is not None:
        raise LgcaError("give --classes or --images, not both")
    if images is not None:
        from lgca_core.data.folders import folder

        return list(folder(images, on_error="skip").classes)
    assert classes is not None
    try:
        is_file = Path(classes).is_file()
    except (OSError, ValueError):  # too long for a path
        is_file = False
    if not is_file:
        if "," not in classes and Path(classes).suffix.lower() in (".txt", ".csv", ".json"):
            raise LgcaError(f"--classes {classes}: there is no such file")
        return options.names(classes, "--classes")
    try:
        lines = Path(classes).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LgcaError(f"--classes {classes} cannot be read as UTF-8 text: write one name a line") from error
    return [line.strip() for line in lines if line.strip()]


def _check_published(key: str, names: Sequence[str] | None) -> None:
    """Report on the published prompts of a data set as evaluations read them, or of the named classes."""
    from lgca_core.prompts import sentences
    from lgca_core.prompts.names import wordify
    from lgca_core.prompts.published import load_prompts
    from lgca_core.prompts.survey import survey, tokens

    for note in _fetch(key, []):
        say(f"{key}: {note}")
    made = load_prompts(key)
    classes, tables = _read(key, made, names)
    distinct = list(tables["descriptions"])
    longest = max(distinct, key=lambda name: tokens(wordify(name)))
    with status(f"{key}: counting tokens"):
        surveys = {
            "templates": survey(
                dict.fromkeys(distinct, made.templates),
                lambda name, texts: sentences.templates([name], texts)[0] if name == longest else [],  # worst of each
            ),
            "descriptors": survey(
                tables["descriptors"], lambda name, texts: sentences.descriptors([name], {name: texts})[0]
            ),
            "descriptions": survey(tables["descriptions"]),
        }
    stdout().print(_table(key, classes, surveys))
    if len(distinct) < classes:
        print(
            f"{len(distinct)} distinct names stand for {classes} classes: those that share a name share its prompts "
            "and cannot be told apart."
        )
    for kind in ("descriptors", "descriptions"):
        for line in oddities(surveys[kind]):
            say(f"{kind}: {line}")


def _read(
    key: str, made: "PromptSet", names: Sequence[str] | None
) -> tuple[int, dict[str, Mapping[str, Sequence[str]]]]:
    """Number of classes of a data set, and kind -> name to be read out -> entries, as an evaluation reads them.

    `names` are looked up instead where they are given; a data set that is not in the table has the file's classes.

    Raises:
        LgcaError: a class has no entries.
    """
    from lgca_core.data.sources import SOURCES
    from lgca_core.prompts.names import match
    from lgca_core.prompts.published import entries_of, files_of

    files, source = files_of(key), SOURCES.get(key)
    published: dict[Literal["descriptions", "descriptors"], Mapping[str, Sequence[str]]] = {
        "descriptors": made.descriptors,
        "descriptions": made.descriptions,
    }
    found: dict[str, Mapping[str, Sequence[str]]] = {}
    for kind, table in published.items():
        if names is not None:
            entries = match(names, table, files[kind].path, kind)
            found[kind] = {name: table[entry] for name, entry in entries.items()}
        else:
            found[kind] = dict(entries_of(source, source.class_ids, table, kind)) if source else table
    return len(names or (source.class_ids if source else made.descriptions)), found


def _table(key: str, classes: int, surveys: "Mapping[str, Survey]") -> Table:
    """Table of the numbers of a data set's prompts, a column a kind."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(key)
    for kind in KINDS:
        table.add_column(kind, justify="right")

    def add(heading: str, cells: Iterable[object]) -> None:
        table.add_row(heading, *(str(cell) for cell in cells))

    found = [surveys[kind] for kind in KINDS]
    by_class = found[1:]  # templates are the same for every class
    add("classes", (classes for _ in found))
    add("distinct names", (survey.classes for survey in found))
    add("prompts in all", (survey.sentences for survey in found))
    add("a name: least, median, most", (" ".join(f"{n:g}" for n in survey.counts) for survey in found))
    add("single words", ("", *(len(survey.single) for survey in by_class)))
    add("repeated within a class", (len(survey.repeated) for survey in found))
    add("said of several classes", ("", *(len(survey.shared) for survey in by_class)))
    add("more than CLIP's 77 tokens", (len(survey.cut) for survey in found))
    add("tokens of the longest", (survey.longest[2] for survey in found))
    add("read by", _readers().values())
    return table


def _readers() -> dict[str, str]:
    """Kind -> the methods that read it, with commas between."""
    from lgca_core.methods import METHODS

    return {kind: ", ".join(name for name, of in METHODS.items() if of.prompts == kind) for kind in KINDS}


def oddities(survey: "Survey", *, single: bool = True) -> Iterator[str]:
    """Lines about oddities that a user may want to look at, each with an example; `single` words are one."""
    from lgca_core.prompts.survey import CONTEXT

    if survey.single and single:
        name, text = survey.single[0]
        yield f"{len(survey.single)} of them are a single word or less; the first: {text!r} of {name!r}"
    if survey.repeated:
        name, text = survey.repeated[0]
        yield f"{len(survey.repeated)} of them are said again of the same class; the first: {short(text)} of {name!r}"
    if survey.shared:
        text, classes = max(survey.shared.items(), key=lambda item: len(item[1]))
        count = len(survey.shared)
        yield f"{count} of them are said of several classes; the commonest, of {len(classes)}: {short(text)}"
    if survey.cut:
        name, text, tokens = survey.longest
        yield (
            f"{len(survey.cut)} of them have more than the {CONTEXT} tokens that CLIP reads; "
            f"the longest, {tokens}: {short(text)} of {name!r}"
        )
    if survey.alike:
        name, text = survey.alike[0]
        yield (
            f"{len(survey.alike)} of them read to CLIP like another that is worded otherwise, after the cut or without "
            f"signs that it drops; the first: {short(text)} of {name!r}"
        )


def short(text: str) -> str:
    return repr(textwrap.shorten(text, 70, placeholder=" ..."))


def _fetch(key: str, fetched: list[str]) -> list[str]:
    """Fetch the files that the cache lacks, showing each on a terminal; `fetched` receives the paths."""
    from lgca_core.prompts.published import fetch_prompts

    with status(f"{key}: looking at the cache") as shown:

        def show(path: str) -> None:
            fetched.append(path)
            if shown is not None:
                shown.update(f"fetching {path}")

        return fetch_prompts(key, progress=show)


def _print_source() -> None:
    from lgca_core.prompts.published import FILES, LICENCE

    first = next(iter(FILES.values()))
    say(f"Published by the authors of WCA: github.com/{first.repository} at {first.commit[:7]}, {LICENCE} licence.")
