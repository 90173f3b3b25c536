"""The store: whole shards or none, whatever happens to the processes and the discs; and the commands over it."""

import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from lgca_core.errors import LgcaError
from lgca_core.evaluation.store import keys, shard_files
from lgca_core.evaluation.store.feature_set import FeatureSet
from lgca_core.evaluation.store.shard import Shard
from lgca_core.evaluation.store.store import Store
from lgca_core.views import Encoded
from support.command_line import files, lgca, refused
from support.store_writers import IDENTITIES, KEY, SIZE, big, grown, open_pool, write_all, write_often, write_slowly
from support.stub_encoder import rich

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["lgca_core.evaluation.store", "lgca_core.views"])


def make(identities, counts, *, first=0, width=8, seed=0) -> Shard:
    """A shard of boxes `first`, `first` + 1, ... of each picture, with features that say which box of which picture."""
    rows = [
        (identity, 0, k, 1 + k % 3, 1 + k % 5)
        for identity, count in zip(identities, counts, strict=True)
        for k in range(first, first + count)
    ]
    features = [
        torch.randn(width, generator=torch.Generator().manual_seed(int(row[0][:8], 16) + 100 * row[2] + seed))
        for row in rows
    ]
    boxes = torch.tensor([row[1:] for row in rows], dtype=torch.int32).reshape(-1, 4)
    matrix = torch.nn.functional.normalize(torch.stack(features), dim=1).half() if rows else torch.empty(0, 0).half()
    return Shard.of(identities, [SIZE] * len(identities), Encoded(torch.tensor(counts).int(), boxes, matrix))


def same(one: Shard | None, other: Shard) -> bool:
    return one is not None and one.to_bytes() == other.to_bytes()


def shards(pool: FeatureSet) -> list[str]:
    return sorted(path.name for path in pool.folder.iterdir() if path.suffix == ".safetensors")


@pytest.fixture
def said():
    """What the store reported."""
    return []


@pytest.fixture
def pool(tmp_path, said) -> FeatureSet:
    return Store(tmp_path / "store", pictures=4, report=said.append).pool(KEY, IDENTITIES, dataset="toys")


# ---- shards ------------------------------------------------------------------------------------------------


def test_round_trip(pool, said):
    assert (len(pool), [list(pool.pictures(k)) for k in (0, 2)]) == (3, [[0, 1, 2, 3], [8, 9]])
    wanted = [make([IDENTITIES[b] for b in pool.pictures(k)], [3, 0, 5, 1][: len(pool.pictures(k))]) for k in range(3)]
    assert [pool.read(k) for k in range(3)] == [None] * 3
    for k in (2, 0):
        pool.write(k, wanted[k])
    assert pool.read(1) is None
    for k in (0, 2):
        read = pool.read(k)
        assert read.identities == wanted[k].identities
        for name in ("sizes", "counts", "boxes", "features"):
            assert torch.equal(getattr(read, name), getattr(wanted[k], name))
            assert getattr(read, name).dtype == getattr(wanted[k], name).dtype
    assert said == []
    [name] = [name for name in shards(pool) if name.startswith("000002-")]
    content = (pool.folder / name).read_bytes()
    assert name == f"000002-3-{hashlib.sha256(content).hexdigest()}.safetensors"
    assert content[8:9] == b"{"  # safetensors' header: nothing to unpickle
    assert json.loads((pool.folder / "pool.json").read_text()) == {
        "format": 1, "pictures_a_shard": 4, "key": KEY, "pictures": 10, "dataset": "toys",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identities": ("x" * 64, *IDENTITIES[1:3])}, "not a sha256"),
        ({"identities": tuple(IDENTITIES[:2])}, "sizes are"),
        ({"counts": torch.tensor([3, 3, 1])}, "counts are .*int64"),
        ({"counts": torch.tensor([3, -1, 4], dtype=torch.int32)}, "do not add up"),
        ({"counts": torch.tensor([1, 1, 1], dtype=torch.int32)}, "do not add up to 6"),
        ({"features": torch.zeros(6, 8)}, "features are .*float32"),
        ({"features": torch.zeros(5, 8).half()}, r"features are \(5, 8\)"),
    ],
)
def test_a_shard_that_does_not_fit_together(change, message):
    sound = make(IDENTITIES[:3], [2, 0, 4])
    fields = {name: getattr(sound, name) for name in ("identities", "sizes", "counts", "boxes", "features")}
    with pytest.raises(ValueError, match=message):
        Shard(**fields | change)


