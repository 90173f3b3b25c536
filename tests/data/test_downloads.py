"""Downloads from the loopback: what resumes, what is verified, what is refused."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lgca_core.data import downloads
from lgca_core.errors import LgcaError

BODY = bytes(range(256)) * 40  # 10,240 bytes


def digest(algorithm: str, body: bytes = BODY) -> str:
    """A published checksum, as the tables spell it."""
    if algorithm == "git-blob":
        return f"git-blob:{hashlib.sha1(b'blob %d' % len(body) + bytes(1) + body).hexdigest()}"
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


@pytest.fixture
def archive(server):
    """The published file, which the server has."""
    server.files["a.tar"] = BODY
    return downloads.Archive("a.tar", (f"{server.address}/a.tar",), len(BODY), digest("sha256"), "this test")


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(archive, folder) -> str:
    """Why no address serves it."""
    with pytest.raises(downloads.NotServed) as caught:
        downloads.download(archive, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_download(server, archive, tmp_path):
    told = []
    path = downloads.download(archive, tmp_path / "new", progress=lambda *row: told.append(row))
    assert path.read_bytes() == BODY
    assert names(tmp_path / "new") == ["a.tar"]
    assert told == [(f"{what} a.tar", len(BODY), len(BODY)) for what in ("downloading", "verifying")]
    assert server.seen == [("a.tar", None)]


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "git-blob", None])
@pytest.mark.parametrize("sized", [True, False])
def test_checksums(server, archive, tmp_path, algorithm, sized):
    archive = replace(archive, checksum=algorithm and digest(algorithm), size=len(BODY) if sized else None)
    assert downloads.download(archive, tmp_path).read_bytes() == BODY
    server.files["a.tar"] = BODY[::-1]
    if algorithm:
        reason = refused(archive, tmp_path / "other")
        assert archive.urls[0] in reason
        assert digest(algorithm, BODY[::-1]).partition(":")[2] in reason
        assert names(tmp_path / "other") == []
        assert len(server.seen) == 2
    else:
        assert downloads.download(archive, tmp_path / "other").read_bytes() == BODY[::-1]


def test_faults_of_a_file(archive, tmp_path):
    (tmp_path / "a.tar").write_bytes(b"mine")
    assert "4 bytes, not 10,240" in downloads.fault_of(archive, tmp_path / "a.tar")
    assert "cannot be read" in downloads.fault_of(archive, tmp_path / "nowhere")
    (tmp_path / "a.tar").write_bytes(BODY)
    assert downloads.fault_of(archive, tmp_path / "a.tar") == ""


# ---- what resumes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [True, False])
def test_a_download_that_breaks_off_goes_on_by_itself(server, archive, tmp_path, lengths):
    server.cut, server.lengths = [1000, 0, 500], lengths
    assert downloads.download(archive, tmp_path).read_bytes() == BODY
    assert [asked for _, asked in server.seen] == [None, "bytes=1000-", "bytes=1000-", "bytes=1500-"]


def test_a_later_command_goes_on(server, archive, tmp_path):
    server.cut = [1000] + [0] * downloads.ATTEMPTS
    assert archive.urls[0] in refused(archive, tmp_path)
    assert downloads.received(archive, tmp_path) == 1000
    assert not (tmp_path / "a.tar").exists()
    server.seen.clear()
    assert downloads.download(archive, tmp_path).read_bytes() == BODY
    assert server.seen == [("a.tar", "bytes=1000-")]
    assert names(tmp_path) == ["a.tar"]


def test_a_server_that_knows_no_ranges(server, archive, tmp_path):
    server.ranges, server.cut = False, [1000]
    assert downloads.download(archive, tmp_path).read_bytes() == BODY
    assert [asked for _, asked in server.seen] == [None, "bytes=1000-"]


@pytest.mark.parametrize("algorithm", ["sha256", None])
def test_a_file_that_changed_between_two_attempts_is_not_patched_together(server, archive, tmp_path, algorithm):
    server.cut = [1000] + [0] * downloads.ATTEMPTS
    refused(archive, tmp_path)
    new = BODY[::-1]
    server.files["a.tar"], server.etag = new, '"two"'
    archive = replace(archive, checksum=algorithm and digest(algorithm, new))
    assert downloads.download(archive, tmp_path).read_bytes() == new


def test_without_a_version_or_a_checksum_it_starts_again(server, archive, tmp_path):
    server.etag, server.cut = None, [1000]
    assert downloads.download(replace(archive, checksum=None), tmp_path).read_bytes() == BODY
    assert [asked for _, asked in server.seen] == [None, None]


def test_whole_but_unnamed(server, archive, tmp_path):
    """Killed between the last byte and the new name."""
    for size in (len(BODY), None):
        (tmp_path / "a.tar.part").write_bytes(BODY)
        assert downloads.download(replace(archive, size=size), tmp_path).read_bytes() == BODY
        (tmp_path / "a.tar").unlink()
    assert [asked for _, asked in server.seen] == [f"bytes={len(BODY)}-"]
    (tmp_path / "a.tar.part").write_bytes(BODY + b"more")
    assert downloads.download(replace(archive, size=None), tmp_path).read_bytes() == BODY


# ---- addresses that fail -----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [None, BODY[::-1], BODY + b"more"])  # absent, another file, one of another size
def test_the_next_address(server, archive, tmp_path, first):
    if first:
        server.files["first.tar"] = first
    archive = replace(archive, urls=(f"{server.address}/first.tar", f"{server.address}/a.tar"))
    assert downloads.download(archive, tmp_path).read_bytes() == BODY
    assert server.asked == ["first.tar", "a.tar"]  # each is asked once: it will not come
    del server.files["a.tar"]
    reason = refused(archive, tmp_path / "other")
    assert all(url in reason for url in archive.urls)
    assert names(tmp_path / "other") == []


@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_server_that_is_busy_is_asked_again(server, archive, tmp_path, status):
    server.refuse = [status] * (downloads.ATTEMPTS - 1)
    assert downloads.download(archive, tmp_path).read_bytes() == BODY
    assert len(server.seen) == downloads.ATTEMPTS


def test_what_comes_again_and_again_is_in_vain(server, archive, tmp_path):
    """A server that breaks off at one place, and then serves another part than the rest, would be asked for ever."""
    server.cut, server.astray = [1000] * 40, True
    refused(archive, tmp_path)
    assert len(server.seen) == 1 + downloads.ATTEMPTS


def test_no_network(monkeypatch, archive, tmp_path):
    waits = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    assert "refused" in refused(replace(archive, urls=("http://127.0.0.1:9/a.tar",)), tmp_path)
    assert len(waits) == downloads.ATTEMPTS - 1


@pytest.mark.parametrize(
    "url", ["file:///nowhere/a.tar", "/some/a.tar", "ftp://127.0.0.1/a.tar", "http://[", "http://x:y"]
)
def test_an_address_that_cannot_work_fails_at_once(monkeypatch, archive, tmp_path, url):
    monkeypatch.setattr(downloads.time, "sleep", lambda _: pytest.fail("it is tried again"))
    assert url in refused(replace(archive, urls=(url,)), tmp_path)


def test_a_folder_serves_as_well(archive, tmp_path):
    place = tmp_path / "a copy, 100%" / "a.tar"
    place.parent.mkdir()
    place.write_bytes(BODY)
    assert downloads.download(replace(archive, urls=(place.as_uri(),)), tmp_path / "to").read_bytes() == BODY
    assert names(tmp_path / "to") == ["a.tar"]


def test_a_shorter_file_is_not_even_downloaded(server, archive, tmp_path):
    server.files["a.tar"] = BODY[:-1]
    with pytest.raises(downloads.NotServed, match=rf"{archive.urls[0]}.*10,239"):
        downloads.download(archive, tmp_path, progress=lambda *row: pytest.fail(str(row)))


# ---- the disk ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("known", [{"size": len(BODY)}, {"size": None}, {"size": None, "about": 6000}])
def test_no_server_fills_the_disk(server, archive, tmp_path, monkeypatch, lengths, known):
    monkeypatch.setattr(downloads, "LIMIT", 12_000)
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    server.files["a.tar"], server.lengths = BODY * 100, lengths
    archive = replace(archive, checksum=None, **known)
    assert archive.limit == (known["size"] or 12_000)
    written = []
    with pytest.raises(downloads.NotServed, match=rf"{archive.urls[0]}.* {archive.limit:,}"):
        downloads.download(archive, tmp_path, progress=lambda what, done, total: written.append(done))
    assert max(written, default=0) <= archive.limit
    assert not (lengths and written)  # announced, it is not even downloaded
    assert names(tmp_path) == []
    assert len(server.seen) == 1
    server.files["a.tar"] = BODY
    assert downloads.download(archive, tmp_path).read_bytes() == BODY


def test_no_room_is_not_the_servers_fault(server, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=5000))
    with pytest.raises(LgcaError, match=r"a\.tar needs 10,240.*LGCA_HOME"):
        downloads.download(replace(archive, urls=archive.urls * 2), tmp_path)
    assert names(tmp_path) == []
    assert len(server.seen) == 1


def test_a_disk_that_fills_up_while_downloading(server, archive, tmp_path):
    (tmp_path / "a.tar.part").symlink_to("/dev/full")
    with pytest.raises(LgcaError, match=r"a\.tar.*\(No space left.*LGCA_HOME") as caught:
        downloads.download(replace(archive, urls=archive.urls * 2), tmp_path)
    assert not isinstance(caught.value, downloads.NotServed)
    assert not (tmp_path / "a.tar").exists()
    assert len(server.seen) == 1


def test_a_folder_that_cannot_be_made(archive, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LgcaError, match=r"file/to.*LGCA_HOME"):
        downloads.download(archive, tmp_path / "file" / "to")
