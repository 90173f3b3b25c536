"""Archives from the network: what resumes, what is verified, what is refused; and a data set from end to end."""

import errno
import hashlib
import io
import os
import re
import shutil
import stat
import tarfile
import threading
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from lgca_core.data import archives, copies, downloads, fetching, table
from lgca_core.data.sources import SOURCES
from lgca_core.errors import LgcaError
from lgca_core.files import make_folder, remove_drafts
from support import miniatures
from support.command_line import lgca

BODY = bytes(range(256)) * 40  # 10,240 bytes


@dataclass
class Server:
    """Files on the loopback, and how badly they are served."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"one"'
    cut: list[int] = field(default_factory=list)  # bytes after which the next connections break off
    refuse: list[int] = field(default_factory=list)  # status of the next answers
    astray: bool = False  # the end of a file is announced as another part than was asked for
    seen: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range) of each request


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name, asked = self.path.lstrip("/"), self.headers.get("Range")
            told.seen.append((name, asked))
            if told.refuse or name not in told.files:
                self.send_error(told.refuse.pop(0) if told.refuse else 404)
                return
            body, start = told.files[name], 0
            if asked and told.ranges and self.headers.get("If-Range") in (None, told.etag):
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.end_headers()
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start + told.astray}-{len(body) - 1}/{len(body)}")
            if told.etag:
                self.send_header("ETag", told.etag)
            self.end_headers()
            end = start + told.cut.pop(0) if told.cut else None
            with suppress(ConnectionError):
                self.wfile.write(body[start:end])

        def log_message(self, *_args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.address = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield told
    running.shutdown()
    running.server_close()
    thread.join()


def archive(server, body=BODY, name="a.tar", **changes) -> downloads.Archive:
    made = downloads.Archive(
        name, (f"{server.address}/{name}",), len(body), f"sha256:{hashlib.sha256(body).hexdigest()}", "this test"
    )
    return replace(made, **changes)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- download ----------------------------------------------------------------------------------------------


def test_download(server, tmp_path):
    server.files["a.tar"] = BODY
    told = []
    path = downloads.download(archive(server), tmp_path / "new", progress=lambda *row: told.append(row))
    assert path.read_bytes() == BODY
    assert listing(tmp_path / "new") == ["a.tar"]
    assert told[-1] == ("verifying a.tar", len(BODY), len(BODY))
    assert ("downloading a.tar", len(BODY), len(BODY)) in told
    assert downloads.download(archive(server), tmp_path / "new") == path  # it is there
    assert server.seen == [("a.tar", None)]


@pytest.mark.parametrize("checksum", ["md5:" + hashlib.md5(BODY).hexdigest(), None])
def test_md5_or_no_checksum(server, tmp_path, checksum):
    server.files["a.tar"] = BODY
    made = archive(server, checksum=checksum)
    assert downloads.download(made, tmp_path).read_bytes() == BODY
    server.files["a.tar"] = BODY[::-1]
    if checksum:
        with pytest.raises(LgcaError, match="md5"):
            downloads.download(made, tmp_path / "other")


def test_a_download_that_breaks_off_goes_on_by_itself(server, tmp_path):
    server.files["a.tar"] = BODY
    server.cut = [1000, 0, 500]
    assert downloads.download(archive(server), tmp_path).read_bytes() == BODY
    assert [asked for _, asked in server.seen] == [None, "bytes=1000-", "bytes=1000-", "bytes=1500-"]


def test_a_later_command_goes_on(server, tmp_path):
    server.files["a.tar"] = BODY
    server.cut = [1000] + [0] * downloads.ATTEMPTS
    with pytest.raises(
        LgcaError, match=r"closed early; 1,000 bytes are kept in .*run the same command again"
    ) as caught:
        downloads.download(archive(server), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "a.tar").exists()
    server.seen.clear()
    assert downloads.download(archive(server), tmp_path).read_bytes() == BODY
    assert server.seen == [("a.tar", "bytes=1000-")]
    assert listing(tmp_path) == ["a.tar"]


def test_a_server_that_knows_no_ranges(server, tmp_path):
    server.files["a.tar"] = BODY
    server.ranges = False
    server.cut = [1000]
    assert downloads.download(archive(server), tmp_path).read_bytes() == BODY
    assert [asked for _, asked in server.seen] == [None, "bytes=1000-"]


@pytest.mark.parametrize("checksum", [True, False])
def test_a_file_that_changed_between_two_attempts_is_not_patched_together(server, tmp_path, checksum):
    server.files["a.tar"] = BODY
    server.cut = [1000] + [0] * downloads.ATTEMPTS
    with pytest.raises(LgcaError, match="kept"):
        downloads.download(archive(server), tmp_path)
    new = BODY[::-1]
    server.files["a.tar"], server.etag = new, '"two"'
    made = archive(server, new) if checksum else archive(server, new, checksum=None)
    assert downloads.download(made, tmp_path).read_bytes() == new


def test_without_a_version_or_a_checksum_it_starts_again(server, tmp_path):
    server.files["a.tar"], server.etag = BODY, None
    server.cut = [1000]
    assert downloads.download(archive(server, checksum=None), tmp_path).read_bytes() == BODY
    assert [asked for _, asked in server.seen] == [None, None]


def test_whole_but_unnamed(server, tmp_path):
    """Killed between the last byte and the new name."""
    server.files["a.tar"] = BODY
    for size in (len(BODY), None):
        (tmp_path / "a.tar.part").write_bytes(BODY)
        assert downloads.download(archive(server, size=size), tmp_path).read_bytes() == BODY
        (tmp_path / "a.tar").unlink()
    assert [asked for _, asked in server.seen] == [f"bytes={len(BODY)}-"]
    (tmp_path / "a.tar.part").write_bytes(BODY + b"more")
    assert downloads.download(archive(server, size=None), tmp_path).read_bytes() == BODY


def test_another_file_is_removed(server, tmp_path):
    server.files["a.tar"] = BODY[::-1]
    with pytest.raises(LgcaError, match=r"sha256 [0-9a-f]{64}, not the published.*removed.*again"):
        downloads.download(archive(server), tmp_path)
    assert listing(tmp_path) == []
    server.files["a.tar"] = BODY
    assert downloads.download(archive(server), tmp_path).read_bytes() == BODY


def test_another_size_is_not_even_downloaded(server, tmp_path):
    server.files["a.tar"] = BODY + b"more"
    with pytest.raises(LgcaError, match=r"serves 10,244 bytes, but the published a\.tar has 10,240"):
        downloads.download(archive(server), tmp_path)
    assert listing(tmp_path) == []


def test_the_next_address(server, tmp_path):
    server.files["a.tar"] = BODY
    gone = f"{server.address}/gone.tar"
    made = archive(server, urls=(gone, f"{server.address}/a.tar"))
    assert downloads.download(made, tmp_path).read_bytes() == BODY
    with pytest.raises(
        LgcaError, match=r"/gone\.tar: the server answers 404 .*; .*/lost\.tar: the server answers 404 .*get a\.tar by"
    ):
        downloads.download(replace(made, urls=(gone, f"{server.address}/lost.tar")), tmp_path / "other")
    # Each is asked once: it will not come.
    assert [name for name, _ in server.seen] == ["gone.tar", "a.tar", "gone.tar", "lost.tar"]


@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_server_that_is_busy_is_asked_again(server, tmp_path, status):
    server.files["a.tar"] = BODY
    server.refuse = [status] * (downloads.ATTEMPTS - 1)
    assert downloads.download(archive(server), tmp_path).read_bytes() == BODY
    assert len(server.seen) == downloads.ATTEMPTS


def test_what_comes_again_and_again_is_in_vain(server, tmp_path):
    """A server that breaks off at one place, and then serves another part than the rest, would be asked for ever."""
    server.files["a.tar"], server.cut, server.astray = BODY, [1000] * 40, True
    with pytest.raises(LgcaError, match="closed early"):
        downloads.download(archive(server), tmp_path)
    assert len(server.seen) == 1 + downloads.ATTEMPTS


def test_a_full_disk_is_not_the_servers_fault(server, tmp_path, monkeypatch):
    server.files["a.tar"] = BODY
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: _Usage(5000))
    with pytest.raises(LgcaError, match="room for 5,000"):
        downloads.download(archive(server, urls=(f"{server.address}/a.tar",) * 2), tmp_path)
    assert len(server.seen) == 1


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    made = downloads.Archive("a.tar", ("http://no-such-host.invalid/a.tar",), 1, None, "this test")
    with pytest.raises(LgcaError, match=r"no-such-host\.invalid.*get a\.tar by other means and write :FOLDER"):
        downloads.download(made, tmp_path)


def test_no_room(server, tmp_path, monkeypatch):
    server.files["a.tar"] = BODY
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: _Usage(5000))
    with pytest.raises(LgcaError, match=r"room for 5,000 bytes, but a\.tar needs 10,240.*LGCA_HOME"):
        downloads.download(archive(server), tmp_path)
    assert listing(tmp_path) == []


@dataclass
class _Usage:
    free: int


def test_a_file_of_the_right_name_that_is_another(server, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"mine")
    with pytest.raises(LgcaError, match=r"a\.tar has 4 bytes, but the published a\.tar has 10,240"):
        downloads.download(archive(server), tmp_path)
    assert (tmp_path / "a.tar").read_bytes() == b"mine"


# ---- unpack ------------------------------------------------------------------------------------------------


def tar(path: Path, *members: tarfile.TarInfo | tuple[str, bytes], mode="w") -> Path:
    with tarfile.open(path, mode) as opened:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                opened.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                opened.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(path: Path, *members: tuple[str, bytes, int]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, data, kind in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            opened.writestr(info, data)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_unpack_goes_by_the_content(tmp_path, mode):
    told = []
    packed = tar(tmp_path / "x.tar.gz", special("d", tarfile.DIRTYPE), ("./d/e/a.jpg", b"a"), ("b", b""), mode=mode)
    archives.unpack(packed, tmp_path / "out", progress=lambda *row: told.append(row))
    assert (tmp_path / "out" / "d" / "e" / "a.jpg").read_bytes() == b"a"
    assert (tmp_path / "out" / "b").read_bytes() == b""
    size = packed.stat().st_size
    assert told[-1] == ("unpacking x.tar.gz", size, size)
    assert len(told) == 3
    assert all(0 < done <= total == size for _, done, total in told)


def test_unpack_zip(tmp_path):
    packed = zipped(tmp_path / "x", ("d/", b"", stat.S_IFDIR), ("d/a.jpg", b"a", stat.S_IFREG), ("b", b"b", 0))
    archives.unpack(packed, tmp_path / "out")
    assert (tmp_path / "out" / "d" / "a.jpg").read_bytes() == b"a"
    assert (tmp_path / "out" / "b").read_bytes() == b"b"


OUT = ["../out.jpg", "a/../../out.jpg", "{}/out.jpg", "..\\out.jpg", "C:\\out.jpg", "\\\\host\\share\\out.jpg"]


@pytest.mark.parametrize("name", OUT)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_no_path_leaves_the_folder(tmp_path, name, kind):
    name = name.format(tmp_path)
    make = {"tar": lambda: tar(tmp_path / "x", (name, b"x")), "zip": lambda: zipped(tmp_path / "x", (name, b"x", 0))}
    with pytest.raises(LgcaError, match="leads out of the folder") as caught:
        archives.unpack(make[kind](), tmp_path / "deep" / "out")
    assert str(tmp_path / "x") in str(caught.value)
    assert not list(tmp_path.rglob("*out.jpg"))


@pytest.mark.parametrize(
    "member",
    [
        special("d", tarfile.SYMTYPE, "../.."),
        special("d", tarfile.SYMTYPE, "/etc"),
        special("d", tarfile.LNKTYPE, "../../secret"),
        special("d", tarfile.CHRTYPE),
        special("d", tarfile.BLKTYPE),
        special("d", tarfile.FIFOTYPE),
    ],
)
def test_neither_links_nor_devices(tmp_path, member):
    packed = tar(tmp_path / "x.tar", ("first.jpg", b"1"), member, ("d/out.jpg", b"x"))
    with pytest.raises(LgcaError, match=r"x\.tar is not unpacked: its member 'd' is a link or a device"):
        archives.unpack(packed, tmp_path / "out")
    assert listing(tmp_path / "out") == ["first.jpg"]


def test_no_links_in_zips(tmp_path):
    packed = zipped(tmp_path / "x.zip", ("d", b"../..", stat.S_IFLNK), ("d/out.jpg", b"x", 0))
    with pytest.raises(LgcaError, match="'d' is a link or a device"):
        archives.unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@given(name=st.text(st.sampled_from("ab./\\:~ C"), min_size=1, max_size=12))
def test_whatever_a_member_is_called(tmp_path_factory, name):
    base = tmp_path_factory.mktemp("any")
    folder = base / "deep" / "out"
    folder.mkdir(parents=True)
    packed = tar(base / "x.tar", (name, b"x"))
    with suppress(LgcaError):
        archives.unpack(packed, folder)
    outside = [path for path in base.rglob("*") if path.is_file() and folder not in path.parents]
    assert outside == [packed]


def test_damaged_archives(tmp_path):
    whole = tar(tmp_path / "x.tgz", ("a.jpg", os.urandom(50_000)), mode="w:gz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[:20_000])
    (tmp_path / "page.tgz").write_bytes(b"<html>log in</html>")
    (tmp_path / "empty.tgz").touch()
    packed = zipped(tmp_path / "bad.zip", ("a.jpg", b"some picture", 0))
    packed.write_bytes(packed.read_bytes().replace(b"some picture", b"some pigture"))
    with pytest.raises(LgcaError, match=r"cut\.tgz is damaged"):
        archives.unpack(tmp_path / "cut.tgz", tmp_path / "out")
    with pytest.raises(LgcaError, match=r"bad\.zip is damaged"):
        archives.unpack(packed, tmp_path / "out")
    for name in ("page.tgz", "empty.tgz"):
        with pytest.raises(LgcaError, match="neither a tar nor a zip"):
            archives.unpack(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_while_unpacking(tmp_path, monkeypatch, number):
    packed = tar(tmp_path / "x.tar", ("a.jpg", b"a"))

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(downloads.shutil, "copyfileobj", full)
    with pytest.raises(LgcaError, match=r"x\.tar \(.+\): make room, or set LGCA_HOME .*kept, so run the same command"):
        archives.unpack(packed, tmp_path / "out")
    assert packed.exists()


def test_the_drafts_of_a_folder_are_its_own(tmp_path):
    """Though its name begins another's."""

    def look(draft):
        remove_drafts(tmp_path / "imagenet")
        assert draft.is_dir()
        remove_drafts(tmp_path / "imagenet-r")
        assert not draft.is_dir()
        draft.mkdir()

    make_folder(tmp_path / "imagenet-r", look)


