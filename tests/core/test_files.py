"""Hashes of files, and files and folders that are written whole or not at all."""

import hashlib
import os

import pytest

from lgca_core import files
from lgca_core.errors import LgcaError


@pytest.mark.parametrize(
    ("algorithm", "content", "expected"),
    [
        ("sha256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("md5", b"abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("git-blob", b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
        ("git-blob", b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
    ],
)
def test_hashes_are_the_known_ones(tmp_path, algorithm, content, expected):
    (tmp_path / "a").write_bytes(content)
    assert files.hash_of(tmp_path / "a", algorithm) == expected


def test_long_files_are_hashed_piece_by_piece(tmp_path):
    content = os.urandom(2 * files.CHUNK + 5)
    (tmp_path / "a").write_bytes(content)
    told = []
    assert files.hash_of(tmp_path / "a", progress=told.append) == hashlib.sha256(content).hexdigest()
    assert told == [files.CHUNK, 2 * files.CHUNK, len(content)]
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_file_that_cannot_be_hashed_is_named(tmp_path):
    with pytest.raises(LgcaError, match="nowhere"):
        files.sha256_of(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        files.hash_of(tmp_path / "nowhere")


def test_a_file_is_replaced_only_once_its_draft_is_whole(tmp_path):
    file = tmp_path / "new" / "a.json"
    files.write_whole(file, b"first")
    with files.draft_of(file) as draft:
        draft.write_bytes(b"second")
        assert file.read_bytes() == b"first"
    assert file.read_bytes() == b"second"

    with pytest.raises(KeyboardInterrupt), files.draft_of(file) as draft:
        draft.write_bytes(b"hal")
        raise KeyboardInterrupt
    assert file.read_bytes() == b"second"
    assert list(file.parent.iterdir()) == [file]


def test_the_drafts_of_a_folder_are_its_own(tmp_path):
    """Though its name begins another's."""

    def look(draft):
        files.remove_drafts(tmp_path / "imagenet")
        assert draft.is_dir()
        files.remove_drafts(tmp_path / "imagenet-r")
        assert not draft.is_dir()
        draft.mkdir()

    files.make_folder(tmp_path / "imagenet-r", look)
    assert (tmp_path / "imagenet-r").is_dir()
