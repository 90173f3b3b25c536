"""An evaluation whose answers are known: pictures of colours, and an encoder that sees colours."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lgca_core.class_vectors import encode_classes, logits
from lgca_core.data import folders
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation import evaluate
from lgca_core.evaluation.record import load, save
from lgca_core.lgca import LGCA
from lgca_core.methods import METHODS
from lgca_core.pixels.pictures import open_picture
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.prompts.sentences import digest, templates
from lgca_core.views import Views
from lgca_core.wca import WCA

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
DESCRIPTIONS = {
    "red": ["a red thing.", "it looks red.", "something very red indeed."],
    "green": ["a green thing.", "green all over."],
    "blue": ["a blue thing.", "blue like the sea.", "deep blue.", "so blue."],
}
ALL = [name for name, method in METHODS.items() if method.prompts != "descriptors"]
QUICK = {"wca": WCA(n=6), "lgca": LGCA(n=6, steps=2)}


def colour_encoder(**changes) -> Encoder:
    """Pictures -> mean colour; sentences -> the colour they name, slightly bent by their other words."""

    def image(pixels):
        return pixels.mean(dim=(2, 3))

    def text(sentences):
        rows = []
        for sentence in sentences:
            bend = hashlib.sha256(sentence.encode()).digest()[:3]
            rows.append([float(name in sentence) + 0.001 * b for name, b in zip(COLOURS, bend, strict=True)])
        return torch.tensor(rows)

    fields = {
        "image": image,
        "text": text,
        "size": 16,
        "mean": (0.0,) * 3,
        "std": (1.0,) * 3,
        "name": "colours",
    }
    return Encoder(**fields | changes)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four noisy pictures of each colour, of different sizes; the last of the reds is green in truth."""
    root = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(4):
            painted = COLOURS["green"] if (name, number) == ("red", 3) else colour
            height, width = rng.integers(24, 48, size=2)
            pixels = np.clip(rng.normal(painted, 60, size=(height, width, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def manifest(root):
    return folders.folder(root)


def run(manifest, methods, encoder=None, **changes):
    options = {"seeds": (0, 1), **QUICK} | changes
    tables = {"descriptions": DESCRIPTIONS} | {
        name: options.pop(name) for name in ("descriptions", "descriptors", "templates") if name in options
    }
    said = ClassPrompts.by_name(manifest.classes, **tables)
    return evaluate.evaluate(manifest, encoder or colour_encoder(), methods, said, **options)


def test_every_method_on_known_pictures(manifest, tmp_path):
    methods = list(METHODS)
    record, predictions = run(manifest, methods, descriptors={"red": ["red"], "green": ["green"], "blue": ["blue"]})
    assert [run.method for run in record.runs if run.seed == 0] == methods
    for done in record.runs:
        assert (done.correct, done.total) == (11, 12), done.method
    wrong = predictions[predictions["label"] != predictions["prediction"]]
    assert set(wrong["path"]) == {"red/3.png"}
    assert (predictions["margin"] > 0).all()
    seeds = predictions.groupby("method")["seed"].unique().map(list).to_dict()
    assert {method for method, found in seeds.items() if found == [0]} == {
        "clip",
        "clip-e",
        "clip-d",
        "cupl",
        "cupl-weighted",
    }
    assert all(found in ([0], [0, 1]) for found in seeds.values())
    for _, rows in predictions.groupby("method"):
        margins = [tuple(of["margin"]) for _, of in rows.groupby("seed")]
        assert len(set(margins)) == len(margins)  # a seed changes something
    written = save(record, predictions, tmp_path / "run")
    assert load(tmp_path / "run")[0] == written


def test_record_says_what_was_run(manifest):
    encoder = colour_encoder(sha256="a" * 64, activation="quick_gelu")
    record, predictions = run(manifest, ["clip", "wca"], encoder, parameters={"profile": "embedded"})
    assert record.dataset.model_dump() == {
        "name": manifest.name, "split": "all", "count": 12, "classes": ["blue", "green", "red"],
        "manifest_sha256": manifest.sha256,
    }  # fmt: skip
    assert record.encoder.model_dump() == {
        "name": "colours", "weights_sha256": "a" * 64, "activation": "quick_gelu", "precision": "float32",
        "logit_scale": None, "logit_bias": None,
    }  # fmt: skip
    assert record.parameters["profile"] == "embedded"
    assert record.parameters["wca"]["n"] == 6
    assert record.parameters["lgca"]["steps"] == 2
    assert record.runs[1].config["alpha"] == 0.5
    assert record.runs[1].config["prompts"] == "descriptions"
    assert record.seeds == [0, 1]
    assert record.seconds > 0
    assert record.peak_memory > 1 << 20
    assert list(predictions["image"][:12]) == [item.sha256 for item in manifest.items]
    other, _ = run(manifest, ["clip", "wca"], descriptions={**DESCRIPTIONS, "red": ["red."]})
    assert other.prompts_sha256 != record.prompts_sha256


def test_predictions_hold_names_and_the_best_five_with_their_scores(manifest):
    encoder = colour_encoder()
    encoder.logit_scale = 50.0
    record, predictions = run(manifest, ["clip"], encoder)
    assert record.encoder.logit_scale == 50
    names, of_class = np.array(manifest.classes), logits_by_hand(manifest, encoder)
    order = np.argsort(-of_class, axis=1, kind="stable")
    assert predictions[["label_name", "prediction_name"]].astype(str).to_numpy().tolist() == [
        [names[item.label], names[first]] for item, first in zip(manifest.items, order[:, 0])
    ]
    assert predictions[["prediction", "class_2", "class_3"]].to_numpy().tolist() == order.tolist()
    assert (predictions[["class_4", "class_5"]] == -1).to_numpy().all()
    assert predictions[["score_4", "score_5"]].isna().to_numpy().all()
    scores = predictions[["score_1", "score_2", "score_3"]].to_numpy()
    np.testing.assert_allclose(scores, np.take_along_axis(of_class, order, axis=1), atol=1e-6)
    odds = np.exp(50 * scores.astype(float))
    np.testing.assert_allclose(predictions["probability"], odds[:, 0] / odds.sum(axis=1), rtol=1e-4)
    _, silent = run(manifest, ["clip"])
    assert silent["probability"].isna().all()  # the encoder does not say its scale


def logits_by_hand(manifest, encoder):
    """(n, C): the whole picture against the plain prompt of each class."""
    matrix = encode_classes(encoder, [[f"a photo of a {name}."] for name in manifest.classes])
    views = [Views(encoder, [open_picture(item.path)]) for item in manifest.items]
    whole = [of.encode([torch.tensor([[0, 0, *of.sizes[0]]])])[0] for of in views]
    return logits(torch.cat(whole), matrix).numpy()


def test_result_does_not_depend_on_chunks(manifest):
    _, whole = run(manifest, ALL)
    for chunk in (1, 5):
        _, parts = run(manifest, ALL, chunk=chunk)
        assert list(parts["path"]) == list(whole["path"])
        assert (parts["prediction"] == whole["prediction"]).all()
        np.testing.assert_allclose(parts["margin"], whole["margin"], atol=1e-6)


@pytest.mark.parametrize("method", ["wca", "lgca", "wca-released"])
def test_scores_are_those_of_one_picture_alone(manifest, method):
    """Batching, sharing and the table of methods change nothing: one picture, the method by hand."""
    encoder = colour_encoder()
    look = {
        "wca": WCA.as_written(),
        "wca-released": WCA.as_released(),
        "lgca": LGCA(),
    }[method]
    look = replace(look, n=6)
    _, predictions = run(manifest, ALL, encoder, lgca=replace(QUICK["lgca"], steps=LGCA().steps), seeds=(0, 7))
    anchors = [f"a photo of a {name}." for name in manifest.classes]
    matrix = encode_classes(
        encoder,
        [DESCRIPTIONS[name] for name in manifest.classes],
        anchors=anchors,
        temperature=look.text_temperature,
        renormalise=look.renormalise,
    )
    for item in manifest.items[::5]:
        views = Views(encoder, [open_picture(item.path)])
        given = {"class_matrix": matrix} if method == "lgca" else {}
        scores = logits(look.vectors(views, [item.sha256], 7, **given), matrix)[0]
        mine = (predictions["method"] == method) & (predictions["path"] == manifest.key(item))
        [row] = predictions[mine & (predictions["seed"] == 7)].to_dict("records")
        assert row["prediction"] == int(scores.argmax())
        best = scores.topk(2).values
        assert row["margin"] == pytest.approx(float(best[0] - best[1]), abs=1e-6)


# ---- passes ------------------------------------------------------------------------------------------------


def boxes_of(manifest, look, seeds) -> int:
    """How many different boxes, the whole picture included, `look` draws over all pictures and seeds."""
    total = 0
    for item in manifest.items:
        width, height = open_picture(item.path).size
        drawn = {(0, 0, height, width)}
        for seed in seeds:
            drawn |= {tuple(box) for box in look.boxes(height, width, seed, item.sha256).tolist()}
        total += len(drawn)
    return total


def test_nothing_is_encoded_twice(manifest):
    alone, _ = run(manifest, ["clip"])
    whole, _ = run(manifest, ["clip", "clip-e", "waffle", "cupl"])
    assert alone.image_passes == whole.image_passes == len(manifest.items)
    wca, _ = run(manifest, ["wca"])
    assert wca.image_passes == boxes_of(manifest, QUICK["wca"], (0, 1))
    both, _ = run(manifest, ["clip", "cupl", "wca"])
    assert both.image_passes == wca.image_passes
    lgca, _ = run(manifest, ["lgca"])
    equal, _ = run(manifest, ["lgca-equal"])
    shared, _ = run(manifest, ["wca", "lgca", "lgca-equal"])
    separate = wca.image_passes + lgca.image_passes + equal.image_passes
    assert shared.image_passes <= separate - 2 * len(manifest.items)  # the whole pictures at least
    assert shared.image_passes >= max(wca.image_passes, lgca.image_passes)


def test_each_sentence_is_encoded_once(manifest):
    record, _ = run(manifest, ["clip", "cupl", "wca", "wca-released", "lgca", "lgca-equal"])
    sentences = {sentence for listed in DESCRIPTIONS.values() for sentence in listed}
    assert record.text_passes == len(sentences) + len(COLOURS)


def test_passes_alone_are_the_formula(manifest):
    record, _ = run(manifest, ALL, wca=WCA(n=20), lgca=LGCA(n=20, steps=3, rho=0.5))
    passes = {run.method: run.passes_per_image for run in record.runs}
    assert {passes[name] for name in ("clip", "clip-e", "waffle", "cupl")} == {1}
    assert passes["wca"] == 21
    assert passes["lgca"] == 1 + 20 + 10 + 5 + 3
    assert passes["lgca-equal"] <= 21
    larger = replace(LGCA(n=20), n=next(r.config["n"] for r in record.runs if r.method == "lgca-equal") + 1)
    assert larger.passes() > 21


# ---- what can go wrong -------------------------------------------------------------------------------------


@pytest.fixture
def damaged(root, tmp_path):
    copy = tmp_path / "damaged"
    for file in root.rglob("*.png"):
        (copy / file.parent.name).mkdir(parents=True, exist_ok=True)
        (copy / file.parent.name / file.name).write_bytes(file.read_bytes())
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(copy / "green" / "cut.jpg")
    whole = (copy / "green" / "cut.jpg").read_bytes()
    (copy / "green" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (copy / "blue" / "notes.jpg").write_text("not a picture")
    (copy / "red" / "empty.png").touch()
    return copy


def test_unreadable_pictures_stop_it_or_are_listed(damaged, manifest):
    skipping = folders.folder(damaged, on_error="skip")
    with pytest.raises(LgcaError, match=r"notes\.jpg.*--on-error skip"):
        run(skipping, ["clip"])
    record, predictions = run(skipping, ["clip", "wca"], on_error="skip", chunk=4)
    assert {skip.path for skip in record.skipped} == {"green/cut.jpg", "blue/notes.jpg", "red/empty.png"}
    assert all(skip.reason and str(damaged) not in skip.reason for skip in record.skipped)
    assert record.dataset.count == 15
    assert {run.total for run in record.runs} == {12}
    _, clean = run(manifest, ["clip", "wca"])
    assert list(predictions["path"]) == list(clean["path"])
    assert (predictions["prediction"] == clean["prediction"]).all()


def test_chunks_of_nothing_but_damage(damaged):
    record, _ = run(folders.folder(damaged, on_error="skip"), ["clip"], on_error="skip", chunk=1)
    assert record.runs[0].total == 12
    for file in damaged.rglob("*.png"):
        file.write_text("no")
    with pytest.raises(LgcaError, match="no picture could be read"):
        run(folders.folder(damaged, on_error="skip"), ["clip"], on_error="skip")


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (["clip", "goal"], {}, "no method 'goal': choose from clip, clip-e"),
        ([], {}, "choose from clip"),
        (["clip", "clip"], {}, "given twice"),
        (["clip"], {"seeds": ()}, "seeds"),
        (["clip"], {"seeds": (1, 1)}, "seeds"),
        (["clip"], {"seeds": (-1,)}, "seeds"),
        (["clip"], {"chunk": 0}, "chunk"),
        (["cupl"], {"descriptions": None}, "'cupl' needs descriptions"),
        (["lgca"], {"descriptions": {"red": ["red."], "green": ["green."]}}, "'blue'"),
        (["clip-d"], {}, "'clip-d' needs short descriptors"),
        (["clip-e"], {"templates": ["nothing"]}, "no place for the name"),
    ],
)
def test_bad_requests_name_the_fault(manifest, methods, changes, message):
    encoder = colour_encoder()
    with pytest.raises(LgcaError, match=message):
        run(manifest, methods, encoder, **changes)
    assert (encoder.image_passes, encoder.text_passes) == (0, 0)  # refused before any work


def test_progress_reaches_the_end(damaged):
    seen = []
    skipping = folders.folder(damaged, on_error="skip")
    run(skipping, ["clip"], on_error="skip", chunk=5, progress=lambda *step: seen.append(step))
    assert [total for _, total in seen] == [14] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == 14


def test_generic_templates_stand_in_for_none(manifest):
    record, _ = run(manifest, ["clip-e"])
    expected = {"templates#0": templates(manifest.classes)}
    assert record.prompts_sha256 == digest(expected)
