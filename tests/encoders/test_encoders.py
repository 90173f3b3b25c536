"""Encoders: open_clip models from every kind of file, foreign models, what is refused, and silence on stderr."""

import copy
import json
import logging
import math
import re
import subprocess
import sys
import urllib.error
import warnings
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import safetensors.torch
import torch
from open_clip import pretrained
from open_clip.model import build_model_from_openai_state_dict

from lgca_book.studies.flops import visual_flops
from lgca_core.encoder import Encoder
from lgca_core.encoders import list_encoders, load_encoder, open_clip_models
from lgca_core.encoders.devices import Options, how_to_run, pick_device, pick_precision
from lgca_core.encoders.fast_towers import bytes_of_picture, image_tower, text_tower
from lgca_core.encoders.open_clip_models import pick_batch_size
from lgca_core.errors import LgcaError
from lgca_core.evaluation.store import pool_key
from lgca_core.pixels.pillow_weights import BICUBIC, Resize
from support.command_line import lgca
from support.stub_encoder import colour_words, mean_colour, stub

CONFIG = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "head_width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
TEXTS = ["a wren", "a photo of a very small bird with a raised tail, brown all over", "", "word " * 200, "a wren"]


def config(**changes):
    made = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        made[key] = made[key] | value if isinstance(value, dict) else value
    return made


CONFIGS = {
    "tiny-test-quickgelu": config(),
    "tiny-test": config(quick_gelu=False),
    "tiny-test-large": config(vision_cfg={"image_size": 64}),
    "tiny-test-wide": config(vision_cfg={"image_size": [32, 64]}),
    "tiny-test-deep": config(vision_cfg={"layers": 3}),
    "tiny-test-shallow": config(vision_cfg={"layers": 1}),
    "tiny-test-resnet": config(vision_cfg={"layers": [1, 1, 1, 1], "width": 16}),
    "tiny-test-custom": config() | {"custom_text": True},
    "tiny-test-sigmoid": config() | {"init_logit_bias": -10},
}


@pytest.fixture(scope="module", autouse=True)
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    for name, made in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(made))
    paths, known = list(open_clip.factory._MODEL_CONFIG_PATHS), dict(open_clip.factory._MODEL_CONFIGS)
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIG_PATHS[:] = paths
    open_clip.factory._MODEL_CONFIGS.clear()
    open_clip.factory._MODEL_CONFIGS.update(known)


def build(name, seed=0):
    """A model of random weights, all of them: open_clip starts biases at zero."""
    torch.manual_seed(seed)
    logging.disable(logging.WARNING)
    model = open_clip.create_model(name, load_weights=False).eval().requires_grad_(False)
    logging.disable(logging.NOTSET)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape) * 0.05)
    return model


@pytest.fixture(scope="module")
def model():
    return build("tiny-test-quickgelu")


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    return path


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def by_open_clip(model, pixels, texts):
    """What open_clip itself makes of crops and sentences."""
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    images = model.encode_image((pixels.float() / 255 - mean) / std, normalize=True)
    return images, model.encode_text(open_clip.tokenize(texts), normalize=True)


def close(encoder, model, pixels, tolerance=1e-6):
    images, texts = by_open_clip(model, pixels, TEXTS)
    ours = encoder.encode_crops(pixels), encoder.encode_texts(TEXTS)
    return all((a - b).abs().max() < tolerance for a, b in zip(ours, (images, texts), strict=True))


# The towers


def equal(ours, theirs):
    """Up to the rounding of float32, which the largest values decide: sums of them are taken in another order."""
    return (ours - theirs).abs().max() <= 4e-6 * theirs.abs().max()


@pytest.mark.parametrize("name", CONFIGS)
def test_towers_equal_open_clip(name):
    model = build(name)
    size = model.visual.image_size
    side = (size, size) if isinstance(size, int) else tuple(size)
    images = torch.randn(4, 3, *side)
    tokens = open_clip.tokenize(TEXTS)
    assert equal(image_tower(model)(images), model.encode_image(images))
    assert equal(text_tower(model)(tokens), model.encode_text(tokens))
    # The plain ones are restated, the others left alone.
    assert (image_tower(model) == model.encode_image) == (name == "tiny-test-resnet")
    assert (text_tower(model) == model.encode_text) == (name == "tiny-test-custom")


