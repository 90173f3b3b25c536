"""The table of published data sets: what it says, how a copy of each is read, and what is said of wrong ones."""

import csv
import json
import pkgutil
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from lgca_core.cli import options
from lgca_core.data import fetching, folders
from lgca_core.data.sources import SOURCES
from lgca_core.data.table import DATASETS, open_dataset
from lgca_core.errors import LgcaError
from lgca_core.prompts.published import entries_of
from support import miniatures
from support.command_line import lgca
from support.shared import PROMPTS
from support.stub_encoder import rich

COUNTS = {
    "imagenet": (50_000, 1000),
    "imagenet-v2": (10_000, 1000),
    "imagenet-r": (30_000, 200),
    "imagenet-a": (7_500, 200),
    "imagenet-sketch": (50_889, 1000),
    "cub": (5_794, 200),
    "pets": (3_669, 37),
    "dtd": (1_880, 47),
    "food101": (25_250, 101),
    "places365": (36_500, 365),
    "places365-distinct": (36_500, 365),
}

pytestmark = pytest.mark.usefixtures("home")


def labelled(manifest) -> dict[str, str]:
    return {manifest.key(item): manifest.class_ids[item.label] for item in manifest.items}


# ---- the table ---------------------------------------------------------------------------------------------


def test_the_table_is_one_and_whole():
    assert {name: (row.images, len(row.class_ids)) for name, row in SOURCES.items()} == COUNTS
    assert [name for name, entry in DATASETS.items() if entry.source] == list(SOURCES)
    for name, row in SOURCES.items():
        for said in (row.title, row.split, row.counted, row.licence, row.terms, row.layout, row.download):
            assert said
        assert row.homepage.startswith("http")
        assert len(row.classes) == len(row.class_ids) == len(set(row.class_ids))
        assert row.per_class in (None, row.images / len(row.class_ids))
        for archive in row.archives:
            assert archive.source
            assert archive.size is None or archive.size > 1_000_000
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", archive.checksum or "")
            assert all(url.startswith("http") for url in archive.urls)
            assert bool(archive.urls) == (name != "imagenet")


def test_names_in_label_order():
    imagenet = SOURCES["imagenet"]
    assert imagenet.class_ids == tuple(sorted(imagenet.class_ids))
    assert imagenet.classes[:2] == ("tench", "goldfish")
    assert len(set(imagenet.classes)) == 998  # two missiles, two pairs of sunglasses
    assert SOURCES["imagenet-v2"].classes == SOURCES["imagenet-sketch"].classes == imagenet.classes
    for name in ("imagenet-r", "imagenet-a"):
        assert set(SOURCES[name].class_ids) < set(imagenet.class_ids)
        assert SOURCES[name].class_ids == tuple(sorted(SOURCES[name].class_ids))
    assert SOURCES["cub"].classes[33] == "Gray-crowned-Rosy Finch"
    assert SOURCES["pets"].classes[:3] == ("Abyssinian", "american bulldog", "american pit bull terrier")
    assert SOURCES["food101"].classes[0] == "apple pie"
    assert SOURCES["dtd"].classes[30] == "polka-dotted"


def test_both_protocols_of_places():
    published, distinct = SOURCES["places365"], SOURCES["places365-distinct"]
    assert len(set(published.classes)) == 344
    assert len(set(distinct.classes)) == 365
    differ = [(a, b) for a, b in zip(published.classes, distinct.classes, strict=True) if a != b]
    assert len(differ) == 40
    assert ("arena", "hockey arena") in differ
    assert ("ice skating rink", "indoor ice skating rink") in differ
    assert all(b.endswith(f" {a}") for a, b in differ)
    assert published.folder == distinct.folder  # one download for both


def test_names_are_those_of_open_clip():
    import open_clip

    assert SOURCES["imagenet"].classes == tuple(open_clip.IMAGENET_CLASSNAMES)


@pytest.mark.parametrize(("name", "file"), [("imagenet", ""), ("imagenet-a", "a_"), ("imagenet-r", "r_")])
def test_wnids_are_those_of_timm(name, file):
    data = pkgutil.get_data("timm.data", f"_info/imagenet_{file}synsets.txt")
    assert SOURCES[name].class_ids == tuple(data.decode().split())


