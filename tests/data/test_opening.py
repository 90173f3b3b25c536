"""Pictures of one's own however they are kept: lists of labels, archives, webdatasets, and names for classes."""

import csv
import io
import json
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from lgca_core.data import Conversion, fetching, open_dataset, opening, pictures_at, table
from lgca_core.errors import LgcaError


def png(colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "photos"
    for name in ("a", "b", "c", "d"):
        (root / "in").mkdir(parents=True, exist_ok=True)
        (root / "in" / f"{name}.png").write_bytes(png())
    return root


def rows(manifest) -> list[tuple[str, str]]:
    return [(manifest.key(item), manifest.classes[item.label]) for item in manifest.items]


LISTED = [("in/c.png", "crab"), ("in/a.png", "ibis"), ("in/b.png", "crab")]


def write(file: Path, lines, between: str = ",", encoding: str = "utf-8") -> Path:
    text = io.StringIO()
    csv.writer(text, delimiter=between).writerows(lines)
    file.write_text(text.getvalue(), encoding=encoding)
    return file


# ---- lists of labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heads", "between", "encoding"),
    [
        ([], ",", "utf-8"),
        ([("path", "label")], ",", "utf-8-sig"),
        ([("filename", "class")], "\t", "utf-8"),
        ([("File", "Class_Name")], ";", "utf-8"),
        ([("image", "category")], ",", "utf-8"),
    ],
)
def test_a_path_and_a_label_a_line(root, heads, between, encoding):
    file = write(root / "labels.csv", [*heads, *LISTED], between, encoding)
    made = pictures_at(labels=file)
    assert rows(made) == [("in/b.png", "crab"), ("in/c.png", "crab"), ("in/a.png", "ibis")]
    assert made.classes == ("crab", "ibis") and made.root == root and not made.note


def test_more_columns_and_other_places(root, tmp_path):
    lines = [("id", "label", "path"), *((n, label, path) for n, (path, label) in enumerate(LISTED))]
    file = write(tmp_path / "elsewhere.csv", lines)
    assert rows(pictures_at(root, labels=file))[0] == ("in/b.png", "crab")
    absolute = write(tmp_path / "absolute.csv", [(root / path, label) for path, label in LISTED])
    assert rows(pictures_at(labels=absolute))[0] == ("photos/in/b.png", "crab")
    (tmp_path / "sub").mkdir()
    assert rows(pictures_at(tmp_path / "sub", labels=absolute))[0] == ("b.png", "crab")
    named = write(tmp_path / "named.csv", [(f"photos\\{path}".replace("/", "\\"), label) for path, label in LISTED])
    assert rows(pictures_at(root, labels=named))[0] == ("in/b.png", "crab")


def test_numbers_are_ordered_as_numbers_and_named(root, tmp_path):
    lines = [(path, number) for (path, _), number in zip(LISTED, (10, 9, 2), strict=True)]
    file = write(root / "labels.csv", lines)
    made = pictures_at(labels=file)
    assert made.classes == ("2", "9", "10") and "--class-names" in made.note
    names = write(tmp_path / "names.csv", [("label", "name"), (10, "crab"), (9, "ibis"), (2, "owl")])
    named = pictures_at(labels=file, class_names=names)
    assert named.classes == ("owl", "ibis", "crab") and not named.note


