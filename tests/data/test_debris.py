"""What lies in people's folders: links, leftovers of systems, odd names, one level too many."""

import os
import re
import socket
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from lgca_core.data import folders
from lgca_core.errors import LgcaError


def paint(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path, "PNG")
    return path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "photos"
    for name in ("crab", "ibis"):
        paint(root / name / "1.png")
    return root


def keys(root: Path) -> list[str]:
    made = folders.folder(root)
    return [made.key(item) for item in made.items]


def test_links_to_folders_are_followed(root, tmp_path):
    for number in range(7):
        paint(tmp_path / "more" / f"{number}.png")
    (root / "crab" / "more").symlink_to(tmp_path / "more")
    assert keys(root) == ["crab/1.png", *(f"crab/more/{number}.png" for number in range(7)), "ibis/1.png"]
    assert folders.folder(root).note == ""


def test_links_that_lead_back_are_said_and_end(root, tmp_path):
    paint(root / "crab" / "deep" / "2.png")
    for number, target in enumerate([root / "crab", root, tmp_path, root / "crab" / "deep", Path("deep")]):
        (root / "crab" / f"a{number}").symlink_to(target)
    (root / "ibis" / "self").symlink_to(".")
    (root / "loop").symlink_to(root)
    assert keys(root) == ["crab/1.png", "crab/deep/2.png", "ibis/1.png"]
    note = folders.folder(root).note
    assert "7 links to folders that are read anyway" in note and "1 class folder without pictures ('loop')" in note


def test_debris_is_passed_over_and_counted_in_one_line(root):
    crab = root / "crab"
    for name in (
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "x.json",
        "x.xmp",
        "IMG_1.AAE",
        "IMG_1.CR2",
        "notes",
        "x.tga",
    ):
        (crab / name).write_bytes(b"nothing")
    for name in ("@eaDir", "crab/@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", ".git"):
        paint(root / name / "._1.png")
        paint(root / name / "1.png")
    (root / "empty").mkdir()
    (root / "lists").mkdir()
    (root / "lists" / "a.csv").touch()
    paint(root / "loose.png")
    (root / "descriptions.json").touch()
    assert keys(root) == ["crab/1.png", "ibis/1.png"]
    made = folders.folder(root)
    assert made.classes == ("crab", "ibis") and made.skipped == ()
    assert "\n" not in made.note
    for said in (
        "7 files that are no pictures",
        ".json",
        "9 hidden or system entries",
        "2 class folders without pictures ('empty', 'lists')",
        "1 picture outside the class folders",
    ):
        assert said in made.note, made.note


def test_names_and_first_bytes_say_what_must_be_a_picture(root):
    """Of a picture's suffix: readable, or an error. Of another or none: a picture by its first bytes."""
    paint(root / "crab" / "without suffix")
    paint(root / "crab" / "odd.suffix")
    Image.new("RGB", (8, 6)).save(root / "crab" / "jpeg.part2", "JPEG")
    assert len(keys(root)) == 5
    (root / "crab" / "broken.JPG").touch()
    with pytest.raises(LgcaError, match=r"broken\.JPG: the file is empty"):
        folders.folder(root)
    assert len(folders.folder(root, on_error="skip").skipped) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_sockets_are_never_opened(root):
    os.mkfifo(root / "crab" / "pipe.jpg")
    os.mkfifo(root / "crab" / "pipe")
    os.mkfifo(root / "beside.jpg")
    (root / "crab" / "linked.jpg").symlink_to("pipe.jpg")
    place = os.getcwd()
    os.chdir(root / "ibis")  # a socket's path may be no longer than about 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket.png")
    finally:
        os.chdir(place)
    assert keys(root) == ["crab/1.png", "ibis/1.png"]
    assert "4 pipes, sockets or devices" in folders.folder(root).note
    with pytest.raises(LgcaError, match="not a regular file"):
        folders.file_hash(root / "crab" / "pipe.jpg")


def test_one_class_is_refused_and_the_level_suggested(root):
    with pytest.raises(LgcaError, match=r"only one class with pictures, 'photos': give .*/photos, which holds several"):
        folders.folder(root.parent)
    paint(root / "crab" / "adult" / "1.png")
    with pytest.raises(LgcaError, match=r"'adult': give .*/photos, which"):
        folders.folder(root / "crab")
    paint(root.parent / "alone" / "crab" / "1.png")
    with pytest.raises(LgcaError, match=r"only one class.*'crab': at least two classes are needed"):
        folders.folder(root.parent / "alone")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("n01440764", "n01443537"), "'n01440764'.*--class-names"),
        (("001.Crab", "002.Ibis"), r"'001\.Crab'.*--class-names"),
        (("0", "1", "10"), "'0'.*--class-names"),
        (("train", "val"), "'train', 'val'.*parts of a data set: give one of them, such as .*/val"),
        (("train", "tram"), "^$"),
        (("crab", "ibis"), "^$"),
        (("7 spot ladybird", "crab", "ibis"), "^$"),
    ],
)
def test_names_that_say_nothing_get_a_note(tmp_path, names, said):
    for name in names:
        paint(tmp_path / "x" / name / "1.png")
    assert re.search(said, folders.folder(tmp_path / "x").note)


def test_class_names_replace_folders_and_merge(tmp_path):
    for name in ("n1", "n2", "n3"):
        paint(tmp_path / "x" / name / "1.png")
    made = folders.folder(tmp_path / "x", class_names={"n1": "crab", "n2": "ibis", "n3": "crab"})
    assert made.classes == ("crab", "ibis")
    assert [(made.key(item), item.label) for item in made.items] == [("n1/1.png", 0), ("n3/1.png", 0), ("n2/1.png", 1)]
    assert "3 folders or labels are 2 classes: several are called 'crab'" in made.note
    for names, said in (
        ({"n1": "crab", "n2": "ibis"}, "no name for 'n3'"),
        ({"n1": "crab", "n2": "ibis", "n3": "owl", "n4": "hen"}, "'n4', which x does not have"),
        (dict.fromkeys(("n1", "n2", "n3"), "crab"), "only the class 'crab'"),
    ):
        with pytest.raises(LgcaError, match=said):
            folders.folder(tmp_path / "x", class_names=names)


def test_one_name_composed_and_decomposed_is_one_class(root):
    for form in ("NFC", "NFD"):
        paint(root / unicodedata.normalize(form, "Bär") / f"{form}.png")
    made = folders.folder(root)
    assert len(made.classes) == 3 and "4 folders or labels are 3 classes" in made.note


def test_any_bytes_are_names(root, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9"))
    paint(odd / os.fsdecode(b"\xff\n.png"))
    made = folders.folder(root)
    assert made.classes[0] == "caf\\xe9"
    assert made.key(made.items[0]) == "caf\\xe9/\\xff\n.png"
    assert made.items[0].path.is_file()
    assert len(made.sha256) == 64 and folders.folder(root, remember=True) == made
    Path(odd / "empty.png").touch()
    assert folders.folder(root, on_error="skip").skipped[0].path == "caf\\xe9/empty.png"
    paint(root / "caf\\xe9" / "\\xff\n.png")
    with pytest.raises(LgcaError, match="names differ in bytes alone"):
        folders.folder(root)


def test_paths_that_cannot_be(root, monkeypatch):
    with pytest.raises(LgcaError, match="File name too long"):
        folders.folder(root / ("x" * 300))

    def locked(place):
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(LgcaError, match=r"crab cannot be read .Permission denied"):
        folders.folder(root)
