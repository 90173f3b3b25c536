"""Models kept as folders and repositories: open_clip's, and transformers' CLIP and SigLIP beside transformers."""

import json
import math
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from lgca_core.encoders import embedded, hf_models, load_encoder
from lgca_core.errors import LgcaError
from lgca_core.pixels import Resize

transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
TEXTS = ["a wren", "a photo of a bird", "bird " * 40]
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = TOWER | {
    "vocab_size": 60,
    "max_position_embeddings": 16,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
VISION = TOWER | {"image_size": 32, "patch_size": 8}


def save_tokenizer(folder):
    """A tokenizer of single letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = {word: number for number, word in enumerate(["<s>", "</s>", "<unk>", *letters])}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    ).save_pretrained(folder)


def save_model(kind, folder, **more):
    """A tiny model of random weights with its tokenizer and preprocessing, as transformers saves them."""
    torch.manual_seed(0)
    named = {"clip": "CLIP", "siglip": "Siglip"}[kind]
    config = getattr(transformers, f"{named}Config")(text_config=TEXT, vision_config=VISION, **more)
    model = getattr(transformers, f"{named}Model")(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.05)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    sides = {"height": 32, "width": 32}
    said = {"size": {"shortest_edge": 32}, "crop_size": sides, "do_center_crop": True, "resample": 3} | {
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]
    }  # fmt: skip
    if kind == "siglip":
        said = {"size": sides, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("clip", "siglip")}
    return {kind: (folder, save_model(kind, folder)) for kind, folder in folders.items()}


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def by_transformers(folder, model, encoder, pixels):
    """Both vectors and the logits as transformers' own forward gives them."""
    mean, std = (torch.tensor(of).view(3, 1, 1) for of in (encoder.mean, encoder.std))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    padding = "max_length" if "siglip" in model.config.model_type else True
    tokens = tokenizer(TEXTS, padding=padding, truncation=True, max_length=16, return_tensors="pt")
    if padding == "max_length":
        tokens = {"input_ids": tokens["input_ids"]}
    return model(
        **{key: tokens[key] for key in ("input_ids", "attention_mask") if key in tokens},
        pixel_values=(pixels.float() / 255 - mean) / std,
    )


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_folder_of_transformers_gives_transformers_own_numbers(saved, kind, pixels):
    folder, model = saved[kind]
    encoder = load_encoder(f"local-dir:{folder}", device="cpu")
    theirs = by_transformers(folder, model, encoder, pixels)
    images, texts = encoder.encode_crops(pixels), encoder.encode_texts(TEXTS)
    assert torch.allclose(images, theirs.image_embeds, atol=1e-5)
    assert torch.allclose(texts, theirs.text_embeds, atol=1e-5)
    logits = encoder.logit_scale * images @ texts.T + (encoder.logit_bias or 0)
    assert torch.allclose(logits, theirs.logits_per_image, atol=1e-4)
    assert encoder.logit_scale == pytest.approx(math.exp(model.logit_scale.item()))
    assert (encoder.logit_bias is None) == (kind == "clip")
    assert (encoder.name, encoder.size) == (f"local-dir:{folder.name}", 32) and len(encoder.sha256) == 64
    assert encoder.resize == (Resize("bicubic", "shortest") if kind == "clip" else Resize("bilinear", "squash"))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_in_half_precision_it_is_near(saved, kind, precision, pixels):
    whole = load_encoder(f"local-dir:{saved[kind][0]}", device="cpu")
    half = load_encoder(f"local-dir:{saved[kind][0]}", device="cpu", precision=precision, workers=2, batch_size=2)
    difference = (half.encode_crops(pixels) - whole.encode_crops(pixels)).abs().max()
    assert 0 < difference < 0.03 and half.precision == precision


def test_the_tokenizer_and_the_configuration_decide_the_architecture_s_hash(tmp_path):
    save_model("clip", tmp_path)
    before = load_encoder(f"local-dir:{tmp_path}", device="cpu").architecture
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text().replace('"pair": null', '"pair":null') + "\n")
    assert load_encoder(f"local-dir:{tmp_path}", device="cpu").architecture != before


