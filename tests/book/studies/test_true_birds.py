"""Where the birds are: boxes that enclose what was painted, and measures of how other boxes lie to them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lgca_book.pages import birds
from lgca_book.studies import true_birds
from lgca_core.aviary import splits
from lgca_core.aviary.painter import paint
from lgca_core.boxes import iou
from lgca_core.data import folders
from lgca_core.errors import LgcaError
from lgca_core.evaluation import statistics
from lgca_core.lgca import LGCA
from lgca_core.pixels.pictures import open_picture
from lgca_core.views import Views
from support.stub_encoder import rich


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """The aviary with one picture of each species."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(splits.SPLITS, "aviary", replace(splits.SPLITS["aviary"], pictures=1))
        root = tmp_path_factory.mktemp("aviary")
        splits.materialise("aviary", root)
        yield folders.folder(root, name="aviary")


@pytest.fixture(scope="module")
def truth(manifest):
    return true_birds.true_boxes(manifest)


def test_the_true_box_encloses_the_painted_bird_of_that_very_picture(manifest, truth):
    assert truth["path"].tolist() == [manifest.key(item) for item in manifest.items]
    scenes = {f"{name}/{number:03d}.png": scene for name, number, scene in splits.scenes("aviary")}
    for item, row in zip(manifest.items[::8], truth[::8].itertuples()):
        painting = paint(scenes[row.path])
        assert np.array_equal(np.asarray(open_picture(item.path)), painting.image)  # the file is this painting
        bird = painting.parts > 0
        inside = bird[row.top : row.top + row.height, row.left : row.left + row.width]
        assert inside.sum() == bird.sum() > 0
        assert inside[[0, -1]].any(axis=1).all() and inside[:, [0, -1]].any(axis=0).all()  # and no smaller one does
        assert row.share == pytest.approx(inside.size / bird.size)


def test_only_the_aviary_knows_its_birds(manifest):
    with pytest.raises(LgcaError, match=r"only the aviary.*pets"):
        true_birds.true_boxes(replace(manifest, name="pets"))
    with pytest.raises(LgcaError, match="aviary as it is painted"):
        true_birds.true_boxes(replace(manifest, items=manifest.items[1:]))


def test_overlap_by_hand():
    bird = torch.tensor([10, 10, 20, 40])
    half = torch.tensor([[10, 10, 20, 20]])
    assert true_birds.overlap(half, bird, 100, 100) == pytest.approx({"iou": 0.5, "inside": 0.5, "area": 0.04})
    around = torch.tensor([[0, 0, 40, 100]])
    assert true_birds.overlap(around, bird, 100, 100) == pytest.approx({"iou": 0.2, "inside": 1, "area": 0.4})
    both = true_birds.overlap(torch.cat([half, around]), bird, 100, 100)
    assert both == pytest.approx({"iou": 0.35, "inside": 0.75, "area": 0.22})


def test_steps_are_measured_on_the_boxes_that_lgca_saw(manifest, truth):
    look = LGCA(n=6, steps=1)
    salient = true_birds.salient_boxes(manifest, truth, rich(), look, every=20, seed=3, chunk=1)
    assert salient["path"].nunique() == 2 and len(salient) == 2 * 2 * 3
    item = manifest.items[20]
    trace = look.trace(Views(rich(), [open_picture(item.path)]), [item.identity], 3)
    bird = torch.tensor(truth.loc[20, true_birds.BOX].tolist())
    rows = salient[salient["path"] == manifest.key(item)].set_index(["step", "box"])
    for t, step in enumerate(trace.steps):
        boxes = step.boxes[0]
        all_of_them = iou(boxes, bird[None])[:, 0]
        best = int(step.saliency[0].argmax())
        assert rows["iou"][t, true_birds.SALIENT] == pytest.approx(float(all_of_them[best]))
        assert rows["iou"][t, true_birds.MEAN] == pytest.approx(float(all_of_them.mean()))
        side = int(boxes[best, 2])
        assert rows["area"][t, true_birds.SALIENT] == pytest.approx(side**2 / 160**2)
        # Chance: a box of this side, drawn often and evenly.
        rng = np.random.default_rng(0)
        corners = torch.from_numpy(rng.integers(0, 160 - side + 1, (20_000, 2)))
        drawn = torch.cat([corners, torch.full((20_000, 2), side)], dim=1)
        chance = rows["iou"][t, true_birds.ANYWHERE]
        assert chance == pytest.approx(float(iou(drawn, bird[None]).mean()), abs=0.005)


