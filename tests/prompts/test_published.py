"""Published prompt files: fetched once, verified each time, looked up by name, reported on by the command line."""

import csv
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from lgca_core.data import copies, downloads, sources, table
from lgca_core.data.manifest import Manifest
from lgca_core.errors import LgcaError
from lgca_core.methods import METHODS
from lgca_core.prompts import published as published_module
from lgca_core.prompts.class_prompts import prompts_of_dataset
from lgca_core.prompts.published import PromptFile, load_prompts
from support import command_line
from support.shared import PROMPTS, SHARED

COMMIT = "c0ffee" + 34 * "0"

BIRDS = {
    "prompts/birds/clip-e.json": ["a photo of a {}, a bird.", "one {}."],
    "prompts/birds/clip-d.json": {"ostrich": ["long legs"], "Red-finch": ["a bill", "red"], "Blue Tit": ["blue"]},
    "prompts/birds/cupl.json": {
        "Blue Tit": ["It is blue.", "1."],
        "ostrich": ["It runs.", "It runs.", "It is a bird."],
        "Red-finch": ["It is red.", "It is a bird."],
    },
}
PLACES = {
    "prompts/places/clip-e.json": ["a {}."],
    "prompts/places/clip-d.json": {"church": ["a tower"], "field": ["grass"]},
    "prompts/places/cupl.json": {"church": ["It has a tower."], "field": ["It is green."]},
}
BYTES = {path: json.dumps(content).encode() for path, content in (BIRDS | PLACES).items()}


def pin(path: str, content: bytes) -> PromptFile:
    """As the table has it: of a file called cupl.json only git's blob id is known."""
    known = not path.endswith("cupl.json")
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    sha256 = hashlib.sha256(content).hexdigest()
    return PromptFile("x/y", COMMIT, path, len(content) if known else None, blob, sha256 if known else None)


@pytest.fixture
def repository(server, home, monkeypatch):
    """A small published repository on the loopback, which the table describes."""
    monkeypatch.setattr(published_module, "FILES", {path: pin(path, content) for path, content in BYTES.items()})
    monkeypatch.setattr(published_module, "FOLDERS", {"birds": "birds", "places": "places", "unlisted": "birds"})
    monkeypatch.setattr(published_module, "ALIASES", {"bird": "birds"})
    for key, ids in (("birds", ("red_finch", "Blue Tit", "ostrich")), ("places", ("church", "field", "church"))):
        row = replace(
            sources.SOURCES["dtd"], title=key, ids=lambda ids=ids: ids, name=lambda name: name.replace("red_", "Red-")
        )
        monkeypatch.setitem(sources.SOURCES, key, row)
    server.files = dict(BYTES)
    monkeypatch.setenv("LGCA_PROMPTS_URL", server.address)
    return server


def kept(home: Path) -> dict[str, bytes]:
    """Every file below the cache, drafts included."""
    root = home / "prompts" / COMMIT
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


lgca = partial(command_line.lgca, "prompts")


# ---- the cache ---------------------------------------------------------------------------------------------


def test_fetched_once_and_kept(repository, home):
    shown = []
    first = load_prompts("birds", progress=shown.append)
    assert sorted(repository.asked) == sorted(shown) == sorted(BIRDS)
    assert kept(home) == {path: BYTES[path] for path in BIRDS}
    assert load_prompts("birds") == first
    assert load_prompts("unlisted").templates == first.templates
    assert len(repository.asked) == len(BIRDS)
    assert (first.templates[1], first.descriptors) == ("one {}.", BIRDS["prompts/birds/clip-d.json"])
    assert list(first.descriptions.items()) == list(BIRDS["prompts/birds/cupl.json"].items())


def test_state_says_what_is_there(repository, home):
    assert published_module.state_of("birds") == "not cached"
    del repository.files["prompts/birds/cupl.json"]
    with pytest.raises(LgcaError):
        load_prompts("birds")
    assert published_module.state_of("birds") == "partly cached"
    repository.files = dict(BYTES)
    load_prompts("birds")
    assert published_module.state_of("birds") == "cached"
    (home / "prompts" / COMMIT / "prompts/birds/clip-d.json").write_bytes(b"{}")
    assert published_module.state_of("birds") == "damaged"


def test_a_folder_serves_as_a_mirror(repository, tmp_path, monkeypatch):
    folder = tmp_path / "a copy, 100%"
    for path, content in BYTES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    monkeypatch.setenv("LGCA_PROMPTS_URL", folder.as_uri() + "/")
    assert load_prompts("birds").descriptors["ostrich"] == ["long legs"]
    assert repository.asked == []