def test_weights_in_pieces_are_put_together(saved, tmp_path, pixels):
    folder, model = saved["clip"]
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    for name in hf_models.BESIDE:
        if (folder / name).is_file():
            (tmp_path / name).write_bytes((folder / name).read_bytes())
    whole, pieces = (load_encoder(f"local-dir:{path}", device="cpu") for path in (folder, tmp_path))
    assert torch.equal(pieces.encode_crops(pixels), whole.encode_crops(pixels))
    next(tmp_path.glob("model-*.safetensors")).unlink()
    with pytest.raises(LgcaError, match="no such checkpoint file"):
        load_encoder(f"local-dir:{tmp_path}", device="cpu")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("config.json", {"model_type": "blip"}, "kind 'blip'"),
        ("config.json", {"model_type": "siglip2"}, "NaFlex"),
        (
            "config.json",
            {"vision_config": VISION | {"num_hidden_layers": 3}},
            "it has no vision_model.encoder.layers.2",
        ),
        ("config.json", {"vision_config": VISION | {"image_size": [32, 64]}}, r"\[32, 64\]"),
        ("config.json", {"text_config": TEXT | {"hidden_act": "nonsense"}}, "could not build"),
        ("preprocessor_config.json", {"crop_size": {"height": 28, "width": 28}}, "preprocessor_config.json"),
        ("preprocessor_config.json", {"resample": 1}, "preprocessor_config.json"),
        ("preprocessor_config.json", {"rescale_factor": 1.0}, "preprocessor_config.json"),
        ("preprocessor_config.json", {"size": "large"}, "preprocessor_config.json"),
        ("preprocessor_config.json", {"image_mean": ["a", 0, 0]}, "mean"),
    ],
)
def test_what_cannot_be_run_as_it_was_meant_is_refused(tmp_path, name, change, said):
    save_model("clip", tmp_path)
    file = tmp_path / name
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(LgcaError, match=said) as caught:
        load_encoder(f"local-dir:{tmp_path}", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_repository_s_own_code_is_never_run(tmp_path):
    save_model("clip", tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    for name in ("config.json", "tokenizer_config.json"):
        file = tmp_path / name
        said = json.loads(file.read_text()) | {
            "auto_map": {"AutoTokenizer": [None, "evil.Evil"], "AutoModel": "evil.Evil"}
        }
        file.write_text(json.dumps(said))
    try:
        load_encoder(f"local-dir:{tmp_path}", device="cpu")
    except LgcaError as error:
        assert "could not build" in str(error)
    assert not (tmp_path / "ran").exists()


def test_without_the_extra_it_is_named(saved, monkeypatch):
    monkeypatch.setattr(hf_models, "find_spec", lambda name: None)
    with pytest.raises(LgcaError, match=r"transformers.*pip install 'lgca-core\[hf\]'"):
        load_encoder(f"local-dir:{saved['clip'][0]}", device="cpu")


# open_clip's


@pytest.fixture
def folder(tmp_path):
    """The embedded encoder as open_clip would publish it."""
    said = {
        "model_cfg": json.loads((embedded.FOLDER / f"{embedded.MODEL_NAME}.json").read_text()),
        "preprocess_cfg": {"mean": [0.5] * 3},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(said))
    save_file(load_file(embedded.WEIGHTS), tmp_path / "open_clip_model.safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")  # transformers' names of the same, often beside it
    return tmp_path


def test_a_folder_of_open_clip(folder):
    encoder, same = load_encoder(f"local-dir:{folder}", device="cpu"), load_encoder("aviary", device="cpu")
    assert torch.equal(encoder.encode_texts(TEXTS), same.encode_texts(TEXTS))
    assert (encoder.mean, encoder.activation) == (
        (0.5,) * 3,
        "quick_gelu",
    ) and encoder.name == f"local-dir:{folder.name}"
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(LgcaError, match="no configuration of open_clip"):
        load_encoder(f"local-dir:{folder}", device="cpu")
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(LgcaError, match=r"neither open_clip_config.json .* nor config.json"):
        load_encoder(f"local-dir:{folder}", device="cpu")


class Hub:
    """Stands in for huggingface_hub: a folder is the repository nobody/model, and what was asked of it is noted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.down = folder, [], False

    def download(self, repository, name, **named):
        self.asked.append(name)
        if self.down:
            raise LocalEntryNotFoundError("no network, and not in the cache\nmore")
        if repository != "nobody/model" or not (self.folder / name).is_file():
            raise EntryNotFoundError.__new__(EntryNotFoundError)  # its arguments differ by version
        return str(self.folder / name)


@pytest.fixture
def hub(monkeypatch):
    hub = Hub(Path())
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args: None)
    return hub


def test_a_repository_of_open_clip(folder, hub):
    hub.folder = folder
    encoder = load_encoder("hf-hub:nobody/model", device="cpu")
    assert torch.equal(encoder.encode_texts(TEXTS), load_encoder("aviary", device="cpu").encode_texts(TEXTS))
    assert encoder.name == "hf-hub:nobody/model" and "model.safetensors" not in hub.asked


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_repository_of_transformers(saved, hub, kind, pixels):
    hub.folder = saved[kind][0]
    encoder = load_encoder("hf-hub:nobody/model", device="cpu")
    assert torch.equal(encoder.encode_crops(pixels), load_encoder(f"local-dir:{hub.folder}").encode_crops(pixels))
    assert encoder.name == "hf-hub:nobody/model"


def test_a_repository_is_refused_before_its_weights_are_downloaded(folder, hub, saved, tmp_path):
    hub.folder = folder
    said = json.loads((folder / "open_clip_config.json").read_text())
    (folder / "open_clip_config.json").write_text(json.dumps(said | {"preprocess_cfg": {"resize_mode": "longest"}}))
    with pytest.raises(LgcaError, match="longest"):
        load_encoder("hf-hub:nobody/model", device="cpu")
    hub.folder = tmp_path / "other"
    hub.folder.mkdir()
    (hub.folder / "config.json").write_text('{"model_type": "blip"}')
    with pytest.raises(LgcaError, match="'blip'"):
        load_encoder("hf-hub:nobody/model", device="cpu")
    hub.down = True
    with pytest.raises(LgcaError, match=r"could not download hf-hub:nobody/model .*local-dir:FOLDER") as caught:
        load_encoder("hf-hub:nobody/model", device="cpu")
    assert "\n" not in str(caught.value)
    assert not [name for name in hub.asked if "safetensors" in name or ".bin" in name]
