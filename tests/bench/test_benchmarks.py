"""The benchmarks run, compare like with like, and leave a record: at a size that takes seconds and proves no speed."""

import dataclasses
import json
import statistics
from pathlib import Path

import open_clip
import pytest
import torch

from lgca_core import load_encoder, open_dataset
from lgca_core.bench import class_matrix as script, encoding, growth, precision, store_memory
from lgca_core.bench.pipeline import models, paint_photographs
from lgca_core.bench.record import write
from lgca_core.errors import LgcaError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    """Name of a small architecture of our own."""
    config = {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
    }
    file = tmp_path_factory.mktemp("tiny") / "tiny-benchmark.json"
    file.write_text(json.dumps(config))
    open_clip.add_model_config(file)
    return file.stem


FEW = ["--classes", "5", "--sentences", "6", "--repeats", "2", "--device", "cpu"]


@pytest.mark.parametrize("encoder", ["aviary", "tiny"])
def test_class_matrix(tiny, encoder, tmp_path, capsys):
    name = tiny if encoder == "tiny" else encoder
    script.main([*FEW, "--encoder", name, "--out", str(tmp_path / "deep" / "bench")])
    [file] = (tmp_path / "deep" / "bench").iterdir()
    assert file.name.startswith(f"class-matrix-{name}-cpu-")
    record = json.loads(file.read_text())
    assert (record["classes"], record["sentences"]["all"]) == (5, 30)
    assert record["sentences"]["fewest"] < record["sentences"]["most"]
    assert record["weights"] == ("embedded" if encoder == "aviary" else "random")
    median = record["median_seconds"]
    for arm, seconds in record["seconds"].items():
        assert len(seconds) == 2
        assert median[arm] == statistics.median(seconds) > 0
    assert record["times_faster"] == {
        arm: median[arm] / median["in one go"] for arm in ("class by class", "class by class, cut short")
    }
    assert record["largest_difference"] <= 1e-5
    assert {"processor", "cores", "threads"} <= record["machine"].keys()
    assert record["machine"]["threads"] == torch.get_num_threads()
    assert record["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert {"commit", "dirty", "utc", "batch_size"} <= record.keys()
    out = capsys.readouterr().out
    assert f"{record['times_faster']['class by class']:.2f} x" in out
    assert str(file) in out


def test_the_peers_loop_pads_to_the_full_context(tiny):
    """Else it would be another benchmark than the one that is reported."""
    tokenizer = open_clip.get_tokenizer(tiny)
    with models(tiny, "cpu") as (_, model):
        seen = []

        def tokens(texts):
            seen.append(tokenizer(texts))
            return seen[-1]

        prompts = script.sentences(3, 10, seed=0)
        made = script.class_by_class(model, tokens, prompts)
    assert [tuple(batch.shape) for batch in seen] == [(len(of_class), 77) for of_class in prompts]
    torch.testing.assert_close(made.norm(dim=1), torch.ones(3))


def test_the_sentences_are_ragged_different_and_as_long_as_cupls():
    prompts = script.sentences(101, 20, seed=0)
    counts = [len(of_class) for of_class in prompts]
    assert (len(prompts), sum(counts)) == (101, 2020)
    assert 14 <= min(counts) < 20 < max(counts) <= 26
    flat = [text for of_class in prompts for text in of_class]
    assert len(set(flat)) == len(flat)
    tokens = (open_clip.get_tokenizer("ViT-B-32-quickgelu")(flat) != 0).sum(dim=1)
    assert 15 <= tokens.median() <= 25
    assert tokens.max() < 77
    assert script.sentences(101, 20, seed=0) == prompts != script.sentences(101, 20, seed=1)


def test_matrices_that_differ_are_no_benchmark(tiny, tmp_path, monkeypatch):
    right = script.class_by_class
    monkeypatch.setattr(script, "class_by_class", lambda *arguments: right(*arguments) + 2e-5)
    with pytest.raises(AssertionError, match=r"the matrices differ by 2\.0e-05"):
        script.main([*FEW, "--encoder", tiny, "--out", str(tmp_path)])
    monkeypatch.setattr(script, "class_by_class", lambda *arguments: right(*arguments) * float("nan"))
    with pytest.raises(AssertionError, match="the matrices differ by nan"):
        script.main([*FEW, "--encoder", tiny, "--out", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "1001"], "--classes must lie in 2..1000, got 1001"),
        (["--repeats", "0"], "--repeats must be at least 1, got 0"),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--encoder", "ViT-Z"], "no architecture 'ViT-Z'"),
        (["--out", "file"], "cannot write to file"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(SystemExit) as ended:
        script.main([*FEW, *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_record_is_whole_or_absent(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(LgcaError, match="No space left"):
        write({"benchmark": "one", "utc": "2026-01-02T03:04:05Z"}, tmp_path, "aviary-cpu")
    assert list(tmp_path.iterdir()) == []


def test_store_memory(tmp_path, capsys):
    words = ["--pictures", "300", "--width", "8", "--classes", "3", "--folder", str(tmp_path)]
    store_memory.main([*words, "--out", str(tmp_path / "bench")])
    [file] = (tmp_path / "bench").iterdir()
    assert file.name.startswith("store-memory-300x61x8-")
    record = json.loads(file.read_text())
    assert (record["pictures"], record["classes"], record["image_passes"]) == (300, 3, 0)
    assert record["store_bytes"] > 300 * 61 * 8 * 2
    assert record["seconds"] > 0
    assert str(file) in capsys.readouterr().out


def test_an_evaluation_that_takes_too_much_memory_is_an_error(tmp_path, monkeypatch):
    words = ["--pictures", "20", "--width", "8", "--classes", "3", "--folder", str(tmp_path)]
    told = iter([500_000_000, 2_500_000_000])  # before and after
    monkeypatch.setattr(store_memory, "peak_memory", lambda: next(told))
    with pytest.raises(SystemExit) as ended:
        store_memory.main([*words, "--out", str(tmp_path / "bench")])
    assert ended.value.code == "error: 2.00 GB beyond what was there before; it must stay under 2 GB"
    [file] = (tmp_path / "bench").iterdir()
    assert json.loads(file.read_text())["beyond_bytes"] == 2_000_000_000


# ---- growth ------------------------------------------------------------------------------------------------


def test_growth_times_every_axis_and_fits_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(growth.FIXED, "B", 1)
    growth.main(["--most", "10", "--repeats", "1", "--device", "cpu", "--out", str(tmp_path)])
    [file] = tmp_path.iterdir()
    record = json.loads(file.read_text())
    rows = {(row["symbol"], row["value"]): row["ms"] for row in record["rows"]}
    assert {symbol for symbol, _ in rows} == {"B", "T", "C", "P"}  # the least N is 15
    assert all(ms > 0 for ms in rows.values())
    assert {fit["symbol"] for fit in record["fitted"]} == {"T", "P"}  # a power wants two points
    assert str(file) in capsys.readouterr().out


def test_the_crops_and_pictures_timed_are_those_of_the_axis(tmp_path):
    encoder = load_encoder("aviary", device="cpu")
    files = paint_photographs(tmp_path, 2)
    for symbol, value, passes in (("B", 3, 3 * 11), ("N", 4, 8 * 5), ("T", 1, 8 * 91)):
        before = encoder.image_passes
        growth.run_of(symbol, value, encoder, files, 128)()
        assert encoder.image_passes - before == pytest.approx(passes, rel=0.05)  # boxes may coincide
    before = encoder.text_passes
    growth.run_of("C", 7, encoder, files, 128)()
    assert encoder.text_passes - before == 7 * growth.FIXED["P"]


# ---- precision ---------------------------------------------------------------------------------------------


def test_flips_are_predictions_that_differ(monkeypatch):
    whole = open_dataset("aviary")
    few = dataclasses.replace(whole, items=whole.items[::40])
    right = precision.evaluate

    def flipped(manifest, encoder, *words, **more):
        record, predictions = right(manifest, encoder, *words, **more)
        if encoder.precision == "bfloat16":
            first = (predictions["method"] == "wca") & (predictions["path"] == predictions["path"].iloc[0])
            predictions.loc[first, "prediction"] = 39 - predictions.loc[first, "prediction"]
        return record, predictions

    plain = precision.benchmark(few, "cpu", "bfloat16", 5)
    monkeypatch.setattr(precision, "evaluate", flipped)
    turned = precision.benchmark(few, "cpu", "bfloat16", 5)
    more = turned["flips_per_10000"]["wca"] - plain["flips_per_10000"]["wca"]
    assert abs(more) == pytest.approx(10_000 / len(few.items))
    assert turned["flips_per_10000"]["cupl"] == plain["flips_per_10000"]["cupl"]
    assert plain["precision"] == "bfloat16" and plain["pictures"] == len(few.items)


@pytest.mark.parametrize("precision_asked", ["float32", "bfloat16"])
def test_ways_to_encode(tiny, precision_asked, tmp_path, capsys):
    words = ["--encoder", tiny, "--device", "cpu", "--precision", precision_asked, "--batches", "4", "--repeats", "3"]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        encoding.main([*words, "--out", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    [file] = tmp_path.iterdir()
    record = json.loads(file.read_text())
    assert (record["crops"], record["batch_size"], record["precision"]) == (128, 32, precision_asked)
    wanted = {"ours", "open_clip", "batches a quarter as large", "batches four times as large", "a thread a batch"}
    wanted |= {"in float32"} if precision_asked == "bfloat16" else set()
    assert record["seconds"].keys() - {"compiled"} == wanted
    for way, seconds in record["seconds"].items():
        assert record["median_seconds"][way] == statistics.median(seconds) and len(seconds) == 3
        assert record["times_ours"][way] * record["median_seconds"][way] == pytest.approx(
            record["median_seconds"]["ours"]
        )
    shares = {row["operator"]: row["share"] for row in record["operators"]}
    assert sum(shares.values()) == pytest.approx(1) and len(shares) == encoding.LISTED + 1
    assert shares["aten::addmm"] > 0.01
    out = capsys.readouterr().out
    assert "open_clip" in out and "aten::addmm" in out and str(file) in out


@pytest.mark.parametrize("factor", [-1.0, float("nan")])
def test_ways_that_differ_are_not_timed(tiny, factor, monkeypatch):
    plain = encoding.ways

    def wrong(encoder, float32, model, crops):
        return plain(encoder, float32, model, crops) | {"open_clip": lambda: factor * encoder.encode_crops(crops)}

    monkeypatch.setattr(encoding, "ways", wrong)
    monkeypatch.setattr(torch, "compile", lambda image: image)
    with pytest.raises(LgcaError, match="do not compute the same"):
        encoding.benchmark(tiny, "cpu", "float32", 1, 1)


def test_a_way_that_cannot_be_compiled_is_left_out(tiny, monkeypatch, capsys):
    def fails(image):
        def compiled(pixels):
            raise RuntimeError("no compiler")

        return compiled

    monkeypatch.setattr(torch, "compile", fails)
    assert "compiled" not in encoding.benchmark(tiny, "cpu", "float32", 1, 1)["seconds"]
    assert "compiled: not here (RuntimeError)" in capsys.readouterr().err
