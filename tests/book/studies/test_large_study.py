"""The large study: trainings read together, differences by hand, and what is left said."""

import numpy as np
import pytest
from scipy import stats

from lgca_book.experiments import experiments
from lgca_book.studies import large_study
from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.evaluation.record import save
from support.records import toy_record

RNG = np.random.default_rng(0)
A, B = RNG.random((3, 1, 40)) < 0.6, RNG.random((3, 1, 40)) < 0.5  # of three trainings on 40 pictures


def training(number, **changes):
    """A record of two methods on ten classes of four pictures."""
    record, predictions = toy_record({"a": A[number], "b": B[number]})
    encoder = record.encoder.model_copy(update={"weights_sha256": f"{number}" * 64})
    classes = [f"class {k}" for k in range(10)]
    dataset = record.dataset.model_copy(update={"classes": classes})
    label = predictions["path"].str.extract(r"(\d+)", expand=False).astype(int) // 4
    wrong = (predictions["prediction"] != predictions["label"]).astype(int)
    predictions = predictions.assign(label=label, prediction=(label + wrong) % 10)
    return record.model_copy(update={"encoder": encoder, "dataset": dataset} | changes), predictions


@pytest.fixture
def records():
    return {f"seed {number}": training(number) for number in range(3)}


def test_differences_over_trainings_and_classes_by_hand(records):
    by = (A.astype(float) - B).reshape(3, 10, 4).mean(2)
    assert large_study.cells(records, "a", "b") == pytest.approx(by)
    [row] = large_study.compare(records, [("a", "b")]).to_dict("records")
    assert row["difference"] == pytest.approx(A.mean() - B.mean())
    assert (row["top1"], row["top1_baseline"]) == pytest.approx((A.mean(), B.mean()))
    assert (row["low"], row["high"], row["p"]) == pytest.approx(statistics.crossed_interval(by))
    known = stats.ttest_1samp(by.mean(1), 0).confidence_interval(0.95)
    assert (row["trainings_low"], row["trainings_high"]) == pytest.approx((known.low, known.high))
    over_classes = statistics.interval(by.mean(0))
    assert (row["classes_low"], row["classes_high"]) == over_classes
    assert (row["ahead"], row["trainings"]) == ((by.mean(1) > 0).sum(), 3)


def test_trainings_are_read_in_order_and_are_of_one_study(tmp_path):
    for number in (1, 0, 2):
        record, predictions = training(number)
        save(record, predictions, tmp_path / f"seed-{number}")
    assert list(large_study.trainings(tmp_path)) == ["seed 0", "seed 1", "seed 2"]
    assert large_study.trainings(tmp_path / "none") == {}
    record, predictions = training(1)
    save(record, predictions, tmp_path / "seed-4")
    with pytest.raises(LgcaError, match="two records of one encoder"):
        large_study.trainings(tmp_path)
    dataset = record.dataset.model_copy(update={"manifest_sha256": "e" * 64})
    save(record.model_copy(update={"dataset": dataset}), predictions, tmp_path / "seed-5")
    with pytest.raises(LgcaError, match="other pictures"):
        large_study.trainings(tmp_path)


def test_what_is_left_is_counted(tmp_path):
    study = experiments().study
    assert large_study.left(study, tmp_path).endswith("5 of 5 trainings and 5 evaluations are left")
    weights = tmp_path / large_study.WORK / "weights"
    weights.mkdir(parents=True)
    (weights / "seed-2.safetensors").touch()
    kept = tmp_path / large_study.FOLDER / "seed-4"
    kept.mkdir(parents=True)
    (kept / "record.json").touch()  # its weights are on another machine
    assert large_study.left(study, tmp_path).endswith("3 of 5 trainings and 4 evaluations are left")
