"""What the papers report and how records compare with it: every number from a row with a source, every verdict by the
tolerance that was fixed beforehand, and nothing that is absent shown as a blank or a zero."""

import csv
import hashlib
import io
import json
import math
import re
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import open_clip
import pandas as pd
import pytest

from lgca_core.data import manifest
from lgca_core.errors import LgcaError
from lgca_core.evaluation import paper_values, parts, statistics
from lgca_core.evaluation.record import find_records, load, save
from lgca_core.methods import METHODS
from lgca_core.wca import WCA
from support import command_line
from support.records import full_record as make
from support.shared import ROOT

SHA = "0" * 64
COPIED = ["04d72f63", "b4aa06b3"]  # how the sha256 of the two tables begin
B32, B16, L14 = paper_values.ENCODERS.values()
HEADING = "method,dataset,backbone,top1_percent,std_percent,source\n"


def cell(frame: pd.DataFrame, dataset: str, encoder: str, method: str) -> dict:
    [row] = frame.query("dataset == @dataset and encoder == @encoder and method == @method").to_dict("records")
    return row


# ---- what is published -------------------------------------------------------------------------------------


def test_every_row_of_the_files_is_in_the_table():
    table = paper_values.table().set_index(["method", "dataset", "backbone"])
    assert table.index.is_unique
    rows = [row for file in paper_values.TABLES for row in csv.DictReader(file.open(encoding="utf-8"))]
    assert len(rows) == 123 + 55
    for row in rows:
        found = table.loc[(row["method"], row["dataset"], row["backbone"])]
        assert found["top1_percent"] == float(row["top1_percent"])
        assert row["source"] in found["source"].split("; ")
        if row.get("std_percent"):
            assert found["std_percent"] == float(row["std_percent"])
    assert len(table) == len({(row["method"], row["dataset"], row["backbone"]) for row in rows}) == 174
    assert table["std_percent"].notna().sum() == 18


@pytest.mark.parametrize(
    ("method", "dataset", "backbone", "top1", "std", "source"),
    [
        ("CLIP", "ImageNet", "ViT-B/32", 62.05, None, "2406.02915"),
        ("WCA", "ImageNet", "ViT-B/32", 66.84, 0.07, "results.png"),
        ("WCA", "ImageNet", "ViT-B/16", 71.08, 0.05, "DG_results.png"),  # of both tables
        ("WCA", "ImageNet-A", "ViT-B/16", 56.13, None, "DG_results.png"),
        ("CuPL", "DTD", "ViT-L/14", 60.59, None, "results.png"),
        ("Waffle", "OxfordPets", "ViT-B/16", 86.51, None, "results.png"),
        ("LaZSL", "Places365 (365 names)", "ViT-L/14", 41.8, None, "2506.23822"),
        ("CoOp", "ImageNet-V2", "ViT-B/16", 64.20, None, "DG_results.png"),
    ],
)
def test_published_values(method, dataset, backbone, top1, std, source):
    row = paper_values.table().set_index(["method", "dataset", "backbone"]).loc[(method, dataset, backbone)]
    assert row["top1_percent"] == top1
    assert math.isnan(row["std_percent"]) if std is None else row["std_percent"] == std
    assert source in row["source"]


def test_no_published_number_was_touched_since_it_was_copied():
    assert [hashlib.sha256(file.read_bytes()).hexdigest()[:8] for file in paper_values.TABLES] == COPIED


