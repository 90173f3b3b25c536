"""What benchmarks share: arms take turns on one clock, pictures are like photographs, records are whole."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from lgca_core.bench import harness
from lgca_core.bench.record import newest, read_all, timings, write
from lgca_core.errors import LgcaError
from lgca_core.read_ahead import views_of_files

HERE = torch.device("cpu")


def test_arms_take_turns_and_the_first_turn_is_not_counted(seconds):
    ran, spent = [], iter([100, 200, 1, 2, 3, 4])

    def arm(name):
        def run():
            ran.append(name)
            seconds(next(spent))

        return run

    lines = []
    found = harness.time_in_turns({"a": arm("a"), "b": arm("b")}, 2, HERE, lines.append)
    assert ran == ["a", "b"] * 3
    assert found == {"a": [1, 3], "b": [2, 4]}
    assert lines[::5] == ["warming up: a: 100.00 s", "2 of 2: b: 4.00 s"]


def test_arms_that_have_run_need_no_first_turn(seconds):
    assert harness.time_in_turns({"a": lambda: seconds(7)}, 2, HERE, str, warm_up=False) == {"a": [7, 7]}


@pytest.mark.parametrize("warm_up", [True, False])
def test_what_takes_long_runs_once(seconds, warm_up):
    ran = []
    arms = {"short": lambda: seconds(1), "long": lambda: (ran.append("long"), seconds(1000))}
    found = harness.time_in_turns(arms, 3, HERE, str, warm_up=warm_up, once={"long"})
    assert found == {"short": [1, 1, 1], "long": [1000]} and ran == ["long"]


def test_a_gpu_has_done_its_work_when_the_clock_is_read(monkeypatch):
    told = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: told.append(("waited for", device)))
    monkeypatch.setattr("time.perf_counter", lambda: told.append("read") or 5.0)
    gpu = torch.device("cuda", 0)
    assert harness.clock(gpu) == 5 and told == [("waited for", gpu), "read"]
    assert harness.clock(HERE) == 5 and told[2:] == ["read"]


def test_a_record_has_the_median_of_the_turns():
    assert timings({"a": [3.0, 1.0, 2.0]}) == {"seconds": {"a": [3.0, 1.0, 2.0]}, "median_seconds": {"a": 2.0}}


def test_the_pictures_are_as_large_as_photographs(tmp_path):
    [file] = harness.paint_photographs(tmp_path, 1)
    with Image.open(file) as picture:
        assert (picture.size, picture.format) == ((500, 375), "JPEG")
    assert 50_000 < file.stat().st_size < 200_000


def test_pictures_are_read_ahead_in_order_and_a_bad_one_is_told_at_its_turn(tmp_path):
    files = harness.paint_photographs(tmp_path, 3)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with harness.models("aviary", "cpu") as (encoder, _):
        chunks = views_of_files(encoder, [*files, tmp_path / "bad.jpg"], chunk=2)
        assert list(next(chunks)[0]) == [0, 1]
        with pytest.raises(LgcaError, match=r"bad\.jpg"):
            next(chunks)
        assert list(views_of_files(encoder, [])) == []


# ---- records -----------------------------------------------------------------------------------------------


def test_a_record_is_whole_or_absent(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(LgcaError, match="No space left"):
        write({"benchmark": "one", "utc": "2026-01-02T03:04:05Z"}, tmp_path, "aviary-cpu")
    assert list(tmp_path.iterdir()) == []


def test_records_are_read_oldest_first_and_others_are_refused(tmp_path):
    for utc in ("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"):
        write({"benchmark": "growth", "utc": utc, "precision": "float32"}, tmp_path, "aviary")
    assert (tmp_path / "growth-aviary-20260201T000000Z.json").is_file()
    known = read_all(tmp_path)
    assert [record["utc"][5:7] for record in known] == ["01", "02"]
    assert newest(known, benchmark="growth") == known[1] and newest(known, precision="bfloat16") is None
    assert read_all(tmp_path / "absent") == []
    (tmp_path / ".draft.json").write_text("{")
    assert len(read_all(tmp_path)) == 2
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(LgcaError, match=r"bad\.json: not the record"):
        read_all(tmp_path)


def test_records_of_earlier_versions_can_be_read():
    records = read_all(Path(__file__).parents[2] / "results" / "bench")
    assert {json.dumps(record["benchmark"]) for record in records} == {
        json.dumps(kind)
        for kind in (
            "pipeline",
            "encoding",
            "resample",
            "class-matrix",
            "growth",
            "precision",
            "store-memory",
            "graph-attention",
        )
    }
