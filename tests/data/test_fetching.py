"""Published data sets from end to end: fetched from the loopback, verified, unpacked, checked and opened."""

import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from lgca_core.data import archives, copies, downloads, fetching, table
from lgca_core.data.sources import SOURCES
from lgca_core.errors import LgcaError
from support import miniatures
from support.command_line import lgca, refused


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def offer(server, home, monkeypatch, tmp_path):
    """Puts a miniature's archives on the server, and in the table."""

    def offer(name):
        packed = miniatures.pack(name, tmp_path / "packed")
        server.files |= {path.name: path.read_bytes() for path in packed}
        return miniatures.enter(monkeypatch, name, packed, server.address)

    return offer


FETCHABLE = [name for name in miniatures.NAMES if SOURCES[name].archives[0].urls]


@pytest.mark.parametrize("name", FETCHABLE)
def test_fetched_checked_and_opened(offer, server, home, name):
    offer(name)
    place = home / "datasets" / SOURCES[name].folder
    assert not table.DATASETS[name].facts().present
    status, out, err = lgca("datasets", "fetch", name)
    assert status == 0
    first, last = SOURCES[name].archives[0].name, SOURCES[name].archives[-1].name
    assert err.splitlines()[:2] == [f"downloading {first}", f"verifying {first}"]  # without a terminal, a line a stage
    assert err.splitlines()[-1] == f"unpacking {last}"
    assert out.splitlines()[0] == str(place)
    assert SOURCES[name].licence in out
    assert table.DATASETS[name].facts().present
    assert list(home.glob("downloads/*/*")) == []  # the archives took their room long enough
    assert listing(home / "datasets") == [place.name]
    status, out, err = lgca("datasets", "check", name)
    assert (status, err) == (0, "")
    assert "off" not in out
    made = table.open_dataset(name)
    assert {made.key(item): made.class_ids[item.label] for item in made.items} == miniatures.split(name)
    assert made.note == ""
    asked = len(server.seen)
    status, out, err = lgca("datasets", "fetch", name)
    assert (status, err) == (0, "")
    assert out.splitlines()[0] == f"{place} (already there, and whole)"
    assert len(server.seen) == asked


def test_not_there_says_how_to_get_it(home):
    for name in ("pets", "places365-distinct"):
        for call in (table.open_dataset, fetching.check):
            with pytest.raises(LgcaError, match=rf"^{name} is not .*lgca datasets fetch {name}.*{name}:/path/to/copy"):
                call(name)


def test_a_download_that_fails_says_what_is_kept_and_what_helps(offer, server, home):
    offer("dtd")
    server.cut = [1000] + [0] * downloads.ATTEMPTS
    kept = home / "downloads" / "dtd" / "fetched"
    with pytest.raises(LgcaError, match=rf"dtd-r1\.0\.1\.tar\.gz.*1,000 bytes are kept in {kept}.*again.*:FOLDER"):
        fetching.fetch("dtd")
    server.files.clear()
    shutil.rmtree(kept)
    with pytest.raises(LgcaError, match=r"404.*:FOLDER") as caught:
        fetching.fetch("dtd")
    assert "kept" not in str(caught.value)


def test_imagenet_is_brought_by_the_user(offer, server, home, tmp_path):
    offer("imagenet")
    for call in (table.open_dataset, fetching.fetch):
        with pytest.raises(LgcaError) as caught:
            call("imagenet")
        for word in ("image-net.org", "ILSVRC2012_img_val.tar", "devkit", str(home / "downloads" / "imagenet")):
            assert word in str(caught.value)
    assert server.seen == []
    place, there = fetching.fetch(f"imagenet:{tmp_path / 'packed'}")
    assert not there
    made = table.open_dataset("imagenet")
    assert made.root == place / "val"
    assert {made.key(item): made.class_ids[item.label] for item in made.items} == miniatures.split("imagenet")
    assert made.note == ""
    assert listing(tmp_path / "packed") == ["ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_val.tar"]


def test_imagenet_where_the_sentence_says(offer, home):
    offer("imagenet")
    miniatures.pack("imagenet", home / "downloads" / "imagenet")
    (home / "downloads" / "imagenet" / "ILSVRC2012_img_val.tar").write_bytes(b"another")
    with pytest.raises(LgcaError, match=r"ILSVRC2012_img_val\.tar .*7 bytes.*remove it.* https://image-net\.org"):
        fetching.fetch("imagenet")
    assert (home / "downloads" / "imagenet" / "ILSVRC2012_img_val.tar").read_bytes() == b"another"
    miniatures.pack("imagenet", home / "downloads" / "imagenet")
    fetching.fetch("imagenet")
    assert len(table.open_dataset("imagenet").items) == 8
    assert listing(home / "downloads" / "imagenet") == ["ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_val.tar"]