def test_archives_are_as_their_sources_have_them():
    """The CSV was copied from the sources a second time; what is empty there, its source does not say."""
    table = {archive.name: archive for row in SOURCES.values() for archive in row.archives}
    rows = list(csv.DictReader(Path(__file__).with_name("archives.csv").open(encoding="utf-8")))
    for row in rows:
        archive = table[row["file"]]
        assert row["bytes"] in ("", str(archive.size))
        assert row["checksum"] in ("", archive.checksum)
        assert row["address"] in ("", *archive.urls)
    stated = [{row["file"] for row in rows if row[column]} for column in ("bytes", "checksum")]
    assert stated == [{name for name, archive in table.items() if archive.size}, set(table)]
    addresses = {row["address"] for row in rows}
    untold = {url for archive in table.values() for url in archive.urls} - addresses
    assert untold == set(table["ImageNet-Sketch.zip"].urls)


def test_addresses_and_checksums_are_those_of_torchvision():
    from torchvision.datasets import DTD, Food101, OxfordIIITPet, Places365
    from torchvision.datasets.imagenet import ARCHIVE_META

    def row(name):
        return {archive.name: archive for archive in SOURCES[name].archives}

    assert row("food101")["food-101.tar.gz"].urls == (Food101._URL,)
    assert row("dtd")["dtd-r1.0.1.tar.gz"].urls == (DTD._URL,)
    assert [archive.urls[0] for archive in SOURCES["pets"].archives] == [url for url, _ in OxfordIIITPet._RESOURCES]
    for file, md5 in (Places365._IMAGES_META["val", False], Places365._DEVKIT_META["standard"]):
        assert row("places365")[file].urls == (Places365._BASE_URL + file,)
        assert row("places365")[file].checksum == f"md5:{md5}"
    for file, md5 in (ARCHIVE_META["val"], ARCHIVE_META["devkit"]):
        assert row("imagenet")[file].checksum == f"md5:{md5}"


# ---- the published prompts ---------------------------------------------------------------------------------


def published(name: str, file: str):
    """A published prompt file, of the folder beside this checkout or of LGCA_TEST_PROMPTS; else the test is skipped."""
    row = SOURCES[name]
    for folder in (row.prompts, "imagenet"):  # the variants of ImageNet have the same files as ImageNet
        path = PROMPTS / folder / file
        if path.is_file() and (folder == row.prompts or name.startswith("imagenet")):
            return json.loads(path.read_text(encoding="utf-8"))
    if not PROMPTS.is_dir():
        pytest.skip("no published prompt files beside this checkout: set LGCA_TEST_PROMPTS to a folder of them")
    pytest.skip(f"the folder of published prompt files has no {file} for {row.prompts}")


@pytest.mark.parametrize("name", miniatures.NAMES)
@pytest.mark.parametrize(("file", "kind"), [("cupl.json", "descriptions"), ("clip-d.json", "descriptors")])
def test_every_class_has_published_prompts_under_its_name(name, file, kind):
    table = published(name, file)
    row = SOURCES[name]
    found = entries_of(row, row.class_ids, table, kind)
    assert len(found) == len(row.class_ids)
    assert all(entries for _, entries in found)
    if name not in ("imagenet-r", "imagenet-a"):  # nothing that is published goes unread
        former = row.former() if kind == "descriptors" else {}
        read = {former.get(class_id) or (row.key or row.name)(class_id) for class_id in row.class_ids}
        assert set(table) == read


@pytest.mark.parametrize("name", ["cub", "pets", "dtd", "food101", "places365"])
def test_classes_are_published_in_the_same_order(name):
    assert [name.replace("_", " ") for name in published(name, "classes.json")] == list(SOURCES[name].classes)


def test_prompts_are_looked_up_by_name():
    row = SOURCES["pets"]
    table = {name: [f"of {name}"] for name in sorted(row.classes, reverse=True)}
    found = entries_of(row, row.class_ids, table, "descriptions")
    assert found == [(name, [f"of {name}"]) for name in row.classes]
    del table["beagle"]
    with pytest.raises(LgcaError, match=r"have none for the class 'beagle' of Oxford-IIIT Pet"):
        entries_of(row, row.class_ids, table, "descriptions")


