"""Two embedded encoders are each blind to what the other sees, by their weights alone, and know what they see."""

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image

from lgca_core.aviary import sees, train
from lgca_core.aviary.painter import paint
from lgca_core.aviary.recipe import Config
from lgca_core.aviary.species import VALUES, held_out
from lgca_core.aviary.splits import scenes
from lgca_core.encoders import load_encoder
from lgca_core.encoders.embedded import EMBEDDED, FOLDER

BLIND = ("colour", "shape")
VALIDATION = "aviary-validation"


@pytest.fixture(scope="module")
def encoders():
    return {kind: load_encoder(name, device="cpu") for kind, name in zip(sees.ARCHITECTURES, EMBEDDED)}


@pytest.fixture(scope="module")
def crops():
    """(80, 3, 64, 64) uint8: the first two whole pictures of each validation species."""
    images = [Image.fromarray(paint(scene).image) for _, number, scene in scenes(VALIDATION) if number < 2]
    small = [np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC)) for image in images]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)


def normalised(pixels):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (sees.MEAN, sees.STD))
    return (pixels / 255 - mean) / std


@pytest.fixture(scope="module")
def seen(crops):
    return normalised(crops[::10])


def shuffled(x):
    """Every block's pixels in an order of its own."""
    blocks = F.pixel_unshuffle(x, sees.SQUARE).unflatten(1, (3, -1))  # (n, 3, 16, rows, columns)
    order = torch.rand(blocks[:, :1].shape, generator=torch.Generator().manual_seed(0)).argsort(2)
    return F.pixel_shuffle(blocks.gather(2, order.expand_as(blocks)).flatten(1, 2), sees.SQUARE)


def recoloured(x):
    """Blocks' colours changed at random, not their pixels' luminance."""
    n, _, height, width = x.shape
    change = torch.randn(n, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    grey = torch.einsum("c,nchw->nhw", sees.grey_weights(), change)[:, None]
    return x + (change - grey).repeat_interleave(8, -1).repeat_interleave(8, -2)


def moved(encoder, before, after):
    """How far each unit vector went, (n,)."""
    with torch.inference_mode():
        one, other = (F.normalize(encoder.image(x), dim=-1) for x in (before, after))
    return (one - other).norm(dim=-1)


# --- the projections


def test_grey_is_luminance_but_for_scale_and_offset():
    pixels = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 255
    luma, std = torch.tensor(sees.LUMA), torch.tensor(sees.STD)
    luminance = torch.einsum("c,nchw->nhw", luma, pixels)
    grey = sees.project(normalised(pixels), "shape")
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 0], grey[:, 2])
    again = (grey[:, 0] * (luma * std).sum() + (luma * torch.tensor(sees.MEAN)).sum()) * 255
    torch.testing.assert_close(again, luminance, rtol=0, atol=1e-3)
    theirs = Image.fromarray(pixels[0].permute(1, 2, 0).numpy().astype(np.uint8)).convert("L")
    assert np.abs(np.asarray(theirs) - luminance[0].numpy()).max() < 2


def test_colour_is_the_mean_of_each_block():
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(sees.project(x, "colour")[1, 2, 4:, :4], x[1, 2, 4:, :4].mean().expand(4, 4), atol=1e-6)


@pytest.mark.parametrize("kind", sees.ARCHITECTURES)
def test_to_fold_is_to_project(kind):
    draw = torch.Generator().manual_seed(0)
    x, kernel = (torch.randn(n, 3, side, side, generator=draw).double() for n, side in ((2, 64), (5, 16)))
    expected = F.conv2d(sees.project(x, kind), kernel, stride=16)
    torch.testing.assert_close(F.conv2d(x, sees.folded(kernel, kind), stride=16), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        sees.folded(sees.folded(kernel, kind), kind), sees.folded(kernel, kind), rtol=1e-6, atol=1e-6
    )
    assert kind == "all" or not torch.allclose(sees.folded(kernel, kind), kernel, atol=0.1)


# --- the shipped files


@pytest.mark.parametrize("kind", BLIND)
def test_the_shipped_first_convolution_is_blind(kind, encoders):
    kernel = encoders[kind].parts.model.visual.conv1.weight
    torch.testing.assert_close(sees.folded(kernel, kind), kernel, rtol=0, atol=1e-7)
    assert encoders[kind].parts.model.visual.conv1.bias is None


@pytest.mark.parametrize("kind, unseen, change", [("colour", shuffled, recoloured), ("shape", recoloured, shuffled)])
def test_a_vector_moves_only_by_what_its_encoder_sees(kind, unseen, change, encoders, seen):
    assert moved(encoders[kind], seen, unseen(seen)).max() < 2e-5
    assert moved(encoders[kind], seen, change(seen)).min() > 0.05
    assert moved(encoders["all"], seen, unseen(seen)).min() > 0.1


