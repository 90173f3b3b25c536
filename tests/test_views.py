"""Views: flat full batches over pictures, each box once, and the crops that `resample` cuts."""

import pytest
import torch
from stub_encoder import mean_colour, noise, rich, stub

from lgca_core.boxes import draw_squares, whole
from lgca_core.resample import crops
from lgca_core.views import Views


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


def test_the_form_for_a_gpu_gives_the_same_vectors():
    pictures = [noise(40, 60, 1), noise(33, 20, 2)]
    views, other = Views(rich(), pictures), Views(rich(), pictures)
    boxes = some_boxes(views)
    expected = views.encode(boxes)
    other.encoder.device = torch.device("meta")  # any but a CPU: the crops then come from crops_int32
    other._on_device = {b: torch.as_tensor(_pixels(picture)) for b, picture in enumerate(pictures)}
    for b, of_picture in enumerate(boxes):
        cut = other._crops(b, of_picture)
        assert torch.equal(cut, crops(pictures[b], of_picture, 16))
        assert torch.equal(rich().encode_crops(cut), expected[b])


def _pixels(picture):
    from lgca_core.resample import picture_tensor

    return picture_tensor(picture)


def test_boxes_for_other_pictures_are_refused():
    with pytest.raises(AssertionError, match=r"boxes of 2 pictures, there are 1"):
        Views(stub(), [noise(9, 9)]).encode([whole(9, 9), whole(9, 9)])


def test_batches_encoded_side_by_side_give_the_same_vectors_and_the_same_count():
    boxes = [draw_squares(50, 70, 37, 0.2, 0.9, seed=0, identity="a")]
    one, three = rich(batch_size=5), rich(batch_size=5, workers=3)
    alone, together = (Views(encoder, [noise(50, 70)]).encode(boxes)[0] for encoder in (one, three))
    assert torch.equal(alone, together)
    assert one.image_passes == three.image_passes == 37
