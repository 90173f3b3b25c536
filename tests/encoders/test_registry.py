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
    assert [row["encoder"] for row in list_encoders()][:4] == ["aviary", "aviary-colour", "aviary-shape", "other"]
    status, out, _ = lgca("encoders")
    assert status == 0 and "other" in out
    with pytest.raises(LgcaError, match="did you mean other"):
        load_encoder("othre:x")


@pytest.mark.parametrize("name", ["aviary", "other", "a:b"])
def test_a_name_that_is_taken_or_has_a_colon_is_refused(asked, name):
    with pytest.raises(LgcaError, match=name):
        register(name, lambda source, options: rich())


@pytest.fixture
def declared(monkeypatch, tmp_path):
    """Installs a package that declares the names `own`, `early` and `broken`, in a folder of the import path."""
    (tmp_path / "own_encoders.py").write_text(
        "from support.stub_encoder import rich\n"
        "def load(source, options):\n    return rich(name=f'own:{source} {options.precision}')\n"
    )
    about = tmp_path / "own_encoders-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-encoders\nVersion: 1.0\n")
    lines = ["own = own_encoders:load", "broken = own_encoders:none", "early = nowhere_to_be_found:load"]
    (about / "entry_points.txt").write_text("\n".join(["[lgca.encoders]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))


def test_an_installed_package_declares_names(declared):
    assert load_encoder("own", precision="bfloat16").name == "own:None bfloat16"
    assert load_encoder("own:/a/run").name == "own:/a/run float32"
    with pytest.raises(LgcaError, match="did you mean own"):
        load_encoder("onw:x")


@pytest.mark.parametrize(
    "name, why", [("broken", "has no attribute 'none'"), ("early", "No module named 'nowhere_to_be_found'")]
)
def test_a_package_that_cannot_be_loaded_is_named(declared, name, why):
    with pytest.raises(LgcaError) as caught:
        load_encoder(f"{name}:x")
    assert f"encoder {name} of the package own-encoders" in str(caught.value) and why in str(caught.value)


def test_tuned_models_are_one_of_the_declared_names():
    with pytest.raises(LgcaError, match="lgca goal train --out RUN"):
        load_encoder("goal")


def test_a_registered_name_comes_before_a_declared_one(declared, asked):
    register("own", lambda source, options: rich(name="mine"))
    assert load_encoder("own:x").name == "mine"