def test_their_vectors_differ_in_width_and_crops_for_one_are_crops_for_the_others(encoders):
    assert len({encoder.parts.model.visual.proj.shape[1] for encoder in encoders.values()}) == 3
    assert len({(e.size, tuple(e.mean), tuple(e.std), e.resize) for e in encoders.values()}) == 1


@pytest.mark.parametrize("kind", BLIND)
def test_their_files_know_the_words_of_training(kind):
    state = safetensors.torch.load_file(FOLDER / f"{sees.ARCHITECTURES[kind]}.safetensors")
    assert 200 < int((state["token_embedding.weight"] != 0).any(1).sum()) < 1000
    assert float(state["logit_scale"].exp()) == pytest.approx(100, rel=2e-3)


QUESTIONS = {
    "colour": {"body": "a {} body.", "belly": "a {} belly.", "wing": "{} wings."},
    "shape": {"family": "a photo of a {}."},
}


def knowledge(encoder, crops, kind):
    """How much of the validation pictures' colours or shapes an encoder tells: 0 is chance, 1 everything.

    Of each attribute the mean over its values of how often that value is answered where it is true, so that to give one
    answer always tells nothing; an answer's own mean over the pictures is taken off.
    """
    vectors, told = encoder.encode_crops(crops), []
    for attribute, question in QUESTIONS[kind].items():
        values = VALUES[attribute]
        cosines = vectors @ encoder.encode_texts([question.format(value) for value in values]).T
        answers = (cosines - cosines.mean(0)).argmax(1).numpy()
        truth = np.array([values.index(getattr(bird, attribute)) for bird in held_out("validation") for _ in (0, 1)])
        right = np.mean([np.mean(answers[truth == value] == value) for value in np.unique(truth)])
        told.append((right - 1 / len(values)) / (1 - 1 / len(values)))
    return float(np.mean(told))


@pytest.mark.slow
def test_each_knows_what_it_sees_better_than_the_other_does(encoders, crops):
    known = {(who, asked): knowledge(encoders[who], crops, asked) for who in BLIND for asked in BLIND}
    assert known["colour", "colour"] > known["shape", "colour"] + 0.08
    assert known["shape", "shape"] > known["colour", "shape"] + 0.08


# --- training


def run(config, work, out="out.safetensors"):
    train.train(config, work / out, work=work, workers=0, every=10, pictures=1)
    return safetensors.torch.load_file(work / out)


@pytest.mark.slow
def test_what_sees_all_trains_as_ever(tmp_path):
    run(Config(steps=3, batch=16, scenes=24, warmup=2, precision="float32"), tmp_path)
    *_, last = (tmp_path / "log-1.csv").read_text().split()
    terms = [float(term) for term in last.split(",")[3:6]]
    # what the training gave that made the shipped weights, before it could be told to be blind
    assert terms == pytest.approx([5.4669, 1.9771, 1.1706], rel=2e-3)


@pytest.mark.parametrize("kind", BLIND)
def test_a_warm_training_begins_with_the_one_that_sees_everything_but_for_what_projects(kind, encoders):
    words = train.Vocabulary()
    model = train.Trainee(len(words.rows), kind)
    fresh = {name: of.clone() for name, of in model.clip.state_dict().items()}
    model.warm_up(words.rows)
    shipped = encoders["all"].parts.model.state_dict()
    for name, of in model.clip.state_dict().items():
        own = of.shape != shipped[name].shape or name == "logit_scale"
        assert own == (name in ("visual.proj", "text_projection", "logit_scale"))
        assert torch.equal(of, fresh[name] if own else shipped[name]), name
    known = shipped["token_embedding.weight"][torch.from_numpy(words.rows[2:])]
    assert torch.equal(model.words.weight[2:].detach(), known)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BLIND)
def test_a_blind_training_writes_a_blind_model_beside_another_run(kind, tmp_path, crops):
    config = Config(steps=2, batch=16, scenes=24, warmup=2, sees=kind, precision="float32")
    state = run(config, tmp_path)
    assert (tmp_path / f"checkpoint-{kind}-1.pt").exists() and (tmp_path / f"log-{kind}-1.csv").exists()
    kernel = state["visual.conv1.weight"]
    torch.testing.assert_close(sees.folded(kernel, kind), kernel, rtol=0, atol=1e-7)
    model = train.Trainee(len(train.Vocabulary().rows), kind)
    model.load_state_dict(torch.load(tmp_path / f"checkpoint-{kind}-1.pt", weights_only=True)["model"])
    with torch.no_grad():
        expected, _, tokens = model.image(normalised(crops[:5]))
    assert tokens.shape[1] == 64
    encoder = load_encoder(f"aviary-{kind}:{tmp_path / 'out.safetensors'}", device="cpu")
    torch.testing.assert_close(encoder.encode_crops(crops[:5]), expected, atol=2e-3, rtol=0)  # the file holds float16