def test_the_last_block_runs_for_the_class_token_only(model):
    tower = image_tower(model)
    encoder = Encoder(image=tower, text=text_tower(model), size=32, mean=(0, 0, 0), std=(1, 1, 1))
    tokens, d = 17, 128
    linear = 2 * d * d  # one token through one d x d matrix
    block = lambda queries: (  # noqa: E731
        linear * (2 * tokens + queries)  # keys and values, queries
        + 2 * 2 * queries * tokens * d  # scores and mixture
        + linear * queries * (1 + 8)  # projection, MLP
    )
    patches = 2 * 16 * d * 3 * 8 * 8
    assert visual_flops(encoder) == patches + block(tokens) + block(1) + 2 * d * 32


def test_a_batch_of_sentences_is_cut_at_its_longest(model):
    lengths = []
    seen = model.token_embedding.register_forward_hook(lambda _, args, __: lengths.append(args[0].shape[1]))
    text_tower(model)(open_clip.tokenize(["a wren", "a small brown bird"]))
    seen.remove()
    assert lengths == [6]  # start, four words, end


# Files


def save_safetensors(model, path):
    safetensors.torch.save_file(model.state_dict(), path)


def save_torch(model, path):
    torch.save(model.state_dict(), path)


def save_legacy(model, path):
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False)


def save_training_checkpoint(model, path):
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, path)


def save_openai(model, path):
    numbers = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    torch.save(model.state_dict() | {key: torch.tensor(value) for key, value in numbers.items()}, path)


def save_archive(model, path):
    """TorchScript with OpenAI's numbers among the weights, as OpenAI publishes."""
    scripted = copy.deepcopy(model)
    for key, value in {"input_resolution": 32, "vocab_size": 49408}.items():
        if hasattr(scripted, key):
            delattr(scripted, key)
        scripted.register_buffer(key, torch.tensor(value))
    del scripted.context_length
    scripted.register_buffer("context_length", torch.tensor(77))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, its files are not
        torch.jit.script(scripted).save(str(path))


FILES = [
    (save_safetensors, ".safetensors"),
    (save_safetensors, ""),  # the suffix does not decide
    (save_torch, ".pt"),
    (save_torch, ".safetensors"),
    (save_legacy, ".pt"),
    (save_training_checkpoint, ".pt"),
    (save_openai, ".pt"),
    (save_archive, ".pt"),
]


@pytest.mark.parametrize(("save", "suffix"), FILES)
def test_every_kind_of_file_loads_to_the_same_numbers(model, file, tmp_path, pixels, save, suffix):
    path = tmp_path / f"file{suffix}"
    save(model, path)
    encoder = load_encoder(f"tiny-test-quickgelu:{path}", device="cpu")
    expected = load_encoder(f"tiny-test-quickgelu:{file}", device="cpu")
    assert torch.equal(encoder.encode_crops(pixels), expected.encode_crops(pixels))
    assert torch.equal(encoder.encode_texts(TEXTS), expected.encode_texts(TEXTS))
    assert close(encoder, model, pixels)


def test_open_clip_reads_the_same_weights_as_openai_s(model, tmp_path, pixels):
    path = tmp_path / "half.safetensors"  # in float16, since that reader rounds to it
    safetensors.torch.save_file({key: x.half() for key, x in model.state_dict().items()}, path)
    other = build_model_from_openai_state_dict(safetensors.torch.load_file(path), cast_dtype=None).float()
    assert close(load_encoder(f"tiny-test-quickgelu:{path}", device="cpu"), other, pixels)


