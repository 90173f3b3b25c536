"""What is installed: every file of the packages that is no code is among their package data."""

import subprocess
import tomllib
from pathlib import PurePosixPath

import pytest

from support.shared import ROOT

DATA = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]


def test_every_file_travels_with_its_package():
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout, so no list of the files that belong to the packages")
    listed = subprocess.run(["git", "ls-files", "lgca_core"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [PurePosixPath(name) for name in listed.stdout.splitlines()]
    data = [file for file in files if file.suffix != ".py" and file.name != "README.md"]
    packed = {
        file
        for file in data
        for package, patterns in DATA.items()
        for pattern in patterns
        if file.match(f"{package.replace('.', '/')}/{pattern}")
    }
    assert len(data) > 8 and set(data) == packed
