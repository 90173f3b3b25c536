"""Views: flat full batches over pictures, each box once, and the crops that `resample` cuts."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from lgca_core.box_numbers import BoxNumbers
from lgca_core.boxes import draw_squares, whole
from lgca_core.errors import LgcaError
from lgca_core.pixels.cropping import crops
from lgca_core.pixels.pictures import MAX_PIXELS
from lgca_core.views import Encoded, Views, unit_from_float16
from support.stub_encoder import mean_colour, noise, rich, stub


def some_boxes(views, n=7, seed=0):
    return [
        draw_squares(height, width, n + b, 0.2, 0.9, seed=seed, identity=str(b))
        for b, (height, width) in enumerate(views.sizes)
    ]


def test_equal_to_one_picture_and_one_box_at_a_time():
    pictures = [noise(40, 60, 1), noise(33, 20, 2), noise(50, 50, 3)]
    views = Views(rich(batch_size=5), pictures)
    assert views.sizes == [(40, 60), (33, 20), (50, 50)]
    boxes = some_boxes(views)
    for picture, of_picture, vectors in zip(pictures, boxes, views.encode(boxes), strict=True):
        assert vectors.shape == (len(of_picture), 12)
        one = rich()
        for box, vector in zip(of_picture, vectors, strict=True):
            alone = one.encode_crops(crops(picture, box[None], one.size))[0]
            assert torch.allclose(vector, alone, atol=1e-6)


def test_batches_are_full_across_pictures():
    calls = []
    encoder = stub(lambda x: (calls.append(len(x)), mean_colour(x))[1], batch_size=8)
    views = Views(encoder, [noise(90, 90, s) for s in range(3)])
    views.encode(some_boxes(views))  # 7 + 8 + 9 boxes
    assert calls == [8, 8, 8]


def test_a_box_is_encoded_once_in_the_life_of_the_views():
    encoder = stub()
    views = Views(encoder, [noise(40, 60, 1), noise(40, 60, 2)])
    boxes = [torch.cat([whole(40, 60), whole(40, 60)]), whole(40, 60)]
    first = views.encode(boxes)
    assert encoder.image_passes == 2  # the same box of two pictures is two crops
    assert torch.equal(first[0][0], first[0][1]) and not torch.equal(first[0][0], first[1][0])
    again = views.encode([*boxes[:1], torch.cat([whole(40, 60), torch.tensor([[0, 0, 9, 9]])])])
    assert encoder.image_passes == 3
    assert torch.equal(again[1][0], first[1][0])


def test_memory_too_full_to_cut_halves_the_batches_and_loses_nothing(monkeypatch):
    pictures = [noise(40, 60, 1), noise(33, 20, 2)]
    whole, small = Views(stub(batch_size=8), pictures), Views(stub(batch_size=8), pictures)
    boxes, cut = some_boxes(whole, n=20), Views._cut
    expected = whole.encode(boxes)
    monkeypatch.setattr("lgca_core.views.CUT_AT_ONCE", 1)  # a batch is cut together, as on a GPU
    cuts = []

    def within(most):
        def limited(self, owner, boxes):
            cuts.append(len(boxes))
            if len(boxes) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return cut(self, owner, boxes)

        return limited

    monkeypatch.setattr(Views, "_cut", within(3))
    with pytest.warns(RuntimeWarning, match="does not hold . inputs at once") as said:
        found = small.encode(boxes)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)) and len(said) == 2
    assert small.encoder.image_passes == whole.encoder.image_passes == 41
    assert cuts[:3] == [8, 4, 2] and sum(cuts[2:]) == 41 and small.encoder.batch_size == 2
    monkeypatch.setattr(Views, "_cut", within(0))
    with pytest.warns(RuntimeWarning, match="going on with 1"), pytest.raises(torch.OutOfMemoryError):
        Views(stub(batch_size=2), pictures).encode(boxes)


def test_the_form_for_a_gpu_gives_the_same_vectors():
    pictures = [noise(40, 60, 1), noise(33, 20, 2)]
    views, other = Views(rich(), pictures), Views(rich(), pictures)
    boxes = some_boxes(views)
    expected = views.encode(boxes)
    other.encoder.device = torch.device("meta")  # any but a CPU: the crops then come from crops_int32
    other._on_device = {b: torch.as_tensor(_pixels(picture)) for b, picture in enumerate(pictures)}
    for b, of_picture in enumerate(boxes):
        cut = other.crops(b, of_picture)
        assert torch.equal(cut, crops(pictures[b], of_picture, 16))
        assert torch.equal(rich().encode_crops(cut), expected[b])


def _pixels(picture):
    from lgca_core.pixels.pictures import picture_tensor

    return picture_tensor(picture)


def test_boxes_for_other_pictures_are_refused():
    with pytest.raises(LgcaError, match=r"boxes of 2 pictures, there are 1"):
        Views(stub(), [noise(9, 9)]).encode([whole(9, 9), whole(9, 9)])


def test_batches_encoded_side_by_side_give_the_same_vectors_and_the_same_count():
    boxes = [draw_squares(50, 70, 37, 0.2, 0.9, seed=0, identity="a")]
    one, three = rich(batch_size=5), rich(batch_size=5, workers=3)
    alone, together = (Views(encoder, [noise(50, 70)]).encode(boxes)[0] for encoder in (one, three))
    assert torch.equal(alone, together)
    assert one.image_passes == three.image_passes == 37


def test_batches_and_bits_are_those_of_asking_one_box_after_the_other():
    """A dictionary of boxes, filled in the order of request, is the reference: the same batches, the same bits."""

    def naive(encoder, pictures, requests):
        known, out = [{} for _ in pictures], []
        for boxes in requests:
            rows = [[tuple(box) for box in of.tolist()] for of in boxes]
            todo = list({(b, box): None for b, of in enumerate(rows) for box in of if box not in known[b]})
            for start in range(0, len(todo), encoder.batch_size):
                batch = todo[start : start + encoder.batch_size]
                cut = torch.cat([crops(pictures[b], torch.tensor([box]), encoder.size) for b, box in batch])
                for (b, box), vector in zip(batch, encoder.encode_crops(cut), strict=True):
                    known[b][box] = vector
            out += [torch.stack([known[b][box] for box in of]) for b, of in enumerate(rows)]
        return out

    pictures = [noise(40, 60, 1), noise(33, 20, 2), noise(50, 50, 3)]
    rng = np.random.default_rng(0)
    for _ in range(5):
        pool = [draw_squares(p.height, p.width, 9, 0.2, 0.9, seed=0, identity="a") for p in pictures]
        requests = [[of[rng.integers(9, size=rng.integers(1, 12))] for of in pool] for _ in range(6)]
        (one, seen), (other, expected) = watched(), watched()
        views = Views(one, pictures)
        found = [vectors for boxes in requests for vectors in views.encode(boxes)]
        for vectors, reference in zip(found, naive(other, pictures, requests), strict=True):
            assert torch.equal(vectors, reference)
        assert [len(batch) for batch in seen] == [len(batch) for batch in expected]
        assert torch.equal(torch.cat(seen), torch.cat(expected))
        assert one.image_passes == other.image_passes


def watched():
    """An encoder, and the batches that it saw."""
    encoder, batches = rich(batch_size=5), []
    image = encoder.image
    encoder.image = lambda pixels: (batches.append(pixels.clone()), image(pixels))[1]
    return encoder, batches


def test_no_boxes_at_all():
    views = Views(rich(), [noise(9, 9), noise(8, 8)])
    none = torch.empty(0, 4, dtype=torch.int64)
    assert [of.shape[0] for of in views.encode([none, none])] == [0, 0]
    assert [of.shape for of in views.encode([none, whole(8, 8)])] == [(0, 12), (1, 12)]
    assert Views(rich(), []).encode([]) == []


def test_a_box_outside_its_picture_is_refused():
    views = Views(stub(), [noise(9, 12), noise(12, 9)])
    views.encode([whole(9, 12), whole(12, 9)])
    for outside in ([0, 0, 8, 24], [0, 0, 12, 9], [-1, 0, 3, 3], [0, 10, 3, 3], [0, 0, 0, 3]):
        with pytest.raises(LgcaError, match="9 x 12"):
            views.encode([torch.tensor([outside]), whole(12, 9)])


# ---- pictures on demand ------------------------------------------------------------------------------------


class Loader:
    """A picture that counts how often it is decoded."""

    def __init__(self, picture):
        self.picture, self.calls = picture, 0

    def __call__(self):
        self.calls += 1
        return self.picture


def test_pictures_are_decoded_when_something_of_them_is_missing():
    pictures = [noise(40, 60, 1), noise(33, 20, 2), noise(50, 50, 3)]
    loaders = [Loader(picture) for picture in pictures]
    views = Views(rich(), loaders, sizes=[(40, 60), None, (50, 50)])
    assert views.sizes == [(40, 60), (33, 20), (50, 50)]
    assert [loader.calls for loader in loaders] == [0, 1, 0]  # but for the size that is not known
    boxes = some_boxes(views)
    few = [boxes[0], boxes[1], torch.empty(0, 4, dtype=torch.int64)]
    expected = Views(rich(), pictures).encode(few)
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(views.encode(few)[:2], expected, strict=False))
    views.encode([boxes[0][:3], boxes[1], few[2]])
    assert [loader.calls for loader in loaders] == [1, 1, 0]


def test_a_picture_that_changed_its_size():
    views = Views(rich(), [Loader(noise(40, 60))], sizes=[(60, 40)])
    with pytest.raises(LgcaError, match=r"picture 0 .*40 x 60 .*60 x 40"):
        views.encode([whole(60, 40)])
    with pytest.raises(LgcaError, match="sizes of 1 pictures, there are 2"):
        Views(rich(), [noise(9, 9), noise(9, 9)], sizes=[(9, 9)])


# ---- vectors that outlive the views ------------------------------------------------------------------------


def encoded(views: Views, boxes: list[torch.Tensor]) -> Encoded:
    """What the views hand out of some boxes."""
    with views.recording() as asked:
        views.encode(boxes)
    return asked()


def never():
    raise AssertionError("a picture was decoded")


def test_known_vectors_are_the_encoded_ones_to_the_last_bit():
    pictures = [noise(40, 60, 1), noise(33, 20, 2), noise(50, 50, 3)]
    first = Views(rich(), pictures, float16=True)
    boxes = some_boxes(first)
    boxes[1] = torch.cat([boxes[1], boxes[1][:2]])
    expected = first.encode(boxes)
    handed = encoded(first, boxes)
    assert handed.counts.tolist() == [7, 8, 9]
    assert (handed.counts.dtype, handed.boxes.dtype, handed.features.dtype) == (torch.int32, torch.int32, torch.float16)
    assert torch.equal(handed.boxes.long(), torch.cat([of[: 7 + b] for b, of in enumerate(boxes)]))
    encoder = rich()
    second = Views(encoder, [never] * 3, sizes=first.sizes, float16=True)
    second.add_known(handed)
    for b, of in enumerate(boxes):  # in other company
        alone = [torch.empty(0, 4, dtype=torch.int64)] * 3
        alone[b] = of.flip(0)
        assert torch.equal(second.encode(alone)[b], expected[b].flip(0))
    assert encoder.image_passes == 0
    for vectors, exact in zip(expected, Views(rich(), pictures).encode(boxes), strict=True):
        assert not torch.equal(vectors, exact)
        assert torch.allclose(vectors, exact, atol=2**-11)


def test_only_the_missing_is_encoded():
    pictures = [noise(40, 60, 1), noise(33, 20, 2)]
    source = Views(rich(), pictures, float16=True)
    boxes = some_boxes(source)
    handed = encoded(source, [boxes[0][:4], boxes[1][2:6]])
    loaders = [Loader(picture) for picture in pictures]
    encoder = rich()
    views = Views(encoder, loaders, sizes=source.sizes, float16=True)
    views.add_known(handed)
    views.add_known(handed)  # twice is as good as once
    views.encode([boxes[0][:4], boxes[1][[7, 2, 0]]])
    assert (encoder.image_passes, [loader.calls for loader in loaders]) == (2, [0, 1])
    views.encode([boxes[0][[6, 1]], boxes[1][[1, 0]]])
    assert encoder.image_passes == 4


def test_what_is_known_first_stays():
    boxes = torch.tensor([[0, 0, height, width] for height in range(1, 31) for width in range(1, 31)])  # (900, 4)
    views = Views(rich(), [never], sizes=[(30, 30)], float16=True)
    first, second = (torch.eye(2)[[k]].half() for k in range(2))
    for start, features in ((300, first), (0, second), (0, first)):
        of = boxes[start : start + 600]
        views.add_known(Encoded(torch.tensor([len(of)]).int(), of.int(), features.repeat(len(of), 1)))
    [vectors] = views.encode([boxes])
    assert torch.equal(vectors.argmax(dim=1), torch.tensor([1] * 300 + [0] * 600))


def test_recording_holds_what_was_asked_for_known_or_not():
    pictures = [noise(40, 60, 1), noise(33, 20, 2)]
    source = Views(rich(), pictures, float16=True)
    boxes = some_boxes(source)
    views = Views(rich(), pictures, float16=True)
    views.add_known(encoded(source, [boxes[0][:4], boxes[1][:4]]))
    views.encode([boxes[0][4:], boxes[1][4:]])
    with views.recording() as asked:
        assert asked().counts.tolist() == [0, 0]
        views.encode([boxes[0][[5, 2]], boxes[1][[0]]])
        with views.recording() as inner:
            views.encode([boxes[0][[2, 0]], boxes[1][[7, 0]]])
    views.encode(boxes)
    assert torch.equal(asked().boxes.long(), torch.cat([boxes[0][[5, 2, 0]], boxes[1][[0, 7]]]))
    assert asked().counts.tolist() == [3, 2]
    assert torch.equal(inner().boxes.long(), torch.cat([boxes[0][[2, 0]], boxes[1][[7, 0]]]))
    assert torch.equal(
        unit_from_float16(inner().features), torch.cat(views.encode([boxes[0][[2, 0]], boxes[1][[7, 0]]]))
    )


def test_exact_views_take_nothing_that_was_rounded():
    source = Views(rich(), [noise(9, 9)], float16=True)
    with pytest.raises(LgcaError, match="do not round"):
        Views(rich(), [noise(9, 9)]).add_known(encoded(source, [whole(9, 9)]))
    assert encoded(Views(rich(), [noise(9, 9)]), [whole(9, 9)]).features.dtype == torch.float32


@given(rows=st.integers(1, 9), width=st.integers(1, 700), seed=st.integers(0, 999))
def test_unit_gives_a_row_the_same_bits_in_any_company_and_order(rows, width, seed):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, width, generator=generator) ** 5  # some much larger than the rest
    features = torch.nn.functional.normalize(vectors, dim=-1).half()
    found = unit_from_float16(features)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double().norm(dim=-1), torch.ones(rows, dtype=torch.float64), atol=2e-7)
    assert torch.allclose(found, torch.nn.functional.normalize(features.float(), dim=-1), atol=1e-7)
    shuffled = torch.randperm(width, generator=generator)
    assert torch.equal(unit_from_float16(features[:, shuffled]), found[:, shuffled])
    assert torch.equal(torch.cat([unit_from_float16(features[k : k + 1]) for k in range(rows)]), found)
    assert torch.equal(unit_from_float16(features.T.contiguous().T), found)
    assert torch.equal(unit_from_float16(unit_from_float16(features).half() * 0), torch.zeros(rows, width))


@pytest.mark.gpu
def test_unit_gives_the_same_bits_on_a_gpu():
    features = torch.nn.functional.normalize(torch.randn(5000, 512) ** 3, dim=-1).half()
    assert torch.equal(unit_from_float16(features.cuda()).cpu(), unit_from_float16(features))


def test_numbers_of_boxes_are_all_different():
    sizes = [(3, 5), (0, 0), (5, 3), (1, 1), (4, 4)]
    owner, boxes = [], []
    for b, (height, width) in enumerate(sizes):
        for top, left in itertools.product(range(height), range(width)):
            for h, w in itertools.product(range(1, height - top + 1), range(1, width - left + 1)):
                owner.append(b)
                boxes.append((top, left, h, w))
    numbers = BoxNumbers(sizes)(np.array(owner), np.array(boxes))
    assert len(set(numbers.tolist())) == len(boxes)
    assert numbers.min() >= 0


def test_numbers_hold_the_largest_pictures():
    side = math.isqrt(MAX_PIXELS)
    for size in [(side, side), (1, MAX_PIXELS), (MAX_PIXELS, 1)]:
        corners = np.array([[0, 0, *size], [size[0] - 1, size[1] - 1, 1, 1]])
        numbers = BoxNumbers([size] * 1000)(np.array([999, 999]), corners)
        assert (numbers > 0).all()
    with pytest.raises(LgcaError, match="give fewer"):
        BoxNumbers([(1, MAX_PIXELS)] * 2000)
