"""Token features: the model's own, each item once, kept whole, read from disk."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lgca_core.boxes import whole
from lgca_core.encoder import Encoder
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.store import Store
from lgca_core.read_ahead import views_of_files
from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet
from lgca_core.related.hada import tokens
from lgca_core.related.hada.items import split_features
from lgca_core.related.hada.tokens import FrozenModel, caption_features, picture_features
from support import tiny_clip

TEXTS = ["a wren", "an owl by a lake, at night, in the snow", "", "a wren", "one"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_clip.write(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def model(folder) -> FrozenModel:
    return FrozenModel(load_encoder(f"local-dir:{folder}", device="cpu", batch_size=3))


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Five pictures, two of the same bytes."""
    places = [tmp_path / f"{number}.png" for number in range(5)]
    for number, place in enumerate(places):
        rng = np.random.default_rng(number % 4)
        Image.fromarray(rng.integers(0, 256, (40 + number % 4, 50, 3), dtype=np.uint8)).save(place)
    return places


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def test_of_a_picture_the_class_token_projects_to_the_models_own_vector(model, files, store):
    found = picture_features(model, files, store, dataset="some")
    assert found.widths == (64, 32) and len(found) == 5
    visual = model.encoder.parts.model.visual
    for item in range(5):
        said = found.tokens(item).float()
        assert said.shape == (1 + 16, 64)
        own = torch.nn.functional.normalize(said[0] @ visual.proj, dim=0)
        torch.testing.assert_close(own, found.vectors([item])[0], atol=2e-3, rtol=0)
    for part, views in views_of_files(model.encoder, files):
        alone = torch.cat(views.encode([whole(*size) for size in views.sizes]))
        torch.testing.assert_close(alone, found.vectors([*part]), atol=2e-3, rtol=0)


def test_of_a_caption_the_end_token_comes_first_and_the_start_token_not_at_all(model, store):
    found = caption_features(model, TEXTS, store, dataset="some")
    torch.testing.assert_close(found.vectors(), model.encoder.encode_texts(TEXTS), atol=2e-3, rtol=0)
    text = model.encoder.parts.model
    numbers = model.encoder.tokenizer(TEXTS)
    for item, row in enumerate(numbers):
        end = int(row.argmax())
        said = found.tokens(item).float()
        assert len(said) == end  # the end token and the words between start and end
        own = torch.nn.functional.normalize(said[0] @ text.text_projection, dim=0)
        torch.testing.assert_close(own, found.vectors([item])[0], atol=2e-3, rtol=0)
    assert torch.equal(found.tokens(0), found.tokens(3))


def test_no_model_runs_twice_on_an_item(model, folder, files, store):
    first = picture_features(model, files, store, dataset="some")
    said = caption_features(model, TEXTS, store, dataset="some")
    assert (model.encoder.image_passes, model.encoder.text_passes) == (4, 4)  # of five each, as one is there twice
    again = FrozenModel(load_encoder(f"local-dir:{folder}", device="cpu"))
    second = picture_features(again, files, store, dataset="another name")
    words = caption_features(again, TEXTS[::-1], store, dataset="another name")
    assert (again.encoder.image_passes, again.encoder.text_passes) == (0, 0)
    for item in range(5):
        assert torch.equal(first.tokens(item), second.tokens(item))
        assert torch.equal(said.tokens(item), words.tokens(4 - item))
    assert torch.equal(first.own, second.own)


def test_a_run_that_was_stopped_goes_on_where_it_was(model, files, store, monkeypatch):
    monkeypatch.setattr(tokens, "PICTURES_OF_A_SHARD", 2)
    model.encoder.batch_size = 2  # of what is encoded no more than a batch is ahead of what is written

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        picture_features(model, files, store, dataset="some", progress=stop)
    before = model.encoder.image_passes
    found = picture_features(model, files, store, dataset="some")
    assert (before, model.encoder.image_passes) == (2, 4) and len(found) == 5


def test_an_item_of_another_list_is_not_encoded_again(model, files, store):
    picture_features(model, files[:2], store, dataset="some")
    found = picture_features(model, files[1:], store, dataset="others")
    assert model.encoder.image_passes == 4  # of four different pictures
    alone = picture_features(model, files[3:4], store, dataset="one")
    assert model.encoder.image_passes == 4 and torch.equal(alone.tokens(0), found.tokens(2))
    said = caption_features(model, TEXTS[:2], store, dataset="some")
    again = caption_features(model, TEXTS[1:], store, dataset="others")
    assert model.encoder.text_passes == 4 and torch.equal(said.tokens(1), again.tokens(0))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_model_in_half_precision_says_about_the_same(folder, files, store, model, precision):
    half = FrozenModel(load_encoder(f"local-dir:{folder}", device="cpu", precision=precision))
    seen, said = (
        of(half, items, store, dataset="some") for of, items in ((picture_features, files), (caption_features, TEXTS))
    )
    exact = picture_features(model, files, store, dataset="some"), caption_features(model, TEXTS, store, dataset="some")
    assert half.encoder.image_passes == model.encoder.image_passes == 4  # each has its own
    for of, other in zip((seen, said), exact, strict=True):
        assert (of.vectors() * other.vectors()).sum(1).min() > 0.99


def test_a_caption_beyond_the_window_is_cut(model, store):
    found = caption_features(model, [" ".join(["bird"] * 200)], store, dataset="long")
    assert len(found.tokens(0)) == 76  # the end token, and 75 of the words


