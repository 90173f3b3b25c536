"""What `make book` and `make reproduce` plan: evaluations, records of pages, and what runs again after a change."""

import ast
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import nbformat
import pytest
import yaml

from lgca_book.building.contents import names_in
from lgca_book.experiments import FILE, Evaluation, experiments, plan, read
from lgca_core.errors import LgcaError
from lgca_core.lgca import LGCA
from lgca_core.methods import check_methods
from support.shared import ROOT

FULL = {"profile": "full"}
TWO_BY_TWO = FULL | {"datasets": "pets,dtd", "encoders": "a:b,c:d"}
RECORDS = ["a-b/pets", "a-b/dtd", "c-d/pets", "c-d/dtd"]
IMAGENETS = "imagenet,imagenet-v2,imagenet-r,imagenet-sketch,imagenet-a"


def kept(root: Path, *names: str) -> Path:
    """A checkout in which records of earlier runs lie."""
    for name in names:
        (root / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "results" / name).write_text(name, encoding="utf-8")
    return root


# The file


def test_every_page_is_in_the_table_of_contents_and_those_that_read_records_are_in_the_file():
    listed = names_in(ROOT / "book" / "_toc.yml")
    assert experiments().pages.keys() <= set(listed)
    for path in (ROOT / "book").glob("*.ipynb"):
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        code = "\n".join(cell.source for cell in cells if "parameters" not in cell.metadata.get("tags", []))
        reads = any(isinstance(node, ast.Name) and node.id == "records" for node in ast.walk(ast.parse(code)))
        own = experiments().page(path.stem)
        assert not reads or own.reads or own.shows, path.stem


def test_every_method_of_the_file_exists():
    for evaluation in experiments().embedded.values():
        check_methods(evaluation.methods)
    for sweep in experiments().sweeps.values():
        check_methods(sweep.methods)
    check_methods(experiments().full.methods + experiments().full.peers)


def test_crops_that_are_never_expanded_are_those_that_lgca_expands():
    low, high = LGCA().range()
    for name in ("lgca", "lgca-equal"):
        assert f"{name}:steps=0:start={low!r}-{high!r}" in experiments().sweeps["ablation"].methods


SMALL = {"dataset": "aviary", "methods": ["clip"], "seeds": 1, "n": 1, "device": "cpu"}


