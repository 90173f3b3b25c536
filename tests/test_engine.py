"""The whole engine from the command line: every published data set in miniature, and runs that are killed."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time

import miniatures
import open_clip
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from lgca_core import datasets, results
from lgca_core.class_prompts import ClassPrompts
from lgca_core.encoder import load_encoder
from lgca_core.evaluate import evaluate
from lgca_core.lgca import LGCA
from lgca_core.methods import METHODS
from lgca_core.store import Store
from lgca_core.wca import WCA

SMALL = ["--n", "2", "--steps", "1", "--seeds", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def shallow(tmp_path_factory) -> str:
    """SPEC of an untrained ViT-B-32-quickgelu with one layer a tower."""
    folder = tmp_path_factory.mktemp("shallow")
    config = copy.deepcopy(open_clip.get_model_config("ViT-B-32-quickgelu"))
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 1
    (folder / "ViT-B-32-quickgelu-shallow.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "ViT-B-32-quickgelu-shallow.json")
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu-shallow", load_weights=False)
    save_file(model.state_dict(), folder / "untrained.safetensors")
    return f"ViT-B-32-quickgelu-shallow:{folder / 'untrained.safetensors'}"


def tables(classes) -> dict:
    """Generated prompts for some classes."""
    return {
        "descriptions": {name: [f"A {name} is seen here.", f"It is plainly a {name}."] for name in classes},
        "descriptors": {name: ["a clear outline", "has two sides"] for name in classes},
        "templates": ["a photo of a {}.", "a drawing of a {}."],
    }


@pytest.fixture(scope="module")
def encoders(shallow):
    return [load_encoder(spec, device="cpu") for spec in ("aviary", shallow)]


@pytest.mark.parametrize("name", miniatures.IDS)
def test_every_method_runs_on_every_data_set_and_a_second_time_for_nothing(name, encoders, tmp_path, monkeypatch):
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    miniatures.enter(monkeypatch, name)
    place = miniatures.make(name, tmp_path / "copy")
    manifest = datasets.open_dataset(f"{name}:{place}")
    said = ClassPrompts.by_name(manifest.classes, **tables(manifest.classes))
    settings = {"seeds": (0,), "wca": WCA(n=2), "lgca": LGCA(n=2, steps=1)}
    for encoder in encoders:
        store = Store(tmp_path / "store")
        first, answers = evaluate(manifest, encoder, list(METHODS), said, store=store, **settings)
        second, again = evaluate(manifest, encoder, list(METHODS), said, store=store, **settings)
        assert first.image_passes > 0 < first.text_passes
        assert (second.image_passes, second.text_passes) == (0, 0)
        pd.testing.assert_frame_equal(again, answers, check_exact=True)
        record = results.save(second, again, tmp_path / "record", force=True)
        assert results.load(tmp_path / "record")[0] == record
        assert record.dataset.count == len(manifest.items) and {of.method for of in record.runs} == set(METHODS)


def test_ten_kills_leave_no_trace(tmp_path):
    """SIGKILL at random points, over and over: the predictions are those of a run that nobody disturbed."""
    store = {"LGCA_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "lgca_core.cli",
        "evaluate",
        "--dataset",
        "aviary-clean",
        "--method",
        "clip,wca,lgca",
    ]

    def run(out: str, features: str, kill_after: float | None = None) -> int:
        words = [*command, "--method", "clip,wca,lgca", *SMALL, "--chunk", "8", "--out", str(tmp_path / out), "--force"]
        environment = {**os.environ, **store, "LGCA_STORE": str(tmp_path / features)}
        process = subprocess.Popen(
            words, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        said = process.communicate()[0]
        assert process.returncode in (0, -signal.SIGKILL), said
        return process.returncode

    started = time.monotonic()
    assert run("whole", "store-1") == 0
    seconds = time.monotonic() - started
    chance = random.Random(0)
    killed = [run("disturbed", "store-2", chance.uniform(0.2, 0.9) * seconds) for _ in range(10)]
    assert -signal.SIGKILL in killed
    assert run("disturbed", "store-2") == 0
    whole, disturbed = (tmp_path / out / "predictions.parquet" for out in ("whole", "disturbed"))
    assert whole.read_bytes() == disturbed.read_bytes()
