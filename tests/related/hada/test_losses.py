"""HADA's losses against a literal double loop; queue, ramp, negatives, temperature and the learned share."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st

from lgca_core.errors import LgcaError
from lgca_core.related.hada.losses import (
    BothSides,
    EmbeddingQueue,
    HadaWeights,
    Scalars,
    alpha_at,
    hada_losses,
    hard_negatives,
    matching_loss,
    soft_targets,
)
from lgca_core.related.hada.network import MatchingHead


def unit_rows(n: int, width: int, generator, dtype=torch.float64) -> torch.Tensor:
    return F.normalize(torch.randn(n, width, generator=generator, dtype=torch.float64), dim=-1).to(dtype)


def sides(n, width, generator, dtype=torch.float64) -> BothSides:
    return BothSides(unit_rows(n, width, generator, dtype), unit_rows(n, width, generator, dtype))


def dot(a, b) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def softmax(row):
    top = max(row)
    parts = [math.exp(of - top) for of in row]
    return [of / sum(parts) for of in parts]


def literal(u, taught_u, others, ids, every_id, tau, alpha, w=None, own=None, own_others=None) -> float:
    """One side's cross entropy, a pair at a time."""
    total = 0.0
    for b in range(len(u)):
        scores, taught = [], []
        for j in range(len(others)):
            s, t = dot(u[b], others[j]), dot(taught_u[b], others[j])
            if w is not None:
                theirs = dot(own[b], own_others[j])
                s, t = (1 - w) * s + w * theirs, (1 - w) * t + w * theirs
            scores.append(s / tau)
            taught.append(t / tau)
        same = [float(ids[b] == of) for of in every_id]
        aim = [alpha * t + (1 - alpha) * y / sum(same) for t, y in zip(softmax(taught), same, strict=True)]
        total -= sum(y * math.log(p) for y, p in zip(aim, softmax(scores), strict=True))
    return total / len(u)


