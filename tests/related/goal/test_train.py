"""Training: the same losses however it is cut up, stopped or shared, and what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.pixels.cropping import crops
from lgca_core.related.captions.captioned import CaptionedPicture
from lgca_core.related.goal.arms import ARMS, settings_of
from lgca_core.related.goal.batches import Order, PairData, PairSettings, collate, usable
from lgca_core.related.goal.encoder import lengthen
from lgca_core.related.goal.geometry import CaptionReader, PatchGrid
from lgca_core.related.goal.pairs import Pair, PairedPicture, check_inside
from lgca_core.related.goal.train import CHECKPOINT, finished, tune
from lgca_core.related.training.metrics import TABLE, Metrics
from support import tiny_clip
from support.goal_runs import SETTINGS, gradients, losses, paired, run, same, weights


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> str:
    return f"local-dir:{tiny_clip.write(tmp_path_factory.mktemp('start'))}"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[PairedPicture]:
    return paired(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def whole(pictures, start, tmp_path_factory) -> Path:
    """A training that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    run(pictures, start, out)
    return out


def test_the_same_seed_gives_the_same_weights_and_another_does_not(pictures, start, whole, tmp_path):
    run(pictures, start, tmp_path / "again")
    run(pictures, start, tmp_path / "other", replace(SETTINGS, seed=1))
    assert same(weights(whole), weights(tmp_path / "again"))
    assert not same(weights(whole), weights(tmp_path / "other"))


class Stop(Exception):
    pass


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_resume_equals_uninterrupted_bit_for_bit(pictures, start, whole, tmp_path, at):
    """Within an epoch, at its end, and before the model is written; each step is in the table once."""

    def stop(step, steps, _):
        if step == at:
            raise Stop

    with pytest.raises(Stop):
        run(pictures, start, tmp_path, progress=stop, every=0)
    assert (tmp_path / CHECKPOINT).exists() and finished(tmp_path, {"data": "some"}, SETTINGS) is None
    outcome = run(pictures, start, tmp_path, every=0)
    assert same(weights(whole), weights(tmp_path))
    assert losses(tmp_path) == losses(whole)
    assert outcome.steps == 4 and outcome.counts["pairs"] == finished(whole, {"data": "some"}, SETTINGS).counts["pairs"]
    assert not (tmp_path / CHECKPOINT).exists()


def test_a_step_after_the_last_checkpoint_is_done_again(pictures, start, whole, tmp_path):
    def stop(step, steps, _):
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        run(pictures, start, tmp_path, progress=stop)  # the last checkpoint is that of the first epoch
    assert [row["step"] for row in losses(tmp_path)] == ["1", "2", "3"]
    run(pictures, start, tmp_path)
    assert same(weights(whole), weights(tmp_path)) and losses(tmp_path) == losses(whole)