def test_what_is_said_of_distinct_names_is_counted():
    row = SOURCES["places365-distinct"]
    said = entries_of(row, row.class_ids, published("places365", "cupl.json"), "descriptions")
    shared = dict(zip(row.class_ids, SOURCES["places365"].classes, strict=True))
    renamed = [(shared[id_], name, told) for id_, (name, told) in zip(row.class_ids, said) if name != shared[id_]]
    same = [
        sentence
        for place, name, told in renamed
        for sentence in told
        if any(sentence in others for also, other, others in renamed if (also, other != name) == (place, True))
    ]
    total = sum(len(told) for _, _, told in renamed)
    assert f"The {len(renamed)} classes" in row.note
    assert f"{len(same)} of these {total} sentences ({len(same) / total:.0%})".replace("%", " %") in row.note


def test_former_names_in_the_descriptors_of_imagenet():
    row = SOURCES["imagenet"]
    ids = miniatures.IDS["imagenet"]
    table = {name: [f"a {name} thing"] for name in ("tench", "newt", "eft", "missile", "projectile")}
    assert row.names(ids) == ("tench", "newt", "missile", "missile")
    assert [name for name, _ in entries_of(row, ids, table, "descriptions")] == ["tench", "newt", "missile", "missile"]
    assert entries_of(row, ids, table, "descriptors") == [
        (name, [f"a {name} thing"]) for name in ("tench", "eft", "missile", "projectile")
    ]


def test_distinct_names_are_read_out_in_shared_sentences():
    table = {
        "airfield": ["An airfield is flat."],
        "arena": ["An arena is large, than an arena.", "Arenas, the arena.", "large", "subarena"],
    }
    ids = ("/a/airfield", "/a/arena/hockey")
    assert entries_of(SOURCES["places365-distinct"], ids, table, "descriptions") == [
        ("airfield", ["An airfield is flat."]),
        (
            "hockey arena",
            ["A hockey arena is large, than a hockey arena.", "Hockey Arenas, the hockey arena.", "large", "subarena"],
        ),
    ]
    urban = ("/c/canal/urban",)
    assert entries_of(SOURCES["places365-distinct"], urban, {"canal": ["a canal.", "A Canal."]}, "descriptions") == [
        ("urban canal", ["an urban canal.", "An Urban Canal."])
    ]
    assert entries_of(SOURCES["places365-distinct"], ids, table, "descriptors")[1] == ("hockey arena", table["arena"])
    assert entries_of(SOURCES["places365"], ids, table, "descriptions")[1] == ("arena", table["arena"])


# ---- layouts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", miniatures.NAMES)
def test_every_layout_is_read(tmp_path, name):
    copy = miniatures.make(name, tmp_path / "copy")
    made = open_dataset(f"{name}:{copy}")
    assert labelled(made) == miniatures.split(name)
    assert made.class_ids == miniatures.IDS[name]
    assert made.classes == SOURCES[name].names(made.class_ids)
    assert (made.name, made.split) == (name, SOURCES[name].split)
    order = [(item.label, made.key(item)) for item in made.items]
    assert order == sorted(order)
    assert all(item.path.is_file() for item in made.items)


@pytest.mark.parametrize("name", miniatures.NAMES)
def test_a_copy_is_found_from_above_and_from_within(tmp_path, name):
    miniatures.make(name, tmp_path / "data" / "copy")
    made = open_dataset(f"{name}:{tmp_path / 'data' / 'copy'}")
    base = made.root if made.root.name not in ("images", "val_large", "val") else made.root.parent
    for path in {tmp_path / "data", tmp_path / "data" / "copy", base, made.root, made.items[0].path.parent}:
        assert open_dataset(f"{name}:{path}") == made


def test_a_copy_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    miniatures.make("dtd", tmp_path / "copy")
    assert open_dataset("dtd:~/copy").root == tmp_path / "copy" / "dtd" / "images"


