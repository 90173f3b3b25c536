"""The classifier: pictures in any form, the same answers, and what it saw."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lgca_core
from lgca_core import LGCA, WCA, LgcaError, ZeroShotClassifier
from lgca_core.cli import options
from lgca_core.evaluation import classifier as module
from support.command_line import lgca
from support.stub_encoder import noise, rich, stub

CLASSES = ["red", "green", "blue"]
FEW = {"wca": WCA(n=5), "lgca": LGCA(n=5, steps=2)}


@pytest.fixture
def files(tmp_path):
    """Three pictures of noise."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        noise(30, 40 + number, number).save(path)
    return paths


def make(method="lgca", encoder=None, **named) -> ZeroShotClassifier:
    return ZeroShotClassifier(encoder or rich(logit_scale=50.0), CLASSES, method=method, **FEW | named)


def test_it_names_what_is_there(tmp_path):
    Image.new("RGB", (20, 30), "blue").save(tmp_path / "sea.png")
    said = {name: [f"a {name} thing"] for name in CLASSES}
    for method in ("cupl", "wca", "lgca", "gc"):
        found = ZeroShotClassifier(stub(logit_scale=10.0), said, method=method, **FEW)
        assert found.predict(tmp_path / "sea.png") == "blue"
        assert found.predict([tmp_path / "sea.png"]) == ["blue"]
        assert found.top_k(str(tmp_path / "sea.png"), 1)[0][0] == "blue"
        assert found.classes_.tolist() == CLASSES


def test_pictures_in_every_form_are_the_same_picture(files):
    asked = make("clip")
    picture = Image.open(files[0])
    pixels = np.asarray(picture)
    tensor = torch.from_numpy(pixels.copy())
    expected = asked.scores(files[0])
    forms = [str(files[0]), picture, pixels, tensor, tensor.permute(2, 0, 1), tensor / 255, pixels.astype(float) / 255]
    for form in forms:
        scores = asked.scores(form)
        assert scores.shape == (3,)
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_many_pictures_in_every_form(files):
    asked = make("clip")
    same = [np.asarray(Image.open(files[0])), np.asarray(Image.open(files[0]))[::-1].copy()]
    batch = torch.from_numpy(np.stack(same)).permute(0, 3, 1, 2)  # (2, 3, H, W)
    expected = asked.scores(same)
    assert expected.shape == (2, 3)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(batch, torch.tensor([1, 0])), batch_size=2)
    labelled = [(batch[0], 1), (batch[1], 0)]
    for many in (batch, batch.numpy(), [batch], loader, next(iter(loader)), labelled, (x for x in same), tuple(same)):
        np.testing.assert_allclose(asked.scores(many), expected, atol=1e-6)
    assert asked.scores([]).shape == (0, 3) and asked.predict([]) == [] and asked.top_k([]) == []


def test_boxes_are_keyed_by_the_file_as_long_as_its_pixels_are(files):
    asked = make("lgca")
    of_file = asked.scores(files[0])
    opened = Image.open(files[0])
    assert (asked.scores(opened) == of_file).all()
    opened.putpixel((0, 0), (1, 2, 3))
    changed = asked.scores(opened)
    assert not np.allclose(changed, of_file, atol=1e-9)
    in_memory = asked.scores(np.asarray(Image.open(files[0])))
    assert (in_memory == asked.scores(torch.from_numpy(np.asarray(Image.open(files[0])).copy()))).all()


