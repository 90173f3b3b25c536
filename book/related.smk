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
from lgca_book.studies.goal_arms import START
from lgca_book.studies.related_arms import THREE
from lgca_core.cli.hada import OF_THE_AVIARY
from lgca_core.evaluation.code_digest import digest_of_code
from lgca_core.related.hada.arms import WITH_SHARE as SECOND, fusion_settings_of
from lgca_core.related.hada.train import HadaSettings

GOAL, HADA = experiments().related.goal, experiments().related.hada
LGCA = quote(str(Path(sys.executable).with_name("lgca")))
WORK, KEPT = "_build/related", "results/related"
CODE = {
    system: digest_of_code(dependencies.files([f"lgca_core.cli.{system}_train", f"lgca_core.cli.{system}_evaluate"]))
    for system in ("goal", "hada")
}


def seeds_of(arm, models=2):
    """Of an arm of HADA; one where nothing is trained."""
    settings = fusion_settings_of(arm.removesuffix(SECOND), HadaSettings(), models)
    return range(1 if settings.kind == "sum" else HADA.seeds)


RANKED = [
    f"goal/{START}",
    *expand("goal/{arm}/seed-{seed}", arm=GOAL.arms, seed=range(GOAL.seeds)),
    *(f"hada/{arm}/seed-{seed}" for arm in HADA.sums + HADA.trained for seed in seeds_of(arm)),
    *(f"hada/{THREE}{arm}/seed-{seed}" for arm in HADA.three for seed in seeds_of(arm, 3)),
]
CLASSIFIED = [
    f"goal/{START}",
    *expand("goal/{arm}/seed-{seed}", arm=GOAL.classified, seed=range(GOAL.seeds)),
    *(f"hada/{arm}/seed-{seed}" for arm in HADA.classified for seed in seeds_of(arm)),
]

shell.prefix("export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 LGCA_STORE=_build/related/store; ")


wildcard_constraints:
    place="(goal|hada)/.+",
    seed="[0-9]+",


rule related:
    input:
        expand(f"{KEPT}/{{place}}/retrieval/related.json", place=RANKED),
        expand(f"{KEPT}/{{place}}/aviary/record.json", place=CLASSIFIED),


rule pairs:
    output:
        f"{WORK}/goal/pairs.json",
    params:
        code=CODE["goal"],
    log:
        f"{WORK}/goal/pairs.log",
    shell:
        "echo '  pairs     {GOAL.data}'; "
        "{LGCA} goal pairs --data {GOAL.data} --encoder aviary --regions true --force --out {output} > {log}"


rule tune:
    input:
        rules.pairs.output,
    output:
        f"{WORK}/goal/{{arm}}/seed-{{seed}}/open_clip_config.json",  # written last
    params:
        code=CODE["goal"],
        folder=f"{WORK}/goal/{{arm}}/seed-{{seed}}",
        settings=f"--epochs {GOAL.epochs} --batch {GOAL.batch} --rate {GOAL.rate}",
    log:
        f"{WORK}/goal/{{arm}}/seed-{{seed}}.log",
    shell:
        "echo '  tune      goal, {wildcards.arm}, seed {wildcards.seed}'; "
        "{LGCA} goal train --data {GOAL.data} --encoder aviary --pairs {input} --arm {wildcards.arm} "
        "--seed {wildcards.seed} {params.settings} --out {params.folder} > {log}"


def models(place):
    """The frozen models of an arm of HADA, as options."""
    return " ".join(f"--encoder {name}" for name in (*OF_THE_AVIARY, *(["aviary"] if place.startswith(THREE) else [])))


rule features:
    output:
        touch(f"{WORK}/hada/features.done"),
    params:
        models=models(THREE),
    shell:
        "echo '  features  hada'; "
        "{LGCA} hada features --data {HADA.data} {params.models} --device cpu > /dev/null"


def first_stage(wildcards):
    arm = wildcards.arm.removesuffix(SECOND)
    return [] if arm == wildcards.arm else f"{WORK}/hada/{arm}/seed-{wildcards.seed}/hada.json"


def arm_of_hada(wildcards):
    """The options that name an arm: without what stands before it, and with the first stage of a second."""
    plain = wildcards.arm.removeprefix(THREE).removesuffix(SECOND)
    stage = f" --stage2 --start {Path(first_stage(wildcards)).parent}" if wildcards.arm.endswith(SECOND) else ""
    return f"--arm {plain}{stage}"


rule fuse:
    input:
        rules.features.output,
        first_stage,
    output:
        f"{WORK}/hada/{{arm}}/seed-{{seed}}/hada.json",  # written last
    params:
        code=CODE["hada"],
        models=lambda wildcards: models(wildcards.arm),
        arm=arm_of_hada,
        folder=f"{WORK}/hada/{{arm}}/seed-{{seed}}",
        settings=f"--epochs {HADA.epochs} --batch {HADA.batch} --rate {HADA.rate} --width {HADA.width} "
        f"--queue {HADA.queue} --patience {HADA.patience} --dropout {HADA.dropout}",
    log:
        f"{WORK}/hada/{{arm}}/seed-{{seed}}.log",
    shell:
        "echo '  fuse      hada, {wildcards.arm}, seed {wildcards.seed}'; "
        "{LGCA} hada train --data {HADA.data} {params.models} {params.arm} --seed {wildcards.seed} {params.settings} "
        "--device cpu --out {params.folder} > {log}"


def model(wildcards):
    """The last file of the training behind a place of records."""
    if wildcards.place == f"goal/{START}":
        return []
    return f"{WORK}/{wildcards.place}/{'open_clip_config' if wildcards.place.startswith('goal/') else 'hada'}.json"


def encoder(wildcards):
    """The name of the encoder behind a place of records."""
    system = wildcards.place.partition("/")[0]
    return "aviary" if wildcards.place == f"goal/{START}" else f"{system}:{WORK}/{wildcards.place}"


def retrieval(wildcards):
    """The command that ranks."""
    if wildcards.place.startswith("goal/"):
        return f"goal evaluate --data aviary --encoder {encoder(wildcards)}"
    return f"hada evaluate --data {HADA.data} --model {WORK}/{wildcards.place} --reshuffled --device cpu"


rule retrieve:
    input:
        model,
    output:
        f"{WORK}/records/{{place}}/retrieval/related.json",
        f"{WORK}/records/{{place}}/retrieval/ranks.parquet",
    params:
        code=lambda wildcards: CODE[wildcards.place.partition("/")[0]],
        command=retrieval,
        folder=f"{WORK}/records/{{place}}/retrieval",
    shell:
        "echo '  retrieve  {wildcards.place}'; {LGCA} {params.command} --force --out {params.folder} > /dev/null"


rule classify:
    input:
        model,
    output:
        f"{WORK}/records/{{place}}/aviary/record.json",
        f"{WORK}/records/{{place}}/aviary/predictions.parquet",
    params:
        code=lambda wildcards: CODE[wildcards.place.partition("/")[0]],
        encoder=encoder,
        folder=f"{WORK}/records/{{place}}/aviary",
        methods=lambda wildcards: ",".join((GOAL if wildcards.place.startswith("goal/") else HADA).methods),
        crops=lambda wildcards: (GOAL if wildcards.place.startswith("goal/") else HADA).crops,
    shell:
        "echo '  classify  {wildcards.place}'; "
        "{LGCA} evaluate --dataset aviary --encoder {params.encoder} --method {params.methods} --n {params.crops} "
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