def test_the_address_is_pinned(monkeypatch):
    monkeypatch.delenv("LGCA_PROMPTS_URL", raising=False)
    addresses = [file.address for file in published_module.files_of("cub").values()]
    commit = "dfb4e6ff601de96b200e918fe9c24815f408d972"
    assert addresses[-1] == f"https://raw.githubusercontent.com/tmlr-group/WCA/{commit}/prompts/cub/cupl.json"


@pytest.mark.parametrize("path", ["prompts/birds/clip-d.json", "prompts/birds/cupl.json"])
@pytest.mark.parametrize("spoil", [lambda text: text[:-3], lambda text: text.replace(b"l", b"m", 1), lambda text: b""])
def test_damage_is_noticed_named_and_mended(repository, home, path, spoil):
    sound = load_prompts("birds")
    place = home / "prompts" / COMMIT / path
    place.write_bytes(spoil(BYTES[path]))
    repository.seen.clear()
    made = load_prompts("birds")
    assert repository.asked == [path]
    assert kept(home)[path] == BYTES[path]
    assert (made.descriptors, made.descriptions) == (sound.descriptors, sound.descriptions)
    [note] = made.mended
    assert note.startswith(f"{place} was damaged (")
    assert load_prompts("birds") == sound


def test_a_file_that_cannot_be_fetched_is_one_sentence(repository, home):
    load_prompts("birds")
    place = home / "prompts" / COMMIT / "prompts/birds/cupl.json"
    place.write_bytes(b"{}")
    repository.files.clear()
    with pytest.raises(LgcaError, match=rf"{repository.address}/prompts/birds/cupl\.json.*LGCA_PROMPTS_URL") as caught:
        load_prompts("birds")
    assert str(caught.value).startswith(f"{place} was damaged (")
    assert "\n" not in str(caught.value)
    assert place.read_bytes() == b"{}"  # it may still be of use to somebody


@pytest.mark.parametrize("path", ["prompts/birds/clip-d.json", "prompts/birds/cupl.json"])
@pytest.mark.parametrize("spoil", [lambda text: b"{}", lambda text: text + b"\n", lambda text: text[::-1]])
def test_another_file_is_refused(repository, home, path, spoil):
    repository.files[path] = spoil(BYTES[path])
    with pytest.raises(LgcaError, match=rf"{repository.address}/{path}\b.*LGCA_PROMPTS_URL"):
        load_prompts("birds")
    assert path not in kept(home)
    assert all(kept(home)[path] == BYTES[path] for path in kept(home))


def test_an_address_of_another_kind_is_refused(repository, home, monkeypatch):
    monkeypatch.setenv("LGCA_PROMPTS_URL", "/some/folder")
    with pytest.raises(LgcaError, match=r"/some/folder/prompts.* file://.*LGCA_PROMPTS_URL"):
        load_prompts("birds")
    assert kept(home) == {}


def test_a_mirror_without_end_does_not_fill_the_disk(repository, home, monkeypatch):
    monkeypatch.setattr(downloads, "LIMIT", 1000)
    repository.files["prompts/birds/cupl.json"] = bytes(1001)
    repository.lengths = False
    with pytest.raises(LgcaError, match=r"cupl\.json.* 1,000 bytes.*LGCA_PROMPTS_URL"):
        load_prompts("birds")
    assert "prompts/birds/cupl.json" not in kept(home)


def test_a_cache_that_cannot_be_written(repository, home):
    home.write_text("a file is in the way")
    with pytest.raises(LgcaError, match=r"clip-e\.json.*LGCA_HOME"):
        load_prompts("birds")


def test_nothing_half_written_is_left(repository, home):
    repository.cut = [5] + [0] * downloads.ATTEMPTS
    with pytest.raises(LgcaError, match=r"clip-e\.json"):
        load_prompts("birds")
    assert kept(home) == {}
    repository.cut = [5]
    load_prompts("birds")
    assert ("prompts/birds/clip-e.json", "bytes=5-") in repository.seen
    assert kept(home) == {path: BYTES[path] for path in BIRDS}


def test_many_at_once(repository, home):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(load_prompts, ["birds"] * 16))
    assert all(one == made[0] for one in made)
    assert kept(home) == {path: BYTES[path] for path in BIRDS}


# ---- the command line --------------------------------------------------------------------------------------


