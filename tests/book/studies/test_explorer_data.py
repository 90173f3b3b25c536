"""The explorer's data: what rule picks the pictures, and whether its numbers are LGCA's and the record's."""

import json
from dataclasses import fields, replace

import pandas as pd
import pytest
import torch

from lgca_book.pages import explorer as page
from lgca_book.studies import explorer_data
from lgca_core.class_vectors import encode_classes
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.evaluate import evaluate
from lgca_core.evaluation.store.store import Store
from lgca_core.lgca import LGCA
from lgca_core.pixels.pictures import open_picture
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.prompts.sentences import plain
from lgca_core.views import Views, unit_from_float16
from lgca_core.wca import WCA
from support.stub_encoder import noise_folders, rich

NAMES = ("crane", "heron", "ibis", "stork")
SENTENCES = [[f"a {name} by the water", f"a {name} in the air", f"what a {name}"] for name in NAMES]
LOOK = LGCA(n=8, steps=2)


class Stored(Encoder):
    """Reads sentences as they come out of a store: rounded to float16."""

    def encode_texts(self, texts):
        return unit_from_float16(super().encode_texts(texts).half())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Noise in four classes, and a record of it through a store, as the book's records are made."""
    manifest = noise_folders(tmp_path_factory.mktemp("birds"), NAMES, [(40, 56)] * 10)
    encoder = rich(sha256="0" * 64)
    prompts = ClassPrompts(manifest.classes, descriptions=SENTENCES)
    methods = ["clip", "wca", "lgca", "lgca:lam=geometric:whole_image=true:start=0.3-0.5"]
    store = Store(tmp_path_factory.mktemp("store"))
    record, predictions = evaluate(
        manifest, encoder, methods, prompts, seeds=(0, 3), wca=WCA(n=8), lgca=LOOK, store=store
    )
    return record, predictions, manifest, encoder, SENTENCES


@pytest.fixture(scope="module")
def shown(world):
    return explorer_data.explore(*world, pictures=7)


def test_the_pictures_say_what_the_record_says(world, shown):
    record, predictions, *_ = world
    assert shown.recorded and len(shown.pictures) == 7
    rows = predictions[predictions["seed"] == 0].set_index(["method", "path"])
    for picture in shown.pictures:
        for method, steps in (("wca", picture.wca), ("lgca", picture.lgca)):
            row = rows.loc[method, picture.key]
            assert (picture.label, steps[-1].so_far.best) == (row["label"], row["prediction"])
            assert steps[-1].so_far.margin == pytest.approx(row["margin"], abs=1e-5)
        right = [m for m in ("wca", "lgca") if rows.loc[m, picture.key]["prediction"] == picture.label]
        assert picture.kind == ("both" if len(right) == 2 else right[0] if right else "neither")
    assert sum(shown.counts.values()) == record.dataset.count
    assert shown.passes == {"wca": WCA(n=8).passes(), "lgca": LOOK.passes()}