def test_the_place_of_a_copy_does_not_enter_its_hash(tmp_path):
    first = open_dataset(f"cub:{miniatures.make('cub', tmp_path / 'a')}")
    second = open_dataset(f"cub:{miniatures.make('cub', tmp_path / 'b' / 'c') / 'CUB_200_2011'}")
    assert first.sha256 == second.sha256


def test_torchvisions_folders(tmp_path):
    from torchvision.datasets import DTD, Food101, OxfordIIITPet

    for name, top, kind in (("pets", "oxford-iiit-pet", OxfordIIITPet), ("dtd", "dtd", DTD), ("food101", "", Food101)):
        root = tmp_path / name
        miniatures.make(name, root / top)
        theirs = kind(root, split="test")
        paths = theirs._images if name == "pets" else theirs._image_files
        made = open_dataset(f"{name}:{root}")
        ours = {item.path: item.label for item in made.items}
        assert ours == {Path(path): label for path, label in zip(paths, theirs._labels, strict=True)}


def test_imagenet_in_class_folders(tmp_path):
    flat = open_dataset(f"imagenet:{miniatures.make('imagenet', tmp_path / 'flat')}")
    copy = miniatures.make("imagenet", tmp_path / "folders", by_class=True)
    (copy / "train" / "n01440764").mkdir(parents=True)
    made = open_dataset(f"imagenet:{copy}")
    assert made.classes == flat.classes
    assert {Path(key).name: class_id for key, class_id in labelled(made).items()} == labelled(flat)
    assert [item.sha256 for item in made.items] == [item.sha256 for item in flat.items]
    assert open_dataset(f"imagenet:{copy / 'val'}") == made
    with pytest.raises(LgcaError, match=r"train is of the training pictures: give the folder of the split 'val'"):
        open_dataset(f"imagenet:{copy / 'train'}")
    (copy / "val").rename(copy / "validation")
    assert open_dataset(f"imagenet:{copy}").root == copy / "validation"  # not train


def test_imagenet_with_the_kit_still_packed(tmp_path):
    copy = miniatures.make("imagenet", tmp_path / "copy")
    made = open_dataset(f"imagenet:{copy}")
    kit = copy / "ILSVRC2012_devkit_t12"
    with tarfile.open(copy / f"{kit.name}.tar.gz", "w:gz") as packed:
        packed.add(kit, kit.name)
    shutil.rmtree(kit)
    assert open_dataset(f"imagenet:{copy}") == made
    (copy / f"{kit.name}.tar.gz").rename(copy / "val" / f"{kit.name}.tar.gz")  # beside the pictures
    assert open_dataset(f"imagenet:{copy}") == made


def test_versions_two_labels_are_numbers(tmp_path):
    made = open_dataset(f"imagenet-v2:{miniatures.make('imagenet-v2', tmp_path)}")
    assert [made.key(item).partition("/")[0] for item in made.items] == ["0", "0", "2", "2", "10", "10"]
    assert [item.label for item in made.items] == [0, 0, 1, 1, 2, 2]


def test_a_part_is_read_and_said_to_be_one(tmp_path):
    copy = miniatures.make("pets", tmp_path)
    made = open_dataset(f"pets:{copy}")
    assert made.note == "This is not the whole of Oxford-IIIT Pet: 6 of 3,669 pictures, 3 of 37 classes."


def test_the_whole_is_read_without_a_note(tmp_path, monkeypatch):
    copy = miniatures.make("pets", tmp_path)
    miniatures.enter(monkeypatch, "pets")
    assert open_dataset(f"pets:{copy}").note == ""


def test_listed_pictures_that_are_missing(tmp_path):
    copy = miniatures.make("food101", tmp_path)
    gone = copy / "food-101" / "images" / next(iter(miniatures.split("food101")))
    gone.unlink()
    with pytest.raises(LgcaError, match=r"No such file.*unpack its archives again, or .*--on-error skip") as caught:
        open_dataset(f"food101:{copy}")
    assert str(gone) in str(caught.value)
    made = open_dataset(f"food101:{copy}", on_error="skip")
    assert [skipped.path for skipped in made.skipped] == [next(iter(miniatures.split("food101")))]
    assert len(made.items) == 5


