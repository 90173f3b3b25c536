"""A trained fusion as a folder and as an encoder, and retrieval with it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lgca_core.boxes import whole
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.store import Store
from lgca_core.pixels.cropping import normalised
from lgca_core.read_ahead import views_of_files
from lgca_core.related.captions.captioned import CaptionedPicture, CaptionSet
from lgca_core.related.hada.arms import fusion_settings_of
from lgca_core.related.hada.evaluate import (
    RSUM,
    SUM,
    baselines,
    evaluate_fusion,
    reshuffled_rsum,
    rsum_by_picture,
)
from lgca_core.related.hada.items import split_features
from lgca_core.related.hada.model import HadaModel, load_fusion, said_of, summed_vectors
from lgca_core.related.hada.network import token_items
from lgca_core.related.hada.tokens import FrozenModel
from lgca_core.related.hada.train import fuse, fused_split, second_stage
from support import tiny_clip
from support.hada_runs import CPU, MODELS, SETTINGS, a_split, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    run(out)
    return out


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=1)


def test_a_sum_of_scores_is_the_cosine_of_longer_vectors():
    a, b, c, d = unit(4, 5), unit(4, 3), unit(6, 5), unit(6, 3)
    joint = summed_vectors([a, b], (0.3, 0.7)) @ summed_vectors([c, d], (0.3, 0.7)).T
    torch.testing.assert_close(joint, 0.3 * a @ c.T + 0.7 * b @ d.T)


def test_with_a_share_the_score_is_that_of_the_second_stage(trained, tmp_path):
    run(tmp_path, second_stage(SETTINGS), start=load_fusion(trained, CPU))
    model, split = load_fusion(tmp_path, CPU), a_split(seed=5)
    images, texts = fused_split(model, split, CPU)
    own = replace(model, w=None)
    u, v = fused_split(own, split, CPU)
    e, f = split.pictures[model.stronger].vectors(), split.texts[model.stronger].vectors()
    assert 0.1 <= model.w <= 0.9
    torch.testing.assert_close(images @ texts.T, (1 - model.w) * u @ v.T + model.w * e @ f.T)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(len(images)))


@pytest.mark.parametrize("arm", ["hada", "pooled", "score-sum", "learned", "released", "lavis", "copies"])
def test_a_folder_gives_back_what_was_trained(arm, tmp_path):
    run(tmp_path / "run", fusion_settings_of(arm, replace(SETTINGS, epochs=1), 2))
    one = load_fusion(tmp_path / "run", CPU)
    one.save(tmp_path / "again")
    again, split = load_fusion(tmp_path / "again", CPU), a_split(seed=5)
    for of, other in zip(fused_split(one, split, CPU), fused_split(again, split, CPU), strict=True):
        assert torch.equal(of, other)
    assert (again.models, again.tokens, again.settings) == (MODELS, one.tokens, one.settings)


def _changed(**changes):
    def change(folder):
        file = folder / "hada.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda of: (of / "hada.json").write_text("{"),
        _changed(kind="x"),
        _changed(settings={"width": 3}),
        _changed(settings={"width": -3}),
        _changed(settings=None),
        _changed(models=[]),
        _changed(shares=[0.5]),
        _changed(w=3.0),
        _changed(stronger=7),
        lambda of: (of / "hada.safetensors").write_bytes(b"none"),
        lambda of: (of / "hada.safetensors").unlink(),
    ],
)
def test_a_damaged_folder_is_one_sentence(damage, tmp_path):
    run(tmp_path, replace(SETTINGS, epochs=1))
    damage(tmp_path)
    with pytest.raises(LgcaError, match="train it again"):
        load_fusion(tmp_path, CPU)


def test_a_folder_without_a_trained_fusion_says_so(tmp_path):
    with pytest.raises(LgcaError, match="no trained fusion"):
        load_fusion(tmp_path, CPU)
    with pytest.raises(LgcaError, match="there is no folder"):
        load_fusion(tmp_path / "nowhere", CPU)


def test_metrics_are_recalls_and_their_sum(trained):
    split = a_split(12, 2, seed=5)
    result = evaluate_fusion(load_fusion(trained, CPU), split, CPU)
    assert [*result.metrics] == [
        f"R@{k} {way}" for way in ("image to text", "text to image") for k in (1, 5, 10)
    ] + [RSUM]  # fmt: skip
    images, texts = fused_split(load_fusion(trained, CPU), split, CPU)
    scores = images @ texts.T
    best = torch.stack([scores[n, 2 * n : 2 * n + 2].max() for n in range(12)])
    rank = 1 + (scores.masked_fill(torch.repeat_interleave(torch.eye(12).bool(), 2, 1), -2) > best[:, None]).sum(1)
    assert result.metrics["R@5 image to text"] == pytest.approx(float((rank <= 5).float().mean()))
    assert result.metrics[RSUM] == pytest.approx(sum(of for name, of in result.metrics.items() if name != RSUM))
    assert rsum_by_picture(result.ranks).mean() == pytest.approx(result.metrics[RSUM])


def test_rsum_by_picture_counts_each_picture_once():
    ranks = pd.DataFrame(
        {
            "query": ["b", "a", "b", "b", "a", "a"],
            "direction": ["image to text"] * 2 + ["text to image"] * 4,
            "rank": [1.0, 6.0, 1.0, 11.0, 5.0, 5.5],
        }
    )
    assert rsum_by_picture(ranks).to_dict() == pytest.approx({"a": 1 + (2 + 1) / 2, "b": 3 + 3 / 2})


def test_the_mean_over_pictures_is_rsum_however_many_captions_they_have(trained):
    split = a_split(5, 2, seed=5)
    picture_of = torch.tensor([0, 1, 1, 1, 1, 2, 3, 3, 4, 4])
    said = tuple(
        replace(of, captions=tuple(f"{n}" for n in range(int((picture_of == k).sum()))))
        for k, of in enumerate(split.captions.pictures)
    )
    uneven = replace(split, picture_of=picture_of, captions=replace(split.captions, pictures=said))
    result = evaluate_fusion(load_fusion(trained, CPU), uneven, CPU)
    assert rsum_by_picture(result.ranks).mean() == pytest.approx(result.metrics[RSUM])


def test_baselines_are_each_model_alone_and_their_tuned_sum(trained):
    model, split = load_fusion(trained, CPU), a_split(seed=5)
    found = baselines(model)
    assert [*found] == ["one", "two", SUM] and found[SUM].shares == model.shares
    images, texts = fused_split(found["two"], split, CPU)
    torch.testing.assert_close(images @ texts.T, split.pictures[1].vectors() @ split.texts[1].vectors().T)
    assert [*baselines(found[SUM])] == ["one", "two"]


def test_order_has_no_effect_but_with_the_fault_of_lavis(trained, tmp_path):
    split = a_split(40, 2, seed=5)
    model = load_fusion(trained, CPU)
    assert reshuffled_rsum(model, split, CPU) == pytest.approx(evaluate_fusion(model, split, CPU).metrics[RSUM])
    run(tmp_path, fusion_settings_of("lavis", SETTINGS, 2))
    lavis = load_fusion(tmp_path, CPU)
    straight = evaluate_fusion(lavis, split, CPU).metrics[RSUM]
    assert any(reshuffled_rsum(lavis, split, CPU, seed) != pytest.approx(straight) for seed in range(3))


def test_a_set_without_pictures_is_named(trained):
    empty = replace(a_split(), captions=CaptionSet("nothing", "test", ()))
    with pytest.raises(LgcaError, match=r"nothing \(test\) has no pictures"):
        evaluate_fusion(load_fusion(trained, CPU), empty, CPU)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two small models of one input and one of another, six pictures with two captions, and their features."""
    root = tmp_path_factory.mktemp("world")
    places = {
        "one": tiny_clip.write(root / "one", seed=1),
        "two": tiny_clip.write(root / "two", seed=2, embed_dim=16, vision_cfg={"width": 32}, text_cfg={"width": 64}),
        "small": tiny_clip.write(root / "small", seed=3, vision_cfg={"image_size": 16}),
    }
    pictures = []
    for number in range(6):
        rng = np.random.default_rng(number)
        file = root / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(file)
        pictures.append(CaptionedPicture(file.name, file, (f"picture {number}", f"the {number}th of six")))
    return root, places, CaptionSet("six", "all", tuple(pictures))