def test_the_table_cannot_be_spoilt_by_a_reader():
    spoilt = paper_values.table()
    spoilt["top1_percent"] = 0.0
    assert (paper_values.table()["top1_percent"] > 0).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("CLIP,ImageNet,ViT-B/32,62.05,,", "line 2: source"),
        ("CLIP,ImageNet,ViT-B/32,62.05,, ", "line 2: source"),
        ("CLIP,ImageNet,ViT-B/32,,,a paper", "line 2: top1_percent"),
        ("CLIP,ImageNet,ViT-B/32,0,,a paper", "line 2: top1_percent"),
        ("CLIP,ImageNet,ViT-B/32,162.05,,a paper", "line 2: top1_percent"),
        ("CLIP,ImageNet,ViT-B/32,nan,,a paper", "line 2: top1_percent"),
        ("CLIP,ImageNet,ViT-B/32,62.05,-1,a paper", "line 2: std_percent"),
        ("CLIP,ImageNet,RN50,62.05,,a paper", "line 2: backbone: 'RN50'"),
        ("CLIP,Imagenet,ViT-B/32,62.05,,a paper", "line 2: dataset: 'Imagenet'"),
        ("CLIPS,ImageNet,ViT-B/32,62.05,,a paper", "line 2: method: 'CLIPS'"),
        ("CLIP,ImageNet,ViT-B/32,62.05,,a paper,2024", "line 2: more than"),
    ],
)
def test_a_row_that_cannot_be_is_refused(tmp_path, line, message):
    (tmp_path / "rows.csv").write_text(HEADING + line + "\n")
    with pytest.raises(LgcaError, match=re.escape(message)):
        paper_values.read(tmp_path / "rows.csv")


def test_two_numbers_for_one_cell_are_refused(tmp_path):
    row = "WCA,ImageNet,ViT-B/16,{},{},{}\n"
    (tmp_path / "a.csv").write_text(HEADING + row.format(71.08, "", "one") + row.format(71.08, 0.05, "two"))
    [merged] = paper_values.merge(paper_values.read(tmp_path / "a.csv")).to_dict("records")
    assert (merged["top1_percent"], merged["std_percent"], merged["source"]) == (71.08, 0.05, "one; two")
    for other in (row.format(71.09, "", "two"), row.format(71.08, 0.06, "two")):
        (tmp_path / "b.csv").write_text(HEADING + row.format(71.08, 0.05, "one") + other)
        with pytest.raises(LgcaError, match=r"WCA, ImageNet, ViT-B/16: .* is published as"):
            paper_values.merge(paper_values.read(tmp_path / "b.csv"))


# ---- the papers' names and ours ----------------------------------------------------------------------------


def test_every_published_row_maps_or_is_listed_as_not_run():
    run = set(paper_values.PAPERS_METHODS.values())
    assert not run & set(paper_values.NOT_RUN)
    table = paper_values.table()
    assert set(table["method"]) <= run | set(paper_values.NOT_RUN)
    frame = paper_values.compare_with_papers({})
    for row in table[table["method"].isin(run)].itertuples():
        place = paper_values.PAPERS_DATASETS[row.dataset], paper_values.ENCODERS[row.backbone]
        ours = [method for method, name in paper_values.PAPERS_METHODS.items() if name == row.method]
        assert [cell(frame, *place, method)["paper"] for method in ours] == [row.top1_percent] * len(ours)
    assert set(paper_values.NOT_RUN) <= set(table["method"])


def test_names_are_ours():
    assert set(paper_values.PAPERS_DATASETS.values()) == set(paper_values.PUBLISHED_PICTURES)
    assert set(paper_values.PAPERS_DATASETS.values()) == {
        "imagenet", "imagenet-v2", "imagenet-r", "imagenet-a", "imagenet-sketch",
        "cub", "pets", "dtd", "food101", "places365", "places365-distinct",
    }  # fmt: skip
    for name, known in METHODS.items():
        if name in paper_values.PAPERS_METHODS:
            assert known.seeded == (paper_values.PAPERS_METHODS[name] in paper_values.DRAWN)
    for backbone, encoder in paper_values.ENCODERS.items():
        name, tag = encoder.split(":")
        assert name == backbone.replace("/", "-") + "-quickgelu"
        assert open_clip.get_model_config(name)["quick_gelu"]
        pretrained = open_clip.get_pretrained_cfg(name, tag)
        assert pretrained["quick_gelu"]
        assert f"/{paper_values.ARCHIVES[encoder]}/" in pretrained["url"]


