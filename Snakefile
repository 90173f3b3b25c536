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

sys.path[:0] = [str(Path.cwd()), str(Path("book").resolve())]  # this checkout's code, wherever it is installed from
import lgca_core
from lgca_book.building.dependencies import files, of_notebook

METHODS = ["clip", "clip-e", "waffle", "cupl", "wca", "lgca", "lgca-equal"]
FURTHER = ["clip-d", "wca-released", "gc", "bifta", "lazsl", "lazsl-d"]

COMPARABLE = ["clip", "cupl", "wca", "lgca", "lgca-equal"]  # side by side under shifts, and by the size of the bird

LOCAL = "0.28444444444444444-0.512"  # LGCA's first crops by default, `LGCA().range()`
COMPONENTS = ["image_temperature=0", "text_temperature=0", "lam=last", "lam=geometric", "whole_image=true"]
SETTINGS_OF_LGCA = ["steps=0", "steps=1", "steps=2", "steps=5", "rho=0.25", "rho=0.75", "gamma=1.1", "gamma=1.6"]
CHOICES = ["saliency=stratified", "saliency=text", "growth=free", "start=wca"]


def variants(method, settings):
    """A method as it is and with one setting at a time: ["wca", "wca:n=1", ...]."""
    return [method, *(f"{method}:{setting}" for setting in settings)]


def sweeps(crops):
    """What beside the methods of Table 1 is evaluated for other pages: name -> (methods, seeds that the page wants)."""
    n = [f"n={n}" for n in (1, 2, 4, 8, 15, 30, 60) if n <= crops]
    both = "image_temperature=0:text_temperature=0"
    return {
        "ablation": (
            ["clip", "cupl", "cupl-weighted"]
            + variants("wca", [*COMPONENTS[:2], both])
            + variants("lgca", [*COMPONENTS, f"steps=0:start={LOCAL}"])
            + variants("lgca-equal", [*COMPONENTS, f"steps=0:start={LOCAL}"]),
            5,
        ),
        "crops": (variants("wca", n)[1:] + variants("lgca", n)[1:], 2),
        "settings": (["wca", *variants("lgca-equal", SETTINGS_OF_LGCA + CHOICES)], 1),
        "ranges": (
            variants("wca", ["alpha=0.1", "alpha=0.1:beta=0.5", "alpha=0.7:beta=1"])
            + variants("lgca-equal", ["start=0.1-0.3", "start=wca"]),
            1,
        ),
        "released": (["wca", "wca:renormalise=true", "wca:alpha=0.1:pool=100", "wca-released"], 5),
    }


