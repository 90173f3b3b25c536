"""The aviary as captioned pictures: painted once, the same again, with truths that hold."""

from dataclasses import replace

import pytest
from PIL import Image

from lgca_core.aviary import splits
from lgca_core.aviary.painter import PARTS, paint
from lgca_core.errors import LgcaError
from lgca_core.related.captions import aviary_captions as module
from lgca_core.related.captions.aviary_captions import aviary_captions
from lgca_core.related.captions.opening import open_captions, readable


@pytest.fixture
def few(monkeypatch):
    """One picture a species in the data sets of held-out species."""
    for name in ("aviary", "aviary-validation"):
        monkeypatch.setitem(splits.SPLITS, name, replace(splits.SPLITS[name], pictures=1))


def contents(captions):
    return [(one.name, one.captions, one.truths, one.path.read_bytes()) for one in captions.pictures]


def test_training_scenes_are_painted_once_and_fewer_are_the_first_of_more(home, monkeypatch):
    alone = contents(open_captions("aviary:3", "train"))
    more = open_captions("aviary:5", "train")
    assert [one.name for one in more.pictures[:3]] == ["images/000000.png", "images/000001.png", "images/000002.png"]
    assert contents(more)[:3] == alone and len(more.pictures) == 5 == len({data for *_, data in contents(more)})
    assert readable(more) == more
    assert Image.open(more.pictures[0].path).size == (160, 160)
    monkeypatch.setattr(module, "paint", None)  # nothing is painted again
    assert len(open_captions("aviary:4", "train").pictures) == 4
    assert open_captions("aviary:5", "train") == more


def test_five_captions_are_of_the_same_pictures(home):
    long = aviary_captions("train", scenes=3)
    five = aviary_captions("train", scenes=3, captions="five")
    assert [one.path for one in five.pictures] == [one.path for one in long.pictures]
    assert all(len(set(one.captions)) == 5 and not one.truths for one in five.pictures)
    assert max(len(text) for one in five.pictures for text in one.captions) < 150
    assert min(len(one.captions[0]) for one in long.pictures) > 150


@pytest.mark.parametrize("split, data_set", [("test", "aviary"), ("validation", "aviary-validation")])
def test_truths_are_where_the_painter_put_things(home, few, split, data_set):
    captions = open_captions("aviary", split)
    assert captions == open_captions("aviary-validation") or split == "test"
    assert len(captions.pictures) == 40
    for one, (path, painting) in zip(captions.pictures, splits.paintings(data_set), strict=True):
        assert one.name == path and one.path == home / "datasets" / f"{data_set}-{splits.VERSION}" / path
        [text] = one.captions
        assert " ".join(text[truth.start : truth.end] for truth in one.truths) == text
        objects = {(kind, (x, y, x + w, y + h)) for kind, _, (y, x, h, w) in painting.objects}
        for truth in one.truths:
            if truth.about in PARTS:
                top, left, height, width = painting.box(truth.about)
                assert truth.box == (left, top, left + width, top + height)
            elif truth.about == "habitat":
                assert truth.box is None
            else:
                assert (truth.about, truth.box) in objects
                assert truth.about in text[truth.start : truth.end]


def test_what_cannot_be_asked_of_the_aviary(home):
    for spec, split, said in (
        ("aviary", "tests", "no split 'tests': it has train, test, validation"),
        ("aviary-validation", "train", "no split 'train': train on aviary"),
        ("aviary:0", "train", "aviary:0 is no number of scenes"),
        ("aviary:/path", "train", "aviary:/path is no number of scenes"),
    ):
        with pytest.raises(LgcaError, match=said):
            open_captions(spec, split)
    with pytest.raises(LgcaError, match="at least one scene, not 0"):
        aviary_captions("train", scenes=0)
    assert not home.exists()


def test_a_painting_that_fails_leaves_nothing(home, monkeypatch):
    def fail_at_the_third(scene):
        calls.append(scene)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return paint(scene)

    calls = []
    monkeypatch.setattr(module, "paint", fail_at_the_third)
    with pytest.raises(LgcaError, match=r"No space left.*LGCA_HOME"):
        aviary_captions("train", scenes=5)
    assert not [entry for entry in (home / "datasets").iterdir() if entry.is_dir()]


@pytest.mark.slow
def test_several_processes_paint_what_one_does(home, monkeypatch):
    alone = contents(aviary_captions("train", scenes=5))
    monkeypatch.setenv("LGCA_HOME", str(home.with_name("other")))
    monkeypatch.setattr(module, "_BLOCK", 2)
    assert contents(aviary_captions("train", scenes=5)) == alone
