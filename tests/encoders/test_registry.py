"""Encoders of other origins under names of their own."""

import pytest

from lgca_core.encoders import list_encoders, load_encoder, register, registry
from lgca_core.encoders.devices import Options
from lgca_core.errors import LgcaError
from support.command_line import lgca
from support.stub_encoder import rich


@pytest.fixture
def asked(monkeypatch):
    """What the loader of the name `other` was called with."""
    monkeypatch.setattr(registry, "ORIGINS", dict(registry.ORIGINS))
    asked = []
    load = lambda source, options: asked.append((source, options)) or rich(name=f"other:{source}")  # noqa: E731
    register("other", load, input="16 px", activation="none", weights="random")
    return asked


def test_a_registered_name_is_loaded_by_its_own_loader(asked):
    assert load_encoder("other", device="cpu").name == "other:None"
    assert load_encoder("other:/a/run", precision="bfloat16", batch_size=3, workers=2).name == "other:/a/run"
    assert asked == [(None, Options(device="cpu")), ("/a/run", Options("auto", "bfloat16", 3, 2))]


def test_it_is_listed_and_suggested(asked):
    assert [row["encoder"] for row in list_encoders()][:2] == ["aviary", "other"]
    status, out, _ = lgca("encoders")
    assert status == 0 and "other" in out
    with pytest.raises(LgcaError, match="did you mean other"):
        load_encoder("othre:x")


@pytest.mark.parametrize("name", ["aviary", "other", "a:b"])
def test_a_name_that_is_taken_or_has_a_colon_is_refused(asked, name):
    with pytest.raises(LgcaError, match=name):
        register(name, lambda source, options: rich())
