"""The graph: what runs for a choice, what runs again after a change, and how make hands a choice on."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from lgca_book.building import run_graph
from lgca_book.experiments import experiments
from support.shared import ROOT

RECORDS = ["a-b/pets", "a-b/dtd", "c-d/pets", "c-d/dtd"]

CHOICE = {"profile": "full", "datasets": ["pets", "dtd"], "encoders": ["a:/x/b", "c:d"], "parts": 2, "gpus": 2}
PLANNED = "--dry-run --quiet host"


def words_of(*words: str, folder: Path) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("book", "lgca_core"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "Makefile", "_config.yml", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    paths = f"{folder}:{folder / 'book'}"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={paths} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o700)
    return folder


Job = tuple[str, str, str]
"""Rule, wildcards and output of a job."""


def jobs_of(folder: Path, choice: dict | None, instead: str = PLANNED) -> list[Job]:
    """What runs for a choice, after its pre-flight; or for `make book`, as if it were set up."""
    if choice is None:
        done = words_of("make", "book", "READY=.venv", f"SNAKEMAKE={instead}", folder=folder)
    else:
        (folder / run_graph.CHOICE).parent.mkdir(exist_ok=True)
        (folder / run_graph.CHOICE).write_text(json.dumps(choice), encoding="utf-8")
        snakemake, *words = run_graph.of_full_run("book", choice, {"snakemake": instead})
        done = words_of(snakemake, "records", *words, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    blocks = re.findall(r"^(?:local)?rule (\w+):\n((?:    \w+: .*\n)*)", done.stdout + done.stderr, re.MULTILINE)
    fields = [(rule, dict(re.findall(r"    (\w+): (.*)\n", block))) for rule, block in blocks]
    return [(rule, own.get("wildcards", ""), own.get("output", "")) for rule, own in fields]


@pytest.fixture(scope="module")
def planned(checkout) -> list[Job]:
    """Of a checkout in which nothing was run yet."""
    return jobs_of(checkout, CHOICE)


@pytest.fixture(scope="module")
def finished(checkout, planned) -> Path:
    """The checkout with all outputs in their places, as if they had been made."""
    for _, _, outputs in planned:
        for output in outputs.split(", "):
            if output:
                (checkout / output).parent.mkdir(parents=True, exist_ok=True)
                (checkout / output).write_text(output, encoding="utf-8")
    jobs_of(checkout, CHOICE, "--touch --forceall")
    return checkout


def test_the_book_is_planned_from_the_embedded_world(checkout):
    jobs = jobs_of(checkout, None)
    evaluated = [wildcards for rule, wildcards, _ in jobs if rule == "evaluate"]
    assert sorted(evaluated) == sorted(f"name={name}" for name in experiments().embedded)
    assert not any(rule == "keep" for rule, _, _ in jobs)


def test_the_jobs_of_a_full_run_are_encoders_times_data_sets_times_parts(planned):
    def wildcards(rule: str) -> list[str]:
        return sorted(own for name, own, _ in planned if name == rule)

    parts = [f"name={name}, k={k}, n=2" for name, k in product(RECORDS, (1, 2))]
    assert wildcards("features") == sorted(parts)
    assert wildcards("keep") == wildcards("evaluate") == sorted(f"name={name}" for name in RECORDS)  # no stand-ins
    assert wildcards("notebook") == sorted(f"name={path.stem}" for path in (ROOT / "book").glob("*.ipynb"))
    assert [wildcards(rule) for rule in ("records", "html", "book")] == [[""]] * 3


def test_a_comment_or_a_file_s_time_reruns_no_evaluation_and_no_page(finished):
    for path in (finished / "lgca_core").rglob("*.py"):
        path.touch()
    views = finished / "lgca_core" / "views.py"
    before = views.read_text(encoding="utf-8")
    views.write_text("# A comment.\n" + before.replace('"""', '"""Said otherwise: ', 1), encoding="utf-8")
    try:
        assert {rule for rule, _, _ in jobs_of(finished, CHOICE)} == {
            "html",
            "book",
        }  # which shows docstrings
    finally:
        views.write_text(before, encoding="utf-8")


PAGES = {"notebook", "html", "book"}
ALL = {"features", "evaluate", "keep", "records"} | PAGES


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ("book/lgca_book/style.py", PAGES),
        ("lgca_core/lgca.py", ALL),
        ("book/index.md", {"copy", "html", "book"}),
    ],
)
def test_a_change_reruns_what_depends_on_it(planned, finished, changed, rules):
    file = finished / changed
    before = file.read_bytes()
    file.write_bytes(before + b"\nchanged = 1\n")
    try:
        jobs = jobs_of(finished, CHOICE)
    finally:
        file.write_bytes(before)
    assert {rule for rule, _, _ in jobs} == rules
    if "evaluate" in rules:

        def of(rule: str, some: list[Job]) -> set[str]:
            return {wildcards for name, wildcards, _ in some if name == rule}

        assert of("evaluate", jobs) == of("evaluate", planned)
        # The others run LGCA, or show what came of it; two of these are short here, for want of a sweep's records.
        spared = {"name=cards", "name=speed", "name=hada", "name=released", "name=significance"}
        assert of("notebook", jobs) == of("notebook", planned) - spared


@pytest.mark.parametrize(
    ("target", "config", "said"),
    [
        ("records", ["parts=0"], "parts=0 must be a whole number from 1 on"),
        (
            "book",
            ["profile=full", "methods=clip,wca"],
            "methods= lacks lgca, which the page figure2 compares: name it as well",
        ),
    ],
)
def test_snakemake_ends_with_the_sentence(checkout, target, config, said):
    words = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--dry-run", "--nolock", "--config", *config]
    done = words_of(*words, folder=checkout)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "error" in line.lower()] == [f"error: {said}"]
    assert "Traceback" not in done.stdout + done.stderr


def test_an_earlier_record_stays_until_the_new_one_is_whole(checkout, tmp_path):
    """An evaluation that fails, since pets is not here or there is no such encoder."""
    shutil.copytree(checkout, tmp_path / "copy", symlinks=True)
    earlier = tmp_path / "copy" / "results" / "a-b" / "pets"
    earlier.mkdir(parents=True, exist_ok=True)
    for name in ("record.json", "predictions.parquet"):
        (earlier / name).write_text("of an earlier run")
    words = ["records", "--cores", "1", "--forceall", "--config", "profile=full", "encoders=a:b", "datasets=pets"]
    done = words_of(sys.executable, "-m", "snakemake", *words, folder=tmp_path / "copy")
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] != []
    assert "evaluate  a-b/pets" in done.stdout
    assert [file.read_text() for file in sorted(earlier.iterdir())] == ["of an earlier run"] * 2


def test_another_content_behind_the_same_spelling_is_evaluated_again(finished):
    def rules(contents: dict[str, str]) -> set[tuple[str, str]]:
        return {(rule, own) for rule, own, _ in jobs_of(finished, CHOICE | {"contents": contents})}

    assert not rules({})  # as they were made
    assert not rules({"c:d": "weights of a tag, once they are here"})
    of_a, of_pets = rules({"a:/x/b": "other weights"}), rules({"pets": "other pictures"})
    for made, names in ((of_a, ["a-b/pets", "a-b/dtd"]), (of_pets, ["a-b/pets", "c-d/pets"])):
        assert {own for rule, own in made if rule == "evaluate"} == {f"name={name}" for name in names}
        assert {own for rule, own in made if rule == "keep"} == {f"name={name}" for name in names}
        assert ("notebook", "name=table1") in made


@pytest.mark.parametrize(
    ("visible", "listed", "gpus"), [(None, 2, 2), (None, 0, 0), ("0,5,GPU-7", 2, 3), ("", 2, 0), ("-1", 2, 0)]
)
def test_every_gpu_that_may_be_used_has_its_process(visible, listed, gpus, tmp_path, monkeypatch):
    """And two cores of its own. What nvidia-smi lists beside GPUs, such as their MIG devices, is none."""
    lines = [f"GPU {k}: Some GPU (UUID: GPU-{k})\n  MIG 1g.10gb Device 0: (UUID: MIG-{k})" for k in range(listed)]
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines or ["NVIDIA-SMI has failed"]) + "\nEND\n")
    smi.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = run_graph.configuration({}, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    assert (config["gpus"], config["parts"]) == (gpus, max(gpus, 1))
    words = run_graph.of_full_run("records", config, {"jobs": "2"})
    assert words[words.index("--cores") + 1] == str(2 + 2 * gpus)
    assert words[words.index("--resources") + 1] == f"gpu={gpus}"


def test_a_cluster_is_not_sized_by_the_machine_that_starts_it(checkout):
    done = words_of("make", "reproduce", "READY=.venv", "CLUSTER=profiles/slurm", folder=checkout)
    assert done.returncode == 2
    assert "error: with CLUSTER= say how many GPUs to use at once and into how many jobs" in done.stderr
    chosen = {"cluster": "profiles/slurm", "gpus": "8", "parts": "20"}
    config = run_graph.configuration(chosen, {})
    assert (config["gpus"], config["parts"]) == (8, 20)
    assert run_graph.of_full_run("records", config, chosen)[-2:] == ["--profile", "profiles/slurm"]


# What a shell, or make itself, would run or take apart.
HOSTILE = ["a b", "it's", 'say "so"', "$(touch y)", "`touch y`", "x; touch y", "$$HOME", "a#b", "{n}", "*"]


@pytest.mark.parametrize("word", HOSTILE)
def test_what_is_given_to_make_arrives_as_it_is(checkout, tmp_path, word):
    """To whatever make runs: a Python that writes down its environment stands in the place of its own."""
    shutil.copy(checkout / "Makefile", tmp_path)
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(checkout / name, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    shows = "import os, json; json.dump(dict(os.environ), open('seen.json', 'w'))"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{shows}"\n')
    python.chmod(0o700)
    names = ("DATASETS", "ENCODERS", "METHODS", "SWEEPS", "CLUSTER", "REPOSITORY", "JOBS", "GPUS", "PYTHON", "TESTS")
    for target in ("book", "plan", "reproduce", "test"):
        done = words_of("make", target, "READY=.venv", *(f"{name}={word}" for name in names), folder=tmp_path)
        if target != "test":  # xargs refuses quotes that do not match
            assert done.returncode == 0, done.stderr
            seen = json.loads((tmp_path / "seen.json").read_text())
            assert {seen[f"GIVEN_{name}"] for name in names} == {word}
        assert not (tmp_path / "y").exists()


def test_what_was_given_is_the_configuration():
    environment = {"GIVEN_DATASETS": "dtd:/my data,pets", "GIVEN_SEEDS": "2", "GIVEN_CROPS": "many", "GIVEN_SWEEPS": ""}
    config = run_graph.configuration(run_graph.given(environment), {"CUDA_VISIBLE_DEVICES": ""})
    assert config == {
        "profile": "full",
        "datasets": ["dtd:/my data", "pets"],
        "seeds": 2,
        "crops": "many",  # which the plan refuses
        "gpus": 0,
        "parts": 1,
    }