@pytest.mark.parametrize(
    ("section", "entry", "value", "named"),
    [
        ("pages", "table1", {"raeds": ["aviary"]}, "raeds"),
        ("pages", "table1", {"reads": ["aviary-nihgt"]}, "table1 wants aviary-nihgt"),
        ("embedded", "aviary", SMALL | {"seeds": 0}, "embedded.aviary.seeds"),
        ("embedded", "more", SMALL | {"after": "avairy"}, "more wants avairy"),
    ],
)
def test_a_slip_in_the_file_is_named(tmp_path, section, entry, value, named):
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    content[section][entry] = value
    (tmp_path / "experiments.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(LgcaError, match=named):
        read(tmp_path / "experiments.yaml")


def test_reading_the_file_loads_no_drawing_and_no_torch():
    code = "import sys; from lgca_book.experiments import plan; plan({}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"matplotlib", "nbformat", "torch"}.isdisjoint(done.stdout.split())


# Evaluations


def test_the_embedded_world_is_evaluated_with_its_sweeps():
    made = plan({})
    assert made.full == {} and made.evaluations == made.embedded == experiments().embedded
    assert made.wanted == [f"_build/records/{name}/record.json" for name in made.embedded]
    after = {name: evaluation.after for name, evaluation in made.embedded.items() if evaluation.after}
    assert set(after) == {f"aviary-{sweep}" for sweep in experiments().sweeps}
    for name in after:  # each chain begins with the evaluation that encodes the most
        while name in after:
            name = after[name]
        assert name == "aviary"
    parts = {name: evaluation.parts for name, evaluation in made.embedded.items()}
    assert parts == dict.fromkeys(made.embedded, 1) | {"aviary": 3}
    assert {evaluation.parts for evaluation in plan({"parts": 2}).embedded.values()} == {2}


def test_a_full_run_evaluates_encoders_times_data_sets_in_parts():
    made = plan(TWO_BY_TWO | {"parts": 2, "gpus": 2})
    assert list(made.full) == RECORDS and made.gpus == 2
    assert made.wanted == [f"results/{name}/record.json" for name in RECORDS]
    assert {evaluation.parts for evaluation in made.full.values()} == {2}
    assert made.parts_of("c-d/dtd") == [f"_build/features/c-d/dtd/{k}-of-2.json" for k in (1, 2)]
    assert plan(TWO_BY_TWO).parts_of("c-d/dtd") == []
    assert made.embedded["aviary"].parts == 3  # stand-ins, as ever
    assert (made.full["c-d/pets"].encoder, made.full["c-d/pets"].dataset) == ("c:d", "pets")
    assert made.full["a-b/pets"].methods == experiments().full.methods + experiments().full.peers


def test_sweeps_follow_what_they_share_features_with_and_keep_the_seeds_that_their_pages_want():
    sweeps = ["ablation", "crops", "settings"]
    run = plan(TWO_BY_TWO | {"sweeps": ",".join(sweeps), "seeds": 1})
    made = run.full
    assert made.keys() == {*RECORDS, *(f"{name}-{sweep}" for name in RECORDS for sweep in sweeps)}
    assert {made[name].after for name in RECORDS} == {None}
    assert made["a-b/pets-crops"].after == "a-b/pets"
    assert run.before("a-b/pets-crops") == ["_build/records/a-b/pets/record.json"] and run.before("a-b/pets") == []
    seeds = {name.removeprefix("a-b/"): made[name].seeds for name in made if name.startswith("a-b/pets")}
    assert seeds == {"pets": 1, "pets-ablation": 5, "pets-crops": 2, "pets-settings": 1}


@pytest.mark.parametrize(("crops", "least_left_out"), [(60, None), (30, 60), (10, 15)])
def test_a_sweep_draws_no_more_crops_than_the_run(crops, least_left_out):
    methods = plan(FULL | {"datasets": "pets", "encoders": "a:b", "sweeps": "crops", "crops": crops}).full[
        "a-b/pets-crops"
    ]
    drawn = {method: int(method.partition("n=")[2]) for method in experiments().sweeps["crops"].methods}
    assert set(methods.methods) == {method for method, n in drawn.items() if n <= crops}
    assert min((n for n in drawn.values() if n > crops), default=None) == least_left_out


def test_methods_of_the_user_may_draw_more_crops():
    made = plan(FULL | {"datasets": "pets", "encoders": "a:b", "methods": "wca:n=90", "crops": 60}).full
    assert made["a-b/pets"].methods == ("wca:n=90",)


def test_options_are_words_for_the_shell():
    evaluation = Evaluation(dataset="a b", methods=("wca", "lgca"), seeds=2, n=3, device="cpu", parts=4, after="c")
    assert evaluation.options() == "--method wca,lgca --dataset 'a b' --seeds 2 --n 3 --device cpu"


# Pages


def test_a_page_without_its_full_records_shows_the_embedded_world():
    """Of the data sets that Table 2 is about none is asked for."""
    made = plan(TWO_BY_TWO)
    assert made.records_of("table1") == ["results/a-b/pets/record.json", "results/a-b/dtd/record.json"]
    assert "_build/records/aviary-night/record.json" in made.records_of("table2")
    assert made.parameters_of("table2") == {"wanted": "full"}
    assert plan({}).records_of("table1") == ["_build/records/aviary/record.json"]


def test_a_page_can_read_a_record_that_is_there_and_not_asked_for(tmp_path):
    """Table 2 of an earlier run's ImageNet and this run's variants."""
    variants = FULL | {"encoders": "a:b", "datasets": IMAGENETS.removeprefix("imagenet,")}
    assert plan(variants, tmp_path).parameters_of("table2") == {"wanted": "full"}
    made = plan(variants, kept(tmp_path, "a-b/imagenet/record.json"))
    assert "results/a-b/imagenet/record.json" in made.records_of("table2")
    assert "results/a-b/imagenet/record.json" not in made.wanted
    assert made.parameters_of("table2")["records"] == "../results/a-b"


def test_pages_show_records_of_results_beside_their_own(tmp_path):
    names = ["training-seeds/seed-2/record.json", "e-f/cub/record.json", ".draft/cub/record.json", "bench/lately.json"]
    made = plan(TWO_BY_TWO, kept(tmp_path, *names))
    every = sorted(f"results/{name}" for name in [*(f"{name}/record.json" for name in RECORDS), *names[:2]])
    assert [made.kept_of(page) for page in ("table1", "table2", "reproduce")] == [every] * 3
    assert made.kept_of("significance") == ["results/training-seeds/seed-2/record.json"]
    assert made.kept_of("speed") == ["results/bench/lately.json"]
    assert made.kept_of("figure2") == []
    assert plan({}, tmp_path).kept_of("table1") == sorted(f"results/{name}" for name in names[:2])


def test_pages_that_are_the_same_under_every_profile_are_given_nothing():
    for page in ("reproduce", "cards", "speed"):
        assert plan(TWO_BY_TWO).parameters_of(page) == {}
        assert plan(TWO_BY_TWO).records_of(page) == plan({}).records_of(page)
    assert all(plan({}).parameters_of(page) == {} for page in experiments().pages)


def test_pages_are_given_what_was_chosen():
    made = plan(TWO_BY_TWO | {"seeds": 3})
    common = {
        "profile": "full",
        "wanted": "full",
        "encoder": "a:b",
        "datasets": ["pets", "dtd"],
        "records": "../results/a-b",
    }
    assert made.parameters_of("method") == common
    assert made.parameters_of("table1") == common | {"methods": list(experiments().full.methods), "seeds": 3}
    some = plan(TWO_BY_TWO | {"methods": "wca,lgca"})
    assert some.parameters_of("table1")["methods"] == ["wca", "lgca"]
    of_imagenet = plan(FULL | {"datasets": IMAGENETS})
    assert of_imagenet.parameters_of("table2")["datasets"] == IMAGENETS.split(",")


def test_figure_1_is_the_paper_s_tern_where_its_pictures_are():
    made = plan(FULL | {"datasets": "pets,cub"}).parameters_of("figure1")
    assert (made["datasets"], made["of_class"]) == (["cub"], "Caspian Tern")
    assert "of_class" not in plan(FULL | {"datasets": "pets"}).parameters_of("figure1")


@pytest.mark.parametrize(
    ("config", "page", "method"),
    [
        ({"sweeps": "settings", "methods": "clip,cupl,wca,lgca"}, "figure4", "lgca-equal"),
        ({"datasets": IMAGENETS, "methods": "wca,lgca"}, "table2", "clip"),
        ({"methods": "clip,wca"}, "figure2", "lgca"),
        ({"datasets": "aviary", "sweeps": "ranges", "methods": "clip,wca,lgca,lgca-equal"}, "figure5", "cupl"),
    ],
)
def test_records_without_what_pages_compare_are_refused_where_pages_are_made_of_them(config, page, method):
    made = plan(FULL | config)
    assert made.full and made.records_of(page)
    with pytest.raises(LgcaError, match=f"methods= lacks {method}, which the page {page} compares"):
        made.compared_in(page)


def test_what_a_page_does_not_compare_may_be_missing():
    made = plan(FULL | {"datasets": "pets", "sweeps": "ranges", "methods": "clip"})
    assert made.compared_in("figure5") == made.records_of("figure5")  # where the birds are is not known of pets
    assert made.compared_in("table2") == made.records_of("table2")  # the stand-ins have all


# Slips


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"profile": "fulll"}, "there is no profile 'fulll': --config profile= must be embedded or full"),
        (
            FULL | {"dataset": "pets"},
            "--config has no 'dataset' under the profile full: "
            "it has parts, gpus, datasets, encoders, methods, seeds, crops, sweeps, device, repository",
        ),
        ({"seeds": 2}, "--config has no 'seeds' under the profile embedded: it has parts, gpus, repository"),
        (
            FULL | {"encoders": "a:b,a-b"},
            "two of encoders= or of datasets= would share a folder of results/: leave one out",
        ),
        (
            FULL | {"datasets": "pets,pets"},
            "two of encoders= or of datasets= would share a folder of results/: leave one out",
        ),
        (
            FULL | {"sweeps": "crops,cropss"},
            "there is no sweep 'cropss': --config sweeps= can name ablation, crops, settings, ranges, released",
        ),
        ({"parts": 0}, "--config parts=0 must be a whole number from 1 on"),
        ({"parts": True}, "--config parts=True must be a whole number from 1 on"),
        ({"gpus": -1}, "--config gpus=-1 must be a whole number from 0 on"),
        (FULL | {"crops": 1.5}, "--config crops=1.5 must be a whole number from 1 on"),
        (FULL | {"seeds": "two"}, "--config seeds=two must be a whole number from 1 on"),
        (FULL | {"datasets": ""}, "--config datasets= names nothing: give at least one, or leave it out for pets,dtd"),
        (
            FULL | {"encoders": ","},
            "--config encoders= names nothing: give at least one, or leave it out for ViT-B-32-quickgelu:openai",
        ),
    ],
)
def test_a_slip_gets_one_sentence(config, said):
    with pytest.raises(LgcaError) as error:
        plan(config)
    assert str(error.value) == said