# ---- a data set from end to end ----------------------------------------------------------------------------


def offer(server, monkeypatch, tmp_path, name):
    """The miniature's archives on the server, and in the table."""
    packed = miniatures.pack(name, tmp_path / "packed")
    server.files |= {path.name: path.read_bytes() for path in packed}
    return miniatures.enter(monkeypatch, name, packed, server.address)


FETCHABLE = [name for name in miniatures.NAMES if SOURCES[name].archives[0].urls]


@pytest.mark.parametrize("name", FETCHABLE)
def test_fetched_checked_and_opened(server, home, monkeypatch, tmp_path, name):
    offer(server, monkeypatch, tmp_path, name)
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
    with pytest.raises(
        LgcaError, match=r"^pets is not there: get it by lgca datasets fetch pets; .* pets:/path/to/copy"
    ):
        table.open_dataset("pets")
    with pytest.raises(LgcaError, match=r"^places365-distinct is not there: get it by"):
        table.open_dataset("places365-distinct")
    with pytest.raises(LgcaError, match=r"pets is not in .*pets:/path/to/copy"):
        fetching.check("pets")


def test_imagenet_is_brought_by_the_user(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "imagenet")
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


def test_imagenet_where_the_sentence_says(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "imagenet")
    miniatures.pack("imagenet", home / "downloads" / "imagenet")
    (home / "downloads" / "imagenet" / "ILSVRC2012_img_val.tar").write_bytes(b"another")
    with pytest.raises(
        LgcaError, match=r"has 7 bytes, but the published .*: remove it, and download it from https://image-net\.org"
    ):
        fetching.fetch("imagenet")
    assert (home / "downloads" / "imagenet" / "ILSVRC2012_img_val.tar").read_bytes() == b"another"
    miniatures.pack("imagenet", home / "downloads" / "imagenet")
    fetching.fetch("imagenet")
    assert len(table.open_dataset("imagenet").items) == 8
    assert listing(home / "downloads" / "imagenet") == ["ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2012_img_val.tar"]


