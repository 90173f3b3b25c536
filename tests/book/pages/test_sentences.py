"""Sentences that answer what a page asks, whichever way the numbers came out."""

import pandas as pd
import pytest

from lgca_book.pages import accuracy, curves, speed


def chains(*turns):
    """A lineage each: (right at first, right at last)."""
    rows = [
        {"picture": 0, "lineage": k, "step": step, "right": right, "margin": -0.25 + step / 2}
        for k, pair in enumerate(turns)
        for step, right in enumerate(pair)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        (
            [(False, True), (False, True), (True, False)],
            "**The rule**: more lineages turn right than turn wrong, 2 against 1",
        ),
        ([(True, False), (False, False)], "**The exception**: fewer lineages turn right than turn wrong, 0 against 1"),
        ([(True, False), (False, True)], "**Neither**: as many"),
    ],
)
def test_rule_or_exception(turns, said):
    found = curves.turned(chains(*turns))
    assert found.startswith(said) and "from −0.250 to +0.250" in found


def test_the_gap_to_clip_stands_beside_the_published_ones():
    said = accuracy.crops_bias(pd.DataFrame({"method": ["clip", "wca"], "top1": [0.36, 0.573]}), "birds")
    assert "is +21.3 points on <code>birds</code>" in said and "+1.4 to +9.8" in said
    assert accuracy.crops_bias(pd.DataFrame({"method": ["wca"], "top1": [0.5]}), "birds") == ""


def test_a_temperature_is_told_by_what_a_deviation_weighs():
    spread = pd.DataFrame(
        {"cosine": ["sentence and plain prompt", "crop and picture"], "temperature x deviation": [0, 1]}
    )
    said = accuracy.sentence_about_temperatures(spread)
    assert "a sentence one deviation above the mean weighs 1.0 times" in said and "weighs 2.7 times" in said
    assert "*not available*" in said


def test_the_newest_gain_over_the_peers_loop_is_told_in_words():
    def record(times, encoder="ViT-B-32-quickgelu"):
        return {"benchmark": "pipeline", "encoder": encoder, "precision": "float32", "device": "cpu"} | {
            "ratios": {"times_peers": times}
        }

    said = speed.peers_told([record(1.2), record(1.34), record(9.0, "aviary"), {"benchmark": "growth"}])
    assert "ViT-B-32-quickgelu in float32 on cpu 1.34 times; aviary in float32 on cpu 9.00 times" in said
    assert "not available" in speed.peers_told([])