def test_list_says_what_is_cached(repository):
    status, out, err = lgca()
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if "not cached" in line] == list(published_module.FOLDERS)
    assert "MIT licence" in out
    assert repository.asked == []
    load_prompts("birds")
    load_prompts("places")
    rows = [line.split() for line in lgca()[1].splitlines()]
    assert ["birds", "3", "2", "4", "7", "cached"] in rows
    assert ["unlisted", "3", "2", "4", "7", "cached"] in rows
    assert ["places", "3", "1", "2", "2", "cached"] in rows
    for kind in ("templates", "descriptors", "descriptions"):
        readers = [name for name, of in METHODS.items() if of.prompts == kind]
        assert [kind, "read", "by", *", ".join(readers).split()] in rows
    assert ["descriptors", "read", "by", "clip-d,", "lazsl-d"] in rows


def test_fetch(repository, home):
    status, out, err = lgca("fetch", "birds", "places")
    assert (status, err) == (0, "")
    assert out.startswith("birds: 3 files fetched\nplaces: 3 files fetched\nPublished by ")
    assert set(kept(home)) == {*BIRDS, *PLACES}
    (home / "prompts" / COMMIT / "prompts/birds/cupl.json").write_bytes(b"{}")
    out = lgca("fetch")[1]
    assert re.search(r"birds/cupl\.json was damaged .*\n", out)
    assert "birds: 1 files fetched\n" in out
    assert "unlisted: already cached" in out
    assert set(kept(home)) == set(BYTES)
    status, out, err = lgca("fetch", "brids")
    assert (status, out) == (2, "")
    assert err.startswith("error: no published prompts of 'brids'")


def cells(out: str, heading: str) -> list[str]:
    """The row of a table under its heading, as words."""
    line = next(line.strip() for line in out.splitlines() if line.strip().startswith(heading))
    return line.removeprefix(heading).split()


def test_check_reports_on_published_prompts(repository):
    status, birds, err = lgca("check", "birds")
    assert (status, err) == (0, "")
    assert cells(birds, "classes") == ["3", "3", "3"]
    assert cells(birds, "distinct names") == ["3", "3", "3"]
    assert cells(birds, "prompts in all") == ["6", "4", "7"]
    assert cells(birds, "a name: least, median, most") == ["2", "2", "2", "1", "1", "2", "2", "2", "3"]
    assert cells(birds, "single words") == ["2", "1"]
    assert cells(birds, "repeated within a class") == ["0", "0", "1"]
    assert cells(birds, "said of several classes") == ["0", "1"]
    assert cells(birds, "more than CLIP's 77 tokens") == ["0", "0", "0"]
    assert cells(birds, "tokens of the longest") == ["13", "10", "7"]
    assert cells(birds, "read by")[:4] == ["clip-e", "clip-d,", "lazsl-d", "cupl,"]
    assert "descriptions: 1 of them are said again of the same class; the first: 'It runs.' of 'ostrich'" in birds
    assert "descriptions: 1 of them are said of several classes; the commonest, of 2: 'It is a bird.'" in birds
    assert "distinct names stand" not in birds
    places = lgca("check", "places")[1]
    assert cells(places, "classes") == ["3", "3", "3"]
    assert cells(places, "distinct names") == ["2", "2", "2"]
    assert "2 distinct names stand for 3 classes" in places
    assert lgca("check", "bird") == (0, birds, "")
    status, out, err = lgca("check", "birds", "unlisted")
    assert (status, err) == (0, "")
    assert birds.strip() in out
    assert cells(out.removeprefix(birds), "prompts in all") == ["6", "4", "7"]


def test_check_reads_the_classes_of_the_data_set_as_evaluations_do(repository, monkeypatch):
    """A part of what is published, under names of its own."""
    row = replace(
        sources.SOURCES["birds"],
        ids=lambda: ("red_finch", "ostrich"),
        former=lambda: {"ostrich": "Blue Tit"},
        key={"red_finch": "Red-finch", "ostrich": "ostrich"}.get,
        name={"red_finch": "early Red-finch", "ostrich": "ostrich"}.get,
    )
    monkeypatch.setitem(sources.SOURCES, "birds", row)
    out = lgca("check", "birds")[1]
    assert cells(out, "classes") == ["2", "2", "2"]
    assert cells(out, "prompts in all") == ["4", "3", "5"]
    assert cells(out, "single words") == ["2", "0"]
    assert "descriptors: 2 of them are a single word or less; the first: 'red' of 'early Red-finch'" in out
    monkeypatch.setitem(sources.SOURCES, "birds", replace(row, key=str, name=str))
    status, out, err = lgca("check", "birds")
    assert (status, out) == (2, "")
    assert err == "error: the published descriptors have none for the class 'red_finch' of birds\n"


