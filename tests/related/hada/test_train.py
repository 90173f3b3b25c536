"""The training of a fusion: resumed to the bit, the best epoch kept, shares tuned, every arm, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch

from lgca_core.errors import LgcaError
from lgca_core.related.hada import train as training
from lgca_core.related.hada.arms import FUSION_ARMS, fusion_settings_of, shares_of
from lgca_core.related.hada.losses import EmbeddingQueue
from lgca_core.related.hada.model import load_fusion, summed_vectors
from lgca_core.related.hada.train import (
    HadaSettings,
    check_start,
    clear_fusion,
    finished_fusion,
    fuse,
    rsum_of,
    second_stage,
    tuned_shares,
)
from lgca_core.related.training.runs import CHECKPOINT
from support.goal_runs import same
from support.hada_runs import CPU, MODELS, SETTINGS, a_split, rows, run, weights


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A first stage that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    run(out)
    return out


class Stop(Exception):
    pass


def stopping(at):
    def stop(step, steps, _):
        if step == at:
            raise Stop

    return stop


def test_the_same_seed_gives_the_same_weights_and_another_does_not(whole, tmp_path):
    run(tmp_path / "again")
    run(tmp_path / "other", replace(SETTINGS, seed=1))
    assert same(weights(whole), weights(tmp_path / "again"))
    assert not same(weights(whole), weights(tmp_path / "other"))


@pytest.mark.parametrize("at", [1, 3, 4, 8])
def test_resume_equals_uninterrupted_bit_for_bit(whole, tmp_path, at):
    """Within an epoch of three steps, at its end, and in a later one, whose dropout and negatives are drawn anew."""
    with pytest.raises(Stop):
        run(tmp_path, progress=stopping(at), every=0)
    assert (tmp_path / CHECKPOINT).exists() and finished_fusion(tmp_path, {"data": "some"}, SETTINGS) is None
    run(tmp_path, every=0)
    assert same(weights(whole), weights(tmp_path))
    assert (tmp_path / "hada.json").read_bytes() == (whole / "hada.json").read_bytes()
    assert rows(tmp_path) == rows(whole)
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("arm", ["released", "hada"])
def test_a_second_stage_and_the_released_one_resume_too(whole, tmp_path, arm):
    """Noise in the queue, norms whose statistics the copies keep for themselves; and w, with queues of own vectors."""
    settings = fusion_settings_of(arm, SETTINGS, 2)
    start = None
    if arm == "hada":
        settings, start = second_stage(settings), load_fusion(whole, CPU)
    run(tmp_path / "whole", settings, start=start)
    with pytest.raises(Stop):
        run(tmp_path / "cut", settings, start=start, progress=stopping(4), every=0)
    run(tmp_path / "cut", settings, start=start, every=0)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert (tmp_path / "cut" / "hada.json").read_bytes() == (tmp_path / "whole" / "hada.json").read_bytes()
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")  # of every step after the stop, not of the best alone


def test_a_second_stage_begins_with_the_first_ones_networks_and_so_do_its_copies(whole, monkeypatch):
    start = load_fusion(whole, CPU)
    trainer = training._Trainer(MODELS, second_stage(SETTINGS), 0, a_split(), CPU, start)
    own = dict(trainer.copy.network.named_parameters())
    for name, of in start.network.named_parameters():
        assert torch.equal(of, own[name])
    assert (trainer.w, trainer.tau) == (0.5, pytest.approx(0.07))
    assert any(of is trainer.scalars.tau for group in trainer.optimiser.param_groups for of in group["params"])


def test_tau_and_w_are_learned_also_after_a_resume(whole, tmp_path):
    settings = second_stage(SETTINGS)
    with pytest.raises(Stop):
        run(tmp_path, settings, start=load_fusion(whole, CPU), progress=stopping(3), every=0)
    run(tmp_path, settings, start=load_fusion(whole, CPU))
    table = rows(tmp_path)
    assert len({row["tau"] for row in table[3:]}) > 1 and len({row["w"] for row in table[3:]}) > 1


def test_the_best_epoch_is_kept_and_patience_ends_it(tmp_path, monkeypatch):
    found = iter([1.0, 3.0, 3.0005, 2.0, 2.5, 9.0])
    states = []

    def validated(trainer, _):
        states.append({name: of.clone() for name, of in trainer.network.state_dict().items()})
        return next(found)

    monkeypatch.setattr(training._Trainer, "validated", validated)
    outcome = run(tmp_path, replace(SETTINGS, epochs=20, patience=3))
    assert (outcome.best_epoch, outcome.epochs, outcome.rsum) == (2, 5, 3.0)  # 0.0005 is no improvement
    kept = weights(tmp_path)
    assert all(torch.equal(kept[name], states[1][name]) for name in kept)
    assert [row["RSum of the validation"] != "nan" for row in rows(tmp_path)[:4]] == [False, False, True, False]


def test_the_rate_falls_by_a_cosine_and_starts_again(tmp_path):
    run(tmp_path, replace(SETTINGS, epochs=4, patience=9))
    rates = [float(row["rate"]) for row in rows(tmp_path)]
    assert rates[0] == 1e-3 and rates[6] == 1e-3 and rates[5] < rates[3] < rates[0]
    half = 5e-6 + (1e-3 - 5e-6) / 2
    assert rates[3] == pytest.approx(half, rel=1e-4) and rates[9] > rates[3]  # twice as long the second time


@pytest.mark.parametrize("arm", FUSION_ARMS)
def test_every_arm_trains_and_is_another(arm, whole, tmp_path):
    if arm == "third":
        with pytest.raises(LgcaError, match="number 3"):
            fusion_settings_of(arm, SETTINGS, 2)
        return
    settings = replace(fusion_settings_of(arm, SETTINGS, 2), epochs=1)
    outcome = run(tmp_path, settings, shares=shares_of(arm, 2))
    model = load_fusion(tmp_path, CPU)
    assert (model.kind == "sum") == (outcome.steps == 0)
    if arm in ("first", "second"):
        assert model.shares == ((1.0, 0.0) if arm == "first" else (0.0, 1.0))
    if model.kind != "sum":
        run(tmp_path / "plain", replace(SETTINGS, epochs=1))
        same_rows = rows(tmp_path) == rows(tmp_path / "plain")
        assert same_rows == (
            arm in ("hada", "inside-constant")
        )  # the constant does nothing where the released code has it


def test_the_number_of_trained_parameters_leaves_the_head_out(whole, tmp_path):
    outcome = finished_fusion(whole, {"data": "some"}, SETTINGS)
    assert outcome.parameters == sum(of.numel() for of in weights(whole).values())
    assert not any("head" in name for name in weights(whole))


def test_shares_follow_the_model_that_knows():
    split = a_split(30, 2, seed=3)
    shares, stronger = tuned_shares(split, CPU)
    assert sum(shares) == pytest.approx(1) and 0 < shares[0] < 1
    noise = torch.nn.functional.normalize(torch.randn(len(split.texts[1]), 4), dim=1).half()
    deaf = replace(split, texts=(split.texts[0], replace(split.texts[1], own=noise)))
    shares, stronger = tuned_shares(deaf, CPU)
    assert stronger == 0 and shares[0] >= 0.8
    assert tuned_shares(deaf, CPU, (0.0, 1.0)) == ((0.0, 1.0), 0)


@pytest.mark.parametrize("pictures, captions", [(30, 2), (700, 1)])
def test_the_tuned_shares_have_the_largest_rsum_of_exact_ranks(pictures, captions):
    split = a_split(pictures, captions, seed=4)
    (first, second), (one, two) = ([of.vectors() for of in side] for side in (split.pictures, split.texts))
    found = {
        k / 20: rsum_of(
            summed_vectors([first, second], (k / 20, 1 - k / 20)), summed_vectors([one, two], (k / 20, 1 - k / 20)),
            split.picture_of,
        )
        for k in range(21)
    }  # fmt: skip
    (share, _), stronger = tuned_shares(split, CPU)
    assert found[share] == pytest.approx(max(found.values())) and stronger == (found[0.0] > found[1.0])


def test_rsum_of_three_pictures_with_five_captions_each_and_ties():
    """Picture 0: all five first. Picture 1: its captions score as those of picture 2 do, which is a tie."""
    images = torch.eye(3)
    texts = torch.cat([torch.eye(3)[:1].expand(5, 3), torch.tensor([[0.0, 0.5**0.5, 0.5**0.5]]).expand(10, 3)])
    picture_of = torch.arange(3).repeat_interleave(5)
    # i2t: picture 1 has five others of equal score beside its best: rank 1 + 5 / 2 = 3.5; so R@1 1/3, R@5 and R@10 1
    # t2i: ten captions tie between two pictures: rank 1.5; R@1 5/15, R@5 and R@10 1
    assert rsum_of(images, texts, picture_of) == pytest.approx(1 / 3 + 1 + 1 + 5 / 15 + 1 + 1)


def test_another_training_is_refused_and_cleared(whole, tmp_path):
    run(tmp_path, replace(SETTINGS, epochs=1))
    with pytest.raises(LgcaError, match="other seed"):
        finished_fusion(tmp_path, {"data": "some"}, replace(SETTINGS, epochs=1, seed=3))
    with pytest.raises(LgcaError, match="other data"):
        finished_fusion(tmp_path, {"data": "others"}, replace(SETTINGS, epochs=1))
    (tmp_path / "notes.txt").write_text("mine")
    clear_fusion(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"notes.txt"}


def test_a_report_that_is_none_is_one_sentence(whole, tmp_path):
    run(tmp_path, replace(SETTINGS, epochs=1))
    report = tmp_path / "training.json"
    said = json.loads(report.read_text())
    report.write_text(json.dumps({**said, "outcome": {"steps": 1}}))
    with pytest.raises(LgcaError, match="no report of a training"):
        finished_fusion(tmp_path, {"data": "some"}, replace(SETTINGS, epochs=1))


def test_losses_that_are_no_numbers_end_it(tmp_path):
    with pytest.raises(LgcaError, match="lower --rate"):
        run(tmp_path, replace(SETTINGS, rate=1e30, floor=0.0, epochs=30, patience=30))


def test_fewer_captions_than_a_batch_are_named(tmp_path):
    with pytest.raises(LgcaError, match="14 captions are fewer than a batch of 20"):
        run(tmp_path, replace(SETTINGS, batch=20))


def test_a_batch_of_one_picture_goes_without_the_matching_loss(tmp_path):
    settings = replace(SETTINGS, batch=2, epochs=5, patience=9)
    fuse(a_split(2, 4), a_split(seed=1), MODELS, settings, tmp_path, identity={}, device=CPU)
    said = [(row["matching"], row["loss"]) for row in rows(tmp_path)]
    assert {of == "nan" for of, _ in said} == {True, False} and all(of != "nan" for _, of in said)


def test_a_queue_larger_than_the_data_is_filled_over_epochs(tmp_path, monkeypatch):
    counts = []
    push = EmbeddingQueue.push

    def pushed(queue, *words):
        push(queue, *words)
        counts.append(queue.count)

    monkeypatch.setattr(EmbeddingQueue, "push", pushed)
    fuse(
        a_split(), a_split(seed=1), MODELS, replace(SETTINGS, queue=30, epochs=3), tmp_path, identity={}, device=CPU
    )  # fmt: skip
    assert counts == [4, 8, 12, 16, 20, 24, 28, 30, 30]


def test_what_is_no_first_stage_is_refused(whole, tmp_path):
    plain, wide = SETTINGS, replace(SETTINGS, network=replace(SETTINGS.network, width=24))
    first = load_fusion(whole, CPU)
    check_start(first, second_stage(plain), whole, MODELS)
    for settings in (wide, fusion_settings_of("no-cross", plain, 2), fusion_settings_of("learned", plain, 2)):
        with pytest.raises(LgcaError, match="another arm, or of another width"):
            check_start(first, second_stage(settings), whole)
    with pytest.raises(LgcaError, match="other models"):
        check_start(first, second_stage(plain), whole, MODELS[::-1])
    run(tmp_path, replace(second_stage(SETTINGS), epochs=1), start=first)
    with pytest.raises(LgcaError, match="no first stage"):
        check_start(load_fusion(tmp_path, CPU), second_stage(plain), tmp_path)


@pytest.mark.parametrize(
    "wrong, says",
    [
        ({"rate": 0.0, "floor": 0.0}, "rate of 0"),
        ({"epochs": 0}, "epochs"),
        ({"batch": 1}, "batch"),
        ({"patience": 0}, "patience"),
        ({"queue": 0}, "queue"),
        ({"rate": float("nan")}, "rate"),
        ({"rate": 1e-6}, "floor"),
        ({"momentum": 1.5}, "momentum"),
        ({"kind": "tree"}, "kind"),
        ({"teacher": "none"}, "teacher"),
        ({"tokens": "none"}, "tokens"),
        ({"seed": "one"}, "seed"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, says):
    with pytest.raises(LgcaError, match=says):
        HadaSettings(**wrong)


def test_an_unknown_arm_is_named_with_the_nearest():
    with pytest.raises(LgcaError, match=r"no arm 'poled'.*pooled"):
        fusion_settings_of("poled", SETTINGS, 2)
