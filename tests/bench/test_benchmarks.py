"""The other benchmarks compare like with like and record it; how long anything takes proves nothing here."""

import dataclasses
import statistics

import open_clip
import pandas as pd
import pytest
import torch

from lgca_core import load_encoder, open_dataset
from lgca_core.bench import class_matrix, encoding, growth, harness, precision, store_memory
from lgca_core.bench.class_matrix import class_by_class, sentences, time_class_matrix
from lgca_core.bench.encoding import time_encoding
from lgca_core.bench.fits import exponents
from lgca_core.errors import LgcaError

# ---- class matrix ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["aviary", "tiny"])
def test_class_matrix(tiny, ticks, encoder):
    name = tiny if encoder == "tiny" else encoder
    record = time_class_matrix(name, "cpu", classes=5, mean=6, repeats=2, seed=0, batch_size=7, report=str)
    assert (record["classes"], record["sentences"]["all"], record["batch_size"]) == (5, 30, 7)
    assert record["sentences"]["fewest"] < record["sentences"]["most"]
    assert record["weights"] == ("embedded" if encoder == "aviary" else "random")
    median = record["median_seconds"]
    for arm, turns in record["seconds"].items():
        assert len(turns) == 2 and median[arm] == statistics.median(turns)
    assert record["times_faster"] == {
        arm: median[arm] / median["in one go"] for arm in ("class by class", "class by class, cut short")
    }
    assert record["largest_difference"] <= 1e-5
    assert {"processor", "cores", "threads"} <= record["machine"].keys()
    assert record["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert {"commit", "dirty", "utc", "weights_sha256"} <= record.keys()


def test_the_peers_loop_pads_to_the_full_context(tiny):
    """Else it would be another benchmark than the one that is reported."""
    tokenizer = open_clip.get_tokenizer(tiny)
    with harness.models(tiny, "cpu") as (_, model):
        seen = []

        def tokens(texts):
            seen.append(tokenizer(texts))
            return seen[-1]

        prompts = sentences(3, 10, seed=0)
        made = class_by_class(model, tokens, prompts)
    assert [tuple(batch.shape) for batch in seen] == [(len(of_class), 77) for of_class in prompts]
    torch.testing.assert_close(made.norm(dim=1), torch.ones(3))


def test_the_sentences_are_ragged_different_and_as_long_as_cupls():
    prompts = sentences(101, 20, seed=0)
    counts = [len(of_class) for of_class in prompts]
    assert (len(prompts), sum(counts)) == (101, 2020)
    assert 14 <= min(counts) < 20 < max(counts) <= 26
    flat = [text for of_class in prompts for text in of_class]
    assert len(set(flat)) == len(flat)
    tokens = (open_clip.get_tokenizer("ViT-B-32-quickgelu")(flat) != 0).sum(dim=1)
    assert 15 <= tokens.median() <= 25
    assert tokens.max() < 77
    assert sentences(101, 20, seed=0) == prompts != sentences(101, 20, seed=1)


@pytest.mark.parametrize(("worse", "message"), [(2e-5, r"differ by 2\.0e-05"), (float("nan"), "differ by nan")])
def test_matrices_that_differ_are_no_benchmark(tiny, monkeypatch, worse, message):
    monkeypatch.setattr(class_matrix, "class_by_class", lambda *arguments: class_by_class(*arguments) + worse)
    with pytest.raises(LgcaError, match=message):
        time_class_matrix(tiny, "cpu", 5, 6, 1, 0, None, str)


# ---- ways to encode ----------------------------------------------------------------------------------------


@pytest.fixture
def two_threads(monkeypatch):
    """torch says that it has two, and does with them what it likes."""
    asked = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    return asked


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda image: image)


@pytest.mark.parametrize("precision_asked", ["float32", "bfloat16"])
def test_ways_to_encode(tiny, ticks, two_threads, no_compiler, precision_asked):
    record = time_encoding(tiny, "cpu", precision_asked, batches=4, repeats=3, report=str)
    assert (record["crops"], record["batch_size"], record["precision"]) == (128, 32, precision_asked)
    wanted = {"ours", "open_clip", "batches a quarter as large", "batches four times as large", "a thread a batch"}
    wanted |= {"in float32"} if precision_asked == "bfloat16" else set()
    assert record["seconds"].keys() == wanted | {"compiled"}
    median = record["median_seconds"]
    for way, turns in record["seconds"].items():
        assert median[way] == statistics.median(turns) and len(turns) == 3
        assert record["times_ours"][way] == median["ours"] / median[way]
        assert record["crops_per_second"][way] == 128 / median[way]
    assert len(record["operators"]) == encoding.LISTED + 1
    assert two_threads == [1, 2] * 4  # one thread an operator while each batch has its own, and as before afterwards


def test_the_profile_has_the_operators_that_run():
    """How long they take is not asked."""
    x = torch.ones(3, 3)
    spent, total = encoding.seconds_of_operators(lambda: torch.addmm(x, x, x), torch.device("cpu"))
    assert "aten::addmm" in spent and total == sum(spent.values())


def test_shares_are_of_the_total_and_the_rest_is_one():
    spent = {f"operator {k}": float(k) for k in range(1, encoding.LISTED + 3)}
    rows = encoding.shares(spent, 2 * sum(spent.values()))  # a GPU may have spent more than what is named
    assert [row["operator"] for row in rows] == [*(f"operator {k}" for k in range(12, 2, -1)), "others"]
    assert rows[0]["share"] == 12 / 156 and sum(row["share"] for row in rows) == pytest.approx(1)


