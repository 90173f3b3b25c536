"""Files of pairs: ours come back as they were, released ones are read, and what is wrong is named or skipped."""

import json
from pathlib import Path

import pytest

from lgca_core.errors import LgcaError
from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet
from lgca_core.related.goal.pairs import Pair, PairedPicture, check_inside, read_pairs, write_pairs

TWICE = "A red cup. A “tall” tree é. A red cup."
SECOND = TWICE.rindex("A red")


@pytest.fixture
def two():
    pictures = (
        CaptionedPicture("in/a.jpg", Path("in/a.jpg"), (TWICE, "Another.")),
        CaptionedPicture("b.jpg", Path("b.jpg"), ("A dog.",)),
    )
    return CaptionSet("two", "train", pictures)


def entry(segments, name="in/a.jpg", caption=TWICE):
    return {"original_filename": name, "original_caption": caption, "segment": segments}


def segment(caption="A red cup", score=0.5, box=(1, 2, 30, 40), **other):
    x1, y1, x2, y2 = box
    sides = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "width": x2 - x1, "height": y2 - y1}
    return {"filename": "a_1.jpg", "caption": caption, "similarity_score": score, "bbox_coordinates": sides} | other


def read(tmp_path, entries, captions, **other):
    file = tmp_path / "pairs.json"
    file.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return read_pairs(file, captions, **other)


def test_pairs_come_back_as_they_were(two, tmp_path):
    a, b = two.pictures
    pairs = [
        PairedPicture(a, (Pair((3, 4, 50, 60), SECOND, SECOND + 10, 0.1 + 0.2), Pair((0, 0, 5, 5), 11, 27, -0.25))),
        PairedPicture(b, (Pair((0, 0, 1, 1), 0, 6, 0.125),)),
    ]
    write_pairs(tmp_path / "deep" / "p.json", pairs)
    assert read_pairs(tmp_path / "deep" / "p.json", two) == (pairs, ())
    first = json.loads((tmp_path / "deep" / "p.json").read_text())[0]
    assert first == entry(
        [
            segment("A red cup.", 0.1 + 0.2, (3, 4, 50, 60), span=[SECOND, SECOND + 10], filename="in/a_1.jpg"),
            segment("A “tall” tree é.", -0.25, (0, 0, 5, 5), span=[11, 27], filename="in/a_2.jpg"),
        ]
    )
    with pytest.raises(LgcaError, match="cannot write the pairs to /proc/"):
        write_pairs("/proc/no/p.json", pairs)


def test_a_released_list_has_no_spans_and_its_own_order(two, tmp_path):
    segments = [segment(score=12.5), segment("A “tall” tree é", 20, (0.2, 1, 5.5, 9)), segment(score=15)]
    [paired], skipped = read(tmp_path, [entry(segments, "/elsewhere/images/a.jpg")], two)
    assert skipped == () and paired.picture == two.pictures[0]
    assert paired.pairs == (
        Pair((0, 1, 6, 9), 11, 26, 20.0),
        Pair((1, 2, 30, 40), 0, 9, 15.0),
        Pair((1, 2, 30, 40), 0, 9, 12.5),
    )


def test_captions_may_come_with_the_file(two, tmp_path):
    bare = CaptionSet("bare", "", (CaptionedPicture("in/a.jpg", Path("in/a.jpg"), ()),))
    [paired], _ = read(tmp_path, [entry([segment()])], bare)
    assert paired.picture.captions == (TWICE,)
    (tmp_path / "a:b.jpg").touch()
    entries = [entry([segment()], "a:b.jpg")]
    [paired], _ = read(tmp_path, entries, tmp_path)
    assert paired.picture == CaptionedPicture("a:b.jpg", tmp_path / "a:b.jpg", (TWICE,))
    [paired], _ = read(tmp_path, entries, CaptionSet("", "", (CaptionedPicture("x/ab.jpg", Path("ab.jpg"), ()),)))
    assert paired.picture.name == "x/ab.jpg"  # as repositories hold it that cannot have the colon
    for name in ("../a.jpg", "/etc/a.jpg"):
        with pytest.raises(LgcaError, match="outside of the folder"):
            read(tmp_path, [entry([segment()], name)], tmp_path)
    with pytest.raises(LgcaError, match=r"there is no picture .*none\.jpg"):
        read(tmp_path, [entry([segment()], "none.jpg")], tmp_path)


