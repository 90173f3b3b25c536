"""`lgca bench`: a command a benchmark; what each is asked for reaches it, what is wrong is one sentence."""

import json
import subprocess
import sys

import pytest
import torch

from lgca_core.bench import growth, pipeline, store_memory
from lgca_core.cli.bench import bench_app
from lgca_core.errors import LgcaError
from support.command_line import files, lgca, refused
from support.shared import ROOT

BENCHMARKS = [
    "pipeline",
    "encoding",
    "resampling",
    "class-matrix",
    "growth",
    "precision",
    "store-memory",
    "graph-attention",
    "official-wca",
]
FEW = {
    "pipeline": ["--pictures", 3, "--n", 4, "--classes", 5, "--repeats", 2, "--workers", 0, "--device", "cpu"],
    "resampling": ["--pictures", 2, "--n", 4, "--size", 32, "--repeats", 1, "--device", "cpu"],
    "encoding": ["--batches", 4, "--repeats", 1, "--device", "cpu"],
    "class-matrix": ["--classes", 5, "--sentences", 6, "--repeats", 2, "--device", "cpu"],
    "growth": ["--most", 10, "--repeats", 1, "--device", "cpu"],
    "store-memory": ["--pictures", 20, "--width", 8, "--classes", 3],
    "graph-attention": ["--items", 2, "--tokens", 7, "--tokens", 3, "--width", 8, "--repeats", 2, "--device", "cpu"],
}
SHOWN = {
    "pipeline": "of the encoder",
    "resampling": "times as fast as Pillow",
    "encoding": "open_clip",
    "class-matrix": "class by class, cut short",
    "growth": "LGCA          grows with T to the power",
    "store-memory": "GB beyond",
    "graph-attention": "times as fast as GATv2Conv",
}

# What the book and the command's other parts want, and a machine for measuring need not have.
ABSENT = ["numba", "scipy", "pyarrow", "seaborn", "matplotlib", "platformdirs", "filelock", "yaml"]
WITHOUT = """
import builtins, runpy, sys
found = builtins.__import__
def limited(name, globals=None, *rest, **more):
    root, asking = name.partition('.')[0], (globals or {{}}).get('__name__', '')
    ours = asking.startswith('lgca_core')
    if root in {absent!r} or (root == 'pydantic' and ours):  # some versions of typer need pydantic themselves
        raise ModuleNotFoundError(name=root)
    return found(name, globals, *rest, **more)
builtins.__import__ = limited
sys.argv = ['lgca', 'bench', *{words!r}]
runpy.run_module('lgca_core.cli', run_name='__main__')
"""


def test_the_help_lists_every_benchmark_and_says_where_to_begin():
    status, out, _ = lgca("bench")
    assert status == 0 and "lgca bench pipeline" in out
    assert all(name in out for name in BENCHMARKS)
    assert len(bench_app.registered_commands) == len(BENCHMARKS)


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", FEW)
def test_a_benchmark_runs_and_leaves_a_record(benchmark, tmp_path, monkeypatch):
    monkeypatch.setitem(growth.FIXED, "B", 1)
    monkeypatch.setattr(torch, "compile", lambda image: image)
    out = tmp_path / "deep" / "bench"
    status, shown, err = lgca("bench", benchmark, *FEW[benchmark], "--out", out)
    assert status == 0, err
    [file] = out.iterdir()
    record = json.loads(file.read_text())
    assert file.name.startswith(f"{record['benchmark']}-") and f"record: {file}" in shown.replace("\n", "")
    assert SHOWN[benchmark] in shown


def run_with_little(*words) -> subprocess.CompletedProcess:
    code = WITHOUT.format(absent=ABSENT, words=[str(word) for word in words])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.slow
