"""Published prompt files: fetched once, verified each time, looked up by name, reported on by the command line."""

import csv
import hashlib
import http.server
import json
import os
import re
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lgca_core import prompt_files, prompts
from lgca_core.cli import app
from lgca_core.errors import LgcaError
from lgca_core.prompt_files import PromptFile, Source, for_classes, load, select

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("LGCA_TEST_PROMPTS", ROOT.parent / "shared" / "prompts"))
COMMIT = "c0ffee" + 34 * "0"

BIRDS = {
    "features/birds/birds.json": ["red_finch", "Blue Tit", "ostrich"],
    "prompts/birds/clip-e.json": ["a photo of a {}, a bird.", "one {}."],
    "prompts/birds/clip-d.json": {"ostrich": ["long legs"], "Red-finch": ["a bill", "red"], "Blue Tit": ["blue"]},
    "prompts/birds/cupl.json": {
        "Blue Tit": ["It is blue.", "1."],
        "ostrich": ["It runs.", "It runs.", "It is a bird."],
        "Red-finch": ["It is red.", "It is a bird."],
    },
}
PLACES = {
    "features/places/places.json": ["church", "field", "church"],
    "prompts/places/clip-e.json": ["a {}."],
    "prompts/places/clip-d.json": {"church": ["a tower"], "field": ["grass"]},
    "prompts/places/cupl.json": {"church": ["It has a tower."], "field": ["It is green."]},
}
THINGS = {
    "prompts/things/clip-e.json": ["a {}."],
    "prompts/things/clip-d.json": {"eft": ["a tail"], "missile": ["metal"], "projectile": ["speed"]},
    "prompts/things/cupl.json": {"newt": ["It swims."], "missile": ["It flies."]},
}
BYTES = {path: json.dumps(content).encode() for path, content in (BIRDS | PLACES | THINGS).items()}


def pin(path: str, content: bytes) -> PromptFile:
    """As the table has it: of a file called cupl.json only git's blob id is known."""
    known = not path.endswith("cupl.json")
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    sha256 = hashlib.sha256(content).hexdigest()
    return PromptFile("x/y", COMMIT, path, len(content) if known else None, blob, sha256 if known else None)


