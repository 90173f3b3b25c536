"""LISM: on painted patches every sentence finds its colour; what is counted, left out, skipped, taken up again."""

import json
import os
from collections import Counter

import pytest
import torch

from lgca_core.errors import LgcaError
from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet, Truth
from lgca_core.related.goal import matching
from lgca_core.related.goal.matching import make_pairs
from lgca_core.related.goal.pairs import read_pairs
from support.stub_encoder import colour_words, patches, stub

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CAPTION = "something blue . all grey ones. something red . something blue ."


@pytest.fixture
def three(tmp_path):
    """Pictures of 40 x 60 pixels: red on the left, blue on the right below; the second has them exchanged."""
    made = []
    for number in range(3):
        left, right = (RED, BLUE) if number != 1 else (BLUE, RED)
        path = tmp_path / f"{number}.png"
        patches(40, 60, ((0, 0, 20, 30), left), ((20, 30, 20, 30), right)).save(path)
        truths = (Truth(0, 9, "left", (0, 0, 30, 20)), Truth(0, 9, "right", (30, 20, 60, 40)))
        made.append(CaptionedPicture(path.name, path, (CAPTION,), truths))
    return CaptionSet("three", "train", tuple(made))


def grey_for_none(texts):
    return torch.where(torch.tensor([["grey" in text] for text in texts]), torch.ones(3), colour_words(texts))


def scorer(**other):
    return stub(text=grey_for_none, sha256="0" * 64, **other)


@pytest.mark.parametrize("kind", ["grid", "true"])
def test_every_sentence_takes_the_region_that_it_fits_best(three, tmp_path, kind):
    counts = Counter()
    found = make_pairs(three, scorer(), kind, out=tmp_path / "deep" / "pairs.json", random=0, counts=counts)
    left, right = (0, 0, 30, 20), (30, 20, 60, 40)
    blue, red, blue_again = CAPTION.index("something"), CAPTION.index("something red"), CAPTION.rindex("something")
    for number, paired in enumerate(found):
        places = [(pair.start, pair.box) for pair in paired.pairs]
        of_blue, of_red = (right, left) if number != 1 else (left, right)
        assert sorted(places) == [(blue, of_blue), (red, of_red), (blue_again, of_blue)]
        assert [pair.score for pair in paired.pairs] == pytest.approx([1, 1, 1])
        assert all(CAPTION[pair.start : pair.end].endswith(".") for pair in paired.pairs)
    # Grey is nearest to the whole, in which red and blue are mixed: left out.
    assert counts == {"pictures": 3, "sentences": 12, "pairs": 9, "whole": 3, "without": 0, "skipped": 0}
    assert read_pairs(tmp_path / "deep" / "pairs.json", three) == (found, ())
    assert os.listdir(tmp_path / "deep") == ["pairs.json"]


def test_pairs_come_best_first_and_equal_ones_in_the_order_of_the_caption(three, tmp_path):
    weak = "something red green . something blue . something blue ."
    picture = CaptionedPicture("0.png", three.pictures[0].path, (weak,))
    [paired] = make_pairs(CaptionSet("one", "", (picture,)), scorer(), "grid", out=tmp_path / "p.json", random=0)
    assert [weak[pair.start : pair.end] for pair in paired.pairs][:2] == ["something blue ."] * 2
    assert [pair.start for pair in paired.pairs] == [22, 39, 0]
    assert paired.pairs[0].score > paired.pairs[2].score


def test_scores_are_cosines_and_chunks_do_not_change_a_pair(three, tmp_path, monkeypatch):
    whole = make_pairs(three, scorer(), "grid", out=tmp_path / "a.json")
    monkeypatch.setattr(matching, "PICTURES_AT_ONCE", 1)
    one_by_one = make_pairs(three, scorer(batch_size=2), "grid", out=tmp_path / "b.json")
    assert [(p.picture, [(q.box, q.start) for q in p.pairs]) for p in whole] == [
        (p.picture, [(q.box, q.start) for q in p.pairs]) for p in one_by_one
    ]


def test_a_broken_picture_is_named_or_skipped_and_counted(three, tmp_path):
    three.pictures[1].path.write_bytes(b"no picture")
    out = tmp_path / "pairs.json"
    with pytest.raises(LgcaError, match=r"1\.png.*not a picture.*--on-error skip"):
        make_pairs(three, scorer(), "true", out=out)
    assert not out.exists()
    counts, skipped = Counter(), []
    found = make_pairs(three, scorer(), "true", out=out, on_error="skip", counts=counts, skipped=skipped)
    assert [paired.picture.name for paired in found] == ["0.png", "2.png"]
    assert counts["pictures"] == 2 and counts["skipped"] == 1
    assert [one.path for one in skipped] == ["1.png"] and skipped[0].reason.startswith("not a picture")


