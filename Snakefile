"""The graph: features -> evaluations -> records -> executed notebooks -> book.

`make book` runs it on the embedded world, `make reproduce` on real data sets and encoders. With `parts=N` the features
of each evaluation are encoded in N jobs, which fill one store and may run side by side: on several GPUs, or over a
cluster with `pip install -e '.[cluster]'` and `snakemake --profile profiles/slurm`, where all see the same folders.
A step runs again when the content of an input, a parameter or its own rule changes. Snakemake keeps the checksums of
inputs, so the times that a fresh checkout gives to files mean nothing.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path
from shlex import quote

import yaml

METHODS = ["clip", "clip-e", "waffle", "cupl", "wca", "lgca", "lgca-equal"]
FURTHER = ["clip-d", "wca-released", "gc", "bifta", "lazsl", "lazsl-d"]

# What `--config` can say under each profile; make gives its own names to the same.
SETTINGS = {
    "embedded": ["parts", "gpus"],
    "full": ["parts", "gpus", "datasets", "encoders", "methods", "seeds", "crops", "device"],
}


def chosen(name, default):
    """A list of `--config`: "pets,dtd" as ["pets", "dtd"]."""
    words = [word for word in str(config.get(name, default) or "").split(",") if word]
    if not words:
        sys.exit(f"error: --config {name}= names nothing: give at least one, or leave it out for {default}")
    return words


def number(name, default, least=1):
    """A whole number of `--config`."""
    value = config.get(name, default)
    if type(value) is not int or value < least:  # True is an int too
        sys.exit(f"error: --config {name}={value} must be a whole number from {least} on")
    return value


def slug(text):
    """A data set or an encoder as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-")


PROFILE = config.get("profile", "embedded")
if PROFILE not in SETTINGS:
    sys.exit(f"error: there is no profile {PROFILE!r}: --config profile= must be {' or '.join(SETTINGS)}")
for setting in config:
    if setting not in ["profile", *SETTINGS[PROFILE]]:
        known = ", ".join(SETTINGS[PROFILE])
        sys.exit(f"error: --config has no {setting!r} under the profile {PROFILE}: it has {known}")
PARTS = number("parts", 1)
GPUS = number("gpus", 0, least=0)
ENCODERS = chosen("encoders", "ViT-B-32-quickgelu:openai")
DATASETS = chosen("datasets", "pets,dtd")

# One record each: name -> options of `lgca evaluate`; a list becomes "a,b,c".
if PROFILE == "embedded":
    KEPT = "_build/records"
    EVALUATIONS = {
        "aviary": {
            "dataset": "aviary",
            "method": METHODS,
            "seeds": 5,
            "n": 30,  # half the papers' crops, for two cores
            "device": "cpu",
            "workers": 2,
            "store": "_build/store",
        },
    }
    PARAMETERS = {}
else:
    KEPT = "results"
    EVALUATIONS = {
        f"{slug(encoder)}/{slug(dataset)}": {
            "dataset": dataset,
            "encoder": encoder,
            "method": chosen("methods", ",".join(METHODS + FURTHER)),
            "seeds": number("seeds", 5),
            "n": number("crops", 60),
            "device": config.get("device", "auto"),
        }
        for encoder in ENCODERS
        for dataset in DATASETS
    }
    if len(EVALUATIONS) < len(ENCODERS) * len(DATASETS):
        sys.exit("error: two of encoders= or of datasets= would share a folder of results/: leave one out")
    # What differs from the notebooks' own parameters, in every notebook that has them.
    PARAMETERS = {
        "profile": "full",
        "encoder": ENCODERS[0],
        "datasets": DATASETS,
        "records": f"../{KEPT}/{slug(ENCODERS[0])}",
    }

# The notebooks that read records; the others compute for themselves.
READERS = {"table1"}


def listed(entry):
    """Every page under an entry of the table of contents, in its order."""
    if isinstance(entry, list):
        return [name for item in entry for name in listed(item)]
    own = [entry[key] for key in ("root", "file") if key in entry]
    return own + [name for key in ("parts", "chapters", "sections") for name in listed(entry.get(key, []))]


def options(evaluation):
    """{"method": ["wca", "lgca"], "whole-image": True} as "--method wca,lgca --whole-image"."""
    words = []
    for name, value in evaluation.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words.append(f"--{name}" if value is True else f"--{name} {quote(text)}")
    return " ".join(words)


def assignments(values):
    """{"seeds": 5} as "-p seeds 5", for lgca_core.notebooks."""
    return " ".join(f"-p {name} {quote(json.dumps(value))}" for name, value in values.items())


