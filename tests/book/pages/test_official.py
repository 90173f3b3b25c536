"""What the page says of WCA's released code is what the record of the comparison holds, or was measured elsewhere."""

import math

import pytest

from lgca_book.pages import official
from lgca_core.data.sources import SOURCES


@pytest.fixture
def record():
    return {
        "utc": "2026-01-02T03:04:05Z",
        "machine": {"accelerator": None, "processor": "A processor", "cores": 2},
        "code": {"main.py": "a" * 64, "helper.py": "b" * 64},
        "pictures": 50, "seeds": 3, "pool": 100, "n": 60, "runs": 20,
        "crops": {"compared": 15_150, "identical": 15_149},
        "largest_difference": {"weights": 3.14e-6, "logits": 0.0},
        "predictions": {"compared": 3000, "differ": 2},
        "own_boxes": {"points": -0.5, "interval": [-1.25, 0.25]},
        "hidden_share": {"share": 0.2, "interval": [-0.02, 0.35]},
        "half": {"compared": 3000, "differ": 27, "softmax_input": 0.0625},
    }  # fmt: skip


def test_the_agreement_is_the_record_s(record):
    html = official.agreement(record).to_html()
    for said in ("15,149 of 15,150", "3.1e−6", "2 of 3,000", "−0.50 (−1.25 to +0.25)"):
        assert f">{said}</td>" in html
    said = official.sentence_about_agreement(record)
    assert "aaaaaaaa" in said and "50 pictures" in said and "lgca bench official-wca --checkout DIR" in said


def test_the_share_of_accuracy_stands_beside_that_of_a_mean(record):
    said = official.sentence_about_hidden_accuracy(record)
    assert "was 20% (−2% to 35%), against 38% in a mean" in said
    record["hidden_share"] = {"share": None, "interval": None}
    assert "not available" in official.sentence_about_hidden_accuracy(record)


def test_what_else_differs(record):
    html = official.others(record).to_html()
    assert "9.0 of 1,000 predictions" in html and "0.062" in html
    assert f"{1 - math.sqrt(19 / 20):.1%} of it" in html
    assert f"α = {SOURCES['places365'].alpha}" in html and "ImageNet-R, -A, -Sketch" in html


def test_without_a_record_it_was_measured_elsewhere():
    said = official.sentence_about_agreement(official.ELSEWHERE)
    assert said.startswith("**Measured elsewhere**") and "lgca bench official-wca" in said
    assert "121,200 of 121,200" in official.agreement(official.ELSEWHERE).to_html()
    assert "was 19% (16% to 22%), against 38%" in official.sentence_about_hidden_accuracy(official.ELSEWHERE)
    assert "10.0 of 1,000" in official.others(official.ELSEWHERE).to_html()
