"""Two records on the pictures that both have: matched by content, compared in pairs, and told by the command."""

import hashlib
import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.evaluation.comparison import METHOD_COLUMNS, compare_predictions
from lgca_core.evaluation.predictions import completed
from lgca_core.evaluation.record import save
from support.command_line import lgca, refused
from support.records import toy_record

CLASSES = ["crab [adult]", "ibis", "okapi"]
LABELS = [0, 0, 0, 1, 1, 2]


def told(rows, labels=LABELS, classes=CLASSES, paths=None, contents=None) -> pd.DataFrame:
    """Predictions of methods, each (seeds, n) class numbers; the content of a picture is its path's if not given."""
    paths = paths or [f"{number}.png" for number in range(len(labels))]
    images = [hashlib.sha256(of.encode()).hexdigest() for of in contents or paths]
    frames = [
        pd.DataFrame({"path": paths, "image": images, "label": labels, "method": method, "seed": seed,
                      "prediction": answers, "margin": 0.1})
        for method, by_seed in rows.items()
        for seed, answers in enumerate(by_seed)
    ]  # fmt: skip
    return completed(pd.concat(frames, ignore_index=True), classes)


A = {"wca": [[0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 0], [0, 1, 0, 1, 1, 0]], "clip": [[0, 0, 0, 1, 1, 2]]}
B = {"wca": [[0, 1, 1, 1, 1, 2]]}


def test_pairs_by_hand():
    found = compare_predictions(told(A), told(B), [("wca", "wca"), ("clip", "wca")])
    assert list(found.methods) == list(METHOD_COLUMNS)
    first, second = found.methods.to_dict("records")
    assert (first["pictures"], first["only_a"], first["only_b"], first["other_class"]) == (6, 0, 0, 0)
    assert (first["seeds_a"], first["seeds_b"]) == (3, 1)
    a = (np.array(A["wca"]) == LABELS).mean(axis=0)
    b = (np.array(B["wca"]) == LABELS).mean(axis=0)
    assert first["top1_a"] == pytest.approx(a.mean()) and first["difference"] == pytest.approx((a - b).mean())
    assert (first["difference_low"], first["difference_high"]) == statistics.paired_interval(a, b)
    assert (first["gained"], first["lost"]) == (2, 2)  # the second and third; the fifth and sixth
    assert first["p"] == statistics.sign_flip(np.array(A["wca"]) == LABELS, np.array(B["wca"]) == LABELS)
    assert (second["gained"], second["lost"]) == (2, 0)
    assert found.methods["p_holm"].tolist() == pytest.approx(statistics.holm(found.methods["p"]))

    own = found.classes[found.classes["method_a"] == "wca"].set_index("class")
    assert own.index.tolist()[:1] == ["okapi"] and own["pictures"].to_dict() == {
        "okapi": 1,
        "crab [adult]": 3,
        "ibis": 2,
    }
    assert own.loc["crab [adult]", ["accuracy_a", "accuracy_b"]].tolist() == pytest.approx([7 / 9, 1 / 3])
    changed = found.changed[found.changed["method_a"] == "wca"].drop(columns=["method_a", "method_b"])
    assert changed.to_numpy().tolist() == [
        ["1.png", "crab [adult]", "crab [adult]", "ibis", "gained"],
        ["2.png", "crab [adult]", "crab [adult]", "ibis", "gained"],
        ["4.png", "ibis", "okapi", "ibis", "lost"],
        ["5.png", "okapi", "crab [adult]", "okapi", "lost"],
    ]


def test_pictures_are_matched_by_content_wherever_they_lie():
    a = told({"clip": [[0, 0, 0, 1, 1, 2]]}, contents=["x", "x", "c", "d", "e", "f"])  # two of one content
    order = [5, 4, 0, 1]
    b = told(
        {"clip": [[1, 2, 0, 0, 1]]},
        labels=[2, 1, 0, 0, 1],
        paths=["moved/5.png", "moved/4.png", "1.png", "copy.png", "new.png"],
        contents=["f", "e", "x", "x", "other"],
    )
    [row] = compare_predictions(a, b, [("clip", "clip")]).methods.to_dict("records")
    assert (row["pictures"], row["only_a"], row["only_b"]) == (len(order), 2, 1)
    assert (row["top1_a"], row["top1_b"]) == (1, 0.5)


