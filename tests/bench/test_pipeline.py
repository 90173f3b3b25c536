"""`lgca bench pipeline` and `resampling`: like is compared with like; how long it takes proves nothing here."""

import statistics

import pytest
import torch

from lgca_core.bench import pipeline as pipeline_module, resampling
from lgca_core.bench.harness import COSINES_AGREE, models, paint_photographs
from lgca_core.bench.pipeline import Work, time_pipeline
from lgca_core.cli.bench import pipeline_in_words
from lgca_core.errors import LgcaError
from lgca_core.pixels import cropping
from lgca_core.read_ahead import views_of_files
from lgca_core.wca import WCA


@pytest.fixture(scope="module")
def record(ticks):
    return time_pipeline("aviary", "cpu", "float32", Work(pictures=3, n=4, classes=5, repeats=2, workers=0), str)


def test_ratios_are_those_of_the_medians(record):
    median = {arm: statistics.median(spent) for arm, spent in record["seconds"].items()}
    assert record["median_seconds"] == median and all(len(spent) == 2 for spent in record["seconds"].values())
    assert record["ratios"] == {
        "share_of_encoder": median["encoder alone"] / median["wca"],
        "times_peers": median["peers' wca"] / median["wca"],
        "lgca_to_wca": median["wca"] / median["lgca at equal passes"],
    }
    assert record["work"]["passes"] == 3 * 5 and record["work"]["passes_lgca"] <= 3 * 5
    assert record["crops_per_second"] == {arm: 15 / median[arm] for arm in ("encoder alone", "wca")}
    assert 0 <= record["largest_difference"] <= COSINES_AGREE["float32"]
    assert record["crops_by"] == "numba" and "numba" in record["libraries"]


def test_a_record_is_told_with_a_bar_for_each_stage(record):
    said = pipeline_in_words(record)
    assert f"{record['ratios']['share_of_encoder']:.2f} of the encoder" in said
    assert record["machine"]["processor"] in said and "with 0 workers" in said
    bars = {line.split("  ")[0].strip(): line.count("█") for line in said.splitlines() if "█" in line}
    assert bars.keys() == {"files to logits", "encode", "all but encode", "decode, one thread", "resample"}
    assert bars["files to logits"] == 40


@pytest.mark.parametrize(("worse", "message"), [(1e-3, r"differ by 1\.0e-03"), (float("nan"), "differ by nan")])
def test_logits_that_differ_are_no_benchmark(monkeypatch, worse, message):
    right = pipeline_module.peers_logits
    monkeypatch.setattr(pipeline_module, "peers_logits", lambda *arguments: right(*arguments) + worse)
    with pytest.raises(LgcaError, match=message):
        time_pipeline("aviary", "cpu", "float32", Work(1, 4, 2, 1, 0), str)


def test_workers_without_shared_memory_are_told():
    def pictures():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. ... out of shared memory.")
        yield

    with pytest.raises(LgcaError, match=r"--shm-size=8g\), or --workers 0"):
        pipeline_module.peers_logits(pictures(), None, torch.float32, WCA(n=3), torch.zeros(2, 3))


def test_the_peers_encode_a_picture_a_batch_in_float32(tmp_path):
    with models("aviary", "cpu") as (encoder, model):
        files = paint_photographs(tmp_path, 2)
        pictures = pipeline_module.PeersPictures(files, WCA(n=3), encoder)
        assert [tuple(of.shape) for of in pictures] == [(4, 3, 64, 64)] * 2
        assert pictures[0].dtype == torch.float32
        [(_, views)] = views_of_files(encoder, files[:1])
        [ours] = views.encode([WCA(n=3).boxes(*views.sizes[0], 0, files[0].name)])
        theirs = torch.nn.functional.normalize(model.encode_image(pictures[0]), dim=-1)[1:]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_crops_that_are_not_pillows_are_no_benchmark(monkeypatch, ticks):
    record = resampling.time_resampling("cpu", pictures=1, n=2, size=16, repeats=1, report=str)
    median = record["median_seconds"]
    assert record["ratios"] == {
        "times_torchvision": median["torchvision"] / median["all at once"],
        "times_pillow": median["pillow"] / median["all at once"],
    }
    right = cropping.crops
    monkeypatch.setattr(resampling, "crops", lambda *arguments: right(*arguments) ^ 1)
    with pytest.raises(LgcaError, match="not Pillow's"):
        resampling.time_resampling("cpu", pictures=1, n=2, size=16, repeats=1, report=str)
