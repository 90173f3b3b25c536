"""The page of cards: nothing of the tables is missing, and what is not known is said to be so."""

import re
from pathlib import Path

import pytest

from lgca_book.pages import cards
from lgca_core import load_encoder
from lgca_core.aviary import splits
from lgca_core.data.manifest import Manifest
from lgca_core.data.sources import SOURCES
from lgca_core.data.table import DATASETS
from lgca_core.evaluation.paper_values import ARCHIVES, ENCODERS
from lgca_core.prompts.published import FILES, FOLDERS


@pytest.fixture(scope="module")
def page():
    """The three lists of the page, without any manifest."""
    lists = (cards.data_sets([]), cards.prompt_sets(), cards.encoders(load_encoder("aviary", device="cpu")))
    return "".join(cards.show(of).data for of in lists)


def test_no_data_set_is_missing(page):
    for name in DATASETS:
        assert page.count(f'id="data-{name}"') == 1
    for source in SOURCES.values():
        for said in (source.homepage, *(archive.checksum for archive in source.archives)):
            assert said in page
        for archive in source.archives:
            assert archive.name in page and all(url.replace("&", "&amp;") in page for url in archive.urls)


def test_no_prompt_file_is_missing(page):
    for file in FILES.values():
        assert page.count(f"<dt>{file.path}</dt>") == 1
        assert file.blob in page and (file.sha256 is None or file.sha256 in page)
    assert page.count("sha256 not known") == sum(file.sha256 is None for file in FILES.values())


def test_no_encoder_is_missing(page):
    for name in ENCODERS.values():
        assert name in page and ARCHIVES[name] in page
    assert load_encoder("aviary", device="cpu").sha256 in page


def test_links_between_cards_lead_somewhere(page):
    anchors = set(re.findall(r'id="([^"]+)"', page))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= anchors
    assert {f"prompts-{folder}" for name, folder in FOLDERS.items() if name in DATASETS} <= links
    assert {f"data-{name}" for name in splits.SPLITS} <= links


def test_a_card_says_what_is_special_and_what_is_not_known(page):
    places = re.findall(r'id="data-places365".*?</section>', page)[0]
    assert "365, with 344 distinct names" in places and "smallest crop is 0.7" in places
    distinct = re.findall(r'id="data-places365-distinct".*?</section>', page)[0]
    assert "distinct names" not in distinct.split("<dt>Classes</dt>")[1].split("<dt>")[0]
    assert SOURCES["places365-distinct"].note in distinct
    assert page.count("its pictures were not at hand") == len(DATASETS)
    cub = re.findall(r'id="data-cub".*?</section>', page)[0]
    assert "none stated" in cub


def test_the_hash_of_a_manifest_stands_on_the_card_of_its_data_set():
    manifest = Manifest("pets", "test", Path("pets"), ("cat", "dog"), ())
    told = cards.show(cards.data_sets([manifest])).data
    assert told.count(manifest.sha256) == 1 and manifest.sha256 in re.findall(r'id="data-pets".*?</section>', told)[0]