def test_a_box_outside_its_picture_is_no_shard():
    encoded = make(IDENTITIES[:1], [2]).encoded
    with pytest.raises(LgcaError, match="2 x 2"):
        Shard.of(IDENTITIES[:1], [(2, 2)], encoded._replace(boxes=torch.tensor([[0, 0, 2, 2], [0, 0, 2, 3]]).int()))


def rows(shard: Shard) -> dict:
    """Picture and box -> features: a shard, read row by row."""
    owner = [identity for identity, count in zip(shard.identities, shard.counts.tolist()) for _ in range(count)]
    found = zip(owner, shard.boxes.tolist(), shard.features.tolist(), strict=True)
    return {(identity, *box): vector for identity, box, vector in found}


@given(
    mine=st.lists(st.integers(0, 5), min_size=3, max_size=3),
    theirs=st.lists(st.integers(0, 5), min_size=3, max_size=3),
    first=st.integers(0, 6),
)
def test_union_keeps_its_own_and_adds_what_is_new(mine, theirs, first):
    one, other = make(IDENTITIES[:3], mine), make(IDENTITIES[:3], theirs, first=first, seed=1)
    both = one.union(other)
    assert rows(both) == rows(other) | rows(one)
    assert len(rows(both)) == len(both.boxes)
    assert same(one.union(one), one)
    for b in range(3):  # what was there comes first, in its order
        assert rows(both.select([b]).select([0])) == rows(both.select([b]))
        assert torch.equal(both.select([b]).boxes[: mine[b]], one.select([b]).boxes)


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=8), data=st.data())
def test_select(counts, data):
    shard = make(IDENTITIES[: len(counts)], counts)
    chosen = data.draw(st.lists(st.sampled_from(range(len(counts))), unique=True))
    part = shard.select(chosen)
    assert part.identities == tuple(IDENTITIES[b] for b in chosen)
    assert rows(part) == {row: vector for row, vector in rows(shard).items() if row[0] in part.identities}


def test_shards_of_other_pictures_do_not_unite():
    with pytest.raises(ValueError, match="different pictures"):
        make(IDENTITIES[:2], [1, 1]).union(make(IDENTITIES[1:3], [1, 1]))
    one, other = make(IDENTITIES[:1], [1]), make(IDENTITIES[:1], [1])
    with pytest.raises(ValueError, match="size of a picture"):
        one.union(Shard.of(IDENTITIES[:1], [(9, 9)], other.encoded))
    unread = Shard.of(IDENTITIES[:1], [(0, 0)], make(IDENTITIES[:1], [0]).encoded)
    assert same(unread.union(one), one)
    assert same(one.union(unread), one)


# ---- pools -------------------------------------------------------------------------------------------------


def test_the_key_names_the_pool(tmp_path):
    root = Store(tmp_path)
    turned = {name: KEY[name] for name in reversed(KEY)} | {"encoder": {"precision": "float32", "name": "stub"}}
    folder = root.pool(KEY, IDENTITIES).folder
    assert root.pool(turned, IDENTITIES).folder == folder
    assert root.pool(KEY | {"plan": {"draw": "whole", "start": (0.1, 0.5)}}, IDENTITIES).folder == (
        root.pool(KEY | {"plan": {"draw": "whole", "start": [0.1, 0.5]}}, IDENTITIES).folder
    )
    changes = [{"manifest": "e" * 64}, {"plan": {"draw": "whole", "seed": 1}}, {"encoder": {"name": "stub"}}]
    others = {root.pool(KEY | change, IDENTITIES).folder for change in changes}
    others.add(Store(tmp_path, pictures=8).pool(KEY, IDENTITIES).folder)
    assert len(others | {folder}) == 5