def test_what_is_damaged_is_encoded_again(model, files, tmp_path):
    said: list[str] = []
    store = Store(tmp_path / "store", report=said.append)
    before = picture_features(model, files, store, dataset="some")
    kept = before.tokens(0).clone()
    [file, *_] = sorted((tmp_path / "store").rglob("*.safetensors"), key=lambda of: -of.stat().st_size)
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.unlink()
    file.write_bytes(content)
    found = picture_features(model, files, Store(tmp_path / "store", report=said.append), dataset="some")
    assert "was damaged" in said[0] and torch.equal(found.tokens(0), kept)
    assert model.encoder.image_passes == 8


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells which files are mapped")
def test_tokens_stay_on_disk(model, files, tmp_path, store):
    found = picture_features(model, files, store, dataset="some")
    [largest, *_] = sorted((tmp_path / "store").rglob("*.safetensors"), key=lambda of: -of.stat().st_size)
    assert str(largest) in Path("/proc/self/maps").read_text()
    assert found.tokens(1).dtype == torch.float16


def test_another_model_has_other_features(files, store, tmp_path):
    one, two = (
        FrozenModel(load_encoder(f"local-dir:{tiny_clip.write(tmp_path / str(seed), seed=seed)}", device="cpu"))
        for seed in (0, 1)
    )
    first, second = (caption_features(of, TEXTS, store, dataset="some") for of in (one, two))
    assert two.encoder.text_passes == 4 and not torch.equal(first.tokens(0), second.tokens(0))


def test_an_encoder_whose_tokens_cannot_be_told_gives_its_vector_as_its_only_token(files, store):
    encoder = Encoder(
        lambda crops: crops.mean((2, 3)), lambda texts: torch.tensor([[len(of), 1.0, 2.0] for of in texts]),
        16, (0.5,) * 3, (0.5,) * 3, name="means", sha256="0" * 64,
    )  # fmt: skip
    model = FrozenModel(encoder)
    seen = picture_features(model, files, store, dataset="some")
    said = caption_features(model, TEXTS, store, dataset="some")
    assert seen.widths == said.widths == (3, 3)
    assert [len(seen.tokens(item)) for item in range(5)] == [1] * 5
    torch.testing.assert_close(said.tokens(0).float(), said.vectors([0]), atol=1e-3, rtol=0)


def test_an_encoder_without_a_hash_is_refused(files, store):
    encoder = Encoder(lambda crops: crops.mean((2, 3)), lambda texts: None, 16, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(LgcaError, match="no hash"):
        picture_features(FrozenModel(encoder), files, store, dataset="some")


def test_a_picture_that_cannot_be_read_is_named(model, files, store):
    files[2].write_bytes(b"none")
    with pytest.raises(LgcaError, match=r"2\.png"):
        picture_features(model, files, store, dataset="some")


def test_a_split_of_several_models_and_any_number_of_captions(model, files, store, tmp_path):
    other = FrozenModel(load_encoder(f"local-dir:{tiny_clip.write(tmp_path / 'other', seed=1)}", device="cpu"))
    captions = [("a",), ("b c", "d"), ("e", "f", "g h i")]
    pictures = tuple(CaptionedPicture(file.name, file, said) for file, said in zip(files[:3], captions, strict=True))
    told = []
    split = split_features(
        CaptionSet("own", "all", pictures), [model, other], store, progress=lambda *of: told.append(of)
    )
    assert split.picture_of.tolist() == [0, 1, 1, 2, 2, 2]
    assert told[-1] == (2 * (3 + 6), 2 * (3 + 6)) and [of for of, _ in told] == sorted(of for of, _ in told)
    items = split.caption_items([5, 0], CPU)
    assert items.lengths[0].tolist() == [4, 2] and items.tokens[0].shape == (2, 4, 32)
    assert torch.equal(items.tokens[1][1, :2], split.texts[1].tokens(0))
    torch.testing.assert_close(items.pooled[1], split.texts[1].vectors([5, 0]))


def test_a_fusion_without_a_graph_reads_the_first_token_alone(model, files, store):
    pictures = tuple(CaptionedPicture(file.name, file, ("a b c",)) for file in files[:3])
    split = split_features(CaptionSet("own", "all", pictures), [model], store)
    own, cls = split.picture_items([2, 1], CPU), split.picture_items([2, 1], CPU, "cls")
    assert cls.lengths[0].tolist() == [1, 1] and torch.equal(cls.tokens[0], own.tokens[0][:, :1])


def test_noise_of_a_picture_is_not_that_of_a_caption(model, files, store):
    pictures = tuple(CaptionedPicture(file.name, file, ("a b c d e f",)) for file in files[:3])
    split = split_features(CaptionSet("own", "all", pictures), [model, model], store)
    seen, said = (of([1], CPU, "copies").tokens[0][0] for of in (split.picture_items, split.caption_items))
    noise = [(of[1:4].float() - of[:1].float())[:, :16] / of[:1].float().std() for of in (seen, said)]
    assert float((noise[0] - noise[1]).abs().max()) > 0.05


def test_copies_say_nothing_new_and_are_the_same_whenever_they_are_read(model, files, store):
    pictures = tuple(CaptionedPicture(file.name, file, ("a b c",)) for file in files[:3])
    split = split_features(CaptionSet("own", "all", pictures), [model], store)
    one, again = (split.picture_items([2, 1], CPU, "copies"), split.picture_items([1], CPU, "copies"))
    assert torch.equal(one.tokens[0][1], again.tokens[0][0])
    own = split.picture_items([2, 1], CPU)
    assert torch.equal(one.tokens[0][:, 0], own.tokens[0][:, 0]) and torch.equal(one.pooled[0], own.pooled[0])
    cls = own.tokens[0][:, :1].float()
    noise = one.tokens[0][:, 1:].float() - cls
    assert 0.05 < float((noise.std((1, 2)) / cls.std((1, 2))).mean()) < 0.15
