"""`lgca bench`: like is compared with like, at a size that takes seconds and proves no speed; and it needs little."""

import json
import re
import statistics
import subprocess
import sys

import pytest
import torch
from PIL import Image

from lgca_core.bench import pipeline as pipeline_module, resampling
from lgca_core.cli.bench import main, told
from lgca_core.errors import LgcaError
from lgca_core.pixels import cropping
from lgca_core.read_ahead import views_of_files
from lgca_core.wca import WCA
from support.shared import ROOT

FEW = ["--pictures", "3", "--n", "4", "--classes", "5", "--repeats", "2", "--workers", "0", "--device", "cpu"]

# What the book and the command's other parts want, and a machine for measuring need not have.
ABSENT = [
    "typer",
    "numba",
    "rich",
    "pydantic",
    "scipy",
    "pyarrow",
    "seaborn",
    "matplotlib",
    "platformdirs",
    "filelock",
    "yaml",
]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "deep"
    main([*FEW, "--out", str(folder)])
    [file, of_resampling] = sorted(folder.iterdir())
    assert file.name.startswith("pipeline-aviary-float32-cpu-")
    assert of_resampling.name.startswith("resample-64-cpu-")
    return json.loads(file.read_text())


def test_ratios_are_those_of_the_medians(record):
    median = {arm: statistics.median(spent) for arm, spent in record["seconds"].items()}
    assert record["median_seconds"] == median and all(len(spent) == 2 for spent in record["seconds"].values())
    assert record["ratios"] == {
        "share_of_encoder": median["encoder alone"] / median["wca"],
        "times_peers": median["peers' wca"] / median["wca"],
        "lgca_to_wca": median["wca"] / median["lgca at equal passes"],
    }
    assert record["work"]["passes"] == 3 * 5 and record["work"]["passes_lgca"] <= 3 * 5
    assert 0 <= record["largest_difference"] <= pipeline_module.AGREE["float32"]
    assert record["crops_by"] == "numba" and "numba" in record["libraries"]


def test_a_record_is_told_with_a_bar_for_each_stage(record):
    said = told(record)
    assert f"{record['ratios']['share_of_encoder']:.2f} of the encoder" in said
    assert record["machine"]["processor"] in said and "with 0 workers" in said
    bars = {line.split("  ")[0].strip(): line.count("█") for line in said.splitlines() if "█" in line}
    assert bars.keys() == {"files to logits", "encode", "all but encode", "decode, one thread", "resample"}
    assert bars["files to logits"] == 40


def test_logits_that_differ_are_no_benchmark(monkeypatch):
    right = pipeline_module.peers_logits
    monkeypatch.setattr(pipeline_module, "peers_logits", lambda *arguments: right(*arguments) + 1e-3)
    with pytest.raises(LgcaError, match=r"differ by 1\.0e-03"):
        pipeline_module.pipeline("aviary", "cpu", "float32", pipeline_module.Work(1, 4, 2, 1, 0))
    monkeypatch.setattr(pipeline_module, "peers_logits", lambda *arguments: right(*arguments) * float("nan"))
    with pytest.raises(LgcaError, match="differ by nan"):
        pipeline_module.pipeline("aviary", "cpu", "float32", pipeline_module.Work(1, 4, 2, 1, 0))


def test_workers_without_shared_memory_are_told(tmp_path):
    def pictures():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. ... out of shared memory.")
        yield

    with pytest.raises(LgcaError, match=r"--shm-size=8g\), or --workers 0"):
        pipeline_module.peers_logits(pictures(), None, torch.float32, WCA(n=3), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(28, "No space left on device", "/tmp/0.jpg"),
            "cannot paint pictures .* No space left on device: '/tmp",
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), "the device's memory is full: give a smaller --encoder"),
    ],
)
def test_what_ends_a_run_is_one_sentence(error, said, monkeypatch, tmp_path, capsys):
    def ends(*words, **more):
        raise error

    monkeypatch.setattr(pipeline_module, "pipeline", ends)
    with pytest.raises(SystemExit) as left:
        main([*FEW, "--out", str(tmp_path)])
    assert left.value.code == 2 and re.search(said, capsys.readouterr().err)


