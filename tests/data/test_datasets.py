"""Labelled pictures on disk: what a manifest holds, what is refused, what is made on demand."""

import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from lgca_core import files
from lgca_core.data import folders, register_dataset, table
from lgca_core.errors import LgcaError
from support import miniatures
from support.stub_encoder import noise_folders


def paint(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "birds"
    for name, colour in (("red_finch/b", "red"), ("red_finch/a", "brown"), ("blue tit/c", "blue")):
        paint(root / f"{name}.png", colour)
    return root


def test_manifest(root):
    (root / "descriptions.json").write_text("{}")
    (root / ".DS_Store").write_text("x")
    (root / "red_finch" / ".hidden.png").write_text("x")
    paint(root / ".cache" / "x.png")
    paint(root / "red_finch" / ".thumbs" / "x.png")
    paint(root / "red_finch" / "deeper" / "d.png", "pink")
    made = folders.folder(root)
    assert (made.name, made.split, made.classes) == ("birds", "all", ("blue tit", "red_finch"))
    keys = [made.key(item) for item in made.items]
    assert keys == ["blue tit/c.png", "red_finch/a.png", "red_finch/b.png", "red_finch/deeper/d.png"]
    assert [item.label for item in made.items] == [0, 1, 1, 1]
    for item in made.items:
        assert item.identity == item.sha256 == hashlib.sha256(item.path.read_bytes()).hexdigest()
    assert folders.folder(root, name="mine", split="test").name == "mine"


def test_manifest_hash_sees_every_change_but_the_place(root, tmp_path):
    first = folders.folder(root).sha256
    moved = tmp_path / "elsewhere" / "flock"
    moved.parent.mkdir()
    root.rename(moved)
    assert folders.folder(moved, name="flock").sha256 == first
    seen = {first}
    paint(moved / "blue tit" / "c.png", "navy")
    seen.add(folders.folder(moved).sha256)
    (moved / "blue tit" / "c.png").rename(moved / "blue tit" / "e.png")
    seen.add(folders.folder(moved).sha256)
    (moved / "blue tit").rename(moved / "blue jay")
    seen.add(folders.folder(moved).sha256)
    assert len(seen) == 4
    made = folders.folder(moved)
    assert replace(made, classes=(*made.classes, "ghost")).sha256 not in seen | {made.sha256}


def test_classes_are_sorted(tmp_path):
    names = [f"class {k * 7 % 23:02d}" for k in range(23)]
    for name in names:
        paint(tmp_path / "x" / name / "a.png")
    assert folders.folder(tmp_path / "x").classes == tuple(sorted(names))


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (lambda root: root / "none", "does not exist"),
        (lambda root: paint(root / "one.png"), "is a file"),
        (lambda root: (root / "empty").mkdir() or root / "empty", "is empty"),
        (lambda root: paint(root / "flat" / "one.png").parent, r"no class folders.*one\.png.*parent"),
        (lambda root: (root / "x" / "cat").mkdir(parents=True) or root / "x", "cat holds no pictures"),
        (lambda root: paint(root / "x" / "cat" / ".a.png").parents[1], "cat holds no pictures"),
    ],
)
def test_folders_that_are_none(tmp_path, arrange, message):
    with pytest.raises(LgcaError, match=message) as caught:
        folders.folder(arrange(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_unreadable_files_raise_or_are_listed(root):
    (root / "red_finch" / "empty.jpg").touch()
    (root / "red_finch" / "gone.jpg").symlink_to(root / "nowhere")
    with pytest.raises(LgcaError, match=r"empty\.jpg: the file is empty.*--on-error skip"):
        folders.folder(root)
    made = folders.folder(root, on_error="skip")
    assert len(made.items) == 3
    assert [(s.path, s.reason) for s in made.skipped] == [
        ("red_finch/empty.jpg", "the file is empty"),
        ("red_finch/gone.jpg", "the file cannot be read (No such file or directory)"),
    ]


def test_file_hash_is_the_identity(root):
    made = folders.folder(root)
    assert [folders.file_hash(str(item.path)) for item in made.items] == [item.identity for item in made.items]
    with pytest.raises(LgcaError, match="nowhere: the file cannot be read"):
        folders.file_hash(root / "nowhere")


def test_nothing_readable_at_all(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "x" / name).mkdir(parents=True)
        (tmp_path / "x" / name / "a.jpg").touch()
    with pytest.raises(LgcaError, match="no picture that can be read"):
        folders.folder(tmp_path / "x", on_error="skip")


# ---- hashes kept -------------------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Names of the pictures that were read, since the last clear(); a cache of its own."""
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    names = []
    hashed = folders._hash

    def counted(file):
        names.append(file.name)
        return hashed(file)

    monkeypatch.setattr(folders, "_hash", counted)
    return names


def age(root: Path, seconds: float = 60.0) -> None:
    """As if the pictures had lain there for a while."""
    for path in root.rglob("*.png"):
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - int(seconds * 1e9)))


