"""Candidates of a picture: the grid, true boxes, and files as segmenters and detectors write them."""

import json

import pytest
from hypothesis import given, strategies as st
from PIL import Image

from lgca_core.errors import LgcaError
from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet, Truth
from lgca_core.related.goal.regions import open_regions

W, H = 100, 60


@pytest.fixture
def two(tmp_path):
    made = []
    for number, name in enumerate(("a.jpg", "in/b.jpg")):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (W, H), (200 * number, 0, 0)).save(path)
        truths = (Truth(0, 1, "x", (1, 2, 3, 4)), Truth(1, 2, "y", None), Truth(2, 3, "z", (0, 0, W, H)))
        made.append(CaptionedPicture(name, path, ("A b.",), truths))
    return CaptionSet("two", "train", tuple(made))


def written(tmp_path, content, name="boxes.json"):
    file = tmp_path / name
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_the_grid_is_whole_quadrants_centre_and_squares(two):
    a, b = two.pictures
    plain = open_regions("grid", two, random=0).of(a, 101, 60)
    assert plain == [
        (0, 0, 101, 60),
        (0, 0, 50, 30),
        (50, 0, 101, 30),
        (0, 30, 50, 60),
        (50, 30, 101, 60),
        (25, 15, 76, 45),
    ]
    drawn = open_regions("grid", two, seed=1, random=4).of(a, W, H)
    assert len(drawn) == 10 and drawn[:1] == [(0, 0, W, H)]
    assert all(x2 - x1 == y2 - y1 and 6 <= x2 - x1 <= 30 for x1, y1, x2, y2 in drawn[6:])
    assert drawn[:8] == open_regions("grid", two, seed=1, random=2).of(a, W, H)
    assert drawn[6:] != open_regions("grid", two, seed=2, random=4).of(a, W, H)[6:]
    assert drawn[6:] != open_regions("grid", two, seed=1, random=4).of(b, W, H)[6:]  # another content
    a.path.rename(a.path.with_name("moved.jpg"))
    moved = CaptionedPicture("moved.jpg", a.path.with_name("moved.jpg"), a.captions)
    assert drawn == open_regions("grid", two, seed=1, random=4).of(moved, W, H)


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_grid_lies_in_any_picture(width, height):
    captions = CaptionSet("one", "", (CaptionedPicture("a", None, ("A.",)),))
    for x1, y1, x2, y2 in open_regions("grid", captions, random=0).of(captions.pictures[0], width, height):
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


def test_true_boxes_are_those_of_the_truths(two):
    assert open_regions("true", two).of(two.pictures[0], W, H) == [(0, 0, W, H), (1, 2, 3, 4)]
    blind = CaptionSet("blind", "", tuple(CaptionedPicture(one.name, one.path, one.captions) for one in two.pictures))
    with pytest.raises(LgcaError, match="blind knows no true boxes: take --regions grid"):
        open_regions("true", blind)


COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}, {"id": 9, "file_name": "c.jpg"}],
    "annotations": [{"image_id": 7, "bbox": [10, 20, 30, 25.5], "area": 700}, {"image_id": 9, "bbox": [0, 0, 9, 9]}],
}
SAM = [{"segmentation": {"counts": "x"}, "bbox": [10, 20, 30, 26], "area": 700, "predicted_iou": 0.9}]
DETECTOR = [{"score": 0.9, "label": "dog", "box": {"xmin": 10, "ymin": 20, "xmax": 40, "ymax": 46}}]
OWN = [[10, 20, 40, 46]]
FORMS = {
    "coco": COCO,
    "sam by picture": {"a.jpg": SAM, "c.jpg": SAM},
    "sam in a list": [{"image": "a.jpg", "masks": SAM}],
    "sa-1b": {"image": {"image_id": 1, "width": W, "height": H, "file_name": "a.jpg"}, "annotations": SAM},
    "detector by picture": {"elsewhere/a.jpg": DETECTOR},
    "lines": json.dumps({"image": "a.jpg", "boxes": OWN}) + "\n\n" + json.dumps({"image": "b.jpg", "boxes": []}),
    "lines of a detector": json.dumps({"image": "a.jpg", "boxes": DETECTOR}) + "\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_file_gives_the_same_box(two, tmp_path, form):
    regions = open_regions(written(tmp_path, FORMS[form]), two)
    assert regions.of(two.pictures[0], W, H) == [(0, 0, W, H), (10, 20, 40, 46)]
    assert regions.of(two.pictures[1], W, H) == [(0, 0, W, H)]
    assert regions.kind == "boxes.json"


def test_a_folder_has_a_file_a_picture_named_like_it(two, tmp_path):
    (tmp_path / "masks").mkdir()
    written(tmp_path / "masks", SAM, "a.json")
    written(tmp_path / "masks", DETECTOR, "b.json")
    regions = open_regions(str(tmp_path / "masks"), two)
    assert [regions.of(one, W, H)[1:] for one in two.pictures] == [[(10, 20, 40, 46)]] * 2


def test_a_name_that_two_pictures_share_finds_neither(two, tmp_path):
    a = two.pictures[0]
    alike = CaptionSet("alike", "", (*two.pictures, CaptionedPicture("other/b.jpg", a.path, a.captions)))
    with pytest.raises(LgcaError, match=r"regions of no picture of alike, such as a\.jpg, but of b\.jpg"):
        open_regions(written(tmp_path, {"b.jpg": OWN}), alike)
    assert open_regions(written(tmp_path, {"in/b.jpg": OWN}), alike).of(two.pictures[1], W, H)[1:]


def test_regions_are_clipped_and_left_out_by_the_area_of_their_mask_or_box(two, tmp_path):
    boxes = [
        {"bbox": [-10, -10, 40, 40], "area": 800},  # clipped
        {"bbox": [200, 0, 10, 10], "area": 800},  # outside
        {"bbox": [5, 5, 0, 10]},  # empty
        {"bbox": [0, 0, 7, 8]},  # 56 of 6000 pixels by its box
        {"bbox": [0, 0, 90, 50], "area": 59},  # 59 by its mask
        {"bbox": [0, 0, 90, 50], "area": 60},  # 1 %
        {"bbox": [0, 0, 90, 55]},  # 4950, above 80 %
        {"bbox": [0, 0, 99, 60], "area": 4800},  # 80 %
        {"bbox": [80, 0, 9000, 20]},  # 400 once it is clipped
        {"bbox": [80, 0, 9000, 20]},  # the same once more
    ]
    regions = open_regions(written(tmp_path, {"a.jpg": boxes}), two)
    found = [(0, 0, W, H), (0, 0, 30, 30), (0, 0, 90, 50), (0, 0, 99, 60), (80, 0, 100, 20)]
    assert regions.of(two.pictures[0], W, H) == found
    assert regions.passed_over == {"empty": 2, "size": 3}


@pytest.mark.parametrize(
    "content, said",
    [
        ('{"a.jpg": [[1, 2, 3, 4]', "boxes.json is not JSON"),
        ('{"image": "a.jpg", "boxes": []}\n{"image"', "line 2 is not JSON"),
        ({"a.jpg": [[1, 2, 3]]}, "a.jpg: \\[1, 2, 3\\] is no box"),
        ('{"a.jpg": [[1, 2, 3, NaN]]}', "a.jpg: NaN is no finite number"),
        ({"a.jpg": [{"bbox": [1, 2, 3, "4"]}]}, 'a.jpg: "4" is no finite number'),
        ({"a.jpg": [{"box": {"xmin": 1, "ymin": 1, "xmax": 2, "y": 3}}]}, "a.jpg: null is no finite number"),
        ({"a.jpg": [{"bbox": [1, 2, 3, 4], "area": "big"}]}, 'a.jpg: "big" is no finite number'),
        ({"images": [{"id": 1}], "annotations": []}, "not COCO's JSON: it lacks 'file_name'"),
        ([{"image": "a.jpg", "shapes": []}], 'without the name of a picture or a list "boxes"'),
        ("3", "no regions in a form that is known"),
        ({"z.jpg": OWN}, "regions of no picture of two, such as a.jpg, but of z.jpg"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(two, tmp_path, content, said):
    with pytest.raises(LgcaError, match=said):
        open_regions(written(tmp_path, content), two)


def test_a_file_that_is_not_there_and_a_negative_number(two, tmp_path):
    with pytest.raises(LgcaError, match=r"grid, true, or a file of boxes: there is no file .*gird"):
        open_regions("gird", two)
    with pytest.raises(LgcaError, match="must not be negative, got -1"):
        open_regions("grid", two, random=-1)