def test_what_an_encoder_knows_of_itself(file):
    import hashlib

    encoder = load_encoder(f"tiny-test-quickgelu:{file}", device="cpu")
    assert encoder.name == "tiny-test-quickgelu:weights.safetensors"
    assert encoder.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (encoder.activation, encoder.precision, encoder.size) == ("quick_gelu", "float32", 32)
    assert encoder.mean == open_clip.OPENAI_DATASET_MEAN and encoder.std == open_clip.OPENAI_DATASET_STD
    assert encoder.device == torch.device("cpu") and encoder.batch_size == 32
    assert load_encoder(f"tiny-test-quickgelu:{file}", device="cpu", batch_size=7).batch_size == 7


def test_scale_and_bias_of_the_logits_are_the_file_s(file, tmp_path):
    encoder = load_encoder(f"tiny-test-quickgelu:{file}", device="cpu")
    state = safetensors.torch.load_file(file)
    assert encoder.logit_scale == pytest.approx(state["logit_scale"].exp().item()) and encoder.logit_bias is None
    path = tmp_path / "sigmoid.safetensors"
    for scale, bias in ((4.7, -16.5), (2.0, None), (None, None)):
        said = {"logit_scale": scale, "logit_bias": bias}
        mine = {key: torch.tensor([value]) for key, value in said.items() if value is not None}
        safetensors.torch.save_file({k: v for k, v in state.items() if k != "logit_scale"} | mine, path)
        encoder = load_encoder(f"tiny-test-{'quickgelu' if bias is None else 'sigmoid'}:{path}", device="cpu")
        assert encoder.logit_scale == (None if scale is None else pytest.approx(math.exp(scale)))
        assert encoder.logit_bias == (None if bias is None else pytest.approx(bias))