class Server(http.server.ThreadingHTTPServer):
    """Serves what `files` holds, and remembers what it was asked for."""

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        path = self.path.removeprefix("/")
        self.server.asked.append(path)
        content = self.server.files.get(path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def serving(files: dict[str, bytes]):
    server = Server(files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("LGCA_PROMPTS_URL", raising=False)
    return tmp_path / "home"


@pytest.fixture
def server(home, monkeypatch):
    """A small published repository on loopback, which the table describes."""
    monkeypatch.setattr(prompt_files, "FILES", {path: pin(path, content) for path, content in BYTES.items()})
    sources = {
        "birds": Source("birds", "features/birds/birds.json"),
        "places": Source("places", "features/places/places.json", also=prompt_files.SOURCES["place365"].also),
        "things": Source("things", ordered=True, also=prompt_files.SOURCES["imagenet"].also),
        "unlisted": Source("birds"),
    }
    monkeypatch.setattr(prompt_files, "SOURCES", sources)
    with serving(BYTES) as server:
        monkeypatch.setenv("LGCA_PROMPTS_URL", server.url)
        yield server
        server.shutdown()


def kept(home: Path) -> dict[str, bytes]:
    """Every file below the cache, drafts included."""
    root = home / "prompts" / COMMIT
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def lgca(*words) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["prompts", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


# ---- the cache ---------------------------------------------------------------------------------------------


def test_fetched_once_and_kept(server, home):
    shown = []
    first = load("birds", progress=shown.append)
    assert sorted(server.asked) == sorted(shown) == sorted(BIRDS)
    assert kept(home) == {path: BYTES[path] for path in BIRDS}
    assert load("birds") == first
    assert load("unlisted").templates == first.templates
    assert len(server.asked) == len(BIRDS)
    assert [(file.path, file.commit, file.blob) for file in first.sources] == [
        (path, COMMIT, pin(path, BYTES[path]).blob) for path in BIRDS
    ]


def test_state_says_what_is_there(server, home):
    assert prompt_files.state("birds") == "not cached"
    del server.files["prompts/birds/cupl.json"]
    with pytest.raises(LgcaError):
        load("birds")
    assert prompt_files.state("birds") == "partly cached"
    server.files = dict(BYTES)
    load("birds")
    assert prompt_files.state("birds") == "cached"
    (home / "prompts" / COMMIT / "prompts/birds/clip-d.json").write_bytes(b"{}")
    assert prompt_files.state("birds") == "damaged"


def test_a_folder_serves_as_a_mirror(server, tmp_path, monkeypatch):
    folder = tmp_path / "a copy, 100%"
    for path, content in BYTES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    monkeypatch.setenv("LGCA_PROMPTS_URL", folder.as_uri() + "/")
    assert load("birds").descriptors["ostrich"] == ["long legs"]
    assert server.asked == []


def test_the_address_is_pinned(home):
    addresses = [file.address for file in prompt_files.SOURCES["cub"].files().values()]
    commit = "dfb4e6ff601de96b200e918fe9c24815f408d972"
    assert addresses[-1] == f"https://raw.githubusercontent.com/tmlr-group/WCA/{commit}/prompts/cub/cupl.json"


@pytest.mark.parametrize("path", ["prompts/birds/clip-d.json", "prompts/birds/cupl.json"])
@pytest.mark.parametrize("spoil", [lambda text: text[:-3], lambda text: text.replace(b"l", b"m", 1), lambda text: b""])
def test_damage_is_noticed_named_and_mended(server, home, path, spoil):
    sound = load("birds")
    place = home / "prompts" / COMMIT / path
    place.write_bytes(spoil(BYTES[path]))
    server.asked.clear()
    made = load("birds")
    assert server.asked == [path]
    assert kept(home)[path] == BYTES[path]
    assert (made.descriptors, made.descriptions) == (sound.descriptors, sound.descriptions)
    assert re.fullmatch(
        rf"{re.escape(str(place))} was damaged \(it.* (bytes instead of|is another).*\) and has been fetched again\.",
        made.notes[0],
    )
    assert made.notes[1:] == sound.notes
    assert load("birds").notes == sound.notes


def test_damage_without_a_network_is_one_sentence(server, home):
    load("birds")
    place = home / "prompts" / COMMIT / "prompts/birds/cupl.json"
    place.write_bytes(b"{}")
    server.files.clear()
    with pytest.raises(LgcaError) as caught:
        load("birds")
    assert re.fullmatch(
        rf"{re.escape(str(place))} was damaged \(its git blob id is another\) and {server.url}/prompts/birds/cupl.json "
        r"could not be fetched \(HTTP 404 Not Found\): try again with a network, or set LGCA_PROMPTS_URL to a mirror.*",
        str(caught.value),
    )
    assert place.read_bytes() == b"{}"  # what may still be of use to somebody is not deleted


@pytest.mark.parametrize(
    ("path", "content", "fault"),
    [
        ("prompts/birds/clip-d.json", b"{}", r"it has 2 bytes instead of \d+"),
        ("prompts/birds/clip-d.json", BYTES["prompts/birds/clip-d.json"] + b"\n", r"it has \d+ bytes instead of \d+"),
        ("prompts/birds/clip-d.json", BYTES["prompts/birds/clip-d.json"].replace(b"a", b"b"), "its sha256 is another"),
        ("prompts/birds/cupl.json", BYTES["prompts/birds/cupl.json"] + b"\n", "its git blob id is another"),
    ],
)
def test_another_file_is_refused(server, home, path, content, fault):
    server.files[path] = content
    with pytest.raises(LgcaError, match=rf"{server.url}/{path} is not the file that was published \({fault}\)"):
        load("birds")
    assert path not in kept(home)
    assert all(kept(home)[path] == BYTES[path] for path in kept(home))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9/x", r"http://127\.0\.0\.1:9/x/features/birds/birds\.json could not be .*refused.*network"),
        ("file:///nowhere/at/all", r"file:///nowhere/at/all/features.*could not be fetched \(No such file"),
        ("/some/folder", r"must begin with https://, http:// or file://, unlike /some/folder/"),
        ("ftp://127.0.0.1/", r"must begin with https://, http:// or file://, unlike ftp:"),
        ("http://[", r"could not be fetched"),
    ],
)
def test_no_network_is_one_sentence(server, home, monkeypatch, url, message):
    monkeypatch.setenv("LGCA_PROMPTS_URL", url)
    with pytest.raises(LgcaError, match=message) as caught:
        load("birds")
    assert "LGCA_PROMPTS_URL" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not home.exists()


def test_a_cache_that_cannot_be_written(server, home, monkeypatch):
    home.write_text("a file is in the way")
    with pytest.raises(LgcaError, match=r"cannot write .*birds\.json \(Not a directory\): set LGCA_HOME"):
        load("birds")


def test_nothing_half_written_is_left(server, home, monkeypatch):
    def full(self, content):
        with self.open("wb") as stream:
            stream.write(content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(LgcaError, match="No space left"):
        load("birds")
    assert kept(home) == {}


def test_many_at_once(server, home):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(load, ["birds"] * 16))
    assert all(one == made[0] for one in made)
    assert kept(home) == {path: BYTES[path] for path in BIRDS}


def test_blob_ids_are_those_of_git():
    def file(blob: str) -> PromptFile:
        return PromptFile("x/y", COMMIT, "p", None, blob, None)

    assert file("ce013625030ba8dba906f756967f9e9ca394464a").fault(b"hello\n") == ""
    assert file("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391").fault(b"") == ""
    assert file("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391").fault(b"hello\n") == "its git blob id is another"


# ---- what is made of them ----------------------------------------------------------------------------------


def test_prompts_come_by_name_in_class_order(server):
    raw = load("birds")
    assert raw.classes == ("red_finch", "Blue Tit", "ostrich")
    assert {"prompts/birds/clip-d.json": raw.descriptors, "prompts/birds/cupl.json": raw.descriptions} == {
        path: BIRDS[path] for path in ("prompts/birds/clip-d.json", "prompts/birds/cupl.json")
    }
    made = select(raw, raw.classes)
    assert made == for_classes("birds", raw.classes)
    assert made.templates == ("a photo of a {}, a bird.", "one {}.")
    assert list(made.descriptors.items()) == [
        ("red_finch", ["a bill", "red"]),
        ("Blue Tit", ["blue"]),
        ("ostrich", ["long legs"]),
    ]
    assert list(made.descriptions) == list(made.classes)
    assert made.descriptions["ostrich"] == ["It runs.", "It runs.", "It is a bird."]
    assert made.notes == (
        "descriptors and descriptions: 1 names match only without regard to case, underscores and hyphens, "
        "such as 'red_finch' with 'Red-finch'.",
    )
    assert made.spelling == {"red_finch": "Red-finch", "Blue Tit": "Blue Tit", "ostrich": "ostrich"}
    assert raw.notes == made.notes
    assert raw.spelling == made.spelling
    unlisted = load("unlisted")
    assert unlisted.classes is None
    assert unlisted.descriptions == raw.descriptions
    assert unlisted.notes == ()
    assert unlisted.spelling == {}


def test_for_classes_restricts_and_orders(server):
    made = for_classes("birds", ["ostrich", "Red_Finch"])
    assert made.classes == ("ostrich", "Red_Finch")
    assert list(made.descriptions) == list(made.descriptors) == ["ostrich", "Red_Finch"]
    assert made.descriptions["Red_Finch"] == ["It is red.", "It is a bird."]
    assert made.spelling["Red_Finch"] == "Red-finch"


def test_for_classes_names_what_is_missing(server):
    with pytest.raises(
        LgcaError, match=r"birds have no descriptors for 'ostritch', 'emu' \(did you mean 'ostrich'\?\).*--descriptors"
    ):
        for_classes("birds", ["Blue Tit", "ostritch", "emu"])
    lenient = select(load("birds"), ["Blue Tit", "emu"])
    assert list(lenient.descriptions) == ["Blue Tit"]
    assert lenient.matches["descriptions"].missing == ("emu",)
    assert lenient.spelling == {"Blue Tit": "Blue Tit", "emu": "emu"}
    with pytest.raises(
        LgcaError, match=r"no published prompts of 'brids' \(did you mean 'birds'\?\): known are birds, "
    ):
        for_classes("brids", ["ostrich"])


def test_ambiguous_names_are_refused(server, monkeypatch):
    content = json.dumps({**BIRDS["prompts/birds/clip-d.json"], "red finch": ["x"]}).encode()
    server.files["prompts/birds/clip-d.json"] = content
    monkeypatch.setitem(prompt_files.FILES, "prompts/birds/clip-d.json", pin("prompts/birds/clip-d.json", content))
    with pytest.raises(LgcaError, match=r"birds: 'Red-finch', 'red finch' could all mean 'red_finch'"):
        for_classes("birds", ["red_finch"])
    assert for_classes("birds", ["red finch"]).descriptors == {"red finch": ["x"]}


def test_names_as_published_may_repeat(server):
    made = for_classes("places", ["church", "field", "church"])
    assert made.classes == ("church", "field", "church")
    assert made.descriptions == {"church": ["It has a tower."], "field": ["It is green."]}
    assert made.notes == (
        "2 distinct names stand for 3 classes: those that share a name share its prompts and cannot be told apart.",
    )
    assert load("places").notes == made.notes


@pytest.mark.parametrize(
    "form", ["church ({})", "church/{}", "/c/church/{}", "church, {}", "Church/{}", "{} church", "{}_church"]
)
def test_distinct_names_have_the_prompts_of_the_published_one(server, form):
    names = [form.format("indoor"), "field", form.format("outdoor")]
    made = for_classes("places", names)
    assert list(made.descriptions) == names
    assert made.descriptions[names[0]] == made.descriptions[names[2]] == ["It has a tower."]
    assert made.notes == (
        f"descriptors and descriptions: 2 names have those of another name, such as {names[0]!r} those of 'church'.",
    )
    assert made.spelling[names[0]] == names[0]  # else the names would be distinct no more
    with pytest.raises(LgcaError, match="no descriptors for 'chapel/indoor', 'old red church'"):
        for_classes("places", ["chapel/indoor", "old red church"])


def test_either_edition_of_imagenets_names(server):
    old = for_classes("things", load("things").classes or ())
    assert old.classes == ("eft", "missile", "projectile")
    assert old.descriptions == {"eft": ["It swims."], "missile": ["It flies."], "projectile": ["It flies."]}
    assert old.descriptors["projectile"] == ["speed"]
    new = for_classes("things", ["newt", "missile", "missile"])
    assert new.descriptors == {"newt": ["a tail"], "missile": ["metal"]}
    assert new.descriptions == {"newt": ["It swims."], "missile": ["It flies."]}


# ---- the command line --------------------------------------------------------------------------------------


def test_list_says_what_is_cached(server):
    status, out, err = lgca()
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if "not cached" in line] == list(prompt_files.SOURCES)
    assert "MIT licence" in out
    assert server.asked == []
    load("birds")
    row = next(line for line in lgca()[1].splitlines() if line.split()[:1] == ["birds"])
    assert row.split() == ["birds", "3", "2", "4", "7", "cached"]


