"""``lgca hada`` as a user meets it: features, training, retrieval, classification, on own pictures and miniatures."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import load_file

from lgca_core.related.captions.record import load_related
from support import caption_miniatures, tiny_clip
from support.command_line import files, lgca, refused

WEIGHTS = "hada.safetensors"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory with two small models and twelve captioned pictures, five of them for validation."""
    tiny_clip.write(tmp_path / "one", seed=1)
    tiny_clip.write(tmp_path / "two", seed=2, embed_dim=16)
    lines = []
    for number in range(12):
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        captions = [f"Noise number {number}.", f"A picture of {number} things.", "It is grey."][: 2 + number % 2]
        split = "val" if number % 2 else "train"
        lines.append(json.dumps({"image": f"{number}.png", "captions": captions, "split": split}) + "\n")
    (tmp_path / "captions.jsonl").write_text("".join(lines))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LGCA_STORE", str(tmp_path / "store"))
    return tmp_path


DATA = ("--data", ".", "--encoder", "local-dir:one", "--encoder", "local-dir:two", "--device", "cpu")
SMALL = ("--epochs", "2", "--batch", "4", "--rate", "1e-3", "--width", "8", "--queue", "8")
TRAIN = ("hada", "train", *DATA, *SMALL)


def weights(folder) -> dict:
    return {name: value.tolist() for name, value in load_file(folder / WEIGHTS).items()}


def test_from_pictures_to_a_fused_encoder_and_back(work):
    code, out, err = lgca("hada", "features", *DATA, "--split", "train", "--split", "val")
    assert code == 0, err
    assert "local-dir:two" in out and "tokens of a picture" in out
    stored = files(work / "store")
    code, out, err = lgca(*TRAIN, "--out", "run", "--stage2")
    assert code == 0, err
    assert "share of the stronger model" in out and "--encoder hada:run" in out
    assert files(work / "store") == stored  # no model ran again
    assert files(work / "run") >= {WEIGHTS, "hada.json", "training.json", "metrics.csv", f"stage-one/{WEIGHTS}"}
    before = (work / "run" / WEIGHTS).stat().st_mtime_ns
    assert lgca(*TRAIN, "--out", "run", "--stage2")[0] == 0  # a finished training is taken as it is
    assert (work / "run" / WEIGHTS).stat().st_mtime_ns == before

    words = ("--data", ".", "--split", "val", "--model", "run", "--reshuffled", "--out", "record", "--device", "cpu")
    code, out, err = lgca("hada", "evaluate", *words)
    assert code == 0 and "another order RSum changes by +0.0 points" in out, err
    assert "RSum" in out and "score sum" in out and "points of RSum" in out and "6 pictures" in out
    record, ranks = load_related(work / "record")
    assert (record.arm, record.seed, record.captions.count, len(record.encoders)) == ("hada-w", 0, 6, 2)
    assert record.metrics["RSum"] == pytest.approx(sum(of for name, of in record.metrics.items() if "RSum" not in name))
    assert record.metrics["RSum reshuffled"] == pytest.approx(record.metrics["RSum"])
    assert set(ranks["query"]) == {f"{number}.png" for number in range(1, 12, 2)}

    for name in ("red", "blue"):
        (work / "pictures" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (30, 30 + number), name).save(work / "pictures" / name / f"{number}.png")
    (work / "said.json").write_text(json.dumps({"red": ["a red thing", "all red"], "blue": ["a blue thing", "sky"]}))
    code, _, err = lgca(
        "evaluate", "--images", "pictures", "--descriptions", "said.json", "--encoder", "hada:run", "--method",
        "clip,cupl,wca,lgca", "--n", "4", "--seeds", "1", "--device", "cpu", "--out", "classified",
    )  # fmt: skip
    assert code == 0, err
    methods = set(pd.read_parquet(work / "classified" / "predictions.parquet")["method"])
    assert methods == {"clip", "cupl", "wca", "lgca"}


def test_without_a_model_each_alone_and_the_tuned_sum(work):
    code, out, err = lgca("hada", "evaluate", *DATA, "--split", "train", "--format", "csv", "--out", "record")
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["of"] for row in rows] == ["local-dir:one", "local-dir:two", "score sum"]
    record, _ = load_related(work / "record")
    assert record.training is None and sum(record.parameters["shares"]) == pytest.approx(1)
    assert 100 * record.metrics["RSum"] == pytest.approx(float(rows[2]["RSum"]), abs=0.01)
    assert float(rows[0]["low"]) <= float(rows[0]["RSum"]) <= float(rows[0]["high"])
    _, out, _ = lgca("hada", "evaluate", *DATA, "--split", "train", "--format", "json")
    assert [row["RSum"] for row in json.loads(out)] == [float(row["RSum"]) for row in rows]


def test_a_second_stage_from_a_first_that_is_there(work):
    assert lgca(*TRAIN, "--out", "first")[0] == 0
    code, _, err = lgca(*TRAIN, "--out", "second", "--stage2", "--start", "first")
    assert code == 0, err
    assert not (work / "second" / "stage-one").exists()
    assert json.loads((work / "second" / "hada.json").read_text())["w"] is not None
    assert lgca(*TRAIN, "--out", "pooled", "--arm", "pooled")[0] == 0
    kept = files(work / "first")
    for words, said in (
        (("--start", "pooled"), "of another arm"),
        (("--start", "first", "--arm", "no-cross"), "of another arm"),
        (("--start", "first", "--width", "16"), "of another width"),
        (("--start", "second"), "no first stage"),
        (("--start", "first", "--out", "first", "--force"), "both --start and --out"),
    ):
        out = () if "--out" in words else ("--out", "third")
        assert said in refused(*TRAIN, "--stage2", *out, *words)
    assert files(work / "first") == kept and not (work / "third").exists()
    assert "holds a training of the arm hada" in refused(*TRAIN, "--out", "first", "--stage2")
    assert not (work / "first" / "stage-one").exists()


