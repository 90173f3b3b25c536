"""`make reproduce` from end to end, in a copy of the checkout and on miniatures: from what a user types to pages."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
import yaml
from safetensors.torch import load_file, save_file

from lgca_book.building.contents import names_in
from lgca_core.encoders.embedded import WEIGHTS
from lgca_core.evaluation.record import load
from support import miniatures
from support.shared import ROOT

pytestmark = pytest.mark.slow

SMALL = ("CROPS=4", "SEEDS=1")
OF_RECORDS = ["table1", "figure2"]
RELATED = {"goal", "hada"}
"""Pages with trainings of their own, whatever the data set; `make book` makes them."""


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout, and beside it all that a user has."""

    root: Path
    environment: dict[str, str]

    def make(self, *words: str) -> subprocess.CompletedProcess:
        command = ["make", *words, "READY=.venv", "JOBS=2"]
        return subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True)

    def reproduce(self, dataset: str, encoder: str, *words: str) -> subprocess.CompletedProcess:
        return self.make("reproduce", f"DATASETS={dataset}", f"ENCODERS={encoder}", *SMALL, *words)

    def only(self, pages: list[str]) -> None:
        """Leave these pages and the first in the book."""
        toc = {"format": "jb-book", "root": "index"}
        if pages:  # an empty list of chapters is malformed
            toc["chapters"] = [{"file": page} for page in pages]
        (self.root / "book" / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))

    def empty(self, pages: set[str]) -> None:
        """Leave of these pages their titles, to which others link, and the parameters."""
        for page in pages & {path.stem for path in (self.root / "book").glob("*.ipynb")}:
            file = self.root / "book" / f"{page}.ipynb"
            notebook = nbformat.read(file, as_version=4)
            tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
            notebook.cells = [notebook.cells[0], *tagged]
            nbformat.write(notebook, file)

    def page(self, name: str) -> nbformat.NotebookNode:
        return nbformat.read(self.root / "_build" / "executed" / f"{name}.ipynb", as_version=4)

    def was_run(self, name: str) -> bool:
        """Whether a page is a notebook that was run, and no short page."""
        return any(cell.get("execution_count") for cell in self.page(name).cells)


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    root = tmp_path / "the checkout"
    for name in ("book", "lgca_core"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "Makefile", "_config.yml", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root / name)
    python = root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o700)
    publish_prompts(root, tmp_path / "published")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "LGCA", "GIVEN"))}
    return Checkout(
        root,
        environment
        | {
            "PYTHONPATH": f"{root}:{root / 'book'}",
            "LGCA_HOME": str(tmp_path / "home"),
            "LGCA_PROMPTS_URL": (tmp_path / "published").as_uri(),
            "CUDA_VISIBLE_DEVICES": "",
        },
    )


