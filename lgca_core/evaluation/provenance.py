"""The code, the libraries and the moment that a figure was made with. Needs nothing that Python does not bring."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path


def code_version() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package runs from, and whether the package differs from it.

    ``(None, None)`` when the package does not lie in a git checkout that tracks it, as when it is installed.
    Dirty means that a file of the package itself is changed, deleted or new; notes and results do not count.
    """
    here = Path(__file__).resolve()
    package = here.parents[1]

    def git(*words: str) -> str | None:
        try:
            command = ["git", "-C", str(package), *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", str(here.relative_to(package))) is None:  # a venv inside somebody's checkout
        return None, None
    commit, status = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", ".")
    if commit is None or status is None:
        return None, None
    return commit, bool(status)


def library_versions() -> dict[str, str]:
    """Versions of what a result can depend on, by distribution name; absent ones are left out."""
    names = ["lgca-core", "torch", "torchvision", "open_clip_torch", "numpy", "pillow", "pandas", "scipy"]
    names += ["numba", "triton"]
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def utc_now() -> datetime:
    """The present moment, UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