def test_letters_of_labels_and_paths_may_be_in_pieces(root):
    whole, apart = (unicodedata.normalize(form, "Bär") for form in ("NFC", "NFD"))
    (root / f"{apart}.png").write_bytes(png())
    file = write(root / "labels.csv", [(f"{whole}.png", whole), ("in/a.png", apart), ("in/b.png", "ibis")])
    assert pictures_at(labels=file).classes == (whole, "ibis")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([("in/a.png", "crab"), ("in/b.png", "")], "line 2 has no label"),
        ([("in/a.png", "crab"), ("", "ibis")], "line 2 has no path"),
        ([("in/a.png", "crab"), ("in/a.png", "ibis")], "line 2 gives 'in/a.png' the label 'ibis', another line 'crab'"),
        ([("in/a.png", "crab"), ("in/x.png", "ibis"), ("in/y.png", "ibis")], r"3 pictures, 2 of .*in/x\.png.*--images"),
        ([("in/a.png", "crab"), ("in/b.png", "crab")], "only the class 'crab'"),
        ([("in/a.png", "crab"), ("in/b.png", "ibis", "x")], "line 2 has another number of columns"),
        ([("one", "two"), ("in/a.png", "crab")], "first line, 'one,two', is neither"),
        ([("path", "label")], "lists no picture"),
        ([], "lists no picture"),
        ([("in/a.png",)], "is neither a path and a label"),
    ],
)
def test_lists_that_are_wrong_name_the_line(root, lines, said):
    with pytest.raises(LgcaError, match=said) as caught:
        pictures_at(labels=write(root / "labels.csv", lines))
    assert "labels" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_listed_twice_or_is_not_there_is_said(root):
    file = write(root / "labels.csv", [*LISTED, LISTED[0], ("in/x.png", "owl")])
    made = pictures_at(labels=file, on_error="skip")
    assert len(made.items) == 3 and "1 lines" in made.note
    assert [(gone.path, gone.reason) for gone in made.skipped] == [("in/x.png", "no such file")]
    with pytest.raises(LgcaError, match="not UTF-8"):
        pictures_at(labels=write(root / "latin.csv", [("in/a.png", "Bär"), ("in/b.png", "x")], encoding="latin-1"))
    with pytest.raises(LgcaError, match="not there"):
        pictures_at(labels=root / "none.csv")


# ---- names of classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n.csv", "n1,crab\nn2,ibis\n"),
        ("n.csv", "folder,name\r\nn1,crab\r\nn2,ibis\r\n"),
        ("n.tsv", "\ufeffn1\tcrab\nn2\tibis"),
        ("n.json", '{"n1": "crab", "n2": "ibis"}'),
    ],
)
def test_class_names_from_files(root, name, text):
    file = root.parent / name
    file.write_text(text, encoding="utf-8")
    for number in (1, 2):
        (root / f"n{number}").mkdir()
        (root / f"n{number}" / "x.png").write_bytes(png())
    (root / "in").rename(root.parent / "away")
    assert pictures_at(root).classes == ("n1", "n2")
    assert pictures_at(root, class_names=file).classes == ("crab", "ibis")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("n.csv", "n1,crab,x\n", "two columns"),
        ("n.csv", "", "no class a name"),
        ("n.csv", "n1,\n", "'n1' no name"),
        ("n.csv", "n1,a\nn1,b\n", "'n1' a name twice"),
        ("n.json", '{"n1": "a", "n1": "b"}', "'n1' a name twice"),
        ("n.json", '{"n1": 3}', "must have the form"),
        ("n.json", "{", "is not JSON"),
        ("n.json", "3", "must have the form"),
    ],
)
def test_class_names_that_are_wrong(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(LgcaError, match=said):
        pictures_at(tmp_path, class_names=tmp_path / name)


# ---- archives ----------------------------------------------------------------------------------------------


def archive(file: Path, members: dict[str, bytes]) -> Path:
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as packed:
            for name, data in members.items():
                packed.writestr(name, data)
    else:
        with tarfile.open(file, "w:gz" if file.suffix == ".gz" else "w") as packed:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
    return file


FOLDERS = {f"photos/{name}/1.png": png() for name in ("crab", "ibis")}


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "photos.tar.gz"])
@pytest.mark.parametrize("around", [True, False])
def test_archives_of_class_folders(tmp_path, home, name, around):
    members = FOLDERS if around else {name.removeprefix("photos/"): data for name, data in FOLDERS.items()}
    file = archive(tmp_path / name, members | {"__MACOSX/photos/crab/._1.png": b"x"})
    made = pictures_at(file)
    assert made.name == "photos"
    assert rows(made) == [("crab/1.png", "crab"), ("ibis/1.png", "ibis")]
    assert made.root.is_relative_to(home / "unpacked")
    assert all(item.path.is_file() for item in made.items)
    assert open_dataset(file) == made
    listed = write(tmp_path / "l.csv", [("photos/crab/1.png", "x"), ("ibis/1.png", "y")]) if around else None
    if listed:
        assert [label for _, label in rows(pictures_at(file, labels=listed))] == ["x", "y"]