def publish_prompts(root: Path, published: Path) -> None:
    """Prompts of the miniature, in a folder that serves as the repository; the checkout's table pins these."""
    names = ("banded", "chequered", "polka-dotted")
    contents = {
        "clip-e": ["a photo of a {} texture.", "a {} thing."],
        "clip-d": {name: ["stripes or spots", "a clear pattern"] for name in names},
        "cupl": {name: [f"A {name} texture is regular.", f"It looks {name}."] for name in names},
    }
    table = root / "lgca_core" / "prompts" / "published.csv"
    rows = list(csv.DictReader(table.open(newline="")))
    for row in rows:
        folder, _, file = row["path"].rpartition("/")
        if folder == "prompts/dtd" and (kind := file.removesuffix(".json")) in contents:
            blob = json.dumps(contents[kind]).encode()
            (published / folder).mkdir(parents=True, exist_ok=True)
            (published / row["path"]).write_bytes(blob)
            row |= {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
            row["git_blob_sha1"] = hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """Weights of the aviary's architecture in a file of the user's."""
    place = tmp_path / "my models" / "it's mine.safetensors"
    place.parent.mkdir()
    shutil.copy(WEIGHTS, place)
    return place


def own_copy(place: Path, keep: dict[str, int] | None = None) -> Path:
    """A copy of DTD's miniature; only the first so many pictures of some classes, where it is said which."""
    miniatures.make("dtd", place)
    if keep is not None:
        for folder in (place / "dtd" / "images").iterdir():
            if folder.name not in keep:
                shutil.rmtree(folder)
        for file in (place / "dtd" / "labels").glob("*.txt"):
            left, lines = dict(keep), []
            for line in file.read_text().splitlines():
                name = line.partition("/")[0]
                if left.get(name, 0) > 0:
                    left[name] -= file.name == "test1.txt"
                    lines.append(f"{line}\n")
            file.write_text("".join(lines))
    return place


def test_a_local_checkpoint_on_a_data_set_by_path_makes_every_page(checkout, checkpoint, tmp_path):
    """Blanks and quotes in both; the whole book, every warning of it an error."""
    copy = own_copy(tmp_path / "my dtd's copy")
    checkout.empty(RELATED)
    done = checkout.reproduce(f"dtd:{copy}", f"aviary:{checkpoint}")
    assert done.returncode == 0, done.stdout + done.stderr
    record, _ = load(checkout.root / "results" / "aviary-it-s-mine.safetensors" / "dtd")
    assert record.encoder.weights_sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert record.dataset.count == 6
    said = done.stdout
    assert said.index("The records, in this order") < said.index("evaluate  ") < said.index("execute   ")
    assert said.count("evaluate  ") == 1  # nothing of the embedded world
    pages = {path.stem for path in (ROOT / "book").glob("*.ipynb")} & set(names_in(ROOT / "book" / "_toc.yml"))
    pages -= RELATED
    run = {page for page in pages if checkout.was_run(page)}
    assert pages - run == {"table2", "table3", "figure3", "figure4", "figure5", "released", "significance"}
    for page in pages - run:
        assert "make reproduce DATASETS=" in checkout.page(page).cells[0].source
    for page in pages:
        assert (checkout.root / "_build" / "html" / f"{page}.html").is_file()
        assert str(tmp_path) not in "".join(map(str, (cell.get("outputs") for cell in checkout.page(page).cells)))
    strict = [sys.executable, "-m", "snakemake", "strict", "--cores", "1", "--nolock", "--quiet", "all"]
    strict += ["--configfile", "_build/choice.json"]
    built = subprocess.run(strict, cwd=checkout.root, env=checkout.environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr

    again = checkout.make("plan", f"DATASETS=dtd:{copy}", f"ENCODERS=aviary:{checkpoint}", *SMALL)
    assert "there, and up to date" in again.stdout
    # Other weights, and a picture fewer, behind the same spellings: evaluated again.
    save_file({name: tensor + 1e-3 for name, tensor in load_file(checkpoint).items()}, checkpoint)
    listed = copy / "dtd" / "labels" / "test1.txt"
    listed.write_text("".join(listed.read_text().splitlines(keepends=True)[1:]))
    checkout.only([])
    done = checkout.reproduce(f"dtd:{copy}", f"aviary:{checkpoint}")
    assert done.returncode == 0 and "evaluate  " in done.stdout, done.stdout + done.stderr
    changed, _ = load(checkout.root / "results" / "aviary-it-s-mine.safetensors" / "dtd")
    assert changed.encoder.weights_sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert changed.dataset.count == 5


def test_a_local_checkpoint_and_a_page_that_fails(checkout, checkpoint):
    """The page is named, the others are built, the records kept; mended, it alone is made again."""
    own_copy(Path(checkout.environment["LGCA_HOME"]) / "datasets" / "dtd")
    checkout.only(OF_RECORDS)
    source = checkout.root / "book" / "table1.ipynb"
    whole = source.read_text(encoding="utf-8")
    broken = json.loads(whole)
    broken["cells"][2]["source"] = ["1 / 0\n"]
    source.write_text(json.dumps(broken), encoding="utf-8")
    done = checkout.reproduce("dtd", f"aviary:{checkpoint}")
    assert done.returncode != 0
    assert "error: the page table1 could not be made" in done.stderr
    record, _ = load(checkout.root / "results" / "aviary-it-s-mine.safetensors" / "dtd")
    assert record.encoder.name == f"aviary:{checkpoint.name}"
    assert checkout.was_run("figure2") and not checkout.was_run("table1")
    assert "could not be made" in checkout.page("table1").cells[0].source
    assert (checkout.root / "_build" / "html" / "figure2.html").is_file()

    source.write_text(whole, encoding="utf-8")
    done = checkout.reproduce("dtd", f"aviary:{checkpoint}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert checkout.was_run("table1")
    assert [line.split() for line in done.stdout.splitlines() if line.startswith(("  evaluate", "  execute"))] == [
        ["execute", "book/table1.ipynb"]
    ]


@pytest.mark.parametrize("keep", [{"banded": 2, "chequered": 1}, {"banded": 2}], ids=["three pictures", "one class"])
def test_the_smallest_data_sets_build_every_page(checkout, tmp_path, keep):
    """Or the page says what it lacks. Of one class, pages that differ most, and those sweeps that it can have."""
    copy = own_copy(tmp_path / "copy", keep)
    sweeps = ["ablation", "crops"] + ["ranges", "released", "settings"] * (len(keep) > 1)
    alike = {"cards", "speed", "reproduce"} | RELATED  # whatever the data set
    every = [path.stem for path in (ROOT / "book").glob("*.ipynb") if path.stem not in alike]
    if len(keep) == 1:
        every = ["method", "figure2", "figure3", "table1", "table3", "significance"]
    checkout.only([page for page in names_in(ROOT / "book" / "_toc.yml") if page in every])
    done = checkout.reproduce(f"dtd:{copy}", "aviary", f"SWEEPS={','.join(sweeps)}", "CROPS=8")
    assert done.returncode == 0, done.stdout + done.stderr
    short = {page for page in every if not checkout.was_run(page)}
    lacking = {"table2"} if len(keep) > 1 else {"table3"}
    assert short == lacking
    assert all("Not in this edition" in checkout.page(page).cells[0].source for page in short)


def test_what_is_missing_is_told_before_any_work(checkout, tmp_path):
    checkout.environment["LGCA_PROMPTS_URL"] = (tmp_path / "nowhere").as_uri()
    (checkout.root / "results").write_text("a file is in the way")
    copy = own_copy(tmp_path / "copy")
    done = checkout.reproduce(f"dtd:{copy},pets:/nowhere/pets", "aviary:/nowhere.pt,ViT-B-33:openai")
    assert done.returncode == 2
    errors = done.stderr.split("error: ", 1)[1]
    for what in ("/nowhere/pets", "/nowhere.pt", "ViT-B-33", "could not be fetched", "results is a file"):
        assert what in errors
    assert not (checkout.root / "_build").exists()