def test_openai_weights_are_known_whatever_their_file_is_called():
    def info(name, sha256):
        return parts.EncoderInfo(name=name, weights_sha256=sha256, precision="float32")

    sha256 = paper_values.ARCHIVES[B32]
    assert paper_values.encoder_name(info("ViT-B-32-quickgelu:downloaded.pt", sha256)) == B32
    assert (
        paper_values.encoder_name(info("ViT-B-32-quickgelu:downloaded.pt", SHA)) == "ViT-B-32-quickgelu:downloaded.pt"
    )
    assert paper_values.encoder_name(info("ViT-B-32:downloaded.pt", sha256)) == "ViT-B-32:downloaded.pt"
    assert paper_values.encoder_name(info("aviary", None)) == "aviary"


# ---- the verdict -------------------------------------------------------------------------------------------


def test_the_tolerance_is_the_one_written_down():
    of = paper_values.TOLERANCE.of
    assert of("CLIP", math.nan) == of("CLIP-E", math.nan) == of("CLIP-D", math.nan) == of("CuPL", math.nan) == 0.5
    assert of("WCA", 0.03) == pytest.approx(0.56)
    assert of("WCA", 0.17) == pytest.approx(0.84)
    assert of("WCA", math.nan) == of("Waffle", math.nan) == of("LaZSL", math.nan) == 1.0
    text = (ROOT / "results" / "README.md").read_text()
    assert "CLIP, CLIP-E, CLIP-D, CuPL | 0.5 |" in text
    assert "0.5 + 2 published standard deviations (0.56 to 0.84)" in text
    assert "Waffle, LaZSL, WCA on ImageNet's variants | 1.0 |" in text


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (0.0, "within"),
        (64.01 - 63.51, "within"),  # in binary a little more than 0.5
        (63.51 - 64.01, "within"),
        (0.501, "above"),
        (-0.501, "below"),
        (math.nan, "not available"),
    ],
)
def test_verdict(difference, expected):
    assert paper_values.verdict(difference, 0.5) == expected
    assert paper_values.verdict(difference, math.nan) == "not available"


def test_compare_gives_the_summary_of_the_record_in_percent():
    # Of 1880 pictures; the paper has CLIP 42.93, WCA 49.39 +- 0.16, CuPL 47.50.
    record, predictions = make({"clip": [800], "wca": [940, 946], "cupl": [912], "lgca": [950, 960], "mine": [7]})
    frame = paper_values.compare_with_papers({"a": (record, predictions)})
    assert tuple(frame.columns) == paper_values.COMPARISON
    table = statistics.summary(record, predictions, None).set_index("method")
    for method, paper, tolerance, verdict in (
        ("clip", 42.93, 0.5, "within"),
        ("wca", 49.39, 0.82, "within"),
        ("cupl", 47.50, 0.5, "above"),
    ):
        row = cell(frame, "dtd", B32, method)
        assert row["paper"] == paper
        for column, of_summary in (("ours", "top1"), ("low", "low"), ("high", "high")):
            assert row[column] == pytest.approx(100 * table.loc[method, of_summary])
        assert row["low"] < row["ours"] < row["high"]
        assert row["difference"] == pytest.approx(row["ours"] - paper)
        assert (row["tolerance"], row["verdict"]) == (pytest.approx(tolerance), verdict)
        assert (row["record"], row["note"]) == ("a", "")
        assert row["tied"] == table.loc[method, "tied"]
        assert "2406.02915" in row["source"]
    assert cell(frame, "dtd", B32, "wca")["seeds"] == 2
    below = paper_values.compare_with_papers({"a": make({"clip": [790]})})
    assert cell(below, "dtd", B32, "clip")["verdict"] == "below"
    strict = paper_values.compare_with_papers({"a": (record, predictions)}, paper_values.Tolerance(points=0.1))
    assert cell(strict, "dtd", B32, "clip")["verdict"] == "below"
    for method in ("lgca", "mine"):  # the papers' values are not available
        row = cell(frame, "dtd", B32, method)
        assert row["ours"] == pytest.approx(100 * table.loc[method, "top1"])
        assert math.isnan(row["paper"]) and math.isnan(row["difference"]) and row["verdict"] == "not available"
        assert row["source"] is None


