"""What Snakemake would run for a graph of committed records, in a checkout without any."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import typer

from lgca_core.cli.commands import app
from support.shared import ROOT


def planned_graph(target: str, folder: Path) -> str:
    """What Snakemake says that it would do for `book/TARGET.smk`, in a copy of this checkout at `folder`."""
    for name in ("book", "lgca_core"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    words = [target, "--snakefile", f"book/{target}.smk", "--cores", "1", "--nolock", "--dry-run", "--printshellcmds"]
    environment = os.environ | {"PYTHONPATH": f"{folder}:{folder / 'book'}"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands_of(program: str, planned: str) -> list[list[str]]:
    """The words after a program's name in what is planned, each command once."""
    lines = dict.fromkeys(re.findall(rf"(?:^|; )\S*/{program} (.*)", planned, re.MULTILINE))
    return [shlex.split(line.partition(" > ")[0]) for line in lines]


def understood(words: list[str]) -> dict[str, object]:
    """The parameters that a command of `lgca` takes from its words; it fails on what it does not know."""
    command, rest = typer.main.get_command(app), list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command.make_context("lgca", rest).params
