"""The record and its statistics: written whole or not at all, checked on reading, known numbers."""

import hashlib
import json
import math
import os
from datetime import datetime, timedelta, timezone
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.stats import bootstrap, ttest_1samp

from lgca_core.data import manifest
from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.evaluation.parts import EncoderInfo, Part
from lgca_core.evaluation.predictions import COLUMNS, TOP, completed, to_parquet
from lgca_core.evaluation.record import (
    PREDICTIONS,
    RECORD,
    Dataset,
    Path,
    Record,
    check_free,
    load,
    load_all,
    save,
)
from support.records import SHA, toy_record as make
from support.shared import ROOT


@pytest.fixture
def hits():
    rng = np.random.default_rng(0)
    return {
        "wca": rng.random((5, 200)) < 0.6,
        "lgca": rng.random((5, 200)) < 0.75,
        "clip": rng.random((1, 200)) < 0.6,
    }


# ---- disk --------------------------------------------------------------------------------------------------


def test_round_trip(tmp_path, hits):
    record, predictions = make(hits, skipped=[])
    written = save(record, predictions, tmp_path / "deep" / "run")
    blob = (tmp_path / "deep" / "run" / PREDICTIONS).read_bytes()
    assert written.predictions_sha256 == hashlib.sha256(blob).hexdigest()
    again, frame = load(tmp_path / "deep" / "run")
    assert again == written
    assert again.model_copy(update={"predictions_sha256": None}) == record
    assert frame.dtypes.astype(str).to_dict() == COLUMNS
    pd.testing.assert_frame_equal(frame, completed(predictions, record.dataset.classes))
    given = list(predictions)
    pd.testing.assert_frame_equal(frame[given], predictions.astype({name: COLUMNS[name] for name in given}))
    assert os.listdir(tmp_path / "deep") == ["run"]  # no draft left


def test_a_record_without_names_and_the_best_five_is_read_with_all_columns(tmp_path, hits):
    record, predictions = make(hits)
    written = save(record, predictions, tmp_path / "run")
    old = BytesIO()
    predictions.astype({"label": "int64", "seed": "int64", "margin": "float32"}).to_parquet(old, index=False)
    (tmp_path / "run" / PREDICTIONS).write_bytes(old.getvalue())
    digest = hashlib.sha256(old.getvalue()).hexdigest()
    fields = json.loads((tmp_path / "run" / RECORD).read_text()) | {"predictions_sha256": digest}
    del fields["encoder"]["logit_scale"], fields["encoder"]["logit_bias"]
    (tmp_path / "run" / RECORD).write_text(json.dumps(fields))
    again, frame = load(tmp_path / "run")
    assert again == written.model_copy(update={"predictions_sha256": digest})
    assert frame.dtypes.astype(str).to_dict() == COLUMNS
    assert (frame["label_name"] == "x").all()
    assert (frame["prediction_name"] == frame["prediction"].map({0: "x", 1: "y"})).all()
    assert (frame[[f"class_{rank}" for rank in range(2, TOP + 1)]] == -1).to_numpy().all()
    assert frame[[*(f"score_{rank}" for rank in range(1, TOP + 1)), "probability"]].isna().to_numpy().all()


@pytest.mark.parametrize("place", ["training-seeds/seed-2", "training-seeds/seed-3"])
def test_the_records_of_the_repository_load(place):
    record, frame = load(ROOT / "results" / place)
    assert list(frame) == list(COLUMNS)
    named = pd.Series(record.dataset.classes)[frame["prediction"]]
    assert frame["prediction_name"].astype(str).tolist() == named.tolist()


def test_predictions_of_many_pictures_take_few_bytes_a_row():
    """ImageNet's 50,000 pictures by 13 methods and 5 seeds are 3.25 million rows."""
    n, runs, classes = 2000, 65, [f"class number {number}" for number in range(1000)]
    rng = np.random.default_rng(0)
    rows = n * runs
    keys = [f"n{number % 1000:08d}/ILSVRC2012_val_{number:08d}.JPEG" for number in range(n)]
    frame = {
        "path": np.tile(keys, runs),
        "image": np.tile([hashlib.sha256(key.encode()).hexdigest() for key in keys], runs),
        "label": np.tile(rng.integers(0, 1000, n), runs),
        "method": np.repeat([f"method-{number // 5}" for number in range(runs)], n),
        "seed": np.repeat(np.arange(runs) % 5, n),
        "margin": rng.random(rows),
        **{name: rng.integers(0, 1000, rows) for name in ("prediction", "class_2", "class_3", "class_4", "class_5")},
        **{f"score_{rank}": rng.random(rows, dtype=np.float32) for rank in range(1, TOP + 1)},
        "probability": rng.random(rows, dtype=np.float32),
    }
    whole = completed(pd.DataFrame(frame), classes)
    assert whole.memory_usage(deep=True).sum() < 170 * rows
    assert len(to_parquet(whole)) < 60 * rows  # of these, 38 are random numbers


