"""LISM against the truth, on boxes whose overlap can be worked out by hand."""

from pathlib import Path

import pytest

from lgca_core.related.captions.captioned import CaptionedPicture, Truth
from lgca_core.related.goal.localisation import localisation, localisation_table
from lgca_core.related.goal.pairs import Pair, PairedPicture

WHOLE = (0, 0, 100, 100)
TRUTHS = (
    Truth(0, 10, "habitat", None),
    Truth(11, 20, "wing", (0, 0, 10, 10)),
    Truth(21, 30, "wing", (0, 0, 20, 10)),
    Truth(31, 40, "eye", (50, 50, 60, 60)),
)
PAIRS = (
    Pair((40, 50, 60, 70), 30, 41, 0.4),  # the eye, a quarter of 20 x 20: IoU 1/4
    Pair((0, 0, 10, 10), 10, 21, 0.3),  # the first wing, with the blanks about it: IoU 1
    Pair((0, 0, 10, 10), 21, 30, 0.2),  # the second wing, half of it: IoU 1/2
)
A = CaptionedPicture("a", Path("a"), ("x" * 40,), TRUTHS)
B = CaptionedPicture("b", Path("b"), ("x" * 40,), TRUTHS[:2])
CANDIDATES = {"a": [WHOLE, (0, 0, 10, 10), (40, 50, 60, 70), (50, 50, 60, 65)], "b": [WHOLE, (0, 0, 5, 5)]}


def test_every_truth_is_held_against_the_pair_of_its_sentence():
    found = localisation([PairedPicture(A, PAIRS)], [A, B], lambda picture: CANDIDATES[picture.name])
    assert found["picture"].tolist() == ["a"] * 4 + ["b"] * 2
    assert found["about"].tolist() == ["habitat", "wing", "wing", "eye", "habitat", "wing"]
    assert found["paired"].tolist() == [False, True, True, True, False, False]
    boxed = found[found["iou"].notna()]
    assert boxed["iou"].tolist() == [1, 0.5, 0.25, 0]
    assert boxed["found"].tolist() == [True, True, False, False]
    assert boxed["best"].tolist() == pytest.approx([1, 0.5, 2 / 3, 0.25])
    assert boxed["nearest"].tolist() == [True, True, False, False]
    assert boxed["covered"].tolist() == [1, 0.5, 1, 0]
    assert boxed["chance"].tolist() == pytest.approx([1 / 3, 1 / 6, 2 / 3, 0.25])  # the first wing of b: 5 x 5 of it
    assert found["found"].isna().sum() == found["best"].isna().sum() == 2  # the habitats


def test_the_table_has_all_and_each_part():
    found = localisation([PairedPicture(A, PAIRS)], [A, B], lambda picture: CANDIDATES[picture.name])
    table = localisation_table(found)
    assert table.index.tolist() == ["all", "habitat", "wing", "eye"]
    assert table.loc["all"].tolist() == pytest.approx([4, 0.75, 0.5, 1.75 / 4, 0.5, 0.75, 2.5 / 4, 17 / 48])
    assert table.loc["wing"].tolist() == pytest.approx([3, 2 / 3, 2 / 3, 0.5, 2 / 3, 2 / 3, 0.5, 0.25])
    assert table.loc["habitat", "paired"] == 0 and table.loc["habitat", "found":].isna().all()
    assert table.columns.tolist() == [
        "sentences",
        "paired",
        "found",
        "iou",
        "nearest",
        "reachable",
        "covered",
        "chance",
    ]


def test_without_candidates_what_was_possible_is_not_known():
    table = localisation_table(localisation([PairedPicture(A, PAIRS)], [A]))
    assert table.loc["all", "found"] == pytest.approx(2 / 3)
    assert table[["nearest", "reachable", "chance"]].isna().all(axis=None)


def test_a_sentence_that_straddles_two_belongs_to_that_of_most_characters():
    pairs = (Pair((50, 50, 60, 60), 15, 40, 0.9),)
    found = localisation([PairedPicture(A, pairs)], [A])
    assert found["paired"].tolist() == [False, True, True, True]
    pairs = (Pair(WHOLE, 0, 14, 0.9), Pair((0, 0, 10, 10), 14, 40, 0.1))
    assert localisation([PairedPicture(A, pairs)], [A])["iou"].tolist()[1] == 1
