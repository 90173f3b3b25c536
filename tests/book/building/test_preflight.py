"""The pre-flight: all that is wrong is told at once and before any work, and what a run will take is counted."""

import json
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from lgca_book.building import calibration, preflight
from lgca_book.building.downloads import not_yet, offline
from lgca_book.experiments import Evaluation
from lgca_core.data import open_dataset
from lgca_core.encoders.embedded import WEIGHTS
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.evaluate import evaluate
from lgca_core.evaluation.store.store import Store
from lgca_core.lgca import LGCA
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.wca import WCA
from support import miniatures
from support.stub_encoder import noise_folders

FULL = {"profile": "full", "gpus": 0, "parts": 1, "device": "cpu"}
OF_NAMES = "clip,waffle"  # which read no file
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def checkout(tmp_path, monkeypatch, home):
    """An empty checkout with a data set beside it, and an encoder that is timed for no longer than it must."""
    miniatures.make("dtd", tmp_path / "my dtd")
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setattr(preflight, "rate_of", lambda encoder, manifest: 100.0)
    monkeypatch.setattr("lgca_book.planning.Plan.compared_in", lambda plan, page: [])  # with so few methods
    return tmp_path


def chosen(checkout: Path, **other) -> dict:
    return FULL | {"datasets": [f"dtd:{checkout / 'my dtd'}"], "encoders": ["aviary"], "methods": OF_NAMES} | other


def test_everything_that_is_wrong_is_told_at_once(checkout):
    Path("results").write_text("a file")
    wrong = chosen(
        checkout,
        datasets=["dtd:/nowhere", "pets", "dtdd"],
        encoders=["aviary:/nowhere.pt", "ViT-B-33:openai", "ViT-B-32:openai"],
        methods="clip,lgcaa",
        crops="many",
        sweeps="crop",
    )
    with pytest.raises(LgcaError) as error:
        preflight.check(wrong)
    said = str(error.value).splitlines()
    assert said[0] == f"{len(said) - 1} things are to be mended before anything is run:"
    for what in ("/nowhere ", "pets is not there", "'dtdd'", "/nowhere.pt", "'ViT-B-33'", "QuickGELU", "'lgcaa'"):
        assert sum(what in line for line in said[1:]) == 1, what
    for what in ("crops=many", "no sweep 'crop'", "results is a file"):
        assert sum(what in line for line in said[1:]) == 1, what
    assert sorted(path.name for path in Path().iterdir()) == ["results"]


def test_one_thing_that_is_wrong_is_one_sentence(checkout):
    with pytest.raises(LgcaError, match=r"^'dtdd' is neither a data set nor a folder: did you mean dtd$"):
        preflight.check(chosen(checkout, datasets=["dtdd"]))


def test_own_pictures_without_sentences_are_told_where_they_belong(checkout):
    noise_folders(checkout / "photos", ("heron", "ibis"), [(20, 20)])
    with pytest.raises(LgcaError, match=r"photos is no published data set.*lgca evaluate --images"):
        preflight.check(chosen(checkout, datasets=[str(checkout / "photos")], methods="clip,wca"))
    assert preflight.check(chosen(checkout, datasets=[str(checkout / "photos")]))  # methods that need none


def test_prompts_that_cannot_be_had_are_told_before_any_work(checkout, monkeypatch):
    monkeypatch.setenv("LGCA_PROMPTS_URL", (checkout / "no such mirror").as_uri())
    with pytest.raises(LgcaError, match="could not be fetched"):
        preflight.check(chosen(checkout, methods="cupl"))


def test_a_disk_that_is_too_small_is_told(checkout, monkeypatch):
    monkeypatch.setattr(preflight, "shutil", SimpleNamespace(disk_usage=lambda place: Usage(100, 90, 10)))
    with pytest.raises(LgcaError, match=r"the features need .* has 10 bytes free: set LGCA_STORE"):
        preflight.check(chosen(checkout))


def test_a_place_that_cannot_be_written_is_told(checkout):
    Path("results").symlink_to("/proc/self/fd")
    with pytest.raises(LgcaError, match="cannot be written"):
        preflight.check(chosen(checkout))