@given(
    st.integers(0, 10**6),
    st.integers(2, 5),
    st.sampled_from(["empty", "noise"]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([None, 0.5, 0.13]),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_contrast_is_that_of_the_literal_loop(seed, batch, begin, alpha, w, data):
    """With ids that come more than once in the batch, in the queue, and in both."""
    generator = torch.Generator().manual_seed(seed)
    online, teacher, before = (sides(batch, 4, generator) for _ in range(3))
    own, own_before = (sides(batch, 3, generator) for _ in range(2))
    few = st.lists(st.integers(0, 2), min_size=batch, max_size=batch)
    ids, ids_before = (torch.tensor(data.draw(few)) for _ in range(2))
    queue = EmbeddingQueue(7, 4, None if w is None else 3, begin=begin).double()
    queue.push(before, ids_before, None if w is None else own_before)
    rows, scalars = queue.rows(), Scalars(0.2, w=w).double()
    weights = HadaWeights(0.3, 0.9, matching=0)
    found = hada_losses(online, teacher, ids, rows, scalars, weights, alpha=alpha, own=None if w is None else own)
    every_id = [*ids.tolist(), *rows.ids.tolist()]
    tau, w = float(scalars.tau.detach()), None if w is None else float(scalars.w.detach())
    assert found.keys() == {"image", "text", "loss"}
    for side, other in (("image", "text"), ("text", "image")):
        others = torch.cat([getattr(teacher, other), getattr(rows, other)]).tolist()
        theirs = None if w is None else torch.cat([getattr(own, other), getattr(rows, f"own_{other}")]).tolist()
        u, taught = getattr(online, side).tolist(), getattr(teacher, side).tolist()
        wanted = literal(u, taught, others, ids, every_id, tau, alpha, w, getattr(own, side).tolist(), theirs)
        assert found[side].item() == pytest.approx(wanted, rel=1e-9), side
    assert found["loss"].item() == pytest.approx(0.3 * found["image"].item() + 0.9 * found["text"].item())


def test_contrast_in_single_precision_is_that_of_the_literal_loop_to_a_millionth():
    generator = torch.Generator().manual_seed(0)
    online, teacher = (sides(6, 16, generator, torch.float32) for _ in range(2))
    queue, ids = EmbeddingQueue(12, 16, begin="noise"), torch.tensor([0, 1, 0, 2, 3, 1])
    queue.push(sides(6, 16, generator, torch.float32), ids)
    scalars = Scalars()
    found = hada_losses(online, teacher, ids, queue.rows(), scalars, HadaWeights(matching=0), alpha=0.4)
    others = torch.cat([teacher.text, queue.text]).tolist()
    every = [*ids.tolist(), *queue.ids.tolist()]
    wanted = literal(online.image.tolist(), teacher.image.tolist(), others, ids, every, scalars.tau.item(), 0.4)
    assert found["image"].item() == pytest.approx(wanted, rel=1e-6)


def test_all_captions_of_a_picture_share_the_target():
    ids, queue = torch.tensor([4, 7, 4]), torch.tensor([7, -100, 4, 9])
    targets = soft_targets(ids, torch.cat([ids, queue]))
    third, half = pytest.approx(1 / 3), pytest.approx(0.5)
    assert targets[0].tolist() == [third, 0, third, 0, 0, third, 0]
    assert targets[1].tolist() == [0, half, 0, half, 0, 0, 0]


def test_gradients_reach_the_trained_networks_and_tau_alone():
    generator = torch.Generator().manual_seed(1)
    online, teacher = (BothSides(*(of.requires_grad_() for of in sides(4, 5, generator))) for _ in range(2))
    queue, scalars = EmbeddingQueue(6, 5).double(), Scalars().double()
    queue.push(sides(4, 5, generator), torch.arange(4))
    head = MatchingHead(5).double()
    losses = hada_losses(online, teacher, torch.arange(4), queue.rows(), scalars, HadaWeights(), alpha=0.3, head=head)
    assert losses.keys() == {"image", "text", "matching", "loss"}
    losses["loss"].backward()
    assert all(of.grad.any() for of in online) and all(of.grad is None for of in teacher)
    assert scalars.tau.grad != 0 and all(of.grad.any() for of in head.parameters())

    def contrast(tau):
        moved = Scalars(tau, (0.001, 1.0)).double()
        moved.tau.data.fill_(tau)
        out = hada_losses(
            online, teacher, torch.arange(4), queue.rows(), moved, HadaWeights(matching=0, distil=0), alpha=0
        )
        return out["loss"]

    slope = (contrast(0.07 + 1e-6) - contrast(0.07 - 1e-6)) / 2e-6
    scalars.tau.grad, scalars.tau.data = None, torch.tensor(0.07, dtype=torch.float64)
    hada_losses(online, teacher, torch.arange(4), queue.rows(), scalars, HadaWeights(matching=0), alpha=0)[
        "loss"
    ].backward()
    assert scalars.tau.grad.item() == pytest.approx(slope.item(), rel=1e-6)


def test_a_loss_of_weight_zero_is_not_reckoned_nor_needs_what_it_takes():
    generator = torch.Generator().manual_seed(2)
    online, ids = sides(3, 4, generator), torch.zeros(3, dtype=torch.int64)
    rows, scalars = EmbeddingQueue(4, 4).double().rows(), Scalars().double()
    found = hada_losses(online, online, ids, rows, scalars, HadaWeights(image=0, matching=0), alpha=0)
    assert found.keys() == {"text", "loss"}
    with pytest.raises(LgcaError, match="weight 0"):
        HadaWeights(image=0, text=0, matching=0)
    with pytest.raises(LgcaError, match="one picture"):
        hada_losses(online, online, ids, rows, scalars, HadaWeights(), alpha=0, head=MatchingHead(4).double())


@given(st.integers(1, 9), st.lists(st.integers(1, 12), min_size=1, max_size=8), st.sampled_from(["empty", "noise"]))
@settings(max_examples=60, deadline=None)
def test_a_queue_holds_the_last_rows_each_at_its_place(size, batches, begin):
    queue = EmbeddingQueue(size, 3, 2, begin=begin)
    noise = queue.image.clone()
    seen, slots = 0, {}
    for batch in batches:
        ids = torch.arange(seen, seen + batch)
        image = ids[:, None] + torch.tensor([0.0, 0.25, 0.5])
        queue.push(BothSides(image, -image), ids, BothSides(image[:, :2] + 0.125, image[:, :2] + 0.0625))
        slots |= {int(of) % size: int(of) for of in ids}  # pair i goes to row i mod K
        seen += batch
    rows = queue.rows()
    assert len(rows.ids) == (size if begin == "noise" else min(size, seen))
    for slot, (row, of) in enumerate(zip(rows.ids.tolist(), rows.image, strict=True)):
        wanted = slots.get(slot, -100)
        assert row == wanted
        if wanted < 0:
            assert torch.equal(of, noise[slot])
        else:
            assert of.tolist() == [wanted, wanted + 0.25, wanted + 0.5]
            assert rows.text[slot].tolist() == (-of).tolist()
            assert rows.own_image[slot, 0] == wanted + 0.125 and rows.own_text[slot, 0] == wanted + 0.0625
    assert sorted(slots.values()) == [*range(max(0, seen - size), seen)]


def test_a_queue_begins_with_unit_noise_or_empty_and_goes_on_where_it_was_saved():
    noise, empty = EmbeddingQueue(50, 8, begin="noise"), EmbeddingQueue(50, 8)
    torch.testing.assert_close(noise.rows().image.norm(dim=1), torch.ones(50))
    assert noise.rows().ids.unique().tolist() == [-100] and not len(empty.rows().ids)
    assert not torch.equal(noise.image, noise.text)
    vectors = sides(30, 8, torch.Generator().manual_seed(0), torch.float32)
    empty.push(vectors, torch.arange(30))
    other = EmbeddingQueue(50, 8)
    other.load_state_dict(empty.state_dict())
    for queue in (empty, other):
        queue.push(vectors, torch.arange(30, 60))
    assert torch.equal(empty.rows().ids, other.rows().ids) and torch.equal(empty.rows().text, other.rows().text)
    assert other.next == 10 and other.rows().ids[:10].tolist() == [*range(50, 60)]
    with pytest.raises(LgcaError, match="queue"):
        EmbeddingQueue(0, 8)


def test_alpha_rises_through_the_first_epoch():
    steps = 20
    assert alpha_at(0, steps, 0.4) == 0
    assert alpha_at(10, steps, 0.4) == pytest.approx(0.2)
    assert alpha_at(19, steps, 0.4) == pytest.approx(0.38)
    assert alpha_at(20, steps, 0.4) == alpha_at(999, steps, 0.4) == 0.4


@pytest.mark.parametrize("constant", ["added", "inside"])
def test_hard_negatives_are_of_other_pictures_and_the_harder_the_oftener(constant):
    ids = torch.tensor([0, 1, 0, 2])
    scores = torch.tensor([[5.0, 2.0, 9.0, 0.0], [1.0, 5.0, 1.0, 1.0], [9.0, 0.0, 5.0, 2.0], [0.0, 3.0, 1.0, 5.0]])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([hard_negatives(scores, ids, constant, generator) for _ in range(2000)])  # (2000, 4)
    assert not (ids[drawn] == ids).any()
    share = scores.softmax(1) + (1e-4 if constant == "added" else 0)
    share = share * (ids[:, None] != ids)
    for b in range(4):
        found = torch.bincount(drawn[:, b], minlength=4) / 2000
        torch.testing.assert_close(found, share[b] / share[b].sum(), rtol=0, atol=0.04)


def test_the_constant_counts_when_it_is_added_to_the_probabilities():
    """Of a confident batch every negative's probability vanishes: each is as likely, or as released the draw fails."""
    scores, ids = torch.eye(4) * 200, torch.arange(4)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([hard_negatives(scores, ids, "added", generator) for _ in range(1500)])
    found = torch.bincount(drawn[:, 0], minlength=4) / 1500
    torch.testing.assert_close(found, torch.tensor([0, 1 / 3, 1 / 3, 1 / 3]), rtol=0, atol=0.05)
    with pytest.raises(LgcaError, match="constant"):
        hard_negatives(scores, ids, "inside", generator)


@pytest.mark.parametrize("constant", ["added", "inside"])
def test_a_batch_of_one_picture_is_refused_in_one_sentence(constant):
    for ids in ([3, 3, 3], [3]):
        with pytest.raises(LgcaError, match="one picture"):
            hard_negatives(torch.zeros(len(ids), len(ids)), torch.tensor(ids), constant)


def test_matching_is_the_cross_entropy_of_three_kinds_of_pairs(monkeypatch):
    """Captions are given pictures by the scores of captions, pictures captions by those of pictures."""
    generator = torch.Generator().manual_seed(5)
    online, head = sides(3, 4, generator), MatchingHead(4).double()
    picture_for, caption_for = torch.tensor([2, 0, 1]), torch.tensor([1, 2, 0])
    total = 0.0
    for b in range(3):
        for i, t, truth in ((b, b, 1), (int(picture_for[b]), b, 0), (b, int(caption_for[b]), 0)):
            p = torch.sigmoid(head(online.image[i : i + 1], online.text[t : t + 1])).item()
            total -= math.log(p if truth else 1 - p)
    assert matching_loss(head, online, picture_for, caption_for).item() == pytest.approx(total / 9)

    teacher, ids = sides(3, 4, generator), torch.arange(3)
    given_scores = []

    def noted(scores, *_):
        given_scores.append(scores)
        return picture_for if len(given_scores) == 1 else caption_for

    monkeypatch.setattr("lgca_core.related.hada.losses.hard_negatives", noted)
    queue, scalars = EmbeddingQueue(5, 4, begin="noise").double(), Scalars().double()
    found = hada_losses(online, teacher, ids, queue.rows(), scalars, HadaWeights(), alpha=0.0, head=head)
    assert found["matching"].item() == pytest.approx(total / 9)
    by_caption, by_picture = given_scores
    tau = scalars.tau.detach()
    torch.testing.assert_close(by_caption, online.text @ teacher.image.T / tau)
    torch.testing.assert_close(by_picture, online.image @ teacher.text.T / tau)
    assert not by_caption.requires_grad


@pytest.mark.parametrize("useless, bound", [("hada", 0.9), ("own", 0.1)])
def test_the_learned_share_goes_to_the_bound_on_the_side_of_the_useful_model(useless, bound):
    """Two toy models, of which one says the same of a picture and its caption, and the other anything."""
    generator = torch.Generator().manual_seed(0)
    queue = EmbeddingQueue(64, 8, 8).double()
    scalars = Scalars(0.2, w=0.5).double()
    optimiser = torch.optim.AdamW(scalars.parameters(), lr=0.02)
    seen = []
    for step in range(60):
        scalars.hold()
        ids = torch.arange(16) + 16 * step
        same = BothSides(*[unit_rows(16, 8, generator)] * 2)
        noise = sides(16, 8, generator)
        hada, own = (noise, same) if useless == "hada" else (same, noise)
        losses = hada_losses(
            hada, hada, ids, queue.rows(), scalars, HadaWeights(0.3, 0.7, matching=0), alpha=0, own=own
        )
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        queue.push(hada, ids, own)
        seen.append(float(scalars.w.detach()))
    scalars.hold()
    assert float(scalars.w.detach()) == pytest.approx(bound, abs=1e-6)
    assert abs(seen[0] - 0.5) > 0.01 and (seen[0] > 0.5) == (bound > 0.5)


def test_scalars_are_held_within_bounds_in_place_and_survive_a_resume():
    scalars = Scalars(0.07, (0.01, 0.5), w=0.5)
    optimiser = torch.optim.AdamW(scalars.parameters(), lr=0.1)
    saved = {name: of * 0 + 0.3 for name, of in scalars.state_dict().items()}
    scalars.load_state_dict(saved)
    for of in scalars.parameters():
        of.grad = torch.ones(())
    optimiser.step()
    assert scalars.tau.item() == pytest.approx(0.2, abs=0.01)  # still the optimiser's
    for value, tau, w in ((-3.0, 0.01, 0.1), (3.0, 0.5, 0.9), (0.4, 0.4, 0.4)):
        for of in scalars.parameters():
            of.data.fill_(value)
        scalars.hold()
        assert (scalars.tau.item(), scalars.w.item()) == pytest.approx((tau, w))
    assert optimiser.param_groups[0]["params"][0] is scalars.tau
    for wrong in ({"tau": 0.6}, {"w": 0.95}, {"tau": 0.005}):
        with pytest.raises(LgcaError, match=next(iter(wrong))):
            Scalars(**wrong)
    assert Scalars(0.005, (0.001, 0.5)).w is None


@pytest.mark.parametrize(
    "wrong, says", [({"image": -1.0}, "image"), ({"distil": 1.5}, "distil"), ({"constant": "out"}, "constant")]
)
def test_a_weight_out_of_its_range_is_refused(wrong, says):
    with pytest.raises(LgcaError, match=says):
        HadaWeights(**wrong)
