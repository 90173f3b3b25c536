"""``lgca classify``: name what is in pictures."""

import glob
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lgca_core.cli import options
from lgca_core.cli.answers import PRINTERS, Format
from lgca_core.cli.base import app, stopping
from lgca_core.cli.output import say
from lgca_core.cli.progress import progress
from lgca_core.errors import LgcaError

if TYPE_CHECKING:
    from lgca_core.encoder import Encoder
    from lgca_core.evaluation.classifier import ScoreArray

NONE = "none"
"""The answer where no class is likely enough."""


@app.command(
    epilog="\b\nExamples:\n"
    "  lgca classify photo.jpg --classes cat,dog --encoder ViT-B-32-quickgelu:openai\n"
    "  lgca classify photos/ --classes names.txt --format csv > answers.csv\n"
    "  lgca classify '*.jpg' --descriptions pets.json --method lgca,clip --top-k 3\n"
    "  find . -name '*.jpg' -print0 | lgca classify - -0 --classes cat,dog --format jsonl"
)
def classify(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO...",
            help="Pictures, folders of them, or patterns; - reads names from standard input, one a line.",
            show_default=False,
        ),
    ],
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES|FILE",
            help="Names with commas between, or a file with one a line; by default those of --descriptions.",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME,...", help=f"Any of {options.METHODS_HELP}; several see the same crops.")
    ] = "lgca",
    top: Annotated[int, typer.Option("--top-k", "--top", min=1, help="How many classes to show for each picture.")] = 5,
    none_below: Annotated[
        float | None,
        typer.Option(metavar="P", min=0.0, max=1.0, help="Answer 'none' where the best class is less probable than P."),
    ] = None,
    independent: Annotated[
        bool,
        typer.Option("--independent", help="Probabilities of each class by itself; for models such as SigLIP."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Keys the crops.")] = 0,
    on_error: Annotated[
        Literal["skip", "raise"],
        typer.Option(help="Name a picture that cannot be read on stderr and go on, then end with 1; or stop."),
    ] = "skip",
    scale_grey: options.ScaleGrey = False,
    on_white: options.OnWhite = False,
    nul: Annotated[bool, typer.Option("-0", "--null", help="Names on standard input end with a NUL.")] = False,
    form: Annotated[
        Format,
        typer.Option(
            "--format", rich_help_panel="Output", help="json is one document; all others come as they are found."
        ),
    ] = "table",
    as_json: Annotated[bool, typer.Option("--json", rich_help_panel="Output", help="Short for --format json.")] = False,
    descriptions: options.Descriptions = None,
    descriptors: options.Descriptors = None,
    templates: options.Templates = None,
    encoder: options.EncoderSpec = None,
    device: options.Device = "auto",
    precision: options.Precision = "float32",
    batch_size: options.BatchSize = None,
    n: options.N = 60,
) -> None:
    """Name what is in pictures, out of the classes given.

    Scores are in cosine units; probabilities are theirs by the model's own
    scale, where it says one. Without descriptions the methods that want them
    use generic templates instead. Status 1: some pictures could not be read.
    """
    from lgca_core import methods
    from lgca_core.data.manifest import Conversion
    from lgca_core.encoders.embedded import EMBEDDED
    from lgca_core.evaluation import classifier
    from lgca_core.evaluation.jobs import prepare_jobs
    from lgca_core.prompts import files, own_classes

    if as_json and form not in ("table", "json"):
        raise LgcaError(f"give --json or --format {form}, not both")
    form = "json" if as_json else form
    asked = options.names(method, "--method")
    methods.check_methods(asked)
    wca, lgca = options.wca_and_lgca(n)
    named = _classes(classes) if classes is not None else None
    if named is None and descriptions is None:
        raise LgcaError("no classes given: name them, as in --classes cat,dog, or give --descriptions")
    if named is not None:
        own_classes.check_classes(named)
    described = files.read_descriptions(descriptions, named) if descriptions else None
    said = own_classes.prompts_of_classes(
        named or list(described or ()),
        {name: methods.find(name).prompts for name in asked},
        files.read_templates(templates) if templates else None,
        descriptions=described,
        descriptors=files.read_descriptions(descriptors, named or list(described or ())) if descriptors else None,
    )
    if none_below is not None and NONE in said.classes:
        raise LgcaError(f"a class is called {NONE!r}, which --none-below answers: rename it, or leave that out")
    for name in asked:
        said.of(methods.find(name).prompts, method=name, seed=seed)
    spec = options.resolve_encoder(encoder)
    notes = [*said.notes, *([options.OWN_WORLD] if spec in EMBEDDED else [])]
    failed: list[str] = []

    def fail(photo: str, why: str) -> None:
        if on_error == "raise":
            raise LgcaError(f"{why}; remove it, or go on past such files with --on-error skip")
        failed.append(photo)
        say(f"error: {why}", err=True)

    listed = "-" in photos
    found: Iterable[str] = _found(photos, nul, fail)
    total = None
    if not listed:
        found = list(found)
        total = len(found)
        if not found:
            raise typer.Exit(2)
    model = options.load(spec, device, precision, batch_size)
    if independent or none_below is not None:
        classifier.scale_and_bias(model, independent=independent)
    jobs, _ = prepare_jobs(model, said, asked, [seed], methods.Settings(wca, lgca))
    notes += jobs.notes
    printer = PRINTERS[form](
        {"encoder": model.name, "method": ",".join(asked), "seed": seed, "notes": notes}, len(asked) > 1
    )
    done = 0
    shows = sys.stdout.isatty() or listed  # how far it is
    bar = nullcontext(_no_progress) if shows else progress("classify", lambda: model.image_passes)
    kept = lambda: f"{done} pictures are answered, and those answers are whole; give the others to go on"  # noqa: E731
    with bar as shown, stopping(kept):
        ahead = 0 if _is_live(photos) else classifier.AHEAD
        conversion = Conversion(scale_grey, on_white)
        for photo, scores in classifier.answers(model, jobs, found, ahead=ahead, conversion=conversion):
            path = str(photo)
            if isinstance(scores, LgcaError):
                printer.failed(path, str(scores).removeprefix(f"{path}: "))
                fail(path, str(scores))
                continue
            for job, of_method in zip(jobs, scores, strict=True):
                rows = _rows(said.classes, of_method.double().numpy(), model, independent)
                unlikely = none_below is not None and rows[0]["probability"] < none_below
                answer = NONE if unlikely else rows[0]["name"]
                printer.answer({"path": path, "method": job.method, "answer": answer, "classes": rows[:top]})
            done += 1
            shown(done + len(failed), total)
    if done:
        printer.end()
    if failed or not done:
        raise typer.Exit(1 if done else 2)


def _no_progress(done: int, total: int | None) -> None:
    """The answers themselves say how far it is."""


def _rows(classes: Sequence[str], scores: "ScoreArray", model: "Encoder", independent: bool) -> list[dict[str, Any]]:
    """Every class with its score, and its probability where it is known, best first."""
    from lgca_core.evaluation.classifier import probabilities, ranked

    known = None if model.logit_scale is None else probabilities(model, scores, independent=independent)
    return [
        {"name": classes[c], "score": round(float(scores[c]), 6)}
        | ({} if known is None else {"probability": round(float(known[c]), 6)})
        for c in ranked(scores)
    ]


# ---- which pictures ----------------------------------------------------------------------------------------


def _classes(text: str) -> list[str]:
    """Names with commas between them, or the lines of a file."""
    file = Path(text)
    try:
        if not file.is_file():
            if "," not in text and (file.suffix in (".txt", ".csv") or "/" in text):
                raise LgcaError(
                    f"--classes: there is no file {text}: give one with a name a line, or names with commas"
                )
            return options.names(text, "--classes")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise LgcaError(f"{text} is not UTF-8 text: save it with one name a line") from error
    except OSError as error:
        if "," in text:  # too long for a path, or below a file: names
            return options.names(text, "--classes")
        raise LgcaError(
            f"--classes {text} cannot be read ({error.strerror}): give a file with a name a line"
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise LgcaError(f"{text} holds no names: write one a line")
    return names


def _stdin() -> Any:
    return getattr(sys.stdin, "buffer", sys.stdin)


def _found(photos: Sequence[str], nul: bool, fail: Any) -> Iterator[str]:
    """Every picture asked for, in order; what is none is handed to `fail`."""
    for photo in photos:
        if photo == "-":
            yield from _listed(nul)
            continue
        try:
            yield from _at(photo)
        except LgcaError as error:
            fail(photo, str(error))


def _is_live(photos: Sequence[str]) -> bool:
    """Whether names come from another process, which may want an answer before it gives the next."""
    if "-" not in photos:
        return False
    try:
        return not stat.S_ISREG(os.fstat(_stdin().fileno()).st_mode)
    except (OSError, ValueError):  # no file at all
        return True


def _listed(nul: bool) -> Iterator[str]:
    """The names on standard input, each as it comes."""
    if sys.stdin.isatty():
        say("reading names of pictures from the terminal, one a line; Ctrl-D ends them", err=True)
    end, rest = b"\0" if nul else b"\n", b""
    stream = _stdin()
    while piece := stream.read1(1 << 16):
        *lines, rest = (rest + piece).split(end)
        yield from map(os.fsdecode, filter(None, (line.removesuffix(b"\r") if not nul else line for line in lines)))
    if rest:
        yield os.fsdecode(rest)


def _at(photo: str) -> Iterable[str]:
    """The pictures of one argument. LgcaError where there are none."""
    try:
        if os.path.isdir(photo):
            return _below(photo)
        if os.path.lexists(photo):
            if os.path.isfile(photo):
                return [photo]
            raise LgcaError(f"{photo} is not a file: give pictures to classify")
        if glob.has_magic(photo):
            if matched := sorted(name for name in glob.glob(photo, recursive=True) if os.path.isfile(name)):
                return matched
            raise LgcaError(f"{photo} matches no file: give pictures to classify")
    except (OSError, ValueError) as error:  # too long, or a NUL in it
        raise LgcaError(f"{photo} is no path ({error}): give pictures to classify") from error
    raise LgcaError(f"{photo} is not a file: give pictures to classify")


def _below(folder: str) -> list[str]:
    """The pictures in a folder and those below it, as class folders are read: what is no picture is counted."""
    from lgca_core.data.debris import Passed, pictures_below

    passed = Passed()
    try:
        found = pictures_below(Path(folder), passed)
    except OSError as error:
        raise LgcaError(
            f"{error.filename} cannot be read ({error.strerror}): allow it, or name its pictures"
        ) from error
    if not found:
        raise LgcaError(f"{folder} holds no pictures: give pictures to classify")
    if said := str(passed):
        say(f"note: {folder}: {said}", err=True)
    return list(map(str, found))
