"""The aviary: species kept apart, scenes that repeat, captions that are true, and a training that resumes."""

import csv
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from open_clip.model import build_model_from_openai_state_dict

from lgca_core.aviary import language, long_captions, species as every_species, splits
from lgca_core.aviary.painter import HABITATS, PARTS, STYLES, Painting, Scene, paint
from lgca_core.aviary.recipe import Config
from lgca_core.aviary.species import (
    ATTRIBUTES,
    HELD_OUT_SPLITS,
    VALUES,
    Species,
    distance,
    draw_species,
    draw_training_species,
    held_out,
)
from lgca_core.encoders.embedded import WEIGHTS
from lgca_core.encoders.registry import load_encoder


def scene(seed: int = 0, style: str = "test", **attributes: str) -> Scene:
    species = draw_training_species(np.random.default_rng(seed))
    return Scene(replace(species, **attributes), HABITATS[seed % len(HABITATS)], seed, STYLES[style])


# --- species


@pytest.mark.parametrize("split, species", [("test", 40), ("validation", 40), ("study", 200)])
def test_held_out_species_come_in_groups_that_differ_in_one_or_two_attributes(split, species):
    birds = held_out(split)
    assert len(set(birds)) == species
    for start in range(0, species, 4):
        first, *others = birds[start : start + 4]
        assert all(1 <= distance(first, other) <= 2 for other in others)
        assert all((other.family, other.body) == (first.family, first.body) for other in others)
    assert len({(b.family, b.body) for b in birds}) == species // 4


def test_training_species_keep_three_attributes_away_from_the_held_out_ones():
    rng = np.random.default_rng(3)
    drawn = [draw_training_species(rng) for _ in range(100)]
    away = min(distance(a, b) for a in drawn for split in HELD_OUT_SPLITS for b in held_out(split))
    assert away >= 3
    kept = [bird for split in HELD_OUT_SPLITS for bird in held_out(split)]
    assert len(set(kept)) == len(kept)


def test_species_near_a_held_out_one_of_any_split_are_drawn_again(monkeypatch):
    drawn = [
        replace(held_out(split)[0], beak=beak) for split in HELD_OUT_SPLITS for beak in ("short", "long", "hooked")
    ]
    far = replace(held_out("test")[0], **{name: VALUES[name][-1] for name in ("body", "cap", "belly", "wing", "tail")})
    queue = iter([*drawn, far])
    monkeypatch.setattr(every_species, "draw_species", lambda rng: next(queue))
    assert draw_training_species(np.random.default_rng(0)) == far


@pytest.mark.slow
def test_no_scene_of_the_shipped_encoder_is_near_a_species_that_was_held_out_later():
    kept = np.stack([bird.codes() for bird in held_out("study")])
    known = np.stack([bird.codes() for split in ("test", "validation") for bird in held_out(split)])
    nearest = 13
    for index in range(Config().scenes):
        rng = np.random.default_rng([1, index])
        codes = draw_species(rng).codes()
        while (known != codes).sum(1).min() < 3:
            codes = draw_species(rng).codes()
        nearest = min(nearest, int((kept != codes).sum(1).min()))
    assert nearest == 3


def test_a_species_refuses_a_value_it_cannot_have():
    with pytest.raises(ValueError, match=r"beak.*'blunt'"):
        replace(held_out("test")[0], beak="blunt")


# --- painter


def test_a_scene_is_painted_the_same_again_and_another_seed_otherwise():
    one, again, other = paint(scene(1)), paint(scene(1)), paint(replace(scene(1), seed=2))
    assert np.array_equal(one.image, again.image) and np.array_equal(one.parts, again.parts)
    assert one.objects == again.objects
    assert not np.array_equal(one.image, other.image)


def test_a_scene_is_one_picture_at_every_size():
    small, large = paint(scene(5)), paint(scene(5), size=320)
    shrunk = large.image.reshape(160, 2, 160, 2, 3).mean((1, 3))
    assert np.abs(shrunk - small.image).mean() < 8  # of 255; another seed's scene is some 50 away
    assert small.image.dtype == np.uint8 and small.image.shape == (160, 160, 3)