def test_fetch(server, home):
    status, out, err = lgca("fetch", "birds", "places")
    assert (status, err) == (0, "")
    assert out.startswith("birds: 4 files fetched\nplaces: 4 files fetched\nPublished by ")
    assert set(kept(home)) == {*BIRDS, *PLACES}
    (home / "prompts" / COMMIT / "prompts/birds/cupl.json").write_bytes(b"{}")
    out = lgca("fetch")[1]
    assert "birds/cupl.json was damaged (its git blob id is another) and has been fetched again.\n" in out
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


def test_check_reports_on_published_prompts(server):
    status, birds, err = lgca("check", "birds")
    assert (status, err) == (0, "")
    assert cells(birds, "classes with none") == ["0", "0", "0"]
    assert cells(birds, "unknown classes") == ["0", "0"]
    assert cells(birds, "prompts in all") == ["6", "4", "7"]
    assert cells(birds, "a class: least, median, most") == ["2", "2", "2", "1", "1", "2", "2", "2", "3"]
    assert cells(birds, "single words") == ["2", "1"]
    assert cells(birds, "repeated within a class") == ["0", "0", "1"]
    assert cells(birds, "said of several classes") == ["0", "1"]
    assert cells(birds, "more than CLIP's 77 tokens") == ["0", "0", "0"]
    assert cells(birds, "tokens of the longest") == ["12", "9", "7"]
    assert "1 names match only without regard to case" in birds
    assert "cupl, wca, lgca: 1 of them are said again of the same class; the first: 'It runs.' of 'ostrich'" in birds
    assert "cupl, wca, lgca: 1 of them are said of several classes; the commonest, of 2: 'It is a bird.'" in birds
    assert "2 distinct names stand for 3 classes" in lgca("check", "places")[1]
    status, out, err = lgca("check", "birds", "unlisted")
    assert (status, err) == (0, "")
    assert birds.strip() in out
    assert "unlisted" in out.removeprefix(birds)


