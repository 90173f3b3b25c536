"""``lgca goal train`` and ``evaluate`` as a user meets them, on own pictures, miniatures and the aviary."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

from lgca_core.cli import options
from lgca_core.related.captions.record import find_related, load_related
from support import caption_miniatures, tiny_clip
from support.command_line import files, lgca, refused

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory with a small model and twelve captioned pictures."""
    tiny_clip.write(tmp_path / "model")
    lines = []
    for number in range(12):
        rng = np.random.default_rng(number)
        picture = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        picture.paste((255, 0, 0), (0, 0, 20, 20))
        picture.save(tmp_path / f"{number}.png")
        caption = f"There is a red square in corner {number}. Noise number {number} fills the rest."
        lines.append(json.dumps({"image": f"{number}.png", "caption": caption}) + "\n")
    (tmp_path / "captions.jsonl").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


DATA = ("--data", ".", "--encoder", "local-dir:model", "--device", "cpu")
TRAIN = ("goal", "train", *DATA, "--split", "all", "--epochs", "2", "--batch", "4", "--rate", "1e-3")
EVALUATE = ("goal", "evaluate", "--data", ".", "--split", "all", "--device", "cpu")


def weights(folder) -> dict:
    return {name: value.tolist() for name, value in load_file(folder / WEIGHTS).items() if value.numel() < 10_000}


def test_from_pictures_to_a_tuned_encoder_and_back(work):
    code, out, err = lgca(*TRAIN, "--out", "run")
    assert code == 0, err
    assert "seconds a step" in out and "--encoder goal:run" in out
    assert files(work / "run") >= {WEIGHTS, "open_clip_config.json", "training.json", "metrics.csv", "pairs-grid.json"}
    before = (work / "run" / WEIGHTS).stat().st_mtime_ns
    code, out, _ = lgca(*TRAIN, "--out", "run")  # a finished training is taken as it is
    assert code == 0 and (work / "run" / WEIGHTS).stat().st_mtime_ns == before

    code, out, err = lgca(*EVALUATE, "--encoder", "goal:run", "--out", "record")
    assert code == 0, err
    assert "R@50" in out and "95 % interval" in out and "12 pictures" in out
    record, ranks = load_related(work / "record")
    assert (record.arm, record.seed, record.captions.count, len(ranks)) == ("goal", 0, 12, 24)
    assert record.outcome["counts"]["captions"] == 24 and record.encoders[0].name == "goal:run"
    hits = ranks[ranks["direction"] == "image to text"]["rank"] <= 1
    assert record.metrics["R@1 image to text"] == pytest.approx(hits.mean())
    assert list(find_related(work)) == ["record"]

    (work / "pictures" / "red").mkdir(parents=True)
    (work / "pictures" / "blue").mkdir()
    for number in range(2):
        for name in ("red", "blue"):
            Image.new("RGB", (30, 30 + number), name).save(work / "pictures" / name / f"{number}.png")
    (work / "said.json").write_text(json.dumps({"red": ["a red thing", "all red"], "blue": ["a blue thing", "sky"]}))
    code, _, err = lgca(
        "evaluate", "--images", "pictures", "--descriptions", "said.json", "--encoder", "goal:run", "--method",
        "clip,cupl,wca,lgca", "--n", "4", "--seeds", "1", "--no-store", "--device", "cpu", "--out", "classified",
    )  # fmt: skip
    assert code == 0, err
    assert set(pd.read_parquet(work / "classified" / "predictions.parquet")["method"]) == {
        "clip",
        "cupl",
        "wca",
        "lgca",
    }


