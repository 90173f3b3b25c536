"""Every command and every piece of Python in README.md runs, on stand-ins for pictures, models and servers.

What cannot run here stands in a table with its reason, and its options are parsed all the same. Whoever adds a block
adds at most a file to `stand_ins` or a line to a table.
"""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
import transformers
import typer

from lgca_core.cli.commands import app
from lgca_core.encoders import registry
from lgca_core.evaluation import classifier
from support.chat_stub import chatting
from support.command_line import lgca
from support.shared import ROOT
from support.stub_encoder import noise, noise_folders, rich

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^ *```(\w+)[^\n]*\n(.*?)^ *```$", README, flags=re.MULTILINE | re.DOTALL)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

CLASSES = ("heron", "egret", "stork")

PARSED = {
    "datasets fetch": "downloads gigabytes; tests/data fetch from the loopback",
    "prompts fetch": "downloads; tests/prompts fetch from the loopback",
    "goal": "trains, or reads captioned pictures; tests/related and tests/cli run each command",
    "hada": "trains, or reads captioned pictures; tests/related and tests/cli run each command",
    "bench": "takes minutes; tests/bench run the benchmarks",
    "results table": "reads records of real data sets; tests/cli have some",
}
"""Beginnings of commands of `lgca` that are parsed and not run, and why."""

OTHERS = {
    "pip": "changes what is installed",
    "uv": "changes what is installed",
    "pipx": "changes what is installed",
    "conda": "changes what is installed",
    "mamba": "changes what is installed",
    "git": "needs the repository's address",
    "cd": "the shell's",
    "export": "the shell's",
    "source": "the shell's",
    "python": "makes an environment",
    "python3": "makes an environment",
    "sudo": "changes the system",
    "rm": "removes the user's files",
    "find": "lists files",
    "papermill": "takes a minute; tests/slow run pages on own records",
}
"""Programs of others, which no test starts, and why."""


def commands() -> list[tuple[str, ...]]:
    """The commands of the shell's blocks, as words, without variables set before them and comments after."""
    found = []
    for language, block in BLOCKS:
        if language in ("bash", "sh", "shell", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s(?:&&|;|\||>)\s", line.strip().removeprefix("$ ")):
                    words = shlex.split(part, comments=True)
                    while words and re.fullmatch(r"\w+=\S*", words[0]):
                        words.pop(0)
                    if words:
                        found.append(tuple(words))
    return found


def words_of_lgca(words: tuple[str, ...]) -> list[str] | None:
    """The words after `lgca`, or None where a command is another program's."""
    program = Path(words[0]).name
    if program == "lgca":
        return list(words[1:])
    if program.startswith("python") and words[1:2] == ("-m",) and words[2] in ("lgca_core", "lgca_core.cli"):
        return list(words[3:])
    return None


OURS = [words for words in commands() if words_of_lgca(words) is not None]
PYTHON = [block for language, block in BLOCKS if language in ("python", "py")]


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """A folder with what the README takes to be there; encoders are stubs, and a chat server is on the loopback.

    transformers' model is a small one of random weights, and its tokenizer reads every sentence alike.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for module in (registry, classifier):
        monkeypatch.setattr(module, "load_encoder", lambda *_, **__: rich(sha256="0" * 64, logit_scale=100.0))
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(text_config=small, vision_config={**small, "patch_size": 112}, projection_dim=16)
    model, ids = transformers.CLIPModel(config), torch.tensor([49406, 320, 49407])
    monkeypatch.setattr(transformers.CLIPModel, "from_pretrained", lambda _: model)
    monkeypatch.setattr(
        transformers.AutoTokenizer,
        "from_pretrained",
        lambda _: lambda texts, **_: {"input_ids": ids.repeat(len(texts), 1)},
    )
    noise_folders(tmp_path / "photos", CLASSES)
    noise(60, 80).save("holiday.jpg")
    noise(50, 70, 1).save("photos/a.jpg")
    told = {name: [f"A {name} is a bird.", f"A {name} has a bill."] for name in CLASSES}
    for name in ("sentences.json", "answer.txt"):
        Path(name).write_text(json.dumps(told))
    with chatting() as chat:
        yield chat


def test_the_readme_has_blocks():
    assert len(OURS) > 3 and PYTHON


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_a_command_has_the_options_that_it_is_given(words):
    command, rest = typer.main.get_command(app), words_of_lgca(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    assert not hasattr(command, "commands") or not rest or rest[0].startswith("-"), f"no command {rest[0]!r}"
    command.make_context(words[0], rest)


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_a_command_runs(words, stand_ins):
    rest = words_of_lgca(words)
    for beginning, reason in PARSED.items():
        if " ".join(rest).startswith(beginning):
            pytest.skip(f"parsed only: {reason}")
    if "--server" in rest:
        rest[rest.index("--server") + 1] = stand_ins.url
    if rest[0] == "results":
        methods = ("--method", "lgca,cupl", "--seeds", "1", "--n", "4")
        lgca(
            "evaluate",
            "--images",
            "photos",
            "--descriptions",
            "sentences.json",
            *methods,
            "--encoder",
            "x",
            "--out",
            rest[2],
        )
    status, out, err = lgca(*rest, typed="photos/a.jpg\nholiday.jpg\n")
    assert status == 0, err
    assert out.strip()


@pytest.mark.parametrize("words", [words for words in commands() if words not in OURS], ids=" ".join)
def test_another_program_is_make_with_its_targets_or_listed(words):
    if words[0] != "make":
        assert Path(words[0]).name in OTHERS, f"{words[0]}: run it here, or list it with a reason"
        return
    for word in words[1:]:
        name, sets, _ = word.partition("=")
        assert re.search(
            rf"^GIVEN := .*\b{name}\b" if sets else rf"^([\w ]+ )?{name}( [\w ]+)?:", MAKEFILE, re.MULTILINE
        )


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.split("\n")[0])
def test_a_block_of_python_runs(block, stand_ins, monkeypatch, capsys):
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})
    assert "print(" not in block or capsys.readouterr().out.strip()


def test_the_tables_list_nothing_that_runs():
    assert not {"lgca", "make"} & set(OTHERS)
    assert all(PARSED.values()) and all(OTHERS.values())