def test_preprocessing_is_read_not_assumed(model, tmp_path):
    save_torch(model, tmp_path / "open_clip_model.pt")
    beside = tmp_path / "open_clip_config.json"
    spec = f"tiny-test-quickgelu:{tmp_path / 'open_clip_model.pt'}"
    beside.write_text(json.dumps({"preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}))
    encoder = load_encoder(spec, device="cpu")
    assert (encoder.mean, encoder.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    for change, way in (
        ({"interpolation": "bilinear"}, Resize("bilinear", "shortest")),
        ({"resize_mode": "squash"}, Resize("bicubic", "squash")),
    ):
        beside.write_text(json.dumps({"preprocess_cfg": change}))
        encoder = load_encoder(spec, device="cpu")
        assert encoder.resize == way
        assert pool_key(["0"], encoder, {}, encoder.resize.said) != pool_key(["0"], encoder, {}, BICUBIC.said)
    for change in ({"interpolation": "random"}, {"resize_mode": "longest"}):
        beside.write_text(json.dumps({"preprocess_cfg": change}))
        with pytest.raises(LgcaError, match="resizing in mode"):
            load_encoder(spec, device="cpu")


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.02), ("float16", 0.003)])
def test_low_precision_is_near_and_is_not_float32(model, file, pixels, precision, tolerance):
    encoder = load_encoder(f"tiny-test-quickgelu:{file}", device="cpu", precision=precision)
    assert encoder.precision == precision
    assert encoder.encode_crops(pixels).dtype == torch.float32
    assert close(encoder, model, pixels, tolerance) and not close(encoder, model, pixels, 1e-5)


@pytest.mark.slow
def test_a_full_size_vit_b_32_loads_from_its_path(tmp_path):
    """ViT-B-32-quickgelu, 151 million random weights saved in float16."""
    logging.disable(logging.WARNING)
    shapes = open_clip.create_model("ViT-B-32-quickgelu", load_weights=False, device="meta").state_dict()
    logging.disable(logging.NOTSET)
    common = torch.randn(49408 * 512).mul_(0.02).half()  # every weight is a piece of it: drawing takes the time
    state = {key: common[: x.numel()].reshape(x.shape).clone() for key, x in shapes.items()}
    assert sum(x.numel() for x in state.values()) == 151_277_313
    safetensors.torch.save_file(state, tmp_path / "b32.safetensors")
    encoder = load_encoder(f"ViT-B-32-quickgelu:{tmp_path / 'b32.safetensors'}", device="cpu")
    assert encoder.encode_crops(torch.zeros(1, 3, 224, 224, dtype=torch.uint8)).shape == (1, 512)
    assert encoder.encode_texts(["a wren"]).shape == (1, 512)


# What is refused


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("ViT-B-32-quikgelu:openai", "no encoder 'ViT-B-32-quikgelu': did you mean ViT-B-32-quickgelu"),
        ("avairy", "did you mean aviary"),
        ("zzz:openai", "did you mean ViT-B-32-quickgelu or aviary"),
        ("hf-hub:someone", "hf-hub:ORG/NAME"),
        ("local-dir:/no/such", "^/no/such: no such folder"),
        ("ViT-B-32-quickgelu", "give ViT-B-32-quickgelu:TAG .*openai"),
        ("ViT-B-32-quickgelu:opnai", "'opnai'.* openai, laion400m_e31"),
        ("tiny-test-quickgelu:openai", "no pretrained tags, only files"),
        ("ViT-B-32-quickgelu:/no/such/file.pt", "^/no/such/file.pt: no such checkpoint file$"),
        ("ViT-B-32:openai", "QuickGELU.*use ViT-B-32-quickgelu:openai"),
        ("ViT-B/32:openai", "use ViT-B-32-quickgelu:openai"),
        (
            "ViT-B-32-quickgelu:laion2b_s34b_b79k",
            "QuickGELU.*use ViT-B-32:laion2b_s34b_b79k",
        ),
    ],
)
def test_names_and_tags_are_refused_with_the_mend(spec, sentence):
    with pytest.raises(LgcaError, match=sentence):
        load_encoder(spec, device="cpu")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tiny-test-large", r"visual.positional_embedding is \(17, 128\).*\(65, 128\)"),
        ("tiny-test-deep", r"it has no visual.transformer.resblocks.2.ln_1.weight"),
        ("tiny-test-shallow", r"the model has no visual.transformer.resblocks.1.attn.in_proj_bias"),
        ("tiny-test-resnet", r"it has no visual.conv1.weight|visual.conv1.weight is"),
        ("ViT-B-32-quickgelu", r"positional_embedding is \(77, 64\).*\(77, 512\)"),
        ("tiny-test-wide", "32 x 64"),
    ],
)
def test_another_architecture_is_refused_by_its_first_mismatch(file, name, sentence):
    with pytest.raises(LgcaError, match=sentence) as caught:
        load_encoder(f"{name}:{file}", device="cpu")
    assert name in str(caught.value) and "weights.safetensors" in str(caught.value)


def test_activation_of_a_file_is_checked_where_it_can_be_known(model, tmp_path, monkeypatch):
    path = tmp_path / "file.pt"
    save_openai(model, path)
    with pytest.raises(LgcaError, match=r"file.pt: trained with QuickGELU.* use tiny-test-quickgelu:.*file.pt"):
        load_encoder(f"tiny-test:{path}", device="cpu")
    save_torch(model, path)
    assert load_encoder(f"tiny-test:{path}", device="cpu").activation == "gelu"  # a bare state dict does not tell
    # By the configuration beside it,
    beside = tmp_path / "open_clip_config.json"
    for name, quick in (("tiny-test-quickgelu", False), ("tiny-test", True)):
        beside.write_text(json.dumps({"model_cfg": {"quick_gelu": quick}}))
        with pytest.raises(LgcaError, match=r"trained with"):
            load_encoder(f"{name}:{path}", device="cpu")
    beside.unlink()
    # or by its hash, where OpenAI or open_clip publish it.
    sha256 = load_encoder(f"tiny-test:{path}", device="cpu").sha256
    url = f"https://openaipublic.example/clip/models/{sha256}/tiny.pt"
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-test", {"openai": {"url": url, "quick_gelu": True}})
    with pytest.raises(LgcaError, match=r"trained with QuickGELU"):
        load_encoder(f"tiny-test:{path}", device="cpu")


