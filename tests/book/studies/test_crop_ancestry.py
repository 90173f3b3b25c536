"""Crops followed through expansions, the spread of cosines, and the tables and figures that show them."""

import math
import re
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lgca_book.pages import accuracy, curves, pictures
from lgca_book.studies.cosine_spread import cosine_spread
from lgca_book.studies.crop_ancestry import ancestors, boxes_of, lineages, most_misleading, scores_of
from lgca_core.boxes import iou
from lgca_core.class_vectors import encode_classes
from lgca_core.data.folders import folder
from lgca_core.data.manifest import every_nth
from lgca_core.errors import LgcaError
from lgca_core.evaluation.record import save
from lgca_core.lgca import LGCA
from lgca_core.pixels.pictures import open_picture
from lgca_core.views import Views
from lgca_core.wca import WCA
from support.records import toy_record as make
from support.stub_encoder import noise, patches, rich, stub


@pytest.fixture
def manifest(tmp_path):
    """A red and a green picture, the red one with a green corner that misleads."""
    for name, colour in (("green", (0, 255, 0)), ("red", (255, 0, 0))):
        (tmp_path / name).mkdir()
        corner = ((0, 0, 30, 30), (0, 255, 0)) if name == "red" else ((0, 0, 1, 1), (0, 200, 0))
        patches(64, 64, ((0, 0, 64, 64), colour), corner).save(tmp_path / name / "0.png")
    return folder(tmp_path)


def test_an_ancestor_holds_its_descendant():
    views = Views(rich(), [noise(60, 90, seed) for seed in (0, 1)])
    trace = LGCA(n=16, steps=3).trace(views, ["a", "b"], 0)
    for b in range(2):
        chains = ancestors(trace, b)
        assert chains.shape == (2, 4)
        for chain in chains:
            boxes = [step.boxes[b, i] for step, i in zip(trace.steps, chain)]
            for small, large in pairwise(boxes):
                assert (large[:2] <= small[:2]).all()
                assert (large[:2] + large[2:] >= small[:2] + small[2:]).all()
                assert iou(small[None], large[None]) > 0.3


def test_margins_are_of_the_crop_alone_and_the_rule_picks_the_lowest_at_step_0(manifest):
    encoder = stub()
    matrix = encode_classes(encoder, [[name] for name in manifest.classes])
    look = LGCA(n=12, steps=2, start=(0.2, 0.3), gamma=1.6, rho=1)
    chains = lineages(manifest, manifest.items, encoder, look, matrix, seed=0)
    assert len(chains) == 2 * 12 * 3
    row = chains[(chains["picture"] == 1) & (chains["step"] == 1)].iloc[3]
    picture = open_picture(manifest.items[1].path)
    box = torch.tensor([[row["top"], row["left"], row["height"], row["width"]]])
    k = Views(encoder, [picture]).encode([box])[0][0]
    scores = k @ matrix.T
    assert row["margin"] == pytest.approx(float(scores[1] - scores[0]), abs=1e-6)
    assert row["right"] == (row["margin"] > 0)

    example = most_misleading(chains)
    first = chains[chains["step"] == 0]
    assert example["step"].tolist() == [0, 1, 2]
    assert example["margin"][0] == first["margin"].min() < 0
    assert (example["best"][0], example["rival"][0]) == ("green", "green")
    assert example["margin"][2] > example["margin"][0]  # it grew out of the green corner

    turned = curves.turning(chains).set_index("lineages that are")
    assert turned["count"].sum() == 24 and turned["share of all"].sum() == pytest.approx(1)
    last = chains[chains["step"] == 2]["right"].to_numpy()
    assert turned["count"]["turns right"] == (~first["right"].to_numpy() & last).sum()


def test_the_spread_of_cosines_by_hand(manifest):
    encoder = stub()
    told = [["green", "green red"], ["red", "red red blue"]]
    table = cosine_spread(manifest, encoder, told, wca=WCA(n=8)).set_index("cosine")
    words = table.loc["sentence and plain prompt"]
    # The stub reads no colour in "a photo of a red.", so every plain prompt is white.
    of_green = torch.tensor([1 / math.sqrt(3), 2 / math.sqrt(6)]).std()
    of_red = torch.tensor([1 / math.sqrt(3), 3 / math.sqrt(15)]).std()
    assert words["standard deviation"] == pytest.approx(float((of_green + of_red) / 2), abs=1e-6)
    assert words["temperature x deviation"] == pytest.approx(math.e**2 * words["standard deviation"])
    crops = table.loc["crop and whole picture"]
    assert crops["standard deviation"] > 0 and 0 < crops["mean"] <= 1
    plain = cosine_spread(manifest, encoder, told, wca=WCA(n=8), every=2).set_index("cosine")  # the green picture only
    assert plain.loc["crop and whole picture", "standard deviation"] < crops["standard deviation"]


