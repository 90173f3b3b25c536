"""Checkpoint files as people have them: every wrapping loads, and what is none is named for what it is."""

import argparse
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lgca_core.encoders import checkpoints, load_encoder
from lgca_core.encoders.embedded import WEIGHTS
from lgca_core.errors import LgcaError


@pytest.fixture(scope="module")
def state():
    return load_file(WEIGHTS)


@pytest.fixture(scope="module")
def vectors():
    return load_encoder("aviary", device="cpu").encode_texts(["a wren"])


def loads(path, vectors):
    return torch.equal(load_encoder(f"aviary:{path}", device="cpu").encode_texts(["a wren"]), vectors)


PREFIXES = [
    "module.", "_orig_mod.", "model.", "clip_model.", "module._orig_mod.", "_orig_mod.module.model.", "net.student.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_names_lose_what_training_wraps_around_them(tmp_path, state, vectors, prefix):
    save_file({prefix + key: value for key, value in state.items()}, tmp_path / "tuned.safetensors")
    assert loads(tmp_path / "tuned.safetensors", vectors)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model_state_dict": state},
        lambda state: {"weights": state, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "lr": 0.1}},
        lambda state: {"checkpoint": {"model": {f"module.{key}": value for key, value in state.items()}}},
        lambda state: {"state_dict": state, "ema": state, "epoch": torch.tensor(3)},
        lambda state: {**state, "epoch": 3},
        lambda state: {**{f"model.{key}": value for key, value in state.items() if key != "logit_scale"},
                       "logit_scale": state["logit_scale"]},
    ],
)  # fmt: skip
def test_the_only_dict_of_tensors_is_taken_wherever_it_stands(tmp_path, state, vectors, wrap):
    torch.save(wrap(state), tmp_path / "run.pt")
    assert loads(tmp_path / "run.pt", vectors)


def test_a_folder_with_one_file_of_weights_is_that_file(tmp_path, state, vectors):
    save_file(state, tmp_path / "weights.safetensors")
    (tmp_path / "notes.txt").touch()
    assert loads(tmp_path, vectors)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(LgcaError, match=r"folder with 2 files of weights.*other.safetensors, weights.safetensors"):
        load_encoder(f"aviary:{tmp_path}", device="cpu")
    (tmp_path / "none").mkdir()
    with pytest.raises(LgcaError, match="folder without weights"):
        load_encoder(f"aviary:{tmp_path / 'none'}", device="cpu")


HTML = b"\n<!DOCTYPE html><html><title>Sign in</title></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty: fetch"),
        (POINTER, "Git LFS.*git lfs pull"),
        (HTML, "HTML page.*fetch the file itself"),
        (b'{"model_type": "clip"}', "but text"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"\x93\x12 noise \0\xff", "something else"),
    ],
)
def test_what_is_no_checkpoint_is_named_for_what_it_is(tmp_path, content, named):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(LgcaError, match=rf"w\.pt: .*{named}"):
        load_encoder(f"aviary:{tmp_path / 'w.pt'}", device="cpu")


@pytest.mark.parametrize("legacy", [False, True])
def test_other_objects_are_named_with_the_mend_and_without_torch_s_advice(tmp_path, state, legacy):
    torch.save(
        {"state_dict": state, "args": argparse.Namespace(lr=1)},
        tmp_path / "run.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(LgcaError, match=r"run.pt: .*argparse.Namespace.*save the state dict alone") as caught:
        load_encoder(f"aviary:{tmp_path / 'run.pt'}", device="cpu")
    said = str(caught.value)
    assert said.isprintable() and "weights_only" not in said and "torch.load" not in said


@pytest.mark.parametrize("save", [save_file, torch.save, lambda state, path: torch.save(
    state, path, _use_new_zipfile_serialization=False)])  # fmt: skip
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_file_cut_short_says_so(tmp_path, state, save, share):
    save(state, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(share * len(content))])
    with pytest.raises(LgcaError, match=r"cut: not a checkpoint that can be read: it was cut short") as caught:
        load_encoder(f"aviary:{tmp_path / 'cut'}", device="cpu")
    assert str(caught.value).isprintable()