@pytest.mark.parametrize("method", ["lgca", "lgca:lam=geometric:whole_image=true:start=0.3-0.5"])
def test_the_numbers_are_those_of_the_trace(world, method):
    _, _, manifest, encoder, _ = world
    shown = explorer_data.explore(*world, methods=["wca", method], seed=3, pictures=2).pictures[-1]
    look = LOOK if method == "lgca" else replace(LOOK, lam="geometric", whole_image=True, start=(0.3, 0.5))
    item = next(item for item in manifest.items if manifest.key(item) == shown.key)
    views = Views(encoder, [open_picture(item.path)], float16=True)
    anchors = [anchor for [anchor] in plain(manifest.classes)]
    stored = Stored(**{field.name: getattr(encoder, field.name) for field in fields(encoder)})
    matrix = encode_classes(stored, SENTENCES, anchors=anchors, renormalise=False)

    def close(given, expected):
        assert given == pytest.approx(expected.tolist(), abs=1e-6)

    for steps, own in ((shown.lgca, look), (shown.wca, LGCA(n=8, steps=0, start="wca"))):
        trace = own.trace(views, [item.identity], 3)
        assert len(steps) == len(trace.steps)
        for t, (step, seen) in enumerate(zip(steps, trace.steps)):
            assert step.boxes == seen.boxes[0].tolist()
            assert step.weights == pytest.approx(seen.weights[0].tolist(), abs=1e-6)
            assert step.saliency == pytest.approx(seen.saliency[0].tolist(), abs=1e-6)
            assert step.alone == (seen.vectors[0] @ matrix.T).argmax(dim=1).tolist()
            close(step.step.scores, (seen.vector[0] @ matrix.T)[shown.shown])
            kept = [i for i, to in enumerate(step.became) if to is not None]
            assert kept == seen.kept[0].tolist()
            assert [step.became[i] for i in kept] == list(range(len(kept)))
            if not own.whole_image:  # what the method would say with fewer steps, and the same boxes
                lam = torch.tensor(replace(own, steps=t).weights())
                mean = sum(share * of.vector[0] for share, of in zip(lam, trace.steps))
                close(step.so_far.scores, (mean @ matrix.T)[shown.shown])
        close(steps[-1].so_far.scores, (trace.vector[0] @ matrix.T)[shown.shown])
    whole = trace.whole[0] @ matrix.T
    close(shown.whole.scores, whole[shown.shown])
    assert shown.whole.best == int(whole.argmax())


def test_the_true_class_and_every_winner_are_among_those_shown(world):
    for rivals in (1, 2, 9):
        for picture in explorer_data.explore(*world, rivals=rivals).pictures:
            steps = [*picture.lgca, *picture.wca]
            winners = {of.best for step in steps for of in (step.step, step.so_far)} | {picture.whole.best}
            assert picture.shown[0] == picture.label and winners <= {*picture.shown}
            assert len(set(picture.shown)) == len(picture.shown) >= min(1 + rivals, len(NAMES))
            final = picture.lgca[-1].so_far.scores[1:]
            assert final == sorted(final, reverse=True)


