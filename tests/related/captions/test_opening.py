"""Captioned pictures: published sets in miniature, JSON lines of one's own, lists, and what is wrong with them."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from lgca_core.errors import LgcaError
from lgca_core.files import sha256_of
from lgca_core.related.captions.captioned import Truth
from lgca_core.related.captions.listing import CAPTION_CHARACTERS
from lgca_core.related.captions.opening import open_captions, readable
from support import caption_miniatures as miniatures
from support.miniatures import picture

MAKE = {
    "docci": miniatures.docci,
    "dci": miniatures.dci,
    "urban1k": miniatures.urban1k,
    "flickr30k": lambda root: miniatures.karpathy(root, "flickr30k"),
    "coco": lambda root: miniatures.karpathy(root, "coco"),
}


def names(captions):
    return [one.name for one in captions.pictures]


# --- published sets


def test_docci_by_its_splits(tmp_path):
    root = miniatures.docci(tmp_path / "docci")
    test = open_captions(f"docci:{root}", "test")
    assert (test.name, test.split) == ("docci", "test")
    assert names(test) == ["test_00000.jpg", "test_00001.jpg", "test_00002.jpg"]
    assert test.pictures[1].path == root / "images" / "test_00001.jpg"
    assert test.pictures[1].captions == ("A wall of test_00001. It is 3.5 m high, with a door at the left.",)
    assert names(open_captions(f"docci:{root}", "train")) == ["train_00000.jpg", "train_00001.jpg"]
    assert len(open_captions(f"docci:{root}", "test+qual_test").pictures) == 4  # as GOAL as released evaluates
    assert len(open_captions(f"docci:{root}").pictures) == len(open_captions(f"docci:{root}", "all").pictures) == 7
    with pytest.raises(LgcaError, match=r"DOCCI has no split 'tset' \(did you mean 'test'\?\).*train.*qual_dev"):
        open_captions(f"docci:{root}", "tset")


def test_docci_whose_pictures_are_still_packed(tmp_path, home):
    root = miniatures.docci(tmp_path / "docci", packed=True)
    test = open_captions(f"docci:{root}", "test")
    assert len(test.pictures) == 3 and home in test.pictures[0].path.parents
    assert readable(test) == test


def test_a_whole_copy_may_be_an_archive(tmp_path, home):
    miniatures.urban1k(tmp_path / "made" / "Urban1k")
    archive = shutil.make_archive(str(tmp_path / "Urban1k"), "zip", tmp_path / "made")
    assert names(open_captions(f"urban1k:{archive}", "test")) == ["1.jpg", "2.jpg", "10.jpg"]


def test_dci_takes_the_long_caption_and_counts_pictures_without_one(tmp_path):
    root = miniatures.dci(tmp_path / "densely_captioned_images")
    train = open_captions(f"dci:{root}", "train")
    assert names(train) == ["sa_11.jpg", "sa_13.jpg"]
    assert train.pictures[0].captions == ("The street 11 is wet. People walk along it.",)
    assert [(one.path, "extra_caption" in one.reason) for one in train.skipped] == [("sa_12.jpg", True)]
    joined = open_captions(f"dci-joined:{root}", "train")
    assert joined.pictures[0].captions == ("A street, number 11.\nThe street 11 is wet. People walk along it.",)
    assert names(open_captions(f"dci:{root}", "validation")) == ["sa_14.jpg"]
    (root / "splits.json").unlink()
    with pytest.raises(LgcaError, match=r"no copy of DCI.*splits\.json"):
        open_captions(f"dci:{root}", "train")


def test_dci_with_annotations_that_are_not_there_or_broken(tmp_path):
    root = miniatures.dci(tmp_path)
    (root / "annotations" / "sa_15.json").unlink()
    (root / "annotations" / "sa_16.json").write_text("[")
    with pytest.raises(LgcaError, match=r"'sa_15\.json', which is not in .*annotations"):
        open_captions(f"dci:{root}", "test")
    rest = open_captions(f"dci:{root}", "all", on_error="skip")
    assert names(rest) == ["sa_11.jpg", "sa_13.jpg", "sa_14.jpg"] and len(rest.skipped) == 3
    (tmp_path.parent / "out.json").write_text((root / "annotations" / "sa_11.json").read_text())
    for out in ("../../out.json", str(tmp_path.parent / "out.json")):  # a list of annotations reads nothing outside
        (root / "splits.json").write_text(json.dumps({"test": [out]}))
        with pytest.raises(LgcaError, match=r"out\.json', which is not in"):
            open_captions(f"dci:{root}", "test")
    (root / "splits.json").write_text("[]")
    with pytest.raises(LgcaError, match=r"splits\.json is not of the form"):
        open_captions(f"dci:{root}", "test")


def test_urban1k_in_the_order_of_its_numbers(tmp_path):
    root = miniatures.urban1k(tmp_path)
    test = open_captions(f"urban1k:{root}", "test")
    assert names(test) == ["1.jpg", "2.jpg", "10.jpg"]
    assert test.pictures[2].captions == ("A bus of line 10. Behind it stands a café.",)
    with pytest.raises(LgcaError, match=r"no split 'train'.*it has test"):
        open_captions(f"urban1k:{root}", "train")
    (root / "caption" / "2.txt").unlink()
    with pytest.raises(LgcaError, match=r"'2\.jpg' has no caption"):
        open_captions(f"urban1k:{root}", "test")


@pytest.mark.parametrize("name", ["flickr30k", "coco"])
def test_the_karpathy_split_has_several_captions_a_picture(tmp_path, name):
    root = MAKE[name](tmp_path)
    test = open_captions(f"{name}:{root}", "test")
    assert [one.captions for one in test.pictures] == [(f"A dog test {k}.", f"A cat test {k}.") for k in (0, 1)]
    assert len(open_captions(f"{name}:{root}", "train").pictures) == (3 if name == "coco" else 2)  # with restval
    assert len(open_captions(f"{name}:{root}", "val").pictures) == 1


def test_broken_annotations_are_named(tmp_path):
    coco = miniatures.karpathy(tmp_path / "coco", "coco")
    file = coco / "dataset_coco.json"
    about = json.loads(file.read_text())
    del about["images"][4]["sentences"]
    file.write_text(json.dumps(about))
    with pytest.raises(LgcaError, match=r"dataset_coco\.json, picture 5: not of the form"):
        open_captions(f"coco:{coco}", "test")
    assert len(open_captions(f"coco:{coco}", "test", on_error="skip").skipped) == 1
    for text, said in (("[]", "not of the form {'images'"), ("{", "not JSON"), ("\udce9", "not UTF-8")):
        file.write_text(text, errors="surrogateescape")
        with pytest.raises(LgcaError, match=rf"dataset_coco\.json is {said}"):
            open_captions(f"coco:{coco}", "test")
    docci = miniatures.docci(tmp_path / "docci")
    with (docci / "docci_descriptions.jsonlines").open("a") as stream:
        stream.write('{"image_file": "test_00000.jpg", "description": "x"}\n{"image_file"')
    with pytest.raises(LgcaError, match=r"jsonlines, line 8: no split"):
        open_captions(f"docci:{docci}", "test")
    rest = open_captions(f"docci:{docci}", "test", on_error="skip")
    assert (len(rest.pictures), len(rest.skipped)) == (3, 2)


def test_of_tests_of_the_karpathy_split_the_first_five_captions_count(tmp_path):
    root = miniatures.karpathy(tmp_path, "coco")
    listed = json.loads((root / "dataset_coco.json").read_text())
    for one in listed["images"]:
        one["sentences"] = [{"raw": f"Caption {number}."} for number in range(7)]
    (root / "dataset_coco.json").write_text(json.dumps(listed))
    counts = {
        split: {len(of.captions) for of in open_captions(f"coco:{root}", split).pictures}
        for split in ("train", "val", "test")
    }
    assert counts == {"train": {7}, "val": {5}, "test": {5}}


@pytest.mark.parametrize("name", MAKE)
def test_a_copy_one_folder_deeper_or_in_other_case_is_found(tmp_path, name):
    root = MAKE[name](tmp_path / "top" / "copy")
    for entry in list(root.iterdir()):
        entry.rename(entry.with_name(entry.name.upper()))
    if (photos := root / "PHOTOS").is_dir():
        (photos / "sa_15.jpg").rename(photos / "SA_15.JPG")
    for path in (root, root.parent):
        assert len(open_captions(f"{name.upper()}:{path}", "test").pictures) >= 2
    shutil.copytree(root, root.with_name("second"))
    with pytest.raises(LgcaError, match=r"several folders.*copy and second"):
        open_captions(f"{name}:{root.parent}", "test")


@pytest.mark.parametrize("name", MAKE)
def test_a_folder_without_the_files_is_told_what_was_looked_for(tmp_path, name):
    layouts = {"docci": "jsonlines", "dci": "annotations/", "urban1k": "caption/"}
    with pytest.raises(LgcaError, match=f"{tmp_path}.*{layouts.get(name, f'dataset_{name}.json')}"):
        open_captions(f"{name}:{tmp_path}", "test")
    with pytest.raises(LgcaError, match="does not exist"):
        open_captions(f"{name}:{tmp_path}/none", "test")
    with pytest.raises(LgcaError, match="names no folder"):
        open_captions(f"{name}:", "test")


def test_unknown_names_are_told_near_ones_and_all(tmp_path):
    with pytest.raises(LgcaError, match=r"did you mean 'urban1k'.*docci.*aviary.*captions\.jsonl"):
        open_captions("urban-1k:/data", "test")
    with pytest.raises(LgcaError, match=r"neither there nor a set.*did you mean 'aviary'"):
        open_captions("avairy", "test")
    with pytest.raises(LgcaError, match=rf"{tmp_path} holds no captioned pictures.*captions\.jsonl"):
        open_captions(tmp_path, "test")


# --- lists of pictures of a published set


def test_a_list_chooses_pictures_of_a_copy_and_brings_its_captions(tmp_path):
    root = miniatures.dci(tmp_path / "dci")
    chosen = miniatures.evaluation_list(tmp_path / "DCI_test.json", ["photos/sa_16.jpg", "photos/sa_11.jpg"], "../DCI")
    test = open_captions(f"dci:{root}", str(chosen))
    assert names(test) == ["sa_16.jpg", "sa_11.jpg"] and test.split == "DCI_test.json"
    assert test.pictures[0].captions == ("Of photos/sa_16.jpg.",)
    train = open_captions(f"dci:{root}", f"without:{chosen}")
    assert names(train) == ["sa_13.jpg", "sa_14.jpg", "sa_15.jpg"]
    assert not set(names(train)) & set(names(test))
    more = miniatures.evaluation_list(tmp_path / "more.json", ["sa_16.jpg", "sa_99.jpg"])
    with pytest.raises(LgcaError, match=r"more\.json, entry 2: the picture 'sa_99\.jpg' is not there"):
        open_captions(f"dci:{root}", str(more))
    assert names(open_captions(f"dci:{root}", str(more), on_error="skip")) == ["sa_16.jpg"]


def test_a_list_finds_its_pictures_by_the_end_of_their_paths(tmp_path):
    root = miniatures.urban1k(tmp_path / "Urban1k")
    listed = miniatures.evaluation_list(root / "urban_dataset_test.json", ["image/10.jpg", "image/1.jpg"])
    assert names(open_captions(listed)) == ["image/10.jpg", "image/1.jpg"]
    listed.write_text('{"filename": "a"}')
    with pytest.raises(LgcaError, match=r"not of the form \[{\"filename\""):
        open_captions(listed)


# --- JSON lines


@pytest.fixture
def lines(tmp_path):
    """Writes a captions.jsonl beside three pictures a.jpg, b.jpg, in/c.jpg; returns its folder."""
    root = tmp_path / "mine"
    (root / "in").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "in/c.jpg"):
        (root / name).write_bytes(picture(name))

    def write(*rows):
        text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
        (root / "captions.jsonl").write_text(text + "\n", encoding="utf-8", errors="surrogateescape")
        return root

    return write


GOOD = {"image": "a.jpg", "caption": "A red wall."}


def test_json_lines(lines):
    truths = [
        {"start": 0, "end": 5, "about": "wall", "box": [1, 2, 30, 20]},
        {"start": 0, "end": 2, "about": "it", "box": None},
    ]
    root = lines(
        {**GOOD, "split": "train", "truths": truths},
        "",
        {"image": "in/c.jpg", "captions": ["One.", "Two."], "split": "test"},
        {"image": "b.jpg", "caption": " Of both. "},
    )
    train, test = open_captions(root, "train"), open_captions(str(root / "captions.jsonl"), "test")
    assert (train.name, train.split, names(train)) == ("mine", "train", ["a.jpg", "b.jpg"])
    assert train.pictures[0].truths == (Truth(0, 5, "wall", (1, 2, 30, 20)), Truth(0, 2, "it", None))
    assert train.pictures[1].captions == (" Of both. ",)
    assert names(test) == ["in/c.jpg", "b.jpg"] and test.pictures[0].captions == ("One.", "Two.")
    assert len(open_captions(root).pictures) == len(open_captions(root.parent).pictures) == 3
    with pytest.raises(LgcaError, match=r"no split 'dev2'.*train, test"):
        open_captions(root, "dev2")


def long(characters):
    return {"image": "b.jpg", "caption": "word " * (characters // 5)}


BAD = {
    "missing": ({"image": "none.jpg", "caption": "x"}, r"'none\.jpg' is not there"),
    "folder": ({"image": "in", "caption": "x"}, "is a folder"),
    "climbs": ({"image": "in/../../x.jpg", "caption": "x"}, "leads out of"),
    "climbs as on Windows": ({"image": "..\\x.jpg", "caption": "x"}, "leads out of"),
    "elsewhere": ({"image": "/etc/hostname", "caption": "x"}, "leads out of"),
    "twice": ({**GOOD, "caption": "Again."}, r"'a\.jpg' is listed twice"),
    "twice in other case": ({"image": "./A.jpg", "caption": "Again."}, "is listed twice"),
    "no picture": ({"caption": "x"}, "no picture is named"),
    "picture is no text": ({"image": 5, "caption": "x"}, "no picture is named"),
    "no caption": ({"image": "b.jpg"}, r"'b\.jpg' has no caption"),
    "no captions": ({"image": "b.jpg", "captions": []}, "has no caption"),
    "captions is text": ({"image": "b.jpg", "captions": "x"}, "has no caption"),
    "empty": ({"image": "b.jpg", "caption": " \n"}, "empty caption"),
    "one of several empty": ({"image": "b.jpg", "captions": ["x", ""]}, "empty caption"),
    "number": ({"image": "b.jpg", "caption": 7}, "no text but 7"),
    "null": ({"image": "b.jpg", "caption": None}, "no text but null"),
    "book": (long(1_000_000), "1,000,000 characters"),
    "surrogate": ('{"image": "b.jpg", "caption": "\\ud83d"}', "not valid Unicode"),
    "latin-1": ('{"image": "b.jpg", "caption": "caf\udce9"}', "not valid Unicode"),
    "broken": ('{"image": "b.jpg", ', "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "digits": ("[" + "9" * 10_000 + "]", "not JSON"),
    "list": ("[1, 2]", "no JSON object"),
    "truth outside": (
        {"image": "b.jpg", "caption": "x", "truths": [{"start": 0, "end": 2, "about": "", "box": None}]},
        "truth about characters 0 to 2",
    ),
    "truth of another form": ({"image": "b.jpg", "caption": "x", "truths": [[0, 1]]}, "truths that are no list of"),
    "box inside out": (
        {"image": "b.jpg", "caption": "x", "truths": [{"start": 0, "end": 1, "about": "", "box": [5, 0, 5, 9]}]},
        "truths that are no list of",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_lines_are_named_or_skipped_and_counted(lines, kind):
    line, said = BAD[kind]
    root = lines(GOOD, line)
    with pytest.raises(LgcaError, match=said) as caught:
        open_captions(root, "train")
    assert "captions.jsonl, line 2" in str(caught.value) and "--on-error skip" in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    rest = open_captions(root, "train", on_error="skip")
    assert names(rest) == ["a.jpg"] and len(rest.skipped) == 1
    if kind not in ("twice", "twice in other case"):
        with pytest.raises(LgcaError, match=f"no picture that can be used.*{said}"):
            open_captions(lines(line), on_error="skip")


def test_ten_thousand_tokens_are_fine(lines):
    assert CAPTION_CHARACTERS > 60_000
    assert len(open_captions(lines(long(60_000))).pictures[0].captions[0]) == 60_000


def test_absolute_paths_into_the_folder_are_fine(lines):
    root = lines()
    assert names(open_captions(lines({**GOOD, "image": str(root / "in" / "c.jpg")}))) == ["in/c.jpg"]


def test_no_picture_is_decoded_until_readable_is_asked(lines):
    root = lines(GOOD, {"image": "b.jpg", "caption": "Broken."})
    (root / "b.jpg").write_bytes((root / "b.jpg").read_bytes()[:300])
    opened = open_captions(root)
    assert len(opened.pictures) == 2
    with pytest.raises(LgcaError, match=r"b\.jpg: the file is damaged"):
        readable(opened)
    rest = readable(opened, on_error="skip")
    assert names(rest) == ["a.jpg"] and rest.skipped[0].path == "b.jpg" and "damaged" in rest.skipped[0].reason


TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(captions=st.lists(TEXT, min_size=1, max_size=4), ascii=st.booleans())
def test_captions_are_read_back_as_they_are(lines, captions, ascii):
    root = lines(json.dumps({"image": "a.jpg", "captions": captions}, ensure_ascii=ascii))
    assert open_captions(root).pictures[0].captions == tuple(captions)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["a.jpg", "..", "/"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["start", "end", "box"]), inner),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(st.sampled_from(["image", "caption", "captions", "truths"]), JSON), max_size=4))
def test_any_json_is_a_picture_or_is_skipped(lines, rows):
    found = open_captions(lines({"image": "b.jpg", "caption": "Good."}, *rows), on_error="skip")
    assert len(found.pictures) + len(found.skipped) == 1 + len(rows)


def test_the_hash_sees_names_captions_truths_and_pictures_but_not_the_place(lines, tmp_path):
    root = lines(GOOD)

    def of(place, *split):
        found = open_captions(place, *split)
        return found.sha256([sha256_of(one.path) for one in found.pictures])

    first, with_pictures = open_captions(root).sha256(), of(root)
    assert first != with_pictures
    moved = tmp_path / "moved"
    root.rename(moved)
    assert of(moved, "train") == with_pictures
    (moved / "a.jpg").write_bytes(picture("another"))
    again = open_captions(moved)
    assert again.sha256() == first and of(moved) != with_pictures
    seen = {first}
    truth = {"start": 0, "end": 1, "about": "x", "box": None}
    for change in ({"caption": "A"}, {"image": "b.jpg"}, {"captions": ["A red wall.", "B"]}, {"truths": [truth]}):
        (moved / "captions.jsonl").write_text(json.dumps(GOOD | change))
        seen.add(open_captions(moved).sha256())
    assert len(seen) == 5
