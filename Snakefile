"""The graph: features -> evaluations -> records -> executed notebooks -> book.

`make book` runs it on the embedded world, `make reproduce` on real data sets and encoders, after a pre-flight that
writes the configuration (`lgca_book.building.run_graph` calls both). With `parts=N` the features
of each evaluation are encoded in N jobs, which fill one store and may run side by side: on several GPUs, or over a
cluster with `pip install -e '.[cluster]'` and `snakemake --profile profiles/slurm`, where all see the same folders.
A step runs again when the content of an input, a parameter or its own rule changes. Snakemake keeps the checksums of
inputs, so the times that a fresh checkout gives to files mean nothing.
"""

import importlib.util
import re
import sys
from pathlib import Path
from shlex import quote

sys.path[:0] = [str(Path.cwd()), str(Path("book").resolve())]  # this checkout's code, wherever it is installed from
import lgca_core
from lgca_book.building import dependencies, run_notebook
from lgca_book.building.contents import names_in
from lgca_book.building.launch_buttons import edition
from lgca_book.planning import digest_file, plan
from lgca_core.errors import LgcaError
from lgca_core.evaluation.code_digest import digest_of_code


def asked(planning, *arguments):
    """What planning returns; its error ends Snakemake with one sentence and no traceback."""
    try:
        return planning(*arguments)
    except LgcaError as error:
        sys.exit(f"error: {error}")


# Code is a parameter, by its digest, and no input: a changed comment or docstring reruns neither evaluation nor page.
MEASURING = digest_of_code(dependencies.of_evaluations())
PLAN = asked(plan, config, Path(), MEASURING)
# In a full run a page that fails is a short page: the others, and hours of work, do not wait for it.
FAILURES = "--failures _build/failed" if PLAN.full else ""


def place(paths):
    """Files as the graph names them: by their place in the checkout."""
    return [path.relative_to(Path.cwd().resolve()).as_posix() for path in paths]


PYTHON = quote(sys.executable)
BOOK = quote(str(Path(sys.executable).with_name("jupyter-book")))
LGCA = quote(str(Path(sys.executable).with_name("lgca")))
NAMES = names_in(Path("book/_toc.yml"))
NOTEBOOKS = [name for name in NAMES if Path("book", f"{name}.ipynb").is_file()]
COPIES = ["_toc.yml", "references.bib"]
COPIES += [f"{name}.md" for name in NAMES if Path("book", f"{name}.md").is_file()]
COPIES += sorted(path.relative_to("book").as_posix() for path in Path("book/_static").rglob("*.*"))
# Formulae need neither a network nor a font: one script with every TeX extension in it, drawing SVG.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).with_name("static") / "mathjax/tex-svg-full.js"

# A thread a job for sums: the same order on every machine of one kind, and jobs side by side contend for less.
shell.prefix(
    "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; "
    + ("export LGCA_ONE_PROCESS_A_GPU=1; " if PLAN.gpus else "")
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


rule features:
    priority: 2  # what others wait for first, and pages last: they find the pictures painted
    input:
        lambda wildcards: PLAN.before(wildcards.name),
    output:
        "_build/features/{name}/{k}-of-{n}.json",  # what the part took
    wildcard_constraints:
        k=r"\d+",
        n=r"\d+",
    resources:
        gpu=lambda wildcards: min(PLAN.gpus, 1) if wildcards.name in PLAN.full else 0,
    log:
        "_build/logs/{name}/{k}-of-{n}.log",
    params:
        code=MEASURING,
        content=lambda wildcards: PLAN.content_of(wildcards.name),
        options=lambda wildcards: PLAN.evaluations[wildcards.name].options(),
    shell:
        "echo '  encode    {wildcards.name}, part {wildcards.k} of {wildcards.n}'; "
        "{LGCA} encode {params.options} --part {wildcards.k}/{wildcards.n} --force --out {output} > {log}"


rule evaluate:
    priority: 1
    input:
        lambda wildcards: PLAN.before(wildcards.name),
        parts=lambda wildcards: PLAN.parts_of(wildcards.name),
    output:
        record=f"{PLAN.folder}/{{name}}/record.json",
        predictions=f"{PLAN.folder}/{{name}}/predictions.parquet",
        digest=digest_file("{name}", full=bool(PLAN.full)),
    threads: lambda wildcards: 2 if wildcards.name in PLAN.full else 1
    resources:
        gpu=lambda wildcards: min(PLAN.gpus, 1) if wildcards.name in PLAN.full else 0,
    log:
        "_build/logs/{name}.log",
    params:
        digest=lambda wildcards: PLAN.digest_of(wildcards.name),
        options=lambda wildcards: PLAN.evaluations[wildcards.name].options(),
        parts=lambda wildcards, input: " ".join(f"--parts {quote(file)}" for file in input.parts),
    shell:
        "echo '  evaluate  {wildcards.name}'; "
        "{LGCA} evaluate {params.options} {params.parts} --force --out {PLAN.folder}/{wildcards.name} > {log} && "
        "echo {params.digest} > {output.digest}"


rule keep:
    # Snakemake removes what a job will make before it starts: an earlier record stays until the new one is whole.
    input:
        rules.evaluate.output.record,
        rules.evaluate.output.predictions,
    output:
        record="results/{name}/record.json",
        predictions="results/{name}/predictions.parquet",
    wildcard_constraints:
        name="|".join(map(re.escape, PLAN.full)) or "(?!)",  # the other records of results/ are there, and nobody's output
    shell:
        "cp {input} results/{wildcards.name}"


rule records:
    input:
        PLAN.wanted,


def source_of(wildcards):
    """The notebook of a page, without outputs."""
    return Path(f"book/{wildcards.name}.ipynb")


def page_options(wildcards):
    """The values of a page's parameters, or what it says where there is nothing for it to show."""
    if PLAN.reading(wildcards.name).kind == "none":
        return f"--short {quote(PLAN.missing_told(wildcards.name))}"
    return asked(run_notebook.options, source_of(wildcards), PLAN.parameters_of(wildcards.name))


rule notebook:
    input:
        lambda wildcards: asked(PLAN.compared_in, wildcards.name),
        lambda wildcards: PLAN.kept_of(wildcards.name),
        source="book/{name}.ipynb",
    output:
        "_build/executed/{name}.ipynb",
    params:
        # Functions of wildcards alone: Snakemake disregards a change of parameters that are made of inputs.
        code=lambda wildcards: asked(dependencies.code_of_notebook, source_of(wildcards)),
        values=lambda wildcards: page_options(wildcards),
    shell:
        "echo '  execute   {input.source}'; "
        "{PYTHON} -m lgca_book.building.run_notebook {input.source} {output} {params.values} {FAILURES}"


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
        place(dependencies.files(["lgca_book.building.launch_buttons"])),
        base="_config.yml",
    output:
        "_build/config.yml",
    params:
        edition=edition(),  # stands below every page
        repository=f"--repository {quote(str(config['repository']))}" if "repository" in config else "",
    shell:
        "{PYTHON} -m lgca_book.building.launch_buttons config {input.base} {output} {params.repository}"


# The page of names is made of docstrings.
PUBLIC = place(dependencies.files(f"lgca_core.{module}" for module in set(lgca_core.MODULES.values())))
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