def test_two_classes_of_one_name_keep_their_numbers(tmp_path, hits):
    record, predictions = make(hits)
    same = record.dataset.model_copy(update={"classes": ["x", "x"]})
    save(record.model_copy(update={"dataset": same}), predictions, tmp_path / "run")
    _, frame = load(tmp_path / "run")
    assert set(frame["prediction"]) == {0, 1} and set(frame["prediction_name"]) == {"x"}


def test_same_content_same_bytes(tmp_path, hits):
    record, predictions = make(hits)
    first = save(record, predictions, tmp_path / "a")
    assert save(record, predictions, tmp_path / "b") == first


def test_nothing_half_written(tmp_path, hits, monkeypatch):
    record, predictions = make(hits)

    write = Path.write_bytes

    def full(file, data):
        if file.name == "record.json":  # the predictions are there already
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LgcaError, match="No space left"):
        save(record, predictions, tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_overwrites_only_a_record_and_only_by_force(tmp_path, hits):
    record, predictions = make(hits)
    folder = tmp_path / "run"
    folder.mkdir()
    save(record, predictions, folder)  # an empty folder is free
    with pytest.raises(LgcaError, match="--force"):
        save(record, predictions, folder)
    newer, _ = make(hits, device="cuda")
    save(newer, predictions, folder, force=True)
    assert load(folder)[0].device == "cuda"
    assert os.listdir(tmp_path) == ["run"]
    (folder / "thesis.tex").write_text("x")
    with pytest.raises(LgcaError, match="other files"):
        save(record, predictions, folder, force=True)
    assert sorted(os.listdir(folder)) == sorted([PREDICTIONS, RECORD, "thesis.tex"])


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "f").write_text("x")
    for target in (tmp_path / "f", tmp_path / "f" / "run" / "deep"):
        with pytest.raises(LgcaError, match="is a file"):
            check_free(target)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: r.pop("device"), "device"),
        (lambda r: r.update(notes="hello"), "notes"),
        (lambda r: r.update(version=2), "version"),
        (lambda r: r.update(seconds="1.5"), "seconds"),
        (lambda r: r["dataset"].update(manifest_sha256="abc"), "dataset.manifest_sha256"),
        (lambda r: r.update(predictions_sha256=SHA), "not the file"),
    ],
)
def test_load_validates(tmp_path, hits, spoil, message):
    record, predictions = make(hits)
    save(record, predictions, tmp_path / "run")
    path = tmp_path / "run" / RECORD
    raw = json.loads(path.read_text())
    spoil(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(LgcaError, match=message):
        load(tmp_path / "run")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: b"no parquet",
        lambda frame: frame.drop(columns="label"),
        lambda frame: frame.assign(label="x", prediction="x"),
        lambda frame: frame.assign(label=0.5),
        lambda frame: frame.assign(label=None, prediction=None),
        lambda frame: frame.assign(class_2="x"),
        lambda frame: frame.assign(margin="wide"),
        lambda frame: frame.assign(path=3).iloc[:0],
    ],
)
def test_predictions_of_another_form_are_one_sentence(tmp_path, hits, spoil):
    """Their hash is right: the record is data from anywhere."""
    record, predictions = make(hits)
    save(record, predictions, tmp_path / "run")
    spoilt = spoil(predictions)
    data = spoilt if isinstance(spoilt, bytes) else spoilt.to_parquet(index=False)
    (tmp_path / "run" / PREDICTIONS).write_bytes(data)
    raw = json.loads((tmp_path / "run" / RECORD).read_text()) | {"predictions_sha256": hashlib.sha256(data).hexdigest()}
    (tmp_path / "run" / RECORD).write_text(json.dumps(raw))
    with pytest.raises(LgcaError, match="run: "):
        load(tmp_path / "run")