def test_check_fails_only_where_a_class_has_none_or_is_unknown(server, monkeypatch):
    status, out, err = lgca("check", "birds", "--classes", "ostrich,blue_tit")
    assert (status, err) == (0, "")
    assert cells(out, "tokens of the longest") == ["12", "8", "7"]
    assert "unknown" not in out  # a part of the classes is no fault
    status, out, err = lgca("check", "birds", "--classes", "ostrich,emu")
    assert status == 2
    assert cells(out, "classes with none") == ["0", "1", "1"]
    assert "no descriptors for 'emu'" in err
    assert lgca("check", "birds", "--classes", "emu")[0] == 2
    content = json.dumps({**BIRDS["prompts/birds/cupl.json"], "emu": ["It runs."]}).encode()
    server.files["prompts/birds/cupl.json"] = content
    monkeypatch.setitem(prompt_files.FILES, "prompts/birds/cupl.json", pin("prompts/birds/cupl.json", content))
    status, out, err = lgca("check", "birds")
    assert status == 2
    assert cells(out, "unknown classes") == ["0", "1"]
    assert err == "error: the published descriptions of birds and its classes disagree about 'emu'\n"


def test_check_reports_on_a_file_alike(server, tmp_path, monkeypatch):
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
    for path, file in prompt_files.FILES.items():
        assert path == file.path
        assert re.fullmatch("[0-9a-f]{40}", file.commit)
        assert re.fullmatch("[0-9a-f]{40}", file.blob)
        assert (file.size is None) == (file.sha256 is None)
        assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    for source in prompt_files.SOURCES.values():
        assert set(source.files().values()) <= set(prompt_files.FILES.values())
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["lgca_core"]
    assert "prompt_files.csv" in packaged