def test_other_settings_are_refused_until_forced(work):
    assert lgca(*TRAIN, "--out", "run")[0] == 0
    before = weights(work / "run")
    assert "other seed" in refused(*TRAIN, "--out", "run", "--seed", "1")
    assert "other arm" in refused(*TRAIN, "--out", "run", "--arm", "random-boxes")
    assert weights(work / "run") == before
    (work / "run" / "notes.txt").write_text("mine")
    code, _, err = lgca(*TRAIN, "--out", "run", "--seed", "1", "--force")
    assert code == 0, err
    assert weights(work / "run") != before and (work / "run" / "notes.txt").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["--arm", "gaol"], "no arm 'gaol'"),
        (["--rate", "nan"], "--rate"),
        (["--batch", "40"], "12 pictures are fewer than a batch of 40"),
        (["--chunks", "3"], "3 equal chunks"),
        (["--autocast", "float8"], "--autocast"),
        (["--data", "/nowhere"], "/nowhere"),
        (["--pairs", "none.json"], "none.json"),
        (["--regions", "none.jsonl"], "none.jsonl"),
        (["--encoder", "local-dir:/nowhere"], "/nowhere"),
        (["--encoder", "goal:run"], "no tuned model"),
        (["--out", "captions.jsonl"], "is a file"),
        (["--out", "/proc/x"], "/proc"),
    ],
)
def test_bad_input_is_one_sentence_and_an_earlier_run_stands(work, words, said):
    (work / "run").mkdir()
    (work / "run" / "training.json").write_text("{}")
    before = files(work)
    out = [] if "--out" in words else ["--out", "run"]
    assert said in refused(*TRAIN, *out, "--force", *words)
    assert files(work) == before


def test_pairs_of_ones_own_and_pictures_that_are_skipped(work):
    assert lgca("goal", "pairs", *DATA, "--split", "all", "--out", "pairs.json")[0] == 0
    listed = json.loads((work / "pairs.json").read_text())
    listed[0]["segment"][0]["bbox_coordinates"] |= {"x1": 30, "x2": 90, "width": 60}
    (work / "pairs.json").write_text(json.dumps(listed))
    (work / "3.png").unlink()
    words = (*TRAIN, "--pairs", "pairs.json", "--out", "run")
    assert "3.png" in refused(*words)
    code, _, err = lgca(*words, "--on-error", "skip")
    assert code == 0 and "note: skipped 3.png" in err and listed[0]["original_filename"] in err