@pytest.mark.parametrize("content", [b"", b"GIF89a, no weights", b"PK\x03\x04 no zip", b"\x80\x04cos\nsystem\n."])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(LgcaError, match=r"weights.pt: .*(empty|not a checkpoint)") as caught:
        load_encoder(f"tiny-test:{path}", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_truncated_or_foreign_file_is_refused(file, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(LgcaError, match=r"cut.safetensors: not a checkpoint"):
        load_encoder(f"tiny-test-quickgelu:{path}", device="cpu")
    torch.save({"epoch": 3, "scores": [1, 2]}, path)
    with pytest.raises(LgcaError, match=r"cut.safetensors: holds no state dict"):
        load_encoder(f"tiny-test-quickgelu:{path}", device="cpu")


class Touch:
    """Unpickled by an unsafe loader, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_checkpoint_runs_no_code(tmp_path):
    torch.save({"state_dict": Touch(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(LgcaError, match=r"evil.pt: not a checkpoint") as caught:
        load_encoder(f"tiny-test:{tmp_path / 'evil.pt'}", device="cpu")
    assert not (tmp_path / "ran").exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("Name or service not known"), FileNotFoundError("x\ny"), OSError()]
)
def test_no_network_is_one_sentence(monkeypatch, error):
    def download(*args, **other):
        raise error

    monkeypatch.setattr(pretrained, "download_pretrained", download)
    with pytest.raises(LgcaError, match=r"could not download ViT-B-32-quickgelu:openai") as caught:
        load_encoder("ViT-B-32-quickgelu:openai", device="cpu")
    assert "elsewhere and give ViT-B-32-quickgelu:/path/to/file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tag_s_weights_are_those_downloaded(monkeypatch, file, model, pixels):
    entry = pretrained._pcfg(hf_hub="nobody/nothing/", quick_gelu=True, mean=(0.1, 0.2, 0.3))
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny-test-quickgelu", {"some_tag": entry})
    monkeypatch.setattr(pretrained, "download_pretrained", lambda entry: str(file))
    encoder = load_encoder("tiny-test-quickgelu:some-tag", device="cpu")
    assert encoder.name == "tiny-test-quickgelu:some-tag" and encoder.mean == (0.1, 0.2, 0.3)
    replaced = replace(encoder, mean=open_clip.OPENAI_DATASET_MEAN)
    assert close(replaced, model, pixels)


@pytest.mark.parametrize(("amx", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_the_fast_precision_of_a_processor_is_the_one_it_multiplies_in(monkeypatch, file, amx, precision):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert load_encoder(f"tiny-test-quickgelu:{file}", device="cpu", precision="auto").precision == precision


def test_device_and_precision_are_checked(monkeypatch, file):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spec = f"tiny-test-quickgelu:{file}"
    assert load_encoder(spec).device == torch.device("cpu")
    for wrong, said in (
        ({"device": "cuda"}, "no CUDA device is available"),
        ({"device": "tpu"}, "device .*cpu, cuda.*'tpu'"),
        ({"device": torch.device("meta")}, "device .*'meta'"),
        ({"device": "cuda:0"}, "no CUDA device is available"),
        ({"device": "mps"}, "no Apple GPU"),
        ({"precision": "int4"}, "precision .*'int4'"),
        ({"batch_size": 0}, "batch size .*1, got 0"),
    ):
        with pytest.raises(LgcaError, match=said):
            load_encoder(spec, **wrong)


def test_a_device_may_be_numbered_or_torch_s_own(monkeypatch, file):
    spec = f"tiny-test-quickgelu:{file}"
    assert load_encoder(spec, device=torch.device("cpu")).device == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for name, number in (
        ("auto", 0),
        ("cuda", 0),
        ("cuda:1", 1),
        (torch.device("cuda", 1), 1),
        (torch.device("cuda"), 0),
    ):
        assert pick_device(name) == torch.device("cuda", number)
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(LgcaError, match=r"no device cuda:2: .*cuda:0 to cuda:1"):
        load_encoder(spec, device="cuda:2")


def test_on_an_apple_gpu_the_model_runs_there_and_vectors_come_back(monkeypatch, model, file, pixels):
    """torch's mps is stood in for: what is asked to go to it is noted, and stays on the CPU."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("mps") == torch.device("mps")
    assert pick_precision("auto", torch.device("mps")) == "float16"
    assert how_to_run(torch.device("mps"), Options(workers=4)) == {
        "device": torch.device("cpu"),
        "workers": 1,
        "streams": 1,
    }
    sent = []

    class Place:
        type = "mps"

    plain = torch.Tensor.to

    def to(tensor, *args, **named):
        if args and isinstance(args[0], Place):
            sent.append(tuple(tensor.shape))
            args = ("cpu", *args[1:])
        return plain(tensor, *args, **named)

    build = open_clip_models._build
    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(open_clip_models, "pick_device", lambda name: Place())
    monkeypatch.setattr(
        open_clip_models, "_build", lambda name, kind, place, words: build(name, kind, torch.device("cpu"), words)
    )
    encoder = load_encoder(f"tiny-test-quickgelu:{file}", device="mps", workers=4)
    assert (encoder.device, encoder.workers, encoder.batch_size) == (torch.device("cpu"), 1, 64)
    assert close(encoder, model, pixels)
    assert tuple(pixels.shape) in sent and (len(set(TEXTS)), 77) in sent


# Silence


def test_nothing_reaches_stderr_and_logging_is_left_alone(file):
    code = """
import logging, sys
from lgca_core.encoders import list_encoders, load_encoder, open_clip_models
import open_clip, torch
open_clip.add_model_config(sys.argv[1])
encoder = load_encoder(sys.argv[2], device="cpu")
encoder.encode_crops(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
encoder.encode_texts(["a wren"])
list_encoders()
assert not logging.root.handlers and logging.root.manager.disable == 0
"""
    folder = next(path for path in open_clip.factory._MODEL_CONFIG_PATHS if (path / "tiny-test.json").exists())
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code, str(folder), f"tiny-test-quickgelu:{file}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_caller_s_own_log_and_warnings_stay_empty_too(file, caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    load_encoder(f"tiny-test-quickgelu:{file}", device="cpu")
    assert not caplog.records and not recwarn.list


# Any encoder


def test_vectors_are_unit_and_ordinary(file):
    for encoder in (stub(), load_encoder(f"tiny-test-quickgelu:{file}", device="cpu")):
        crops = torch.randint(1, 256, (3, 3, encoder.size, encoder.size), dtype=torch.uint8)
        for vectors in (encoder.encode_crops(crops), encoder.encode_texts(["red", "blue"])):
            assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)))
            assert vectors.dtype == torch.float32 and not vectors.is_inference()


