"""``lgca`` on pictures as people keep them: lists of labels, archives, odd names; and removing what was unpacked."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgca_core.evaluation.record import load
from support.command_line import lgca, refused

FAST = ["--encoder", "aviary", "--device", "cpu", "--no-store", "--method", "clip", "--seeds", "1"]


@pytest.fixture
def photos(tmp_path, home, monkeypatch) -> Path:
    rng = np.random.default_rng(0)
    for name in ("crab", "ibis"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        pixels = rng.integers(0, 256, size=(40, 48, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name / "1.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def evaluated(*words) -> tuple[str, dict, list[str]]:
    """(stdout, record, paths of the predictions)."""
    shutil.rmtree("out", ignore_errors=True)
    status, out, err = lgca("evaluate", *FAST, "--out", "out", *words)
    assert status == 0, err
    _, predictions = load("out")
    return " ".join(out.split()), json.loads(Path("out/record.json").read_text()), predictions["path"].tolist()


def test_labels_archives_names_and_what_is_done_to_pictures(photos):
    Path("labels.csv").write_text("path,label\nphotos/crab/1.png,7\nphotos/ibis/1.png,8\n")
    Path("names.csv").write_text("7,crab\n8,ibis\n")
    out, record, paths = evaluated("--labels", "labels.csv")
    assert "--class-names" in out and record["dataset"]["classes"] == ["7", "8"]
    out, record, paths = evaluated("--labels", "labels.csv", "--class-names", "names.csv", "--on-white")
    assert record["dataset"]["classes"] == ["crab", "ibis"] and paths == ["photos/crab/1.png", "photos/ibis/1.png"]
    assert record["parameters"]["pictures"] == {"scale_grey": False, "on_white": True}
    shutil.make_archive("photos", "zip", root_dir=".", base_dir="photos")
    out, record, paths = evaluated("--images", "photos.zip")
    assert record["dataset"]["name"] == "photos" and paths == ["crab/1.png", "ibis/1.png"]


def test_debris_is_said_and_odd_bytes_are_names(photos):
    (photos / "crab" / "Thumbs.db").touch()
    (photos / "crab" / "x.json").touch()
    odd = os.fsdecode(os.fsencode(photos / "ibis") + b"/caf\xe9.png")
    shutil.copy(photos / "crab" / "1.png", odd)
    out, _, paths = evaluated("--images", "photos")
    assert "Passed over: 1 file that is no picture (.json); 1 hidden or system entry." in out
    assert paths == ["crab/1.png", "ibis/1.png", "ibis/caf\\xe9.png"]


def test_grey_of_16_bits(photos):
    Image.fromarray(np.full((40, 40), 4096, dtype=np.uint16)).save(photos / "crab" / "deep.png")
    status, _, err = lgca("evaluate", *FAST, "--images", photos)
    assert status == 2 and "--scale-grey" in err
    _, record, paths = evaluated("--images", photos, "--scale-grey")
    assert len(paths) == 3 and record["parameters"]["pictures"]["scale_grey"]


@pytest.mark.parametrize("command", ["evaluate", "encode"])
def test_refusals_come_before_any_work(photos, command):
    given = [command, "--encoder", "nowhere:nothing", "--method", "clip"]
    assert "give either --images" in refused(*given)
    assert "give either --images" in refused(*given, "--labels", "x.csv", "--dataset", "aviary")
    assert "pictures of your own" in refused(*given, "--dataset", "aviary", "--class-names", "x.csv")
    assert "x.csv is not there" in refused(*given, "--labels", "x.csv")
    assert "only one class" in refused(*given, "--images", photos.parent)


def test_what_was_unpacked_is_listed_and_removed(photos, home):
    shutil.make_archive("photos", "zip", root_dir="photos")
    evaluated("--images", "photos.zip")
    assert "photos.zip" in lgca("datasets")[1]
    assert "for want of an answer" in refused("datasets", "rm", "photos.zip", printed=True)
    status, out, _ = lgca("datasets", "rm", "photos.zip", typed="n\n")
    assert status == 0 and "Nothing was removed" in out and str(home / "unpacked") in out
    status, out, _ = lgca("datasets", "rm", "photos.zip", "pets", "--yes")
    assert status == 0 and "Removed photos.zip, " in out and "pets is not here: nothing to remove" in out
    assert "photos.zip" not in lgca("datasets")[1]
    assert Path("photos.zip").is_file()
    assert "no data set and no archive" in refused("datasets", "rm", "pets", "photos.zip", "--yes")
    assert "a copy of yours" in refused("datasets", "rm", "pets:photos")


def test_store_alone_lists():
    assert lgca("store") == lgca("store", "ls")
    assert "is empty" in lgca("store")[1]


def test_classify_passes_over_and_converts_as_evaluate_does(photos):
    """What lies in a folder beside pictures is counted; what becomes RGB otherwise has other scores."""
    (photos / "crab" / "Thumbs.db").touch()
    os.mkfifo(photos / "crab" / "pipe.jpg")
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40).save(photos / "crab" / "deep.png")
    words = ["classify", photos, "--classes", "a,b", *FAST[:4], "--method", "clip", "--format", "jsonl"]
    status, out, err = lgca(*words)
    assert status == 1 and len(out.splitlines()) == 3 and "--scale-grey" in err
    assert "1 hidden or system entry; 1 pipe" in err
    status, scaled, _ = lgca(*words, "--scale-grey")
    assert status == 0 and len(scaled.splitlines()) == 3
    _, white, _ = lgca(*words, "--scale-grey", "--on-white")
    first, other = (json.loads(lines.splitlines()[0])["classes"][0]["score"] for lines in (scaled, white))
    assert first != other