def test_an_archive_brought_is_kept_wherever_it_lies(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "pets")
    images = miniatures.pack("pets", home / "downloads" / "pets")[0]
    (images.parent / "annotations.tar.gz").write_bytes(b"another")
    with pytest.raises(LgcaError, match=r"has 7 bytes.*: remove it, and lgca datasets fetch pets downloads it"):
        fetching.fetch("pets")
    (images.parent / "annotations.tar.gz").unlink()
    fetching.fetch("pets")
    assert [name for name, _ in server.seen] == ["annotations.tar.gz"]
    assert listing(home / "downloads" / "pets") == ["images.tar.gz"]


def test_one_that_is_there_and_not_whole(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "pets")
    place, _ = fetching.fetch("pets")
    mend = rf"remove {place} and run lgca datasets fetch pets"
    gone = next((place / "images").glob("*_201.jpg"))
    gone.unlink()
    for spec in ("pets", f"pets:{tmp_path / 'packed'}"):
        with pytest.raises(
            LgcaError, match=rf"^{place} is there and not whole \(1 listed .*: {gone.name}\): {mend} again"
        ):
            fetching.fetch(spec)
    with pytest.raises(LgcaError, match=rf"{gone}: .*; {mend}, or go on past such files"):
        table.open_dataset("pets")
    assert lgca("datasets", "check", "pets")[2].endswith(f"{gone.name}: {mend}\n")
    (place / "annotations" / "test.txt").unlink()
    for call in (table.open_dataset, fetching.check, fetching.fetch):
        with pytest.raises(LgcaError, match=rf"holds no copy of .*{mend}"):
            call("pets")


