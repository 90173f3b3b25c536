"""What a page is made of: the book's records, or a user's own, which say which encoder and pictures are meant."""

import pytest

from lgca_book import sources as module
from lgca_book.sources import sources
from lgca_core.data import folder
from lgca_core.encoders.registry import load_encoder
from lgca_core.errors import LgcaError
from lgca_core.evaluation.parts import EncoderInfo
from lgca_core.evaluation.record import Dataset, save
from support.records import SHA, full_record
from support.stub_encoder import noise_folders


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """An own record of pictures in a folder, and one of a sweep beside it."""
    monkeypatch.setattr(module, "CHECKOUT", tmp_path / "checkout")
    manifest = noise_folders(tmp_path / "photos", ("heron", "ibis"), [(20, 20), (24, 20)])
    weights = load_encoder("aviary", device="cpu").sha256
    dataset = Dataset(name="photos", split="all", count=4, classes=["heron", "ibis"], manifest_sha256=manifest.sha256)
    own = {
        "dataset": dataset,
        "encoder": EncoderInfo(name="aviary", weights_sha256=weights, precision="float32"),
        "parameters": {"encoder": "aviary", "dataset": str(tmp_path / "photos")},
    }
    for name in ("mine", "mine-crops"):
        record, predictions = full_record({"wca": [3], "clip": [2]}, count=4)
        save(record.model_copy(update=own), predictions, tmp_path / "runs" / name)
    return tmp_path


def test_records_named_after_their_data_sets_are_the_books(mine):
    of = sources(str(mine / "runs"), "a:/x/file.pt", ["/some/where/mine"], "embedded")
    assert not of.own and of.names == ["mine"]
    assert (of.encoder, of.datasets, of.profile) == ("a:/x/file.pt", ["/some/where/mine"], "embedded")
    assert of.sweep("crops") == "mine-crops" and of.sweep("settings") == "mine-settings"
    assert of.asked(["wca"], 5) == {"methods": ["wca"], "seeds": 5}


@pytest.mark.parametrize("place", ["runs", "runs/mine"])
def test_an_own_record_or_a_folder_of_them_says_what_it_is_of(mine, place):
    of = sources(str(mine / place), "ViT-B-32:openai", ["aviary"], "embedded")
    assert of.own and of.profile == "own"
    assert (of.names, of.encoder, of.datasets) == (["mine"], "aviary", [str(mine / "photos")])
    assert of.sweep("crops") == "mine-crops" and of.sweep("settings") == "mine"  # one record may hold it all
    assert of.asked(["wca", "lgca"], 5) == {"methods": [], "seeds": 1}


def test_a_full_run_and_the_books_own_folder_are_never_taken_for_own_records(mine):
    assert not sources(str(mine / "runs"), "aviary", ["aviary"], "full").own
    books = module.CHECKOUT / "_build" / "records"
    books.parent.mkdir(parents=True)
    (mine / "runs").rename(books)
    assert not sources(str(books), "aviary", ["aviary"], "embedded").own


def test_a_relative_place_may_start_at_the_checkout(mine, monkeypatch):
    module.CHECKOUT.mkdir()
    (mine / "runs").rename(module.CHECKOUT / "runs")
    (mine / "elsewhere").mkdir()
    monkeypatch.chdir(mine / "elsewhere")
    assert sources("runs/mine", "aviary", ["aviary"], "embedded").own


def test_the_pictures_of_an_own_record_must_be_those_that_it_says(mine):
    from lgca_core.evaluation.record import load

    said = mine / "said.json"
    said.write_text('{"heron": ["It wades."], "ibis": ["It probes."]}')
    record, _ = load(mine / "runs" / "mine")
    of = sources(str(mine / "runs" / "mine"), "aviary", ["aviary"], "embedded")
    there = of.pictures_of(record, str(said))
    assert there.manifest == folder(mine / "photos", remember=True) and not there.lacks
    assert there.sentences == [["It wades."], ["It probes."]]
    assert "descriptions" in of.pictures_of(record).lacks
    (mine / "photos" / "heron" / "more.png").write_bytes((mine / "photos" / "ibis" / "0.png").read_bytes())
    assert "which are not where it says" in of.pictures_of(record, str(said)).lacks


def test_an_encoder_with_other_weights_than_the_records_is_refused(mine):
    from lgca_core.evaluation.record import load

    record, _ = load(mine / "runs" / "mine")
    of = sources(str(mine / "runs" / "mine"), "aviary", ["aviary"], "embedded")
    assert of.encoder_of(record).sha256 == record.encoder.weights_sha256
    other = record.encoder.model_copy(update={"weights_sha256": SHA})
    with pytest.raises(LgcaError, match="no longer those of the record"):
        of.encoder_of(record.model_copy(update={"encoder": other}))
