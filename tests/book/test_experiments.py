"""`make reproduce`: the jobs that it plans, what runs again after a change, what it says to a slip. Nothing is run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from lgca_core.lgca import LGCA
from support.shared import ROOT

CHOICE = ["DATASETS=pets,dtd", "ENCODERS=a:b,c:d", "PARTS=2", "GPUS=2"]
RECORDS = ["a-b/pets", "a-b/dtd", "c-d/pets", "c-d/dtd"]
KEPT = ["training-seeds/seed-2", "e-f/cub"]  # records of earlier runs, which nobody asks for again

# Make calls this in the place of its own: it plans, or takes what is there for made.
SNAKEMAKE = f"""\
#!/bin/sh
exec {sys.executable} -m snakemake "$@" $INSTEAD
"""


@dataclass(frozen=True)
class Job:
    """A job of a plan: `fields` are its input, output, wildcards, resources, as Snakemake prints them."""

    rule: str
    fields: dict[str, str]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("book", "lgca_core"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "Makefile", "_config.yml", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    for name in [*(f"{name}/record.json" for name in KEPT), "bench/lately.json"]:
        (folder / "results" / name).parent.mkdir(parents=True)
        (folder / "results" / name).write_text(name, encoding="utf-8")
    snakemake = folder / ".venv" / "bin" / "snakemake"
    snakemake.parent.mkdir(parents=True)
    snakemake.write_text(SNAKEMAKE, encoding="utf-8")
    snakemake.chmod(0o700)
    return folder


def make(folder: Path, choice: list[str], instead: str) -> str:
    """`make reproduce` as if it were set up; what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "reproduce", "READY=.venv", *choice],
        cwd=folder,
        env=kept | {"INSTEAD": instead},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def plan(folder: Path, choice: list[str]) -> list[Job]:
    said = make(folder, choice, "--dry-run --quiet host")
    blocks = re.findall(r"^rule (\w+):\n((?:    \w+: .*\n)*)", said, re.MULTILINE)
    return [Job(rule, dict(re.findall(r"    (\w+): (.*)\n", block))) for rule, block in blocks]


@pytest.fixture(scope="module")
def planned(checkout) -> list[Job]:
    """Of a checkout in which nothing was run yet."""
    return plan(checkout, CHOICE)


@pytest.fixture(scope="module")
def finished(checkout, planned) -> Path:
    """The checkout with all outputs in their places, as if they had been made."""
    for job in planned:
        for output in job.fields.get("output", "").split(", "):
            if output:
                (checkout / output).parent.mkdir(parents=True, exist_ok=True)
                (checkout / output).write_text(output, encoding="utf-8")
    make(checkout, CHOICE, "--touch --forceall")
    return checkout


def test_the_jobs_are_encoders_times_data_sets_times_parts(planned):
    def wildcards(rule: str) -> list[str]:
        return sorted(job.fields.get("wildcards", "") for job in planned if job.rule == rule)

    parts = [f"name={name}, k={k}, n=2" for name, k in product(RECORDS, (1, 2))]
    assert wildcards("features") == sorted(parts + [f"name=aviary, k={k}, n=3" for k in (1, 2, 3)])
    assert wildcards("keep") == sorted(f"name={name}" for name in RECORDS)
    stand_ins = [name for name in wildcards("evaluate") if name not in wildcards("keep")]
    assert set(wildcards("keep")) < set(wildcards("evaluate"))
    assert stand_ins and all(name.startswith("name=aviary") for name in stand_ins)  # for pages without full records
    assert wildcards("notebook") == sorted(f"name={path.stem}" for path in (ROOT / "book").glob("*.ipynb"))
    assert [wildcards(rule) for rule in ("records", "html", "book")] == [[""]] * 3
    for job in planned:
        full = job.rule in {"features", "evaluate"} and job.fields["wildcards"].startswith(("name=a-b/", "name=c-d/"))
        assert ("gpu=1" in job.fields.get("resources", "")) == full
        if job.rule == "evaluate" and job.fields["wildcards"] in wildcards("keep"):
            name = job.fields["wildcards"].removeprefix("name=")
            assert {f"_build/features/{name}/{k}-of-2.json" for k in (1, 2)} < set(job.fields["input"].split(", "))


@contextmanager
def changed_file(file: Path) -> Iterator[None]:
    """A line longer, and afterwards as it was."""
    before = file.read_bytes()
    file.write_bytes(before + b"\n")
    try:
        yield
    finally:
        file.write_bytes(before)


BOOK = {"notebook", "html", "book"}
ALL = {"features", "evaluate", "keep", "records"} | BOOK


@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ("lgca_core/pages/base.py", BOOK),
        ("lgca_core/lineage.py", BOOK),
        ("lgca_core/lgca.py", ALL),
        ("lgca_core/classes/pets.txt", ALL),
        ("book/index.md", {"copy", "html", "book"}),
    ],
)
def test_a_change_reruns_what_depends_on_it(planned, finished, changed, rules):
    with changed_file(finished / changed):
        jobs = plan(finished, CHOICE)
    assert {job.rule for job in jobs} == rules
    if "evaluate" in rules:  # then every one
        evaluations = [job.fields["wildcards"] for job in planned if job.rule == "evaluate"]
        assert sorted(job.fields["wildcards"] for job in jobs if job.rule == "evaluate") == sorted(evaluations)