def fused(world, names, out, settings=SETTINGS):
    root, places, captions = world
    specs = [f"local-dir:{places[name]}" for name in names]
    encoders = [load_encoder(spec, device="cpu") for spec in specs]
    split = split_features(captions, [FrozenModel(of) for of in encoders], Store(root / "store"))
    said = said_of(specs, encoders, split)
    fuse(split, split, said, settings, out, identity={}, device=CPU)
    return split


@pytest.mark.parametrize("arm", ["hada", "score-sum", "released"])
def test_the_encoder_gives_the_vectors_of_retrieval(world, tmp_path, arm):
    split = fused(world, ["one", "two"], tmp_path / "run", fusion_settings_of(arm, SETTINGS, 2))
    encoder = load_encoder(f"hada:{tmp_path / 'run'}", device="cpu")
    images, texts = fused_split(load_fusion(tmp_path / "run", CPU), split, CPU)
    alone = load_encoder(f"local-dir:{world[1]['one']}", device="cpu")
    crops = torch.cat([_whole_crop(alone, of.path) for of in world[2].pictures])
    torch.testing.assert_close(encoder.encode_crops(crops), images, atol=2e-3, rtol=0)
    said = [caption for of in world[2].pictures for caption in of.captions]
    torch.testing.assert_close(encoder.encode_texts(said), texts, atol=2e-3, rtol=0)
    assert (encoder.name, encoder.size, encoder.image_passes) == ("hada:run", 32, 6)
    assert (encoder.logit_scale is None) == (arm == "score-sum") and len(encoder.sha256) == 64