def test_crops_are_scaled_and_normalised_in_batches():
    seen = []
    encoder = Encoder(
        image=lambda x: (seen.append(x), mean_colour(x) + 9)[1],
        text=lambda texts: torch.ones(len(texts), 3),
        size=4,
        mean=(0.0, 0.5, 1.0),
        std=(1.0, 0.5, 0.25),
        batch_size=3,
    )
    crops = torch.full((7, 3, 4, 4), 51, dtype=torch.uint8)
    assert encoder.encode_crops(crops).shape == (7, 3)
    assert [len(x) for x in seen] == [3, 3, 1] and encoder.image_passes == 7
    assert torch.allclose(torch.cat(seen).amax(dim=(0, 2, 3)), torch.tensor([0.2, -0.6, -3.2]))
    assert crops.min() == 51  # the crops are not written on


HALVED = r"the device's memory does not hold \d+ inputs at once: going on with \d+"


def test_a_full_memory_halves_the_batches_and_loses_nothing():
    crops = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8)
    texts = [f"{word} {k}" for word in ("red", "green", "blue") for k in range(9)]
    asked = []

    def within(most, run):
        def limited(part):
            asked.append(len(part))
            if len(part) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return run(part)

        return limited

    whole = stub(batch_size=16)
    small = stub(within(5, mean_colour), within(3, colour_words), batch_size=16)
    with pytest.warns(RuntimeWarning, match=HALVED) as said:
        assert torch.equal(small.encode_crops(crops), whole.encode_crops(crops))
    assert [re.findall(r"\d+", str(one.message)) for one in said] == [["16", "8"], ["8", "4"]]
    assert small.batch_size == 4 and small.image_passes == 40
    assert [n for n in asked if n > 5] == [16, 8] and sum(n for n in asked if n <= 5) == 40  # it learns at once
    asked.clear()
    small.encode_crops(crops)
    assert max(asked) == 4
    with pytest.warns(RuntimeWarning, match=HALVED) as said:
        assert torch.equal(small.encode_texts(texts), whole.encode_texts(texts))
    assert [re.findall(r"\d+", str(one.message)) for one in said] == [["4", "2"]]
    assert small.text_passes == 27
    with pytest.warns(RuntimeWarning, match=HALVED), pytest.raises(torch.OutOfMemoryError):
        stub(within(0, mean_colour)).encode_crops(crops)