def test_other_settings_are_refused_until_forced(work):
    assert lgca(*TRAIN, "--out", "run")[0] == 0
    before = weights(work / "run")
    assert "other seed" in refused(*TRAIN, "--out", "run", "--seed", "1")
    assert "training of the arm hada" in refused(*TRAIN, "--out", "run", "--arm", "no-cross")
    assert "fewer than a batch" in refused(*TRAIN, "--out", "run", "--batch", "400", "--force")
    assert weights(work / "run") == before
    (work / "run" / "notes.txt").write_text("mine")
    code, _, err = lgca(*TRAIN, "--out", "run", "--seed", "1", "--force")
    assert code == 0, err
    assert weights(work / "run") != before and (work / "run" / "notes.txt").exists()


@pytest.mark.parametrize("name", ["flickr30k", "coco"])
def test_published_sets_by_the_karpathy_split(work, name):
    caption_miniatures.karpathy(work / name, name)
    data = ("--data", f"{name}:{work / name}", *DATA[2:])
    code, _, err = lgca("hada", "train", *data, *SMALL, "--epochs", "1", "--batch", "2", "--out", "run")
    assert code == 0, err
    code, out, err = lgca("hada", "evaluate", *data, "--model", "run", "--split", "test")
    assert code == 0 and "score sum" in out, err


@pytest.mark.parametrize(
    "words, said",
    [
        (["--arm", "poled"], "no arm 'poled'"),
        (["--arm", "third"], "number 3"),
        (["--seed", "99999999999999999999999"], "--seed"),
        (["--rate", "0"], "rate of 0"),
        (["--arm", "score-sum", "--stage2"], "nothing to train"),
        (["--start", "run"], "--stage2"),
        (["--start", "none", "--stage2"], "no trained fusion"),
        (["--rate", "nan"], "--rate"),
        (["--batch", "40"], "captions are fewer than a batch of 40"),
        (["--epochs", "0"], "--epochs"),
        (["--data", "/nowhere"], "/nowhere"),
        (["--split", "nights"], "nights"),
        (["--validation", "nights"], "nights"),
        (["--encoder", "local-dir:one"], "named twice"),
        (["--out", "captions.jsonl"], "is a file"),
        (["--out", "/proc/x"], "/proc"),
    ],
)
def test_bad_input_is_one_sentence_and_an_earlier_run_stands(work, words, said):
    (work / "run").mkdir()
    (work / "run" / "training.json").write_text("{}")
    before = {of for of in files(work) if not of.startswith("store")}
    out = [] if "--out" in words else ["--out", "run"]
    assert said in refused(*TRAIN, *out, *words)
    assert {of for of in files(work) if not of.startswith("store")} == before


def test_one_model_is_no_fusion(work):
    assert "two models or more" in refused("hada", "train", "--data", ".", "--encoder", "local-dir:one", "--out", "run")
    assert "two models or more" in refused("hada", "features", "--data", ".")


def test_pictures_to_learn_from_and_to_validate_by_must_be_others(work):
    said = refused(*TRAIN, "--validation", "train", "--out", "run")
    assert "6 pictures are both to learn from and to validate by" in said


def test_an_evaluation_on_what_was_trained_on_says_so(work):
    assert lgca(*TRAIN, "--out", "run")[0] == 0
    _, _, err = lgca("hada", "evaluate", "--data", ".", "--split", "train", "--model", "run")
    assert "trained on, or chosen by" in err
    _, out, _ = lgca("hada", "evaluate", "--data", ".", "--split", "val", "--model", "run", "--format", "csv")
    assert [row["of"] for row in csv.DictReader(out.splitlines())][-1] == "HADA"
    assert lgca(*TRAIN, "--out", "pooled", "--arm", "pooled")[0] == 0
    _, out, _ = lgca("hada", "evaluate", "--data", ".", "--split", "val", "--model", "pooled", "--format", "csv")
    assert [row["of"] for row in csv.DictReader(out.splitlines())][-1] == "pooled"


def test_a_run_is_found_from_another_folder(work, monkeypatch):
    assert lgca(*TRAIN, "--out", "run")[0] == 0
    (work / "elsewhere").mkdir()
    monkeypatch.chdir(work / "elsewhere")
    code, _, err = lgca("hada", "evaluate", "--data", "..", "--split", "val", "--model", "../run")
    assert code == 0, err


def test_another_order_of_models_than_the_fusions_is_refused(work):
    assert lgca(*TRAIN, "--out", "run")[0] == 0
    turned = ("--encoder", "local-dir:two", "--encoder", "local-dir:one")
    assert "in this order" in refused("hada", "evaluate", "--data", ".", *turned, "--model", "run", "--split", "val")
    tiny_clip.write(work / "two", seed=9, embed_dim=16)
    assert "other weights" in refused("hada", "evaluate", "--data", ".", "--model", "run", "--split", "val")


def test_pictures_that_cannot_be_read_are_named_or_skipped(work):
    (work / "2.png").write_bytes(b"none")
    assert "2.png" in refused(*TRAIN, "--out", "run")
    code, _, err = lgca(*TRAIN, "--out", "run", "--on-error", "skip")
    assert code == 0 and "skipped 2.png" in err


def test_arms_are_listed():
    code, out, _ = lgca("hada", "arms")
    assert code == 0 and "score-sum" in out and "as released for LAVIS" in out