WRONG_PAIRS = {
    "no object": (3, "a segment is no object"),
    "no sentence": (segment(" "), 'no "caption"'),
    "other sentence": (segment("A blue cup"), "'A blue cup' is not in the caption"),
    "other place": (segment(span=[1, 10]), r"'A red cup' does not stand at \[1, 10\]"),
    "negative place": (segment("p.", span=[-2, 99]), "does not stand at"),
    "odd place": (segment(span="0-9"), "does not stand at 0-9"),
    "no box": (segment() | {"bbox_coordinates": {"x1": 1}}, 'no "bbox_coordinates" with x1, y1, x2 and y2'),
    "empty box": (segment(box=(5, 5, 5, 9)), r"\(5, 5, 5, 9\) is no box"),
    "negative box": (segment(box=(-1, 5, 5, 9)), r"\(-1, 5, 5, 9\) is no box"),
    "true": (segment() | {"similarity_score": True}, "true is no finite number"),
    "no score": (segment() | {"similarity_score": None}, "null is no finite number"),
    "nan": (segment(score=float("nan")), "NaN is no finite number"),
    "inf": (segment(score=float("inf")), "Infinity is no finite number"),
}


@pytest.mark.parametrize("wrong", WRONG_PAIRS)
def test_a_wrong_pair_is_named_or_only_it_is_skipped(two, tmp_path, wrong):
    bad, said = WRONG_PAIRS[wrong]
    entries = [entry([segment(), bad]), entry([segment("A dog.")], "b.jpg")]
    with pytest.raises(LgcaError, match=rf"pairs\.json, in/a\.jpg: .*{said}.*--on-error skip"):
        read(tmp_path, entries, two)
    found, [skipped] = read(tmp_path, entries, two, on_error="skip")
    assert [len(paired.pairs) for paired in found] == [1, 1]
    assert skipped.path == "in/a.jpg"
    found, _ = read(tmp_path, [entry([bad])], two, on_error="skip")
    assert found == []  # a picture without a pair is none


WRONG_ENTRIES = {
    "unknown": (entry([segment()], "z.jpg"), r"z\.jpg: two \(train\) has no such picture"),
    "unnamed": (entry([segment()], None), 'entry 2: it has no "original_filename"'),
    "twice": (entry([segment()]), "in/a.jpg has several entries"),
    "no segments": (entry(None, "b.jpg"), 'b.jpg: it has no list "segment"'),
}


@pytest.mark.parametrize("wrong", WRONG_ENTRIES)
def test_a_wrong_entry_is_named_or_skipped(two, tmp_path, wrong):
    bad, said = WRONG_ENTRIES[wrong]
    with pytest.raises(LgcaError, match=said):
        read(tmp_path, [entry([segment()]), bad], two)
    found, skipped = read(tmp_path, [entry([segment()]), bad], two, on_error="skip")
    assert len(found) == len(skipped) == 1


@pytest.mark.parametrize("content, said", [("[{", "is not JSON"), ("{}", "holds no pairs"), ("[3]", "holds no pairs")])
def test_a_file_that_is_none_is_refused_even_where_entries_are_skipped(two, tmp_path, content, said):
    with pytest.raises(LgcaError, match=said):
        read(tmp_path, content, two, on_error="skip")
    with pytest.raises(LgcaError, match=r"gone\.json cannot be read \(No such file"):
        read_pairs(tmp_path / "gone.json", two)


def test_boxes_are_held_against_the_size_of_their_picture(two):
    paired = PairedPicture(two.pictures[0], (Pair((0, 0, 100, 60), 0, 9, 1.0), Pair((99, 0, 101, 60), 0, 9, 0.5)))
    check_inside(paired, 101, 60)
    with pytest.raises(LgcaError, match=r"in/a\.jpg: .*\(99, 0, 101, 60\) does not lie in .* 100 x 60"):
        check_inside(paired, 100, 60)
    with pytest.raises(LgcaError, match=r"does not lie in .* 101 x 59"):
        check_inside(paired, 101, 59)