def test_an_empty_folder_is_no_data_set(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "pets")
    (home / "datasets" / "pets").mkdir(parents=True)
    for call in (table.open_dataset, fetching.check):
        with pytest.raises(LgcaError, match=r"^pets is not .*get it by lgca datasets fetch pets"):
            call("pets")
    assert fetching.fetch("pets") == (home / "datasets" / "pets", False)
    assert len(table.open_dataset("pets").items) == 6


def test_a_copy_that_is_unpacked_needs_no_fetching(home, tmp_path):
    copy = miniatures.make("pets", tmp_path / "copy")
    with pytest.raises(LgcaError, match=rf"{copy} is unpacked already .*: use pets:{copy} as it is"):
        fetching.fetch(f"pets:{copy}")


def test_room_is_asked_for_before_the_first_byte(server, home, monkeypatch, tmp_path):
    row = offer(server, monkeypatch, tmp_path, "pets")
    packed = sum(archive.size for archive in row.archives)
    free = 2 * packed - 1
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: _Usage(free))
    with pytest.raises(LgcaError, match=rf"room for {free:,} bytes, but pets needs {2 * packed:,}: make room"):
        fetching.fetch("pets")
    assert server.seen == []
    free += 1
    fetching.fetch("pets")
    shutil.rmtree(home / "datasets" / "pets")
    free = packed  # what lies here already needs no more room
    fetching.fetch(f"pets:{tmp_path / 'packed'}")
    assert len(table.open_dataset("pets").items) == 6