def test_a_second_time_no_picture_is_read(root, read, tmp_path):
    age(root)
    first = table.open_dataset(root)
    assert sorted(read) == ["a.png", "b.png", "c.png"]
    read.clear()
    assert table.open_dataset(root) == first
    assert table.open_dataset(str(root)) == first
    assert read == []
    [kept] = (tmp_path / "home" / "manifests").iterdir()
    assert kept.suffix == ".json"
    assert folders.folder(root) == first
    assert len(read) == 3  # asked for by path alone, nothing is kept or trusted


def test_changed_pictures_are_read_again(root, read):
    age(root)
    first = table.open_dataset(root)
    read.clear()
    same_size = bytearray((root / "red_finch" / "a.png").read_bytes())
    same_size[-1] ^= 1
    (root / "red_finch" / "a.png").write_bytes(same_size)  # another time of change
    paint(root / "red_finch" / "d.png")
    status = (root / "blue tit" / "c.png").stat()
    with (root / "blue tit" / "c.png").open("ab") as stream:  # another size
        stream.write(b"x")
    os.utime(root / "blue tit" / "c.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    made = table.open_dataset(root)
    assert sorted(read) == ["a.png", "c.png", "d.png"]
    assert made == folders.folder(root)
    assert made.sha256 != first.sha256
    (root / "red_finch" / "d.png").unlink()
    assert len(table.open_dataset(root).items) == 3


def test_what_did_not_change_stays_known(root, read):
    age(root)
    table.open_dataset(root)
    paint(root / "red_finch" / "d.png")
    age(root / "red_finch")
    table.open_dataset(root)
    read.clear()
    table.open_dataset(root)
    assert read == []


def test_a_picture_that_has_just_changed_is_not_taken_on_trust(root, read, monkeypatch):
    """Within the clock's tick a second change would not show: such a hash is not kept."""
    oldest = min(file.stat().st_mtime_ns for file in root.rglob("*.*"))
    monkeypatch.setattr(folders.time, "time_ns", lambda: oldest + int(folders.RECENT * 1e9) - 1)
    table.open_dataset(root)
    read.clear()
    table.open_dataset(root)
    assert len(read) == 3


def test_a_damaged_cache_costs_only_time(root, read, tmp_path):
    age(root)
    first = table.open_dataset(root)
    [kept] = (tmp_path / "home" / "manifests").iterdir()
    for damage in (b"", b"{", b"[]", b'{"red_finch/a.png": 3}', b'{"rows": 3, "sha256": 3}', b"\xff"):
        kept.write_bytes(damage)
        read.clear()
        assert table.open_dataset(root) == first
        assert len(read) == 3
    assert os.listdir(kept.parent) == [kept.name]


def test_one_changed_digit_is_noticed(root, read, tmp_path):
    age(root)
    first = table.open_dataset(root)
    [kept] = (tmp_path / "home" / "manifests").iterdir()
    text = kept.read_text()
    for sha256 in (first.items[0].sha256, json.loads(text)["sha256"]):
        read.clear()
        kept.write_text(text.replace(sha256, f"{(int(sha256[0], 16) + 1) % 16:x}{sha256[1:]}"))
        assert table.open_dataset(root) == first
        assert len(read) == 3


def test_a_cache_that_cannot_be_written_costs_only_time(root, read, tmp_path, monkeypatch):
    age(root)
    (tmp_path / "file").touch()
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "file"))
    assert table.open_dataset(root) == folders.folder(root)


def test_files_that_cannot_be_read_are_never_kept(root, read):
    age(root)
    (root / "red_finch" / "empty.png").touch()
    age(root)
    for _ in range(2):
        assert [skipped.path for skipped in table.open_dataset(root, on_error="skip").skipped] == [
            "red_finch/empty.png"
        ]
    assert read.count("empty.png") == 2
    assert read.count("a.png") == 1


def test_two_data_sets_of_the_same_pictures_share_what_is_kept(read, tmp_path):
    copy = miniatures.make("places365", tmp_path / "copy")
    for path in copy.rglob("*.jpg"):
        os.utime(path, (1e9, 1e9))
    names = table.open_dataset(f"places365:{copy}").classes
    read.clear()
    assert table.open_dataset(f"places365-distinct:{copy}").classes != names
    assert read == []


