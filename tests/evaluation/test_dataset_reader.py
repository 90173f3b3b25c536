"""Evaluations with a store: the same answers whatever was there, and nothing encoded twice."""

import itertools
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lgca_core.data import folders
from lgca_core.data.manifest import Conversion
from lgca_core.errors import LgcaError
from lgca_core.evaluation import dataset_reader, evaluate
from lgca_core.evaluation.store import feature_set, store as stores
from lgca_core.evaluation.store.feature_set import FeatureSet
from lgca_core.evaluation.store.store import Store
from lgca_core.lgca import LGCA
from lgca_core.methods import METHODS
from lgca_core.prompts import sentences
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.wca import WCA
from support.stub_encoder import rich

CLASSES = ("red", "green", "blue")
DESCRIPTIONS = {name: [f"a {name} thing.", f"{name} all over.", f"so {name} indeed."] for name in CLASSES}
METHOD_NAMES = [name for name, method in METHODS.items() if method.prompts != "descriptors"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Seven pictures of each class, of many sizes."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir()
        for number in range(7):
            pixels = rng.integers(0, 256, (*rng.integers(24, 48, size=2), 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def manifest(root):
    return folders.folder(root)


def encoder():
    return rich(name="rich", sha256="0" * 64)


def run(manifest, store, methods=METHOD_NAMES, model=None, **changes):
    options = {"seeds": (0, 1), "wca": WCA(n=6), "lgca": LGCA(n=6, steps=2), "chunk": 3} | changes
    said = ClassPrompts.by_name(manifest.classes, descriptions=DESCRIPTIONS)
    return evaluate.evaluate(manifest, model or encoder(), methods, said, store=store, **options)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", pictures=5)


def test_a_second_run_encodes_nothing_reads_no_picture_and_says_the_same(manifest, store, monkeypatch):
    first, answers = run(manifest, store)
    assert first.image_passes > 0 < first.text_passes

    def unread(path, **_):
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(dataset_reader, "open_picture", unread)
    second, again = run(manifest, store)
    assert (second.image_passes, second.text_passes) == (0, 0)
    assert again.equals(answers)
    assert second.runs == first.runs


def test_the_answers_do_not_depend_on_what_was_there(manifest, store, tmp_path):
    _, alone = run(manifest, Store(tmp_path / "other", pictures=5), ["lgca"])
    run(manifest, store, ["wca", "bifta"], seeds=(1,))
    _, after = run(manifest, store, ["lgca"])
    assert after.equals(alone)


def test_the_store_s_rounding_is_all_that_differs(manifest, store):
    _, stored = run(manifest, store)
    _, without = run(manifest, None)
    assert not stored.equals(without)
    assert np.allclose(stored["margin"], without["margin"], atol=2e-3)
    given = ["path", "image", "label", "label_name", "method", "seed"]
    assert stored[given].equals(without[given])


def test_methods_and_ablations_share_what_they_can(manifest, store):
    run(manifest, store, ["wca"])

    def passes(methods, **changes):
        return run(manifest, store, methods, **changes)[0].image_passes

    assert passes(["clip", "cupl", "waffle"]) == 0  # WCA has seen the whole pictures
    assert passes(["wca"], wca=WCA(n=4)) == 0  # the first of its six squares
    assert passes(["lgca"], lgca=LGCA(n=5, steps=0, start="wca")) == 0
    assert passes(["bifta", "gc"], seeds=(0,)) > 0  # the crops are there, the margins are not
    grown = LGCA(n=6, steps=2)
    assert passes(["lgca"], lgca=grown) > 0
    assert passes(["lgca"], lgca=replace(grown, lam="last", whole_image=True)) == 0
    assert passes(["lgca"], lgca=replace(grown, gamma=1.1)) > 0
    assert passes(["wca"], seeds=(2,)) == 6 * len(manifest.items)
    assert passes(["wca"], wca=WCA(n=8), seeds=(2,)) == 2 * len(manifest.items)


def test_other_weights_architecture_precision_or_pictures_share_nothing(manifest, store, root, tmp_path):
    run(manifest, store, ["clip"])
    for change in ({"sha256": "1" * 64}, {"architecture": "1" * 64}, {"precision": "bfloat16"}):
        record, _ = run(manifest, store, ["clip"], rich(**{"name": "rich", "sha256": "0" * 64} | change))
        assert record.image_passes == len(manifest.items) and record.text_passes == len(CLASSES)
    shutil.copytree(root, tmp_path / "more")
    Image.new("RGB", (30, 30)).save(tmp_path / "more" / "red" / "another.png")
    more = folders.folder(tmp_path / "more")
    assert run(more, store, ["clip"])[0].image_passes == len(more.items)


def test_what_is_done_to_pictures_on_request_has_features_of_its_own(store, tmp_path):
    """The files, and so the boxes, are the same; the pixels are not, and features of others must not be believed."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "clear" / name).mkdir(parents=True)
        for number in range(2):
            pixels = rng.integers(0, 256, (30, 30, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "clear" / name / f"{number}.png")
    dropped = folders.folder(tmp_path / "clear")
    white = replace(dropped, conversion=Conversion(on_white=True))
    assert [item.identity for item in white.items] == [item.identity for item in dropped.items]
    assert white.sha256 != dropped.sha256
    first, answers = run(dropped, store, ["wca"])
    second, on_white = run(white, store, ["wca"])
    assert second.image_passes == first.image_passes > 0
    assert not on_white["margin"].equals(answers["margin"])
    assert run(white, store, ["wca"])[0].image_passes == 0
    assert second.parameters["pictures"] == {"scale_grey": False, "on_white": True}
    assert first.parameters["pictures"] == {"scale_grey": False, "on_white": False}


def test_the_same_pictures_under_other_class_names_are_not_encoded_again(manifest, store):
    run(manifest, store, ["wca"])
    renamed = replace(manifest, classes=tuple(f"{name} one" for name in manifest.classes))
    said = ClassPrompts.by_name(renamed.classes, descriptions={f"{name} one": DESCRIPTIONS[name] for name in CLASSES})
    record, _ = evaluate.evaluate(renamed, encoder(), ["wca"], said, store=store, seeds=(0, 1), wca=WCA(n=6), chunk=3)
    assert record.image_passes == 0


def test_another_method_encodes_its_own_sentences_only(manifest, store):
    first, _ = run(manifest, store, ["wca"])
    assert first.text_passes == len(CLASSES) * (3 + 1)  # descriptions and anchors
    both, _ = run(manifest, store, ["wca", "clip-e", "clip"])
    assert both.text_passes == len(CLASSES) * len(sentences.GENERIC_TEMPLATES)


def test_a_pool_of_boxes_that_other_pools_hold_is_there_the_next_time(manifest, store, monkeypatch):
    run(manifest, store, ["wca"])
    still = {"lgca": LGCA(n=6, steps=2, start="wca", gamma=1.0)}  # asks for WCA's crops only
    run(manifest, store, ["lgca"], **still)
    monkeypatch.setattr(dataset_reader, "open_picture", lambda path, **_: pytest.fail(f"{path} was opened"))
    run(manifest, store, ["lgca"], **still)


@pytest.mark.parametrize("method", [name for name in METHOD_NAMES if name != "waffle"])  # which draws for each class
def test_classes_that_are_described_alike_tie_and_the_first_wins(root, method, store):
    manifest = folders.folder(root)
    twice = replace(manifest, classes=(*manifest.classes, *manifest.classes))
    said = ClassPrompts(twice.classes, sentences.GENERIC_TEMPLATES, [DESCRIPTIONS[name] for name in twice.classes])
    options = {"seeds": (0,), "wca": WCA(n=6), "lgca": LGCA(n=6, steps=1), "store": store}
    for chunk in (1, 32):
        _, answers = evaluate.evaluate(twice, encoder(), [method], said, chunk=chunk, **options)
        assert set(answers["prediction"]) <= {0, 1, 2}
        assert (answers["margin"] == 0).all()


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_from_the_store_an_answer_does_not_depend_on_its_company(manifest, store, method):
    model = rich(512, name="rich", sha256="0" * 64)
    first, *others = (run(manifest, store, [method], model, chunk=chunk)[1] for chunk in (7, 1, 3, 32))
    for other in others:
        rounded = ["margin", *(f"score_{rank}" for rank in range(1, 6))]
        assert other.drop(columns=rounded).equals(first.drop(columns=rounded))
        # Optimal transport is iterated in float32, with rows to spare where a neighbour has more crops.
        atol = 1e-6 if method == "lazsl" else 0
        assert np.allclose(other[rounded], first[rounded], rtol=0, atol=atol, equal_nan=True)


def test_scores_that_are_not_finite_are_said(manifest):
    broken = encoder()
    broken.image = lambda pixels: torch.full((len(pixels), 12), torch.nan)
    with pytest.raises(LgcaError, match="scores of wca are not finite"):
        run(manifest, None, ["wca"], broken)


def test_an_encoder_without_a_hash_of_its_weights_is_refused(manifest, store):
    with pytest.raises(LgcaError, match="no hash of its weights"):
        run(manifest, store, ["clip"], rich(name="rich"))


def stopped_at(call: int, error: BaseException):
    """An encoder that raises at a call, counted from 0, of those that encode crops."""
    model = encoder()
    encode, calls = model.encode_crops, iter(range(1_000_000))

    def until(crops):
        if next(calls) == call:
            raise error
        return encode(crops)

    model.encode_crops = until
    return model


def features(store) -> set[str]:
    """The shards of crops in a store; their names say what they hold, to the bit."""
    return {str(file.path) for pool in store.stored() if pool.plan != "sentences" for file in pool.files}


@pytest.mark.parametrize(
    ("error", "streams"),
    [
        (KeyboardInterrupt(), 1),
        pytest.param(KeyboardInterrupt(), 2, marks=pytest.mark.slow),
        pytest.param(LgcaError("full"), 1, marks=pytest.mark.slow),
    ],
)
def test_a_run_stopped_at_any_batch_goes_on_from_there_to_the_same_bits(manifest, store, tmp_path, streams, error):
    manifest = replace(manifest, items=manifest.items[:8])  # a shard of two chunks, and one of one
    few = {"methods": ["lgca", "bifta", "clip"], "seeds": (0,)}
    untouched = Store(tmp_path / "store-undisturbed", pictures=5)
    whole, undisturbed = run(manifest, untouched, **few)
    expected = {file.replace("store-undisturbed", "store") for file in features(untouched)}
    for call in itertools.count():
        shutil.rmtree(store.root, ignore_errors=True)
        stopped = stopped_at(call, error)
        stopped.streams = streams
        try:
            run(manifest, store, model=stopped, **few)
        except type(error):
            pass
        else:
            break
        record, predictions = run(manifest, store, **few)
        assert predictions.equals(undisturbed)
        assert features(store) == expected
        # Of the chunk that it was at, only the pool that was not whole is encoded again; of two streams two chunks.
        assert record.image_passes + stopped.image_passes <= whole.image_passes + streams * 3 * 6
    assert call > 9


def test_a_run_that_is_stopped_over_and_over_ends(manifest, store, tmp_path):
    few = {"methods": ["lgca", "wca"], "seeds": (0,)}
    _, undisturbed = run(manifest, Store(tmp_path / "other", pictures=5), **few)
    taken = []
    for _ in range(1000):
        model = stopped_at(2, KeyboardInterrupt())
        try:
            _, predictions = run(manifest, store, model=model, **few)
        except KeyboardInterrupt:
            taken.append(model.image_passes)
        else:
            break
    assert len(taken) > 10 and min(taken[:-1]) > 0
    assert predictions.equals(undisturbed)


def test_a_caller_that_fails_loses_nothing(manifest, store):
    def full(done, _):
        if done >= 9:
            raise LgcaError("no more")

    with pytest.raises(LgcaError, match="no more"):
        run(manifest, store, ["clip"], progress=full)
    assert run(manifest, store, ["clip"])[0].image_passes == len(manifest.items) - 9 - 1  # chunks of 3, 2, 3, 2


def test_a_picture_that_cannot_be_read_loses_nothing_before_it(root, store, tmp_path):
    shutil.copytree(root, tmp_path / "pictures")
    manifest = folders.folder(tmp_path / "pictures")
    (tmp_path / "pictures" / "green" / "6.png").write_bytes(b"no picture")
    with pytest.raises(LgcaError, match=r"6\.png"):
        run(manifest, store, ["clip"])
    (tmp_path / "pictures" / "green" / "6.png").write_bytes((root / "green" / "6.png").read_bytes())
    assert run(manifest, store, ["clip"])[0].image_passes == len(manifest.items) - 13


def test_what_is_encoded_is_written_now_and_then(manifest, store, tmp_path, monkeypatch):
    """So that a process that is killed outright, or whose machine stops, does not lose a whole shard."""
    _, undisturbed = run(manifest, Store(tmp_path / "store-undisturbed", pictures=100))
    store = Store(store.root, pictures=100)
    monkeypatch.setattr(dataset_reader, "KEEP_SECONDS", 0.0)
    seen = []

    def look(done, _):
        if not seen:
            monkeypatch.setattr(dataset_reader._New, "write", writing)
        seen.append(done)

    write = dataset_reader._New.write
    written = []

    def writing(new):
        write(new)
        written.append(seen[-1])

    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # ever due
    _, predictions = run(manifest, store, progress=look)
    assert written == [*seen, seen[-1]]
    assert predictions.equals(undisturbed)
    assert {Path(file).name for file in features(store)} == {
        Path(file).name for file in features(Store(tmp_path / "store-undisturbed"))
    }


def test_a_store_that_is_full_when_a_run_is_stopped_does_not_hide_why(manifest, store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(feature_set, "put", full)
    monkeypatch.setattr(FeatureSet, "_name", lambda _: None)
    monkeypatch.setattr(evaluate, "prepare_jobs", without_a_store(evaluate.prepare_jobs))
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(manifest, store, model=stopped_at(4, KeyboardInterrupt()))
    [note] = stopped.value.__notes__
    assert "could not be kept" in note and "No space left" in note and str(store.root) in note


def without_a_store(prepare):
    return lambda encoder, prompts, methods, seeds, settings, *_: prepare(encoder, prompts, methods, seeds, settings)


def test_the_room_that_features_take_is_known_before_the_first_picture(manifest, store, tmp_path, monkeypatch):
    free = SimpleNamespace(free=10**12)
    monkeypatch.setattr(stores.shutil, "disk_usage", lambda _: free)
    asked = []
    monkeypatch.setattr(Store, "check", lambda store, room: asked.append(room))
    few = {"methods": ["wca", "clip"], "wca": WCA(n=6)}
    run(manifest, store, **few)
    run(manifest, store, **few)
    run(manifest, store, methods=["lgca"], lgca=LGCA(n=6, steps=2))
    whole, nothing, other = asked
    assert whole == len(manifest.items) * (1 + 2 * 6) * (2 * 12 + 16)  # the whole picture, six squares of two seeds
    assert nothing == 0 < other
    taken = sum(pool.size for pool in store.stored() if pool.plan != "sentences")
    assert whole + other == pytest.approx(taken, rel=0.5)  # a shard has a head
    monkeypatch.undo()
    monkeypatch.setattr(stores.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    model = encoder()
    for go in (
        lambda: run(manifest, Store(tmp_path / "new"), model=model),
        lambda: evaluate.encode(
            manifest, model, ["clip"], ClassPrompts.by_name(manifest.classes), Store(tmp_path / "new")
        ),
    ):
        with pytest.raises(LgcaError, match=r"free: set LGCA_STORE"):
            go()
    assert model.image_passes == 0


def test_vectors_that_are_not_finite_are_not_kept_and_those_before_them_are(manifest, store):
    model = encoder()
    image = model.image

    def broken(pixels):
        return image(pixels) * (torch.nan if model.image_passes >= 8 else 1)

    model.image = broken
    with pytest.raises(LgcaError, match="not finite"):
        run(manifest, store, ["clip"], model)
    assert run(manifest, store, ["clip"])[0].image_passes == len(manifest.items) - 8


def test_an_unreadable_picture_is_skipped_each_time(root, store, tmp_path):
    place = tmp_path / "pictures"
    for name in CLASSES:
        (place / name).mkdir(parents=True)
        for number in range(3):
            (place / name / f"{number}.png").write_bytes((root / name / f"{number}.png").read_bytes())
    (place / "green" / "1.png").write_bytes(b"no picture")
    manifest = folders.folder(place)
    first, answers = run(manifest, store, on_error="skip")
    second, again = run(manifest, store, on_error="skip")
    assert [of.path for of in first.skipped] == [of.path for of in second.skipped] == ["green/1.png"]
    assert again.equals(answers) and second.image_passes == 0
    with pytest.raises(LgcaError, match=r"1\.png"):
        run(manifest, store)


def test_a_method_must_say_which_boxes_it_asks_for(manifest, store, monkeypatch):
    whole = METHODS["clip"]

    def prepare(texts, seed, settings):
        return replace(whole.prepare(texts, seed, settings), plans=())

    monkeypatch.setitem(METHODS, "clip", replace(whole, prepare=prepare))
    with pytest.raises(AssertionError, match="boxes that its plans do not hold"):
        run(manifest, store, ["clip", "wca"])


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_fill_the_store_for_all(manifest, store, parts):
    models = [encoder() for _ in range(parts)]
    said = ClassPrompts.by_name(manifest.classes, descriptions=DESCRIPTIONS)
    options = {"seeds": (0, 1), "wca": WCA(n=6), "lgca": LGCA(n=6, steps=2), "chunk": 3}
    done = [
        evaluate.encode(manifest, model, METHOD_NAMES, said, store, part=(k, parts), **options)
        for k, model in enumerate(models, start=1)
    ]
    pictures = [part.pictures for part in done]
    assert sum(pictures) == len(manifest.items) and max(pictures) - min(pictures) <= 5  # pictures of a shard
    assert [part.image_passes for part in done] == [model.image_passes for model in models]
    record, predictions = run(manifest, store)
    assert (record.image_passes, record.text_passes) == (0, 0)
    _, whole = run(manifest, Store(store.root.with_name("whole"), pictures=5))
    assert predictions.equals(whole)


def test_there_is_no_part_zero(manifest, store):
    said = ClassPrompts.by_name(manifest.classes)
    for part in ((0, 2), (3, 2)):
        with pytest.raises(LgcaError, match="there is no part"):
            evaluate.encode(manifest, encoder(), ["clip"], said, store, part=part)