def test_a_gpu_with_little_free_memory_gets_smaller_batches(monkeypatch):
    gpu = torch.device("cuda", 0)
    free = 10**9
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**11))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 10**8)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 10**8)
    assert pick_batch_size(gpu, 10**6) == 256  # of 400
    assert pick_batch_size(gpu, 1) == pick_batch_size(gpu, None) == 512
    assert pick_batch_size(gpu, 10**10) == 1
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * 10**8)  # torch's, and free
    assert pick_batch_size(gpu, 10**6) == 512  # of 560
    assert pick_batch_size(torch.device("cpu"), 10**10) == 32


def test_memory_of_a_picture_grows_with_its_tokens_and_bits(model):
    assert bytes_of_picture(model, torch.float32) == 16 * 17 * 128 * 4 + 3 * 32 * 32 * (1 + 4)
    assert bytes_of_picture(model, torch.float16) == 16 * 17 * 128 * 2 + 3 * 32 * 32 * (1 + 2)
    assert bytes_of_picture(build("tiny-test-resnet"), torch.float32) is None


def test_each_distinct_sentence_once_by_length_in_the_order_asked():
    calls = []
    encoder = stub(text=lambda t: (calls.append(t), torch.tensor([[len(x), 1.0, 0] for x in t]))[1], batch_size=2)
    vectors = encoder.encode_texts(["ccc", "a", "bb", "a", "dddd", "ccc"])
    assert calls == [["a", "bb"], ["ccc", "dddd"]] and encoder.text_passes == 4
    assert (vectors[:, 0] / vectors[:, 1]).round().tolist() == [3, 1, 2, 1, 4, 3]