def test_what_is_known_of_the_unpacked_size_counts(server, home, monkeypatch, tmp_path):
    row = offer(server, monkeypatch, tmp_path, "imagenet-sketch")
    [archive] = row.archives
    assert archive.unpacked == 8_400_000_000
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: _Usage(archive.unpacked))
    with pytest.raises(LgcaError, match=f"needs {archive.unpacked + archive.size:,}"):
        fetching.fetch("imagenet-sketch")


def test_archives_that_the_user_has(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "pets")
    with pytest.raises(LgcaError, match=r"does not hold images\.tar\.gz or annotations\.tar\.gz"):
        fetching.fetch(f"pets:{tmp_path}")
    (tmp_path / "packed" / "annotations.tar.gz").unlink()
    fetching.fetch(f"pets:{tmp_path / 'packed'}")
    assert [name for name, _ in server.seen] == ["annotations.tar.gz"]
    assert listing(tmp_path / "packed") == ["images.tar.gz"]
    assert len(table.open_dataset("pets").items) == 6


def test_an_unpacking_that_fails_leaves_nothing_but_the_archive(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "dtd")
    body = tar(tmp_path / "evil.tar", ("dtd/images/a.jpg", b"x"), ("../../evil", b"x")).read_bytes()
    server.files["dtd-r1.0.1.tar.gz"] = body
    row = table.DATASETS["dtd"].source
    evil = archive(server, body, "dtd-r1.0.1.tar.gz")
    monkeypatch.setitem(table.DATASETS, "dtd", copies.entry("dtd", replace(row, archives=(evil,))))
    with pytest.raises(LgcaError, match="leads out of the folder"):
        fetching.fetch("dtd")
    assert listing(home / "datasets") == []
    assert listing(home / "downloads" / "dtd" / "fetched") == ["dtd-r1.0.1.tar.gz"]


