"""The whole engine from the command line: every published data set in miniature, and runs that are killed."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import miniatures
import open_clip
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from lgca_core import datasets, results
from lgca_core.cli import app
from lgca_core.methods import METHODS

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


def prompts(folder: Path, classes) -> list[str]:
    """Files of generated prompts for some classes, as options."""
    tables = {
        "descriptions": {name: [f"A {name} is seen here.", f"It is plainly a {name}."] for name in classes},
        "descriptors": {name: ["a clear outline", "has two sides"] for name in classes},
        "templates": ["a photo of a {}.", "a drawing of a {}."],
    }
    words = []
    for kind, table in tables.items():
        (folder / f"{kind}.json").write_text(json.dumps(table))
        words += [f"--{kind}", str(folder / f"{kind}.json")]
    return words


@pytest.mark.parametrize("name", miniatures.IDS)
def test_every_method_runs_on_every_data_set_and_a_second_time_for_nothing(name, shallow, tmp_path, monkeypatch):
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    miniatures.enter(monkeypatch, name)
    place = miniatures.make(name, tmp_path / "copy")
    manifest = datasets.open_dataset(f"{name}:{place}")
    said = prompts(tmp_path, manifest.classes)
    for encoder in ("aviary", shallow):
        records = []
        for run in ("first", "second"):
            out = tmp_path / encoder.partition(":")[0] / run
            words = ["evaluate", "--dataset", f"{name}:{place}", "--encoder", encoder, "--out", str(out)]
            done = CliRunner().invoke(app, [*words, "--method", ",".join(METHODS), *said, *SMALL])
            assert done.exit_code == 0, done.output
            records.append(results.load(out))
        (first, answers), (second, again) = records
        assert first.dataset.name == name and first.dataset.count == len(manifest.items)
        assert {of.method for of in first.runs} == set(METHODS)
        assert first.image_passes > 0 < first.text_passes
        assert (second.image_passes, second.text_passes) == (0, 0)
        pd.testing.assert_frame_equal(again, answers, check_exact=True)


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
        words = [*command, *SMALL, "--chunk", "8", "--out", str(tmp_path / out), "--force"]
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