def test_the_command_says_the_same(files, monkeypatch):
    encoder = rich(name="stub", logit_scale=50.0)
    monkeypatch.setattr(options, "load", lambda *_: encoder)
    for method in ("lgca", "wca:n=7", "clip-e"):
        asked = ZeroShotClassifier(encoder, CLASSES, method=method, seed=2, wca=WCA(n=6), lgca=LGCA(n=6))
        words = ["--classes", ",".join(CLASSES), "--method", method, "--seed", "2", "--n", "6", "--encoder", "x"]
        said = json.loads(lgca("classify", *files, *words, "--json")[1])
        for of_picture, scores, shares in zip(
            said["pictures"], asked.scores(files), asked.predict_proba(files), strict=True
        ):
            assert [row["name"] for row in of_picture["classes"]] == [CLASSES[c] for c in module.ranked(scores)]
            for row in of_picture["classes"]:
                assert row["score"] == pytest.approx(scores[CLASSES.index(row["name"])], abs=1e-6)
                assert row["probability"] == pytest.approx(shares[CLASSES.index(row["name"])], abs=1e-6)


def test_class_vectors_are_made_once_and_pictures_only_as_they_are_needed(files):
    encoder = rich(batch_size=2)
    asked = make("clip", encoder)
    texts, taken = encoder.text_passes, []

    def endless():
        for number in range(100):
            taken.append(number)
            yield files[number % 3]

    stream = module.answers(encoder, [asked._job], endless())
    next(stream)
    stream.close()
    assert len(taken) <= 2 + module.AHEAD + 1
    asked.predict(files)
    assert encoder.text_passes == texts


def test_probabilities_are_those_of_the_model_s_scale(files):
    encoder = rich(logit_scale=50.0, logit_bias=-3.0)
    asked = make("clip", encoder)
    scores, shares = asked.scores(files), asked.predict_proba(files)
    expected = np.exp(50 * scores) / np.exp(50 * scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, expected)
    alone = 1 / (1 + np.exp(3 - 50 * scores))
    np.testing.assert_allclose(asked.predict_proba(files, independent=True), alone)
    np.testing.assert_allclose(make("clip", encoder, independent=True).predict_proba(files[0]), alone[0])
    with pytest.raises(LgcaError, match=r"does not say its scale.*logit_scale="):
        make("clip", rich()).predict_proba(files)
    with pytest.raises(LgcaError, match="no bias"):
        make("clip").predict_proba(files, independent=True)


