"""The graph of `make study`: encoders trained with several seeds -> records of two hundred species in results/aviary-large/.

A training goes on from its last checkpoint and an evaluation from its stored features, so it can be stopped at any time and
run a part at a time. Weights stay in _build/study, their hashes are in the records. `make book` reads the records and makes none.
"""

import sys
from pathlib import Path
from shlex import quote

sys.path[:0] = [str(Path.cwd()), str(Path("book").resolve())]  # this checkout's code, wherever it is installed from
from lgca_book.experiments import experiments
from lgca_book.studies.large_study import FOLDER, WORK

STUDY = experiments().study
PYTHON, LGCA = (quote(str(Path(sys.executable).with_name(name))) for name in ("python", "lgca"))
SETTINGS = " ".join(f"--{name} {quote(str(value))}" for name, value in STUDY.training.items())
FILES = ("record.json", "predictions.parquet")

shell.prefix(f"export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 LGCA_STORE={WORK}/store; ")


wildcard_constraints:
    seed="[0-9]+",


rule study:
    input:
        expand(f"{FOLDER}/seed-{{seed}}/record.json", seed=range(1, STUDY.trainings + 1)),


rule train:
    output:
        f"{WORK}/weights/seed-{{seed}}.safetensors",
    params:
        folder=f"{WORK}/training/seed-{{seed}}",
        settings=SETTINGS,
    log:
        f"{WORK}/training/seed-{{seed}}.log",
    shell:
        "echo '  train     seed {wildcards.seed}'; "
        "{PYTHON} -m lgca_core.aviary.train --seed {wildcards.seed} {params.settings} --device cpu "
        "--work {params.folder} --out {output} > {log} 2>&1"


rule evaluate:
    input:
        rules.train.output,
    output:
        expand(f"{WORK}/records/seed-{{{{seed}}}}/{{file}}", file=FILES),
    params:
        folder=f"{WORK}/records/seed-{{seed}}",
        methods=",".join(STUDY.methods),
    shell:
        "echo '  evaluate  seed {wildcards.seed}'; "
        "{LGCA} evaluate --dataset {STUDY.dataset} --encoder aviary:{input} --method {params.methods} --n {STUDY.n} "
        "--seeds {STUDY.seeds} --device cpu --precision float32 --force --out {params.folder} > /dev/null"


# Snakemake removes what a job will make before it starts: an earlier record stays until the new one is whole.
rule keep:
    input:
        rules.evaluate.output,
    output:
        expand(f"{FOLDER}/seed-{{{{seed}}}}/{{file}}", file=FILES),
    shell:
        "cp {input} {FOLDER}/seed-{wildcards.seed}"
