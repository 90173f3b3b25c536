"""What only one feature needs is an extra: without it the rest works, and one sentence names it."""

import ast
import sys

import pytest

from support.command_line import files, lgca, refused
from support.shared import ROOT

EXTRAS = {"cv2": "aviary", "statsmodels": "test", "torch_geometric": "test"}


def test_the_core_imports_no_library_of_an_extra_by_name():
    """But in one place: an import as it stands would end in a traceback where the library lacks."""
    found = {
        name.name.partition(".")[0]
        for file in (ROOT / "lgca_core").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for name in node.names
    } | {
        (node.module or "").partition(".")[0]
        for file in (ROOT / "lgca_core").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    assert {"torch", "numpy"} <= found and not found & set(EXTRAS)


def test_without_opencv_only_the_painting_fails(monkeypatch, home):
    monkeypatch.setitem(sys.modules, "cv2", None)
    status, out, _ = lgca("datasets")
    assert status == 0 and "aviary-small" in out
    message = refused("evaluate", "--dataset", "aviary-small", "--encoder", "aviary", "--out", home / "run")
    assert "pip install 'lgca-core[aviary]'" in message
    assert not home.exists() or not any(path.endswith(".png") or "record" in path for path in files(home))


@pytest.mark.parametrize("values", [[], [0.01], [0.04, 0.01, 0.03, 0.01, 0.9], [0.5, 0.6, 0.7]])
def test_holms_correction_is_that_of_statsmodels(values):
    from statsmodels.stats.multitest import multipletests

    from lgca_core.evaluation.statistics import holm

    assert holm(values).tolist() == (multipletests(values, method="holm")[1].tolist() if values else [])
