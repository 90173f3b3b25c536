"""Pooled vectors and tokens in one pass, and the longer window of text positions."""

import json

import open_clip
import pytest
import torch
from hypothesis import given, settings, strategies as st

from lgca_core.encoders.devices import Options
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.related.goal.encoder import context_of, lengthen, load_goal, save_model
from lgca_core.related.goal.positions import stretch_positions
from lgca_core.related.goal.towers import Batch, Towers, mean_of
from support import tiny_clip


def test_positions_entry_by_entry():
    """The formula of Long-CLIP, the extrapolated tail included."""
    old = torch.randn(77, 5, dtype=torch.float64)
    new = stretch_positions(old)
    assert new.shape == (248, 5)
    for i in range(20):
        assert torch.equal(new[i], old[i])
    for i in range(56):
        for r in range(4):
            torch.testing.assert_close(new[20 + 4 * i + r], (1 - r / 4) * old[20 + i] + r / 4 * old[21 + i])
    for r in range(4):
        torch.testing.assert_close(new[244 + r], old[76] + r / 4 * (old[76] - old[75]))


def test_positions_of_another_number_and_type():
    assert len(stretch_positions(torch.zeros(32, 3))) == 4 * 32 - 60
    assert stretch_positions(torch.zeros(77, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    with pytest.raises(LgcaError, match="cannot be stretched"):
        stretch_positions(torch.zeros(21, 3))


CHANGES = {
    "clip": {},
    "text tower of its own": {"custom_text": True},
    "average pool": {"vision_cfg": {"pool_type": "avg"}},
    "norm after the pool": {"vision_cfg": {"final_ln_after_pool": True}},
    "gelu": {"quick_gelu": False},
}


@pytest.fixture(params=CHANGES, ids=list(CHANGES))
def model(request, tmp_path):
    folder = tiny_clip.write(tmp_path / "model", **CHANGES[request.param])
    return load_encoder(f"local-dir:{folder}", device="cpu").parts.model


def test_vectors_are_the_models_own(model):
    towers, pictures = Towers(model), torch.randn(3, 3, 32, 32)
    texts = open_clip.get_tokenizer("ViT-B-32")(["a wren", "an owl by a lake, at night", "a"])
    with torch.no_grad():
        vectors, patches = towers.image(pictures)
        torch.testing.assert_close(vectors, model.encode_image(pictures), rtol=1e-5, atol=1e-6)
        words, tokens = towers.text(texts)
        torch.testing.assert_close(words, model.encode_text(texts), rtol=1e-5, atol=1e-6)
    assert patches.shape == (3, 1 + 16, 64) and tokens.shape == (3, 77, 32)


def test_the_mean_comes_before_the_norm(model):
    """One patch, or one token, that stands for all: its projection is that of the pooled path."""
    towers = Towers(model)
    with torch.no_grad():
        tokens = torch.randn(2, 16, 64)
        mask = torch.zeros(2, 16, dtype=torch.bool)
        mask[:, 3] = mask[:, 5] = True
        mean = mean_of(tokens, mask)
        torch.testing.assert_close(mean, (tokens[:, 3] + tokens[:, 5]) / 2)
        wanted = towers.visual.ln_post(mean) @ towers.visual.proj
        torch.testing.assert_close(towers._project_image(mean), wanted)


def test_no_token_chosen_gives_zeros_and_no_nan():
    tokens = torch.randn(1, 4, 3, requires_grad=True)
    mean = mean_of(tokens, torch.zeros(2, 4, dtype=torch.bool))
    assert torch.equal(mean, torch.zeros(2, 3))
    mean.sum().backward()
    assert torch.equal(tokens.grad, torch.zeros(1, 4, 3))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(0, 30))
@settings(max_examples=15, deadline=None)
def test_right_padding_has_no_effect(lengths, more):
    towers = _long()
    longest = max(lengths) + 2
    batch = torch.zeros(len(lengths), 248, dtype=torch.int64)
    for row, length in zip(batch, lengths, strict=True):
        row[: length + 2] = torch.tensor([49406, *range(100, 100 + length), 49407])
    with torch.no_grad():
        short, _ = towers.text(batch[:, :longest])
        for end in (longest + more, 248):
            padded, _ = towers.text(batch[:, :end])
            torch.testing.assert_close(short, padded, rtol=1e-5, atol=1e-6)


def _long(cache={}) -> Towers:  # noqa: B006 - made once
    if not cache:
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            encoder = load_encoder(f"local-dir:{tiny_clip.write(Path(folder))}", device="cpu")
        cache["towers"] = Towers(lengthen(encoder.parts).model)
    return cache["towers"]


def test_both_towers_run_once_a_batch(tmp_path):
    towers = Towers(load_encoder(f"local-dir:{tiny_clip.write(tmp_path)}", device="cpu").parts.model)
    seen = []
    towers.visual.transformer.register_forward_hook(lambda module, given, out: seen.append(("image", len(given[0]))))
    towers.words.transformer.register_forward_hook(lambda module, given, out: seen.append(("text", len(given[0]))))
    tokens = open_clip.get_tokenizer("ViT-B-32")(["a wren", "an owl"])
    mask = torch.ones(2, 16, dtype=torch.bool)
    with torch.no_grad():
        out = towers(Batch(torch.randn(2, 3, 32, 32), tokens, torch.randn(2, 3, 32, 32), tokens, mask, tokens > 0))
    assert seen == [("image", 4), ("text", 2), ("text", 2)]  # texts of like length share a pass
    for vectors in out[:-1]:
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2))


