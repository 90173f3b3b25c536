"""The graph of `make related`: arms of the related systems -> trained models -> records in results/related/.

A job an arm and a seed, so it can be stopped at any time and goes on with what is left; a training goes on from its last
checkpoint. Models stay in _build/related, their hashes are in the records. `make book` reads the records and makes none.
"""

import sys
from pathlib import Path
from shlex import quote

sys.path[:0] = [str(Path.cwd()), str(Path("book").resolve())]  # this checkout's code, wherever it is installed from
from lgca_book.building import dependencies
from lgca_book.experiments import experiments
from lgca_core.evaluation.code_digest import digest_of_code

GOAL = experiments().related.goal
LGCA = quote(str(Path(sys.executable).with_name("lgca")))
WORK, KEPT = "_build/related/goal", "results/related/goal"
SEEDS = [f"seed-{seed}" for seed in range(GOAL.seeds)]
CODE = digest_of_code(dependencies.files(["lgca_core.cli.goal_train", "lgca_core.cli.goal_evaluate"]))

shell.prefix("export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1; ")


rule related:
    input:
        f"{KEPT}/start/retrieval/related.json",
        f"{KEPT}/start/aviary/record.json",
        expand(f"{KEPT}/{{arm}}/{{seed}}/retrieval/related.json", arm=GOAL.arms, seed=SEEDS),
        expand(f"{KEPT}/{{arm}}/{{seed}}/aviary/record.json", arm=GOAL.classified, seed=SEEDS),


rule pairs:
    output:
        f"{WORK}/pairs.json",
    params:
        code=CODE,
    log:
        f"{WORK}/pairs.log",
    shell:
        "echo '  pairs     {GOAL.data}'; "
        "{LGCA} goal pairs --data {GOAL.data} --encoder aviary --regions true --force --out {output} > {log}"


rule train:
    input:
        rules.pairs.output,
    output:
        f"{WORK}/{{arm}}/seed-{{seed}}/open_clip_config.json",  # written last; what a training goes on from is beside it
    params:
        code=CODE,
        folder=f"{WORK}/{{arm}}/seed-{{seed}}",
        settings=f"--epochs {GOAL.epochs} --batch {GOAL.batch} --rate {GOAL.rate}",
    log:
        f"{WORK}/{{arm}}/seed-{{seed}}.log",
    shell:
        "echo '  train     {wildcards.arm}, seed {wildcards.seed}'; "
        "{LGCA} goal train --data {GOAL.data} --encoder aviary --pairs {input} --arm {wildcards.arm} "
        "--seed {wildcards.seed} {params.settings} --out {params.folder} > {log}"


def encoder(wildcards):
    """The name of the encoder behind a place of records: an arm's, or that which every training starts with."""
    return "aviary" if wildcards.place == "start" else f"goal:{WORK}/{wildcards.place}"


def model(wildcards):
    return [] if wildcards.place == "start" else f"{WORK}/{wildcards.place}/open_clip_config.json"


rule retrieve:
    input:
        model,
    output:
        f"{WORK}/records/{{place}}/retrieval/related.json",
        f"{WORK}/records/{{place}}/retrieval/ranks.parquet",
    params:
        code=CODE,
        encoder=encoder,
        folder=f"{WORK}/records/{{place}}/retrieval",
    shell:
        "echo '  retrieve  {wildcards.place}'; "
        "{LGCA} goal evaluate --data aviary --encoder {params.encoder} --force --out {params.folder} > /dev/null"


rule classify:
    input:
        model,
    output:
        f"{WORK}/records/{{place}}/aviary/record.json",
        f"{WORK}/records/{{place}}/aviary/predictions.parquet",
    params:
        encoder=encoder,
        folder=f"{WORK}/records/{{place}}/aviary",
        methods=",".join(GOAL.methods),
    shell:
        "echo '  classify  {wildcards.place}'; "
        "{LGCA} evaluate --dataset aviary --encoder {params.encoder} --method {params.methods} --n {GOAL.crops} "
        "--seeds 1 --device cpu --no-store --force --out {params.folder} > /dev/null"


# Snakemake removes what a job will make before it starts: an earlier record stays until the new one is whole.
rule keep_ranks:
    input:
        rules.retrieve.output,
    output:
        f"{KEPT}/{{place}}/retrieval/related.json",
        f"{KEPT}/{{place}}/retrieval/ranks.parquet",
    shell:
        "cp {input} {KEPT}/{wildcards.place}/retrieval"


rule keep_predictions:
    input:
        rules.classify.output,
    output:
        f"{KEPT}/{{place}}/aviary/record.json",
        f"{KEPT}/{{place}}/aviary/predictions.parquet",
    shell:
        "cp {input} {KEPT}/{wildcards.place}/aviary"
