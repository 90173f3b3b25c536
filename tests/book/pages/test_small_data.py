"""Pages of data sets of a class or two and a picture or three: they say what they can, and nothing fails."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from lgca_book.pages import accuracy, pictures, released, significance as page
from lgca_book.sources import at_most
from lgca_book.studies import explorer_data, flops, significance
from lgca_core.evaluation import statistics
from support.records import full_record, toy_record


def test_a_record_without_wca_is_shown_and_compared_with_nothing():
    record, predictions = full_record({"clip": [1], "lgca": [2]}, count=3)
    assert accuracy.baseline(record) is None
    table = statistics.summary(record, predictions, accuracy.baseline(record))
    assert table["difference"].isna().all()
    assert "WCA was not run" in accuracy.verdict(table, "mine")
    accuracy.accuracy(table)
    assert accuracy.baseline(full_record({"wca": [1]}, count=1)[0]) == "wca"


def test_of_one_class_the_best_is_the_second_best():
    verdict = explorer_data._verdict(torch.tensor([0.25]), [0])
    assert (verdict.best, verdict.second, verdict.margin) == (0, 0, 0.0)
    told = pictures.verdicts({"WCA": torch.tensor([1.0, 0.0])}, torch.tensor([[1.0, 0.0]]), ["heron"], 0).data
    assert told["right"].tolist() == ["yes"] and told["ahead of the second by"].tolist() == [0.0]


def test_methods_that_never_differ_leave_no_number():
    record, predictions = toy_record({"wca": np.ones((1, 3)), "cupl": np.ones((1, 3))})
    table = significance.all_pairs({"toy": (record, predictions)})
    assert page.both_there(table, [("wca", "cupl"), ("lgca", "wca")]) == [("wca", "cupl")]
    assert significance.discordances(table, [("wca", "cupl")]) == {"wca and cupl": 0.0}
    limits = significance.resolution({"toy": 3}, {"wca and cupl": 0.5}, comparisons=1)
    assert math.isnan(limits["detectable"].iloc[0])
    assert "no number of points" in page.sentences_about_resolution(limits, "toy")


def test_another_seed_that_changes_nothing_is_no_measure():
    row = pd.Series({"changed": 1, "pictures": 3, "seeds": 1, "p": 1.0})
    row = pd.concat([row, pd.Series({"difference": 0.0, "difference_low": -0.1, "difference_high": 0.1})])
    said = released.sentence_about_change(row, "This", pd.Series({"changed": 0, "pictures": 3}))
    assert "where another seed alone changes none" in said
    unchanged = pd.DataFrame({"difference_low": [0.0], "difference_high": [0.0], "changed": [0], "pictures": [3]})
    assert "None of them changes a prediction" in released.sentence_about_differences(unchanged)


@pytest.mark.parametrize(
    ("encoder", "known"), [("ViT-B-32:file.pt", True), ("RN50:openai", False), ("hf-hub:a/b", False)]
)
def test_the_formula_is_given_where_it_is_for_the_encoder(encoder, known):
    assert (flops.formula_of(encoder) is not None) == known


@pytest.mark.parametrize(("count", "taken"), [(3, 3), (60, 60), (61, 31), (50_000, 60)])
def test_a_large_data_set_is_looked_at_in_part(count, taken):
    assert len(at_most(range(count), 60)) == taken