def test_pool_key_names_all_that_decides_features(tmp_path):
    encoder = rich(sha256="a" * 64, architecture="b" * 64, activation="gelu")
    key = keys.pool_key(IDENTITIES, encoder, {"draw": "whole"}, "bicubic")
    assert key == {
        "pictures": hashlib.sha256("".join(IDENTITIES).encode()).hexdigest(),
        "encoder": {
            "name": "custom", "weights_sha256": "a" * 64, "architecture": "b" * 64, "activation": "gelu",
            "precision": "float32", "size": 16, "mean": [0, 0, 0], "std": [1, 1, 1], "code": key["encoder"]["code"],
        },
        "resize": "bicubic",
        "plan": {"draw": "whole"},
    }  # fmt: skip
    assert Store(tmp_path / "store").pool(key, IDENTITIES).folder.is_dir()
    assert re.fullmatch("[0-9a-f]{64}", key["encoder"]["code"])
    with pytest.raises(LgcaError, match="'custom' has no hash of its weights"):
        keys.pool_key(IDENTITIES, rich(), {"draw": "whole"}, "bicubic")


def code_in_key(monkeypatch, change=lambda path, text: text) -> str:
    """What a key says of the code, were each file's text changed like that."""
    read = Path.read_text
    keys._code.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", lambda path, **how: change(path, read(path, **how)))
        key = keys.pool_key(IDENTITIES, rich(sha256="a" * 64), {"draw": "whole"}, "bicubic")
    keys._code.cache_clear()
    return key["encoder"]["code"]


@pytest.mark.parametrize(
    "file",
    ["boxes.py", "views.py", "encoder.py", "pixels/cropping.py", "pixels/numba_crops.py", "encoders/fast_towers.py"],
)
def test_a_change_to_what_decides_features_changes_the_key(file, monkeypatch):
    def changed(path, text):
        return text + "changed = 1\n" * path.as_posix().endswith(f"lgca_core/{file}")

    assert code_in_key(monkeypatch, changed) != code_in_key(monkeypatch)


def test_a_changed_docstring_or_comment_leaves_a_store_valid(monkeypatch):
    def mended(path, text):
        if path.suffix != ".py":  # what is installed, whose versions are read
            return text
        assert '"""' in text
        return "# A comment.\n" + text.replace('"""', '"""Said otherwise.\n', 1).replace("def encode(", "def encode (")

    assert code_in_key(monkeypatch, mended) == code_in_key(monkeypatch)


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("lgca_core.evaluation.store.keys.FEATURES", 0),
        ("PIL.__version__", "0"),
        ("importlib.metadata.version", lambda name: "0"),
    ],
)
def test_another_version_of_features_or_libraries_changes_the_key(what, other, monkeypatch):
    before = code_in_key(monkeypatch)
    monkeypatch.setattr(what, other)
    assert code_in_key(monkeypatch) != before


def test_every_pattern_of_deciding_files_finds_some():
    package = Path(keys.__file__).parents[2]
    assert all(list(package.glob(pattern)) for pattern in keys.DECIDING)


def test_where_the_store_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LGCA_STORE", raising=False)
    assert Store().root == tmp_path / "home" / "store"
    monkeypatch.setenv("LGCA_STORE", str(tmp_path / "elsewhere"))
    assert Store().root == tmp_path / "elsewhere"
    assert Store(tmp_path / "here").root == tmp_path / "here"


def test_shards_of_other_pictures_are_not_taken(pool, said):
    pool.write(0, make(IDENTITIES[:4], [2] * 4))
    [name] = shards(pool)
    stranger = add_file(pool, make(IDENTITIES[4:8], [5] * 4))  # sound in itself, and of more boxes, so it comes first
    assert same(pool.read(0), make(IDENTITIES[:4], [2] * 4))
    assert len(said) == 1 and stranger in said[0] and "other pictures" in said[0]
    (pool.folder / name).rename(pool.folder / name.replace("000000", "000001"))
    assert pool.read(0) is pool.read(1) is None
    pool.write(0, make(IDENTITIES[:4], [3] * 4))
    assert same(pool.read(0), make(IDENTITIES[:4], [3] * 4))
    with pytest.raises(ValueError, match="not shard 1"):
        pool.write(1, make(IDENTITIES[:4], [1] * 4))
    with pytest.raises(AssertionError, match="shard 3 of 3"):
        pool.read(3)