def changed(state, key, value):
    return {**state, key: value}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda x: x.index_fill(0, torch.tensor([0]), torch.nan), "NaN or infinite"),
        (lambda x: x.index_fill(0, torch.tensor([0]), torch.inf), "NaN or infinite"),
        (lambda x: x > 0, "torch.bool"),
        (lambda x: x.to(torch.int8), "torch.int8"),
        (lambda x: x.to(torch.complex64), "torch.complex64"),
    ],
)
def test_numbers_that_are_no_weights_are_refused_by_name(tmp_path, state, change, named):
    torch.save(changed(state, "visual.proj", change(state["visual.proj"])), tmp_path / "w.pt")
    with pytest.raises(LgcaError, match=rf"w.pt: visual.proj .*{named}"):
        load_encoder(f"aviary:{tmp_path / 'w.pt'}", device="cpu")


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda state: {"a": state, "b": state}, r"several state dicts \(a, b\)"),
        (lambda state: {**state, "module.visual.proj": state["visual.proj"]}, "visual.proj twice"),
        (lambda state: {**state, "logit_scale": torch.zeros(3)}, r"logit_scale is \(3,\), not one number"),
        (lambda state: [*state.values()], "holds no state dict"),
        (lambda state: {0: state["visual.proj"]}, "holds no state dict"),
        (
            lambda state: {
                "text_model.embeddings.token_embedding.weight": state["visual.proj"],
                "vision_model.x": torch.ones(1),
            },
            r"names are those of transformers.* local-dir:.*lgca-core\[hf\]",
        ),
    ],
)
def test_state_dicts_that_cannot_be_meant_are_refused(tmp_path, state, made, named):
    torch.save(made(state), tmp_path / "w.pt")
    with pytest.raises(LgcaError, match=rf"w.pt: .*{named}"):
        load_encoder(f"aviary:{tmp_path / 'w.pt'}", device="cpu")


class Harmful(torch.nn.Module):
    """A scripted module that writes a file when TorchScript's interpreter restores it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(2))
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.weight, self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        self.weight = state[0]
        self.path = state[1]
        self.training = state[2]
        torch.save(self.weight, state[1])


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, its files are not
def test_an_archive_of_torchscript_is_read_and_never_run(tmp_path, monkeypatch):
    """Its code is not even looked at: a `__setstate__` may open any file for writing."""
    file, ran = tmp_path / "script.pt", tmp_path / "ran"
    torch.jit.script(Harmful(str(ran))).save(str(file))
    monkeypatch.setattr(torch.jit, "load", lambda *args, **named: ran.touch())
    with pytest.raises(LgcaError, match=r"script.pt: "):
        load_encoder(f"aviary:{file}", device="cpu")
    assert not ran.exists()


def test_only_the_archives_that_openai_published_go_to_the_interpreter(tmp_path, monkeypatch):
    assert len(checkpoints._published_archives()) == 9
    file = tmp_path / "w.pt"
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("constants.pkl", "data.pkl"):
            archive.writestr(f"w/{name}", pickle.dumps(checkpoints._Object))
    monkeypatch.setattr(torch.jit, "load", lambda *args, **named: torch.nn.Linear(1, 1))
    assert checkpoints.read_state(file, next(iter(checkpoints._published_archives()))).keys() == {"weight", "bias"}
    with pytest.raises(LgcaError, match="holds no state dict"):
        checkpoints.read_state(file, "0" * 64)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_inside_an_archive_runs_nothing(tmp_path):
    file, ran = tmp_path / "w.pt", tmp_path / "ran"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("w/constants.pkl", b"")
        archive.writestr("w/data.pkl", pickle.dumps({"weight": Touch(ran)}))
    with pytest.raises(LgcaError, match=r"w.pt: "):
        load_encoder(f"aviary:{file}", device="cpu")
    assert not ran.exists()


@pytest.mark.parametrize("content", ["[]", "{", '{"preprocess_cfg": 3, "model_cfg": []}'])
def test_a_configuration_beside_the_weights_may_be_anything(tmp_path, state, vectors, content):
    save_file(state, tmp_path / "w.safetensors")
    (tmp_path / "open_clip_config.json").write_text(content)
    assert loads(tmp_path / "w.safetensors", vectors)


@pytest.mark.parametrize("mean", ["abc", [0.5, 0.5], [0.5, None, 0.5]])
def test_a_mean_that_is_none_is_refused(tmp_path, state, mean):
    save_file(state, tmp_path / "w.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"preprocess_cfg": {"mean": mean}}))
    with pytest.raises(LgcaError, match="mean"):
        load_encoder(f"aviary:{tmp_path / 'w.safetensors'}", device="cpu")