def test_a_gpu_is_compared_with_sixteen_workers(monkeypatch, tmp_path):
    asked = []

    def pipeline(encoder, device, precision, work, report):
        asked.append((work.pictures, work.workers))
        raise LgcaError("enough")

    monkeypatch.setattr(pipeline_module, "pipeline", pipeline)
    for device, words in (("cpu", []), ("cuda", []), ("cuda", ["--workers", "3", "--pictures", "5"])):
        monkeypatch.setattr("lgca_core.encoders.devices.pick_device", lambda name, device=device: torch.device(device))
        with pytest.raises(SystemExit):
            main([*words, "--out", str(tmp_path)])
    assert asked == [(32, 2), (1024, 16), (5, 3)]


def test_crops_that_are_not_pillows_are_no_benchmark(monkeypatch):
    record = resampling.resampling("cpu", pictures=1, n=2, size=16, repeats=1)
    median = record["median_seconds"]
    assert record["ratios"] == {
        "times_torchvision": median["torchvision"] / median["all at once"],
        "times_pillow": median["pillow"] / median["all at once"],
    }
    right = cropping.crops
    monkeypatch.setattr(resampling, "crops", lambda *arguments: right(*arguments) ^ 1)
    with pytest.raises(LgcaError, match="not Pillow's"):
        resampling.resampling("cpu", pictures=1, n=2, size=16, repeats=1)


def test_the_peers_encode_a_picture_a_batch_in_float32(tmp_path):
    with pipeline_module.models("aviary", "cpu") as (encoder, model):
        files = pipeline_module.paint_photographs(tmp_path, 2)
        pictures = pipeline_module.PeersPictures(files, WCA(n=3), encoder)
        assert [tuple(of.shape) for of in pictures] == [(4, 3, 64, 64)] * 2
        assert pictures[0].dtype == torch.float32
        [(_, views)] = views_of_files(encoder, files[:1])
        [ours] = views.encode([WCA(n=3).boxes(*views.sizes[0], 0, files[0].name)])
        theirs = torch.nn.functional.normalize(model.encode_image(pictures[0]), dim=-1)[1:]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_the_pictures_are_as_large_as_photographs(tmp_path):
    [file] = pipeline_module.paint_photographs(tmp_path, 1)
    with Image.open(file) as picture:
        assert (picture.size, picture.format) == ((500, 375), "JPEG")
    assert 50_000 < file.stat().st_size < 200_000


def test_it_runs_where_little_is_installed(tmp_path):
    code = (
        "import sys\n"
        f"class Absent:\n"
        f"    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {ABSENT!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"sys.argv = ['lgca', 'bench', *{FEW!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "import runpy; runpy.run_module('lgca_core.cli', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--encoder", "ViT-Z"], "no architecture 'ViT-Z'"),
        (["--pictures", "0"], "pictures must be at least 1"),
        (["--device", "cuda"], "no CUDA device"),
    ],
)
def test_slips_get_one_sentence(words, message, tmp_path, capsys):
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(SystemExit) as left:
        main([*words, "--out", str(tmp_path)])
    assert left.value.code == 2
    assert message in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_pictures_are_read_ahead_in_order_and_a_bad_one_is_told_at_its_turn(tmp_path):
    files = pipeline_module.paint_photographs(tmp_path, 3)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pipeline_module.models("aviary", "cpu") as (encoder, _):
        looked = views_of_files(encoder, [*files, tmp_path / "bad.jpg"], chunk=2)
        assert list(next(looked)[0]) == [0, 1]
        with pytest.raises(LgcaError, match=r"bad\.jpg"):
            next(looked)
        assert list(views_of_files(encoder, [])) == []