def test_an_archive_brought_is_kept_wherever_it_lies(offer, server, home):
    offer("pets")
    images = miniatures.pack("pets", home / "downloads" / "pets")[0]
    (images.parent / "annotations.tar.gz").write_bytes(b"another")
    with pytest.raises(LgcaError, match=r"annotations\.tar\.gz .*7 bytes.*remove it.* lgca datasets fetch pets"):
        fetching.fetch("pets")
    (images.parent / "annotations.tar.gz").unlink()
    fetching.fetch("pets")
    assert server.asked == ["annotations.tar.gz"]
    assert listing(home / "downloads" / "pets") == ["images.tar.gz"]


def test_one_that_is_there_and_not_whole(offer, tmp_path):
    offer("pets")
    place, _ = fetching.fetch("pets")
    mend = rf"remove {place} and run lgca datasets fetch pets"
    gone = next((place / "images").glob("*_201.jpg"))
    gone.unlink()
    for spec in ("pets", f"pets:{tmp_path / 'packed'}"):
        with pytest.raises(LgcaError, match=rf"^{place} is .*{gone.name}.*{mend}"):
            fetching.fetch(spec)
    with pytest.raises(LgcaError, match=rf"{gone}.*{mend}"):
        table.open_dataset("pets")
    assert lgca("datasets", "check", "pets")[2].endswith(f"{gone.name}: {mend}\n")
    (place / "annotations" / "test.txt").unlink()
    for call in (table.open_dataset, fetching.check, fetching.fetch):
        with pytest.raises(LgcaError, match=rf"{place}.*{mend}"):
            call("pets")


def test_an_empty_folder_is_no_data_set(offer, home):
    offer("pets")
    (home / "datasets" / "pets").mkdir(parents=True)
    for call in (table.open_dataset, fetching.check):
        with pytest.raises(LgcaError, match=r"^pets is not .*get it by lgca datasets fetch pets"):
            call("pets")
    assert fetching.fetch("pets") == (home / "datasets" / "pets", False)
    assert len(table.open_dataset("pets").items) == 6


def test_a_copy_that_is_unpacked_needs_no_fetching(home, tmp_path):
    copy = miniatures.make("pets", tmp_path / "copy")
    with pytest.raises(LgcaError, match=rf"{copy} is unpacked already.* pets:{copy}"):
        fetching.fetch(f"pets:{copy}")


def test_room_is_asked_for_before_the_first_byte(offer, server, home, monkeypatch, tmp_path):
    row = offer("pets")
    packed = sum(archive.size for archive in row.archives)
    free = 2 * packed - 1
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(LgcaError, match=rf"pets needs {2 * packed:,}.*LGCA_HOME"):
        fetching.fetch("pets")
    assert server.seen == []
    part = home / "downloads" / "pets" / "fetched" / "images.tar.gz.part"
    part.parent.mkdir()
    part.write_bytes(server.files["images.tar.gz"][:1])  # of an earlier download: needs no more room
    fetching.fetch("pets")
    shutil.rmtree(home / "datasets" / "pets")
    free = packed  # what lies here already needs no more room
    fetching.fetch(f"pets:{tmp_path / 'packed'}")
    assert len(table.open_dataset("pets").items) == 6


def test_what_is_known_of_the_unpacked_size_counts(offer, monkeypatch):
    row = offer("imagenet-sketch")
    [archive] = row.archives
    assert archive.unpacked == 8_400_000_000
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=archive.unpacked))
    with pytest.raises(LgcaError, match=f"needs {archive.unpacked + archive.size:,}"):
        fetching.fetch("imagenet-sketch")


def test_archives_that_the_user_has(offer, server, tmp_path):
    offer("pets")
    with pytest.raises(LgcaError, match=r"does not hold images\.tar\.gz or annotations\.tar\.gz"):
        fetching.fetch(f"pets:{tmp_path}")
    (tmp_path / "packed" / "annotations.tar.gz").unlink()
    fetching.fetch(f"pets:{tmp_path / 'packed'}")
    assert server.asked == ["annotations.tar.gz"]
    assert listing(tmp_path / "packed") == ["images.tar.gz"]
    assert len(table.open_dataset("pets").items) == 6


