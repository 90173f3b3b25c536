"""What make runs: the graph, and for real data a pre-flight before it and a report after it.

    python -m lgca_book.building.run_graph book|plan|reproduce|related|study

Choices come from the environment, ``GIVEN_DATASETS`` for make's ``DATASETS``, so that no shell reads them. `reproduce`
makes the records first and the pages after them; a page that fails is named at the end, and the others are built.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from lgca_book.building import exit_status
from lgca_core.errors import LgcaError

CHOICE = Path("_build/choice.json")
"""The configuration of a full run, as the pre-flight wrote it."""

FAILURES = Path("_build/failed")
LISTS = ("datasets", "encoders", "methods", "sweeps")
NUMBERS = ("seeds", "crops", "gpus", "parts")
ONCE = ["--quiet", "all", "--nolock", "--rerun-incomplete", "--max-checksum-file-size", "100000000"]


def given(environment: Mapping[str, str]) -> dict[str, str]:
    """What was given to make, by its name in lower case; what is empty was not given."""
    names = {name.removeprefix("GIVEN_").lower(): value for name, value in environment.items() if name[:6] == "GIVEN_"}
    return {name: value for name, value in names.items() if value}


def configuration(chosen: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, object]:
    """The `--config` of a full run: one process a GPU, unless something else was chosen.

    Raises:
        LgcaError: a cluster of which it is not said how many GPUs and jobs are wanted.
    """
    if "cluster" in chosen and not {"gpus", "parts"} <= chosen.keys():
        raise LgcaError(
            "with CLUSTER= say how many GPUs to use at once and into how many jobs the encoding goes, such as "
            "GPUS=8 PARTS=20"
        )
    config: dict[str, object] = {"profile": "full"}
    config |= {name: chosen[name].split(",") for name in LISTS if name in chosen}
    config |= {name: _number(chosen[name]) for name in NUMBERS if name in chosen}
    config |= {name: chosen[name] for name in ("device", "repository") if name in chosen}
    config.setdefault("gpus", gpus_here(environment))
    config.setdefault("parts", max(gpus, 1) if isinstance(gpus := config["gpus"], int) else 1)
    return config


def gpus_here(environment: Mapping[str, str]) -> int:
    """How many GPUs are here and may be used; their MIG devices are none."""
    if (visible := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        return sum(bool(name.strip()) and not name.strip().startswith("-") for name in visible.split(","))
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def graph(*targets: str, cores: int, words: tuple[str, ...] = ()) -> list[str]:
    """The command that makes targets of the graph."""
    snakemake = str(Path(sys.executable).with_name("snakemake"))
    return [snakemake, *targets, "--cores", str(cores), *ONCE, *words]


def of_full_run(target: str, config: Mapping[str, object], chosen: Mapping[str, str]) -> list[str]:
    """The command that makes a target of a full run, of the configuration in :data:`CHOICE`."""
    gpus = int(str(config["gpus"]))
    words = ["--resources", f"gpu={gpus}", "--configfile", str(CHOICE), "--keep-going"]
    words += ["--profile", chosen["cluster"]] if "cluster" in chosen else []
    return graph(target, cores=_jobs(chosen) + 2 * gpus, words=(*words, *shlex.split(chosen.get("snakemake", ""))))


def book(chosen: Mapping[str, str]) -> int:
    """Build the book on the embedded world."""
    _forget_failures()
    words = ["--config", f"repository={chosen['repository']}"] if "repository" in chosen else []
    targets = ["book", "strict"] if "strict" in chosen else ["book"]
    words += shlex.split(chosen.get("snakemake", ""))
    return subprocess.run(graph(*targets, cores=_jobs(chosen), words=tuple(words)), check=False).returncode


def committed(target: str, chosen: Mapping[str, str]) -> int:
    """Make the committed records of the related systems or of the large study, as far as that is not done."""
    if target == "study":
        from lgca_book.experiments import experiments
        from lgca_book.studies import large_study

        print(large_study.left(experiments().study, Path()))
    words = ("--snakefile", f"book/{target}.smk", *shlex.split(chosen.get("snakemake", "")))
    return subprocess.run(graph(target, cores=_jobs(chosen), words=words), check=False).returncode


def reproduce(chosen: Mapping[str, str], *, only_plan: bool = False) -> int:
    """Evaluate real data sets and build the book on them, after a pre-flight; or the pre-flight alone.

    Raises:
        LgcaError: what cannot be run as it was chosen.
    """
    from lgca_book.building import preflight

    config = configuration(chosen, os.environ)
    contents = preflight.check(config, jobs=_jobs(chosen), cluster="cluster" in chosen)
    if only_plan:
        return 0
    CHOICE.parent.mkdir(parents=True, exist_ok=True)
    CHOICE.write_text(json.dumps({**config, "contents": contents}, indent=1) + "\n", encoding="utf-8")
    _forget_failures()
    if status := subprocess.run(of_full_run("records", config, chosen), check=False).returncode:
        print("error: not every record could be made; those that were are in results/", file=sys.stderr)
        return status
    status = subprocess.run(of_full_run("book", config, chosen), check=False).returncode
    failed = sorted(file.stem for file in FAILURES.glob("*.txt"))
    print("The records: results/." + (" The book: open _build/html/index.html" if not status else ""))
    for page in failed:
        print(f"error: the page {page} could not be made, see {FAILURES / page}.txt", file=sys.stderr)
    return status or int(bool(failed))


def _forget_failures() -> None:
    """Pages that failed are made again."""
    for file in FAILURES.glob("*.txt"):
        Path("_build/executed", f"{file.stem}.ipynb").unlink(missing_ok=True)
        file.unlink()


def _jobs(chosen: Mapping[str, str]) -> int:
    jobs = _number(chosen.get("jobs", "2"))
    if not isinstance(jobs, int) or jobs < 1:
        raise LgcaError(f"jobs={jobs} must be a whole number from 1 on")
    return jobs


def _number(text: str) -> int | str:
    """A whole number; else the text, which the plan refuses."""
    return int(text) if text.strip().isdecimal() else text


def main(arguments: list[str] | None = None) -> int:
    """Command line: the exit status of what was run, or 2 and a sentence on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    if words not in (["book"], ["plan"], ["reproduce"], ["related"], ["study"]):
        print("usage: python -m lgca_book.building.run_graph book|plan|reproduce|related|study", file=sys.stderr)
        return 2
    status, chosen = 0, given(os.environ)

    def command() -> None:
        nonlocal status
        if words == ["book"]:
            status = book(chosen)
        elif words[0] in ("related", "study"):
            status = committed(words[0], chosen)
        else:
            status = reproduce(chosen, only_plan=words == ["plan"])

    try:
        return exit_status(command) or status
    except KeyboardInterrupt:
        print("stopped: what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