def test_an_archive_is_unpacked_once_and_whole(tmp_path, home, monkeypatch):
    file = archive(tmp_path / "photos.zip", FOLDERS)
    first = pictures_at(file)
    unpack, calls = opening.unpack, []

    def counted(*given, **named):
        calls.append(given[0])
        return unpack(*given, **named)

    monkeypatch.setattr(opening, "unpack", counted)
    assert pictures_at(file) == first and not calls
    file.rename(tmp_path / "other.zip")
    assert pictures_at(tmp_path / "other.zip").items == first.items and not calls  # by its content
    first.items[0].path.unlink()  # as what clears caches does
    assert len(pictures_at(tmp_path / "other.zip").items) == 2 and len(calls) == 1
    archive(tmp_path / "other.zip", FOLDERS | {"photos/owl/1.png": png()})
    assert len(pictures_at(tmp_path / "other.zip").classes) == 3

    def killed(file, into, **_):
        (into / "crab").mkdir()
        (into / "crab" / "1.png").write_bytes(png())
        raise KeyboardInterrupt

    monkeypatch.setattr(opening, "unpack", killed)
    before = opening.all_unpacked()
    with pytest.raises(KeyboardInterrupt):
        pictures_at(archive(tmp_path / "new.zip", FOLDERS | {"photos/owl/2.png": png()}))
    assert opening.all_unpacked() == before
    monkeypatch.setattr(opening, "unpack", unpack)
    assert len(pictures_at(tmp_path / "new.zip").classes) == 3


def test_archives_that_are_unsafe_or_too_large_are_refused(tmp_path, home, monkeypatch):
    monkeypatch.setattr(opening, "SPARE", 10_000)
    monkeypatch.setattr(opening, "TIMES", 2)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("crab/1.png", bytes(1 << 20))
    out = archive(tmp_path / "out.tar", {"../../evil.png": b"x"})
    link = tmp_path / "link.tar"
    with tarfile.open(link, "w") as packed:
        info = tarfile.TarInfo("crab")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc"
        packed.addfile(info)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK but not really")
    for file, said in ((bomb, "far more than its own size"), (out, "leads out"), (link, "a link"), (broken, "neither")):
        with pytest.raises(LgcaError, match=said):
            pictures_at(file)
    assert not [entry for entry in (home / "unpacked").iterdir() if not entry.name.endswith(".lock")]
    assert not (tmp_path / "evil.png").exists()


# ---- webdatasets -------------------------------------------------------------------------------------------


def samples(start: int, kind: str = "cls", count: int = 2) -> dict[str, bytes]:
    made = {}
    for number in range(start, start + count):
        label = str(number % 2)
        said = {"cls": label, "txt": ("crab", "ibis")[number % 2], "json": json.dumps({"label": int(label)})}[kind]
        made |= {f"{number:04d}.png": png(), f"{number:04d}.{kind}": said.encode()}
    return made


@pytest.mark.parametrize(("kind", "classes"), [("cls", ("0", "1")), ("json", ("0", "1")), ("txt", ("crab", "ibis"))])
def test_a_webdataset(tmp_path, kind, classes):
    made = pictures_at(archive(tmp_path / "set.tar", samples(0, kind)))
    assert rows(made) == [("0000.png", classes[0]), ("0001.png", classes[1])]
    assert ("--class-names" in made.note) == (kind != "txt")
    if kind == "cls":
        (tmp_path / "names.json").write_text('["crab", "ibis"]')
        assert pictures_at(tmp_path / "set.tar", class_names=tmp_path / "names.json").classes == ("crab", "ibis")


