"""What a record says of the code and the libraries behind it."""

import subprocess
from datetime import timedelta

from lgca_core.evaluation import provenance


def test_code_version_follows_git(tmp_path, monkeypatch):
    package = tmp_path / "repo" / "pkg"
    (package / "evaluation").mkdir(parents=True)
    (package / "evaluation" / "provenance.py").write_text("1")
    monkeypatch.setattr(provenance, "__file__", str(package / "evaluation" / "provenance.py"))
    assert provenance.code_version() == (None, None)

    def git(*words):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run(["git", "-C", str(tmp_path / "repo"), *who, *words], check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    git("commit", "-qm", "zero", "--allow-empty")
    assert provenance.code_version() == (None, None)  # in a checkout that does not track it
    git("add", ".")
    git("commit", "-qm", "one")
    head = git("rev-parse", "HEAD")
    assert provenance.code_version() == (head, False)
    (tmp_path / "repo" / "notes.txt").write_text("not the package")
    assert provenance.code_version() == (head, False)
    (package / "new.py").write_text("2")
    assert provenance.code_version() == (head, True)


def test_library_versions_name_what_counts():
    found = provenance.library_versions()
    assert {"python", "torch", "open_clip_torch", "numpy", "pillow"} <= found.keys()
    assert provenance.utc_now().utcoffset() == timedelta(0)