def test_classes_are_matched_by_name():
    other = told({"clip": [[1, 1, 1, 0, 0, 2]]}, [1, 1, 1, 0, 0, 2], ["ibis", "crab [adult]", "zebra"])
    [row] = compare_predictions(told(A), other, [("clip", "clip")]).methods.to_dict("records")
    assert (row["pictures"], row["other_class"], row["difference"]) == (5, 1, 0)
    renamed = told({"clip": [LABELS]}, classes=["x", "y", "z"])
    with pytest.raises(LgcaError, match="no picture under a class of the same name in common"):
        compare_predictions(told(A), renamed, [("clip", "clip")])
    elsewhere = told({"clip": [LABELS]}, contents=list("uvwxyz"))
    with pytest.raises(LgcaError, match="no picture in common"):
        compare_predictions(told(A), elsewhere, [("clip", "clip")])
    with pytest.raises(LgcaError, match="no method 'lgca'; it has wca"):
        compare_predictions(told(A), told(B), [("clip", "lgca")])


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    save(*toy_record({"wca": rng.random((2, 40)) < 0.9, "lgca [x]": rng.random((2, 40)) < 0.9}), "a")
    save(*toy_record({"wca": rng.random((2, 40)) < 0.3, "clip": rng.random((1, 40)) < 0.6}), "b")


def test_the_command_prints_text_json_and_csv(records):
    status, out, err = lgca("results", "compare", "a", "b")
    assert (status, err) == (0, "") and "40 pictures in both; 0 in A only, 0 in B only." in out
    assert "wca of A, wca of B: " in out and "more: --format csv --show pictures lists them all." in out
    assert "clip" not in out and "lgca [x]" not in out
    both = json.loads(lgca("results", "compare", "a", "b", "--format", "json")[1])
    assert set(both) == {"a", "b", "methods", "classes", "pictures"}
    for name, table in (("methods", "methods"), ("classes", "classes"), ("pictures", "pictures")):
        frame = pd.read_csv(StringIO(lgca("results", "compare", "a", "b", "--format", "csv", "--show", name)[1]))
        assert len(frame) == len(both[table]) and list(frame) == list(both[table][0])
    [row] = both["methods"]
    assert row["gained"] + row["lost"] == len(both["pictures"]) > 10


def test_two_methods_of_one_record_and_of_two(records):
    own = json.loads(
        lgca("results", "compare", "a", "a", "--method", "lgca [x]", "--against", "wca", "--format", "json")[1]
    )
    assert [(row["method_a"], row["method_b"]) for row in own["methods"]] == [("lgca [x]", "wca")]
    all_of_a = json.loads(lgca("results", "compare", "a", "b", "--against", "clip", "--format", "json")[1])
    assert [(row["method_a"], row["method_b"]) for row in all_of_a["methods"]] == [
        ("wca", "clip"),
        ("lgca [x]", "clip"),
    ]
    text = lgca("results", "compare", "a", "b", "--against", "clip")[1]
    assert "lgca [x] of A, clip of B" in text
    save(*toy_record({"goal": np.ones((1, 40), dtype=bool)}), "c")
    assert "a and c have no method in common" in refused("results", "compare", "a", "c")
    assert "no method 'cupl'; it has wca, lgca [x]" in refused("results", "compare", "a", "b", "--method", "cupl")
    assert "holds no record.json" in refused("results", "compare", "a", "nowhere")


def test_own_records_are_in_the_table_with_no_value_of_the_papers(records, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "a").rename(tmp_path / "runs" / "a")
    for words in ((), ("runs",)):
        rows = json.loads(lgca("results", "table", *words, "--dataset", "toy", "--format", "json")[1])
        assert {row["method"] for row in rows} == {"wca", "lgca [x]"}
        assert all(row["paper"] is None and row["verdict"] == "not available" and row["ours"] > 0 for row in rows)
    text = lgca("results", "table", "--dataset", "toy")[1]
    assert "lgca [x]" in text and "not available" in text
    assert "lgca \\[x\\]" in lgca("results", "table", "--dataset", "toy", "--format", "markdown")[1]