def verdicts(**kinds):
    """So many pictures of each kind, five to a class, the later the surer."""
    rows = [
        {"path": f"{kind}{i:02d}", "label": i // 5, "wca": 0, "lgca": 0, "sure": i / 100, "kind": kind}
        for kind, count in kinds.items()
        for i in range(count)
    ]
    return pd.DataFrame(rows).set_index("path")


def kinds_of(paths):
    return {kind: sum(path.startswith(kind) for path in paths) for kind in explorer_data.KINDS}


def test_neither_method_is_favoured():
    plenty = verdicts(neither=20, both=20, wca=20, lgca=20)
    assert kinds_of(explorer_data.choose(plenty, 12)) == {"lgca": 4, "wca": 4, "both": 2, "neither": 2}
    few = verdicts(lgca=20, wca=1, both=20, neither=20)
    assert kinds_of(explorer_data.choose(few, 12)) == {"lgca": 1, "wca": 1, "both": 5, "neither": 5}
    swapped = verdicts(lgca=1, wca=20, both=20, neither=20)
    assert kinds_of(explorer_data.choose(swapped, 12)) == kinds_of(explorer_data.choose(few, 12))
    assert len(explorer_data.choose(verdicts(both=2), 12)) == 2


def test_the_surest_of_each_class_come_first():
    chosen = explorer_data.choose(verdicts(lgca=15, wca=15).sample(frac=1, random_state=0), 15)
    assert chosen == ["lgca14", "lgca09", "lgca04", "lgca13", "lgca08", "wca14", "wca09", "wca04", "wca13", "wca08"]


def test_a_picture_is_as_sure_as_the_less_sure_answer():
    rows = [("a", 1, "wca", 2, 0.5), ("a", 1, "lgca", 1, 0.2), ("b", 0, "wca", 0, 0.1), ("b", 0, "lgca", 0, 0.4)]
    frame = pd.DataFrame(rows, columns=["path", "label", "method", "prediction", "margin"]).assign(seed=0)
    table = explorer_data.answers_side_by_side(frame, "wca", "lgca", seed=0)
    assert table["sure"].to_dict() == {"a": 0.2, "b": 0.1}
    assert table["kind"].to_dict() == {"a": "lgca", "b": "both"}


def test_all_of_it_is_json_and_can_stand_in_a_page(shown):
    assert json.loads(shown.json()) == shown.data()
    odd = replace(shown, dataset="</script><b>")
    assert "<" not in odd.json() and json.loads(odd.json())["dataset"] == odd.dataset
    html = page.fragment(odd, "odd").data
    assert html.count("</script>") == 2 and 'id="odd"' in html
    assert "not the record's" not in page.rule(shown)
    told = page.kinds(shown).set_index("who is right")
    assert told["in the record"].sum() == 40 and told["shown"].sum() == 7
    for picture in shown.pictures:
        own = sum(other.kind == picture.kind for other in shown.pictures)
        assert told.loc[page.KIND_NAMES[picture.kind], "shown"] == own
    assert f"WCA {shown.passes['wca']} encoder passes" in page.cost(shown)
    first = shown.classes[shown.pictures[0].label]
    assert page.still_alt(shown).startswith(f"{first}, drawn once a step")  # an owl is no "A owl"
    assert len(page.still(shown).axes) == 3 + 1 + 1  # three steps on a grid of four, and the colours


def test_boxes_are_told_one_a_row(shown):
    frame = shown.boxes()
    picture = shown.pictures[1]
    rows = frame[(frame["picture"] == picture.key) & (frame["method"] == "lgca") & (frame["step"] == 1)]
    assert rows[["top", "left", "height", "width"]].to_numpy().tolist() == picture.lgca[1].boxes
    assert rows["became"].dropna().tolist() == [to for to in picture.lgca[1].became if to is not None]
    assert len(frame) == 7 * (sum(LOOK.counts()) + 8)


def test_other_settings_are_said_to_be_other_settings(world):
    other = explorer_data.explore(*world, pictures=2, n=4, steps=1)
    assert not other.recorded and [len(step.boxes) for step in other.pictures[0].lgca] == [4, 2]
    assert "not the record's" in page.rule(other)
    assert explorer_data.explore(*world, pictures=2, n=8, steps=2).recorded


def test_what_does_not_belong_together_is_refused(world):
    record, predictions, manifest, encoder, sentences = world

    def refused(match, *, given=world, **settings):
        with pytest.raises(LgcaError, match=match):
            explorer_data.explore(*given, **settings)

    refused("no method 'gc'", methods=["wca", "gc"])
    refused("with seed 7", seed=7)
    refused("clip is neither WCA nor LGCA", methods=["wca", "clip"])
    refused("not 'lgca' with 'lgca'", methods=["lgca", "lgca"])
    refused("not 'lgca' with 'wca'", methods=["lgca", "wca"])
    refused("two methods", methods=["wca"])
    for pictures in (0, -1):
        refused(f"one picture .*{pictures}", pictures=pictures)
    nobody = predictions.assign(prediction=(predictions["label"] + 1) % len(NAMES))
    refused("no picture of the kinds", given=(record, nobody, manifest, encoder, sentences), pictures=1)
    part = replace(manifest, items=manifest.items[:-1])
    refused("other pictures", given=(record, predictions, part, encoder, sentences))
    trained = record.encoder.model_copy(update={"weights_sha256": "1" * 64})
    other = record.model_copy(update={"encoder": trained})
    refused("weights", given=(other, predictions, manifest, encoder, sentences))
    shifted = predictions.assign(prediction=(predictions["prediction"] + 1) % len(NAMES))
    refused("in the record", given=(record, shifted, manifest, encoder, sentences))