def test_evaluations_read_the_published_prompts_of_a_data_set_by_its_name(repository, monkeypatch):
    row = sources.SOURCES["birds"]
    monkeypatch.setitem(table.DATASETS, "birds", copies.entry("dtd", row))
    manifest = Manifest("birds", "test", Path(), ("Red-finch", "ostrich"), (), class_ids=("red_finch", "ostrich"))
    said = prompts_of_dataset("birds:/a/copy", manifest, ["templates", "descriptions", "descriptors"])
    assert said.templates == ("a photo of a {}, a bird.", "one {}.")
    assert said.descriptions == [BIRDS["prompts/birds/cupl.json"][name] for name in manifest.classes]
    assert said.descriptors == [("Red-finch", ["a bill", "red"]), ("ostrich", ["long legs"])]


def test_check_of_the_classes_named(repository):
    status, out, err = lgca("check", "birds", "--classes", "ostrich,blue_tit")
    assert (status, err) == (0, "")
    assert cells(out, "classes") == ["2", "2", "2"]
    assert cells(out, "tokens of the longest") == ["12", "8", "7"]
    status, out, err = lgca("check", "birds", "--classes", "Blue Tit,ostritch,emu")
    assert (status, out) == (2, "")
    assert err == (
        "error: prompts/birds/clip-d.json has no descriptors for 'ostritch', 'emu' (did you mean 'ostrich'?)\n"
    )


