"""What every test has: a feature store of its own, not the user's; a browser for those that ask; and which go first."""

import shutil

import pytest
import torch
from hypothesis import settings

# The same examples every time, and none is too slow: how long one takes is the machine's affair.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def pytest_addoption(parser):
    parser.addoption("--renew-golden", action="store_true", help="write tests/evaluation/golden_features anew")


@pytest.fixture(autouse=True)
def own_store(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("LGCA_STORE", str(tmp_path_factory.mktemp("store")))


@pytest.fixture(autouse=True)
def no_defaults(monkeypatch, tmp_path_factory):
    """The encoder that the user of this machine has chosen for himself is not that of a test."""
    monkeypatch.delenv("LGCA_ENCODER", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))


@pytest.fixture(autouse=True)
def same_draws():
    """torch draws the same numbers for a test whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Where data sets and prompts are kept: a place of the test's own, not there yet."""
    monkeypatch.setenv("LGCA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server(monkeypatch):
    """Files on the loopback, and downloads that do not pause between attempts."""
    from lgca_core.data import downloads
    from support.loopback import serving

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium and no google-chrome on this machine")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks who asks for a browser, skips what wants a GPU where there is none, and puts what takes longest first.

    The cluster's tests mostly wait, and whole runs of the book take minutes: the others run beside them.
    """
    for item in items:
        if "chromium" in item.fixturenames:
            item.add_marker("browser")
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA GPU on this machine"))
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None and item.path.name != "test_reproduce.py")