def test_load_recounts_the_predictions(tmp_path, hits):
    record, predictions = make(hits)
    save(record, predictions, tmp_path / "run")
    path = tmp_path / "run" / RECORD
    raw = json.loads(path.read_text())
    raw["runs"][0]["correct"] += 1
    path.write_text(json.dumps(raw))
    with pytest.raises(LgcaError, match="wca, seed 0"):
        load(tmp_path / "run")
    with pytest.raises(LgcaError, match="no record"):
        load(tmp_path)


def test_a_page_gets_the_records_it_needs_or_is_told_what_they_lack(tmp_path, hits):
    encoder = EncoderInfo(name="aviary:own", precision="float32")
    save(*make(hits, encoder=encoder), tmp_path / "day")
    save(*make({"wca": hits["wca"]}, encoder=encoder), tmp_path / "night")
    whole = load_all(tmp_path, ["night", "day"])
    assert list(whole) == ["night", "day"]
    assert whole["day"][0] == load(tmp_path / "day")[0]
    some = load_all(tmp_path, ["day"], methods=["lgca", "clip"], seeds=2)
    record, predictions = some["day"]
    assert [run.method for run in record.runs] == ["lgca"] * 5 + ["clip"]
    assert predictions["method"].drop_duplicates().tolist() == ["lgca", "clip"]
    for wanted, said in (
        ({"methods": ["wca", "lgca"]}, "night .*'lgca'.* wca$"),
        ({"seeds": 5}, "day .*2 seeds.*--seeds 5"),
    ):
        with pytest.raises(LgcaError, match=said):
            load_all(tmp_path, ["day", "night"], **wanted)
    with pytest.raises(LgcaError, match="dusk holds no record"):
        load_all(tmp_path, ["dusk"])


def test_records_side_by_side_are_of_the_same_weights_and_pictures_however_these_are_spelt(tmp_path, hits):
    def written(place: str, name: str, weights: str, data: str, pictures: str) -> None:
        encoder = EncoderInfo(name=name, weights_sha256=weights * 64, precision="float32")
        dataset = Dataset(name=data, split="test", count=200, classes=["x", "y"], manifest_sha256=pictures * 64)
        save(*make(hits, encoder=encoder, dataset=dataset), tmp_path / place)

    written("dtd", "ViT-B-32:file.pt", "a", "dtd", "1")
    written("dtd-crops", "ViT-B-32:openai", "a", "dtd", "1")
    written("pets", "ViT-B-32:file.pt", "a", "pets", "2")
    written("other-weights", "ViT-B-32:file.pt", "b", "pets", "2")
    written("other-pictures", "ViT-B-32:file.pt", "a", "dtd", "3")
    known = load_all(tmp_path, ["dtd", "dtd-crops", "pets"])
    assert list(known) == ["dtd", "dtd-crops", "pets"]
    with pytest.raises(LgcaError, match="dtd and other-weights are of different weights"):
        load_all(tmp_path, ["dtd", "other-weights"])
    with pytest.raises(LgcaError, match="dtd and other-pictures are of different pictures of dtd"):
        load_all(tmp_path, ["other-pictures"], beside=known)


def test_save_refuses_predictions_of_something_else(tmp_path, hits):
    record, predictions = make(hits)
    wrong = predictions.assign(prediction=1 - predictions["prediction"])
    twice = predictions.assign(path="same.png")
    outside = predictions.assign(prediction=predictions["prediction"] * 7)
    for frame, message in (
        (wrong, "the record says"),
        (twice, "twice"),
        (outside, r"must lie in 0\.\.1"),
        (predictions.assign(class_2=2), r"next to a prediction must lie in -1\.\.1"),
        (predictions.drop(columns="image"), "no column 'image'"),
    ):
        with pytest.raises(ValueError, match=message):
            save(record, frame, tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_record_refuses_contradictions(hits):
    make(hits, commit=None, dirty=None)
    for changes in (
        {"commit": None},
        {"utc": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))},
        {"skipped": [manifest.Skipped(path="a/0.png", reason="truncated")]},  # then 199 were read, not 200
        {"seconds": math.nan},
        {"peak_memory": -1},
    ):
        with pytest.raises(ValidationError):
            make(hits, **changes)
    record, _ = make(hits)
    with pytest.raises(ValidationError, match="twice"):
        Record(**{**dict(record), "runs": [record.runs[0], record.runs[0]]})
    part = Part(
        part="1/2",
        utc=record.utc,
        manifest_sha256=record.dataset.manifest_sha256,
        encoder=record.encoder,
        device="cpu",
        pictures=3,
        seconds=1.0,
        image_passes=2,
        text_passes=0,
        peak_memory=1,
    )
    other = part.model_copy(update={"part": "2/2"})
    assert Record(**{**dict(record), "parts": [part, other]}).seconds_in_all == record.seconds + 2
    for parts, message in (
        ([part, part], "part 1/2 is there twice"),
        ([part, part.model_copy(update={"part": "2/3"})], "1/2, 2/3 "),
        ([part, other.model_copy(update={"manifest_sha256": 64 * "e"})], "of other pictures"),
        ([other.model_copy(update={"encoder": record.encoder.model_copy(update={"name": "x"})})], "another encoder"),
    ):
        with pytest.raises(ValidationError, match=message):
            Record(**{**dict(record), "parts": parts})


