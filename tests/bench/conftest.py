"""Time is what a test says it is: no test of a benchmark depends on how fast or how busy the machine is."""

import itertools
import json

import open_clip
import pytest

from lgca_core.bench import harness


@pytest.fixture
def seconds(monkeypatch):
    """A clock that stands still, and what moves it: ``seconds(3)`` lets three pass."""
    now = [0.0]
    monkeypatch.setattr(harness, "clock", lambda device: now[0])

    def let_pass(some: float) -> None:
        now[0] += some

    return let_pass


@pytest.fixture(scope="module")
def ticks():
    """A clock that is read as 0, 1, 4, 9, ...: no two arms take the same, and none takes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        read = itertools.count()
        patch.setattr(harness, "clock", lambda device: float(next(read) ** 2))
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """Name of a small architecture of our own."""
    config = {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
    }
    file = tmp_path_factory.mktemp("tiny") / "tiny-benchmark.json"
    file.write_text(json.dumps(config))
    open_clip.add_model_config(file)
    return file.stem