def test_vectors_of_a_batch_are_those_of_a_loop_over_regions(model):
    """Two regions a picture, one pair at a time: the mean of the chosen tokens, the norm, the projection, length 1."""
    towers, tokenize = Towers(model), open_clip.get_tokenizer("ViT-B-32")
    captions = tokenize(["a wren. it sits on a post.", "an owl by a lake, at night"])
    sentences = tokenize(["a wren", "it sits on a post", "an owl", "at night"])
    generator = torch.Generator().manual_seed(0)
    touched = torch.rand(4, 16, generator=generator) < 0.3
    spoken = torch.zeros(4, captions.shape[1], dtype=torch.bool)
    for row, (first, last) in zip(spoken, [(1, 3), (4, 9), (1, 3), (7, 9)], strict=True):
        row[first:last] = True
    pictures, regions = (torch.randn(n, 3, 32, 32, generator=generator) for n in (2, 4))
    text = towers.words
    with torch.no_grad():
        found = towers(Batch(pictures, captions, regions, sentences, touched, spoken))
        projected = text.text_projection if callable(text.text_projection) else lambda of: of @ text.text_projection
        for r in range(4):
            picture, caption = pictures[r // 2 : r // 2 + 1], captions[r // 2 : r // 2 + 1]
            patches, words = towers.image(picture)[1][0, 1:], towers.text(caption)[1][0]
            patch = sum(patches[j] for j in range(16) if touched[r, j]) / touched[r].sum()
            word = sum(words[j] for j in range(len(words)) if spoken[r, j]) / spoken[r].sum()
            wanted = {
                "image": (found.image[r // 2], model.encode_image(picture)[0]),
                "text": (found.text[r // 2], model.encode_text(caption)[0]),
                "region": (found.region[r], model.encode_image(regions[r : r + 1])[0]),
                "sentence": (found.sentence[r], model.encode_text(sentences[r : r + 1])[0]),
                "patches": (found.patches[r], model.visual.ln_post(patch) @ model.visual.proj),
                "words": (found.words[r], projected(text.ln_final(word))),
            }
            for name, (one, other) in wanted.items():
                torch.testing.assert_close(one, other / other.norm(), rtol=1e-5, atol=1e-5, msg=name)
    assert float(found.scale) == pytest.approx(float(model.logit_scale.exp()))


@pytest.mark.parametrize(
    "changes, needs",
    [
        ({"vision_cfg": {"layers": [1, 1, 1, 1], "width": 32, "head_width": 32}}, "plain vision transformer"),
        ({"vision_cfg": {"attentional_pool": True}}, "plain vision transformer"),
        ({"vision_cfg": {"patch_dropout": 0.5}}, "plain vision transformer"),
        ({"text_cfg": {"no_causal_mask": True}, "custom_text": True}, "causal text tower"),
        ({"text_cfg": {"pool_type": "last"}, "custom_text": True}, "causal text tower"),
        ({"text_cfg": {"proj_type": "none"}, "custom_text": True}, "causal text tower"),
        ({"text_cfg": {"embed_cls": True, "pad_id": 0}, "custom_text": True}, "causal text tower"),
    ],
    ids=[
        "resnet",
        "attentional pool",
        "patch dropout",
        "not causal",
        "read at the last token",
        "not projected",
        "token of its own",
    ],
)
def test_models_whose_tokens_cannot_be_told_apart_are_refused(tmp_path, changes, needs):
    folder = tiny_clip.write(tmp_path, **changes)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    with pytest.raises(LgcaError, match=needs):
        Towers(model)


@pytest.mark.parametrize("custom", [False, True], ids=["clip", "text tower of its own"])
def test_a_saved_model_loads_everywhere(tmp_path, custom):
    encoder = load_encoder(f"local-dir:{tiny_clip.write(tmp_path / 'start', custom_text=custom)}", device="cpu")
    short = "a wren in the snow"
    before = encoder.encode_texts([short])
    parts = lengthen(encoder.parts)
    assert context_of(parts) == 248
    save_model(parts, tmp_path / "run")
    text = "word " * 150
    tuned = load_goal(str(tmp_path / "run"), Options("cpu"))
    assert tuned.name == "goal:run" and tuned.tokenizer.context_length == 248
    plain = open_clip.create_model(f"local-dir:{tmp_path / 'run'}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'run'}")([text])
    assert tokens.shape == (1, 248)
    with torch.no_grad():
        wanted = plain.encode_text(tokens, normalize=True)
    torch.testing.assert_close(tuned.encode_texts([text]), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(tuned.encode_texts([short]), before, rtol=1e-5, atol=1e-6)  # within the kept positions
    assert lengthen(tuned.parts) is tuned.parts  # long enough already


@pytest.mark.parametrize("context, longer", [(24, 36), (76, 244), (100, 248), (247, 248), (248, 248), (300, 300)])
def test_a_window_becomes_248_at_most(tmp_path, context, longer):
    encoder = load_encoder(f"local-dir:{tiny_clip.write(tmp_path, text_cfg={'context_length': context})}", device="cpu")
    parts = lengthen(encoder.parts)
    assert context_of(parts) == longer == parts.model_cfg["text_cfg"]["context_length"]
    assert parts.model.attn_mask.shape == (longer, longer) and parts.model.context_length == longer


def test_folders_without_a_finished_training_are_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    for spec, needs in ((f"goal:{tmp_path}", "no tuned model"), ("goal:/nowhere", "no folder"), ("goal", "no folder")):
        with pytest.raises(LgcaError, match=needs):
            load_encoder(spec, device="cpu")


def test_the_configuration_is_written_last(tmp_path, monkeypatch):
    """A run without it is not finished, so weights must be whole before it is there."""
    encoder = load_encoder(f"local-dir:{tiny_clip.write(tmp_path / 'start')}", device="cpu")
    monkeypatch.setattr(json, "dumps", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_model(encoder.parts, tmp_path / "run")
    monkeypatch.undo()
    with pytest.raises(LgcaError, match="no tuned model"):
        load_encoder(f"goal:{tmp_path / 'run'}", device="cpu")
