"""Chunks of pictures looked at side by side, as on a GPU."""

import threading
from functools import partial

import pytest
import torch

from lgca_core.bench import harness
from lgca_core.errors import LgcaError
from lgca_core.evaluation import evaluate
from lgca_core.evaluation.store.store import Store
from lgca_core.lgca import LGCA
from lgca_core.pixels import gpu_streams
from lgca_core.pixels.gpu_streams import map_in_streams, to_device
from lgca_core.pixels.pictures import open_picture
from lgca_core.prompts.class_prompts import ClassPrompts
from lgca_core.read_ahead import views_of_files
from lgca_core.views import Views
from support.stub_encoder import noise_folders, rich

HERE = torch.device("cpu")
METHODS = ["clip", "wca", "lgca", "lgca:saliency=text"]


def test_two_at_once_are_yielded_in_order():
    both = threading.Barrier(2)

    def work(item):
        both.wait(timeout=600)  # nobody passes alone; who would wait for ever fails at last
        return item, threading.current_thread()

    found = list(map_in_streams(work, range(6), HERE, streams=2))
    assert [item for item, _ in found] == list(range(6))
    assert threading.current_thread() not in {thread for _, thread in found}


def test_items_are_taken_here_and_not_long_before_they_are_worked_on():
    taken = []

    def items():
        for item in range(8):
            taken.append(threading.current_thread())
            yield item

    for done, _ in enumerate(map_in_streams(lambda item: item, items(), HERE, streams=3), start=1):
        assert len(taken) <= done + 2
    assert taken == [threading.current_thread()] * 8


@pytest.mark.parametrize("streams", [1, 2])
def test_an_error_is_raised_at_its_turn(streams):
    flown = map_in_streams(lambda item: 1 / item, [1, 2, 0, 4], HERE, streams=streams)
    assert [next(flown), next(flown)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(flown)


def test_one_stream_is_the_callers_own_thread():
    assert list(map_in_streams(lambda item: threading.current_thread(), [1], HERE, 1)) == [threading.current_thread()]


def test_who_stops_early_waits_for_what_flies_and_no_more_is_taken():
    taken, done = [], []

    def items():
        for item in range(9):
            taken.append(item)
            yield item

    flown = map_in_streams(done.append, items(), HERE, streams=2)
    next(flown)
    flown.close()
    assert taken == done == [0, 1]


def test_on_a_gpu_each_has_a_stream_and_ends_synchronised(monkeypatch):
    """With stand-ins for torch's streams: here is no GPU."""
    told, made, current, gpu = [], [], threading.local(), torch.device("cuda", 0)

    class Stream:
        def __init__(self, device=gpu):
            made.append(self)

        def record_event(self):
            return self

        def wait_event(self, event):
            told.append((self, "waits for", event))

        def synchronize(self):
            told.append((self, "synchronised"))

    callers = Stream()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(current, "stream", stream))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: getattr(current, "stream", callers))

    def work(item):
        told.append((current.stream, "works on", item))
        return 1 / item

    gpu_streams._stream.cache_clear()
    try:
        assert list(map_in_streams(work, [1, 2, 4], gpu, 2)) == [1, 0.5, 0.25]
        with pytest.raises(ZeroDivisionError):
            list(map_in_streams(work, [0], gpu, 2))
    finally:
        gpu_streams._stream.cache_clear()
    assert made[0] is callers and len(made) == 3  # two, and the same for both calls
    own = [[said[1:] for said in told if said[0] is stream] for stream in made]
    assert own[0] == [] and sum(map(len, own)) == 3 * 4
    for of_stream in own[1:]:
        for waits, works, ends in zip(of_stream[::3], of_stream[1::3], of_stream[2::3], strict=True):
            assert waits == ("waits for", callers) and works[0] == "works on" and ends == ("synchronised",)


def test_nothing_is_copied_where_it_is_already():
    tensor = torch.arange(3)
    assert to_device(tensor, HERE) is tensor


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return noise_folders(tmp_path_factory.mktemp("streams"), ("blue", "red"), [(60, 80), (90, 40)] * 4, name="streams")


def flying(streams, **named):
    """An encoder whose `threads` are the names of those that called it."""
    encoder = rich(streams=streams, **named)
    plain, encoder.threads = encoder.image, set()

    def image(pixels):
        encoder.threads.add(threading.current_thread().name.rpartition("_")[0])
        return plain(pixels)

    encoder.image = image
    return encoder


def evaluated(manifest, store, streams):
    said = ClassPrompts.by_name(manifest.classes, descriptions={name: [f"a {name} one"] for name in manifest.classes})
    encoder = flying(streams, sha256="0" * 64)
    record, predictions = evaluate.evaluate(
        manifest, encoder, METHODS, said, seeds=(0, 1), chunk=3, store=store, lgca=LGCA(n=6, steps=2)
    )
    return record, predictions, encoder


@pytest.mark.parametrize("kept", [False, True])
def test_an_evaluation_does_not_depend_on_it(pictures, tmp_path, kept):
    def store(name):
        return Store(tmp_path / name) if kept else None

    record, predictions, encoder = evaluated(pictures, store("one"), 1)
    other, same, busy = evaluated(pictures, store("two"), 2)
    assert busy.threads == {"lgca-stream"} and "lgca-stream" not in encoder.threads
    assert same.equals(predictions)
    assert other.image_passes == record.image_passes == busy.image_passes == encoder.image_passes > 0
    assert [run.passes_per_image for run in other.runs] == [run.passes_per_image for run in record.runs]
    if kept:  # what the one has stored serves the other
        again, stored, _ = evaluated(pictures, store("two"), 1)
        assert again.image_passes == 0 and stored.equals(predictions)


def test_nor_do_logits_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "views_of_files", partial(views_of_files, chunk=2))
    files = harness.paint_photographs(tmp_path, 5)
    classes = torch.nn.functional.normalize(torch.randn(3, 12), dim=-1)
    encoders = flying(1), flying(2)
    assert torch.equal(*(harness.files_to_logits(files, encoder, LGCA(n=5), classes) for encoder in encoders))
    assert encoders[1].threads == {"lgca-stream"}


def test_a_picture_that_cannot_be_read_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "views_of_files", partial(views_of_files, chunk=1))
    files = [*harness.paint_photographs(tmp_path, 2), tmp_path / "none.jpg"]
    encoder = flying(2)
    with pytest.raises(LgcaError, match=r"none\.jpg: no such file"):
        harness.files_to_logits(files, encoder, LGCA(n=5), torch.ones(2, 12))
    assert encoder.image_passes > 0


def test_views_count_what_they_encode(pictures):
    views = Views(rich(), [open_picture(pictures.items[0].path)])
    box = torch.tensor([[0, 0, 20, 20]])
    views.encode([torch.cat([box, box])])
    views.encode([box])
    assert views.encoded == 1
