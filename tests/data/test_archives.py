"""Archives: what is unpacked, and what is refused."""

import errno
import io
import os
import shutil
import stat
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lgca_core.data import archives
from lgca_core.errors import LgcaError


def special(name: str, kind: bytes, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


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


def zipped(path: Path, *members: tuple[str, bytes, int]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, data, kind in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            opened.writestr(info, data)
    return path


MAKE = {"tar": lambda path, name: tar(path, (name, b"x")), "zip": lambda path, name: zipped(path, (name, b"x", 0))}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_unpack_goes_by_the_content(tmp_path, mode):
    packed = tmp_path / "x.tar.gz"
    if mode == "zip":
        zipped(packed, ("d/", b"", stat.S_IFDIR), ("./d/e/a.jpg", b"a", stat.S_IFREG), ("b", b"", 0))
    else:
        tar(packed, special("d", tarfile.DIRTYPE, mode=0o755), ("./d/e/a.jpg", b"a"), ("b", b""), mode=mode)
    told = []
    archives.unpack(packed, tmp_path / "out", progress=lambda *row: told.append(row))
    assert (tmp_path / "out" / "d" / "e" / "a.jpg").read_bytes() == b"a"
    assert (tmp_path / "out" / "b").read_bytes() == b""
    size = packed.stat().st_size
    assert told[-1] == ("unpacking x.tar.gz", size, size)
    assert len(told) >= 3
    assert all(0 < done <= total == size for _, done, total in told)


def test_modes_are_harmless(tmp_path):
    folder = special("d", tarfile.DIRTYPE, mode=0o000)
    tar(
        tmp_path / "x.tar",
        folder,
        special("d/none", tarfile.REGTYPE, mode=0),
        special("d/all", tarfile.REGTYPE, mode=0o7777),
    )
    archives.unpack(tmp_path / "x.tar", tmp_path / "out")
    for name in ("none", "all"):
        mode = (tmp_path / "out" / "d" / name).stat().st_mode
        assert mode & 0o600 == 0o600
        assert mode & 0o7022 == 0


OUT = [
    "../out.jpg",
    "a/../../out.jpg",
    "a/../out.jpg",
    "{}/out.jpg",
    "..\\out.jpg",
    "C:\\out.jpg",
    "\\\\host\\share\\out.jpg",
]


@pytest.mark.parametrize("name", OUT)
@pytest.mark.parametrize("kind", MAKE)
def test_no_path_leaves_the_folder(tmp_path, name, kind):
    name = name.format(tmp_path)
    packed = MAKE[kind](tmp_path / "x", name)
    with pytest.raises(LgcaError) as caught:
        archives.unpack(packed, tmp_path / "deep" / "out")
    assert str(packed) in str(caught.value)
    assert repr(name) in str(caught.value)
    assert not list(tmp_path.rglob("*out.jpg"))


@pytest.mark.parametrize(
    "member",
    [
        special("d", tarfile.SYMTYPE, "../.."),
        special("d", tarfile.SYMTYPE, "/etc"),
        special("d", tarfile.SYMTYPE, "first.jpg"),
        special("d", tarfile.LNKTYPE, "first.jpg"),
        special("d", tarfile.LNKTYPE, "../../secret"),
        special("d", tarfile.CHRTYPE),
        special("d", tarfile.BLKTYPE),
        special("d", tarfile.FIFOTYPE),
    ],
)
def test_neither_links_nor_devices(tmp_path, member):
    packed = tar(tmp_path / "x.tar", ("first.jpg", b"1"), member, ("d/out.jpg", b"x"))
    with pytest.raises(LgcaError, match=r"x\.tar .*'d' is a link or a device"):
        archives.unpack(packed, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["first.jpg"]


def test_no_links_in_zips(tmp_path):
    packed = zipped(tmp_path / "x.zip", ("d", b"../..", stat.S_IFLNK), ("d/out.jpg", b"x", 0))
    with pytest.raises(LgcaError, match=r"x\.zip .*'d' is a link or a device"):
        archives.unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@given(name=st.text(st.sampled_from("ab./\\:~ C"), min_size=1, max_size=12), kind=st.sampled_from([*MAKE]))
def test_whatever_a_member_is_called(tmp_path_factory, name, kind):
    base = tmp_path_factory.mktemp("any")
    folder = base / "deep" / "out"
    folder.mkdir(parents=True)
    packed = MAKE[kind](base / "x", name)
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
    late = tarfile.TarInfo("a.jpg")
    late.mtime = 10**30
    tar(tmp_path / "late.tar", late)
    tar(tmp_path / "nul.tar", ("\xe4\0b", b""))
    for name in ("nul.tar", "cut.tgz", "page.tgz", "empty.tgz", "bad.zip", "late.tar"):
        with pytest.raises(LgcaError, match=rf"{name} is .*fetch it again"):
            archives.unpack(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize(("kind", "module"), [("tar", tarfile), ("zip", shutil)])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_while_unpacking(tmp_path, monkeypatch, kind, module, number):
    packed = MAKE[kind](tmp_path / "x", "a.jpg")

    def full(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "copyfileobj", full)
    with pytest.raises(LgcaError, match=rf"{packed} \({os.strerror(number)}\).*LGCA_HOME"):
        archives.unpack(packed, tmp_path / "out")
    assert packed.exists()