class Stop(Exception):
    pass


def stopped_after(pictures, three, out, encoder, **other):
    """Runs until so many pictures are done."""

    def progress(done, total):
        if done >= pictures:
            raise Stop

    with pytest.raises(Stop):
        make_pairs(three, encoder, "true", out=out, progress=progress, **other)


def test_a_run_that_was_stopped_is_taken_up_where_nothing_has_changed(three, tmp_path, monkeypatch):
    monkeypatch.setattr(matching, "PICTURES_AT_ONCE", 1)
    out, draft = tmp_path / "pairs.json", tmp_path / ".pairs.json.draft.jsonl"
    first, again, counts = scorer(), scorer(), Counter()
    stopped_after(2, three, out, first)
    assert not out.exists() and draft.exists()
    with draft.open("a") as stream:
        stream.write('{"pairs": [[2')  # the power went
    done = []
    found = make_pairs(three, again, "true", out=out, counts=counts, progress=lambda *at: done.append(at))
    assert done == [(0, 1), (1, 1)]
    assert again.image_passes == 3 and first.image_passes == 6
    assert counts["pictures"] == 3 and counts["pairs"] == 9
    assert not draft.exists()
    assert found == make_pairs(three, scorer(), "true", out=tmp_path / "anew.json")


@pytest.mark.parametrize("change", ["encoder", "unnamed", "regions", "captions", "pixels"])
def test_a_run_that_was_stopped_begins_anew_where_something_has_changed(three, tmp_path, monkeypatch, change):
    monkeypatch.setattr(matching, "PICTURES_AT_ONCE", 1)
    out, encoder, regions = tmp_path / "pairs.json", scorer(), "true"
    stopped_after(2, three, out, encoder)
    again = scorer()
    if change == "encoder":
        again.sha256 = "1" * 64
    elif change == "unnamed":
        again.sha256 = None
    elif change == "regions":
        regions = "grid"
    elif change == "captions":
        others = [CaptionedPicture(one.name, one.path, ("something red .",), one.truths) for one in three.pictures]
        three = CaptionSet("three", "train", tuple(others))
    else:
        patches(40, 60).save(three.pictures[0].path)
    done = []
    make_pairs(three, again, regions, out=out, progress=lambda *at: done.append(at))
    assert done[0] == (0, 3)


def test_what_was_skipped_before_is_looked_at_again_unless_it_is_to_be_skipped(three, tmp_path, monkeypatch):
    monkeypatch.setattr(matching, "PICTURES_AT_ONCE", 1)
    three.pictures[1].path.write_bytes(b"no picture")
    stopped_after(2, three, tmp_path / "p.json", scorer(), on_error="skip")
    with pytest.raises(LgcaError, match=r"1\.png"):
        make_pairs(three, scorer(), "true", out=tmp_path / "p.json")


def test_no_pairs_is_said_and_leaves_nothing(three, tmp_path):
    one = three.pictures[0]
    grey = CaptionSet("grey", "test", (CaptionedPicture(one.name, one.path, ("all grey",)),))
    with pytest.raises(LgcaError, match="no sentence of grey fits a region better"):
        make_pairs(grey, scorer(), "grid", out=tmp_path / "out" / "p.json", random=0)
    assert not (tmp_path / "out").exists()
    with pytest.raises(LgcaError, match="has no pictures"):
        make_pairs(CaptionSet("none", "test", ()), scorer(), "grid", out=tmp_path / "p.json")


def test_sentences_longer_than_the_encoder_reads_are_cut_and_counted(three, tmp_path):
    import open_clip

    one = three.pictures[0]
    long = f"something blue {'and so on ' * 40}. something red ."
    counts = Counter()
    captions = CaptionSet("long", "test", (CaptionedPicture(one.name, one.path, (long,)),))
    encoder = scorer(tokenizer=open_clip.get_tokenizer("ViT-B-32"))
    make_pairs(captions, encoder, "grid", out=tmp_path / "p.json", counts=counts, random=0)
    assert counts["cut"] == 1 and counts["sentences"] == 2


def test_the_file_is_in_the_documented_format(three, tmp_path):
    make_pairs(three, scorer(), "true", out=tmp_path / "p.json")
    first = json.loads((tmp_path / "p.json").read_text())[0]
    assert first.keys() == {"original_filename", "original_caption", "segment"}
    segment = first["segment"][-1]
    assert segment.keys() == {"filename", "caption", "similarity_score", "bbox_coordinates", "span"}
    assert segment["bbox_coordinates"] == {"x1": 30, "y1": 20, "x2": 60, "y2": 40, "width": 30, "height": 20}