def test_what_is_absent_is_not_a_number():
    frame = paper_values.compare_with_papers({})
    assert frame[["ours", "low", "high", "difference", "seeds"]].isna().all(axis=None)
    assert (frame["verdict"] == "not available").all()
    assert frame["record"].isna().all()
    lgca = frame[frame["method"] == "lgca"]
    assert len(lgca) == 25  # 6 data sets x 3 backbones, 4 variants of ImageNet, and Places365 by distinct names
    assert lgca[["paper", "paper_std", "tolerance"]].isna().all(axis=None)
    assert not frame.duplicated(["dataset", "encoder", "method"]).any()
    assert (frame["paper"].dropna() > 0).all()
    distinct = frame[(frame["dataset"] == "places365-distinct") & frame["paper"].notna()]
    assert distinct["method"].unique().tolist() == ["lazsl-d"] and len(distinct) == 3
    assert math.isnan(cell(frame, "places365", B32, "lazsl-d")["paper"])
    assert cell(frame, "places365", L14, "wca")["paper"] == cell(frame, "places365", L14, "wca-released")["paper"]


def test_records_of_one_cell_are_rows_of_their_own_and_strangers_come_last():
    frame = paper_values.compare_with_papers(
        {
            "first": make({"clip": [800]}),
            "second": make({"clip": [790]}),
            "birds": make({"clip": [5]}, dataset="aviary", count=9, encoder="aviary"),
        }
    )
    twice = frame.query("dataset == 'dtd' and encoder == @B32 and method == 'clip'")
    assert twice[["record", "verdict"]].to_numpy().tolist() == [["first", "within"], ["second", "below"]]
    assert frame.iloc[-1][["dataset", "encoder", "method", "record"]].tolist() == ["aviary", "aviary", "clip", "birds"]
    assert math.isnan(frame.iloc[-1]["paper"])
    assert frame["dataset"].unique().tolist() == [*paper_values.PUBLISHED_PICTURES, "aviary"]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"count": 1879}, "scored 1879 pictures, not the split's 1880"),
        (
            {"skipped": [manifest.Skipped(path="b.png", reason="truncated")]},
            "scored 1879 pictures, not the split's 1880",
        ),
        ({"config": asdict(WCA(n=30))}, "ran with n = 30, not the published 60"),
        ({"config": asdict(WCA(alpha=0.1))}, "ran with alpha = 0.1, not the published 0.5"),
        ({"config": {}}, "ran with n = None, not the published 60"),
    ],
)
def test_another_protocol_gets_no_verdict(changes, note):
    row = cell(paper_values.compare_with_papers({"a": make({"wca": [929]}, **changes)}), "dtd", B32, "wca")
    assert row["note"] == note
    assert row["verdict"] == "not available"
    assert math.isnan(row["difference"])
    assert row["ours"] == pytest.approx(49.4, abs=0.1)


@pytest.mark.parametrize(
    ("own", "judged"),
    [
        ([], ["clip", "clip-e", "clip-d", "cupl", "wca"]),
        (["descriptions"], ["clip", "clip-e", "clip-d"]),
        (["descriptors"], ["clip", "clip-e", "cupl", "wca"]),
        (["templates", "descriptions"], ["clip", "clip-d"]),
    ],
)
def test_prompts_of_ones_own_get_no_verdict_where_they_were_read(own, judged):
    methods = ["clip", "clip-e", "clip-d", "cupl", "wca"]
    record = make({method: [900] for method in methods}, parameters={"own_prompts": own})
    rows = {method: cell(paper_values.compare_with_papers({"a": record}), "dtd", B32, method) for method in methods}
    assert [method for method, row in rows.items() if row["verdict"] != "not available"] == judged
    assert {row["note"] for method, row in rows.items() if method not in judged} <= {"was made with prompts of its own"}