def test_check_reports_on_a_file_alike(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long = "very " * 80 + "long."
    told = {**BIRDS["prompts/birds/cupl.json"], "emu": ["It runs.", long]}
    Path("own.json").write_text(json.dumps(told))
    assert lgca("check", "own.json") == (
        0,
        "own.json: 4 classes, 9 sentences, 2 to 3 a class\n"
        "1 of them are a single word or less; the first: '1.' of 'Blue Tit'\n"
        "1 of them are said again of the same class; the first: 'It runs.' of 'ostrich'\n"
        "2 of them are said of several classes; the commonest, of 2: 'It runs.'\n"
        "1 of them have more than the 77 tokens that CLIP reads; "
        "the longest, 84: 'very very very very very very very very very very very very very ...' of 'emu'\n",
        "",
    )
    status, out, err = lgca("check", "own.json", "--classes", "emu,ostrich,Blue Tit,red_finch,kiwi")
    assert (status, out) == (2, "")
    assert "no descriptions for 'kiwi'" in err
    assert lgca("check", "own.json", "--classes", "emu,ostrich,blue-tit,red_finch")[0] == 0
    status, out, err = lgca("check", "brids")
    assert (status, out) == (2, "")
    assert "neither a data set with published prompts nor a file (did you mean 'birds'?)" in err
    assert "none.json does not exist" in lgca("check", "none.json")[2]


# ---- the table, and the files themselves -------------------------------------------------------------------


def test_the_table_pins_every_file():
    for path, file in published_module.FILES.items():
        assert path == file.path
        assert re.fullmatch("[0-9a-f]{40}", file.commit)
        assert re.fullmatch("[0-9a-f]{40}", file.blob)
        assert (file.size is None) == (file.sha256 is None)
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    for key in published_module.FOLDERS:
        assert set(published_module.files_of(key).values()) <= set(published_module.FILES.values())


def test_every_data_set_has_prompts_under_its_name():
    assert list(published_module.FOLDERS) == [*sources.SOURCES, "eurosat"]
    assert published_module.ALIASES == {
        "oxford_pet": "pets", "place365": "places365", "imagenet-s": "imagenet-sketch", "imagenetv2": "imagenet-v2"
    }  # fmt: skip
    assert published_module.files_of("oxford_pet") == published_module.files_of("pets")
    assert published_module.files_of("imagenet-a") == published_module.files_of("imagenet")
    with pytest.raises(LgcaError, match=r"'Pest'.*did you mean 'pets'"):
        load_prompts("Pest")


def test_imagenets_variants_have_imagenets_files():
    for variant in ("imagenet-a", "imagenet-r", "imagenet-s", "imagenetv2"):
        for name in ("clip-d", "clip-e", "cupl"):
            own, shared = (published_module.FILES[f"prompts/{folder}/{name}.json"] for folder in (variant, "imagenet"))
            assert own.blob == shared.blob


def published(path: str) -> Path:
    """Where the copy beside this checkout has a file of the repository."""
    kind, folder, name = path.split("/")
    return PROMPTS / folder / ("classes.json" if kind == "features" else name)


@pytest.fixture
def real(server, home, monkeypatch):
    """The published files themselves, on the loopback."""
    if not PROMPTS.is_dir():
        pytest.skip(f"the published prompts are not at {PROMPTS}: set LGCA_TEST_PROMPTS to the folder that holds them")
    server.files = {path: published(path).read_bytes() for path in published_module.FILES if published(path).is_file()}
    monkeypatch.setenv("LGCA_PROMPTS_URL", server.address)
    return server


def test_the_table_is_the_reference(home):
    reference = SHARED / "reference" / "prompt_sources.csv"
    if not reference.is_file():
        pytest.skip(f"the reference table is not at {reference}")
    rows = list(csv.DictReader(reference.read_text().splitlines()))
    assert [(row["path"], row["git_blob_sha1"], row["sha256"]) for row in rows] == [
        (file.path, file.blob, file.sha256 or "") for file in published_module.FILES.values()
    ]


def test_every_published_file_at_hand_is_the_one_pinned(real):
    assert len(real.files) >= 20
    for path in real.files:
        file = published_module.FILES[path]
        assert downloads.fault_of(file.archive, published(path)) == ""
        # The blob id alone would do as well.
        assert downloads.fault_of(replace(file, size=None, sha256=None).archive, published(path)) == ""


@pytest.mark.parametrize(
    ("key", "classes", "names", "sizes", "counts"),
    [
        ("cub", 200, 200, (1, 1312, 7842), (31, 40, 40)),
        ("dtd", 47, 47, (8, 193, 2164), (21, 48, 48)),
        ("eurosat", 10, 10, (3, 25, 398), (39, 40, 40)),
        ("food101", 101, 101, (1, 510, 3030), (30, 30, 30)),
        ("pets", 37, 37, (1, 246, 1110), (30, 30, 30)),
        ("places365", 365, 344, (2, 1989, 8191), (14, 24, 24)),
        ("places365-distinct", 365, 365, (2, 2111, 8694), (14, 24, 24)),
    ],
)
def test_published_prompts_are_whole(real, key, classes, names, sizes, counts):
    lgca("fetch", key)
    [row] = [line.split() for line in lgca()[1].splitlines() if line.split()[:1] == [key]]
    assert row == [key, str(classes), *map(str, sizes), "cached"]
    status, out, err = lgca("check", key)
    assert (status, err) == (0, "")
    assert cells(out, "classes") == [str(classes)] * 3
    assert cells(out, "distinct names") == [str(names)] * 3
    assert cells(out, "a name: least, median, most")[-3:] == [str(count) for count in counts]
    assert cells(out, "more than CLIP's 77 tokens")[2] == "0"
    assert ("distinct names stand for" in out) == (names < classes)


def test_names_as_the_data_sets_own_folders_spell_them(real):
    for key, names in (
        ("cub", ["Black_footed_Albatross", "Bobolink"]),
        ("pets", ["American Bulldog"]),  # torchvision
        ("food101", ["apple_pie"]),
    ):
        status, out, err = lgca("check", key, "--classes", ",".join(names))
        assert (status, err) == (0, "")
        assert cells(out, "classes") == [str(len(names))] * 3


def test_imagenets_names_are_openais_in_their_order(real):
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

    made = list(json.loads(real.files["prompts/imagenet/clip-d.json"]))
    # Where open_clip's edition differs, and nowhere else, the table of classes says so: index by index.
    row = sources.SOURCES["imagenet"]
    differ = {old: new for old, new in zip(made, IMAGENET_CLASSNAMES, strict=True) if old != new}
    assert differ == {"eft": "newt", "maillot": "tights", "projectile": "missile", "sunglass": "sunglasses"}
    assert {former: row.name(class_id) for class_id, former in row.former().items()} == differ
    templates = json.loads(real.files["prompts/imagenet/clip-e.json"])
    assert templates == [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    if "prompts/imagenet/cupl.json" not in real.files:
        with pytest.raises(LgcaError, match=r"prompts/imagenet/cupl\.json.* 404"):
            load_prompts("imagenet-r")