def test_an_unpacking_that_fails_leaves_nothing_but_the_archive(offer, server, home, monkeypatch, tmp_path):
    row = offer("dtd")
    [archive] = row.archives
    packed = tmp_path / "packed" / archive.name
    with tarfile.open(packed, "w") as opened:
        opened.add(packed.parent, "dtd/images", recursive=False)
        opened.add(packed.parent, "../../evil", recursive=False)
    server.files[archive.name] = packed.read_bytes()
    evil = replace(archive, size=None, checksum=None)
    monkeypatch.setitem(table.DATASETS, "dtd", copies.entry("dtd", replace(row, archives=(evil,))))
    with pytest.raises(LgcaError, match=r"'\.\./\.\./evil'"):
        fetching.fetch("dtd")
    assert listing(home / "datasets") == []
    assert listing(home / "downloads" / "dtd" / "fetched") == ["dtd-r1.0.1.tar.gz"]


def test_counts_are_verified_after_unpacking(offer, home, monkeypatch):
    row = offer("dtd")
    wrong = replace(row, images=7, per_class=None)
    monkeypatch.setitem(table.DATASETS, "dtd", copies.entry("dtd", wrong))
    with pytest.raises(LgcaError, match=r"6 pictures instead of 7.*unpack .* dtd:/path") as caught:
        fetching.fetch("dtd")
    assert Path(re.search(r"unpack (\S+)", str(caught.value))[1]).is_file()
    assert listing(home / "datasets") == []


def test_interrupted_it_goes_on(offer, server, home, monkeypatch):
    offer("pets")
    server.cut = [4000]
    with monkeypatch.context() as patched:  # at the wait after the connection broke off

        def interrupt(_):
            raise KeyboardInterrupt

        patched.setattr(downloads.time, "sleep", interrupt)
        status, _, err = lgca("datasets", "fetch", "pets")
    assert status == 130
    assert "lgca datasets fetch pets again" in err.splitlines()[-1]
    assert listing(home / "datasets") == []
    assert lgca("datasets", "fetch", "pets")[0] == 0
    assert ("images.tar.gz", "bytes=4000-") in server.seen


def test_what_a_killed_unpacking_left_is_removed(offer, home, monkeypatch):
    offer("dtd")
    unpack = archives.unpack

    def killed(archive, folder, **_):
        draft = folder.parent if folder.name == "val" else folder
        shutil.copytree(draft, draft.with_name(f"{draft.name}-left"))  # the draft itself is removed on the way out
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "unpack", killed)
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch("dtd")
    other = home / "datasets" / ".dtd-r.draft-abc"
    other.mkdir()
    assert len(listing(home / "datasets")) == 2
    monkeypatch.setattr(fetching, "unpack", unpack)
    fetching.fetch("dtd")
    assert listing(home / "datasets") == [".dtd-r.draft-abc", "dtd"]


def test_two_at_once(offer, server, home, monkeypatch):
    offer("dtd")
    (home / "downloads").mkdir(parents=True)
    with FileLock(home / "downloads" / ".dtd.lock"), pytest.raises(LgcaError, match="another process is fetching"):
        fetching.fetch("dtd")
    assert server.seen == []
    unpack = archives.unpack

    def overtaken(*words, **named):
        with pytest.raises(LgcaError, match="another process is fetching dtd"):
            fetching.fetch("dtd")
        unpack(*words, **named)

    monkeypatch.setattr(fetching, "unpack", overtaken)
    assert fetching.fetch("dtd")[0].is_dir()


def test_another_process_that_was_first(offer, server, home, monkeypatch):
    """It ended between the first look and the lock."""
    offer("dtd")
    acquire = FileLock.acquire

    def late(*words, **named):
        miniatures.make("dtd", home / "datasets" / "dtd")
        return acquire(*words, **named)

    monkeypatch.setattr(FileLock, "acquire", late)
    assert fetching.fetch("dtd") == (home / "datasets" / "dtd", True)
    assert server.seen == []


def test_a_wrong_name_stops_the_others_before_they_begin(offer, server):
    offer("dtd")
    for name, message in (("petz", "did you mean pets"), ("aviary", "made on demand"), ("aviary:/x", "takes no path")):
        assert message in refused("datasets", "fetch", "dtd", name)
    assert server.seen == []


def test_home_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "file"))
    with pytest.raises(LgcaError, match="LGCA_HOME"):
        fetching.fetch("dtd")