# --- what pages say


def table(**lgca):
    row = {"top1": 0.5, "std": 0.01, "low": 0.45, "high": 0.55, "tied": True, "passes": 61.0, "p_holm": 0.2}
    none = dict.fromkeys(
        ("difference", "difference_low", "difference_high", "classes_low", "classes_high", "p_holm"), math.nan
    )
    return pd.DataFrame([{"method": "wca", **row, **none}, {"method": "lgca", **none, **row, **lgca}])


@pytest.mark.parametrize(
    ("low", "high", "relation"),
    [(0.01, 0.03, "above"), (-0.03, -0.01, "below"), (-0.01, 0.02, "not distinguishable from")],
)
def test_the_verdict_follows_the_interval_and_not_the_mean(low, high, relation):
    said = accuracy.verdict(table(top1=0.52, difference=0.02, difference_low=low, difference_high=high), "the <world>")
    assert said.startswith("On <code>the &lt;world&gt;</code>: <strong>LGCA")
    assert f"52.0&nbsp;%, {relation} WCA's 50.0&nbsp;%" in said
    assert f"{100 * low:+.1f} to {100 * high:+.1f}".replace("-", "−") in said and "over classes" not in said
    over = {"difference": 0.02, "difference_low": 0.01, "difference_high": 0.03}
    said = accuracy.verdict(table(top1=0.52, **over, classes_low=low, classes_high=high), "x")
    assert f"52.0&nbsp;%, {relation} WCA's" in said and "+2.0 (+1.0 to +3.0) points, over classes " in said


def test_the_best_value_and_those_tied_with_it_are_marked():
    html = accuracy.accuracy_table(table(top1=0.52, difference=0.02, difference_low=-0.01, difference_high=0.05), "c")
    assert marked(html) == {"row0_col1", "row1_col1"}
    ahead = table(top1=0.52, low=0.5, high=0.54, difference=0.02, difference_low=0.01, difference_high=0.03)
    ahead.loc[0, "tied"] = False  # though its own interval holds 52 %
    assert marked(accuracy.accuracy_table(ahead, "c")) == {"row1_col1"}


def marked(styler):
    """The cells of a page's table that are bold."""
    rule = re.search(r"([^{}]*)\{\s*font-weight: 700", styler.to_html())[1]
    return set(re.findall(r"row\d+_col\d+", rule))


def test_the_training_seeds_are_those_whose_records_are_there(tmp_path):
    assert accuracy.trained_again(tmp_path / "nowhere", "embedded") == {}
    for seed in (2, 4):
        save(*make({"wca": np.ones((1, seed))}), tmp_path / f"seed-{seed}")
    there = accuracy.trained_again(tmp_path, "embedded")
    assert {label: record.dataset.count for label, (record, _) in there.items()} == {"seed 2": 2, "seed 4": 4}
    assert accuracy.trained_again(tmp_path, "full") == {}  # of another encoder


def test_training_seeds_stand_beside_each_other():
    gain = {"difference": 0.02, "difference_low": -0.01, "difference_high": 0.05}
    shipped = table(top1=0.52, **gain)
    html = accuracy.training_seeds({"seed 1": shipped, "seed 2": shipped[shipped["method"] == "wca"]}).to_html()
    assert html.count("not available") == 2  # LGCA, and its difference
    assert html.count("50.0") == 2 and "52.0" in html and html.count("+2.0 (−1.0 to +5.0)") == 1
    assert accuracy.training_verdict({}) == ""
    equal = shipped.replace({"method": {"lgca": "lgca-equal"}})
    assert accuracy.training_verdict({"seed 2": equal}).count("+2.0 (−1.0 to +5.0)") == 1
    assert accuracy.training_verdict({"seed 2": equal, "seed 3": equal}).count("+2.0 (−1.0 to +5.0) and +2.0") == 1