def test_imagenets_variants_have_imagenets_files():
    for variant in ("imagenet-a", "imagenet-r", "imagenet-s", "imagenetv2"):
        for name in ("clip-d", "clip-e", "cupl"):
            own, shared = (prompt_files.FILES[f"prompts/{folder}/{name}.json"] for folder in (variant, "imagenet"))
            assert own.blob == shared.blob


def published(path: str) -> Path:
    """Where the copy beside this checkout has a file of the repository."""
    kind, folder, name = path.split("/")
    return SHARED / folder / ("classes.json" if kind == "features" else name)


@pytest.fixture
def real(home, monkeypatch):
    """The published files themselves, on loopback."""
    if not SHARED.is_dir():
        pytest.skip(f"the published prompts are not at {SHARED}: set LGCA_TEST_PROMPTS to the folder that holds them")
    held = {path: published(path).read_bytes() for path in prompt_files.FILES if published(path).is_file()}
    with serving(held) as server:
        monkeypatch.setenv("LGCA_PROMPTS_URL", server.url)
        yield server
        server.shutdown()


def test_the_table_is_the_reference(home):
    reference = SHARED.parent / "reference" / "prompt_sources.csv"
    if not reference.is_file():
        pytest.skip(f"the reference table is not at {reference}")
    rows = list(csv.DictReader(reference.read_text().splitlines()))
    assert [(row["path"], row["git_blob_sha1"], row["sha256"]) for row in rows] == [
        (file.path, file.blob, file.sha256 or "") for file in prompt_files.FILES.values()
    ]


def test_every_published_file_at_hand_is_the_one_pinned(real):
    assert len(real.files) >= 26
    for path, content in real.files.items():
        file = prompt_files.FILES[path]
        assert file.fault(content) == ""
        # The blob id alone would do as well.
        assert PromptFile(file.repository, file.commit, path, None, file.blob, None).fault(content) == ""