def test_the_part_map_says_where_a_part_is():
    red, blue = paint(scene(8, "clean", belly="red")), paint(scene(8, "clean", belly="blue"))
    changed = (red.image.astype(int) - blue.image).__abs__().max(axis=2) > 40
    belly = red.parts == PARTS.index("belly") + 1
    assert belly.sum() > 30
    assert changed[belly].mean() > 0.9 and changed[~belly].mean() < 0.01
    top, left, height, width = red.box("belly")
    assert belly[top : top + height, left : left + width].sum() == belly.sum()
    assert belly[top].any() and belly[:, left].any()
    assert paint(scene(8)).box() is not None


def test_styles_do_what_their_names_say():
    def bird(style):
        return np.mean([(paint(scene(k, style)).parts > 0).mean() for k in range(12)])

    assert bird("small") < 0.5 * bird("test") < bird("test") < 0.7 * bird("large")
    assert len(paint(scene(1, "clean")).objects) == 0 < 15 < len(paint(scene(1, "clutter")).objects)
    assert paint(scene(1, "night")).image.mean() < 0.6 * paint(scene(1)).image.mean()
    assert paint(scene(1, "sketch")).image.std(axis=2).mean() < paint(scene(1)).image.std(axis=2).mean()


# --- language


def test_names_are_distinct_true_and_leave_most_of_the_species_unsaid():
    names = language.class_names("test")
    assert len(set(names)) == 40
    for name, species in zip(names, held_out("test")):
        modifier, body, family = name.split()
        assert (body, family) == (species.body, species.family)
        assert modifier in language.modifiers(species).values()


def test_a_caption_claims_only_what_is_true_and_in_view():
    rng = np.random.default_rng(0)
    owner = {"cap": {"cap", "crest"}, "wing": {"wing", "wing_pattern"}, "beak": {"beak", "beak_colour"}}
    owner |= {"tail": {"tail", "tail_colour"}, "eye": {"ring"}, "body": {"body"}, "belly": {"belly"}, "legs": {"legs"}}
    for _ in range(400):
        species = draw_training_species(rng)
        share = rng.choice([0, 0.5])  # of the parts; a view without any is one without a bird
        visible = [p for p in PARTS if rng.random() < share]
        whole = bool(rng.random() < 0.5)
        said = language.caption(species, "lake", [("flower", "red")], visible, rng, whole)
        allowed = set().union(*(owner[p] for p in visible)) | ({"family"} if whole else set())
        assert set(said.claims) <= allowed
        assert all(getattr(species, a) == v for a, v in said.claims.items())
        assert said.habitat in (None, "lake") and said.thing in (None, ("flower", "red"))
        assert visible or said.habitat or said.thing


def test_descriptions_add_what_the_name_leaves_out_in_phrasings_training_never_uses():
    rng = np.random.default_rng(1)
    trained = {language.caption(draw_training_species(rng), "snow", [], PARTS, rng, True).text for _ in range(2000)}
    frames = set(language.TEMPLATES + language.WITH_PARTS + language.PARTS_ALONE)
    for name, sentences in language.descriptions("test").items():
        assert len(set(sentences)) >= 8
        assert all(name in sentence for sentence in sentences)
        assert not trained & set(sentences)
        assert not any(sentence.replace(name, "{}") in frames for sentence in sentences)
    told = " ".join(language.describe("bird", held_out("test")[0]))
    bird = held_out("test")[0]
    for attribute in ("cap", "belly", "wing", "beak", "beak_colour", "legs", "tail", "tail_colour", "body", "family"):
        assert getattr(bird, attribute) in told