def test_trainings_evaluated_in_different_precisions_say_so():
    def made_in(precision: str) -> tuple:
        return SimpleNamespace(encoder=SimpleNamespace(precision=precision)), None

    assert accuracy.sentence_about_precisions({"seed 1": made_in("float32"), "seed 2": made_in("float32")}) == ""
    told = accuracy.sentence_about_precisions({"seed 1": made_in("bfloat16"), "seed 2": made_in("float32")})
    assert "seed 1 in bfloat16" in told and "seed 2 in float32" in told


def test_every_figure_draws(manifest):
    import matplotlib.pyplot as plt

    encoder = stub()
    matrix = encode_classes(encoder, [[name] for name in manifest.classes])
    picture = open_picture(manifest.items[1].path)
    trace = LGCA(n=8, steps=2).trace(Views(encoder, [picture]), ["a"], 0)
    chains = lineages(manifest, manifest.items, encoder, LGCA(n=8, steps=2), matrix, seed=0)
    drawn = [
        pictures.as_seen(picture, 16),
        pictures.expansion(picture, trace),
        pictures.heaviest_and_lightest(picture, trace.steps[0], each=3),
        pictures.heaviest_lineage(picture, trace),
        curves.scores_by_step(scores_of(trace, 0, matrix, manifest.classes, 1)),
        accuracy.accuracy(table(difference=0.0)),
        pictures.lineage(picture, most_misleading(chains), "red"),
        curves.margins_by_step(chains),
    ]
    for figure in drawn:
        assert all(ax.get_xlabel() or not ax.axison for ax in figure.axes)  # axes have names, pictures have none
    assert not plt.get_fignums()  # or a notebook would show each twice
    html = pictures.verdicts({"LGCA": trace.vector[0]}, matrix, manifest.classes, 1).to_html()
    order = (trace.vector[0] @ matrix.T).argsort(descending=True).tolist()
    assert f">{'yes' if order[0] == 1 else 'no'}<" in html and f">{order.index(1) + 1}<" in html


def test_scores_by_step_add_up_to_the_score_in_the_end():
    encoder, classes = rich(), ["wren", "tern", "swan", "rook"]
    matrix = encode_classes(encoder, [[name] for name in classes])
    trace = LGCA(n=8, steps=2).trace(Views(encoder, [noise(60, 80, 1), noise(70, 70, 2)]), ["a", "b"], 0)
    frame = scores_of(trace, 1, matrix, classes, 2, rivals=2)
    final = (trace.vector[1] @ matrix.T).tolist()
    strongest = sorted((0, 1, 3), key=lambda c: -final[c])[:2]
    assert list(frame["class"].unique()) == [classes[c] for c in (2, *strongest)]
    assert set(frame.loc[frame["true"], "class"]) == {"swan"}
    for name, mean in frame.groupby("class")["score"].mean().items():
        assert mean == pytest.approx(final[classes.index(name)], abs=1e-6)  # lambda is uniform


def test_pictures_are_searched_in_one_class_or_in_all(manifest):
    assert every_nth(manifest, 2) == manifest.items[::2]
    found = every_nth(manifest, 1, manifest.classes[1])
    assert {item.label for item in found} == {1} and len(found) == sum(item.label == 1 for item in manifest.items)
    with pytest.raises(LgcaError, match="has no class 'swan'; it has"):
        every_nth(manifest, 1, "swan")


@pytest.mark.parametrize("every", [0, -1])
def test_every_picture_is_the_least_that_can_be_looked_at(manifest, every):
    with pytest.raises(LgcaError, match=f"one in so many.*not {every}"):
        every_nth(manifest, every)
    with pytest.raises(LgcaError, match="one in so many"):
        cosine_spread(manifest, rich(), [["red"], ["green"]], every=every)


def test_boxes_of_a_picture_are_those_of_its_steps():
    trace = LGCA(n=8, steps=2).trace(Views(stub(), [noise(60, 80, 1), noise(70, 70, 2)]), ["a", "b"], 0)
    frame = boxes_of(trace, 1)
    for t, step in enumerate(trace.steps):
        rows = frame[frame["step"] == t]
        assert rows[["top", "left", "height", "width"]].to_numpy().tolist() == step.boxes[1].tolist()
        assert rows["weight"].tolist() == step.weights[1].tolist()
        assert rows["saliency"].tolist() == step.saliency[1].tolist()