# The graph

CHOICE = ["DATASETS=pets,dtd", "ENCODERS=a:b,c:d", "PARTS=2", "GPUS=2"]

# Make calls this in the place of its own: it plans, or takes what is there for made.
SNAKEMAKE = f"""\
#!/bin/sh
exec {sys.executable} -m snakemake "$@" $INSTEAD
"""


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
    snakemake = folder / ".venv" / "bin" / "snakemake"
    snakemake.parent.mkdir(parents=True)
    snakemake.write_text(SNAKEMAKE, encoding="utf-8")
    snakemake.chmod(0o700)
    return folder


Job = tuple[str, str, str]
"""Rule, wildcards and output of a job."""


def jobs_of(folder: Path, target: str, choice: list[str], instead: str = "--dry-run --quiet host") -> list[Job]:
    """What make would run, as if it were set up."""
    done = words_of("env", f"INSTEAD={instead}", "make", target, "READY=.venv", *choice, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    blocks = re.findall(r"^(?:local)?rule (\w+):\n((?:    \w+: .*\n)*)", done.stdout + done.stderr, re.MULTILINE)
    fields = [(rule, dict(re.findall(r"    (\w+): (.*)\n", block))) for rule, block in blocks]
    return [(rule, own.get("wildcards", ""), own.get("output", "")) for rule, own in fields]


@pytest.fixture(scope="module")
def planned(checkout) -> list[Job]:
    """Of a checkout in which nothing was run yet."""
    return jobs_of(checkout, "reproduce", CHOICE)


@pytest.fixture(scope="module")
def finished(checkout, planned) -> Path:
    """The checkout with all outputs in their places, as if they had been made."""
    for _, _, outputs in planned:
        for output in outputs.split(", "):
            if output:
                (checkout / output).parent.mkdir(parents=True, exist_ok=True)
                (checkout / output).write_text(output, encoding="utf-8")
    jobs_of(checkout, "reproduce", CHOICE, "--touch --forceall")
    return checkout


def test_the_book_is_planned_from_the_embedded_world(checkout):
    jobs = jobs_of(checkout, "book", [])
    evaluated = [wildcards for rule, wildcards, _ in jobs if rule == "evaluate"]
    assert sorted(evaluated) == sorted(f"name={name}" for name in experiments().embedded)
    assert not any(rule == "keep" for rule, _, _ in jobs)


def test_the_jobs_of_a_full_run_are_encoders_times_data_sets_times_parts(planned):
    def wildcards(rule: str) -> list[str]:
        return sorted(own for name, own, _ in planned if name == rule)

    parts = [f"name={name}, k={k}, n=2" for name, k in product(RECORDS, (1, 2))]
    assert wildcards("features") == sorted(parts + [f"name=aviary, k={k}, n=3" for k in (1, 2, 3)])
    assert wildcards("keep") == sorted(f"name={name}" for name in RECORDS)
    stand_ins = [name for name in wildcards("evaluate") if name not in wildcards("keep")]
    assert set(wildcards("keep")) < set(wildcards("evaluate"))
    assert stand_ins and all(name.startswith("name=aviary") for name in stand_ins)  # for pages without full records
    assert wildcards("notebook") == sorted(f"name={path.stem}" for path in (ROOT / "book").glob("*.ipynb"))
    assert [wildcards(rule) for rule in ("records", "html", "book")] == [[""]] * 3


def test_a_comment_or_a_file_s_time_reruns_no_evaluation_and_no_page(finished):
    for path in (finished / "lgca_core").rglob("*.py"):
        path.touch()
    views = finished / "lgca_core" / "views.py"
    before = views.read_text(encoding="utf-8")
    views.write_text("# A comment.\n" + before.replace('"""', '"""Said otherwise: ', 1), encoding="utf-8")
    try:
        assert {rule for rule, _, _ in jobs_of(finished, "reproduce", CHOICE)} == {
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
        jobs = jobs_of(finished, "reproduce", CHOICE)
    finally:
        file.write_bytes(before)
    assert {rule for rule, _, _ in jobs} == rules
    if "evaluate" in rules:

        def of(rule: str, some: list[Job]) -> set[str]:
            return {wildcards for name, wildcards, _ in some if name == rule}

        assert of("evaluate", jobs) == of("evaluate", planned)
        # The others run LGCA or show what came of it.
        assert of("notebook", jobs) == of("notebook", planned) - {"name=cards", "name=speed"}


@pytest.mark.parametrize(
    ("target", "config", "said"),
    [
        ("records", ["parts=0"], "--config parts=0 must be a whole number from 1 on"),
        (
            "book",
            ["profile=full", "methods=clip,wca"],
            "--config methods= lacks lgca, which the page figure2 compares: name it as well",
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


@pytest.mark.parametrize(
    ("visible", "listed", "gpus"), [(None, 2, 2), (None, 0, 0), ("0,5,GPU-7", 2, 3), ("", 2, 0), ("-1", 2, 0)]
)
def test_every_gpu_that_may_be_used_has_its_process(visible, listed, gpus, checkout, tmp_path):
    """And two cores of its own. What nvidia-smi lists beside GPUs, such as their MIG devices, is none."""
    lines = [f"GPU {k}: Some GPU (UUID: GPU-{k})\n  MIG 1g.10gb Device 0: (UUID: MIG-{k})" for k in range(listed)]
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\ncat <<END\n" + "\n".join(lines or ["NVIDIA-SMI has failed"]) + "\nEND\n")
    smi.chmod(0o700)
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    words = ["make", "--dry-run", "reproduce", "READY=.venv", "JOBS=2"]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, env=environment, check=True)
    assert f"--cores $((2 + 2 * {gpus})) " in done.stdout
    assert f"--resources gpu={gpus} " in done.stdout and f" gpus={gpus} parts={max(gpus, 1)} " in done.stdout


def test_a_cluster_is_not_sized_by_the_machine_that_starts_it(checkout):
    words = ["env", "INSTEAD=--dry-run", "make", "reproduce", "READY=.venv", "CLUSTER=profiles/slurm"]
    done = words_of(*words, folder=checkout)
    assert done.returncode == 2
    assert "error: with CLUSTER= say how many GPUs to use at once and into how many jobs" in done.stderr