@pytest.mark.parametrize(
    ("method", "dataset", "look"),
    [
        ("wca", "dtd", WCA.as_written()),
        ("wca-released", "dtd", WCA.as_released()),
        ("wca", "places365", WCA(alpha=0.7)),
        ("wca-released", "places365", WCA.as_released()),
        ("wca-released", "imagenet-v2", WCA.as_released()),
        ("wca-released", "imagenet-r", WCA.as_released()),  # of which the released code has no configuration
        ("wca-released:pool=60", "imagenet", WCA.as_released(60)),
        ("lazsl-d:n=90:alpha=0.6", "cub", WCA(n=90, alpha=0.6)),
    ],
)
def test_the_published_settings_get_a_verdict(method, dataset, look):
    count = paper_values.PUBLISHED_PICTURES[dataset]
    encoder = B16 if dataset in ("imagenet-v2", "imagenet-r") else B32
    record = make({method: [count // 2]}, dataset=dataset, count=count, encoder=encoder, config=asdict(look))
    row = cell(paper_values.compare_with_papers({"a": record}), dataset, encoder, method)
    assert (row["note"], row["record"]) == ("", "a")
    assert row["verdict"] != "not available"


@pytest.mark.parametrize(
    ("method", "dataset", "look", "note"),
    [
        ("wca-released", "imagenet", WCA.as_released(), "ran with pool = 100, not the published 60"),
        ("wca-released:pool=60", "cub", WCA.as_released(60), "ran with pool = 60, not the published 100"),
        ("lazsl-d", "cub", WCA(), "ran with n = 60, not the published 90"),
        ("lazsl-d:n=90", "cub", WCA(n=90), "ran with alpha = 0.5, not the published 0.6"),
        ("lazsl-d:n=90:alpha=0.6", "places365-distinct", WCA(n=90, alpha=0.6), "read other names than LaZSL's"),
    ],
)
def test_other_settings_than_the_released_code_s_get_none(method, dataset, look, note):
    count = paper_values.PUBLISHED_PICTURES[dataset]
    record = make({method: [count // 2]}, dataset=dataset, count=count, config=asdict(look))
    row = cell(paper_values.compare_with_papers({"a": record}), dataset, B32, method)
    assert row["note"].startswith(note) and row["verdict"] == "not available"
    assert row["paper"] > 0  # it stands beside the published value all the same


def test_a_setting_of_ones_own_stands_beside_no_published_value():
    record = make({"wca:n=8": [900], "lgca:steps=1": [900]}, config=asdict(WCA()))
    frame = paper_values.compare_with_papers({"a": record})
    for method in ("wca:n=8", "lgca:steps=1"):
        assert math.isnan(cell(frame, "dtd", B32, method)["paper"])


# ---- the command -------------------------------------------------------------------------------------------


lgca, refused = (partial(of, "results") for of in (command_line.lgca, command_line.refused))


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory without records."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def full(work):
    """A working directory with a full and a partial record in results/."""
    save(*make({"clip": [800], "wca": [940, 946], "lgca": [950, 960]}), "results/dtd|B-32")
    save(*make({"clip": [30]}, count=70), "results/deeper/part")
    (work / "results" / ".draft").mkdir()
    (work / "results" / ".draft" / "record.json").write_text("half")
    (work / "results" / "bench").mkdir()
    (work / "results" / "bench" / "class-matrix.json").write_text("{}")
    return work


def line(out: str, method: str) -> list[str]:
    [found] = [line for line in out.splitlines() if line.split()[:1] == [method]]
    return re.split(r"\s{2,}", found.strip())


NOT = "not available"


def test_no_record_is_said_and_shows_as_not_available(work):
    status, out, err = lgca("table", "--dataset", "dtd", "--encoder", B32)
    assert status == 0
    assert "no record" in err
    assert f"lgca evaluate --dataset pets --encoder {B32}" in err
    assert line(out, "clip") == ["clip", "42.93", "0.50"]
    assert line(out, "wca") == ["wca", "49.39 ± 0.16", "0.82"]
    assert "ours" not in out and NOT not in out.replace("0 not available", "")
    assert not [text for text in out.splitlines() if text.startswith("lgca")]  # neither published nor run
    assert "0 within, 0 above, 0 below, 0 not available" in out
    (work / "results").mkdir()
    assert lgca("table", "--dataset", "dtd", "--encoder", B32)[1] == out
    assert "results holds no record" in lgca("table")[2]
    everything = lgca("table")[1]
    assert [text for text in everything.splitlines() if text.startswith("dtd, ")] == [
        f"dtd, {encoder}" for encoder in (B32, B16, L14)
    ]
    assert "CoCoOp" in everything.splitlines()[-1]


def test_text_table(full):
    status, out, err = lgca("table", "--dataset", "DTD", "--encoder", "ViT-B/32", "--method", "clip,lgca,cupl")
    assert (status, err) == (0, "")
    assert "dtd, ViT-B-32-quickgelu:openai" in out
    full_run, part = [re.split(r"\s{2,}", text.strip()) for text in out.splitlines() if text.split()[:1] == ["clip"]]
    record = statistics.summary(*load("results/dtd|B-32"), None).set_index("method").loc["clip"]
    shown = f"{100 * record['low']:.2f} to {100 * record['high']:.2f}"
    if part[-1] != "results/deeper/part":
        full_run, part = part, full_run
    assert full_run == ["clip", "42.93", "42.55", shown, "-0.38", "0.50", "within", "results/dtd|B-32"]
    assert part[:3] == ["clip", "42.93", "42.86"]
    assert part[4:] == [NOT, "0.50", NOT, "results/deeper/part"]
    assert re.search(r"clip of results/deeper/part.* 70 .*1880", out)
    assert line(out, "lgca")[:3] == ["lgca", NOT, "50.80"]
    assert line(out, "cupl") == ["cupl", "47.50", "not run", "not run", "not run", "0.50", "not run", "not run"]
    assert "1 within, 0 above, 0 below, 2 not available" in out
    assert "\x1b" not in out


def test_folders_choose_the_records(full):
    shutil.move("results/deeper", "elsewhere")
    _, out, _ = lgca("table", "elsewhere", "--dataset", "dtd", "--format", "json")
    assert {row["record"] for row in json.loads(out)} == {"elsewhere/part", None}
    _, out, _ = lgca("table", "elsewhere", "results/dtd|B-32", "--dataset", "dtd", "--format", "json")
    assert {row["record"] for row in json.loads(out)} == {"elsewhere/part", "results/dtd|B-32", None}


def test_markdown_table(full):
    _, out, _ = lgca("table", "--dataset", "dtd", "--encoder", B32, "--method", "wca,lgca", "--format", "markdown")
    lines = out.splitlines()
    assert lines[0] == f"### dtd, {B32}"
    rows = [re.split(r"(?<!\\)\|", text)[1:-1] for text in lines if text.startswith("|")]
    assert len(rows) == 4
    assert {len(row) for row in rows} == {8}  # the bar in the record's name does not split its cell
    assert [cell.strip() for cell in rows[1]] == ["---", *["---:"] * 5, "---", "---"]
    assert [cell.strip() for cell in rows[2]][:3] == ["wca", "49.39 ± 0.16", "50.16"]
    assert [cell.strip() for cell in rows[3]][:2] == ["lgca", NOT]
    assert "  " not in out.replace(" \n", "\n")


def test_csv_and_json_hold_the_same_rows(full):
    words = ["table", "--dataset", "dtd", "--encoder", B32]
    status, text, err = lgca(*words, "--format", "csv")
    assert (status, err) == (0, "")
    cells = list(csv.DictReader(io.StringIO(text)))
    rows = json.loads(lgca(*words, "--format", "json")[1])
    assert len(cells) == len(rows) == 10
    for row, written in zip(rows, cells, strict=True):
        assert list(row) == list(written) == list(paper_values.COMPARISON)
        for column, value in row.items():
            if value is None:
                assert written[column] == NOT
            elif isinstance(value, str | bool):
                assert written[column] == str(value)
            else:
                assert float(written[column]) == pytest.approx(value, rel=1e-5)
        assert "" not in {value for column, value in written.items() if column != "note"}
    read = pd.read_csv(io.StringIO(text), na_values=[NOT])
    assert read["ours"].dtype == "float64"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "imagenett"], "'imagenett': choose from imagenet, "),
        (["--dataset", "dtd,eurosat"], "the data set 'eurosat'"),
        (["--encoder", "aviary"], "the encoder 'aviary': choose from ViT-B-32-quickgelu:openai"),
        (["--method", "goal"], "the method 'goal': choose from clip, clip-e"),
        (["--method", "clip,CoOp"], "CoOp learns prompts from labelled pictures"),
        (["--dataset", "dtd,"], "--dataset must be names with commas"),
        (["--dataset", "imagenet-a", "--encoder", "ViT-L/14"], "of these together"),
        (["--method", "lgca"], "of these together"),
        (["nowhere"], "nowhere is not a folder"),
    ],
)
def test_what_is_unknown_is_named(work, words, message):
    assert message in refused("table", *words)


def test_show(full):
    status, out, err = lgca("show", "results/dtd|B-32")
    assert (status, err) == (0, "")
    for fact in (
        "2026-01-02 03:04:05 UTC", "c" * 40 + ", with changes that are not committed", "dtd, split test",
        "1880 pictures scored, 0 skipped", "d" * 64, "e" * 64, f"{B32}, activation not known, float16", "f" * 64,
        "cuda: a GPU", "12.5", "150.4", "1.50 GiB", "5.00 GiB", "numpy 2.0", '{"device": "cuda"}',
        hashlib.sha256(Path("results/dtd|B-32/predictions.parquet").read_bytes()).hexdigest(),
    ):  # fmt: skip
        assert fact in out, fact
    assert line(out, "lgca")[:2] == ["lgca", "50.8"]
    assert "results/deeper holds no record.json" in refused("show", "results/deeper")
    status, out, err = lgca()
    assert (status, err) == (0, "")
    assert all(command in out for command in ("table", "show", "check"))


def test_check(full):
    status, out, err = lgca("check", "results")
    assert (status, err) == (0, "")
    assert [text.split()[0] for text in out.splitlines() if "holds:" in text] == [
        "results/deeper/part",
        "results/dtd|B-32",
    ]
    path = Path("results/dtd|B-32/record.json")
    raw = json.loads(path.read_text())
    raw["runs"][0]["correct"] += 1
    path.write_text(json.dumps(raw))
    status, out, _ = lgca("check", "results")
    assert status == 2
    assert "holds:" in out
    fault = "results/dtd|B-32: clip, seed 0: "
    assert fault in refused("check", "results", printed=True)
    assert fault in refused("table")  # nothing is compared with a record that does not hold
    path.unlink()  # its predictions are still there
    assert "1 of 2 records do not hold" in refused("check", "results", printed=True)
    assert "results/bench holds no record" in refused("check", "results/deeper", "results/bench")
    assert "nowhere is not a folder" in refused("check", "nowhere")


def test_the_page_says_whether_records_of_the_papers_data_sets_are_committed():
    records = [load(folder)[0] for folder in find_records(ROOT / "results")]
    said = "none yet" in (ROOT / "results" / "README.md").read_text()
    assert said == (not any(record.dataset.name in paper_values.PUBLISHED_PICTURES for record in records))


def test_records_of_the_embedded_world_are_shown_behind_and_are_no_full_run(work):
    world = make({"clip": [300], "lgca": [400, 410]}, dataset="aviary", count=600, encoder="aviary-3:own")
    save(*world, "results/training-seeds/1")
    status, out, err = lgca("table")
    assert status == 0
    assert "results holds no record" in err
    tables = [text for text in out.splitlines() if ", " in text and "  " not in text and "Verdicts" not in text]
    assert tables[-1] == "aviary, aviary-3:own"
    assert line(out.partition("aviary, ")[2], "lgca")[:3] == ["lgca", NOT, "67.50"]
    assert "0 within, 0 above, 0 below" in out
    for format in ("csv", "json", "markdown"):
        assert lgca("table", "--dataset", "aviary", "--format", format)[0] == 0
