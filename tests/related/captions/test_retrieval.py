"""Exact ranks with ties, recall and average precision, against hand-made matrices and a literal search."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st

from lgca_core.errors import LgcaError
from lgca_core.related.captions import retrieval
from lgca_core.related.captions.retrieval import (
    Ahead,
    average_precisions,
    both_ways,
    first_ranks,
    items_ahead,
    recall_at,
)


def of_scores(scores, relevant) -> Ahead:
    """What `items_ahead` would find if these were the cosines: counted one by one."""
    rows = []
    for query, items in enumerate(relevant):
        for item in items:
            others = [scores[query][of] for of in range(len(scores[query])) if of not in items]
            own = scores[query][item]
            rows.append((query, item, own, sum(of > own for of in others), sum(of == own for of in others)))
    return Ahead(*(np.array(column) for column in zip(*rows, strict=True)))


def vectors_with(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors whose products are in the order of a matrix: its rows beside a gallery of the axes."""
    filled = torch.cat([scores, (2 - scores.square().sum(1, keepdim=True)).sqrt()], 1)  # all rows of length sqrt 2
    return filled / 2**0.5, torch.eye(scores.shape[1], scores.shape[1] + 1)


FOUR = torch.tensor(
    [
        [0.5, 0.25, 0.0, 0.125],  # its own first
        [0.5, 0.5, 0.0, 0.0],  # a tie for the first place
        [0.25, 0.25, 0.25, 0.25],  # all the same
        [0.5, 0.25, 0.125, 0.0],  # its own last
    ]
)


def test_a_four_by_four_matrix_with_ties():
    found = items_ahead(*vectors_with(FOUR), [[0], [1], [2], [3]])
    assert first_ranks(found).tolist() == [1, 1.5, 2.5, 4]
    assert first_ranks(found, "pessimistic").tolist() == [1, 2, 4, 4]
    assert found.score.tolist() == pytest.approx((FOUR.diagonal() / 2**0.5).tolist())
    assert [recall_at(first_ranks(found), k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1]
    assert average_precisions(found, 2).tolist() == [1, 1 / 1.5, 0, 0]


def test_five_captions_a_picture():
    """3 pictures x 15 captions: the best-ranked of a picture's five counts, ties with others' captions included."""
    scores = torch.zeros(3, 15)
    scores[0, [0, 3]] = torch.tensor([0.25, 0.5])  # own ones: first
    scores[0, 7] = 0.375
    scores[1, [5, 12]] = 0.25  # own one ties with another's
    scores[2, 10:] = 0.125
    scores[2, [1, 2, 3]] = 0.25  # three go before
    own = [[*range(5)], [*range(5, 10)], [*range(10, 15)]]
    found = items_ahead(*vectors_with(scores), own)
    assert len(found.query) == 15
    assert first_ranks(found).tolist() == [1, 1.5, 4]
    assert first_ranks(found, "pessimistic").tolist() == [1, 2, 4]


def test_both_ways_of_pictures_with_captions():
    images = torch.eye(3)
    texts = F.normalize(torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0, 0.6, 0.8], [0, 1.0, 0], [0, 0, 1.0]]), dim=1)
    ranks = both_ways(images, texts, [0, 1, 1, 2, 2])
    assert ranks.image_to_text.tolist() == [1, 2, 1]  # picture 1 sees another's caption first
    assert ranks.text_to_image.tolist() == [1, 2, 2, 2.5, 1]  # the fourth ties with another at 0
    assert ranks.recalls(1, 2) == {
        "R@1 image to text": pytest.approx(2 / 3),
        "R@2 image to text": 1,
        "R@1 text to image": pytest.approx(2 / 5),
        "R@2 text to image": pytest.approx(4 / 5),
    }


