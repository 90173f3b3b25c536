"""What the README says about data sets and cost is what the code does."""

import pytest

from lgca_book.studies import what_it_took
from lgca_core.data.sources import SOURCES
from lgca_core.evaluation import evaluate
from lgca_core.evaluation.store.store import Store
from lgca_core.methods import METHODS
from lgca_core.prompts.class_prompts import ClassPrompts
from support.shared import ROOT
from support.stub_encoder import noise_folders, rich

README = (ROOT / "README.md").read_text(encoding="utf-8")
PASSES, STORED = what_it_took.PASSES_OF_ALL, what_it_took.STORED_OF_ALL
COSTS = what_it_took.full().set_index("dataset")


@pytest.mark.parametrize("name", SOURCES)
def test_the_table_of_costs(name):
    row = COSTS.loc[name]
    cells = [f"`{name}`", f"{row.pictures:,}", row.download, f"{row.passes / 1e6:.1f} M", f"{row.bytes / 1e9:.0f} GB"]
    assert f"| {' | '.join([*cells, SOURCES[name].licence])} |" in README.splitlines()
    assert f"({PASSES:,} passes and {STORED:,} stored crops a picture" in README


def test_the_passes_of_a_picture(tmp_path):
    """Of all methods with their usual settings on a picture of usual size, each crop encoded once."""
    manifest = noise_folders(tmp_path / "pictures", ("red", "blue"), [(375, 500)])
    words = {name: [f"a {name} one", f"{name} all over"] for name in manifest.classes}
    said = ClassPrompts.by_name(manifest.classes, descriptions=words, descriptors=words)
    encoder = rich(sha256="0" * 64)
    store = Store(tmp_path / "store")
    record, _ = evaluate.evaluate(manifest, encoder, list(METHODS), said, store=store)
    assert record.image_passes / 2 == pytest.approx(PASSES, rel=0.01)
    crops = [file.boxes for pool in store.stored() if pool.plan != "sentences" for file in pool.files]
    assert sum(crops) / 2 == pytest.approx(STORED, rel=0.01)
    [wca] = [run for run in record.runs if run.method == "wca" and run.seed == 0]
    assert f"WCA alone with one seed: {wca.passes_per_image:.0f}" in README
