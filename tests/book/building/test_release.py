"""The archive of a release: the whole site, the same bytes again, and a checksum that holds."""

import hashlib
import subprocess
import tarfile

from lgca_book.building import release


def site_in(folder):
    for name, text in (("index.html", "<p>first</p>"), ("_static/a.css", "p {}"), ("page.html", "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_archive_holds_the_site_and_its_checksum_holds(tmp_path):
    packed = release.pack(site_in(tmp_path / "html"), tmp_path / "out")
    with tarfile.open(packed) as archive:
        top = packed.name.removesuffix(".tar.gz")
        assert archive.getnames() == [f"{top}/{name}" for name in ("_static/a.css", "index.html", "page.html")]
        assert archive.extractfile(f"{top}/index.html").read() == b"<p>first</p>"
        assert {(member.uid, member.gid, member.uname) for member in archive} == {(0, 0, "")}
    digest, name = (packed.parent / f"{packed.name}.sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256(packed.read_bytes()).hexdigest(), packed.name)
    done = subprocess.run(["sha256sum", "-c", f"{packed.name}.sha256"], cwd=packed.parent, capture_output=True)
    assert done.returncode == 0


def test_one_site_gives_the_same_bytes(tmp_path):
    first, second = (release.pack(site_in(tmp_path / name / "html"), tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_without_a_book_nothing_is_packed(tmp_path, capsys):
    assert release.main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert "run `make book` first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
