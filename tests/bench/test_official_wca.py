"""The comparison with WCA's released code sees what differs: on a miniature of such code, written for these tests."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lgca_core.bench import official_wca
from lgca_core.bench.official_wca import compare_with_checkout, hidden_share
from lgca_core.errors import LgcaError
from support.command_line import lgca, refused

CLIP = """
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

def _transform(side):
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return Compose([Resize(side, InterpolationMode.{resize}), CenterCrop(side), ToTensor(), Normalize(mean, std)])
"""
HELPER = """
import torch, torch.nn.functional as F
from clip import clip

def load_dataset(data_path, dataset_name, custom_loader):
    raise AssertionError("ours takes its place")

def accuracy(output, target, count, dataset_name):
    return 100 * float((output.argmax(1) == target).sum()) / count

def load_precomputed_features(model, loader):
    pictures = load_dataset(data_path="", dataset_name="aviary", custom_loader=loader)
    seen, labels = [], []
    for b in range(len(pictures)):
        pixels, label = pictures[b]
        seen.append(F.normalize(model.encode_image(pixels)))
        labels.append(label)
    k = torch.stack(seen)
    crops, whole = k[:, 1:], k[:, :1]
    return torch.cat([crops, (crops * whole).sum(-1, keepdim=True)], -1), torch.tensor(labels), whole[:, 0]

def class_vectors(model, said, sharp):
    rows = []
    for name, sentences in said.items():
        t, anchor = (model.encode_text(clip.tokenize(of)) for of in (sentences, f"a photo of a {name}."))
        rows.append(F.normalize((((t @ anchor.T) * sharp).softmax(0) * t).sum(0), dim=0))
    return torch.stack(rows)
"""
MAIN = """
import fire, json, numpy as np, torch, torch.nn.functional as F
from PIL import Image
from torchvision.transforms import v2 as T
from clip import clip
from helper import accuracy, class_vectors, load_precomputed_features

def main(dataset_name, num_workers, seed, device):
    of = json.load(open(f"cfgs/{dataset_name}.yaml"))
    [method] = of["methods"][0].values()
    np.random.seed(seed), torch.manual_seed(seed)
    model, process = clip.load("some", device=device)

    def look(path):
        image = Image.open(path).convert("RGB")
        sides = [int(np.random.uniform(0.1, 0.9) * min(image.size)) for _ in range(of["n_samples"])]
        return torch.stack([process(image), *(process(T.RandomCrop(side)(image)) for side in sides)])

    features, labels, whole = load_precomputed_features(model, look)
    matrix = class_vectors(model, json.load(open(f"prompts/{dataset_name}/cupl.json")), np.exp(method["text_scale"]))
    accuracy(whole @ matrix.T, labels, len(labels), dataset_name)
    for _ in range(of["n_run"]):
        chosen = features[:, torch.randint(0, of["n_samples"], (of["patch_n"],))]
        w = (chosen[..., -1] * torch.exp(torch.tensor(method["image_scale"]))).softmax(-1)
        u = F.normalize((w[..., None] * chosen[..., :-1]).sum(1), dim=-1)
        accuracy(u @ matrix.T{fault}, labels, len(labels), dataset_name)
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Writes a miniature checkout: ``checkout(resize=..., fault=...)``."""
    for name, value in (("POOL", 5), ("N", 4), ("RUNS", 3)):
        monkeypatch.setattr(official_wca, name, value)

    def write(resize: str = "BICUBIC", fault: str = "") -> Path:
        (tmp_path / "code" / "clip").mkdir(parents=True)
        (tmp_path / "code" / "clip" / "__init__.py").write_text("")
        (tmp_path / "code" / "clip" / "clip.py").write_text(CLIP.replace("{resize}", resize))
        (tmp_path / "code" / "helper.py").write_text(HELPER)
        (tmp_path / "code" / "main.py").write_text(MAIN.replace("{fault}", fault))
        return tmp_path / "code"

    return write


def compared(code: Path) -> dict:
    before = Path.cwd(), list(sys.path), set(sys.modules)
    record = compare_with_checkout(code, pictures=3, seeds=2, report=str)
    assert (Path.cwd(), list(sys.path)) == before[:2]
    assert not {name for name in set(sys.modules) - before[2] if name.split(".")[0] in (*official_wca.THEIRS, "fire")}
    assert record["crops"]["compared"] == 2 * 3 * 6 and record["predictions"]["compared"] == 2 * 3 * 3
    return record


@pytest.mark.slow
def test_the_same_code_agrees(checkout):
    record = compared(checkout())
    assert record["crops"]["identical"] == record["crops"]["compared"]
    assert record["largest_difference"]["weights"] < 1e-5 and record["largest_difference"]["logits"] < 1e-6
    assert record["predictions"]["differ"] == 0
    assert 0 < record["half"]["softmax_input"] < 0.2
    low, high = record["own_boxes"]["interval"]
    assert low <= record["own_boxes"]["points"] <= high


@pytest.mark.slow
def test_another_way_to_resize_is_seen(checkout):
    record = compared(checkout(resize="BILINEAR"))
    assert record["crops"]["identical"] < record["crops"]["compared"]
    assert record["largest_difference"]["logits"] > 1e-5


@pytest.mark.slow
def test_other_scores_are_seen(checkout):
    record = compared(checkout(fault=" * torch.linspace(1, -1, len(matrix))"))
    assert record["crops"]["identical"] == record["crops"]["compared"]
    assert record["largest_difference"]["logits"] > 0.1 and record["predictions"]["differ"] > 0


@pytest.mark.slow
def test_code_that_runs_otherwise_is_refused(checkout):
    code = checkout()
    (code / "main.py").write_text((code / "main.py").read_text().replace('range(of["n_run"])', "range(1)"))
    with pytest.raises(LgcaError, match="does not run as WCA's released code does"):
        compare_with_checkout(code, 3, 2, str)


def test_what_is_no_checkout_is_named(tmp_path):
    assert f"{tmp_path} has no main.py" in refused("bench", "official-wca", "--checkout", tmp_path, "--out", tmp_path)


@pytest.mark.slow
def test_the_command_leaves_a_record(checkout, tmp_path):
    words = ["--checkout", checkout(), "--pictures", 2, "--seeds", 2, "--out", tmp_path / "out"]
    status, out, err = lgca("bench", "official-wca", *words)
    assert status == 0, err
    [file] = (tmp_path / "out").iterdir()
    assert json.loads(file.read_text())["benchmark"] == "official-wca"
    assert "0 of 12 predictions differ" in out


def test_the_share_that_pools_hide_is_that_of_the_simulation():
    """Of normal margins around zero, with a pool's error as large as that of its runs, it is half of the variance."""
    rng = np.random.default_rng(0)
    pools = rng.normal(size=(40, 1, 400)) + rng.normal(size=(40, 30, 400)) * 1e-9
    assert hidden_share(pools > 0)["share"] == pytest.approx(1)
    apart = rng.normal(size=(40, 30, 400))
    found = hidden_share(apart > 0)
    assert abs(found["share"]) < 0.01 and found["interval"][0] < 0 < found["interval"][1]
    # P(right) of a pool is 0.25 or 0.75: between pools 1/16, within them 3/16.
    mixed = rng.random((40, 30, 400)) < rng.choice([0.25, 0.75], size=(40, 1, 400))
    assert hidden_share(mixed)["share"] == pytest.approx(0.25, abs=0.02)