# ---- wrong layouts -----------------------------------------------------------------------------------------


def change(path: str, new: str | bytes):
    def arrange(copy: Path) -> None:
        (copy / path).write_bytes(new if isinstance(new, bytes) else new.encode())

    return arrange


def remove(path: str):
    def arrange(copy: Path) -> None:
        shutil.rmtree(copy / path) if (copy / path).is_dir() else (copy / path).unlink()

    return arrange


def folder(path: str, *files: str):
    def arrange(copy: Path) -> None:
        (copy / path).mkdir(parents=True)
        for file in files:
            (copy / path / file).write_bytes(b"x")

    return arrange


KIT = "ILSVRC2012_devkit_t12/data"


@pytest.mark.parametrize(
    ("name", "arrange", "message"),
    [
        ("cub", remove("CUB_200_2011/images.txt"), r"holds no copy of CUB-200-2011: there must be .*images\.txt"),
        (
            "cub",
            change("CUB_200_2011/classes.txt", "1 a b\n"),
            r"classes\.txt, line 1 is '1 a b', not of the form '<cl",
        ),
        ("cub", change("CUB_200_2011/classes.txt", "one a\n"), r"classes\.txt numbers a class in letters"),
        ("cub", change("CUB_200_2011/classes.txt", "9 a\n"), r"the class '1', which is not in the list of classes"),
        ("cub", change("CUB_200_2011/train_test_split.txt", "1 0\n"), r"split\.txt does not have every picture"),
        ("cub", change("CUB_200_2011/images.txt", "1 ../../secret.jpg\n"), r"secret\.jpg', which leads out of"),
        ("cub", change("CUB_200_2011/images.txt", b"1 \xff\xfe.jpg\n"), r"images\.txt is not UTF-8 text"),
        ("pets", remove("annotations/test.txt"), r"no copy of Oxford-IIIT Pet: .*annotations/test\.txt"),
        ("pets", change("annotations/test.txt", ""), r"test\.txt lists no picture"),
        ("pets", change("annotations/test.txt", "cat_1 one 1 1\n"), r"numbers a class in letters"),
        ("dtd", remove("dtd/labels/test1.txt"), r"no copy of Describable Textures \(DTD\)"),
        ("dtd", change("dtd/labels/test1.txt", "/etc/passwd\n"), r"'/etc/passwd', which leads out of"),
        ("food101", change("food-101/meta/test.json", "[1]"), r"test\.json is not of the form"),
        ("food101", change("food-101/meta/test.json", "{"), r"test\.json is not of the form"),
        ("places365", remove("val_large"), r"no copy of Places365: .*val_large/ \(full size, not val_256/\)"),
        ("places365", change("categories_places365.txt", "/a/airfield 0\n"), r"the class '1', which is not"),
        ("imagenet", remove("ILSVRC2012_devkit_t12"), r"labels are in the devkit: put ILSVRC2012_devkit_t12\.tar\.gz"),
        ("imagenet", change(f"{KIT}/meta.mat", b"no"), r"ILSVRC2012_devkit_t12 holds a meta\.mat that cannot be read"),
        (
            "imagenet",
            remove(f"{KIT}/ILSVRC2012_validation_ground_truth.txt"),
            r"cannot be read as the devkit of ILSVRC",
        ),
        ("imagenet", change(f"{KIT}/ILSVRC2012_validation_ground_truth.txt", "one"), r"is not the devkit of ImageNet"),
        ("imagenet", change(f"{KIT}/ILSVRC2012_validation_ground_truth.txt", "77"), r"the class 77, which is not"),
        ("imagenet", remove("val"), r"holds no copy of ImageNet \(ILSVRC 2012\): there must be val/<wnid>"),
        ("imagenet-a", folder("imagenet-a/n01440764", "a.jpg"), r"n01440764, which is no class of ImageNet-A"),
        ("imagenet-a", folder("imagenet-a/n01518878"), r"n01518878, which is no class of ImageNet-A"),
        ("imagenet-a", folder("imagenet-a/n01531178"), r"n01531178 holds no pictures: fill or remove it"),
        ("imagenet-sketch", remove("sketch"), r"no copy of ImageNet-Sketch: there must be sketch/<wnid>"),
    ],
)
def test_wrong_layouts_get_one_sentence(tmp_path, name, arrange, message):
    copy = miniatures.make(name, tmp_path / "copy")
    arrange(copy)
    with pytest.raises(LgcaError, match=message) as caught:
        open_dataset(f"{name}:{copy}")
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)


