"""``lgca goal pairs`` as a user meets it."""

import json

import pytest
from PIL import Image

from lgca_core.cli import options
from lgca_core.related.captions.opening import open_captions
from lgca_core.related.goal.pairs import check_inside, read_pairs
from support import caption_miniatures
from support.command_line import files, lgca, refused


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory with three captioned pictures."""
    lines = []
    for number, colour in enumerate(("red", "green", "blue")):
        picture = Image.new("RGB", (90, 70), "white")
        picture.paste(Image.new("RGB", (45, 35), colour), (0, 0))
        picture.save(tmp_path / f"{number}.png")
        caption = f"A {colour} wing is seen. It has a white belly. St. Mary sits."
        lines.append(json.dumps({"image": f"{number}.png", "caption": caption}) + "\n")
    (tmp_path / "captions.jsonl").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


OWN = ["goal", "pairs", "--data", ".", "--split", "all", "--encoder", "aviary", "--device", "cpu"]


def test_pairs_of_the_aviary_in_one_command(home, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "AVIARY", "aviary:6")
    code, out, _ = lgca("goal", "pairs", "--out", tmp_path / "pairs.json", "--device", "cpu")
    assert code == 0 and "regions true" in out and "6 pictures" in out.split("in /")[0]
    captions = open_captions("aviary:6", "train")
    found, skipped = read_pairs(tmp_path / "pairs.json", captions)
    assert skipped == () and len(found) == 6
    true = {(paired.picture.name, truth.box) for paired in found for truth in paired.picture.truths}
    assert all((paired.picture.name, pair.box) in true for paired in found for pair in paired.pairs)


def test_own_pictures_with_a_grid_and_with_a_file(work):
    code, out, _ = lgca(*OWN, "--out", "deep/pairs.json")
    assert code == 0 and "regions grid" in out
    said = {
        line.rsplit(None, 1)[0].strip(): line.rsplit(None, 1)[1] for line in out.splitlines() if " " in line.strip()
    }
    assert said["pictures read"] == "3" and said["sentences of their captions"] == "9"
    left_out = int(said["sentences that took the whole picture: left out"])
    assert int(said["pairs: a sentence and its region"]) + left_out == 9
    assert "already there" in refused(*OWN, "--out", "deep/pairs.json")
    (work / "boxes.jsonl").write_text('{"image": "0.png", "boxes": [[0, 0, 45, 35], [500, 0, 600, 9], [0, 0, 3, 3]]}')
    code, out, _ = lgca(*OWN, "--out", "deep/pairs.json", "--force", "--regions", "boxes.jsonl")
    assert code == 0 and "regions boxes.jsonl: 1 pictures" in out
    assert "regions outside of their picture: left out" in out and "below 1 %" in out
    found, _ = read_pairs("deep/pairs.json", open_captions("."))
    assert {pair.box for paired in found for pair in paired.pairs} == {(0, 0, 45, 35)}
    assert {path for path in files(work) if path.startswith("deep")} == {"deep", "deep/pairs.json"}


def test_a_broken_picture_stops_it_or_is_skipped(work):
    (work / "1.png").write_bytes(b"none")
    before = files(work)
    assert "--on-error skip" in refused(*OWN, "--out", "pairs.json")
    assert files(work) == before
    code, out, err = lgca(*OWN, "--out", "pairs.json", "--on-error", "skip")
    assert code == 0 and "pictures skipped" in out and "note: skipped 1.png: not a picture" in err


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "give --out FILE.json"),
        (["--out", "."], ". is a folder"),
        (["--out", "/proc/x/p.json"], "/proc cannot be written"),
        (["--out", "p.json", "--regions", "true"], "knows no true boxes"),
        (["--out", "p.json", "--regions", "grit"], "there is no file grit"),
        (["--out", "p.json", "--data", "docki:/x"], "docci"),
        (["--out", "p.json", "--random", "-1"], "--random"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(work, monkeypatch, words, said):
    monkeypatch.setattr(options, "load", lambda *_: pytest.fail("a model was loaded"))
    before = files(work)
    assert said in refused(*OWN, *words)
    assert files(work) == before


def test_who_stops_it_hears_that_it_goes_on(work, monkeypatch):
    load = options.load

    def stopping(*given):
        model = load(*given)
        model.text = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
        return model

    monkeypatch.setattr(options, "load", stopping)
    code, _, err = lgca(*OWN, "--out", "pairs.json")
    assert code == 130 and "beside pairs.json: give the same command again" in err


def test_goal_alone_lists_its_commands():
    code, out, _ = lgca("goal")
    assert code == 0 and "pairs" in out
    _, out, _ = lgca("goal", "pairs", "--help")
    assert '{"bbox": [x, y, w, h]' in out and "[[x1, y1, x2, y2], ...]" in out


@pytest.mark.parametrize("name", ["docci", "dci", "urban1k"])
def test_published_sets_in_their_own_formats(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    root = getattr(caption_miniatures, name)(tmp_path / name)
    spec, split = f"{name}:{root}", "all" if name == "urban1k" else "train"
    words = ["goal", "pairs", "--data", spec, "--split", split, "--encoder", "aviary", "--device", "cpu"]
    code, out, err = lgca(*words, "--out", "pairs.json")
    assert code == 0, err
    captions = open_captions(spec, split)
    assert f"{name} ({split}), aviary, regions grid" in out
    found, skipped = read_pairs("pairs.json", captions)
    assert found and not skipped
    for paired in found:
        with Image.open(paired.picture.path) as image:
            check_inside(paired, image.width, image.height)
