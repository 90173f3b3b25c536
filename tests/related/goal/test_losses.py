"""GOAL's losses against a literal loop, one pair at a time, and their gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st

from lgca_core.related.goal.losses import LossWeights, RegionRows, Vectors, goal_losses, info_nce, token_similarity


def some_vectors(seed: int, pictures: int, regions: int, width: int = 5) -> Vectors:
    generator = torch.Generator().manual_seed(seed)

    def unit(n: int) -> torch.Tensor:
        return F.normalize(torch.randn(n, width, generator=generator, dtype=torch.float64), dim=-1).requires_grad_()

    scale = torch.tensor(7.3, dtype=torch.float64, requires_grad=True)
    return Vectors(*(unit(pictures) for _ in range(2)), *(unit(regions) for _ in range(4)), scale)


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def literal_info_nce(u, v, scale, weights) -> float:
    """One row at a time; rows of weight 0 are nobody's match and nobody's negative."""
    there = [i for i, weight in enumerate(weights) if weight > 0]
    total = 0.0
    for i in there:
        for one, others in ((u[i], v), (v[i], u)):
            own = scale * dot(one, others[i])
            total += weights[i] * (math.log(sum(math.exp(scale * dot(one, others[j])) for j in there)) - own)
    return total / (2 * sum(weights))


def literal_similarity(part, local, weights, matrix) -> float:
    there = [i for i, weight in enumerate(weights) if weight > 0]
    if not there:
        return 0.0
    if matrix == "full":
        return sum((dot(part[i], local[j]) - (i == j)) ** 2 for i in there for j in there) / len(there) ** 2
    return sum(weights[i] * (dot(part[i], local[i]) - 1) ** 2 for i in there) / sum(weights)


def literal(vectors: Vectors, rows: RegionRows, weights: LossWeights) -> dict[str, float]:
    lists = {name: of.tolist() for name, of in vectors._asdict().items()}
    weight, seen, read = (of.tolist() for of in rows)
    out = {
        "global": literal_info_nce(lists["image"], lists["text"], lists["scale"], [1.0] * len(lists["image"])),
        "local": literal_info_nce(lists["region"], lists["sentence"], lists["scale"], weight),
    }
    for name, other, has in (("patches", "region", seen), ("words", "sentence", read)):
        left = [w * h for w, h in zip(weight, has, strict=True)]
        out[name] = literal_similarity(lists[name], lists[other], left, weights.matrix)
    factors = {"global": weights.whole, "local": weights.local, "patches": weights.tokens, "words": weights.tokens}
    return out | {"loss": sum(factors[name] * value for name, value in out.items())}


def some_rows(weight: list[float], seen: list[bool], read: list[bool]) -> RegionRows:
    return RegionRows(torch.tensor(weight, dtype=torch.float64), torch.tensor(seen), torch.tensor(read))


@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 3), st.sampled_from(["diagonal", "full"]), st.data())
@settings(max_examples=60, deadline=None)
def test_every_term_is_that_of_the_literal_loop(seed, pictures, k, matrix, data):
    regions = pictures * k
    flags = st.lists(st.booleans(), min_size=regions, max_size=regions)
    weight = data.draw(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=regions, max_size=regions))
    weight[0] = weight[-1] = 0.5
    rows, weights = some_rows(weight, data.draw(flags), data.draw(flags)), LossWeights(0.9, 0.4, 1.3, matrix)
    vectors = some_vectors(seed, pictures, regions)
    found, wanted = goal_losses(vectors, rows, weights), literal(vectors, rows, weights)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].item() == pytest.approx(value, abs=1e-9), name


def test_weights_of_the_sum_are_those_of_the_released_code():
    vectors, rows = some_vectors(3, 4, 4), some_rows([1.0] * 4, [True] * 4, [True] * 4)
    found = goal_losses(vectors, rows, LossWeights())
    by_hand = found["global"] + 0.5 * found["local"] + found["patches"] + found["words"]
    assert float(found["loss"].detach()) == pytest.approx(float(by_hand.detach()), abs=1e-12)


def test_gradients_reach_both_sides_and_are_those_of_the_literal_loop():
    rows = some_rows([1.0, 0.5, 1.0], [True, False, True], [True, True, False])
    vectors = some_vectors(1, 3, 3)
    goal_losses(vectors, rows, LossWeights())["loss"].backward()
    for name in ("patches", "region", "words", "sentence"):
        assert vectors._asdict()[name].grad.abs().sum() > 0
    step = 1e-6
    for name, of in vectors._asdict().items():
        for index in [*torch.ones_like(of.detach()).nonzero()][:4]:
            place = tuple(index.tolist())
            ends = []
            for sign in (1, -1):
                moved = of.detach().clone()
                moved[place] += sign * step
                ends.append(literal(vectors._replace(**{name: moved}), rows, LossWeights())["loss"])
            assert float(of.grad[place]) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-6), name


def test_a_term_without_rows_is_zero_and_one_of_weight_zero_is_not_reckoned():
    vectors = some_vectors(2, 3, 3)
    nothing = some_rows([1.0] * 3, [False] * 3, [False] * 3)
    found = goal_losses(vectors, nothing, LossWeights())
    assert float(found["patches"]) == float(found["words"]) == 0
    found["loss"].backward()
    assert vectors.patches.grad.abs().sum() == 0
    assert goal_losses(vectors, nothing, LossWeights(local=0, tokens=0)).keys() == {"global", "loss"}


def test_rows_of_weight_zero_change_nothing():
    whole, more = some_vectors(4, 2, 4), torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    less = [of[::2] for of in (whole.region, whole.sentence)]
    ones = torch.ones(2, dtype=torch.float64)
    assert torch.equal(info_nce(whole.region, whole.sentence, whole.scale, more), info_nce(*less, whole.scale, ones))
    assert torch.equal(token_similarity(whole.region, whole.sentence, more), token_similarity(*less, ones))
