"""The whole engine: every published data set in miniature, and runs from the command line that are killed."""

import copy
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lgca_core.cli import main
from lgca_core.data import table
from lgca_core.encoders.registry import load_encoder
from lgca_core.evaluation.evaluate import evaluate
from lgca_core.evaluation.record import load, save
from lgca_core.evaluation.store.store import PICTURES_A_SHARD, Store
from lgca_core.lgca import LGCA
from lgca_core.methods import METHODS
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.wca import WCA
from support import miniatures
from support.steps import Steps


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


QUICK = ("imagenet", "pets")
"""Of the miniatures, those that are run where time is short."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in miniatures.IDS]
)
def test_every_method_runs_on_every_data_set_and_a_second_time_for_nothing(name, encoders, tmp_path, monkeypatch):
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    miniatures.enter(monkeypatch, name)
    place = miniatures.make(name, tmp_path / "copy")
    manifest = table.open_dataset(f"{name}:{place}")
    said = ClassPrompts.by_name(manifest.classes, **tables(manifest.classes))
    settings = {"seeds": (0,), "wca": WCA(n=2), "lgca": LGCA(n=2, steps=1)}
    for encoder in encoders:
        store = Store(tmp_path / "store")
        first, answers = evaluate(manifest, encoder, list(METHODS), said, store=store, **settings)
        second, again = evaluate(manifest, encoder, list(METHODS), said, store=store, **settings)
        assert first.image_passes > 0 < first.text_passes
        assert (second.image_passes, second.text_passes) == (0, 0)
        pd.testing.assert_frame_equal(again, answers, check_exact=True)
        record = save(second, again, tmp_path / "record", force=True)
        assert load(tmp_path / "record")[0] == record
        assert record.dataset.count == len(manifest.items) and {of.method for of in record.runs} == set(METHODS)


def lgca(words: list[str], environment: dict[str, str], seen: Path, kill_at: int | None) -> None:
    """`lgca WORDS` in a process of its own; in the file `seen`, what it said and then the number of its steps."""
    os.environ.update(environment)
    sys.argv[1:] = words
    with seen.open("w", encoding="utf-8") as sys.stdout:
        steps = Steps(kill_at)
        try:
            main()
        finally:
            print(steps.count)


@pytest.mark.slow
def test_ten_kills_leave_no_trace(tmp_path):
    """SIGKILL at random points, over and over: the predictions are those of a run that nobody disturbed."""
    pictures, said = tmp_path / "pictures", tmp_path / "said.json"
    drawn = np.random.default_rng(0)
    for number in range(2 * PICTURES_A_SHARD + 10):  # three shards
        place = pictures / ("round", "square", "long")[number % 3] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.integers(256, size=(30, 40, 3), dtype=np.uint8)).save(place)
    said.write_text(json.dumps(tables(["round", "square", "long"])["descriptions"]))
    words = ["evaluate", "--images", str(pictures), "--descriptions", str(said), "--method", "clip,wca,lgca:steps=1"]
    words += ["--encoder", "aviary", "--n", "2", "--seeds", "1", "--device", "cpu", "--force"]
    # Processes that have imported everything already: it is the work that is killed.
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(
        ["lgca_core.cli.commands", "lgca_core.encoders", "lgca_core.evaluation.evaluate", "open_clip"]
    )

    def run(name: str, kill_at: int | None = None) -> bool:
        """Whether it was killed."""
        environment = {"LGCA_STORE": str(tmp_path / "store" / name), "OMP_NUM_THREADS": "1"}
        seen = tmp_path / f"{name}.txt"
        process = fork.Process(target=lgca, args=([*words, "--out", str(tmp_path / name)], environment, seen, kill_at))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), seen.read_text()
        return process.exitcode != 0

    assert not run("whole")
    steps = int((tmp_path / "whole.txt").read_text().split()[-1])
    chance, kills = random.Random(0), 0
    while kills < 10:
        if run("disturbed", chance.randrange(steps)):
            kills += 1
        else:  # it was through before that step: from nothing again
            shutil.rmtree(tmp_path / "store" / "disturbed")
    # And once late, from nothing, so that something was finished.
    shutil.rmtree(tmp_path / "store" / "disturbed", ignore_errors=True)
    assert run("disturbed", 9 * steps // 10)
    assert not run("disturbed")
    whole, disturbed = (tmp_path / name for name in ("whole", "disturbed"))
    assert (whole / "predictions.parquet").read_bytes() == (disturbed / "predictions.parquet").read_bytes()
    # What the last killed run had finished was not encoded again.
    assert load(disturbed)[0].image_passes < load(whole)[0].image_passes