def test_what_lies_behind_each_spelling_is_found_out_and_the_plan_is_printed(checkout, capsys):
    weights = checkout / "it's mine.safetensors"
    shutil.copy(WEIGHTS, weights)
    dataset, encoder = f"dtd:{checkout / 'my dtd'}", f"aviary:{weights}"
    config = chosen(checkout, encoders=[encoder])
    contents = preflight.check(config)
    assert contents[dataset] == open_dataset(dataset).sha256
    assert contents[encoder] == load_encoder("aviary", device="cpu").sha256
    said = capsys.readouterr().out
    assert "6 pictures in 3 classes" in said and "not the whole of" in said  # a copy's note
    assert ("results/aviary-it-s-mine.safetensors/dtd" in said and "bytes" in said) or "kB" in said
    assert list(Path().iterdir()) == []
    json.dumps(contents)


def test_a_record_that_is_current_is_said_to_be(checkout, capsys):
    from lgca_book.building import dependencies
    from lgca_book.planning import digest_file, plan
    from lgca_core.evaluation.code_digest import digest_of_code

    config = chosen(checkout)
    contents = preflight.check(config)
    assert "up to date" not in capsys.readouterr().out
    [name] = (made := plan(config | {"contents": contents}, code=digest_of_code(dependencies.of_evaluations()))).full
    for file, text in ((f"results/{name}/record.json", "{}"), (digest_file(name, full=True), made.digest_of(name))):
        Path(file).parent.mkdir(parents=True)
        Path(file).write_text(text)
    preflight.check(config)
    assert "up to date" in capsys.readouterr().out
    next((checkout / "my dtd").rglob("banded_0005.jpg")).write_bytes(miniatures.picture("another"))
    preflight.check(config)
    assert "up to date" not in capsys.readouterr().out


def test_weights_that_are_not_here_yet_are_known_and_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for spec, waits in (("ViT-B-32-quickgelu:openai", True), ("ViT-B-32-quickgelu:openia", False)):
        with pytest.raises(LgcaError) as error, offline():
            load_encoder(spec, device="cpu")
        assert not_yet(error.value) == waits, spec


def test_passes_and_bytes_are_those_of_the_evaluation(tmp_path):
    """Of methods whose boxes do not depend on what the encoder says, and pictures of one size."""
    manifest = noise_folders(tmp_path / "pictures", ("heron", "ibis", "owl"), [(60, 70)] * 3)
    said = {name: [f"A {name}.", f"It is a {name}."] for name in manifest.classes}
    prompts = ClassPrompts.by_name(manifest.classes, descriptions=said)
    encoder, store = load_encoder("aviary", device="cpu"), Store(tmp_path / "real")
    of = Evaluation(dataset="x", methods=("clip", "cupl", "wca"), seeds=2, n=5, device="cpu")
    cost = calibration.cost_of(of, manifest, prompts, encoder, Store(tmp_path / "stand-in"))
    settings = {"seeds": range(2), "wca": WCA(n=5), "lgca": LGCA(n=5), "store": store}
    record, _ = evaluate(manifest, encoder, of.methods, prompts, **settings)
    assert cost.passes == record.image_passes + record.text_passes
    kept = sum(pool.size for pool in store.stored() if "sentences" not in pool.plan)
    assert 0.5 * kept < cost.stored_bytes < 2 * kept  # files have headers, which weigh in so small a set
    swept = of.model_copy(update={"methods": ("wca", "wca:n=3")})
    assert calibration.cost_of(swept, manifest, prompts, encoder, Store(tmp_path / "stand-in")).passes == 0


def test_an_encoder_is_timed_on_real_crops_or_on_noise(tmp_path):
    encoder = load_encoder("aviary", device="cpu")
    manifest = noise_folders(tmp_path / "pictures", ("heron", "egret"), [(60, 70)])
    assert calibration.rate_of(encoder, manifest, seconds=0.0) > 0
    before = encoder.image_passes
    assert calibration.rate_of(encoder, None, seconds=0.0) > 0
    assert encoder.image_passes - before == 3  # one to warm up, and a first round


def test_settings_that_cannot_be_run_are_told_with_their_evaluation(checkout, monkeypatch):
    """With one crop LGCA has no steps at WCA's passes, which shows only when it is prepared."""
    monkeypatch.setattr(preflight, "_prompts", lambda spec, manifest, methods: described(manifest.classes))
    with pytest.raises(LgcaError, match=r"^the evaluation aviary/dtd cannot be run: .*passes"):
        preflight.check(chosen(checkout, methods="lgca-equal", crops=1))


def described(classes) -> ClassPrompts:
    return ClassPrompts.by_name(classes, descriptions={name: [f"A {name} thing."] for name in classes})