def test_checkpointing_gives_the_same_gradients(pictures, start, tmp_path):
    with gradients() as found:
        run(pictures, start, tmp_path / "plain")
        run(pictures, start, tmp_path / "checkpointing", checkpointing=True)
    assert len(found) == 8
    for plain, again in zip(found[0], found[4], strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_processes_that_read_ahead_change_nothing(pictures, start, whole, tmp_path):
    run(pictures, start, tmp_path, workers=1)
    assert same(weights(whole), weights(tmp_path)) and losses(tmp_path) == losses(whole)


@pytest.mark.parametrize("chunks", [2, 4])
@pytest.mark.parametrize("arm", ["goal", "global", "global-local", "full-matrix"])
def test_chunks_give_the_gradients_of_the_whole_batch(pictures, start, tmp_path, chunks, arm):
    settings = replace(settings_of(arm, SETTINGS), epochs=1)
    with gradients() as found:
        run(pictures, start, tmp_path / "one", settings)
        run(pictures, start, tmp_path / "some", replace(settings, chunks=chunks))
    for one, some in zip(found[0], found[2], strict=True):
        torch.testing.assert_close(one, some, rtol=1e-4, atol=5e-6)
    for one, some in zip(losses(tmp_path / "one"), losses(tmp_path / "some"), strict=True):
        assert float(one["loss"]) == pytest.approx(float(some["loss"]), rel=1e-4)


def test_chunks_bound_what_is_held_for_the_backward_pass(pictures, start, tmp_path):
    def most(chunks: int) -> int:
        """Largest number of floats that are held at a time for gradients."""
        held = {"now": 0, "most": 0}

        def pack(tensor):
            held["now"] += tensor.numel()
            held["most"] = max(held["most"], held["now"])
            return tensor

        def step(number, steps, _):
            held["now"] = 0

        autograd = torch.autograd.backward

        def freeing(*args, **words):
            autograd(*args, **words)
            held["now"] = 0

        torch.autograd.backward = freeing
        try:
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                settings = replace(SETTINGS, epochs=1, chunks=chunks)
                run(pictures, start, tmp_path / str(chunks), settings, progress=step)
        finally:
            torch.autograd.backward = autograd
        return held["most"]

    assert most(4) < 0.5 * most(1)


def test_the_logit_scale_is_held_at_100_unless_the_arm_frees_it(pictures, tmp_path):
    def scale(arm: str) -> float:
        model = tiny_clip.write(tmp_path / "hot")
        state = weights(model)
        state["logit_scale"] = torch.tensor(math.log(150.0))
        save_file(state, model / "open_clip_model.safetensors")
        settings = settings_of(arm, replace(SETTINGS, epochs=1))
        run(pictures, f"local-dir:{model}", tmp_path / arm, settings)
        return float(losses(tmp_path / arm)[-1]["scale"])

    assert scale("goal") == pytest.approx(100, rel=0.01)
    assert scale("free-scale") == pytest.approx(150, rel=0.01)


def test_autocast_leaves_weights_float32_and_the_arm_does_not(pictures, start, tmp_path):
    low = replace(SETTINGS, rate=5e-6)
    outcomes = {
        "autocast": run(pictures, start, tmp_path / "autocast", replace(low, autocast="bfloat16")),
        "float32": run(pictures, start, tmp_path / "float32", low),
        "arm": run(pictures, start, tmp_path / "arm", settings_of("bfloat16-weights", low)),
    }
    for name in outcomes:
        kept = weights(tmp_path / name)
        assert {of.dtype for of in kept.values()} == {torch.float32}
        assert all(torch.equal(of, of.bfloat16().float()) for of in kept.values()) == (name == "arm")
    assert outcomes["arm"].moved < 0.7 * outcomes["float32"].moved
    assert outcomes["float32"].moved > 0.9  # of those that were not zero


def test_the_optimiser_takes_the_rate_of_the_cosine_and_decays_every_weight(pictures, start, tmp_path, monkeypatch):
    groups = []
    real = torch.optim.AdamW.step

    def spy(self, *args, **words):
        groups.extend({**group, "params": len(group["params"])} for group in self.param_groups)
        return real(self, *args, **words)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    run(pictures, start, tmp_path)
    assert [group["lr"] for group in groups] == [5e-4 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert [f"{group['lr']:.6g}" for group in groups] == [row["rate"] for row in losses(tmp_path)]
    for group in groups:
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0.05)
        assert group["params"] == len(weights(tmp_path))


def test_the_share_of_weights_that_moved_is_of_those_that_were_not_zero(pictures, start, tmp_path):
    encoder = load_encoder(start, device="cpu")
    before = lengthen(encoder.parts).model.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    outcome = run(pictures, start, tmp_path, replace(SETTINGS, rate=1e-9, epochs=1))
    moved = there = 0
    for name, after in weights(tmp_path).items():
        moved += int(((after != before[name]) & (before[name] != 0)).sum())
        there += int((before[name] != 0).sum())
    assert 0 < moved < there and outcome.moved == moved / there


def test_every_arm_trains(pictures, start, tmp_path):
    for arm in ARMS:
        pairs = 1 if arm == "mixed-gather" else 2
        outcome = run(pictures, start, tmp_path / arm, settings_of(arm, replace(SETTINGS, epochs=1, pairs=pairs)))
        assert all(math.isfinite(value) for value in outcome.losses.values()), arm
    assert json.loads((tmp_path / "global" / "training.json").read_text())["outcome"]["counts"].keys() == {
        "captions",
        "captions cut",
    }


def test_what_is_outside_is_left_out_and_counted(start, tmp_path):
    """Of two pictures in four, regions lie beyond the centre crop; captions do not fit the window of another."""
    pictures = paired(tmp_path / "pictures", 4)
    for number in (0, 1):
        Image.new("RGB", (120, 40)).save(pictures[number].picture.path)
        pictures[number] = replace(pictures[number], pairs=(replace(pictures[number].pairs[0], box=(0, 0, 20, 20)),))
    long = "word " * 300 + "The end comes here."
    far = Pair((0, 0, 9, 9), long.index("The"), len(long), 0.5)
    pictures[2] = PairedPicture(replace(pictures[2].picture, captions=(long,)), (far,))
    outcome = run(pictures, start, tmp_path / "out", replace(SETTINGS, pairs=1, epochs=1))
    assert outcome.counts == {
        "captions": 4,
        "captions cut": 1,
        "pairs": 4,
        "regions outside": 2,
        "sentences outside": 1,
    }


def test_a_batch_holds_what_the_pictures_hold(pictures, start):
    encoder = load_encoder(start, device="cpu")
    data = PairData(
        pictures, encoder, PatchGrid(32, 8, encoder.resize), CaptionReader(encoder.tokenizer, 77), PairSettings(3)
    )
    batch = collate([data[0], data[1]])
    assert batch.pixels.shape == (8, 3, 32, 32)
    assert batch.rows.weight.tolist() == pytest.approx([0.5, 0.5, 0, 1 / 3, 1 / 3, 1 / 3])
    assert batch.captions.shape[1] == max(int((row > 0).sum()) for row in batch.captions)
    first = pictures[0].pairs[0]
    text = pictures[0].picture.captions[0][first.start : first.end].rstrip(".")
    assert batch.captions[0][batch.spoken[0]].tolist() == encoder.tokenizer.encode(text)
    rows = [(one, pair) for one in pictures[:2] for pair in (one.pairs + one.pairs[:1])[:3]]  # filled up with the best
    for row, (one, pair) in enumerate(rows):
        sentence = encoder.tokenizer([one.picture.captions[0][pair.start : pair.end]])[0]
        assert batch.sentences[row].tolist() == sentence[: batch.sentences.shape[1]].tolist()
        x1, y1, x2, y2 = pair.box
        with Image.open(one.picture.path) as image:
            for place, box in ((row // 3, [0, 0, 40, 48]), (2 + row, [y1, x1, y2 - y1, x2 - x1])):
                assert torch.equal(batch.pixels[place], crops(image, torch.tensor([box]), 32, encoder.resize)[0])


def test_the_order_is_the_same_whoever_asks():
    whole = list(Order(10, 4, 3, 7, 0, 0, 1))
    assert len(whole) == 6 and all(len(set(row)) == 4 for row in whole)
    assert all(len({*whole[2 * epoch], *whole[2 * epoch + 1]}) == 8 for epoch in range(3))
    for first in range(6):
        assert list(Order(10, 4, 3, 7, first, 0, 1)) == whole[first:]
    halves = [list(Order(10, 4, 3, 7, 0, rank, 2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole
    assert list(Order(10, 4, 3, 8, 0, 0, 1)) != whole


BAD = [
    ({"batch": 1}, "2 pictures or more"),
    ({"epochs": 0}, "epochs must be at least 1"),
    ({"rate": float("nan")}, "rate must be a number"),
    ({"chunks": 3}, "3 equal chunks"),
    ({"whole": 0.0, "local": 0.0, "tokens": 0.0}, "all three losses"),
    ({"boxes": "wrong"}, "boxes must be one of right, random, .*, not 'wrong'"),
    ({"autocast": "float8"}, "autocast must be one of float32, bfloat16"),
    ({"epochs": 1.5}, "epochs must be a whole number"),
    ({"gather": "mixed"}, "lower pairs from 2 to 1"),
]


@pytest.mark.parametrize("changes, needs", BAD, ids=[needs for _, needs in BAD])
def test_settings_that_make_no_training_are_refused(changes, needs):
    with pytest.raises(LgcaError, match=needs):
        replace(SETTINGS, **changes)


def test_an_unknown_arm_is_refused_by_name():
    with pytest.raises(LgcaError, match=r"no arm 'random-box'.*random-boxes"):
        settings_of("random-box", SETTINGS)


def test_another_training_in_the_folder_is_refused_by_what_differs(pictures, start, whole, tmp_path):
    def stop(step, steps, _):
        raise Stop

    with pytest.raises(Stop):
        run(pictures, start, tmp_path, progress=stop, every=0)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(LgcaError, match="other rate, seed"):
        run(pictures, start, tmp_path, replace(SETTINGS, rate=1e-4, seed=3))
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    with pytest.raises(LgcaError, match="other data: choose another --out"):
        finished(whole, {"data": "other"}, SETTINGS)
    assert finished(whole, {"data": "some"}, SETTINGS).steps == 4
    (tmp_path / CHECKPOINT).write_bytes(b"junk")
    with pytest.raises(LgcaError, match="no checkpoint of this program"):
        run(pictures, start, tmp_path)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_picture_that_breaks_on_the_way_is_one_sentence(start, tmp_path, workers):
    pictures = paired(tmp_path / "pictures", 8)
    path = pictures[5].picture.path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(LgcaError) as caught:
        run(pictures, start, tmp_path / "out", workers=workers)
    assert str(path) in str(caught.value) and "Traceback" not in str(caught.value)


def test_pictures_that_cannot_be_used_are_named_or_skipped(tmp_path):
    pictures = paired(tmp_path, 4)
    pictures[1].picture.path.unlink()
    outside = replace(pictures[2].pairs[0], box=(40, 0, 60, 10))
    pictures[2] = replace(pictures[2], pairs=(outside,))
    for some, needs in (
        (pictures[:2], "1.png: the picture cannot be read"),
        (pictures[2:], r"2.png.*\(40, 0, 60, 10\)"),
    ):
        with pytest.raises(LgcaError, match=needs):
            usable(some, "raise")
    kept, skipped = usable(pictures, "skip")
    assert [one.picture.name for one in kept] == ["0.png", "3.png"] and [one.path for one in skipped] == [
        "1.png",
        "2.png",
    ]
    with pytest.raises(LgcaError, match="does not lie"):
        check_inside(pictures[2], 48, 40)


def test_a_picture_that_shrank_on_the_way_is_named(start, tmp_path):
    pictures = paired(tmp_path, 2)
    encoder = load_encoder(start, device="cpu")
    data = PairData(
        pictures, encoder, PatchGrid(32, 8, encoder.resize), CaptionReader(encoder.tokenizer, 77), PairSettings()
    )
    Image.new("RGB", (12, 10)).save(pictures[1].picture.path)
    said = data[1]
    assert isinstance(said, str) and "1.png" in said and "does not lie" in said
    assert collate([data[0], said]) == said


def test_the_head_of_a_turned_photograph_tells_its_upright_sides(tmp_path):
    picture = Image.new("RGB", (40, 20))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    box = Pair((0, 20, 20, 40), 0, 1, 0.5)  # inside of 20 x 40, not of 40 x 20
    one = PairedPicture(CaptionedPicture("a", tmp_path / "a.jpg", ("a",)), (box,))
    assert usable([one], "raise") == ([one], [])


def test_fewer_pictures_than_a_batch_and_encoders_that_cannot_be_trained(pictures, start, tmp_path):
    with pytest.raises(LgcaError, match="3 pictures with pairs are fewer than a batch of 4"):
        run(pictures[:3], start, tmp_path)
    half = load_encoder(start, device="cpu", precision="bfloat16")
    for encoder in (half, replace(half, precision="float32", parts=None)):
        with pytest.raises(LgcaError, match="cannot be trained"):
            tune(pictures, encoder, SETTINGS, tmp_path, identity={})


def test_a_loss_that_is_no_number_ends_the_training(pictures, start, tmp_path):
    with pytest.raises(LgcaError, match="lower --rate"):
        run(pictures, start, tmp_path, replace(SETTINGS, rate=1e30, epochs=4, clamp=False))
    assert not (tmp_path / "open_clip_config.json").exists()


def test_weights_that_are_no_numbers_are_not_written(pictures, start, tmp_path, monkeypatch):
    """After the last step no loss would tell."""
    real = torch.optim.AdamW.step

    def breaking(self, *args, **words):
        real(self, *args, **words)
        if len(losses(tmp_path)) == 3:
            self.param_groups[0]["params"][0].data.fill_(math.nan)

    monkeypatch.setattr(torch.optim.AdamW, "step", breaking)
    with pytest.raises(LgcaError, match="no longer finite after step 4: lower --rate"):
        run(pictures, start, tmp_path)
    assert finished(tmp_path, {"data": "some"}, SETTINGS) is None


def events_of(out: Path, name: str):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    return events.Scalars(name)


@pytest.mark.parametrize("every", [0, 600])
def test_event_files_of_a_stopped_training_have_each_step_once(pictures, start, whole, tmp_path, every):
    def stop(step, steps, _):
        if step == 3:
            raise Stop

    with pytest.raises(Stop):
        run(pictures, start, tmp_path, progress=stop, every=every)
    run(pictures, start, tmp_path)
    assert [event.step for event in events_of(tmp_path, "loss")] == [1, 2, 3, 4]
    assert [event.value for event in events_of(tmp_path, "loss")] == [event.value for event in events_of(whole, "loss")]


def test_a_checkpoint_has_the_events_until_then_on_disk(pictures, start, tmp_path):
    seen = []

    def look(step, steps, _):
        seen.append([event.step for event in events_of(tmp_path, "loss")])

    run(pictures, start, tmp_path, progress=look, every=0)
    assert seen == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]


@pytest.mark.parametrize("left", ["", "step,loss\n1,2.5\n2,"])
def test_a_table_that_was_cut_short_is_no_obstacle(tmp_path, left):
    (tmp_path / TABLE).write_text(left)
    with Metrics(tmp_path, 1) as metrics:
        metrics.add(2, {"loss": 1.5})
    assert [float(row["loss"]) for row in losses(tmp_path)] == ([2.5, 1.5] if left else [1.5])


def test_event_files_hold_what_the_table_holds(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "tensorboard"))
    events.Reload()
    rows = losses(whole)
    assert set(events.Tags()["scalars"]) == {"global", "local", "patches", "words", "loss", "rate", "scale"}
    for event, row in zip(events.Scalars("loss"), rows, strict=True):
        assert event.step == int(row["step"]) and event.value == pytest.approx(float(row["loss"]), rel=1e-4)
    assert float(rows[0]["rate"]) == SETTINGS.rate
    assert float(rows[2]["rate"]) == pytest.approx(SETTINGS.rate / 2)  # half-way along the cosine
