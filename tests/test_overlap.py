"""Chunks of pictures in flight side by side, as on a GPU."""

import threading

import pytest
import torch
from stub_encoder import noise_folders, rich

from lgca_core import bench, evaluate, overlap
from lgca_core.class_prompts import ClassPrompts
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA
from lgca_core.overlap import in_flight, sent
from lgca_core.resample import open_picture
from lgca_core.store import Store
from lgca_core.views import Views

HERE = torch.device("cpu")
METHODS = ["clip", "wca", "lgca", "lgca:saliency=text"]


def test_two_are_in_flight_and_come_down_in_order():
    both = threading.Barrier(2)

    def work(item):
        both.wait(timeout=20)  # nobody passes alone
        return item, threading.current_thread()

    found = list(in_flight(work, range(6), HERE, flights=2))
    assert [item for item, _ in found] == list(range(6))
    assert threading.current_thread() not in {thread for _, thread in found}


def test_items_are_taken_here_and_not_long_before_their_flight():
    taken = []

    def items():
        for item in range(8):
            taken.append(threading.current_thread())
            yield item

    for done, _ in enumerate(in_flight(lambda item: item, items(), HERE, flights=3), start=1):
        assert len(taken) <= done + 2
    assert taken == [threading.current_thread()] * 8


@pytest.mark.parametrize("flights", [1, 2])
def test_an_error_comes_down_at_its_turn(flights):
    flown = in_flight(lambda item: 1 / item, [1, 2, 0, 4], HERE, flights=flights)
    assert [next(flown), next(flown)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(flown)


def test_on_a_cpu_one_flies_in_the_callers_thread():
    assert list(in_flight(lambda item: threading.current_thread(), [1], HERE)) == [threading.current_thread()]


def test_nothing_is_copied_where_it_is_already():
    tensor = torch.arange(3)
    assert sent(tensor, HERE) is tensor


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return noise_folders(tmp_path_factory.mktemp("flights"), ("blue", "red"), [(60, 80), (90, 40)] * 4, name="flights")


def evaluated(manifest, store, flights, monkeypatch):
    monkeypatch.setitem(overlap.FLIGHTS, "cpu", flights)
    said = ClassPrompts.by_name(manifest.classes, descriptions={name: [f"a {name} one"] for name in manifest.classes})
    encoder = rich(sha256="0" * 64)
    record, predictions = evaluate.evaluate(
        manifest, encoder, METHODS, said, seeds=(0, 1), chunk=3, store=store, lgca=LGCA(n=6, steps=2)
    )
    return record, predictions, encoder


@pytest.mark.parametrize("kept", [False, True])
def test_an_evaluation_does_not_depend_on_it(pictures, tmp_path, kept, monkeypatch):
    def store(name):
        return Store(tmp_path / name) if kept else None

    record, predictions, encoder = evaluated(pictures, store("one"), 1, monkeypatch)
    other, same, busy = evaluated(pictures, store("two"), 2, monkeypatch)
    assert same.equals(predictions)
    assert other.image_passes == record.image_passes == busy.image_passes == encoder.image_passes > 0
    assert [run.passes_per_image for run in other.runs] == [run.passes_per_image for run in record.runs]
    if kept:  # what the one has stored serves the other
        again, stored, _ = evaluated(pictures, store("two"), 1, monkeypatch)
        assert again.image_passes == 0 and stored.equals(predictions)


def test_nor_do_logits_of_files(tmp_path, monkeypatch):
    files = bench.paint(tmp_path, 5)
    classes = torch.nn.functional.normalize(torch.randn(3, rich().encode_texts(["a"]).shape[1]), dim=-1)
    made = []
    for flights in (1, 2):
        monkeypatch.setitem(overlap.FLIGHTS, "cpu", flights)
        made.append(bench.files_to_logits(files, rich(), LGCA(n=5), classes))
    assert torch.equal(*made)


def test_a_picture_that_cannot_be_read_ends_it(pictures, tmp_path, monkeypatch):
    files = [*bench.paint(tmp_path, 2), tmp_path / "none.jpg"]
    monkeypatch.setitem(overlap.FLIGHTS, "cpu", 2)
    with pytest.raises(LgcaError, match=r"none\.jpg: no such file"):
        bench.files_to_logits(files, rich(), LGCA(n=5), torch.ones(2, 8))


def test_views_count_what_they_encode(pictures):
    views = Views(rich(), [open_picture(pictures.items[0].path)])
    box = torch.tensor([[0, 0, 20, 20]])
    views.encode([torch.cat([box, box])])
    views.encode([box])
    assert views.encoded == 1