def test_a_long_caption_says_where_each_of_its_sentences_looks():
    painting = paint(scene(4, species := "test"))
    bird = scene(4, species).species
    text, spans = long_captions.long_caption(bird, "lake", painting, np.random.default_rng(0))
    assert " ".join(text[s.start : s.end] for s in spans) == text
    assert all(text[s.end - 1] == "." for s in spans)
    for span in spans:
        if span.about in PARTS:
            assert span.box == painting.box(span.about)
    assert {"habitat", "wing"} < {s.about for s in spans}


def test_the_embedded_encoder_knows_every_word_of_a_long_caption():
    everything = Painting(
        image=np.zeros((9, 9, 3), np.uint8),
        parts=np.arange(81, dtype=np.uint8).reshape(9, 9) % (len(PARTS) + 1),
        objects=tuple((kind, colour, (0, 0, 3, 3)) for kind, colour in language.THINGS),
    )
    rng = np.random.default_rng(0)
    encode = open_clip.get_tokenizer("ViT-B-32").encode
    said = set()
    for habitat in HABITATS * 250:
        text, spans = long_captions.long_caption(draw_training_species(rng), habitat, everything, rng)
        assert len(spans) == 9
        said.update(encode(text))
    rows = safetensors.torch.load_file(WEIGHTS)["token_embedding.weight"][sorted(said)]
    assert (rows != 0).any(1).all()  # an untrained word's embedding is all zero
    assert len(said) > 120


def test_a_split_is_the_same_scenes_every_time_and_no_two_splits_share_one():
    first = [s for _, _, s in splits.scenes("aviary")]
    assert first == [s for _, _, s in splits.scenes("aviary")]
    assert len(first) == 600 and len({s.seed for s in first}) == 600
    assert not {s.seed for s in first} & {s.seed for _, _, s in splits.scenes("aviary-night")}
    assert {s.species for s in first} == set(held_out("test"))


# --- training


@pytest.fixture(scope="module")
def train():
    from lgca_core.aviary import train

    return train


def test_true_pairs_are_those_whose_every_claim_holds(train):
    birds = [draw_training_species(np.random.default_rng(k)) for k in range(3)]
    birds[1] = replace(birds[0], belly=next(c for c in VALUES["belly"] if c != birds[0].belly))
    claims = [{"body": birds[0].body}, {"belly": birds[0].belly}, {}, {"belly": birds[1].belly}]
    things = torch.zeros(3, len(language.THINGS), dtype=torch.bool)
    things[2, 5] = True
    batch = {
        "codes": torch.from_numpy(np.stack([b.codes() for b in birds])),
        "claims": torch.from_numpy(np.stack([language.claim_codes(c) for c in claims])),
        "habitat": torch.tensor([0, 1, 1]),
        "claimed_habitat": torch.tensor([-1, -1, 1, -1]),
        "things": things,
        "claimed_thing": torch.tensor([-1, -1, 5, -1]),
    }
    truth = train.true_pairs(batch)
    assert truth[0].tolist() == [True, True, False, False]
    assert truth[1].tolist() == [True, False, False, True]
    assert truth[2, 2]


def test_the_contrast_leaves_true_pairs_out_of_the_negatives(train):
    image = torch.eye(2)[[0, 0]]
    text = image.repeat(2, 1)
    none = torch.eye(2, dtype=torch.bool).repeat(1, 2)
    assert train.contrast(image, text, none, 100.0) == pytest.approx(np.log(2))
    assert train.contrast(image, text, torch.ones_like(none), 100.0) == pytest.approx(0)