def notebooks(folder: Path, changed: str) -> set[str]:
    """Which notebooks a change of a file reruns."""
    with changed_file(folder / changed):
        jobs = [job for job in plan(folder, CHOICE) if job.rule == "notebook"]
    return {job.fields["wildcards"].removeprefix("name=") for job in jobs}


def test_a_kept_record_reruns_the_pages_that_show_it(planned, finished):
    assert notebooks(finished, "results/e-f/cub/record.json") == {"table1", "table2", "reproduce"}
    trained = notebooks(finished, "results/training-seeds/seed-2/record.json")
    assert trained == {"table1", "table2", "reproduce", "significance"}
    assert notebooks(finished, "results/bench/lately.json") == {"speed"}
    [table1] = [job for job in planned if job.fields.get("wildcards") == "name=table1"]
    shown = {f"results/{name}/record.json" for name in RECORDS + KEPT}  # another encoder's among them
    assert shown <= set(table1.fields["input"].split(", "))


def test_a_change_reruns_only_the_pages_that_depend_on_it(finished):
    every = {path.stem for path in (ROOT / "book").glob("*.ipynb")}
    assert notebooks(finished, "lgca_core/explorer.py") == {"figure2"}
    assert "figure1" in notebooks(finished, "lgca_core/lineage.py") < every
    untouched = {"cards", "speed"}  # all others run LGCA or show what came of it; a benchmark's record stays what it is
    assert notebooks(finished, "lgca_core/lgca.py") == every - untouched
    assert notebooks(finished, "lgca_core/pages/base.py") == every


def test_sweeps_are_evaluated_after_what_they_share_crops_with(finished):
    jobs = [job for job in plan(finished, [*CHOICE, "SWEEPS=crops,released"]) if job.rule == "evaluate"]
    needed = {job.fields["wildcards"].removeprefix("name="): job.fields["input"].split(", ") for job in jobs}
    assert needed.keys() == {f"{name}-{sweep}" for name in RECORDS for sweep in ("crops", "released")}
    assert "_build/records/a-b/pets/record.json" in needed["a-b/pets-crops"]


def test_a_page_without_its_full_records_shows_the_embedded_world(planned):
    """Of the data sets that Table 2 is about none is asked for."""
    jobs = {job.fields["wildcards"]: job for job in planned if job.rule == "notebook"}
    assert "results/a-b/pets/record.json" in jobs["name=table1"].fields["input"]
    assert "_build/records/aviary-night/record.json" in jobs["name=table2"].fields["input"]


def test_figure_1_is_the_paper_s_tern_where_its_pictures_are(checkout):
    def values(datasets: str) -> str:
        return commands(checkout, "_build/executed/figure1.ipynb", f"datasets={datasets}")

    assert "Caspian Tern" in values("pets,cub") and "Caspian Tern" not in values("pets")


def test_crops_that_are_never_expanded_are_those_that_lgca_expands():
    low, high = LGCA().range()
    assert f'LOCAL = "{low!r}-{high!r}"' in (ROOT / "Snakefile").read_text(encoding="utf-8")


def test_times_of_files_mean_nothing(finished):
    for path in (finished / "lgca_core").rglob("*.py"):
        path.touch()
    assert plan(finished, CHOICE) == []


def test_another_number_of_seeds_reruns_every_evaluation(finished):
    again = [job.rule for job in plan(finished, [*CHOICE, "SEEDS=3"])]
    assert [again.count(rule) for rule in ("features", "evaluate")] == [8, 4]


