"""What every test has: a feature store of its own, not the user's; and which go first."""

import pytest


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LGCA_STORE", str(tmp_path_factory.mktemp("store")))


def pytest_collection_modifyitems(items):
    """The cluster's tests mostly wait: begun first, they run beside all others instead of after them."""
    items.sort(key=lambda item: item.path.name != "test_slurm.py")
