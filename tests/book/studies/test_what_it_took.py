"""What it took and would take: read from records, computed by formula, unknown where nobody measured."""

import ast
import math
import re

import nbformat
import pytest

from lgca_book.building import run_notebook
from lgca_book.experiments import experiments
from lgca_book.pages import costs
from lgca_book.planning import plan
from lgca_book.studies import what_it_took
from lgca_core.data.sources import SOURCES
from lgca_core.errors import LgcaError
from lgca_core.evaluation import evaluate, parts
from lgca_core.evaluation.record import save
from lgca_core.prompts.class_prompts import ClassPrompts
from support.shared import ROOT
from support.stub_encoder import noise_folders, rich


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two pictures evaluated, as the record `tiny` in a folder."""
    root = tmp_path_factory.mktemp("tiny")
    manifest = noise_folders(root / "pictures", ("blue", "red"), [(60, 80)], name="tiny")
    said = ClassPrompts.by_name(manifest.classes, descriptions={name: [f"a {name} one"] for name in manifest.classes})
    record, predictions = evaluate.evaluate(manifest, rich(), ["clip", "wca"], said, seeds=(0, 1))
    save(record, predictions, root / "records" / "tiny")
    return root / "records"


def like(record, **changes):
    return record.model_copy(update=changes)


def test_records_are_found_by_their_place(made):
    assert list(what_it_took.records_in(made)) == ["tiny"]
    assert what_it_took.records_in(made / "nowhere") == {}


def test_an_evaluation_is_told_as_its_record_measured_it(made):
    record = like(what_it_took.records_in(made)["tiny"], seconds=7200.0, image_passes=36)
    [row] = what_it_took.evaluations({"tiny": record}, price_per_hour=3).to_dict("records")
    assert row["alone"] == 2 * (1 + 61 + 61) and row["passes"] == 36 and row["runs"] == 3 and row["pictures"] == 2
    assert row["rate"] == 36 / 7200 and row["money"] == 6
    [stored] = what_it_took.evaluations({"tiny": like(record, image_passes=0)}).to_dict("records")
    assert math.isnan(stored["rate"]) and math.isnan(stored["money"])
    assert (
        "not available"
        in costs.evaluations(what_it_took.evaluations({"t": like(record, image_passes=0)}), None).to_html()
    )


def test_without_records_the_tables_are_empty():
    table = what_it_took.evaluations({})
    assert table.empty and costs.evaluations(table, None).to_html()
    assert what_it_took.machines({}).empty and costs.machines(what_it_took.machines({})).to_html()


def test_a_page_adds_up_its_records_and_is_unknown_without_one(made):
    record = like(what_it_took.records_in(made)["tiny"], seconds=10.0, image_passes=5)
    table = what_it_took.pages({"a": record, "b": record}, {"one": ("a",), "two": ("a", "b"), "three": ("a", "c")})
    assert table.passes.tolist()[:2] == [5, 10] and table.seconds.tolist()[:2] == [10, 20]
    assert table.loc[2, ["passes", "seconds"]].isna().all()


def test_a_machine_is_as_fast_as_its_fastest_record(made):
    record = what_it_took.records_in(made)["tiny"]
    slow, fast = like(record, seconds=10.0, image_passes=5), like(record, seconds=10.0, image_passes=50)
    [row] = what_it_took.machines({"a": slow, "b": fast, "c": like(record, image_passes=0)}).to_dict("records")
    assert row["rate"] == 5 and row["records"] == 3


def test_what_parts_took_is_counted_with_their_record(made):
    record = like(what_it_took.records_in(made)["tiny"], seconds=10.0, image_passes=0)
    part = parts.Part(
        part="1/2",
        utc=record.utc,
        manifest_sha256=record.dataset.manifest_sha256,
        encoder=record.encoder,
        device="cuda:1: a GPU",
        pictures=1,
        seconds=30.0,
        image_passes=300,
        text_passes=0,
        peak_memory=2 * record.peak_memory,
    )
    parted = like(
        record, parts=[part, part.model_copy(update={"part": "2/2", "image_passes": 900, "device": "cuda:2: a GPU"})]
    )
    [row] = what_it_took.evaluations({"tiny": parted}, price_per_hour=3600).to_dict("records")
    assert (row["passes"], row["seconds"], row["money"]) == (1200, 70, 70) and row["rate"] == 1200 / 70
    assert row["memory"] == 2 * record.peak_memory
    [page] = what_it_took.pages({"tiny": parted}, {"one": ("tiny",)}).to_dict("records")
    assert (page["passes"], page["seconds"]) == (1200, 70)
    cpu, gpu = what_it_took.machines({"tiny": parted}).to_dict("records")
    assert (cpu["device"], gpu["device"], gpu["records"], gpu["rate"]) == (record.device, "cuda: a GPU", 1, 30)
    assert math.isnan(cpu["rate"]) and what_it_took.rate_of({"tiny": parted}, record.encoder.name) == 30


def test_hours_want_a_record_on_a_gpu_of_that_encoder(made):
    record = like(what_it_took.records_in(made)["tiny"], seconds=10.0, image_passes=50)
    assert math.isnan(what_it_took.rate_of({"a": record}, record.encoder.name))
    gpu = like(record, device="cuda:0: a GPU")
    assert what_it_took.rate_of({"a": record, "b": gpu}, record.encoder.name) == 5
    assert math.isnan(what_it_took.rate_of({"b": gpu}, "another"))
    assert what_it_took.full()["hours"].isna().all() and what_it_took.full()["money"].isna().all()


def test_the_full_runs_by_formula():
    table = what_it_took.full(61, 61, width=512, passes_per_second=1000, price_per_hour=2).set_index("dataset")
    row = table.loc["pets"]
    assert list(table.index) == list(SOURCES)
    assert row.passes == 3669 * 61 and row.bytes == 3669 * 61 * 1040
    assert row.hours == pytest.approx(3669 * 61 / 3.6e6) and row.money == pytest.approx(2 * row.hours)
    with pytest.raises(LgcaError, match="above zero, got 0"):
        what_it_took.full(passes_per_second=0)


def source(page: str):
    return nbformat.read(ROOT / "book" / f"{page}.ipynb", as_version=4)


def test_every_page_of_results_has_a_title_and_a_command_that_makes_all_that_it_reads():
    assert what_it_took.PAGES.keys() == what_it_took.FULL.keys()
    assert what_it_took.PAGES.keys() == {name for name, page in experiments().pages.items() if page.title}
    for page, command in what_it_took.FULL.items():
        words = dict(word.split("=") for word in command.removeprefix("make reproduce ").split())
        assert set(words["DATASETS"].split(",")) <= SOURCES.keys()
        made = plan({"profile": "full"} | {name.lower(): value for name, value in words.items()})
        assert made.compared_in(page) and set(made.reading(page).records) <= set(made.wanted), page


@pytest.mark.parametrize("page", what_it_took.PAGES)
def test_a_page_that_stands_in_for_another_names_its_own_command(page):
    code = "".join(cell.source for cell in source(page).cells if cell.cell_type == "code")
    assert re.findall(r"how=(.*?)[,)]", code) == [f'what_it_took.FULL["{page}"]']


def test_methods_that_a_page_compares_are_asked_for():
    for page in ("figure2", "table2"):  # which look at nothing else
        compared = set(experiments().page(page).compares)
        assert compared == set(ast.literal_eval(run_notebook.parameters(source(page))["methods"]))
