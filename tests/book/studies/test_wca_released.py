"""WCA as written against WCA as released, and the ways to resize: each number by hand, by formula or by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from lgca_book.pages import released as page
from lgca_book.studies import resize_variants, wca_released
from lgca_core.class_vectors import encode_classes, logits
from lgca_core.data.sources import SOURCES
from lgca_core.errors import LgcaError
from lgca_core.evaluation import paper_values, statistics
from lgca_core.pixels.cropping import crops
from lgca_core.pixels.pictures import open_picture
from lgca_core.views import Views
from lgca_core.wca import WCA
from support.stub_encoder import noise_folders, patches, rich, stub


@pytest.fixture
def manifest(tmp_path):
    return noise_folders(tmp_path, ("green", "red", "blue"), [(60, 60), (68, 60)])


def told(**methods):
    """Predictions of (seeds, n) per method; every label is 0."""
    rows = [
        {"path": f"{i}", "image": "", "label": 0, "method": method, "seed": seed, "prediction": p, "margin": 0.1}
        for method, answers in methods.items()
        for seed, of_seed in enumerate(answers)
        for i, p in enumerate(of_seed)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # no order is relied on


# ---- from records


def test_changes_are_counted_at_equal_seeds():
    predictions = told(wca=[[0, 0, 1, 2], [0, 1, 1, 2]], other=[[0, 0, 2, 2], [0, 1, 1, 0]], one=[[1, 1, 1, 1]])
    table = wca_released.changes(predictions, [("other", "wca"), ("one", "wca")])
    assert table["changed"].tolist() == [1, 3] and table["seeds"].tolist() == [2, 1]
    assert table["pictures"].tolist() == [4, 4]
    assert table["difference"].tolist() == pytest.approx([1 / 8, -3 / 8])  # a wrong for a wrong is a change too
    assert table["difference_low"][0] <= 1 / 8 <= table["difference_high"][0]


def test_methods_without_a_common_seed_are_refused():
    predictions = told(wca=[[0, 1]], other=[[0, 1], [0, 0]])
    with pytest.raises(LgcaError, match="no seed in common"):
        wca_released.changes(predictions.query("method == 'wca' or seed == 1"), [("other", "wca")])
    with pytest.raises(LgcaError, match="one seed only"):
        wca_released.reseeded(predictions, "wca")
    with pytest.raises(LgcaError, match="no predictions of 'lgca': there are of"):
        wca_released.reseeded(predictions, "lgca")


def test_another_seed_alone():
    row = wca_released.reseeded(told(wca=[[0, 0, 1], [0, 1, 1], [1, 1, 1]]), "wca")
    assert row["changed"] == pytest.approx((1 + 2 + 1) / 3) and row["seeds"] == 3
    assert row["difference"] == pytest.approx(-1 / 3)
    elsewhere = told(other=[[0, 1]]).assign(path="elsewhere")  # another method's pictures are none of its business
    again = wca_released.reseeded(pd.concat([elsewhere, told(wca=[[0, 0, 1], [0, 1, 1], [1, 1, 1]])]), "wca")
    pd.testing.assert_series_equal(again, row)


# ---- the second normalisation


def test_scaling_a_picture_changes_nothing_and_scaling_a_class_can():
    vectors = torch.tensor([[0.3, 0.1], [0.1, 0.3], [0.2, 0.25]])
    matrix = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    table = wca_released.renormalisation(vectors, matrix, [0, 1, 1]).set_index("scaled")
    assert table["changed"].to_dict() == {"image vectors": 0, "class vectors": 1, "both": 1}
    assert table["difference"].to_dict() == {"image vectors": 0, "class vectors": 1 / 3, "both": 1 / 3}
    assert table.loc["class vectors", ["shortest", "longest"]].tolist() == [0.5, 1.0]
    assert table.loc["image vectors", "longest"] == pytest.approx(math.hypot(0.2, 0.25))
    assert math.isnan(table.loc["both", "longest"])


def test_image_vectors_are_wca_s_own(manifest):
    wca = WCA(n=5)
    found = wca_released.vectors_of(manifest.items, rich(), wca, seed=3, chunk=4)
    item = manifest.items[5]
    alone = wca.vectors(Views(rich(), [open_picture(item.path)]), [item.identity], 3)
    assert found.shape == (6, 12) and torch.allclose(found[5], alone[0], atol=1e-6)


# ---- the pool


def test_the_pool_s_variance_is_that_of_simulated_crops():
    n, pool = 12, 20
    of = wca_released.PoolVariance(n, pool)
    rng = np.random.default_rng(0)
    crops_of = rng.normal(size=(4000, pool))  # a pool a row
    drawn = rng.integers(pool, size=(4000, 30, n))
    means = np.take_along_axis(crops_of[:, None], drawn, axis=2).mean(axis=2)  # (pools, draws)
    assert of.shown == pytest.approx(means.var(axis=1, ddof=1).mean(), rel=0.03)
    assert of.hidden + of.shown == pytest.approx(means[:, 0].var(), rel=0.06)
    assert of.hidden_share == pytest.approx(of.hidden / means[:, 0].var(), rel=0.06)
    assert 1 / of.worth == pytest.approx(of.hidden + of.shown) and of.independent == 1 / n
    assert of.distinct == pytest.approx(np.mean([len(set(row)) for row in drawn[:, 0]]), rel=0.01)
    both = [np.isin(a, b).mean() for a, b in drawn[:, :2]]
    assert of.shared == pytest.approx(np.mean(both), rel=0.03)


def test_draws_from_a_pool_share_crops_and_independent_draws_do_not(manifest):
    pooled = WCA(n=20, alpha=0.1, pool=25)
    expected = wca_released.PoolVariance(20, 25).shared
    assert wca_released.overlap(manifest.items[:1], pooled, 20) == pytest.approx(expected, abs=0.04)
    assert wca_released.overlap(manifest.items, WCA(n=20, alpha=0.1), 4) < 0.05


def test_measured_variances_follow_the_law_of_total_variance(manifest):
    encoder = rich()
    matrix = encode_classes(encoder, [[name] for name in manifest.classes])
    wca = WCA(n=6, alpha=0.3, pool=12, image_temperature=0)
    found = wca_released.pool_variances(manifest.items, encoder, matrix, wca, pools=40, draws=40).mean()
    law = wca_released.PoolVariance(6, 12)
    assert found["shown"] / found["independent"] == pytest.approx(law.shown / law.independent, rel=0.15)
    assert found["hidden"] / found["independent"] == pytest.approx(law.hidden / law.independent, rel=0.3)


# ---- names that classes share


def test_a_name_that_classes_share_is_a_ceiling():
    shared = wca_released.SharedNames(("arena", "bank", "arena", "arena", "vault"))
    assert (shared.names, shared.sharing, shared.ceiling) == (3, 3, 0.6)
    # The best that can be: every picture's own class scores highest, and of equal ones the first is taken.
    matrix = F.normalize(torch.eye(3)[[0, 1, 0, 0, 2]], dim=-1)
    predicted = logits(matrix, matrix).argmax(dim=1)
    assert (predicted == torch.arange(5)).float().mean() == pytest.approx(shared.ceiling)


def test_places365_has_the_published_number_of_names():
    shared = wca_released.SharedNames(SOURCES["places365"].classes)
    assert (shared.names, len(shared.classes)) == (344, 365)
    assert wca_released.SharedNames(SOURCES["places365-distinct"].classes).ceiling == 1


# ---- the resize path


def test_the_first_path_is_the_reference_and_changes_nothing(manifest):
    encoder = rich()
    matrix = encode_classes(encoder, [[name] for name in manifest.classes])
    wca = WCA(n=4)
    measured = resize_variants.measure(manifest, manifest.items, encoder, matrix, wca=wca, seed=1, chunk=4)
    reference = measured[measured["path"] == resize_variants.REFERENCE]
    assert reference["levels"].max() == 0 and reference["least"].min() == pytest.approx(1, abs=1e-6)
    views = Views(rich(), [open_picture(item.path) for item in manifest.items])
    scores = logits(wca.vectors(views, [item.identity for item in manifest.items], 1), matrix)
    assert reference["prediction"].tolist() == scores.argmax(dim=1).tolist()
    assert measured.groupby("path").size().to_dict() == dict.fromkeys(resize_variants.PATHS, 6)

    table = resize_variants.summary(measured).set_index("path")
    off = table["levels"].to_dict()
    near, box, floats, *coarse = (off[path] for path in list(resize_variants.PATHS)[1:])
    assert 0 < near < 0.05 and near < min(box, floats)
    assert max(near, floats) < min(coarse)
    assert (table["largest"][1:] > 0).all() and (table["least"] <= table["cosine"] + 1e-6).all()


@pytest.mark.parametrize("path", resize_variants.PATHS)
def test_every_path_looks_at_its_box_and_no_other(path):
    picture = patches(80, 60, ((10, 30, 24, 24), (200, 40, 90)), ((50, 2, 24, 24), (10, 220, 30)))
    boxes = torch.tensor([[10, 30, 24, 24], [50, 2, 24, 24], [12, 31, 20, 20]])
    cut = resize_variants.PATHS[path](picture, boxes, 16)
    assert cut.shape == (3, 3, 16, 16) and cut.dtype == torch.uint8
    inside = cut[:, :, 3:-3, 3:-3].float()  # at the edge some filters reach over it
    colours = torch.tensor([[200, 40, 90], [10, 220, 30], [200, 40, 90]])
    assert (inside - colours[:, :, None, None]).abs().max() <= 1


def test_a_path_s_numbers_by_hand(manifest):
    def brighter(picture, boxes, size):
        return crops(picture, boxes, size).clamp(max=252) + 3

    encoder = stub()
    matrix = encode_classes(encoder, [[name] for name in manifest.classes])
    items = manifest.items[:1]
    paths = {"as is": crops, "brighter": brighter}
    measured = resize_variants.measure(manifest, items, encoder, matrix, wca=WCA(n=3), paths=paths)
    row = measured.iloc[1]
    boxes = WCA(n=3).boxes(60, 60, 0, items[0].identity)
    before = crops(open_picture(items[0].path), boxes, encoder.size).float()
    after = before.clamp(max=252) + 3
    assert row["levels"] == pytest.approx(float((after - before).abs().mean())) and row["largest"] == 3
    a, b = (F.normalize(pixels.mean(dim=(2, 3)), dim=-1) for pixels in (before, after))
    assert row["cosine"] == pytest.approx(float((a * b).sum(dim=1).mean()), abs=1e-6)


def test_a_whole_picture_that_is_no_square_goes_by_the_reference(manifest):
    encoder = stub()
    tall = next(item for item in manifest.items if open_picture(item.path).height == 68)
    picture = open_picture(tall.path)
    assert picture.size == (60, 68)
    for cut in resize_variants.PATHS.values():
        box = torch.tensor([[0, 0, 68, 60]])
        assert torch.equal(resize_variants._squares_only(cut, picture, box, 16), crops(picture, box, encoder.size))


def test_changed_predictions_are_counted_against_the_first_path():
    frame = pd.DataFrame(
        {
            "path": ["a"] * 4 + ["b"] * 4,
            "picture": list("wxyz") * 2,
            "label": [0, 0, 1, 1] * 2,
            "prediction": [0, 1, 1, 0, 0, 0, 2, 2],
            "levels": [0.0] * 4 + [1.0, 2, 3, 4],
            "differ": 0.5,
            "largest": [0] * 4 + [5, 9, 7, 8],
            "cosine": 0.9,
            "least": [1.0] * 4 + [0.5, 0.4, 0.6, 0.8],
        }
    )
    row = resize_variants.summary(frame).set_index("path").loc["b"]
    assert (row["changed"], row["difference"], row["levels"], row["largest"], row["least"]) == (3, 0, 2.5, 9, 0.4)
    assert row["difference_low"] < 0 < row["difference_high"]


# ---- what the page says and draws


def row(**changed):
    base = {"seeds": 5, "pictures": 600, "changed": 60.0, "difference": 0.01, "p": 0.2}
    return pd.Series(base | {"difference_low": -0.01, "difference_high": 0.03} | changed)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.001, 0.03, "gains accuracy"), (-0.03, -0.001, "costs accuracy"), (-0.01, 0.02, "no difference that shows")],
)
def test_a_sentence_follows_the_interval(low, high, verdict):
    said = page.sentence_about_change(row(difference_low=low, difference_high=high, p=0.0001), "It", row(changed=20.0))
    assert f"**{verdict}** (p < 0.001, uncorrected)" in said
    assert all(told in said for told in ("60 of 600 predictions (10.0%)", "5 seeds", "3.0 times"))


def test_the_last_table_says_what_moved():
    names = pd.Series({"difference": -0.058})
    still = row(changed=0, difference=0.0, difference_low=0.0, difference_high=0.0, p=math.nan)
    table = wca_released.differences([("a", "x", row()), ("b", "y", still), ("c", "z", names), ("d", "w", row(p=0.01))])
    assert table["p_holm"].tolist() == pytest.approx([0.2, math.nan, math.nan, 0.02], nan_ok=True)
    html = page.differences_table(table).to_html()
    assert "−5.8 at worst" in html and html.count("not available") == 1 and "60 of 600 (10.0%)" in html
    assert "None of them moves accuracy" in page.sentence_about_differences(table)
    clear = wca_released.differences([("a", "x", row()), ("d", "w", row(difference_low=0.002))])
    assert "**Accuracy moves, by its interval, with d**" in page.sentence_about_differences(clear)


def test_variances_of_the_pool_stand_beside_the_formula_s():
    measured = pd.DataFrame({"independent": [1.0, 1.0], "shown": [0.5, 0.5], "hidden": [0.25, 0.25]})
    said = page.sentence_about_pool(measured, wca_released.PoolVariance(12, 24))
    assert all(told in said for told in ("0.50 (interval 0.50 to 0.50", "0.96)", "0.25 (interval", "33%", "34%"))


def test_all_differences_are_those_of_the_records_and_of_the_measurements():
    of_records = {"wca": [0, 0, 1, 1], "wca:renormalise=true": [0, 0, 0, 1], "wca:alpha=0.1:pool=100": [1, 1, 1, 1]}
    draws = told(
        **{method: [answers, answers] for method, answers in of_records.items()}, **{"wca-released": [[0] * 4]}
    )
    ranges = told(wca=[[0, 0, 1, 1]], **{"wca:alpha=0.1": [[0, 1, 1, 1]]})
    scaled = pd.DataFrame(
        {"scaled": ["image vectors", "both"], "pictures": 9, "changed": [0, 3], "difference": [0.0, 1]}
    )
    paths = pd.DataFrame([row(path="the reference"), row(path="another", changed=7.0)]).drop(columns=["p", "seeds"])
    table = wca_released.all_differences(draws, ranges, scaled, wca_released.SharedNames(("a", "b", "a", "c")), paths)
    again, crops_of, images, classes, pool, whole, names, path = table.to_dict("records")
    assert [again["changed"], again["difference"]] == [0, 0]
    assert [crops_of["changed"], crops_of["difference"]] == [1, -0.25]
    assert [images["changed"], images["pictures"], images["difference"]] == [0, 9, 0]
    assert [classes["changed"], classes["difference"]] == [1, 0.25]
    assert [pool["changed"], pool["difference"]] == [1, -0.25]  # against independent crops of its own range
    assert [whole["changed"], whole["difference"]] == [2, 0.5]
    assert names["difference"] == -0.25 and math.isnan(names["changed"])
    assert [path["what differs"], path["changed"]] == ["another", 7]
    tested = table[table["p"].notna()]
    assert list(tested.index) == [1, 3, 4, 5]
    assert tested["p_holm"].tolist() == pytest.approx(statistics.holm(tested["p"]))
    assert table.drop(index=tested.index)["p_holm"].isna().all()


def test_the_last_figure_has_what_has_an_interval():
    bound = pd.Series({"difference": -0.1})
    table = wca_released.differences([("a", "x", row()), ("b", "y", bound), ("c", "z", row(p=math.nan))])
    [ax] = page.differences_plot(table).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c", "a"]


def test_deviations_are_told_apart_only_where_their_intervals_do_not_meet():
    hits = told(wca=[[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], other=[[0, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    table = wca_released.deviations(hits, ["wca", "other"])
    assert table["std"][0] == pytest.approx(np.std([0.75, 0.5, 1], ddof=1))
    assert table["by_picture"][0] == pytest.approx(math.sqrt(2 / 3) / 4)  # two pictures flip once in three
    assert "the intervals overlap" in page.sentence_about_deviations(table)
    assert "does not meet it" in page.sentence_about_deviations(table.assign(low=[0.1, 0.5], high=[0.2, 0.6]))
    with pytest.raises(LgcaError, match="no two seeds"):
        wca_released.deviations(hits.query("seed == 0"), ["wca"])


def test_the_names_of_places365_in_words():
    source = SOURCES["places365"]
    said = page.sentence_about_names(wca_released.SharedNames(source.classes), source, paper_values.table())
    assert "**344 names for 365 classes**: 40 classes share 19 names" in said
    assert "all 2,100 of the 21 classes" in said and "above 94.25 %" in said


def test_every_figure_of_the_page_draws(manifest):
    predictions = told(wca=[[0, 1, 0], [0, 1, 1]], pooled=[[0, 1, 1], [0, 0, 0]])
    of = wca_released.PoolVariance(60, 100)
    picture = open_picture(manifest.items[0].path)
    drawn = [
        page.deviations(wca_released.deviations(predictions, ["wca", "pooled"])),
        page.pool_error(page.pool_errors(of), of),
        page.by_path(picture, torch.tensor([[5, 5, 40, 40]]), 16, resize_variants.PATHS),
        page.differences_plot(wca_released.differences([("a", "x", row())])),
    ]
    for figure in drawn:
        assert all(ax.get_xlabel() or not ax.axison for ax in figure.axes)
    titles = [ax.get_title() for ax in drawn[2].axes if ax.get_title()]
    assert len(titles) == len(resize_variants.PATHS) and titles[0].endswith("the crop itself")
