"""What every page is made of: names, badges, figures with their downloads."""

import base64
import re
from datetime import UTC, datetime
from io import BytesIO, StringIO

import pandas as pd
import pytest
from PIL import Image

from lgca_book import style
from lgca_core.evaluation.parts import EncoderInfo
from lgca_core.evaluation.record import Dataset, Record
from support.stub_encoder import noise_folders, stub


def files(html: str) -> dict[str, bytes]:
    """What can be downloaded, and what is shown: name -> content."""
    found = re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', html)
    shown = re.findall(r'<img src="data:[^;]+;base64,([^"]+)"', html)
    return {name: base64.b64decode(data) for name, data in [*found, *(("shown", data) for data in shown)]}


def drawn():
    figure, ax = style.subplots()
    ax.plot([1, 2])
    return figure


def test_a_plate_shows_its_figure_and_hands_out_the_data():
    data = pd.DataFrame({"x": [1.5, 2.5], "y": ["a", "b"]})
    html = style.plate(drawn(), "fig", 'of "a" & b', data).data
    held = files(html)
    assert 'alt="of &quot;a&quot; &amp; b"' in html
    assert held["shown"] == held["fig.svg"] and b"<svg" in held["fig.svg"]
    assert pd.read_csv(StringIO(held["fig.csv"].decode())).equals(data)
    assert style.plate(drawn(), "fig", "again", data).data.count("base64") == 3


def test_a_plate_of_pictures_shows_pixels_and_without_data_hands_out_none():
    held = files(style.plate(drawn(), "fig", "alt", pixels=True).data)
    assert set(held) == {"shown", "fig.svg"}
    assert Image.open(BytesIO(held["shown"])).format == "WEBP"


def test_a_plate_is_the_same_every_time():
    assert style.plate(drawn(), "fig", "alt").data == style.plate(drawn(), "fig", "alt").data


def test_a_method_s_settings_stand_behind_its_name():
    assert style.name("lgca-equal:steps=1:rho=0.25") == "LGCA (our reading), equal passes; steps=1; rho=0.25"
    assert style.name("somebody-s") == "somebody-s"


def test_a_badge_says_what_stands_in_for_what(tmp_path):
    manifest = noise_folders(tmp_path, ["wren", "yak"])
    plain = style.badge("embedded", manifest, stub(), wanted="embedded", how="make <it>").data
    assert "embedded world" in plain and "2 pictures in 2 classes" in plain and "instead" not in plain
    stand_in = style.badge("embedded", manifest, wanted="full", how="make <it>").data
    assert "no record on real CLIP" in stand_in and "<code>make &lt;it&gt;</code>" in stand_in


def record(name: str, commit: str = "a" * 40) -> Record:
    return Record.model_construct(
        utc=datetime(2026, 1, 2, tzinfo=UTC),
        commit=commit,
        dirty=False,
        dataset=Dataset.model_construct(name=name, count=7, classes=["wren"]),
        encoder=EncoderInfo.model_construct(name="small", precision="float32"),
    )


def test_a_badge_tells_records_of_one_run_together():
    said = style.badge("full", record("day"), record("night"), record("old", "b" * 40)).data
    assert said.count("aaaaaaaaaa") == said.count("bbbbbbbbbb") == 1
    assert said.index("<code>day</code>") < said.index("<code>night</code>") < said.index("bbbbbbbbbb")
    assert said.count("7 pictures in 1 classes") == 3


@pytest.mark.parametrize(
    ("value", "text"), [(0.0004, "0.000"), (-0.0004, "0.000"), (-0.0312, "−0.031"), (1.5, "+1.500")]
)
def test_what_rounds_to_zero_has_no_sign(value, text):
    assert style.with_sign(value, 3) == text