@pytest.mark.parametrize("factor", [-1.0, float("nan")])
def test_ways_that_differ_are_not_timed(tiny, factor, monkeypatch, no_compiler):
    plain = encoding.ways

    def wrong(encoder, float32, model, crops, report):
        return plain(encoder, float32, model, crops, report) | {
            "open_clip": lambda: factor * encoder.encode_crops(crops)
        }

    monkeypatch.setattr(encoding, "ways", wrong)
    with pytest.raises(LgcaError, match="do not compute the same"):
        time_encoding(tiny, "cpu", "float32", 1, 1, str)


def test_a_way_that_cannot_be_compiled_is_left_out(tiny, monkeypatch):
    def fails(image):
        def compiled(pixels):
            raise RuntimeError("no compiler")

        return compiled

    monkeypatch.setattr(torch, "compile", fails)
    lines = []
    assert "compiled" not in time_encoding(tiny, "cpu", "float32", 1, 1, lines.append)["seconds"]
    assert "compiled: not here (RuntimeError)" in lines


# ---- growth ------------------------------------------------------------------------------------------------


def test_growth_times_every_axis_and_fits_it(monkeypatch, seconds):
    """Each point takes as long as its value says, and a large one is timed once."""
    timed = []

    def run_of(symbol, value, encoder, files, width):
        def run():
            timed.append((symbol, value))
            seconds(5 if symbol == "T" else 0.003 * value)

        return run

    monkeypatch.setattr(growth, "run_of", run_of)
    record = growth.time_growth("cpu", "float32", 1000, 2, str)
    rows = {(row["symbol"], row["value"]): row for row in record["rows"]}
    assert rows.keys() == {(symbol, v) for symbol, (_, values) in growth.AXES.items() for v in values if v <= 1000}
    assert rows["N", 60]["turns"] == pytest.approx([180, 180]) and rows["N", 60]["ms"] == pytest.approx(180)
    assert rows["C", 1000]["turns"] == pytest.approx([3000]) and timed.count(("C", 1000)) == 1
    assert timed.count(("C", 100)) == 3  # two turns, and one before them
    fitted = {fit["symbol"]: fit for fit in record["fitted"]}
    assert {symbol: fit["exponent"] for symbol, fit in fitted.items()} == pytest.approx(
        {"B": 1, "N": 1, "T": 0, "C": 1, "P": 1}
    )
    assert {symbol: fit["expected"] for symbol, fit in fitted.items()} == {
        "B": "1",
        "N": "1",
        "T": "none",
        "C": "1",
        "P": "1",
    }


def test_fitted_powers_are_those_of_the_curve():
    value = pd.Series([0, 1, 2, 4, 8])
    square = pd.DataFrame({"what": "class matrix", "symbol": "P", "value": value, "ms": 3.0 * value**2})
    flat = pd.DataFrame({"what": "LGCA", "symbol": "T", "value": value, "ms": 5.0})
    alone = pd.DataFrame({"what": ["WCA"], "symbol": ["B"], "value": [7], "ms": [1.0]})  # a power wants two
    fitted = exponents(pd.concat([square, flat, alone])).set_index("symbol")
    assert fitted.exponent.to_dict() == pytest.approx({"P": 2, "T": 0})
    assert fitted.error["P"] == pytest.approx(0, abs=1e-9)


def test_the_crops_and_pictures_timed_are_those_of_the_axis(tmp_path):
    encoder = load_encoder("aviary", device="cpu")
    files = harness.paint_photographs(tmp_path, 2)
    for symbol, value, passes in (("B", 3, 3 * 11), ("N", 4, 8 * 5), ("T", 1, 8 * 91)):
        before = encoder.image_passes
        growth.run_of(symbol, value, encoder, files, 128)()
        assert encoder.image_passes - before == pytest.approx(passes, rel=0.05)  # boxes may coincide
    before = encoder.text_passes
    growth.run_of("C", 7, encoder, files, 128)()
    assert encoder.text_passes - before == 7 * growth.FIXED["P"]


# ---- precision ---------------------------------------------------------------------------------------------


@pytest.mark.slow
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

    plain = precision.count_flips(few, "cpu", "bfloat16", 5)
    monkeypatch.setattr(precision, "evaluate", flipped)
    turned = precision.count_flips(few, "cpu", "bfloat16", 5)
    more = turned["flips_per_10000"]["wca"] - plain["flips_per_10000"]["wca"]
    assert abs(more) == pytest.approx(10_000 / len(few.items))
    assert turned["flips_per_10000"]["cupl"] == plain["flips_per_10000"]["cupl"]
    assert plain["precision"] == "bfloat16" and plain["pictures"] == len(few.items)


# ---- memory ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_evaluation_out_of_the_store_encodes_no_crop(monkeypatch, tmp_path):
    peaks = iter([500_000_000, 2_500_000_000])  # before and after
    monkeypatch.setattr(store_memory, "peak_memory", lambda: next(peaks))
    record = store_memory.weigh_evaluation(pictures=300, width=8, classes=3, folder=tmp_path)
    assert (record["pictures"], record["classes"], record["image_passes"]) == (300, 3, 0)
    assert record["store_bytes"] > 300 * 61 * 8 * 2
    assert record["beyond_bytes"] == 2_000_000_000
    assert list(tmp_path.iterdir()) == []
