"""What is printed: names as they are on any terminal, how far a command is, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lgca_core.cli import base, progress
from lgca_core.cli.output import listing, shown
from support.command_line import lgca
from support.shared import ROOT

NAMES = [
    "crab [adult]",
    "okapi [/]",
    ":crab:",
    "[bold]x[/bold]",
    "鷺",
    "a\x1b[31mred",
    "b\u202egnp",
    "caf\udce9",
    "l\nf",
]
WORDS = ["--encoder", "aviary", "--method", "clip", "--device", "cpu"]


@pytest.mark.parametrize(
    ("name", "as_shown"),
    [
        ("crab [adult]", "crab [adult]"),
        ("Bär 鷺 🦀 👩‍🔬", "Bär 鷺 🦀 👩‍🔬"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("b\u202e\u2066", "b\\u202e\\u2066"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("l\n\t\u2028", "l\\n\\t\\u2028"),
    ],
)
def test_a_name_is_shown_on_one_line_and_obeyed_by_no_terminal(name, as_shown):
    assert shown(name) == as_shown


def test_a_listing_shows_names_as_they_are(capsys):
    listing([{"name": name} for name in NAMES])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line][2:] == [shown(name) for name in NAMES]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Pictures whose names a terminal could stumble over, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("[red] a.png", "caf\udce9.png", "b\u202e.png"):
        Image.new("RGB", (20, 20), "red").save(tmp_path / name)
    (tmp_path / "names.txt").write_text("crab [adult]\nokapi [/]\n:crab:\n鷺\n", encoding="utf-8")
    return tmp_path


FORMS = ("table", "json", "jsonl", "csv")
IN_EVERY_FORM = """
import sys
from lgca_core.cli.commands import app

for form in sys.argv[1].split(","):
    try:
        app([*sys.argv[2:], "--format", form])
    except SystemExit as end:
        for stream in (sys.stdout, sys.stderr):
            print(f"-- ended with {end.code}", file=stream, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_no_terminal_is_too_poor_for_a_name(pictures, encoding):
    words = ["classify", ".", "gone \udce9 鷺.png", "--classes", "names.txt", *WORDS]
    done = subprocess.run(
        [sys.executable, "-c", IN_EVERY_FORM, ",".join(FORMS), *words],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)},
    )
    outs, errs = (of.decode(encoding).split("-- ended with 1\n") for of in (done.stdout, done.stderr))
    assert len(outs) == len(errs) == len(FORMS) + 1 and done.returncode == 0, done.stderr
    for form, out, err in zip(FORMS, outs, errs, strict=False):
        assert "Traceback" not in err
        assert "gone \\xe9" in err and "crab [adult]" in out and "caf\\" in out and "okapi [/]" in out
        assert ("\x1b" not in out + err and "\u202e" not in out + err) or form in ("json", "jsonl", "csv")


def test_help_by_a_letter_and_completion():
    assert lgca("-h")[1] == lgca("--help")[1]
    assert lgca("classify", "-h")[1] == lgca("classify", "--help")[1]
    assert lgca("store", "rm", "-h")[0] == 0
    assert "--install-completion" in lgca("-h")[1]
    assert "ViT-B-32-quickgelu:openai" in lgca("-h")[1].split("Examples")[1].splitlines()[2]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_log_estimates_at_once_and_then_tells_tenths_and_half_minutes():
    clock, lines, passes = Clock(), [], iter(range(100, 10_000, 100))
    log = progress.Log("birds", lambda: next(passes), clock=clock, write=lines.append)
    log(0, 1000)
    clock.now = 2.0
    log(10, 1000)  # 198 s are left
    assert lines == ["birds: 10 of 1,000 pictures, 100 passes, 5 pictures/s, about 0:03:18 left"]
    clock.now = 4.0
    log(20, 1000)
    assert len(lines) == 1
    clock.now = 33.0
    log(21, 1000)  # half a minute
    assert len(lines) == 2
    clock.now = 44.0
    log(100, 1000)  # a tenth
    assert len(lines) == 3 and lines[-1].startswith("birds: 100 of 1,000")
    clock.now = 46.0
    log(200, 1000)  # a tenth, too soon after
    assert len(lines) == 3


def test_a_log_of_short_work_is_silent():
    clock, lines = Clock(), []
    log = progress.Log("birds", clock=clock, write=lines.append)
    for done in range(1, 11):
        clock.now = done / 2
        log(done, 10)
    assert lines == []


@pytest.mark.parametrize(("signalled", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_stops_a_command_is_told_what_is_kept(pictures, monkeypatch, signalled, status):
    from lgca_core.evaluation import classifier

    answers = classifier.answers

    def stopping(*given, **named):
        yield next(iter(answers(*given, **named)))
        signal.raise_signal(signalled)
        yield

    monkeypatch.setattr(classifier, "answers", stopping)
    code, out, err = lgca("classify", ".", "--classes", "names.txt", *WORDS, "--format", "jsonl")
    [answer] = out.splitlines()
    assert json.loads(answer)["classes"]
    assert code == status
    assert err.splitlines()[-1].startswith("stopped: 1 pictures are answered")


def test_any_command_that_is_stopped_says_one_sentence(monkeypatch):
    from lgca_core.encoders import registry

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "list_encoders", stop)
    status, out, err = lgca("encoders")
    assert (status, out) == (130, "") and err.startswith("stopped: ") and err.count("\n") == 1


def test_progress_says_how_far_it_was(capsys):
    said = pytest.raises(base.Stopped, match=r"after 3 of 9 pictures; the rest is lost")
    with said, progress.progress("x", kept="the rest is lost") as report:
        report(3, 9)
        raise KeyboardInterrupt


def test_who_reads_no_further_gets_no_traceback(pictures):
    code = "import sys; from lgca_core.cli import output; sys.argv[0] = 'lgca'; from lgca_core.cli import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code, "methods"], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_file_that_nobody_foresaw_is_one_sentence(monkeypatch):
    from lgca_core.encoders import registry

    def fail(*_):
        Path("/nowhere/at/all").read_text()

    monkeypatch.setattr(registry, "list_encoders", fail)
    status, _, err = lgca("encoders")
    assert status == 2 and err.startswith("error: /nowhere/at/all: ") and err.count("\n") == 1
