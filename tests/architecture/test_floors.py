"""The plan of the rooms: who may import whom, how large a room may be, and that a name means one thing."""

import ast
from collections import defaultdict

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from support.shared import ROOT

CORE = ROOT / "lgca_core"
LARGER = {"aviary/painter.py", "aviary/train.py"}  # one picture, one training: long, but each a single thread


def lines(*patterns: str) -> int:
    """Lines of the files of the core that match."""
    return sum(len(file.read_text().splitlines()) for pattern in patterns for file in CORE.glob(pattern))


def test_every_import_goes_down(monkeypatch, capsys):
    """Imports inside functions count; a file without a floor is a fault as well."""
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_core_fits_a_screen():
    assert len(list(CORE.glob("*.py"))) <= 16
    assert lines("*.py") <= 1_400
    assert lines("*.py", "pixels/*.py") <= 2_400
    assert lines("encoders/*.py") <= 1_300  # models as people have them: tags, files, folders, repositories


@pytest.mark.parametrize("package", [CORE, ROOT / "book" / "lgca_book"])
def test_no_file_is_long(package):
    long = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if len(file.read_text().splitlines()) > 450
    }
    assert long <= LARGER


def test_a_public_name_is_defined_once():
    """Within the core; a command may be called after what it runs."""
    places = defaultdict(list)
    for file in sorted(CORE.rglob("*.py")):
        room = file.relative_to(CORE)
        if room.parts[0] == "cli":
            continue
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            else:
                names = []
            for name in names:
                if not name.startswith("_"):
                    places[name].append(room.as_posix())
    twice = {name: rooms for name, rooms in places.items() if len(rooms) > 1}
    assert not twice