@pytest.mark.slow
def test_killed_and_given_again_it_ends_with_the_same_weights(work):
    words = [sys.executable, "-m", "lgca_core", *TRAIN, "--epochs", "12"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole = subprocess.run([*words, "--out", "whole"], capture_output=True, text=True, env=environment)
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen([*words, "--out", "killed"], stderr=subprocess.DEVNULL, env=environment) as killed:
        while not (work / "killed" / "checkpoint.pt").exists() and killed.poll() is None:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    again = subprocess.run([*words, "--out", "killed"], capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    assert weights(work / "whole") == weights(work / "killed")
    left = files(work / "killed") - files(work / "whole")
    assert all("tensorboard" in path or path.startswith(".") for path in left)


@pytest.mark.slow
def test_torchrun_shares_a_training(work):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    words = [*torchrun, "lgca_core", *TRAIN, "--out", "two"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("use it as --encoder goal:two") == 1
    assert lgca(*TRAIN, "--out", "one")[0] == 0
    one, two = (pd.read_csv(work / name / "metrics.csv") for name in ("one", "two"))
    assert np.allclose(one["loss"], two["loss"], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["docci", "dci", "urban1k"])
def test_the_commands_on_published_sets_with_a_vit_b_16_of_reduced_depth(tmp_path, monkeypatch, name):
    import open_clip

    monkeypatch.chdir(tmp_path)
    config = open_clip.get_model_config("ViT-B-16-quickgelu")
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 1
    tiny_clip.write(tmp_path / "b16", **config)
    root = getattr(caption_miniatures, name)(tmp_path / name)
    split = {"docci": "test", "dci": "train+valid", "urban1k": "test"}[name]
    given = ("--data", f"{name}:{root}", "--split", split, "--device", "cpu")
    assert lgca("goal", "pairs", *given, "--encoder", "local-dir:b16", "--out", "pairs.json")[0] == 0
    code, _, err = lgca(
        "goal", "train", *given, "--encoder", "local-dir:b16", "--pairs", "pairs.json", "--batch", "2", "--epochs", "1",
        "--out", "run",
    )  # fmt: skip
    assert code == 0, err
    code, out, err = lgca("goal", "evaluate", *given, "--encoder", "goal:run", "--pairs", "pairs.json")
    assert code == 0, err
    assert "mAP@10" in out and "R@50" in out


@pytest.mark.slow
def test_the_aviary_in_one_command_each(home, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "AVIARY", "aviary:32")
    monkeypatch.chdir(tmp_path)
    code, _, err = lgca("goal", "train", "--device", "cpu")
    assert code == 0 and (tmp_path / "goal-run" / "pairs-true.json").exists(), err
    assert json.loads((tmp_path / "goal-run" / "training.json").read_text())["outcome"]["steps"] == 3


def test_evaluation_prints_what_is_asked_for(work):
    code, out, err = lgca(*EVALUATE, "--encoder", "local-dir:model", "--format", "json")
    assert code == 0, err
    found = {(row["metric"], row["direction"]): row for row in json.loads(out)}
    assert set(found) == {(f"R@{k}", way) for k in (1, 5, 25, 50) for way in ("image to text", "text to image")}
    assert all(0 <= row["low"] <= row["percent"] <= row["high"] <= 100 for row in found.values())
    assert found["R@25", "image to text"]["percent"] == 100
    code, out, _ = lgca(*EVALUATE, "--encoder", "local-dir:model", "--format", "csv", "--ties", "pessimistic")
    assert out.splitlines()[0] == "metric,direction,percent,low,high" and len(out.splitlines()) == 9


def test_a_broken_picture_ends_an_evaluation_or_is_skipped(work):
    (work / "3.png").write_bytes(b"none")
    words = (*EVALUATE, "--encoder", "local-dir:model", "--out", "record")
    assert "3.png" in refused(*words)
    assert not (work / "record").exists()
    code, _, err = lgca(*words, "--on-error", "skip")
    assert code == 0 and "1 pictures were skipped" in err
    record, ranks = load_related(work / "record")
    assert [one.path for one in record.skipped] == ["3.png"] and len(ranks) == 22
    assert record.seconds > 0 and record.image_passes == 11 and record.text_passes == 11


def test_pairs_for_the_joint_set_are_checked_before_the_model_is_loaded(work, monkeypatch):
    assert lgca("goal", "pairs", *DATA, "--split", "all", "--out", "pairs.json")[0] == 0
    words = (*EVALUATE, "--encoder", "local-dir:model", "--pairs", "pairs.json")
    right, released = (
        json.loads(lgca(*words, "--format", "json", "--joint", joint)[1]) for joint in ("right", "released")
    )
    of = [{(row["metric"], row["direction"]): row["percent"] for row in rows} for rows in (right, released)]
    assert of[0].keys() == of[1].keys() and of[0]["mAP@10", "image to text"] != of[1]["mAP@10", "image to text"]
    listed = json.loads((work / "pairs.json").read_text())
    listed[0]["segment"][0]["bbox_coordinates"] |= {"x1": 30, "x2": 90, "width": 60}
    (work / "pairs.json").write_text(json.dumps(listed))
    monkeypatch.setattr(options, "load", lambda *_: pytest.fail("a model was loaded"))
    assert "does not lie in the picture" in refused(*words)
    (work / "pairs.json").write_text("[]")
    assert "pairs.json" in refused(*words)


def test_a_draft_of_a_killed_run_is_no_record_and_an_earlier_one_comes_back(work):
    words = (*EVALUATE, "--encoder", "local-dir:model", "--out", "record")
    assert lgca(*words)[0] == 0
    (work / "record").rename(work / ".record.draft-abc-old")
    assert find_related(work) == {}
    assert "already holds a record" in refused(*words)
    assert list(find_related(work)) == ["record"]


def test_a_record_is_not_overwritten_without_force(work):
    words = (*EVALUATE, "--encoder", "local-dir:model", "--out", "record")
    assert lgca(*words)[0] == 0
    before = (work / "record" / "related.json").read_bytes()
    assert "already holds a record" in refused(*words)
    assert (work / "record" / "related.json").read_bytes() == before
    assert lgca(*words, "--force")[0] == 0
    (work / "record" / "ranks.parquet").write_bytes(b"other")
    from lgca_core.errors import LgcaError

    with pytest.raises(LgcaError, match="is not the file"):
        load_related(work / "record")


def test_a_caption_that_is_cut_is_told(work):
    with (work / "captions.jsonl").open("a") as stream:
        stream.write(json.dumps({"image": "sub/a.png", "caption": "word " * 100}) + "\n")
    (work / "sub").mkdir()
    Image.new("RGB", (40, 40)).save(work / "sub" / "a.png")
    _, _, err = lgca(*EVALUATE, "--encoder", "local-dir:model")
    assert "note: 1 of 13 captions are longer than the 77 tokens" in err