def test_a_shard_grows(pool):
    few, more = make(IDENTITIES[:4], [2, 2, 0, 1]), make(IDENTITIES[:4], [2, 3, 1, 1], seed=1, first=1)
    pool.write(0, few)
    before = shards(pool)
    pool.write(0, make(IDENTITIES[:4], [1, 1, 0, 0], seed=2))
    assert shards(pool) == before  # nothing new, and what was there stays
    pool.write(0, more)
    assert len(shards(pool)) == 1
    assert shards(pool) != before
    assert same(pool.read(0), few.union(more))


def test_a_reader_looks_again_when_a_shard_grows_meanwhile(pool, monkeypatch, said):
    few, more = make(IDENTITIES[:4], [2] * 4), make(IDENTITIES[:4], [3] * 4)
    pool.write(0, few)
    listing = os.scandir

    def late(folder):
        found = [entry for entry in listing(folder) if entry.stat()]
        monkeypatch.setattr(os, "scandir", listing)
        pool.write(0, more)  # by another process, between listing and opening
        return nullcontext(found)

    monkeypatch.setattr(os, "scandir", late)
    assert same(pool.read(0), more)
    assert said == []


def add_file(pool: FeatureSet, shard: Shard, index: int = 0) -> str:
    """Puts a shard's file into a pool's folder, as a process does that does not see the others; its name."""
    data = shard.to_bytes()
    name = f"{index:06d}-{len(shard.boxes)}-{hashlib.sha256(data).hexdigest()}.safetensors"
    (pool.folder / name).write_bytes(data)
    return name


@pytest.mark.parametrize("seed", range(6))
def test_of_two_contents_the_same_one_is_read_everywhere(pool, seed):
    """Two devices that round differently write at once: neither sees the other's file before it has written its own."""
    both = [make(IDENTITIES[:4], [2] * 4, seed=2 * seed + k) for k in range(2)]
    first = min(both, key=lambda shard: add_file(pool, shard))
    assert same(pool.read(0), first)
    larger = make(IDENTITIES[:4], [2, 2, 2, 3], seed=seed)
    add_file(pool, larger)
    assert same(pool.read(0), larger)


def test_vectors_that_are_not_finite_are_not_stored(pool):
    for bad in (float("inf"), float("-inf"), float("nan")):
        shard = make(IDENTITIES[:4], [2] * 4)
        shard.features[3, 2] = bad
        with pytest.raises(LgcaError, match="not finite"):
            pool.write(0, shard)
    shard.features[3, 2] = torch.finfo(torch.float16).max
    pool.write(0, shard)
    assert len(shards(pool)) == 1


# ---- damage ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A pool of one shard, to be damaged: its folder and the file's content."""
    pool = Store(tmp_path_factory.mktemp("kept"), pictures=4).pool(KEY, IDENTITIES[:4])
    pool.write(0, make(IDENTITIES[:4], [3, 1, 0, 2]))
    [name] = shards(pool)
    return pool.folder / name, (pool.folder / name).read_bytes()