def test_means_and_differences_to_chance_are_paired_by_picture():
    rows = [
        {"path": f"{p}", "step": t, "box": box, "iou": p / 100 + gain, "inside": 0.5, "area": 0.1 * (t + 1)}
        for p in range(20)
        for t in (0, 1)
        for box, gain in ((true_birds.SALIENT, 0.1 - 0.1 * t), (true_birds.MEAN, 0), (true_birds.ANYWHERE, 0))
    ]
    salient = pd.DataFrame(rows)
    means = true_birds.by_step(salient).set_index(["step", "box", "measure"])
    assert means["mean"][0, true_birds.SALIENT, "iou"] == pytest.approx(0.195)
    assert means["low"][0, true_birds.SALIENT, "iou"] < 0.195 < means["high"][0, true_birds.SALIENT, "iou"]
    assert means["mean"][1, true_birds.MEAN, "area"] == pytest.approx(0.2)
    beyond = true_birds.beyond_chance(salient)
    assert beyond["difference"].tolist() == pytest.approx([0.1, 0])
    # Every picture gains the same: pictures differ, their differences do not.
    assert beyond["difference_low"].tolist() == pytest.approx([0.1, 0])
    said = birds.localisation(beyond, 20)
    assert "0.195, more than" in said and "+0.100" in said
    assert "step 1, 0.095, not distinguishable" in said


def predictions(truth):
    """Of the smallest third half are right by one method and none by the other; of the rest all by both."""
    small = truth["share"] <= truth["share"].nsmallest(14).max()
    rows = []
    for number, (path, is_small) in enumerate(zip(truth["path"], small)):
        for method, right in (("wca", not is_small), ("lgca", not is_small or number % 2 == 0)):
            rows.append({"path": path, "label": 0, "method": method, "seed": 0, "prediction": int(not right)})
    return pd.DataFrame(rows), small


def test_thirds_go_by_the_share_of_the_bird(truth):
    third = true_birds.thirds(truth)
    share = truth.set_index("path")["share"]
    assert third.value_counts().tolist() == [14, 13, 13]
    small, middle, large = (share[third.index[third == name]] for name in true_birds.THIRDS)
    assert small.max() <= middle.min() and middle.max() <= large.min()


def test_accuracy_by_size_is_that_of_the_third_s_own_pictures(truth):
    answers, small = predictions(truth)
    table = true_birds.accuracy_by_size(answers, truth).set_index(["size", "method"])
    half = (small & (np.arange(len(small)) % 2 == 0)).sum() / 14
    assert table["top1"]["smallest third", "wca"] == 0
    assert table["top1"]["smallest third", "lgca"] == pytest.approx(half)
    assert (table["top1"].loc[["middle third", "largest third"]] == 1).all()
    assert table["images"].groupby("size").first().sum() == 40
    compared = true_birds.compare_by_size(answers, truth, [("lgca", "wca")])
    assert compared["size"].tolist() == list(true_birds.THIRDS)
    assert compared["difference"].tolist() == pytest.approx([half, 0, 0])
    assert compared["p_holm"].tolist() == pytest.approx(statistics.holm(compared["p"]))
    said = birds.size_verdict(compared, "lgca")
    assert "LGCA (our reading), equal crops minus WCA" in said
    assert ("in the smallest third" in said) == (compared["p_holm"][0] < 0.05)
    assert "smallest third" in birds.by_size_table(compared).to_html()
    figure = birds.by_size(table.reset_index())
    assert figure.axes[0].get_xlabel() and len(figure.axes[0].get_xticks()) == 3


@pytest.mark.parametrize("measure", birds.MEASURES)
def test_every_measure_draws(manifest, truth, measure):
    salient = true_birds.salient_boxes(manifest, truth, rich(), LGCA(n=4, steps=1), every=20)
    figure = birds.by_step(true_birds.by_step(salient), measure)
    assert figure.axes[0].get_ylabel() == birds.MEASURES[measure]
    assert figure.axes[0].get_xticks().tolist() == [0, 1]


def test_no_picture_at_all_is_refused(manifest, truth):
    with pytest.raises(LgcaError, match=r"one in so many: .* not 0"):
        true_birds.salient_boxes(manifest, truth, rich(), LGCA(n=4, steps=0), every=0)


def test_a_bird_that_cannot_be_seen_is_left_out(manifest, truth):
    hidden = truth.drop(index=0)
    salient = true_birds.salient_boxes(manifest, hidden, rich(), LGCA(n=4, steps=0), every=20)
    assert salient["path"].unique().tolist() == [manifest.key(manifest.items[20])]