def literal_ap(scores, items, k, share) -> float:
    """Relevant items are counted off best first; a tie with others is at the place that `share` says."""
    total, best = 0.0, sorted(items, key=lambda of: -scores[of])
    for number, item in enumerate(best, 1):
        others = [scores[of] for of in range(len(scores)) if of not in items]
        rank = number + sum(of > scores[item] for of in others) + share * sum(of == scores[item] for of in others)
        total += number / rank if rank <= k else 0
    return total / len(items)


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 9), st.integers(1, 7), st.data())
@settings(max_examples=100, deadline=None)
def test_ranks_are_those_of_a_literal_search(seed, n, m, block, data):
    """Of vectors that are often equal, whatever the blocks and the order of the gallery."""
    rng = np.random.default_rng(seed)
    pool = F.normalize(torch.from_numpy(rng.normal(size=(3, 4))).float(), dim=1)
    queries, gallery = pool[rng.integers(3, size=n)], pool[rng.integers(3, size=m)]
    relevant = [rng.choice(m, size=rng.integers(1, min(4, m) + 1), replace=False).tolist() for _ in range(n)]
    exact = [[float((q.double() * g.double()).sum()) for g in gallery] for q in queries]
    exact = [[round(score, 6) for score in row] for row in exact]
    found, wanted = items_ahead(queries, gallery, relevant, block=block), of_scores(exact, relevant)
    rows = {(q, i): (more, equal) for q, i, _, more, equal in zip(*found, strict=True)}
    assert rows == {(q, i): (more, equal) for q, i, _, more, equal in zip(*wanted, strict=True)}
    for ties, share in (("middle", 0.5), ("pessimistic", 1.0)):
        aps = [literal_ap(exact[q], relevant[q], 3, share) for q in range(n)]
        assert average_precisions(found, 3, ties).tolist() == pytest.approx(aps)
    order = rng.permutation(m)
    place = {int(old): new for new, old in enumerate(order)}
    moved = items_ahead(queries, gallery[order], [[place[i] for i in items] for items in relevant], block=3)
    assert first_ranks(moved).tolist() == first_ranks(found).tolist()


def test_equal_vectors_are_equal_in_every_block():
    """512 wide, where the order of adding shows in the last bit of float32."""
    generator = torch.Generator().manual_seed(0)
    one, other = F.normalize(torch.randn(2, 512, generator=generator), dim=1)
    gallery = torch.stack([one if n % 3 else other for n in range(500)])
    for block in (1, 7, 64, 2048):
        found = items_ahead(one[None], gallery, [[1]], block=block)
        assert (found.more.tolist(), found.equal.tolist()) == ([0], [332])


def test_a_region_and_its_picture_find_each_other():
    """Two pictures, each with a region; wholes and regions in one gallery, two relevant items a query."""
    scores = torch.tensor([[0.5, 0.25, 0.375, 0.0]])  # own first, own region third
    found = items_ahead(*vectors_with(scores), [[0, 1]])
    assert average_precisions(found, 10).tolist() == [(1 / 1 + 2 / 3) / 2]
    assert average_precisions(found, 2).tolist() == [(1 / 1) / 2]  # the number of relevant items is not capped
    assert average_precisions(items_ahead(*vectors_with(scores), [[0]]), 10).tolist() == [1]


def test_nothing_of_queries_times_gallery_is_made(monkeypatch):
    shapes = []
    real = torch.Tensor.__matmul__

    def spy(self, other):
        out = real(self, other)
        shapes.append(tuple(out.shape))
        return out

    monkeypatch.setattr(torch.Tensor, "__matmul__", spy)
    vectors = F.normalize(torch.randn(300, 8), dim=1)
    items_ahead(vectors, vectors, [[n] for n in range(300)], block=64)
    assert len(shapes) == 25 and max(a * b for a, b in shapes) == 64 * 64
    assert retrieval.BLOCK_SIDE**2 * 8 <= 2**25


@pytest.mark.parametrize(
    "change, needs",
    [
        (lambda q, g, r: (q.index_fill(0, torch.tensor([1]), torch.nan), g, r), "1 of 2 vectors of the queries"),
        (lambda q, g, r: (q, g * torch.inf, r), "3 of 3 vectors of the gallery"),
        (lambda q, g, r: (q, 2 * g, r), "gallery must be of unit length"),
        (lambda q, g, r: (q, g, [[0], []]), "an item that is relevant"),
        (lambda q, g, r: (q, g, [[0]]), "an item that is relevant"),
    ],
)
def test_what_cannot_be_ranked_is_refused(change, needs):
    with pytest.raises(LgcaError, match=needs):
        items_ahead(*change(torch.eye(3)[:2], torch.eye(3), [[0], [1]]))