# ---- statistics --------------------------------------------------------------------------------------------


def test_interval_agrees_with_scipy_and_theory():
    correct = np.arange(400) < 260
    low, high = statistics.interval(correct)
    known = bootstrap((correct.astype(float),), np.mean, n_resamples=9999, method="percentile", rng=1)
    assert low == pytest.approx(known.confidence_interval.low, abs=0.005)
    assert high == pytest.approx(known.confidence_interval.high, abs=0.005)
    half = 1.96 * math.sqrt(0.65 * 0.35 / 400)
    assert (low, high) == pytest.approx((0.65 - half, 0.65 + half), abs=0.005)
    assert statistics.interval(correct) == (low, high)  # seeded
    assert statistics.interval(correct[::-1]) == (low, high)  # and no matter the order
    assert statistics.interval(np.ones(10)) == (1.0, 1.0)


def test_interval_resamples_pictures_not_seeds():
    correct = np.arange(400) < 260
    one, five = statistics.interval(correct), statistics.interval(np.stack([correct] * 5))
    assert five == one  # five copies of a seed are no more pictures
    graded = np.random.default_rng(0).random((5, 300)) < 0.5
    low, high = statistics.interval(graded)
    half = 1.96 * graded.mean(axis=0).std() / math.sqrt(300)
    assert (low, high) == pytest.approx((graded.mean() - half, graded.mean() + half), abs=0.004)


def test_paired_interval():
    rng = np.random.default_rng(3)
    b = rng.random(500) < 0.6
    a = b.copy()
    a[:40] = True
    low, high = statistics.paired_interval(a, b)
    gain = (a.astype(float) - b).mean()
    known = ttest_1samp(a.astype(float) - b, 0).confidence_interval(0.95)
    assert low < gain < high
    assert (low, high) == pytest.approx((known.low, known.high), abs=0.004)
    assert high - low < 0.5 * (statistics.interval(a)[1] - statistics.interval(a)[0])  # pairing is worth it
    assert statistics.paired_interval(a, a) == (0.0, 0.0)
    assert statistics.paired_interval(np.stack([a] * 5), b) == (low, high)  # five seeds against one
    with pytest.raises(ValueError, match="500 and 499"):
        statistics.paired_interval(a, b[1:])


def test_decided_is_more_than_half_and_ties_go_by_the_first():
    three = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0]])
    assert statistics.majority_answer(three).tolist() == [True, False, True, False]
    assert statistics.majority_answer(np.array([[1, 0], [0, 1]])).tolist() == [True, False]
    assert statistics.majority_answer(np.array([1, 0])).tolist() == [True, False]


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]).shape == (0,)


def test_summary(hits):
    record, predictions = make(hits)
    table = statistics.summary(record, predictions.sample(frac=1, random_state=0)).set_index("method")
    assert set(table.index) == {"wca", "lgca", "clip"}
    for method, correct in hits.items():
        assert table.loc[method, "top1"] == pytest.approx(correct.mean())
        assert (table.loc[method, "low"], table.loc[method, "high"]) == statistics.interval(correct)
    assert table.loc["lgca", "std"] == pytest.approx(np.std(hits["lgca"].mean(axis=1), ddof=1))
    assert math.isnan(table.loc["clip", "std"])
    assert table.loc["lgca", "difference"] == pytest.approx(hits["lgca"].mean() - hits["wca"].mean())
    assert (
        table.loc["clip", "difference_low"],
        table.loc["clip", "difference_high"],
    ) == statistics.paired_interval(hits["clip"], hits["wca"])
    p = {m: statistics.sign_flip(hits[m], hits["wca"]) for m in ("lgca", "clip")}
    assert table.loc[["lgca", "clip"], "p"].tolist() == pytest.approx([p["lgca"], p["clip"]])
    assert table.loc[["lgca", "clip"], "p_holm"].tolist() == pytest.approx(statistics.holm([p["lgca"], p["clip"]]))
    assert table.loc["wca", ["difference", "p", "p_holm"]].isna().all()
    assert statistics.summary(record, predictions, baseline=None)["p_holm"].isna().all()
    with pytest.raises(LgcaError, match="'goal'"):
        statistics.summary(record, predictions, baseline="goal")