# ---- the table ---------------------------------------------------------------------------------------------


@pytest.fixture
def world(monkeypatch, tmp_path):
    """A stand-in for the aviary's splits that counts how often it paints."""
    splits = ModuleType("lgca_core.aviary.splits")
    splits.VERSION = "7"
    splits.made = []

    def materialise(name, root):
        splits.made.append((name, Path(root)))
        paint(Path(root) / "red finch" / "000.png")
        paint(Path(root) / "blue tit" / "000.png")

    splits.materialise = materialise
    splits.descriptions_of = lambda name: {kind: [f"one of {name}."] for kind in ("blue tit", "red finch")}
    monkeypatch.setitem(sys.modules, "lgca_core.aviary.splits", splits)
    monkeypatch.setattr("lgca_core.aviary.splits", splits, raising=False)
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    return splits


def test_made_once_on_demand(world, tmp_path):
    first = table.open_dataset("aviary-night")
    again = table.open_dataset("aviary-night")
    assert first == again
    assert (first.name, first.split, first.classes) == ("aviary-night", "test", ("blue tit", "red finch"))
    assert first.root == tmp_path / "home" / "datasets" / "aviary-night-7"
    assert [name for name, _ in world.made] == ["aviary-night"]
    assert table.DATASETS["aviary-night"].descriptions()["red finch"] == ["one of aviary-night."]
    age(first.root)
    table.open_dataset("aviary-night")
    assert len(list((tmp_path / "home" / "manifests").iterdir())) == 1
    world.VERSION = "8"
    assert table.open_dataset("aviary-night").root.name == "aviary-night-8"
    assert table.open_dataset("aviary-validation").split == "validation"


def test_table_lists_every_split_of_the_aviary():
    from lgca_core.aviary import splits

    assert set(table.DATASETS) >= set(splits.SPLITS)
    described = table.DATASETS["aviary"].descriptions()
    assert len(described) == 40
    assert min(len(sentences) for sentences in described.values()) >= 8


def test_made_whole_or_not_at_all(world, tmp_path):
    def fails(name, root):
        paint(Path(root) / "red finch" / "000.png")
        raise OSError(28, "No space left on device")

    world.materialise = fails
    with pytest.raises(LgcaError, match=r"No space left.*LGCA_HOME"):
        table.open_dataset("aviary")
    assert os.listdir(tmp_path / "home" / "datasets") == []


def test_made_by_two_at_once(world, tmp_path):
    finished = world.materialise

    def overtaken(name, root):
        finished(name, tmp_path / "home" / "datasets" / "aviary-7")
        finished(name, root)

    world.materialise = overtaken
    assert len(table.open_dataset("aviary").items) == 2
    assert os.listdir(tmp_path / "home" / "datasets") == ["aviary-7"]


def test_home_that_cannot_be_written(world, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "file"))
    with pytest.raises(LgcaError, match="LGCA_HOME"):
        table.open_dataset("aviary")
    monkeypatch.delenv("LGCA_HOME")
    assert files.home().name == "lgca"


def test_open_dataset_takes_folders_and_suggests_names(root, monkeypatch, tmp_path):
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    assert table.open_dataset(root) == folders.folder(root)
    (root / "red_finch" / "empty.jpg").touch()
    assert len(table.open_dataset(str(root), on_error="skip").skipped) == 1
    with pytest.raises(LgcaError, match="did you mean aviary-night"):
        table.open_dataset("aviary-nigth")
    with pytest.raises(LgcaError, match="known are aviary, "):
        table.open_dataset("xyz")


def test_a_data_set_of_another_origin_registers_itself(tmp_path, monkeypatch):
    manifest = noise_folders(tmp_path / "toys", ("red", "blue"))
    monkeypatch.setattr(table, "DATASETS", dict(table.DATASETS))
    facts = table.Facts("test", 2, 2, "MIT", "none", tmp_path / "toys")
    register_dataset("toys", table.Entry("toys", lambda copy, on_error: manifest, lambda: facts))
    assert table.open_dataset("toys") is manifest
    with pytest.raises(LgcaError, match="made on demand"):
        table.open_dataset("toys:/a/copy")
    with pytest.raises(LgcaError, match="did you mean toys"):
        table.open_dataset("tois")
    for name in ("toys", "aviary", "a:b"):
        with pytest.raises(LgcaError, match=name):
            register_dataset(name, table.DATASETS["toys"])
