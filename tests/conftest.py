"""What every test has: a feature store of its own, not the user's."""

import pytest


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LGCA_STORE", str(tmp_path_factory.mktemp("store")))
