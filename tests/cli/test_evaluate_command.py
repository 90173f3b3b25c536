"""``lgca evaluate`` and ``lgca encode`` that are stopped, refused early, or beside another: what they say and keep."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lgca_core.cli import options
from lgca_core.evaluation import evaluate as evaluation, targets
from lgca_core.evaluation.record import load, reserved
from support.command_line import files, lgca, refused

QUICK = ["--encoder", "aviary", "--device", "cpu", "--n", "2", "--seeds", "1", "--method", "wca,clip", "--chunk", "2"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory with nine pictures of three classes."""
    rng = np.random.default_rng(0)
    for name in ("red", "green", "blue"):
        (tmp_path / "things" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "things" / name / f"{number}.png")
    (tmp_path / "things.json").write_text(json.dumps({name: [f"a {name} thing."] for name in ("red", "green", "blue")}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*words):
    return ["evaluate", "--images", "things", "--descriptions", "things.json", *QUICK, *words]


def interrupted(monkeypatch, at: int, come) -> list:
    """From now on the encoder calls `come` at its call `at`; gives the encoders that are loaded."""
    load, made = options.load, []

    def with_an_end(*given):
        model = load(*given)
        encode, calls = model.encode_crops, iter(range(1_000_000))

        def until(crops):
            if next(calls) == at:
                come()
            return encode(crops)

        model.encode_crops = until
        made.append(model)
        return model

    monkeypatch.setattr(options, "load", with_an_end)
    return made


def ctrl_c():
    raise KeyboardInterrupt


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def hang_up():
    os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.parametrize(("come", "status"), [(ctrl_c, 130), (terminate, 143), (hang_up, 129)])
@pytest.mark.parametrize("command", ["evaluate", "encode"])
def test_a_command_that_is_stopped_says_what_is_kept_and_goes_on_from_there(work, monkeypatch, command, come, status):
    words = [command, *evaluate()[1:], "--out", "deep/out"]
    with monkeypatch.context() as patched:
        [stopped] = [interrupted(patched, 6, come)]
        code, _, said = lgca(*words)
    assert code == status
    store = os.environ["LGCA_STORE"]
    assert said.startswith(f"stopped: after 6 of 9 pictures; what was encoded is kept in {store}: ")
    assert said.count("\n") == 1
    assert not Path("deep").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with monkeypatch.context() as patched:
        [again] = [interrupted(patched, -1, None)]
        assert lgca(*words)[0] == 0
    assert stopped[0].image_passes > 0
    assert stopped[0].image_passes + again[0].image_passes == 9 * 3  # no crop twice


def test_without_a_store_it_says_that_nothing_is_kept(work, monkeypatch):
    before = files(work)
    interrupted(monkeypatch, 0, ctrl_c)
    code, _, said = lgca(*evaluate("--no-store"))
    assert code == 130 and said.startswith("stopped: ") and "--no-store" in said
    assert files(work) == before


def test_under_nohup_a_hang_up_is_none(work, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupted(monkeypatch, 1, hang_up)
        assert lgca(*evaluate())[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("command", ["evaluate", "encode"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(work, monkeypatch, command):
    load = options.load
    monkeypatch.setattr(options, "load", lambda *_: pytest.fail("a model was loaded"))
    words = [command, *evaluate()[1:]]
    before = files(work)
    assert "/proc cannot be written" in refused(*words, "--out", "/proc/nope/out")
    assert "File name too long" in refused(*words, "--out", "x" * 300)
    with reserved("mine/run"):
        assert "another process is at work on mine/run" in refused(*words, "--out", "mine/run")
    with monkeypatch.context() as full:
        full.setattr(targets.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        if command == "evaluate":
            assert "the record takes about" in refused(*words, "--out", "out")
        else:
            full.setattr(options, "load", load)
            assert "features to be encoded take about" in refused(*words, "--out", "out")
    Path("file").touch()
    monkeypatch.setenv("LGCA_STORE", "file/store")
    assert "cannot write to the store file/store" in refused(*words, "--out", "out")
    Path("file").unlink()
    assert files(work) == before


def test_parts_of_other_pictures_are_refused_before_a_model_is_loaded(work, monkeypatch):
    assert lgca("encode", *evaluate()[1:], "--out", "part.json")[0] == 0
    (work / "things" / "red" / "0.png").unlink()
    monkeypatch.setattr(options, "load", lambda *_: pytest.fail("a model was loaded"))
    assert "part 1/1 is of other pictures" in refused(*evaluate("--parts", "part.json"))


def test_a_record_whose_place_was_taken_meanwhile_is_not_lost(work, monkeypatch):
    run = evaluation.evaluate

    def slow(*given, **named):
        done = run(*given, **named)
        Path("out").mkdir()
        Path("out", "theirs.txt").touch()
        return done

    monkeypatch.setattr(evaluation, "evaluate", slow)
    code, out, err = lgca(*evaluate("--out", "out"))
    assert code == 0
    assert err.startswith("warning: out holds other files than a record") and "record: out-2" in out
    assert load("out-2")[0].dataset.count == 9 and os.listdir("out") == ["theirs.txt"]