def commands(folder: Path, target: str, *config: str) -> str:
    """What a full run would call to make a target."""
    words = [target, "--dry-run", "--printshellcmds", "--quiet", "host", "--cores", "1", "--nolock"]
    words += ["--config", "profile=full", *config]
    done = subprocess.run([sys.executable, "-m", "snakemake", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_sweeps_keep_the_seeds_that_their_pages_want(checkout):
    said = commands(checkout, "records", "encoders=a:b", "datasets=pets", "seeds=1", "sweeps=ablation,crops,settings")
    seeds = {name: seeds for seeds, name in re.findall(r"--seeds (\d) .*--out _build/records/a-b/([\w-]+)", said)}
    assert seeds == {"pets": "1", "pets-ablation": "5", "pets-crops": "2", "pets-settings": "1"}


def test_a_page_can_read_a_record_that_is_there_and_not_asked_for(checkout, tmp_path):
    """Table 2 of an earlier run's ImageNet and this run's variants."""
    shutil.copytree(checkout, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy" / "results" / "a-b" / "imagenet").mkdir(parents=True)
    for name in ("record.json", "predictions.parquet"):
        (tmp_path / "copy" / "results" / "a-b" / "imagenet" / name).write_text("of an earlier run")
    variants = "datasets=imagenet-v2,imagenet-r,imagenet-sketch,imagenet-a"
    said = commands(tmp_path / "copy", "_build/executed/table2.ipynb", "encoders=a:b", variants)
    assert "evaluate  a-b/imagenet-v2" in said and "evaluate  a-b/imagenet'" not in said
    assert "-p records '\"../results/a-b\"'" in said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (["profile=fulll"], "there is no profile 'fulll': --config profile= must be embedded or full"),
        (
            ["profile=full", "dataset=pets"],
            "--config has no 'dataset' under the profile full: "
            "it has parts, gpus, datasets, encoders, methods, seeds, crops, sweeps, device, repository",
        ),
        (["seeds=2"], "--config has no 'seeds' under the profile embedded: it has parts, gpus, repository"),
        (
            ["profile=full", "encoders=a:b,a-b"],
            "two of encoders= or of datasets= would share a folder of results/: leave one out",
        ),
        (
            ["profile=full", "sweeps=crops,cropss"],
            "there is no sweep 'cropss': --config sweeps= can name ablation, crops, settings, ranges, released",
        ),
        (["parts=0"], "--config parts=0 must be a whole number from 1 on"),
        (
            ["profile=full", "datasets="],
            "--config datasets= names nothing: give at least one, or leave it out for pets,dtd",
        ),
    ],
)
def test_a_slip_gets_one_sentence(checkout, config, said):
    refused(checkout, "records", config, said)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            ["profile=full", "sweeps=settings", "methods=clip,cupl,wca,lgca"],
            "--config methods= lacks lgca-equal, which the page figure4 compares: name it as well",
        ),
        (
            ["profile=full", "datasets=imagenet,imagenet-v2,imagenet-r,imagenet-sketch,imagenet-a", "methods=wca,lgca"],
            "--config methods= lacks clip, which the page table2 compares: name it as well",
        ),
        (
            ["profile=full", "methods=clip,wca"],
            "--config methods= lacks lgca, which the page figure2 compares: name it as well",
        ),
        (
            ["profile=full", "datasets=aviary", "sweeps=ranges", "methods=clip,wca,lgca,lgca-equal"],
            "--config methods= lacks cupl, which the page figure5 compares: name it as well",
        ),
    ],
)
def test_records_without_what_pages_compare_are_refused_where_pages_are_made_of_them(checkout, config, said):
    refused(checkout, "book", config, said)
    assert "evaluate  ViT-B-32-quickgelu-openai/" in commands(checkout, "records", *config[1:])


def refused(checkout, target, config, said):
    words = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--dry-run", "--config", *config]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "error" in line.lower()] == [f"error: {said}"]
    assert "Traceback" not in done.stdout + done.stderr


def test_an_earlier_record_stays_until_the_new_one_is_whole(checkout, tmp_path):
    """An evaluation that fails, since pets is not here or there is no such encoder."""
    shutil.copytree(checkout, tmp_path / "copy", symlinks=True)
    kept = tmp_path / "copy" / "results" / "a-b" / "pets"
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("record.json", "predictions.parquet"):
        (kept / name).write_text("of an earlier run")
    words = ["records", "--cores", "1", "--forceall", "--config", "profile=full", "encoders=a:b", "datasets=pets"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=tmp_path / "copy", capture_output=True, text=True
    )
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] != []
    assert "evaluate  a-b/pets" in done.stdout
    assert [file.read_text() for file in sorted(kept.iterdir())] == ["of an earlier run"] * 2


@pytest.mark.parametrize(
    ("visible", "said", "gpus", "cores"),
    [(None, 2, 2, 6), (None, 0, 0, 2), ("0,5,GPU-7", 2, 3, 8), ("", 2, 0, 2), ("-1", 2, 0, 2)],
)
def test_every_gpu_that_may_be_used_has_its_process(visible, said, gpus, cores, checkout, tmp_path):
    """And two cores of its own. What nvidia-smi says beside GPUs, such as their MIG devices, is none."""
    lines = [f"GPU {k}: Some GPU (UUID: GPU-{k})\n  MIG 1g.10gb Device 0: (UUID: MIG-{k})" for k in range(said)]
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines or ["NVIDIA-SMI has failed"]) + "\nEND\n")
    smi.chmod(0o700)
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    kept |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | (
        {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    )
    words = ["make", "--dry-run", "reproduce", "READY=.venv"]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, env=kept, check=True)
    [cores_asked] = re.findall(r"--cores \$\(\((.*?)\)\)", done.stdout)
    assert f"--resources gpu={gpus} " in done.stdout and f" gpus={gpus} parts={max(gpus, 1)} " in done.stdout
    assert eval(cores_asked) == cores


def test_a_cluster_is_not_sized_by_the_machine_that_starts_it(checkout):
    words = ["make", "reproduce", "READY=.venv", "CLUSTER=profiles/slurm"]
    done = subprocess.run(
        words, cwd=checkout, capture_output=True, text=True, env=os.environ | {"INSTEAD": "--dry-run"}
    )
    assert done.returncode == 2
    assert "error: with CLUSTER= say how many GPUs to use at once and into how many jobs" in done.stderr