def test_it_runs_where_little_is_installed(tmp_path):
    done = run_with_little("pipeline", *FEW["pipeline"], "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.slow
def test_a_library_that_is_not_there_is_named(tmp_path):
    done = run_with_little("growth", "--out", tmp_path / "out")
    assert done.returncode == 2 and "error: this benchmark needs scipy too" in done.stderr
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["class-matrix", "--classes", "1001"], "--classes"),
        (["class-matrix", "--repeats", "0"], "--repeats"),
        (["class-matrix", "--encoder", "ViT-Z"], "no architecture 'ViT-Z'"),
        (["encoding", "--batches", "3"], "--batches"),
        (["growth", "--most", "9"], "--most"),
        (["pipeline", "--encoder", "ViT-Z"], "no architecture 'ViT-Z'"),
        (["pipeline", "--pictures", "0"], "--pictures"),
        (["precision", "--dataset", "birds"], "birds"),
        (["--encoder", "aviary"], "--encoder"),
    ],
)
def test_slips_get_one_sentence(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused("bench", *words)
    assert files(tmp_path) == set()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_gpu_that_is_not_there_is_told(tmp_path):
    assert "no CUDA device" in refused("bench", "pipeline", "--device", "cuda", "--out", tmp_path / "out")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_folder_of_the_record_is_looked_at_before_the_work(benchmark, tmp_path):
    (tmp_path / "file").write_text("")
    given = ["--checkout", tmp_path] if benchmark == "official-wca" else []
    assert "file is a file, so a record cannot go to" in refused("bench", benchmark, *given, "--out", tmp_path / "file")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "/tmp/0.jpg"), "No space left on device: '/tmp"),
        (torch.OutOfMemoryError("CUDA out of memory"), "the device's memory is full: give a smaller --encoder"),
    ],
)
def test_what_ends_a_run_is_one_sentence(error, message, monkeypatch, tmp_path):
    def ends(*words):
        raise error

    monkeypatch.setattr(pipeline, "time_pipeline", ends)
    assert message in refused("bench", "pipeline", "--device", "cpu", "--out", tmp_path / "out")
    assert files(tmp_path) == set()


def test_a_gpu_is_compared_with_sixteen_workers(monkeypatch, tmp_path):
    asked = []

    def time_pipeline(encoder, device, precision, work, report):
        asked.append((work.pictures, work.workers))
        raise LgcaError("enough")

    monkeypatch.setattr(pipeline, "time_pipeline", time_pipeline)
    for device, words in (("cpu", []), ("cuda", []), ("cuda", ["--workers", "0", "--pictures", "5"])):
        monkeypatch.setattr("lgca_core.encoders.devices.pick_device", lambda name, device=device: torch.device(device))
        assert refused("bench", "pipeline", *words, "--out", tmp_path) == "error: enough\n"
    assert asked == [(32, 2), (1024, 16), (5, 0)]


def test_what_growth_is_asked_for_reaches_it(monkeypatch, tmp_path):
    asked = []

    def time_growth(device, precision, most, repeats, report):
        asked.append((device, precision, most, repeats))
        fitted = [{"what": "LGCA", "symbol": "T", "expected": "towards 0", "exponent": 0.01, "error": 0.02, "r2": 0.5}]
        return {
            "benchmark": "growth",
            "utc": "2026-01-02T03:04:05Z",
            "precision": "bfloat16",
            "device": "cpu",
            "fitted": fitted,
        }

    monkeypatch.setattr(growth, "time_growth", time_growth)
    words = ["--most", 100, "--repeats", 2, "--precision", "auto", "--device", "cpu", "--out", tmp_path]
    status, out, _ = lgca("bench", "growth", *words)
    assert status == 0 and asked == [("cpu", "auto", 100, 2)]
    assert "LGCA          grows with T to the power 0.01 ± 0.02, by theory towards 0" in out
    assert files(tmp_path) == {"growth-aviary-bfloat16-cpu-20260102T030405Z.json"}


@pytest.mark.parametrize(("beyond", "status"), [(1.5e9, 0), (2e9, 1)])
def test_an_evaluation_that_takes_too_much_memory_fails_and_is_recorded(monkeypatch, tmp_path, beyond, status):
    def weighed(pictures, width, classes, folder):
        fields = {"benchmark": "store-memory", "utc": "2026-01-02T03:04:05Z", "boxes_a_picture": 61}
        return fields | {"beyond_bytes": beyond, "seconds": 2.0}

    monkeypatch.setattr(store_memory, "weigh_evaluation", weighed)
    ended, out, err = lgca("bench", "store-memory", "--pictures", 1000, "--out", tmp_path)
    assert ended == status and f"{beyond / 1e9:.2f} GB beyond, 2.00 ms a picture" in out
    assert ("error: 2.00 GB beyond what was there before; it must stay under 2 GB" in err) == (status == 1)
    assert files(tmp_path) == {"store-memory-1000x61x512-20260102T030405Z.json"}