def test_wrong_shapes_name_both():
    with pytest.raises(LgcaError, match=r"\(3, 8, 8\).*\(3, 16, 16\)"):
        stub().encode_crops(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(LgcaError, match=r"crops are torch.float32, the encoder takes torch.uint8"):
        stub().encode_crops(torch.zeros(2, 3, 16, 16))
    with pytest.raises(LgcaError, match=r"2 inputs .*\(1, 3\)"):
        stub(lambda x: mean_colour(x)[:1]).encode_crops(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(LgcaError, match=r"three means"):
        Encoder(image=mean_colour, text=list, size=16, mean=(0, 0), std=(1, 1, 1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_size": 0}, "batch size .*1, got 0"),
        ({"workers": 0}, "workers .*1, got 0"),
        ({"streams": 0}, "streams .*1, got 0"),
        ({"device": "mps"}, "mps, which has no float64"),
    ],
)
def test_an_encoder_that_could_not_run_is_not_made(wrong, said):
    with pytest.raises(LgcaError, match=said):
        stub(**wrong)


def test_a_hugging_face_model_in_ten_lines():
    """As README shows it, with stand-ins that behave as transformers' CLIPModel and CLIPTokenizerFast do."""

    class Batch(dict):
        def to(self, device):
            return self

    class Model:
        def get_image_features(self, pixel_values):
            return mean_colour(pixel_values).half()

        def get_text_features(self, input_ids, attention_mask):
            return (input_ids * attention_mask).float() @ torch.ones(4, 3)

    def tokenizer(texts, padding, truncation, return_tensors):
        assert isinstance(texts, list) and padding and truncation and return_tensors == "pt"
        return Batch(input_ids=torch.ones(len(texts), 4), attention_mask=torch.ones(len(texts), 4))

    model = Model()
    encoder = Encoder(
        image=lambda pixels: model.get_image_features(pixel_values=pixels),
        text=lambda texts: model.get_text_features(
            **tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        ),
        size=224,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        name="hf",
    )
    from lgca_core.class_vectors import encode_classes, logits
    from lgca_core.lgca import LGCA
    from lgca_core.views import Views
    from support.stub_encoder import noise

    views = Views(encoder, [noise(240, 320)])
    matrix = encode_classes(encoder, [["a cat"], ["a dog", "a barking dog"]])
    assert logits(LGCA(n=4).vectors(views, ["x"], 0), matrix).shape == (1, 2)
    assert (encoder.image_passes, encoder.text_passes) == (LGCA(n=4).passes(), 3)


def test_the_table_of_encoders_holds_only_what_loads():
    rows = list_encoders()
    names = [row["encoder"] for row in rows]
    assert names[0] == "aviary" and len({tuple(row) for row in rows}) == 1
    assert "ViT-B-32-quickgelu:openai" in names and "ViT-B-32:laion2b_s34b_b79k" in names
    assert "ViT-B-32:openai" not in names  # activation
    assert {"ViT-B-16-SigLIP:webli", "PE-Core-L-14-336:meta", "MobileCLIP2-S0:dfndr2b"} <= set(names)
    assert {row["resize"] for row in rows} == {
        f"{kind}, {mode}" for kind in ("bicubic", "bilinear") for mode in ("shortest", "squash")
    }


def test_every_tag_is_listed_or_has_a_sibling_of_its_activation():
    """Many stand under two names, of which one computes another activation than they were trained with."""
    listed = {row["encoder"] for row in list_encoders()}
    for name, tag in open_clip.list_pretrained():
        assert {f"{name}:{tag}", f"{name}-quickgelu:{tag}", f"{name.removesuffix('-quickgelu')}:{tag}"} & listed


def test_what_is_lacking_here_is_refused_before_a_download_and_not_listed(monkeypatch):
    monkeypatch.setattr(open_clip_models, "find_spec", lambda name: None)
    monkeypatch.setattr(pretrained, "download_pretrained", lambda *args: pytest.fail("downloaded"))
    for spec, mend in (("ViT-B-16-SigLIP:webli", r"pip install 'lgca-core\[hf\]'"),):
        with pytest.raises(LgcaError, match=mend):
            load_encoder(spec, device="cpu")
        assert spec not in [row["encoder"] for row in list_encoders()]
    for config, kind in (
        ({"vision_cfg": {"image_size": [32, 64]}, "text_cfg": {}}, "32 x 64"),
        ({"vision_cfg": {"timm_model_name": "no_such"}, "text_cfg": {}}, "timm's model no_such"),
    ):
        assert kind in open_clip_models.lacking(config, open_clip_models.preprocessing({}))


def test_the_list_can_be_narrowed_and_read_by_programs():
    status, out, _ = lgca("encoders", "siglip", "384", "--json")
    rows = json.loads(out)
    assert status == 0 and rows and set(rows[0]) == {"encoder", "input", "activation", "resize", "weights"}
    assert all("SigLIP" in row["encoder"] and "384" in row["encoder"] for row in rows)
    assert lgca("encoders", "no-such-thing")[::2] == (
        2,
        "error: no encoder's name holds no-such-thing: lgca encoders lists all of them\n",
    )
