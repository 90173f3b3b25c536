"""A report of a record: one page, whatever its names hold; its hardest pictures found again and drawn."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from lgca_core.errors import LgcaError
from lgca_core.evaluation import evaluate, report
from lgca_core.evaluation.predictions import completed
from lgca_core.evaluation.record import Path, save
from lgca_core.evaluation.report_page import to_html, to_markdown, visible
from lgca_core.lgca import LGCA
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.wca import WCA
from support.command_line import files, lgca, refused
from support.records import toy_record
from support.stub_encoder import noise_folders, rich

NASTY = ("<script>alert(1)</script>", "crab [adult] | `x`", "$\\badcmd$ o\u202ekapi")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Pictures of noise in three classes with names of markup, and a record of methods on them."""
    root = tmp_path_factory.mktemp("pictures") / "set"
    manifest = noise_folders(root, ("a", "b", "c"), [(40, 56), (48, 32), (30, 30)])
    manifest = replace(manifest, classes=NASTY, name="<b>set</b>")
    said = ClassPrompts(NASTY, ["a {}."], [[f"a {name}.", f"{name} so."] for name in NASTY])
    model = rich(name="rich <i>", sha256="0" * 64)
    model.logit_scale = 30.0
    options = {"seeds": (0, 1), "wca": WCA(n=5), "lgca": LGCA(n=4, steps=1)}
    record, predictions = evaluate.evaluate(manifest, model, ["clip", "wca", "lgca", "bifta"], said, **options)
    folder = tmp_path_factory.mktemp("records") / "run"
    return root, folder, save(record, predictions, folder), predictions


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.addresses, self.text, self._inside = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data):
        self.text += data


def test_a_page_needs_nothing_and_runs_nothing(world):
    root, _, record, predictions = world
    text = to_html(report.report_of(record, predictions, images=root))
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses) and page.addresses
    assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text
    assert "<script>alert(1)</script>" in page.text and "<b>set</b>" in page.text and "crab [adult] | `x`" in page.text
    assert "\u202e" not in text and "o\\u202ekapi" in page.text
    for heading in ("Methods", "Classes", "What is taken for what", "Calibration", "The hardest pictures", "What ran"):
        assert f"<h2>{heading}</h2>" in text


def test_markdown_keeps_names_as_text(world):
    _, _, record, predictions = world
    text = to_markdown(report.report_of(record, predictions))
    assert "<script>" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "crab \\[adult\\] \\| \\`x\\`" in text and "\\$\\\\badcmd\\$" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


@pytest.mark.parametrize("method", ["wca", "lgca", "bifta", "clip"])
def test_the_hardest_pictures_have_the_crops_that_the_method_began_with(world, method):
    root, _, record, predictions = world
    for picture in report.report_of(record, predictions, method=method, images=root).pictures:
        assert picture.image is not None
        width, height = picture.image.size
        identity = predictions.loc[predictions["path"] == picture.path, "image"].iloc[0]
        squares = WCA(n=5).boxes(height, width, 0, identity).tolist()
        local = report.draw(LGCA(n=4, steps=1).drawn(0), height, width, identity).tolist()
        assert picture.boxes == {"wca": squares, "bifta": squares, "lgca": local, "clip": []}[method]


def test_pictures_are_found_by_path_and_hash_or_said_to_be_missing(world, tmp_path):
    root, _, record, predictions = world
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    first, second, third = (of.path for of in report.report_of(record, predictions, method="wca").pictures[:3])
    (copy / "moved").mkdir()
    (copy / first).rename(copy / "moved" / Path(first).name)
    (copy / second).write_bytes((copy / third).read_bytes())
    (copy / third).unlink()
    found = report.report_of(record, predictions, method="wca", images=copy)
    by_path = {of.path: of for of in found.pictures}
    assert by_path[first].image is not None
    assert by_path[second].image is None and "no longer the picture that was evaluated" in by_path[second].missing
    assert by_path[third].image is None and "it is not below" in by_path[third].missing
    assert "2 of the" in found.notes[0]
    assert "without --images" in report.report_of(record, predictions, method="wca").notes[0]
    with pytest.raises(LgcaError, match="is not a folder"):
        report.report_of(record, predictions, images=tmp_path / "nowhere")