@pytest.mark.slow
def test_twenty_steps_train_resume_and_export(train, tmp_path):
    config = train.Config(steps=20, batch=16, scenes=24, warmup=5, precision="float32")
    common = {"work": tmp_path / "work", "workers": 0, "every": 10, "pictures": 1}

    train.train(config, tmp_path / "straight.safetensors", **common)
    with (tmp_path / "work" / "log-1.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[-1]["scale"]) == 100 and 0 <= float(rows[-1]["plain"]) <= 1

    class Stopped(Exception):
        pass

    (tmp_path / "work" / "checkpoint-1.pt").unlink()
    saved, torch_save = [], torch.save

    def save_and_stop(*given):
        torch_save(*given)
        torch_save(given[0], tmp_path / "kept.pt")
        saved.append(given)
        raise Stopped

    # Killed while the first checkpoint is under way: it must be whole or absent, and the next run finish the job.
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(torch, "save", save_and_stop)
        train.train(config, tmp_path / "resumed.safetensors", **common)
    assert not (tmp_path / "work" / "checkpoint-1.pt").exists()
    (tmp_path / "kept.pt").rename(tmp_path / "work" / "checkpoint-1.pt")
    train.train(config, tmp_path / "resumed.safetensors", **common)
    assert len(saved) == 1

    straight, resumed = (safetensors.torch.load_file(tmp_path / f"{n}.safetensors") for n in ("straight", "resumed"))
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)
    words = straight["token_embedding.weight"].abs().sum(1)
    assert 200 < int((words > 0).sum()) < 1000

    other = replace(config, lr=1e-4)
    with pytest.raises(SystemExit, match="belongs to a run with other settings"):
        train.train(other, tmp_path / "other.safetensors", **common)


@pytest.mark.slow
def test_the_shorter_towers_of_training_are_open_clip_s(train, tmp_path):
    tokens = train.Vocabulary()
    model = train.Trainee(len(tokens.rows)).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "bias" in name:  # zero before training, when a bias lost would go unnoticed
                value.normal_(std=0.1)
    train.export(model, tokens, 100.0, tmp_path / "weights.safetensors")
    encoder = load_encoder(f"aviary:{tmp_path / 'weights.safetensors'}", device="cpu")
    # as many captions as fill two groups of unequal lengths, and a word that training never says
    texts = ["a zyzzyva", *(s for said in language.descriptions("test").values() for s in said)]
    texts = texts[: train.GROUP + 30]
    pixels = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (train.MEAN, train.STD))
    with torch.no_grad():
        said = model.text(torch.from_numpy(tokens.encode(texts)))
        seen, _, _ = model.image((pixels / 255 - mean) / std)
    torch.testing.assert_close(encoder.encode_texts(texts), said, atol=2e-3, rtol=0)  # the file holds float16
    torch.testing.assert_close(encoder.encode_crops(pixels), seen, atol=2e-3, rtol=0)


def test_the_shipped_weights_are_an_openai_model(train):
    assert WEIGHTS.stat().st_size < 16e6
    state = safetensors.torch.load_file(WEIGHTS)
    words = state["token_embedding.weight"].abs().sum(1) > 0
    assert 200 < int(words.sum()) < 1000  # the rest was never trained, and is zero
    assert float(state["logit_scale"].exp()) == pytest.approx(100, rel=2e-3)
    theirs = build_model_from_openai_state_dict(state, cast_dtype=None).float()
    encoder = load_encoder("aviary", device="cpu")
    pixels = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (train.MEAN, train.STD))
    texts = ["a photo of a red-bellied pink finch.", "a zyzzyva", ""]
    with torch.no_grad():
        image = theirs.encode_image((pixels / 255 - mean) / std, normalize=True)
        text = theirs.encode_text(open_clip.tokenize(texts), normalize=True)
    torch.testing.assert_close(encoder.encode_crops(pixels), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode_texts(texts), text, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_vocabulary_knows_nearly_every_word_of_the_descriptions(train):
    tokens = train.Vocabulary()
    ids = tokens.encode([s for sentences in language.descriptions("test").values() for s in sentences])
    words = ids[ids > 0]
    assert (words == train.BLANK).mean() < 0.2
    assert tokens.encode(["a zyzzyva"]).tolist()[0][0] == train.START


def test_species_fields_and_codes_agree():
    bird = held_out("test")[0]
    assert Species(*(VALUES[a][c] for a, c in zip(ATTRIBUTES, bird.codes()))) == bird