def test_counts_are_verified_after_unpacking(server, home, monkeypatch, tmp_path):
    row = offer(server, monkeypatch, tmp_path, "dtd")
    wrong = replace(row, images=7, per_class=None)
    monkeypatch.setitem(table.DATASETS, "dtd", copies.entry("dtd", wrong))
    with pytest.raises(
        LgcaError, match=r"\(6 pictures instead of 7\): unpack /\S+/dtd-r1\.0\.1\.tar\.gz yourself, and use dtd:/path"
    ) as caught:
        fetching.fetch("dtd")
    assert Path(re.search(r"unpack (\S+)", str(caught.value))[1]).is_file()
    assert listing(home / "datasets") == []


def test_interrupted_it_goes_on(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "pets")
    receive = downloads._write

    def interrupted(response, part, *rest):
        part.write_bytes(response.read(4000))
        part.with_name(f"{part.name}.version").write_text(server.etag)
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_write", interrupted)
    status, _, err = lgca("datasets", "fetch", "pets")
    assert status == 2
    assert err.endswith("error: interrupted: run lgca datasets fetch pets again, and it goes on\n")
    assert listing(home / "datasets") == []
    monkeypatch.setattr(downloads, "_write", receive)
    assert lgca("datasets", "fetch", "pets")[0] == 0
    assert ("images.tar.gz", "bytes=4000-") in server.seen


def test_what_a_killed_unpacking_left_is_removed(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "dtd")
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


def test_two_at_once(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "dtd")
    (home / "downloads").mkdir(parents=True)
    with FileLock(home / "downloads" / ".dtd.lock"), pytest.raises(LgcaError, match="another process is fetching"):
        fetching.fetch("dtd")
    assert server.seen == []
    unpack = archives.unpack

    def overtaken(*words, **named):
        with pytest.raises(LgcaError, match="another process is fetching dtd: wait"):
            fetching.fetch("dtd")
        unpack(*words, **named)

    monkeypatch.setattr(fetching, "unpack", overtaken)
    assert fetching.fetch("dtd")[0].is_dir()


def test_another_process_that_was_first(server, home, monkeypatch, tmp_path):
    """It ended between the first look and the lock."""
    offer(server, monkeypatch, tmp_path, "dtd")
    acquire = FileLock.acquire

    def late(*words, **named):
        miniatures.make("dtd", home / "datasets" / "dtd")
        return acquire(*words, **named)

    monkeypatch.setattr(FileLock, "acquire", late)
    assert fetching.fetch("dtd") == (home / "datasets" / "dtd", True)
    assert server.seen == []


def test_a_wrong_name_stops_the_others_before_they_begin(server, home, monkeypatch, tmp_path):
    offer(server, monkeypatch, tmp_path, "dtd")
    for name, message in (("petz", "did you mean pets"), ("aviary", "made on demand"), ("aviary:/x", "takes no path")):
        status, out, err = lgca("datasets", "fetch", "dtd", name)
        assert (status, out) == (2, "")
        assert message in err
    assert server.seen == []


def test_home_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "file"))
    with pytest.raises(LgcaError, match="LGCA_HOME"):
        fetching.fetch("dtd")