PYTHON = quote(sys.executable)
BOOK = quote(str(Path(sys.executable).with_name("jupyter-book")))
LGCA = quote(str(Path(sys.executable).with_name("lgca")))
SUFFIXES = {".py", ".json", ".csv", ".txt", ".safetensors"}
CORE = sorted(path for path in Path("lgca_core").rglob("*") if path.suffix in SUFFIXES)
# What a record can depend on: all but what only draws, times, trains, runs pages or compares with the papers.
PAGES_ONLY = {"complexity", "lineage", "notebooks", "plots", "published", "recipe", "spread", "train"}
PAGES_ONLY |= {path.stem for path in CORE if path.name.startswith("published_")}
MEASURING = [path for path in CORE if path.stem not in PAGES_ONLY]
NAMES = listed(yaml.safe_load(Path("book/_toc.yml").read_text(encoding="utf-8")))
NOTEBOOKS = [name for name in NAMES if Path("book", f"{name}.ipynb").is_file()]
COPIES = ["_toc.yml", "references.bib"]
COPIES += [f"{name}.md" for name in NAMES if Path("book", f"{name}.md").is_file()]
COPIES += sorted(path.relative_to("book").as_posix() for path in Path("book/_static").rglob("*.*"))
# Formulae need neither a network nor a font: one script with every TeX extension in it, drawing SVG.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).with_name("static") / "mathjax/tex-svg-full.js"

# A thread a job: the same sums in the same order on every machine, and jobs side by side do not contend.
shell.prefix(
    "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; "
    + ("export LGCA_ONE_PROCESS_A_GPU=1; " if GPUS else "")
)


# Too short to be sent to a cluster.
localrules:
    book,
    keep,
    records,
    copy,
    mathjax,
    html,
    strict,


rule book:
    input:
        "_build/html/index.html",


def parts(wildcards):
    """The feature jobs of an evaluation; of one part there is none, since the evaluation does it on its way."""
    return [f"_build/features/{wildcards.name}/{k}-of-{PARTS}" for k in range(1, PARTS + 1)] if PARTS > 1 else []


rule features:
    input:
        MEASURING,
    output:
        touch("_build/features/{name}/{k}-of-{n}"),
    wildcard_constraints:
        k=r"\d+",
        n=r"\d+",
    resources:
        gpu=min(GPUS, 1),
    log:
        "_build/logs/{name}/{k}-of-{n}.log",
    params:
        options=lambda wildcards: options(EVALUATIONS[wildcards.name]),
    shell:
        "echo '  encode    {wildcards.name}, part {wildcards.k} of {wildcards.n}'; "
        "{LGCA} evaluate {params.options} --part {wildcards.k}/{wildcards.n} > {log}"


rule evaluate:
    input:
        MEASURING,
        parts,
    output:
        record="_build/records/{name}/record.json",
        predictions="_build/records/{name}/predictions.parquet",
    threads: 2
    resources:
        gpu=min(GPUS, 1),
    log:
        "_build/logs/{name}.log",
    params:
        options=lambda wildcards: options(EVALUATIONS[wildcards.name]),
    shell:
        "echo '  evaluate  {wildcards.name}'; "
        "{LGCA} evaluate {params.options} --force --out _build/records/{wildcards.name} > {log}"


rule keep:
    # Snakemake removes what a job will make before it starts: an earlier record stays until the new one is whole.
    input:
        rules.evaluate.output,
    output:
        record="results/{name}/record.json",
        predictions="results/{name}/predictions.parquet",
    shell:
        "cp {input} results/{wildcards.name}"


rule records:
    input:
        [f"{KEPT}/{name}/record.json" for name in EVALUATIONS],


rule notebook:
    input:
        CORE,
        lambda wildcards: rules.records.input if wildcards.name in READERS else [],
        source="book/{name}.ipynb",
    output:
        "_build/executed/{name}.ipynb",
    params:
        values=assignments(PARAMETERS),
    shell:
        "echo '  execute   {input.source}'; "
        "{PYTHON} -m lgca_core.notebooks {input.source} {output} {params.values}"


rule copy:
    input:
        "book/{file}",
    output:
        "_build/executed/{file}",
    wildcard_constraints:
        file="|".join(map(re.escape, COPIES)),
    shell:
        "cp {input} {output}"


rule mathjax:
    input:
        str(MATHJAX),
    output:
        f"_build/executed/_extra/_static/{MATHJAX.name}",
    shell:
        "cp {input:q} {output}"


PAGES = [
    "_config.yml",
    rules.mathjax.output,
    *(f"_build/executed/{file}" for file in COPIES),
    *(f"_build/executed/{name}.ipynb" for name in NOTEBOOKS),
]


rule html:
    # From an empty folder: a page that left the table of contents must not linger in the site.
    input:
        PAGES,
    output:
        "_build/html/index.html",
    shell:
        "echo '  build     _build/html'; rm -rf _build/html _build/.doctrees; "
        "{BOOK} build _build/executed --config _config.yml --path-output . --all -q > /dev/null"


rule strict:
    # The same pages in a folder of their own, every warning an error.
    input:
        PAGES,
    output:
        touch("_build/strict/passed"),
    shell:
        "echo '  build     _build/strict (a warning is an error)'; rm -rf _build/strict; "
        "{BOOK} build _build/executed --config _config.yml --path-output _build/strict --all -q -W --keep-going > /dev/null"