@pytest.mark.parametrize("spelling", ["shards", "shards/s-{000..001}.tar", "shards/s-*.tar"])
@pytest.mark.parametrize("kind", ["cls", "txt"])
def test_shards(tmp_path, spelling, kind):
    (tmp_path / "shards").mkdir()
    for shard in (0, 1):
        archive(tmp_path / "shards" / f"s-{shard:03d}.tar", samples(0, kind))
    made = pictures_at(tmp_path / spelling)
    assert [made.key(item) for item in made.items] == [
        "s-000/0000.png", "s-001/0000.png", "s-000/0001.png", "s-001/0001.png"
    ]  # fmt: skip
    assert made.name == "shards"
    with pytest.raises(LgcaError, match=r"1 archives that are not there, such as .*s-002\.tar"):
        pictures_at(tmp_path / "shards" / "s-{000..002}.tar")


def test_samples_that_lack_something(tmp_path):
    lacking = samples(0) | {
        "0002.png": png(),
        "0003.cls": b"1",
        "0004.seg.png": png(),
        "0004.png": png(),
        "0004.cls": b"1",
    }
    file = archive(tmp_path / "set.tar", lacking)
    with pytest.raises(LgcaError, match="sample '0002' has no label"):
        pictures_at(file)
    made = pictures_at(file, on_error="skip")
    assert [made.key(item) for item in made.items] == ["0000.png", "0001.png", "0004.png"]
    assert [gone.path for gone in made.skipped] == ["0002.png"]
    assert "1 sample without a picture" in made.note


# ---- what else is opened, and removed ----------------------------------------------------------------------


def test_what_is_no_place_of_pictures(tmp_path):
    (tmp_path / "x.jpg").write_bytes(png())
    with pytest.raises(LgcaError, match="is a file"):
        pictures_at(tmp_path / "x.jpg")
    with pytest.raises(LgcaError, match="does not exist"):
        pictures_at(tmp_path / "none")
    with pytest.raises(LgcaError, match="no pictures are named"):
        pictures_at()
    for opens in (pictures_at, open_dataset):
        with pytest.raises(LgcaError, match="File name too long"):
            opens(tmp_path / ("x" * 300))


def test_the_conversion_goes_along(tmp_path):
    file = archive(tmp_path / "photos.zip", FOLDERS)
    made = pictures_at(file, conversion=Conversion(on_white=True))
    assert made.conversion.on_white and made.sha256 != pictures_at(file).sha256


def test_what_was_unpacked_is_listed_and_removed(tmp_path, home):
    for name in ("one.zip", "two.zip"):
        archive(tmp_path / name, FOLDERS | {f"photos/{name}/1.png": png()})
        pictures_at(tmp_path / name)
    assert [entry.name for entry in opening.all_unpacked()] == ["one.zip", "two.zip"]
    assert opening.all_unpacked()[0].size > 3 * len(png())
    fetching.remove_all("one.zip")
    assert [entry.name for entry in opening.all_unpacked()] == ["two.zip"]
    assert (tmp_path / "one.zip").is_file()
    with pytest.raises(LgcaError, match="no data set and no archive"):
        fetching.places_of("one.zip")


def test_a_data_set_is_removed_and_a_copy_is_not(tmp_path, home):
    place = table.DATASETS["pets"].facts().place
    (place / "images").mkdir(parents=True)
    (place / "images" / "x.jpg").write_bytes(png())
    own = home / "downloads" / "pets" / "images.tar.gz"
    own.parent.mkdir(parents=True)
    own.touch()
    with pytest.raises(LgcaError, match="a copy of yours"):
        fetching.places_of(f"pets:{tmp_path}")
    fetching.remove_all("pets")
    assert not place.exists() and own.is_file()
    copy = tmp_path / "copy"
    (copy / "images").mkdir(parents=True)
    place.symlink_to(copy)
    assert fetching.places_of("pets")[0] == place
    fetching.remove_all("pets")
    assert not place.is_symlink() and (copy / "images").is_dir()