def damaged(kept, data: bytes) -> None:
    """A pool whose shard has been changed into `data`: it is missed, named once, and can be written again."""
    file, content = kept
    file.write_bytes(data)
    said: list[str] = []
    pool = Store(file.parent.parent, pictures=4, report=said.append).pool(KEY, IDENTITIES[:4])
    assert pool.read(0) is None
    assert len(said) == 1 and str(file) in said[0] and "encoded again" in said[0]
    assert pool.read(0) is None
    assert len(said) == 1
    assert shards(pool) == []
    pool.write(0, make(IDENTITIES[:4], [3, 1, 0, 2]))
    assert (shards(pool), file.read_bytes()) == ([file.name], content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_found(kept, data):
    _, content = kept
    at = data.draw(st.integers(0, len(content) - 1))
    flipped = content[at] ^ (1 << data.draw(st.integers(0, 7)))
    damaged(kept, content[:at] + bytes([flipped]) + content[at + 1 :])


@settings(max_examples=50)
@given(data=st.data())
def test_a_shard_cut_short_is_found(kept, data):
    _, content = kept
    damaged(kept, content[: data.draw(st.integers(0, len(content) - 1))])


def test_other_damage_is_found(kept):
    _, content = kept
    damaged(kept, content + b"\0")
    damaged(kept, bytes(len(content)))


@pytest.mark.parametrize("case", ["words", "no shard", "other count", "pickle"])
def test_sound_files_that_are_no_shards(pool, said, case):
    """Whatever goes by its own hash is still not believed."""
    from safetensors.torch import save

    data = {
        "words": b"no tensors",
        "no shard": save({"features": torch.zeros(2)}),
        "other count": make(IDENTITIES[:4], [1, 1, 1, 0]).to_bytes(),
        "pickle": __import__("pickle").dumps({"features": 1}),
    }[case]
    file = pool.folder / f"000000-2-{hashlib.sha256(data).hexdigest()}.safetensors"
    file.write_bytes(data)
    assert pool.read(0) is None
    assert len(said) == 1 and file.name in said[0]
    assert not file.exists()


def test_damage_is_a_warning_if_nobody_listens(kept):
    file, content = kept
    file.write_bytes(content[:-1])
    pool = Store(file.parent.parent, pictures=4).pool(KEY, IDENTITIES[:4])
    with pytest.warns(RuntimeWarning, match="was damaged") as caught:
        assert pool.read(0) is None
    assert [warning.filename for warning in caught] == [__file__]
    pool.write(0, make(IDENTITIES[:4], [3, 1, 0, 2]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pool.read(0) is not None


def test_a_sound_file_in_place_of_a_damaged_one_is_not_removed(kept, monkeypatch):
    """Another process has found the damage and encoded again, between our reading and our removing."""
    file, content = kept
    pool = Store(file.parent.parent, pictures=4, report=lambda _: None).pool(KEY, IDENTITIES[:4])
    file.write_bytes(content[:-1])
    digest = hashlib.sha256

    def replaced(data):
        monkeypatch.setattr(hashlib, "sha256", digest)
        file.with_suffix(".new").write_bytes(content)
        file.with_suffix(".new").rename(file)
        return digest(data)

    monkeypatch.setattr(hashlib, "sha256", replaced)
    pool.read(0)
    assert file.read_bytes() == content


def test_a_damaged_pool_json_is_written_again(pool):
    before = (pool.folder / "pool.json").read_text()
    for text in ("", "{}", before.replace('"whole"', '"squares"')):
        (pool.folder / "pool.json").write_text(text)
        Store(pool.folder.parent, pictures=4).pool(KEY, IDENTITIES, dataset="toys")
        assert (pool.folder / "pool.json").read_text() == before


# ---- places that cannot be used ----------------------------------------------------------------------------


def test_a_root_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(LgcaError, match=r"cannot write to the store .*LGCA_STORE") as caught:
            Store(root).pool(KEY, IDENTITIES)
        assert str(root) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_is_on_the_disc_before_it_has_its_name(pool, monkeypatch):
    """The very file that was forced to the disc is renamed: nothing is copied into its place."""
    fsync, forced = os.fsync, []

    def watch(stream):
        forced.append((os.fstat(stream).st_ino, os.fstat(stream).st_size, shards(pool)))
        fsync(stream)

    monkeypatch.setattr(os, "fsync", watch)
    pool.write(0, make(IDENTITIES[:4], [1] * 4))
    [name] = shards(pool)
    file = (pool.folder / name).stat()
    assert forced == [(file.st_ino, file.st_size, []), (pool.folder.stat().st_ino, pool.folder.stat().st_size, [name])]


def test_a_full_disc_leaves_nothing(pool, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    before = files(pool.folder)
    with pytest.raises(LgcaError, match=r"No space left.*LGCA_STORE"):
        pool.write(0, make(IDENTITIES[:4], [1] * 4))
    assert files(pool.folder) == before


def test_a_shard_that_cannot_be_read_is_not_taken_for_a_missing_one(pool):
    (pool.folder / f"000000-8-{'0' * 64}.safetensors").mkdir()
    with pytest.raises(LgcaError, match="cannot read"):
        pool.read(0)


def test_a_pool_that_is_removed_while_it_is_written_to(pool):
    shutil.rmtree(pool.folder)
    assert pool.read(0) is None
    pool.write(0, make(IDENTITIES[:4], [1] * 4))
    assert same(pool.read(0), make(IDENTITIES[:4], [1] * 4))
    assert (pool.folder / "pool.json").exists()


# ---- processes that are killed, and processes side by side -------------------------------------------------


def whole_or_none(root: Path) -> int:
    """How often something was written; each shard is whole, and nothing but them is left after a check."""
    said: list[str] = []
    pool = open_pool(root, said.append)
    found = {index: pool.read(index) for index in range(len(pool))}
    for index, shard in found.items():
        assert shard is None or same(shard, big(index)) or (index == 0 and same(shard, grown()))
    assert said == []
    [stored] = Store(root).stored()
    assert stored.verify() == []
    left = [name for name in files(pool.folder) if name != "pool.json"]
    assert all(name.endswith(".safetensors") for name in left)
    assert len(left) == sum(shard is not None for shard in found.values())
    return len(left) + (found[0] is not None and same(found[0], grown()))


@pytest.mark.slow
def test_killed_at_every_step(tmp_path):
    counts, codes, kill_at = [], [], 0
    while 0 not in codes:
        root = tmp_path / str(kill_at)
        open_pool(root)  # there is something to look at even if nothing was done
        process = context.Process(target=write_all, args=(root, kill_at))
        process.start()
        process.join()
        codes.append(process.exitcode)
        counts.append(whole_or_none(root))
        kill_at += 1
        write_all(root)  # a run after it goes on from there
        assert whole_or_none(root) == 4
    assert set(codes) == {0, -signal.SIGKILL}
    assert counts == sorted(counts) and set(counts) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("most", [1000, 4096, 100_000, 200_000])
def test_killed_in_the_middle_of_a_file(tmp_path, most):
    process = context.Process(target=write_all, args=(tmp_path, None, most))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGXFSZ
    [folder] = [path for path in tmp_path.iterdir()]
    [draft] = [path for path in folder.iterdir() if path.name != "pool.json"]
    assert 0 < draft.stat().st_size <= most
    assert whole_or_none(tmp_path) == 0
    assert not draft.exists()


def test_two_runs_write_equal_bytes(tmp_path):
    """In processes of their own: a name holds the hash of its content."""
    for root in (tmp_path / "one", tmp_path / "other"):
        process = context.Process(target=write_all, args=(root,))
        process.start()
        process.join()
        assert whole_or_none(root) == 4
    assert shards(open_pool(tmp_path / "one")) == shards(open_pool(tmp_path / "other"))


def test_writers_side_by_side(tmp_path):
    """Four processes, two kinds of features: every shard read meanwhile is one or the other, and all agree at last."""
    open_pool(tmp_path)
    start = context.Barrier(5)
    processes = [context.Process(target=write_often, args=(tmp_path, seed % 2, start)) for seed in range(4)]
    for process in processes:
        process.start()
    said: list[str] = []
    pool = open_pool(tmp_path, said.append)
    expected = {index: [big(index, seed).to_bytes() for seed in range(2)] for index in range(3)}
    start.wait()
    while any(process.is_alive() for process in processes):
        for index in range(3):
            shard = pool.read(index)
            assert shard is None or shard.to_bytes() in expected[index]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert said == []
    final = [pool.read(index).to_bytes() for index in range(3)]
    assert all(final[index] in expected[index] for index in range(3))
    assert [stored.verify() for stored in Store(tmp_path).stored()] == [[]]
    assert [pool.read(index).to_bytes() for index in range(3)] == final
    assert len(shards(pool)) == 3


def test_a_draft_stays_while_its_process_lives(tmp_path):
    pool = open_pool(tmp_path)
    ready, go = context.Event(), context.Event()
    process = context.Process(target=write_slowly, args=(tmp_path, ready, go), daemon=True)
    process.start()
    ready.wait()
    [stored] = Store(tmp_path).stored()
    stored.verify()
    stored.remove()
    [draft] = pool.folder.iterdir()
    assert draft.name.endswith(".tmp")
    go.set()
    process.join()
    assert process.exitcode == 0
    assert same(pool.read(0), big(0))


def test_a_draft_of_a_file_system_without_locks_goes_by_age(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    pool = open_pool(tmp_path)
    draft = pool.folder / ".0123.tmp"
    draft.write_bytes(b"half")
    monkeypatch.setattr(fcntl, "flock", unsupported)
    pool.write(0, big(0))
    [stored] = Store(tmp_path).stored()
    stored.verify()
    assert draft.exists()
    os.utime(draft, (0, time.time() - shard_files.DRAFT_SECONDS - 60))
    stored.verify()
    assert not draft.exists()
    assert same(pool.read(0), big(0))


def test_a_draft_taken_for_left_over_is_begun_anew(pool, monkeypatch):
    """Swept after it was made and before it was locked."""
    flock = fcntl.flock

    def late(stream, how):
        monkeypatch.setattr(fcntl, "flock", flock)
        os.unlink(stream.name)
        flock(stream, how)

    monkeypatch.setattr(fcntl, "flock", late)
    pool.write(0, make(IDENTITIES[:4], [1] * 4))
    assert same(pool.read(0), make(IDENTITIES[:4], [1] * 4))
    assert len(files(pool.folder)) == 2  # with pool.json


# ---- the commands ------------------------------------------------------------------------------------------


@pytest.fixture
def filled(tmp_path, monkeypatch) -> Path:
    """A store of three pools: two of toys, one of them not complete, and one of another encoder."""
    monkeypatch.setenv("LGCA_STORE", str(tmp_path / "store"))
    root = Store(pictures=4)
    squares = {"draw": "squares", "n": 60, "a0": 0.5, "b0": 5 / 9, "seed": 0}
    other = {"name": VIT, "precision": "float16"}
    for key, dataset, count in (
        (KEY, "toys", 3),
        (KEY | {"plan": squares}, "toys", 1),
        (KEY | {"encoder": other}, "pets", 2),
    ):
        pool = root.pool(key, IDENTITIES, dataset=dataset)
        for index in range(count):
            pool.write(index, make([IDENTITIES[b] for b in pool.pictures(index)], [2] * len(pool.pictures(index))))
    return tmp_path / "store"


def names(root: Path) -> dict[tuple[str, str, str], str]:
    return {(pool.dataset, pool.encoder, pool.plan): pool.folder.name for pool in Store(root).stored()}


def size(*folders: Path) -> str:
    held = sum(path.stat().st_size for folder in folders for path in folder.glob("*.safetensors"))
    return f"{held} B" if held < 1000 else f"{held / 1000:.1f} kB"


SQUARES = "squares, n 60, a0 0.5, b0 0.5556, seed 0"
VIT = "ViT-B-32-quickgelu:openai"


def test_ls(filled):
    of = names(filled)
    (filled / ("0" * 64)).mkdir()
    (filled / "notes.txt").write_text("mine")
    status, out, err = lgca("store", "ls")
    assert (status, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    counts = {("toys", "stub", "whole"): " 3/3 ", ("toys", "stub", SQUARES): " 1/3 ", ("pets", VIT, "whole"): " 2/3 "}
    for told, name in of.items():
        for part in (*told, "10  ", counts[told], f" {size(filled / name)} "):
            assert part in lines[name[:12]]
    assert "float16" in lines[of["pets", VIT, "whole"][:12]]
    assert "(no pool.json)" in lines["0" * 12] and " 0/? " in lines["0" * 12]
    assert out.splitlines()[-1].startswith(f"4 pools, {size(*filled.glob('*/'))}")


@pytest.mark.parametrize("made", [False, True])
def test_a_store_that_is_empty_or_absent(tmp_path, monkeypatch, made):
    root = tmp_path / "store"
    monkeypatch.setenv("LGCA_STORE", str(root))
    if made:
        root.mkdir()
    for words in (["ls"], ["verify"], ["rm", "--all"]):
        status, out, err = lgca("store", *words)
        assert (status, err) == (0, "")
        assert str(root) in out and "empty" in out
    for words in (["rm", "abc"], ["verify", "abc"], ["rm", "--dataset", "pets"]):
        assert words[-1] in refused("store", *words)
    assert root.exists() == made


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--all"], 0),
        (["--dataset", "toys"], 1),
        (["--encoder", "stub"], 1),
        (["--encoder", "ViT-B-32-quickgelu"], 2),
        (["--encoder", "stub", "--dataset", "toys"], 1),
    ],
)
def test_rm(filled, words, left):
    status, out, err = lgca("store", "rm", *words, "--yes")
    assert (status, err) == (0, "")
    assert f" {3 - left} pool" in out
    assert len(list(filled.iterdir())) == left


def test_rm_by_the_beginning_of_a_name(filled):
    of = names(filled)
    name = of["toys", "stub", SQUARES]
    (filled / name / ".0123.tmp").write_bytes(b"half")
    twin = filled / (name[:-1] + ("0" if name[-1] != "0" else "1"))
    twin.mkdir()
    assert "2 pools" in refused("store", "rm", name[:12], "--yes")
    twin.rmdir()
    held = size(filled / name)
    status, out, _ = lgca("store", "rm", name[:12], name, "--yes")
    assert status == 0 and "1 pool" in out and held in out
    assert set(names(filled).values()) == set(of.values()) - {name}


def test_rm_asks(filled):
    words = ("store", "rm", "--dataset", "pets")
    before = files(filled)
    for answer, wanted in (("n\n", 0), ("\n", 0), ("", 2)):
        status, out, err = lgca(*words, typed=answer)
        assert status == wanted and "pets" in out and "1 pool" in out
        assert ("--yes" in err) == (wanted == 2)
        assert files(filled) == before
    assert lgca(*words, typed="y\n")[0] == 0
    assert len(list(filled.iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "--all"),
        (["abc", "--all"], "--all"),
        (["--all", "--dataset", "toys"], "--all"),
        (["xyz"], "'xyz'"),
        ([""], "no pool"),
        (["--dataset", "cars"], "'cars'"),
        (["--dataset", "pets", "--encoder", "stub"], "'stub'"),
    ],
)
def test_rm_of_what_is_not_there(filled, words, named):
    before = files(filled)
    assert named in refused("store", "rm", *words, "--yes")
    assert files(filled) == before


def test_rm_leaves_what_is_not_its_own(filled):
    name = names(filled)["pets", VIT, "whole"]
    (filled / name / "notes.txt").write_text("mine")
    assert lgca("store", "rm", name, "--yes")[0] == 0
    assert files(filled / name) == {"notes.txt"}


def test_verify(filled):
    status, out, err = lgca("store", "verify")
    assert (status, err) == (0, "")
    assert "6 shards in 3 pools" in out
    toys, pets = names(filled)["toys", "stub", "whole"], names(filled)["pets", VIT, "whole"]
    draft = filled / pets / ".0123.tmp"
    draft.write_bytes(b"half")
    bad = sorted((filled / toys).glob("*.safetensors"))[1]
    bad.write_bytes(bad.read_bytes()[:-1] + b"?")
    for _ in range(2):
        status, out, err = lgca("store", "verify")
        assert status == 2
        assert str(bad) in out and "1 of 6 shards" in err and "--fix" in err
        assert bad.exists() and not draft.exists()
    assert lgca("store", "verify", pets[:12])[0] == 0
    status, out, err = lgca("store", "verify", toys, "--fix")
    assert (status, err) == (0, "")
    assert str(bad) in out and "1 of 3 shards" in out
    assert not bad.exists()
    assert "5 shards" in lgca("store", "verify")[1]


def test_verify_removes_what_a_larger_shard_replaced(pool):
    few, more = make(IDENTITIES[:4], [2] * 4), make(IDENTITIES[:4], [3] * 4)
    pool.write(0, more)
    [larger] = shards(pool)
    add_file(pool, few)  # as if killed before it was removed
    assert same(pool.read(0), more)
    other = add_file(pool, make(IDENTITIES[4:8], [9] * 4))
    [stored] = Store(pool.folder.parent).stored()
    assert (stored.present, stored.expected, stored.pictures) == (1, 3, 10)
    assert stored.verify() == []
    assert shards(pool) == sorted([larger, other])


def test_the_store_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LGCA_STORE", str(tmp_path / "file"))
    for words in (["ls"], ["verify"], ["rm", "--all"]):
        assert "LGCA_STORE" in refused("store", *words)


def test_help_teaches():
    status, out, err = lgca("store", "--help")
    assert (status, err) == (0, "")
    assert all(command in out for command in ("ls", "rm", "verify", "LGCA_STORE"))
    for command in ("rm", "verify"):
        assert f"lgca store {command} " in lgca("store", command, "--help")[1].split("Examples")[1]