def test_compare_takes_any_pairs_and_corrects_over_them_all(hits):
    pairs = [("lgca", "wca"), ("clip", "lgca"), ("wca", "clip")]
    table = statistics.compare_methods(hits, pairs)
    assert list(table.columns) == [*statistics.COMPARED, *statistics.OVER_CLASSES, "p_holm"]
    assert table[list(statistics.OVER_CLASSES)].isna().all(axis=None)  # whose classes are not known
    assert list(zip(table["method"], table["baseline"])) == pairs
    for row, (method, baseline) in zip(table.itertuples(), pairs):
        assert row.difference == pytest.approx(hits[method].mean() - hits[baseline].mean())
        assert (row.difference_low, row.difference_high) == statistics.paired_interval(hits[method], hits[baseline])
        assert row.p == statistics.sign_flip(hits[method], hits[baseline])
    assert table["p_holm"].tolist() == pytest.approx(statistics.holm(table["p"]))
    assert statistics.compare_methods(hits, pairs[:1])["p_holm"].tolist() == table["p"].tolist()[:1]
    assert statistics.compare_methods(hits, []).empty
    with pytest.raises(LgcaError, match=r"'goal'.*it has wca, lgca, clip"):
        statistics.compare_methods(hits, [("lgca", "goal")])


def test_compare_each_corrects_over_all_data_sets(hits):
    night = {method: correct[:, ::2] for method, correct in hits.items()}  # of other pictures, and fewer
    pairs = [("lgca", "wca"), ("clip", "wca")]
    table = statistics.compare_each({"day": hits, "night": night}, iter(pairs))
    assert table["dataset"].tolist() == ["day", "day", "night", "night"]
    own = pd.concat(
        [statistics.compare_methods(hits, pairs), statistics.compare_methods(night, pairs)], ignore_index=True
    )
    pd.testing.assert_frame_equal(table[list(statistics.COMPARED)], own[list(statistics.COMPARED)])
    assert table["p_holm"].tolist() == pytest.approx(statistics.holm(table["p"]))
    assert table["p_holm"].tolist() != pytest.approx(own["p_holm"].tolist())


def test_tied_is_paired_and_not_two_intervals_that_overlap():
    best = np.arange(400) < 260
    worse = best.copy()
    worse[:15] = False  # 15 pictures fewer, on none it is better
    noisy = np.random.default_rng(0).permutation(best)
    noisy[np.flatnonzero(noisy)[:4]] = False  # 4 fewer, but on other pictures
    assert statistics.interval(worse)[1] > best.mean()  # its own interval holds the best value
    table = {"worse": worse, "best": best, "noisy": noisy, "copy": np.stack([best] * 5)}
    assert statistics.tied_with_best(table) == {"worse": False, "best": True, "noisy": True, "copy": True}
    assert statistics.tied_with_best({}) == {}
    record, predictions = make(table)
    assert statistics.summary(record, predictions, None).set_index("method")[
        "tied"
    ].to_dict() == statistics.tied_with_best(table)


def test_correctness_keeps_pictures_paired(hits):
    _, predictions = make(hits)
    table = statistics.correctness(predictions.sort_values("prediction", kind="stable"))
    order = np.argsort([f"a/{i}.png" for i in range(200)])
    np.testing.assert_array_equal(table["wca"], hits["wca"][:, order])
    backwards = statistics.correctness(predictions[::-1])
    np.testing.assert_array_equal(backwards["wca"], table["wca"])
    with pytest.raises(ValueError, match="same pictures"):
        statistics.correctness(predictions.drop(index=3))
    elsewhere = predictions.assign(
        path=predictions["path"].where(predictions["method"] != "clip", "b/" + predictions["path"])
    )
    with pytest.raises(ValueError, match="clip was not run"):
        statistics.correctness(elsewhere)