# What `--config` can say under each profile; make gives its own names to the same.
SETTINGS = {
    "embedded": ["parts", "gpus", "repository"],
    "full": ["parts", "gpus", "datasets", "encoders", "methods", "seeds", "crops", "sweeps", "device", "repository"],
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

# One record each: name -> options of `lgca evaluate`; a list becomes "a,b,c". Those of the embedded world are always
# there to be made: a page whose full records are missing shows them.
# Half the papers' crops, and half the bits where the processor multiplies them faster: for two cores.
BASE = {"n": 30, "device": "cpu", "precision": "auto", "store": "_build/store"}
OUT_OF_DISTRIBUTION = ["imagenet", "imagenet-v2", "imagenet-r", "imagenet-sketch", "imagenet-a"]
SHIFTS = ["aviary-night", "aviary-sketch", "aviary-clutter"]
SWEPT = sweeps(BASE["n"])
EMBEDDED = {
    "aviary": {"dataset": "aviary", "method": METHODS, "seeds": 5, **BASE},
    **{
        name: {"dataset": name, "method": COMPARABLE, "seeds": 1, **BASE}
        for name in SHIFTS
    },
    **{
        f"aviary-{sweep}": {"dataset": "aviary", "method": methods, "seeds": seeds, **BASE}
        for sweep, (methods, seeds) in SWEPT.items()
    },
}
FULL = {}
AFTER = {f"aviary-{sweep}": "aviary" for sweep in SWEPT}  # whose crops they look at again

if PROFILE == "full":
    SEEDS, CROPS = number("seeds", 5), number("crops", 60)
    CHOSEN = chosen("methods", ",".join(METHODS + FURTHER))
    SWEEPS = sweeps(CROPS)
    for encoder in ENCODERS:
        for dataset in DATASETS:
            name = f"{slug(encoder)}/{slug(dataset)}"
            if name in FULL:
                sys.exit("error: two of encoders= or of datasets= would share a folder of results/: leave one out")
            common = {"dataset": dataset, "encoder": encoder, "n": CROPS, "device": config.get("device", "auto")}
            FULL[name] = {"method": CHOSEN, "seeds": SEEDS, **common}
            for sweep in chosen("sweeps", "") if config.get("sweeps") else []:
                if sweep not in SWEEPS:
                    sys.exit(f"error: there is no sweep {sweep!r}: --config sweeps= can name {', '.join(SWEEPS)}")
                methods, seeds = SWEEPS[sweep]
                FULL[f"{name}-{sweep}"] = {"method": methods, "seeds": seeds, **common}
                AFTER[f"{name}-{sweep}"] = name
    # What differs from the notebooks' own parameters, in every notebook that has them.
    PARAMETERS = {
        "profile": "full",
        "wanted": "full",
        "encoder": ENCODERS[0],
        "datasets": DATASETS,
        "records": f"../results/{slug(ENCODERS[0])}",
    }

# An evaluation in parts takes that many jobs before its own. The longest of the embedded world has a job for each shard
# of its 600 pictures, so that the cores share it.
PARTED = {"aviary": 3} | {name: PARTS for name in FULL or EMBEDDED if PARTS > 1}
EVALUATIONS = EMBEDDED | FULL
WANTED = [f"results/{name}/record.json" for name in FULL] or [f"_build/records/{name}/record.json" for name in EMBEDDED]

# The notebooks that read records: which of the embedded world, and which of real data, {} standing for each data set.
# The others compute for themselves.
READERS = {
    "figure2": (["aviary"], ["{}"]),
    "table1": (["aviary"], ["{}"]),
    "table2": (["aviary", *SHIFTS], OUT_OF_DISTRIBUTION),
    "table3": (["aviary-ablation", "aviary-settings"], ["{}-ablation", "{}-settings"]),
    "figure3": (["aviary-crops"], ["{}-crops"]),
    "figure4": (["aviary", "aviary-settings"], ["{}", "{}-settings"]),
    "figure5": (["aviary", "aviary-ranges"], ["{}", "{}-ranges"]),
    "released": (["aviary-ranges", "aviary-released"], ["{}-ranges", "{}-released"]),
    "significance": (["aviary", *SHIFTS, "aviary-ablation"], ["{}", "{}-ablation"]),
    "reproduce": (list(EMBEDDED), None),  # the embedded ones, whatever the profile
    "cards": ([], None),  # the embedded data sets, likewise
    "speed": ([], None),  # benchmarks of any encoder
}

# What pages compare out of the records of data sets themselves; those of the sweeps have all that they need.
COMPARED = {
    "figure2": ["wca", "lgca"],
    "table1": ["wca"],
    "table2": COMPARABLE,
    "figure4": ["lgca-equal"],
    "figure5": COMPARABLE if DATASETS[0].startswith("aviary") else [],  # where the birds are is known there alone
    "significance": ["cupl", "wca", "lgca", "lgca-equal"],
}

# Which files of results/ pages show as well.
RECORDS = "**/record.json"
KEPT = {
    "table1": RECORDS,
    "table2": RECORDS,
    "significance": f"training-seeds/{RECORDS}",
    "reproduce": RECORDS,
    "speed": "bench/*.json",
}


def records_of(notebook):
    """The records that a notebook reads: full ones where all that it needs are made or there, else the embedded."""
    embedded, full = READERS.get(notebook, ([], []))
    if PROFILE == "full" and full is not None:
        names = dict.fromkeys(pattern.format(slug(dataset)) for pattern in full for dataset in DATASETS)
        found = [f"results/{slug(ENCODERS[0])}/{name}/record.json" for name in names]
        if all(record in WANTED or Path(record).is_file() for record in found):
            return found
    return [f"_build/records/{name}/record.json" for name in embedded]


def kept_of(notebook):
    """The records of results/ that a notebook shows beside its own: those that are there, and those that are made."""
    if notebook not in KEPT:
        return []
    there = {path.as_posix() for path in Path("results").glob(KEPT[notebook])}
    made = {record for record in WANTED if record.startswith("results/") and KEPT[notebook] == RECORDS}
    return sorted(record for record in there | made if "/." not in record)  # no hidden drafts


def compared_in(notebook):
    """Its `records_of`, refused before anything runs where they will not hold what it compares."""
    found = records_of(notebook)
    if PROFILE == "full" and set(found) & set(WANTED):
        for method in COMPARED.get(notebook, []):
            if method not in CHOSEN:
                sys.exit(f"error: --config methods= lacks {method}, which the page {notebook} compares: name it as well")
    return found


def parameters_of(notebook):
    """What a notebook is run with, beside its own defaults."""
    if PROFILE == "embedded" or READERS.get(notebook, ([], []))[1] is None:
        return {}
    if any(record not in WANTED and record.startswith("_build") for record in records_of(notebook)):
        return {"wanted": "full"}
    if notebook == "table1":
        return PARAMETERS | {"methods": chosen("methods", ",".join(METHODS)), "seeds": SEEDS}
    if notebook == "table2":
        return PARAMETERS | {"datasets": OUT_OF_DISTRIBUTION}
    if notebook == "figure1" and "cub" in DATASETS:
        return PARAMETERS | {"datasets": ["cub"], "of_class": "Caspian Tern", "every": 1}  # the paper's own
    return PARAMETERS


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
    """{"seeds": 5} as "-p seeds 5", for lgca_book.building.run_notebook."""
    return " ".join(f"-p {name} {quote(json.dumps(value))}" for name, value in values.items())


def core(paths):
    """Files of the core as the graph names them: by their place in the checkout."""
    return [path.relative_to(Path.cwd().resolve()).as_posix() for path in paths]


PYTHON = quote(sys.executable)
BOOK = quote(str(Path(sys.executable).with_name("jupyter-book")))
LGCA = quote(str(Path(sys.executable).with_name("lgca")))
# What a record depends on: not on what only draws, times, trains, runs pages or compares with the papers.
MEASURING = core(
    file.resolve()
    for pattern in ("*", "pixels/*", "encoders/*", "data/*", "prompts/*", "methods/*", "evaluation/*", "evaluation/store/*")
    for file in sorted(Path("lgca_core").glob(f"{pattern}.py"))
)
NAMES = listed(yaml.safe_load(Path("book/_toc.yml").read_text(encoding="utf-8")))
NOTEBOOKS = [name for name in NAMES if Path("book", f"{name}.ipynb").is_file()]
COPIES = ["_toc.yml", "references.bib"]
COPIES += [f"{name}.md" for name in NAMES if Path("book", f"{name}.md").is_file()]
COPIES += sorted(path.relative_to("book").as_posix() for path in Path("book/_static").rglob("*.*"))
# Formulae need neither a network nor a font: one script with every TeX extension in it, drawing SVG.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).with_name("static") / "mathjax/tex-svg-full.js"

# A thread a job for sums: the same order on every machine of one kind, and jobs side by side contend for less.
shell.prefix(
    "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; "
    + ("export LGCA_ONE_PROCESS_A_GPU=1; " if GPUS else "")
)


# Too short to be sent to a cluster.
localrules:
    book,
    keep,
    records,
    config,
    copy,
    mathjax,
    html,
    strict,


rule book:
    input:
        "_build/html/index.html",


def parts(wildcards):
    """The feature jobs of an evaluation; of one part there is none, since the evaluation does it on its way."""
    n = PARTED.get(wildcards.name, 1)
    return [f"_build/features/{wildcards.name}/{k}-of-{n}.json" for k in range(1, n + 1)] if n > 1 else []


def before(wildcards):
    """The record of the evaluation that encodes what this one looks at as well, so that it comes first.

    It changes nothing here, and is no `ancient()` all the same: a job with such an input made anew is run for no
    other reason either.
    """
    return [f"_build/records/{AFTER[wildcards.name]}/record.json"] if wildcards.name in AFTER else []


rule features:
    priority: 2  # what others wait for first, and pages last: they find the pictures painted
    input:
        MEASURING,
        before,
    output:
        "_build/features/{name}/{k}-of-{n}.json",  # what the part took
    wildcard_constraints:
        k=r"\d+",
        n=r"\d+",
    resources:
        gpu=lambda wildcards: min(GPUS, 1) if wildcards.name in FULL else 0,
    log:
        "_build/logs/{name}/{k}-of-{n}.log",
    params:
        options=lambda wildcards: options(EVALUATIONS[wildcards.name]),
    shell:
        "echo '  encode    {wildcards.name}, part {wildcards.k} of {wildcards.n}'; "
        "{LGCA} encode {params.options} --part {wildcards.k}/{wildcards.n} --force --out {output} > {log}"


rule evaluate:
    priority: 1
    input:
        MEASURING,
        before,
        parts=parts,
    output:
        record="_build/records/{name}/record.json",
        predictions="_build/records/{name}/predictions.parquet",
    threads: lambda wildcards: 2 if wildcards.name in FULL else 1
    resources:
        gpu=lambda wildcards: min(GPUS, 1) if wildcards.name in FULL else 0,
    log:
        "_build/logs/{name}.log",
    params:
        options=lambda wildcards: options(EVALUATIONS[wildcards.name]),
        parts=lambda wildcards, input: " ".join(f"--parts {quote(file)}" for file in input.parts),
    shell:
        "echo '  evaluate  {wildcards.name}'; "
        "{LGCA} evaluate {params.options} {params.parts} --force --out _build/records/{wildcards.name} > {log}"


rule keep:
    # Snakemake removes what a job will make before it starts: an earlier record stays until the new one is whole.
    input:
        rules.evaluate.output,
    output:
        record="results/{name}/record.json",
        predictions="results/{name}/predictions.parquet",
    wildcard_constraints:
        name="|".join(map(re.escape, FULL)) or "(?!)",  # the other records of results/ are there, and nobody's output
    shell:
        "cp {input} results/{wildcards.name}"


rule records:
    input:
        WANTED,


rule notebook:
    input:
        core(files(["lgca_book.building.run_notebook"])),
        lambda wildcards: core(of_notebook(Path(f"book/{wildcards.name}.ipynb"))),
        lambda wildcards: compared_in(wildcards.name),
        lambda wildcards: kept_of(wildcards.name),
        source="book/{name}.ipynb",
    output:
        "_build/executed/{name}.ipynb",
    params:
        values=lambda wildcards: assignments(parameters_of(wildcards.name)),
    shell:
        "echo '  execute   {input.source}'; "
        "{PYTHON} -m lgca_book.building.run_notebook {input.source} {output} {params.values}"


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


rule config:
    input:
        core(files(["lgca_book.building.launch_buttons"])),
        base="_config.yml",
    output:
        "_build/config.yml",
    params:
        repository=f"--repository {quote(str(config['repository']))}" if "repository" in config else "",
    shell:
        "{PYTHON} -m lgca_book.building.launch_buttons config {input.base} {output} {params.repository}"


# The page of names is made of docstrings.
PUBLIC = core(files(f"lgca_core.{module}" for module in set(lgca_core.MODULES.values())))
PAGES = [
    rules.config.output,
    rules.mathjax.output,
    *(f"_build/executed/{file}" for file in COPIES),
    *(f"_build/executed/{name}.ipynb" for name in NOTEBOOKS),
]


onstart:
    # A page that is no more, or has become another kind of file, must not linger beside the others.
    for path in Path("_build/executed").glob("*.*"):
        if path.is_file() and path.as_posix() not in PAGES:
            path.unlink()


rule html:
    # From an empty folder: a page that left the table of contents must not linger in the site.
    input:
        PAGES,
        PUBLIC,
    output:
        "_build/html/index.html",
    shell:
        "echo '  build     _build/html'; rm -rf _build/html _build/.doctrees; "
        "{BOOK} build _build/executed --config {rules.config.output} --path-output . --all -q > /dev/null"


rule strict:
    # The same pages in a folder of their own, every warning an error.
    input:
        PAGES,
        PUBLIC,
    output:
        touch("_build/strict/passed"),
    shell:
        "echo '  build     _build/strict (a warning is an error)'; rm -rf _build/strict; "
        "{BOOK} build _build/executed --config {rules.config.output} --path-output _build/strict --all -q -W --keep-going > /dev/null"
