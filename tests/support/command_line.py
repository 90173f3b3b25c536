"""``lgca`` within the process of a test: what it prints, how it ends, and what it leaves."""

from pathlib import Path

from typer.testing import CliRunner

from lgca_core.cli.commands import app


def lgca(*words, typed: str | None = None) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of ``lgca words...``, with what the user types."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def refused(*words, printed: bool = False) -> str:
    """The one sentence on stderr of a command that must fail with status 2; only some have `printed` before."""
    status, out, err = lgca(*words)
    assert status == 2, err
    assert bool(out) == printed
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Value error" not in err  # the parser's jargon
    return err


def files(folder: Path) -> set[str]:
    """What lies in a folder, at any depth."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
