"""The place of a result: tried before the work, held against other processes, swept of what killed ones left."""

import os
import shutil
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest

from lgca_core.errors import LgcaError
from lgca_core.evaluation import record as records, targets
from lgca_core.evaluation.parts import check_free_file
from lgca_core.evaluation.record import RECORD, Path, check_free, load, reserved, save
from lgca_core.evaluation.store import store as stores
from lgca_core.evaluation.store.store import Store
from support.command_line import files as found
from support.records import toy_record
from support.shared import ROOT


@pytest.fixture
def made():
    return toy_record({"wca": np.array([1, 0, 1])})


@pytest.mark.parametrize("check", [check_free, check_free_file])
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc on this system")
def test_root_may_not_write_everywhere(check):
    with pytest.raises(LgcaError, match=r"/proc cannot be written .*/proc/nope/out"):
        check(Path("/proc/nope/out"))


@pytest.mark.parametrize("check", [check_free, check_free_file])
def test_a_place_is_tried_and_left_as_it_was(check, tmp_path, monkeypatch):
    check(tmp_path / "deep" / "down" / "out")
    assert found(tmp_path) == set()
    for name in ("x" * 300, f"{'x' * 300}/out", "x" * 250):  # the last is a name, but none has room for its draft
        with pytest.raises(LgcaError, match=r"cannot be written \(File name too long\)"):
            check(tmp_path / name)
    assert found(tmp_path) == set()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LgcaError, match=r"No space left on device.* cannot go to .*out"):
        check(tmp_path / "out")
    assert found(tmp_path) == set()


def test_a_file_system_for_reading_only(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    with pytest.raises(LgcaError, match="Read-only file system"):
        check_free(tmp_path / "out")
    (tmp_path / "there").mkdir()
    with pytest.raises(LgcaError, match="Read-only file system"):
        check_free(tmp_path / "there")  # it would be exchanged for the record, beside which nothing can be made


def test_a_folder_that_cannot_be_exchanged_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    for here in (".", tmp_path / "out"):
        with pytest.raises(LgcaError, match=r"current folder.*give one inside.*record"):
            check_free(here)
    monkeypatch.chdir(tmp_path)
    check_free("out")
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "out")
    with pytest.raises(LgcaError, match=r"mounted there.*out/record"):
        check_free("out")


def test_a_link_is_followed(tmp_path, made):
    (tmp_path / "far" / "run").mkdir(parents=True)
    (tmp_path / "here").symlink_to(tmp_path / "far" / "run")
    with reserved(tmp_path / "here"):
        save(*made, tmp_path / "here")
    assert (tmp_path / "here").is_symlink() and load(tmp_path / "here")[0] == load(tmp_path / "far" / "run")[0]
    assert os.listdir(tmp_path / "far") == ["run"]


HOLDS = """
import sys
from lgca_core.evaluation.record import reserved
with reserved(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_told_and_a_killed_one_holds_nothing(tmp_path, made):
    place = tmp_path / "new" / "run"
    words = [sys.executable, "-c", HOLDS, str(place)]
    other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LgcaError, match=r"another process is at work on .*run"), reserved(place):
            pytest.fail("two hold it")
    finally:
        other.kill()
        other.communicate()
    with reserved(place):
        save(*made, place)
    assert found(tmp_path) == {"new", "new/run", f"new/run/{RECORD}", f"new/run/{records.PREDICTIONS}"}


def test_what_was_made_for_a_result_that_never_came_is_gone(tmp_path):
    with pytest.raises(KeyboardInterrupt), reserved(tmp_path / "a" / "b" / "run"):
        assert found(tmp_path) == {"a", "a/b", "a/b/.run.lock"}
        raise KeyboardInterrupt
    assert found(tmp_path) == set()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(3))
def test_a_record_survives_a_kill_while_it_is_replaced(tmp_path, made, monkeypatch, step):
    """At each rename, and when the old record is removed: it or the new one is there in the next run."""
    place = tmp_path / "run"
    save(*made, place)
    newer = toy_record({"wca": np.array([1, 1, 1])}, device="cuda")
    steps = iter(range(10))

    def or_die(call):
        def until(*given, **named):
            if next(steps) >= step:
                raise Killed
            return call(*given, **named)

        return until

    with monkeypatch.context() as killed, pytest.raises(Killed):
        killed.setattr(records, "check_free", lambda folder, **_: folder)
        killed.setattr(Path, "rename", or_die(Path.rename))
        killed.setattr(shutil, "rmtree", or_die(shutil.rmtree))  # so that nothing cleans up
        save(*newer, place, force=True)
    with reserved(place, force=True):
        assert load(place)[0].device == ("cpu" if step < 2 else "cuda")
        assert {name for name in os.listdir(tmp_path)} == {"run", ".run.lock"}
    with pytest.raises(LgcaError, match="--force"), reserved(place):
        pytest.fail("it is taken")


def test_a_replacement_that_fails_leaves_the_old_one(tmp_path, made, monkeypatch):
    save(*made, tmp_path / "run")
    rename = Path.rename

    def only_away(path, target):
        if not str(target).endswith("-old") and path.name.startswith(".run.draft-") and not path.name.endswith("-old"):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", only_away)
    with pytest.raises(LgcaError, match="Input/output"):
        save(*toy_record({"wca": np.array([1, 1, 1])}), tmp_path / "run", force=True)
    assert load(tmp_path / "run")[0].runs[0].correct == 2
    assert os.listdir(tmp_path) == ["run"]


def test_a_file_system_without_locks_is_one_to_write_to(tmp_path, made, monkeypatch):
    import filelock

    def cannot(*_, **__):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(filelock.FileLock, "acquire", cannot)
    with reserved(tmp_path / "run"):
        save(*made, tmp_path / "run")
    assert os.listdir(tmp_path) == ["run"]


def test_a_store_is_tried_and_asked_for_room(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    store.check()
    assert os.listdir(store.root) == []
    monkeypatch.setattr(stores.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    store.check(room=10**9)
    with pytest.raises(LgcaError, match=r"take about 2\.5 GB.*1\.0 GB free: set LGCA_STORE"):
        store.check(room=2_500_000_000)
    (tmp_path / "file").touch()
    with pytest.raises(LgcaError, match=r"cannot write to the store .*LGCA_STORE"):
        Store(tmp_path / "file" / "store").check()


def test_folders_are_restored_only_where_they_are_missing(tmp_path):
    for name in ("run", ".run.draft-a-old", ".run.draft-b", ".runner.draft-c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "of").write_text(name)
    targets.restore_folder(tmp_path / "run")
    assert sorted(os.listdir(tmp_path)) == [".runner.draft-c", "run"]
    assert (tmp_path / "run" / "of").read_text() == "run"


def test_a_disk_is_asked_for_room(tmp_path, monkeypatch):
    monkeypatch.setattr(targets.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    targets.check_room(tmp_path / "deep" / "run", "the record", 5_000_000)
    with pytest.raises(LgcaError, match=r"the record takes about 6 MB, and .* has 5 MB free.*deep/run: choose another"):
        targets.check_room(tmp_path / "deep" / "run", "the record", 6_000_000)