def test_a_record_reaches_no_file_outside_the_folder(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    sha256 = report.hash_of(tmp_path / "secret.png")
    for key in ("../secret.png", str(tmp_path / "secret.png"), "a\0b.png"):
        with pytest.raises(LgcaError, match="it is not below"):
            report.found_again(tmp_path / "inside", key, sha256)


def test_a_name_of_other_bytes_is_found(tmp_path):
    name = b"caf\xe9.png"
    (tmp_path / report.os.fsdecode(name)).write_bytes(b"x")
    found = report.found_again(tmp_path, "caf\\xe9.png", report.hash_of(tmp_path / report.os.fsdecode(name)))
    assert report.os.fsencode(found.name) == name


@pytest.mark.parametrize(
    "config",
    [
        {"look": "wca", "n": 10**12},
        {"look": "wca", "n": "many"},
        {"look": "wca", "wca": [1]},
        {"look": "lgca", "n": 3, "start": [1, 2, 3]},
        {"look": 3},
    ],
)
def test_settings_of_any_record_draw_boxes_or_none(config):
    assert report._first_boxes(config, 0, 40, 40, "0" * 64) == []


def test_of_many_classes_the_pairs_are_told_and_none_is_drawn():
    record, predictions = toy_record({"clip": np.array([1, 0, 0, 1])})
    many = [f"class {number}" for number in range(41)]
    record = record.model_copy(update={"dataset": record.dataset.model_copy(update={"classes": many})})
    predictions = predictions.assign(prediction=[0, 40, 40, 0])
    made = report.report_of(record, completed(predictions, many))
    text = to_html(made)
    assert made.confusion is None and 'aria-label="confusion"' not in text
    assert made.pairs[["label_name", "prediction_name", "times"]].to_numpy().tolist() == [["class 0", "class 40", 2]]
    assert "whole matrix is not drawn" in text and "Not available: the encoder does not say" in text
    assert to_markdown(made).count("class 40") == 4


def test_what_is_unseen_becomes_seen():
    assert visible("a\x1b[31m\u202eb\udce9\n") == "a\\x1b[31m\\u202eb\\udce9\\n"
    assert visible("می\u200cخواهم é 🦀") == "می\u200cخواهم é 🦀"


# ---- the command -------------------------------------------------------------------------------------------


def test_report_writes_one_file(world, tmp_path, monkeypatch):
    root, folder, _, _ = world
    monkeypatch.chdir(tmp_path)
    assert lgca("results", "report", folder, "--images", root) == (0, "report: run.html\n", "")
    assert lgca("results", "report", folder, "--out", "deep/run.md", "--method", "clip")[0] == 0
    assert files(tmp_path) == {"run.html", "deep", "deep/run.md"}
    assert "data:image/jpeg" in Path("run.html").read_text(encoding="utf-8")
    before = files(tmp_path)
    for words, message in (
        ([folder], "run.html is already there: .*--force"),
        ([folder, "--out", "run.pdf"], "run.pdf ends neither in .html nor in .md"),
        ([folder, "--out", "x.md", "--method", "goal"], "no method 'goal'; it has clip, wca, lgca, bifta"),
        ([folder, "--out", "x.md", "--images", "nowhere"], "nowhere is not a folder"),
        ([folder.parent, "--out", "x.md"], "holds no record.json"),
        (["x" * 300, "--out", "x.md"], "holds no record.json"),
        ([folder, "--out", "/proc/nope/x.md"], "/proc cannot be written"),
    ):
        assert re.search(message, refused("results", "report", *words))
    assert files(tmp_path) == before
    assert lgca("results", "report", folder, "--force")[0] == 0
    assert "without --images" in Path("run.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_page_fits_its_window_and_says_nothing_to_the_console(world, chromium, tmp_path, width, scheme):
    root, _, record, predictions = world
    (tmp_path / "page.html").write_text(to_html(report.report_of(record, predictions, images=root)), encoding="utf-8")
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(253, 253, 251)", "dark": "rgb(22, 23, 21)"}[scheme]
    assert not said and all(url.startswith(("file:", "data:")) for url in asked)
    context.close()