def test_a_picture_that_fails_takes_none_with_it(files, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    asked = make("clip", rich(batch_size=8))
    given = [files[0], tmp_path / "bad.png", files[1]]
    found = [scores for _, scores in module.answers(asked.encoder, [asked._job], given)]
    assert isinstance(found[1], LgcaError)
    np.testing.assert_allclose([found[0][0], found[2][0]], asked.scores(files[:2]), atol=1e-6)
    with pytest.raises(LgcaError, match=r"picture 1 .*bad.png"):
        asked.scores(given)


@pytest.mark.parametrize("method", ["clip", "waffle", "cupl-weighted", "wca", "wca-released", "lgca", "lgca-equal"])
def test_what_it_saw_adds_up_to_what_it_says(files, method):
    pytest.importorskip("matplotlib")
    asked = make(method)
    seen = asked.explain(files[0])
    np.testing.assert_allclose(seen.scores, asked.scores(files[0]), atol=1e-6)
    np.testing.assert_allclose(sum(step.share * step.scores for step in seen.steps), seen.scores, atol=1e-5)
    for step in seen.steps:
        assert step.boxes.shape == (len(step.weights), 4) and step.weights.sum() == pytest.approx(1, abs=1e-5)
    assert sum(step.share for step in seen.steps) == pytest.approx(1)
    assert len(seen.steps) == (1 if not method.startswith("lgca") else 3 if method == "lgca" else len(seen.steps))
    assert seen.probabilities.sum() == pytest.approx(1)
    figure = seen.plot(top=2)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_whole_picture_is_a_step_where_lgca_adds_it(files):
    seen = make("lgca:whole_image=true").explain(files[0])
    assert seen.steps[-1].boxes.tolist() == [[0, 0, 30, 40]]
    np.testing.assert_allclose(sum(step.share * step.scores for step in seen.steps), seen.scores, atol=1e-5)


def test_names_are_no_formulae_in_a_plot(files):
    pytest.importorskip("matplotlib")
    names = ["$\\badcmd$", "crab [adult]", "_^"]
    figure = ZeroShotClassifier(rich(), names, method="clip").explain(files[0]).plot()
    assert figure._repr_png_()


def test_without_matplotlib_a_plot_names_the_extra(files, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(LgcaError, match=r"lgca-core\[plot\]"):
        make("clip").explain(files[0]).plot()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"classes": "heron"}, "classes is the string 'heron'"),
        ({"classes": {"a", "b"}}, "not a set"),
        ({"classes": 3}, "the number 3"),
        ({"classes": None}, "not None"),
        ({"classes": ["a", 1]}, "the number 1"),
        ({"classes": ["a"]}, "at least two different classes"),
        ({"classes": ["a", "a"]}, "at least two different classes.*'a' is given twice"),
        ({"classes": ["a", " "]}, "empty name"),
        ({"classes": {"a": "x", "b": "y"}}, "descriptions of 'a' is the string 'x'"),
        ({"classes": {"a": ["x"], "b": []}}, "no descriptions of 'b'"),
        ({"descriptions": ["a"]}, "dict of class name"),
        ({"descriptions": {"a": ["x"]}}, "no descriptions for 'b'"),
        ({"descriptions": {"a": ["x"], "b": ["y"], "c": ["z"]}}, "'c'"),
        ({"templates": "a {}"}, "templates is the string"),
        ({"method": "goal"}, "no method 'goal'"),
        ({"method": ["lgca"]}, "method must be a string, not a list"),
        ({"seed": "0"}, "seed must be a whole number"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"encoder": None}, "encoder must be an Encoder or a string, not None"),
        ({"encoder": "no-such-model:x"}, "no-such-model"),
        ({"independent": True}, "scale"),
        ({"method": "clip-d"}, "descriptors"),
    ],
)
def test_wrong_kinds_are_refused(given, said):
    named = {"encoder": rich(), "classes": ["a", "b"]} | given
    with pytest.raises(LgcaError, match=said):
        ZeroShotClassifier(named.pop("encoder"), named.pop("classes"), **named)


@pytest.mark.parametrize("given", [None, 3, {"a": 1}, b"bytes", {"x"}, [None], [3], [{"image": 1}], "", "nowhere.png"])
def test_what_is_no_picture_is_refused(given):
    asked = make("clip")
    for ask in (asked.predict, asked.scores, asked.top_k, asked.explain):
        with pytest.raises(LgcaError) as caught:
            ask(given)
        assert "\n" not in str(caught.value)


def test_other_methods_and_numbers_are_refused_in_words(files):
    with pytest.raises(LgcaError, match=r"gc .* choose one of clip, .*lgca"):
        make("gc").explain(files[0])
    with pytest.raises(LgcaError, match="one by one"):
        make("clip").explain(files)
    for k in (0, "3", None):
        with pytest.raises(LgcaError, match="k"):
            make("clip").top_k(files, k)


OPEN_CLIP = """
from lgca_core import ZeroShotClassifier

classifier = ZeroShotClassifier("ViT-B-32-quickgelu:openai", ["heron", "egret", "stork"])
classifier.predict("holiday.jpg")                     # 'heron'
classifier.predict_proba(["holiday.jpg", "other.jpg"])  # (2, 3), each row sums to 1
classifier.top_k("holiday.jpg", 2)                    # [('heron', 0.31), ('egret', 0.29)]
classifier.explain("holiday.jpg").plot().savefig("explained.png")
"""


def test_the_snippet_of_open_clip_runs(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    for name in ("holiday.jpg", "other.jpg"):
        noise(40, 30).save(name)
    monkeypatch.setattr(module, "load_encoder", lambda *_, **__: rich(logit_scale=100.0))
    exec(OPEN_CLIP, {})
    assert Path("explained.png").stat().st_size > 1000
    assert re.search("ZeroShotClassifier", str(lgca_core.__all__))