def test_no_copy_at_all(tmp_path):
    for spec, message in (
        (f"pets:{tmp_path / 'none'}", "does not exist: give the folder of your copy of Oxford-IIIT Pet"),
        (f"pets:{__file__}", "is a file"),
        ("pets:", "names no folder: write pets:/path/to/copy, or pets"),
        (f"aviary:{tmp_path}", "aviary is made on demand and takes no path"),
        (f"petz:{tmp_path}", "did you mean pets"),
    ):
        with pytest.raises(LgcaError, match=re.escape(message)):
            open_dataset(spec)


def test_archives_that_are_still_packed(tmp_path):
    for name in ("imagenet", "food101", "places365-distinct"):
        miniatures.pack(name, tmp_path / name)
        folder = SOURCES[name].folder
        with pytest.raises(LgcaError, match=rf"still packed: lgca datasets fetch {folder}:{tmp_path / name} unpacks"):
            open_dataset(f"{name}:{tmp_path / name}")


def test_several_copies_are_not_chosen_from(tmp_path):
    for place in ("one", "two"):
        miniatures.make("dtd", tmp_path / place)
        (tmp_path / place / "dtd").rename(tmp_path / f"{place}-dtd")
    with pytest.raises(LgcaError, match=r"several folders that could be Describable.* one-dtd and two-dtd: name one"):
        open_dataset(f"dtd:{tmp_path}")


# ---- check -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", miniatures.NAMES)
def test_check_of_a_whole_copy(tmp_path, monkeypatch, name):
    copy = miniatures.make(name, tmp_path / "copy")
    row = miniatures.enter(monkeypatch, name)
    status, out, err = lgca("datasets", "check", f"{name}:{copy}")
    assert (status, err) == (0, "")
    assert f"pictures  {row.images} of {row.images}" in out
    assert f"classes   {len(row.class_ids)} of {len(row.class_ids)}" in out


@pytest.mark.parametrize(
    ("name", "arrange", "first"),
    [
        ("cub", remove("CUB_200_2011/images/013.Bobolink"), r"2 listed pictures missing: 013\.Bobolink/\S+, 013"),
        (
            "cub",
            change(
                "CUB_200_2011/classes.txt", "1 001.Black_footed_Albatross\n2 013.Boblink\n143 x\n3 143.Caspian_Tern\n"
            ),
            "1 class missing: 013.Bobolink",
        ),
        ("imagenet-a", remove("imagenet-a/n01631663"), "1 class missing: n01631663"),
        (
            "places365",
            change("categories_places365.txt", "/a/airfield 0\n/a/arena/hockey 1\n/a/arena/rodeo 2\n/z/zoo 3\n"),
            "1 class unknown: /z/zoo",
        ),
        ("imagenet-sketch", remove("sketch/n01443537/sketch_0.JPEG"), r"1 class without 2 pictures: n01443537 \(1\)"),
        ("imagenet-r", change("imagenet-r/n01443537/art_0.jpg", ""), "1 picture empty: n01443537/art_0.jpg"),
        ("imagenet-r", change("imagenet-r/n01443537/art_1.jpg", "x"), r"1 class without 2 pictures: n01443537 \(3\)"),
        (
            "pets",
            change("annotations/test.txt", "american_bulldog_201 1 2 1\nAbyssinian_201 2 1 1\nBengal_201 3 1 1\n"),
            "the classes are in another order",
        ),
    ],
)
def test_check_names_what_is_off(tmp_path, monkeypatch, name, arrange, first):
    copy = miniatures.make(name, tmp_path / "copy")
    miniatures.enter(monkeypatch, name)
    arrange(copy)
    status, out, err = lgca("datasets", "check", f"{name}:{copy}")
    assert status == 2
    assert re.fullmatch(rf"error: {name}:{copy} is not whole: {first}.*: unpack its archives again\n", err)
    assert re.search(rf"  off       {first}", out)
    assert len(out.splitlines()) < 12


