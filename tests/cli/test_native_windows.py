"""Native Windows is refused at the start, in one sentence; what locks files says so where Python has no such locks."""

import subprocess
import sys

import pytest


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_command_refuses_at_the_start():
    done = run("import sys; sys.platform = 'win32'; from lgca_core.cli import main; main()")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "WSL" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("lacking", "module"), [("fcntl", "lgca_core.evaluation.store"), ("resource", "lgca_core.evaluation.machine")]
)
def test_what_needs_unix_says_so(lacking, module):
    done = run(
        f"import sys; sys.modules['{lacking}'] = None\n"
        f"from lgca_core.errors import LgcaError\n"
        f"try:\n    import {module}\nexcept LgcaError as error:\n    print(error)"
    )
    assert "WSL" in done.stdout and done.stderr == ""