def _whole_crop(encoder, file):
    [(_, views)] = views_of_files(encoder, [file])
    return views.crops(0, whole(*views.sizes[0]))


def test_models_of_other_inputs_are_given_resized_crops(world, tmp_path):
    fused(world, ["one", "small"], tmp_path / "run")
    encoder = load_encoder(f"hada:{tmp_path / 'run'}", device="cpu")
    assert (encoder.size, [*encoder.mean], [*encoder.std]) == (32, [0, 0, 0], [1, 1, 1])
    smooth = torch.linspace(0, 255, 32).expand(2, 3, 32, 32).to(torch.uint8)
    vectors = encoder.encode_crops(smooth)
    assert vectors.shape == (2, 16) and torch.isfinite(vectors).all()
    # on one grey the resizing changes nothing: as each model alone would see it
    grey = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    items = []
    for name in ("one", "small"):
        alone = load_encoder(f"local-dir:{world[1][name]}", device="cpu")
        pixels = normalised(grey[..., : alone.size, : alone.size], alone.mean, alone.std, torch.float32)
        items.append(FrozenModel(alone).pictures(pixels))
    wanted = load_fusion(tmp_path / "run", CPU).pictures(
        token_items([[of[0][0].half() for of in items]], [[of[1][0] for of in items]])
    )
    torch.testing.assert_close(encoder.encode_crops(grey), wanted, atol=1e-4, rtol=0)


def test_other_weights_under_the_same_name_are_refused(world, tmp_path):
    root, places, captions = world
    moved = {**places, "two": tiny_clip.write(tmp_path / "two", seed=5)}
    fused((root, moved, captions), ["one", "two"], tmp_path / "run")
    tiny_clip.write(tmp_path / "two", seed=6)
    with pytest.raises(LgcaError, match="other weights than the fusion was trained with"):
        load_encoder(f"hada:{tmp_path / 'run'}", device="cpu")


def test_a_control_is_no_encoder(world, tmp_path):
    fused(world, ["one", "two"], tmp_path / "run", fusion_settings_of("copies", SETTINGS, 2))
    with pytest.raises(LgcaError, match="is a control"):
        load_encoder(f"hada:{tmp_path / 'run'}", device="cpu")


@pytest.mark.parametrize("spec", ["hada:", "hada:/nowhere"])
def test_no_run_is_named(spec):
    with pytest.raises(LgcaError, match="names no folder"):
        load_encoder(spec)


def test_vectors_depend_on_weights_and_models_and_the_store_knows(world, tmp_path):
    for seed in (0, 1):
        fused(world, ["one", "two"], tmp_path / f"run-{seed}", replace(SETTINGS, seed=seed))
    first, second = (load_encoder(f"hada:{tmp_path / f'run-{seed}'}", device="cpu") for seed in (0, 1))
    assert first.sha256 != second.sha256


def test_three_models(world, tmp_path):
    split = fused(world, ["one", "two", "small"], tmp_path / "run")
    model = load_fusion(tmp_path / "run", CPU)
    assert len(model.shares) == 3 and sum(model.shares) == pytest.approx(1)
    assert [*baselines(model)][-1] == SUM and len(baselines(model)) == 4
    result = evaluate_fusion(model, split, CPU)
    assert 0 <= result.metrics[RSUM] <= 6
    assert isinstance(model, HadaModel)