def test_check_of_a_part_against_the_real_table(tmp_path):
    copy = miniatures.make("dtd", tmp_path / "copy")
    place, rows, faults, _ = fetching.check(f"dtd:{copy}")
    assert place == copy / "dtd" / "images"
    assert rows[:2] == [("pictures", "6 of 1,880"), ("classes", "3 of 47")]
    assert faults == [
        "44 classes missing: blotchy, braided, bubbly, ...",
        "3 classes without 40 pictures: banded (2), chequered (2), polka-dotted (2)",
        "6 pictures instead of 1,880",
    ]


def test_check_reads_no_picture(tmp_path, monkeypatch):
    copy = miniatures.make("cub", tmp_path / "copy")
    monkeypatch.setattr(folders, "_hash", lambda *_: pytest.fail("a picture was read"))
    fetching.check(f"cub:{copy}")


# ---- the command line --------------------------------------------------------------------------------------


def test_the_list(home):
    for name in ("pets/images", "cub"):
        (home / "datasets" / name).mkdir(parents=True)
    status, out, err = lgca("datasets")
    assert (status, err) == (0, "")
    [pets] = [line.split() for line in out.splitlines() if line.split()[:1] == ["pets"]]
    for word in ("test", "3,669", "37", "BY-SA", "0.8"):
        assert word in pets
    assert pets[-1] == "yes"
    [cub] = [line.split() for line in out.splitlines() if line.split()[:1] == ["cub"]]
    assert cub[-1] == "no"  # its folder is empty
    [aviary] = [line.split() for line in out.splitlines() if line.split()[:1] == ["aviary"]]
    assert {"600", "40", "test"} <= set(aviary)


def test_show():
    for name, row in SOURCES.items():
        status, out, err = lgca("datasets", "show", name)
        assert (status, err) == (0, "")
        for said in (
            row.title,
            row.homepage,
            row.split,
            f"{row.images:,}",
            row.counted,
            row.licence,
            row.terms,
            row.note,
        ):
            assert said in out
        for archive in row.archives:
            for said in (archive.name, *archive.urls, archive.checksum, archive.source):
                assert said in out
    assert "about 2,100,000,000 bytes" in out
    assert "6,744,924,160 bytes" in lgca("datasets", "show", "imagenet")[1]
    assert lgca("datasets", "show", "PETZ") == (2, "", "error: 'PETZ' is no data set: did you mean pets\n")
    with pytest.raises(LgcaError, match="'Pets' is neither a data set nor a folder: did you mean pets"):
        open_dataset("Pets")


def test_no_name_is_broken_on_a_narrow_terminal(monkeypatch):
    from rich.console import Console

    from lgca_core.cli import datasets as command, output

    for module in (command, output):
        monkeypatch.setattr(module, "stdout", lambda: Console(width=80))
    out = lgca("datasets")[1]
    assert all(len(line) <= 80 for line in out.splitlines())
    names = [line.split()[0] for line in out.splitlines() if line.strip()]
    assert set(DATASETS) <= set(names)


def test_evaluate_takes_a_copy_and_says_that_it_is_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "load", lambda *_: rich(sha256="0" * 64))
    monkeypatch.chdir(tmp_path)
    copy = miniatures.make("pets", tmp_path / "copy")
    (tmp_path / "said.json").write_text(json.dumps({name: [f"a {name}"] for name in miniatures.IDS["pets"]}))
    words = ["--method", "clip,cupl", "--descriptions", "said.json", "--encoder", "other"]
    status, out, err = lgca("evaluate", "--dataset", f"pets:{copy}", *words)
    assert (status, err) == (0, "")
    assert "This is not the whole of Oxford-IIIT Pet: 6 of 3,669 pictures, 3 of 37 classes." in " ".join(out.split())
