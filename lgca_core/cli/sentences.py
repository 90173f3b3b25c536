"""``lgca prompts ask``, ``take`` and ``write``: sentences of one's own classes from chat models."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgca_core.cli import options
from lgca_core.cli.output import note, say, status
from lgca_core.cli.progress import progress
from lgca_core.cli.prompts import class_names, oddities, prompts_app
from lgca_core.errors import LgcaError
from lgca_core.prompts.asking import Wanted

if TYPE_CHECKING:
    from lgca_core.prompts.writing import Sentences

Classes = Annotated[
    str | None, typer.Option(metavar="NAME,...|FILE", help="Names with commas between, or a file of one a line.")
]
Images = Annotated[Path | None, typer.Option(metavar="FOLDER", parser=options.folder, help="Or one folder a class.")]
Kind = Annotated[
    Wanted, typer.Option(help="Sentences for wca, lgca and cupl, or short descriptors for clip-d and lazsl-d.")
]
Count = Annotated[int, typer.Option(min=1, max=200, help="How many to ask for, a class.")]
About = Annotated[
    str, typer.Option(metavar="TEXT", help="What the pictures show, such as 'birds at a feeder, by a wildlife camera'.")
]
Out = Annotated[
    Path, typer.Option(metavar="FILE.json", help="The file; what it has already is kept.", show_default=False)
]


@prompts_app.command(
    epilog="\b\nExamples:\n"
    "  lgca prompts ask --classes heron,egret\n"
    "  lgca prompts ask --images photos/ --about 'birds at a feeder' --sentences 20"
)
def ask(
    classes: Classes = None,
    images: Images = None,
    sentences: Count = 10,
    about: About = "",
    kind: Kind = "descriptions",
    batch: Annotated[int, typer.Option(min=1, help="Classes in one prompt, at most.")] = 20,
    part: Annotated[int | None, typer.Option(metavar="K", min=1, help="Print only the K-th prompt.")] = None,
) -> None:
    """Print a prompt for any chat model that asks for sentences of your classes.

    Save its answers as they come, in any file, and give them to `lgca prompts
    take`. Many classes take several prompts.
    """
    from lgca_core.prompts.asking import in_batches, prompt_for
    from lgca_core.prompts.files import check_names

    names = class_names(classes, images)
    check_names(names)
    batches = in_batches(names, batch)
    if part is not None and part > len(batches):
        raise LgcaError(f"--part {part}: there are {len(batches)} prompts, of at most {batch} classes each")
    for number, several in enumerate(batches, 1):
        if part in (None, number):
            if part is None and len(batches) > 1:
                print(f"======== prompt {number} of {len(batches)} ========\n")
            print(prompt_for(several, names, count=sentences, about=about, wanted=kind))


@prompts_app.command(
    epilog="\b\nExamples:\n"
    "  lgca prompts take answer.txt --classes heron,egret --out sentences.json\n"
    "  lgca prompts take first.md second.md --images photos/ --out sentences.json"
)
def take(
    answers: Annotated[
        list[str], typer.Argument(metavar="ANSWER...", help="Files with answers; - is typed text.", show_default=False)
    ],
    out: Out,
    classes: Classes = None,
    images: Images = None,
    kind: Kind = "descriptions",
    sentences: Annotated[int, typer.Option(min=1, help="How few a class may have.")] = 1,
    partial: Annotated[bool, typer.Option("--partial", help="Write the file even where classes lack some.")] = False,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Who answered, for the file to note.")] = None,
) -> None:
    """Read what a chat model answered, check it, and write the file of sentences.

    JSON in fences or prose, lists below headings or names, `name: sentence`
    lines and tables are understood. What belongs to no class is named, with its
    line. Nothing is written unless every class has its sentences.
    """
    from lgca_core.evaluation.targets import check_parent
    from lgca_core.prompts.answers import read_answer
    from lgca_core.prompts.names import listed, nearest
    from lgca_core.prompts.writing import Sentences, source_of_answer

    check_parent(out, "the sentences")
    made = Sentences.of(out, class_names(classes, images), kind)
    unknown: list[str] = []
    for place in answers:
        text, name = _read(place), "the typed text" if place == "-" else place
        answer = read_answer(text, made.classes)
        made.add(answer, source_of_answer(text, model))
        unknown += answer.unknown
        for line, said in answer.unread[:10]:
            note(f"{name}, line {line} belongs to no class: {_short(said)}")
        if len(answer.unread) > 10:
            note(f"{name}: so do {len(answer.unread) - 10} more, the last in line {answer.unread[-1][0]}")
        if answer.repeated:
            note(f"{name}: {answer.repeated} were there already, and left out")
        if answer.cut:
            note(f"{name} breaks off: what is not whole is left out")
    if answer_of_others := list(dict.fromkeys(unknown)):
        hint = nearest(answer_of_others[0], made.classes)
        note(f"not among the classes, and left out: {listed(answer_of_others)}{hint}")
    if short := made.short(sentences):
        lacking = f"{'no sentences' if sentences == 1 else f'fewer than {sentences} sentences'} for {listed(short)}"
        if not partial or not any(made.table.values()):
            raise LgcaError(
                f"{' and '.join(answers)}: {lacking}, so {out} is not written: take an answer with them as well"
                + (", or add --partial" if any(made.table.values()) else "")
            )
        note(f"{lacking}: ask for them, and take that answer with the same --out")
    made.save()
    _report(made, out)


@prompts_app.command(
    epilog="\b\nExamples:\n"
    "  lgca prompts write --classes heron,egret --out sentences.json \\\n"
    "    --server http://127.0.0.1:11434/v1 --model llama3.1\n"
    "  lgca prompts write --images photos/ --out sentences.json \\\n"
    "    --server https://api.openai.com/v1 --model gpt-4o-mini"
)
def write(
    server: Annotated[
        str, typer.Option(metavar="URL", help="An OpenAI-compatible server; it is asked at URL/chat/completions.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="One of its models.")],
    out: Out,
    classes: Classes = None,
    images: Images = None,
    sentences: Count = 10,
    about: About = "",
    kind: Kind = "descriptions",
    batch: Annotated[int, typer.Option(min=1, help="Classes in one question, at most.")] = 10,
    key_from: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE", help="The environment variable that holds the key; OPENAI_API_KEY, if that is set."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one answer may take.")] = 300,
) -> None:
    """Let a server's model write the sentences.

    The file is saved after each answer: run the same command again to go on.
    It notes model, server, date and question, never the key.
    """
    from lgca_core.evaluation.targets import check_parent
    from lgca_core.prompts.chat import ChatServer
    from lgca_core.prompts.names import listed
    from lgca_core.prompts.writing import ROUNDS, Sentences, write_sentences

    key = os.environ.get(key_from or "OPENAI_API_KEY") or None
    if key_from and key is None:
        raise LgcaError(f"the environment variable {key_from!r}, which --key-from names, is not set")
    asked = ChatServer(
        server, model, key, timeout, waiting=lambda seconds, reason: note(f"{reason}: waiting {seconds:.0f} s")
    )
    check_parent(out, "the sentences")
    made = Sentences.of(out, class_names(classes, images), kind)
    kept = f"the answers so far are in {out}: give the same command again, and it goes on from there"
    with progress(f"{model} on {asked.url}", kept=kept) as shown:
        write_sentences(made, asked, count=sentences, about=about, batch=batch, progress=shown, report=note)
    if lacking := made.short(1):
        raise LgcaError(
            f"{model} wrote nothing that could be read for {listed(lacking)}, asked {ROUNDS} times; the others are in "
            f"{out}: run the command again, with another model or a smaller --batch"
        )
    if short := made.short(sentences):
        note(f"fewer than {sentences} for {listed(short)}: run the command again to ask for more")
    _report(made, out)


def _report(made: "Sentences", out: Path) -> None:
    """Say what the file has, as `lgca prompts check` does."""
    from lgca_core.prompts.names import listed
    from lgca_core.prompts.survey import survey

    said = {name: made.table[name] for name in made.classes if made.table[name]}
    with status("counting tokens"):
        found = survey(said)
    least, _, most = found.counts
    say(f"{out}: {found.classes} classes, {found.sentences} {made.wanted}, {least} to {most} a class")
    for line in oddities(found, single=made.wanted == "descriptions"):
        say(line)
    if made.others:
        say(f"It also describes {listed(made.others)}, which it had before")


def _read(place: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        raise LgcaError(f"{place} cannot be read ({error.strerror}): give a file with an answer") from error
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LgcaError(f"{place} is not UTF-8 text: save the answer as plain text in UTF-8") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 70 else f"{text[:66]} ...")