@pytest.mark.parametrize(
    ("key", "classes", "templates", "descriptors", "sentences", "counts", "loose"),
    [
        ("cub", 200, 1, 1312, 7842, (31, 40, 40), 0),
        ("dtd", 47, 8, 193, 2164, (21, 48, 48), 0),
        ("eurosat", 10, 3, 25, 398, (39, 40, 40), 0),
        ("food101", 101, 1, 510, 3030, (30, 30, 30), 60),
        ("oxford_pet", 37, 1, 246, 1110, (30, 30, 30), 0),
        ("place365", 365, 2, 1989, 8191, (14, 24, 24), 0),
    ],
)
def test_published_prompts_are_whole(real, key, classes, templates, descriptors, sentences, counts, loose):
    made = load(key)
    names = made.classes or tuple(made.descriptions)
    assert len(names) == classes
    assert len(made.templates) == templates
    assert sum(map(len, made.descriptors.values())) == descriptors
    assert list(for_classes(key, names).descriptions) == list(dict.fromkeys(names))
    for match in made.matches.values():
        assert (match.missing, match.unknown, match.ambiguous, match.borrowed) == ((), (), {}, {})
        assert len(match.loose) == loose
    survey = prompts.survey(made.descriptions)
    assert (survey.sentences, survey.counts, survey.cut) == (sentences, counts, [])
    assert list(for_classes(key, names[::-1]).descriptors) == list(dict.fromkeys(names[::-1]))


def test_other_names_of_a_key():
    for alias, key in prompt_files.ALIASES.items():
        assert key in prompt_files.SOURCES
        assert alias not in prompt_files.SOURCES
    with pytest.raises(LgcaError, match=r"no published prompts of 'pest' \(did you mean 'pets'\?\)"):
        load("pest")


def test_names_as_the_data_sets_own_folders_spell_them(real):
    cub = [re.sub(r"[- ]", "_", name) for name in load("cub").classes or ()]  # CUB: Black_footed_Albatross
    assert len(for_classes("cub", cub).matches["descriptions"].loose) > 150
    assert for_classes("cub", cub).spelling["Black_footed_Albatross"] == "Black-footed Albatross"
    pets = [name.title() for name in load("oxford_pet").classes or ()]  # torchvision: American Bulldog
    assert for_classes("oxford_pet", pets).spelling["American Bulldog"] == "american bulldog"


def test_places365_by_published_and_by_distinct_names(real):
    made = load("place365")
    assert len(set(made.classes or ())) == 344
    distinct = for_classes("place365", ["/c/church/indoor", "/c/church/outdoor", "/f/field_road", "field (wild)"])
    assert distinct.descriptions["/c/church/indoor"] == made.descriptions["church"]
    assert distinct.descriptions["/f/field_road"] == made.descriptions["field road"]
    assert distinct.descriptions["field (wild)"] == made.descriptions["field"]
    assert for_classes("places365", ["hockey arena", "dining hall"]).descriptions == {
        "hockey arena": made.descriptions["arena"],
        "dining hall": made.descriptions["dining hall"],
    }


def test_imagenets_names_are_openais_in_their_order(real):
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

    made = list(json.loads(real.files["prompts/imagenet/clip-d.json"]))
    # Where open_clip's edition differs, and nowhere else, the table of editions says so: index by index.
    differ = {old: new for old, new in zip(made, IMAGENET_CLASSNAMES, strict=True) if old != new}
    assert differ == {"eft": "newt", "maillot": "tights", "projectile": "missile", "sunglass": "sunglasses"}
    match = prompts.match(IMAGENET_CLASSNAMES, made, prompt_files.SOURCES["imagenet"].also)
    assert match.missing == ()
    assert match.borrowed == {"newt": "eft", "tights": "maillot"}
    templates = json.loads(real.files["prompts/imagenet/clip-e.json"])
    assert templates == [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    if "prompts/imagenet/cupl.json" not in real.files:
        with pytest.raises(LgcaError, match=r"prompts/imagenet/cupl\.json could not be fetched \(HTTP 404"):
            load("imagenet-r")
