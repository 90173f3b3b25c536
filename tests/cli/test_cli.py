"""The command line: what it prints, what it writes, and one sentence for whatever is wrong with the input."""

import json
import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from lgca_core.cli import options
from lgca_core.cli.output import report
from lgca_core.data import folders
from lgca_core.data.manifest import Manifest
from lgca_core.data.table import DATASETS, Entry, Facts
from lgca_core.errors import LgcaError
from lgca_core.evaluation import machine, parts, statistics
from lgca_core.evaluation.record import RECORD, load as load_record
from lgca_core.methods import METHODS
from support.command_line import files, lgca, refused
from support.shared import ROOT
from support.stub_encoder import header_of_png

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
DESCRIPTIONS = {name: [f"a {name} thing.", f"{name} all over."] for name in COLOURS}
FEW = ["--n", "4", "--seeds", "2"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    """SPEC of a small random CLIP: an architecture of our own and a checkpoint of it."""
    folder = tmp_path_factory.mktemp("tiny")
    config = {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    }
    (folder / "tiny-cli.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / "tiny-cli.json")
    torch.manual_seed(0)
    save_file(open_clip.create_model("tiny-cli").state_dict(), folder / "tiny.safetensors")
    return f"tiny-cli:{folder / 'tiny.safetensors'}"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory with coloured pictures, class by class, and their descriptions."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (tmp_path / "things" / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.clip(rng.normal(colour, 40, size=(40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "things" / name / f"{number}.png")
    (tmp_path / "things.json").write_text(json.dumps(DESCRIPTIONS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(tiny, *words):
    return ["evaluate", "--encoder", tiny, "--device", "cpu", *FEW, *words]


def encode(tiny, *words):
    return ["encode", *evaluate(tiny, *words)[1:]]


THINGS = ["--images", "things", "--descriptions", "things.json"]


# ---- help --------------------------------------------------------------------------------------------------


def test_help_teaches():
    status, out, err = lgca("--help")
    assert (status, err) == (0, "")
    for command in ("classify", "evaluate", "encoders", "datasets", "prompts"):
        assert command in out
    assert lgca()[1] == out
    for command in (["classify"], ["evaluate"], ["prompts", "check"]):
        status, out, _ = lgca(*command, "--help")
        assert status == 0
        assert f"lgca {' '.join(command)} " in out.split("Examples")[1]
    assert lgca("--version")[1].startswith("lgca ")


def test_help_does_not_wait_for_torch():
    code = "import lgca_core.cli, sys; sys.exit({'torch', 'open_clip', 'pandas'} & set(sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


# ---- evaluate ----------------------------------------------------------------------------------------------


def test_evaluate_writes_a_record_and_a_table(work, tiny):
    status, out, err = lgca(*evaluate(tiny, *THINGS))
    assert (status, err) == (0, "")
    [line] = [line for line in out.splitlines() if line.startswith("record: ")]
    folder = Path(line.removeprefix("record: "))
    assert re.fullmatch(r"runs/things-\d{8}T\d{6}Z", str(folder))
    record, predictions = load_record(folder)
    assert [run.method for run in record.runs if run.seed == 0] == ["wca", "lgca", "cupl", "clip"]
    assert record.seeds == [0, 1]
    assert record.encoder.name.startswith("tiny-cli")
    assert record.encoder.weights_sha256 is not None
    assert record.runs[0].config["n"] == record.runs[2].config["n"] == 4
    assert record.runs[2].config["steps"] == 3
    table = statistics.summary(record, predictions).set_index("method")
    for method, row in table.iterrows():
        [shown] = [line for line in out.splitlines() if line.split() and line.split()[0] == method]
        assert f" {100 * row['top1']:.1f} " in shown
        assert f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" in shown
        assert f" {row['passes']:g} " in shown + " "
    assert "knows only" not in out  # a foreign encoder
    assert "\x1b" not in out


def test_on_a_narrow_terminal_the_comparison_is_a_table_of_its_own(work, tiny):
    assert lgca(*evaluate(tiny, *THINGS, "--method", "wca-released,wca", "--out", "run"))[0] == 0
    shown, rows = {}, {}
    for width in (80, 160):
        said = StringIO()
        report(Console(width=width, file=said), *load_record("run"))
        shown[width] = said.getvalue().splitlines()
        rows[width] = [line.split() for line in shown[width] if "wca-released " in line]
    [whole] = rows[160]
    first, *others = rows[80]
    assert others and first + [cell for row in others for cell in row[1:]] == whole
    assert max(map(len, shown[80])) <= 80


def test_settings_reach_the_methods(work, tiny):
    named = "lgca:rho=0.25:gamma=1.5:start=0.2-0.4:saliency=stratified:lam=last:growth=free:whole_image=true"
    status, _, err = lgca(*evaluate(tiny, *THINGS, "--out", "here", "--method", named))
    assert status == 0, err
    config = load_record("here")[0].runs[0].config
    asked = {
        "n": 4,
        "rho": 0.25,
        "gamma": 1.5,
        "start": [0.2, 0.4],
        "saliency": "stratified",
        "lam": "last",
        "growth": "free",
        "whole_image": True,
    }
    assert {key: config[key] for key in asked} == asked


def test_records_are_not_overwritten(work, tiny, monkeypatch):
    from lgca_core.evaluation import evaluate as module

    def late(*_args, **_kwargs):
        raise AssertionError("refused only after the work was done")

    quick = evaluate(tiny, *THINGS, "--method", "clip", "--out", "kept")
    assert lgca(*quick)[0] == 0
    before = (work / "kept" / RECORD).read_text()
    with monkeypatch.context() as patched:
        patched.setattr(module, "evaluate", late)
        assert "--force" in refused(*quick)
    assert (work / "kept" / RECORD).read_text() == before
    assert lgca(*quick, "--force")[0] == 0
    (work / "kept" / "mine.txt").write_text("x")
    assert "other files" in refused(*quick, "--force")


def test_runs_that_begin_in_the_same_second_keep_both_records(work, tiny, monkeypatch):
    from lgca_core.cli import evaluate as command

    monkeypatch.setattr(command, "_run_name", lambda manifest, utc: "now")
    for _ in range(3):
        assert lgca(*evaluate(tiny, *THINGS, "--method", "clip"))[0] == 0
    assert {path.name for path in Path("runs").iterdir()} == {"now", "now-2", "now-3"}


def test_the_record_says_which_prompts_are_the_user_s(work, tiny):
    assert lgca(*evaluate(tiny, *THINGS, "--method", "clip", "--out", "run"))[0] == 0
    assert load_record("run")[0].parameters["own_prompts"] == ["descriptions"]


def test_a_part_without_pictures_does_not_load_the_model(work, tiny, monkeypatch):
    monkeypatch.setattr(options, "load", lambda *_: pytest.fail("the model was loaded"))
    status, out, _ = lgca(*encode(tiny, *THINGS, "--part", "1/2"))
    assert status == 0 and out.startswith("part 1/2 of things: nothing to encode")


def test_a_part_fills_the_store_and_then_no_picture_is_encoded(work, tiny):
    given = [*THINGS, "--method", "wca,lgca,clip"]
    words = evaluate(tiny, *given)
    status, out, err = lgca(*encode(tiny, *given))
    assert (status, err) == (0, "")
    passes, place = re.fullmatch(r"part 1/1 of things: 6 pictures, (\d+) image passes, \d+\.\d s; (.+)\n", out).groups()
    assert place == os.environ["LGCA_STORE"]
    assert not Path("runs").exists()
    for more, encoded in (["--no-store", "--out", "without"], int(passes)), (["--out", "with"], 0):
        assert lgca(*words, *more)[0] == 0
        assert load_record(more[-1])[0].image_passes == encoded
    assert int(passes) > 0
    assert "6 pictures, 0 image passes" in lgca(*encode(tiny, *given))[1]


def test_the_record_keeps_what_its_parts_took(work, tiny):
    asked = [*THINGS, "--method", "wca,clip", "--n", "4"]
    words = evaluate(tiny, *asked)
    for k in (1, 2):  # the first is without pictures: there is one shard
        assert lgca(*encode(tiny, *asked), "--part", f"{k}/2", "--out", f"parts/{k}.json")[0] == 0
    empty, full = (parts.load_part(f"parts/{k}.json") for k in (1, 2))
    assert (empty.pictures, empty.image_passes, empty.device) == (0, 0, None)
    assert full.pictures == 6 and full.image_passes > 6 and full.seconds > 0 and full.device

    given = ["--parts", "parts/1.json", "--parts", "parts/2.json"]
    status, out, _ = lgca(*words, *given, "--out", "whole")
    assert (
        status == 0
        and f"0 image passes, after 2 parts with {full.image_passes} in {full.seconds:.1f} s." in " ".join(out.split())
    )
    record, _ = load_record("whole")
    assert record.parts == [empty, full] and record.image_passes == 0
    assert record.image_passes_in_all == full.image_passes
    assert record.seconds_in_all == record.seconds + full.seconds
    assert f"2, with {full.image_passes} passes of crops" in " ".join(lgca("results", "show", "whole")[1].split())

    for wrong, message in (
        (["--part", "2/2", "--out", "parts/2.json"], "parts/2.json is already there"),
        (["--part", "2/2", "--out", "parts"], "parts is a folder"),
        (["--parts", "parts/3.json"], "parts/3.json cannot be read"),
        (["--parts", "things.json"], "things.json"),
        ([*given, *given], "part 1/2 is there twice"),
        ([*given, "--encoder", "aviary"], "another encoder, tiny-cli:"),
        ([*given, "--dataset", "aviary"], "encode it again for aviary"),
        ([*given, "--no-store"], "--parts tells who filled the store"),
        (["--part", "2/2", "--out", "things.json/part.json"], "things.json is a file"),
    ):
        pictures = THINGS if "--dataset" not in wrong else []
        command = encode if "--part" in wrong else evaluate
        status, _, err = lgca(*command(tiny, *pictures, "--method", "clip"), *wrong)
        assert status == 2 and message in " ".join(err.split()), err
    assert parts.load_part("parts/2.json") == full and sorted(os.listdir("parts")) == ["1.json", "2.json"]
    assert lgca(*encode(tiny, *asked), "--part", "2/2", "--out", "parts/2.json", "--force")[0] == 0
    assert parts.load_part("parts/2.json").image_passes == 0


def test_options_of_memory_and_of_prompts_reach_the_evaluation_and_change_no_answer(work, tiny, monkeypatch):
    from lgca_core.evaluation import evaluate as module

    load, run, seen = options.load, module.evaluate, []
    monkeypatch.setattr(options, "load", lambda *given: seen.append(load(*given)) or seen[-1])
    monkeypatch.setattr(module, "evaluate", lambda *given, **named: seen.append(named) or run(*given, **named))
    Path("templates.json").write_text(json.dumps(["a {}.", "one {}, far away."]))
    words = evaluate(tiny, *THINGS, "--method", "clip-e,wca,lgca", "--templates", "templates.json")
    assert lgca(*words, "--out", "usual")[0] == 0
    store = Path(os.environ["LGCA_STORE"])
    assert files(store)
    shutil.rmtree(store)
    small = ["--no-store", "--batch-size", "3", "--chunk", "2", "--workers", "2", "--out", "small"]
    assert lgca(*words, *small)[0] == 0
    model, named = seen[2:]
    assert (model.batch_size, model.workers, named["chunk"]) == (3, 2, 2)
    assert not store.exists()
    (usual, expected), (record, predictions) = (load_record(name) for name in ("usual", "small"))
    assert record.parameters["own_prompts"] == ["templates", "descriptions"]
    assert record.prompts_sha256 == usual.prompts_sha256
    assert record.text_passes == 6 + 3 + 2 * 3  # descriptions, plain prompts, both templates of three names
    pd.testing.assert_frame_equal(predictions, expected, atol=1e-3)  # the store rounds


def test_a_full_device_is_one_sentence(work, tiny, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")

    monkeypatch.setattr(options, "load", full)
    said = refused(*evaluate(tiny, *THINGS, "--method", "clip"))
    assert said == "error: the device's memory is full: lower --batch-size or --chunk\n"


@pytest.mark.parametrize(
    ("dataset", "alpha"), [("places365:/a/copy", 0.7), ("pets", 0.5), ("aviary", 0.5), (None, 0.5)]
)
def test_a_data_set_has_the_least_crop_that_its_paper_sets(dataset, alpha):
    wca, lgca = options.wca_and_lgca(4, dataset)
    assert (wca.alpha, wca.beta, wca.n, lgca.n) == (alpha, 0.9, 4, 4)


def test_skipped_pictures_are_listed(work, tiny):
    whole = (work / "things" / "red" / "0.png").read_bytes()
    (work / "things" / "red" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (work / "things" / "red" / "words.jpg").write_text("no picture")
    quick = evaluate(tiny, *THINGS, "--method", "clip", "--out", "run")
    message = refused(*quick)
    assert "cut.png" in message
    assert "--on-error skip" in message
    assert not (work / "run").exists()
    status, out, _ = lgca(*quick, "--on-error", "skip")
    assert status == 0
    assert "Skipped 2" in out
    assert [skip.path for skip in load_record("run")[0].skipped] == ["red/cut.png", "red/words.jpg"]


def toys(copy, on_error) -> Manifest:
    return folders.folder("things", name="aviary-toys")


def facts() -> Facts:
    return Facts("all", 6, 3, "MIT", "none", Path("things"))


def test_a_data_set_brings_its_own_descriptions(work, tiny, monkeypatch):
    made = Entry("toys", toys, facts, lambda: DESCRIPTIONS)
    monkeypatch.setitem(DATASETS, "toys", made)
    status, out, err = lgca(*evaluate(tiny, "--dataset", "toys", "--method", "cupl,clip-e,waffle", "--out", "run"))
    assert (status, err) == (0, "")
    assert "minus wca" not in out
    assert load_record("run")[0].dataset.name == "aviary-toys"


def test_embedded_encoder_says_what_it_knows(work, monkeypatch):
    quick = ["evaluate", *FEW, "--method", "clip"]
    status, out, _ = lgca(*quick, *THINGS, "--encoder", "aviary")
    assert status == 0
    assert "knows only the painted birds" in out
    own = Entry("its own", toys, facts, lambda: DESCRIPTIONS)
    monkeypatch.setitem(DATASETS, "aviary-toys", own)
    assert "knows only" not in lgca(*quick, "--dataset", "aviary-toys")[1]
    words = ["classify", "things/red/0.png", "--classes", "red,blue", "--n", "4"]
    assert "knows only" in lgca(*words, "--encoder", "aviary")[1]


def test_who_names_no_encoder_is_told_which_there_are(work, tiny, monkeypatch):
    words = ["classify", "things/red/0.png", "--classes", "red,blue", "--method", "clip", "--json"]
    for asked in (words, ["evaluate", *THINGS], ["encode", *THINGS], ["evaluate", "--dataset", "pets"]):
        said = refused(*asked)
        assert all(name in said for name in ("ViT-B-32-quickgelu:openai", "ViT-L-14", "aviary", "config.toml"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(work / "config"))
    file = work / "config" / "lgca" / "config.toml"
    file.parent.mkdir(parents=True)
    for text, wrong in (("encoder =", "TOML"), ("encoder = 3", "3"), ("colour = 'red'", "colour"), ("\xff", "TOML")):
        file.write_bytes(text.encode("latin-1"))
        assert "config.toml" in refused(*words) and wrong in refused(*words)
    file.write_text(f"encoder = {json.dumps(tiny)}")
    assert json.loads(lgca(*words)[1])["encoder"].startswith("tiny-cli")
    monkeypatch.setenv("LGCA_ENCODER", "aviary")
    assert json.loads(lgca(*words)[1])["encoder"] == "aviary"
    assert json.loads(lgca(*words, "--encoder", tiny)[1])["encoder"].startswith("tiny-cli")


# ---- classify ----------------------------------------------------------------------------------------------


def test_classify_prints_a_table_or_json(work, tiny):
    quick = ["classify", "things/red/0.png", "things/blue/1.png", "--encoder", tiny, "--n", "4"]
    status, out, err = lgca(*quick, "--descriptions", "things.json", "--top", "2")
    assert (status, err) == (0, "")
    assert "things/red/0.png" in out
    assert len([line for line in out.splitlines() if re.search(r"0\.\d{4}", line)]) == 4
    status, out, err = lgca(*quick, "--classes", "red,green,blue", "--descriptions", "things.json", "--json")
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert answer["method"] == "lgca"
    assert answer["notes"] == []
    assert [picture["path"] for picture in answer["pictures"]] == ["things/red/0.png", "things/blue/1.png"]
    for picture in answer["pictures"]:
        assert {row["name"] for row in picture["classes"]} == set(COLOURS)
        scores = [row["score"] for row in picture["classes"]]
        assert scores == sorted(scores, reverse=True)


def test_classify_without_descriptions_says_so(work, tiny):
    quick = [
        "classify",
        "things/red/0.png",
        "--encoder",
        tiny,
        "--n",
        "4",
        "--classes",
        "red,green",
        "--json",
    ]
    assert "templates" in json.loads(lgca(*quick)[1])["notes"][0]
    assert json.loads(lgca(*quick, "--method", "clip")[1])["notes"] == []


def test_one_pixel_is_a_picture(work, tiny):
    Image.new("RGB", (1, 1), "red").save("dot.png")
    status, out, err = lgca("classify", "dot.png", "--encoder", tiny, "--classes", "red,green", "--method", "lgca")
    assert (status, err) == (0, "")
    assert "dot.png" in out


# ---- lists and checks --------------------------------------------------------------------------------------


def test_lists():
    status, out, err = lgca("datasets")
    assert (status, err) == (0, "")
    assert all(name in out for name in DATASETS)
    status, out, err = lgca("methods")
    assert (status, err) == (0, "")
    assert all(f" {name} " in out and of.summary in out for name, of in METHODS.items())
    assert "settings of lgca, lgca-equal:\n  n, steps," in out and "but lgca-equal decides n itself\n" in out
    status, out, err = lgca("encoders")
    assert (status, err) == (0, "")
    assert "ViT-B-32-quickgelu" in out


def test_prompts_check(work):
    assert lgca("prompts", "check", "things.json", "--images", "things") == (
        0, "things.json: 3 classes, 6 sentences, 2 to 2 a class\n", ""
    )  # fmt: skip
    describe({**DESCRIPTIONS, "blue": ["1.", "a blue thing."]})
    assert lgca("prompts", "check", "things.json")[1] == (
        "things.json: 3 classes, 6 sentences, 2 to 2 a class\n"
        "1 of them are a single word or less; the first: '1.' of 'blue'\n"
    )
    assert "no descriptions for 'pink'" in refused("prompts", "check", "things.json", "--classes", "red,pink")
    assert "not both" in refused("prompts", "check", "things.json", "--classes", "red", "--images", "things")
    assert "--images names no folder" in refused("prompts", "check", "things.json", "--images", "")


# ---- bad input ---------------------------------------------------------------------------------------------


def cut_jpeg() -> bytes:
    from io import BytesIO

    stream = BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "JPEG")
    return stream.getvalue()[:1500]


BAD_PICTURES = {
    "words.jpg": (b"not a picture", "not a picture"),
    "cut.jpg": (cut_jpeg(), "cut short"),
    "huge.png": (header_of_png(20_000, 20_000), "20,000|400,000,000"),
    "empty.png": (b"", "empty"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_bad_pictures(work, tiny, name, command):
    content, message = BAD_PICTURES[name]
    file = work / "things" / "green" / name
    file.write_bytes(content)
    before = files(work)
    words = (
        evaluate(tiny, *THINGS, "--method", "clip")
        if command == "evaluate"
        else ["classify", "things/red/0.png", file, "--encoder", tiny, "--classes", "red,green", "--n", "2"]
    )
    if command == "evaluate":
        sentence = refused(*words)
    else:
        status, out, sentence = lgca(*words)
        assert status == 1 and "things/red/0.png" in out and sentence.count("\n") == 1
        assert name in refused(*words, "--on-error", "raise", printed=True)
    assert name in sentence
    assert re.search(message, sentence)
    assert files(work) == before


def describe(content) -> None:
    Path("things.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("arrange", "words", "message"),
    [
        (lambda: Path("void").mkdir(), ["--images", "void"], "void is empty"),
        (lambda: None, ["--images", "nowhere"], "nowhere does not exist"),
        (lambda: None, ["--images", "things.json"], "things.json is a file"),
        (lambda: None, ["--images", "things/red"], "things/red holds no class folders"),
        (lambda: None, ["--images", ""], "--images names no folder"),
        (lambda: describe({**DESCRIPTIONS, "blue": []}), [], "'blue' has no descriptions"),
        (lambda: describe({"red": ["r"], "green": ["g"]}), [], "no descriptions for 'blue'"),
        (lambda: describe({**DESCRIPTIONS, "bleu": ["x"]}), [], "describes 'bleu'.*did you mean 'blue'"),
        (lambda: describe([1]), [], "things.json holds a JSON list"),
        (lambda: None, ["--descriptions", "none.json"], "none.json does not exist"),
        (lambda: None, ["--method", "lgca,goal"], "no method 'goal': choose from clip, "),
        (lambda: None, ["--method", "clip,,wca"], "--method must be names"),
        (lambda: None, ["--method", "clip-d"], "--descriptors"),
        (lambda: None, ["--dataset", "aviary"], "either --images FOLDER or --dataset NAME"),
        (lambda: None, ["--out", "things"], "things holds other files"),
        (lambda: None, ["--out", "things.json"], "things.json is a file"),
        (lambda: None, ["--on-error", "pray"], "raise.*skip"),
        (lambda: None, ["--device", "abacus"], "auto.*cpu.*cuda"),
        (lambda: None, ["--precision", "int4"], "float32.*bfloat16.*float16"),
        (lambda: None, ["--n", "0"], "--n"),
        (lambda: None, ["--seeds", "many"], "--seeds"),
        (lambda: None, ["--colour"], "--colour"),
        (lambda: None, ["--encoder", "tiny-cli:gone.safetensors"], "gone.safetensors"),
        (lambda: None, ["--encoder", "ViT-B-33:openai"], "ViT-B-3"),
        (lambda: None, ["--encoder", "ViT-B-32-quickgelu:opanai"], "openai"),
    ],
)
def test_bad_requests(work, tiny, arrange, words, message):
    arrange()
    before = files(work)
    sentence = refused(*evaluate(tiny, *THINGS, "--method", "clip,cupl,wca,lgca", *words))
    assert re.search(message, sentence)
    assert files(work) == before


@pytest.mark.parametrize(
    ("part", "message"),
    [("5/4", "no part 5 of 4"), ("two", "--part must be two numbers such as 2/8"), ("0/2", "part 0")],
)
def test_parts_that_there_are_not(work, tiny, part, message):
    before = files(work)
    assert message in refused(*encode(tiny, *THINGS, "--part", part))
    assert files(work) == before


def test_a_checkpoint_of_another_architecture(work, tiny):
    config = json.loads(Path(tiny.partition(":")[2]).with_name("tiny-cli.json").read_text())
    config["vision_cfg"]["layers"] = 2
    (work / "tiny-deep.json").write_text(json.dumps(config))
    open_clip.add_model_config(work / "tiny-deep.json")
    spec = "tiny-deep:" + tiny.partition(":")[2]
    sentence = refused("classify", "things/red/0.png", "--classes", "red,green", "--encoder", spec)
    assert "tiny.safetensors" in sentence


def test_no_network(work, tiny, monkeypatch):
    from open_clip import pretrained

    def unreachable(*_args, **_kwargs):
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr(pretrained, "download_pretrained", unreachable)
    before = files(work)
    sentence = refused(*evaluate(tiny, *THINGS, "--method", "clip", "--encoder", "ViT-B-32-quickgelu:openai"))
    assert "name resolution" in sentence
    assert "ViT-B-32-quickgelu:/path/to/file" in sentence
    assert files(work) == before


def test_neither_images_nor_data_set(work, tiny):
    assert "either --images FOLDER or --dataset NAME" in refused(*evaluate(tiny))
    assert "did you mean aviary-night" in refused(*evaluate(tiny, "--dataset", "aviary-nigth"))
    assert "known are aviary, " in refused(*evaluate(tiny, "--dataset", ""))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["things/red/0.png"], "no classes given"),
        (["things/red/0.png", "--classes", "red"], "at least two different classes"),
        (["things/red/0.png", "--classes", "red,red"], "at least two different classes"),
        (["things/red/0.png", "--classes", "red,,green"], "--classes must be names"),
        (["nowhere.png", "--classes", "red,green"], "nowhere.png is not a file"),
        (["things.json", "--classes", "red,green"], "things.json"),
        (["void", "--classes", "red,green"], "void holds no pictures"),
        (["*.tiff", "--classes", "red,green"], "matches no file"),
        (["things", "--classes", "names.txt"], "no file names.txt"),
        (["things", "--classes", "red,green", "--json", "--format", "csv"], "not both"),
        (["things", "--classes", "red,none", "--none-below", "0.5"], "is called 'none'"),
        (["things", "--classes", "red,green", "--independent"], "no bias"),
        (["--classes", "red,green"], "PHOTO"),
        (["things/red/0.png", "--classes", "red,green", "--method", "goal"], "choose from clip"),
        (["things/red/0.png", "--classes", "red,green", "--top", "0"], "--top"),
    ],
)
def test_bad_requests_to_classify(work, tiny, words, message):
    Path("void").mkdir()
    assert message in refused("classify", "--encoder", tiny, *words)


def test_unknown_command():
    assert "clasify" in refused("clasify")


def test_a_run_that_cannot_be_written_leaves_nothing(work, tiny, monkeypatch):
    from lgca_core.evaluation import record as module

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Path, "write_bytes", full)
    before = files(work)
    assert "No space left" in refused(*evaluate(tiny, *THINGS, "--method", "clip", "--out", "run"))
    assert files(work) == before


# ---- GPUs --------------------------------------------------------------------------------------------------


def test_processes_side_by_side_claim_different_gpus(monkeypatch, tmp_path):
    chosen = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: SimpleNamespace(uuid=f"u{index}"))
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    first, second = machine.claim_gpu(), machine.claim_gpu()
    assert chosen == [0, 1]
    with pytest.raises(LgcaError, match="every GPU is claimed"):
        machine.claim_gpu()
    first.release()
    third = machine.claim_gpu()
    assert chosen == [0, 1, 0]
    for lock in (second, third):
        lock.release()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone" / "file"))
    (tmp_path / "gone").touch()
    with pytest.raises(LgcaError, match=r"cannot claim a GPU .*set TMPDIR"):
        machine.claim_gpu()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert machine.claim_gpu() is None
