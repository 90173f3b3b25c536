"""The graph on a real SLURM: what a cluster gives equals what one machine gives, also when jobs are killed half-way."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lgca_core.aviary import splits
from lgca_core.evaluation.record import RECORD, Record, load
from lgca_core.evaluation.store.store import PICTURES_A_SHARD
from support import slurm_cluster
from support.shared import ROOT

# A job writes half of its output and then waits for as long as there is a file slow-<i>.
TINY = """
rule gather:
    input:
        expand("shards/{i}.txt", i=[1, 2, 3]),
    output:
        "gathered.txt",
    shell:
        "cat {input} > {output}"


rule shard:
    output:
        "shards/{i}.txt",
    shell:
        "echo half {wildcards.i} > {output}; while [ -e slow-{wildcards.i} ]; do sleep 0.1; done; "
        "echo whole {wildcards.i} >> {output}"
"""


@dataclass(frozen=True)
class Graph:
    """A graph to run here and there, and how to disturb it.

    Jobs go by the comment that Snakemake gives them in SLURM, ``rule_<rule>_wildcards_<values>``.
    """

    fill: Callable[[Path], object]  # lays Snakefile and inputs into an empty folder
    target: str
    results: tuple[str, ...]  # patterns of the files that must come out the same
    shards: tuple[str, ...]  # jobs that can run side by side; of these, in the disturbed run,
    killed: str  # one is killed
    lost: str  # and one loses its node
    hold: Callable[[Path, Path], list[Path]]  # (folder, a finished run's) -> files that keep both in their midst
    half_way: Callable[[Path, Path], list[str]]  # once these patterns are there, both are in it
    resumed: Callable[[Path, Path], bool] = lambda folder, finished: True  # whether both went on where they had been
    here: tuple[str, ...] = ()  # --config on one machine
    there: tuple[str, ...] = ()  # and on the cluster


def slow(folder: Path, finished: Path) -> list[Path]:
    files = [folder / "slow-1", folder / "slow-2"]
    for file in files:
        file.touch()
    return files


# The project's own graph, in five shards of the store and three parts: one shard, two, and two.

SHARDS = 5
EACH = 26  # pictures a class


def project(folder: Path) -> None:
    """A copy of this checkout, which may be edited meanwhile, and a data set.

    That is noise where the aviary's pictures would be, since to paint them takes minutes.
    """
    for name in ("Snakefile", "_config.yml"):
        shutil.copy(ROOT / name, folder)
    for name in ("book", "lgca_core"):
        shutil.copytree(ROOT / name, folder / name)
    chance = np.random.default_rng(0)
    classes = splits.descriptions_of()
    assert (SHARDS - 1) * PICTURES_A_SHARD < EACH * len(classes) <= SHARDS * PICTURES_A_SHARD
    for name in classes:
        place = folder / "home" / "datasets" / f"aviary-{splits.VERSION}" / name
        place.mkdir(parents=True)
        for number in range(EACH):
            noise = chance.integers(256, size=(8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place / f"{number:03d}.png")


def pools(finished: Path) -> list[str]:
    """The names of the pools of pictures in a run's store; they do not depend on where it ran."""
    return sorted(file.parent.name for file in finished.glob(f"store/*/{SHARDS - 1:06d}-*"))


def unwritten(folder: Path, finished: Path) -> list[Path]:
    """In the place of the second shards of parts 2 and 3, pipes: who opens one to read waits until somebody writes."""
    pool = folder / "store" / pools(finished)[0]
    pool.mkdir(parents=True)
    pipes = [pool / f"{index:06d}-1-{'0' * 64}.safetensors" for index in (2, 4)]
    for pipe in pipes:
        os.mkfifo(pipe)
    return pipes


def first_shards(folder: Path, finished: Path) -> list[str]:
    """The first shards of parts 2 and 3, in every pool."""
    return [f"store/{pool}/{index:06d}-*" for pool in pools(finished) for index in (1, 3)]


def encoded_the_rest(folder: Path, finished: Path) -> bool:
    """Whether parts 2 and 3 encoded in the end no more than their second shards."""

    def passes(part: int) -> int:
        said = (folder / "_build" / "logs" / "aviary" / "aviary" / f"{part}-of-3.log").read_text(encoding="utf-8")
        return int(said.partition(" image passes")[0].split()[-1])

    def boxes(shard: int) -> int:
        files = [file for pool in pools(finished) for file in finished.glob(f"store/{pool}/{shard:06d}-*")]
        return sum(int(file.name.split("-")[1]) for file in files)

    return all(0 < passes(part) <= boxes(shard) for part, shard in ((2, 2), (3, 4)))


CHOSEN = ("profile=full", "datasets=aviary", "encoders=aviary", "methods=clip,lgca", "seeds=1", "crops=1", "device=cpu")

GRAPHS = [
    pytest.param(
        Graph(
            fill=lambda folder: (folder / "Snakefile").write_text(TINY, encoding="utf-8"),
            target="gather",
            results=("gathered.txt", "shards/*.txt"),
            shards=("rule_shard_wildcards_1", "rule_shard_wildcards_2", "rule_shard_wildcards_3"),
            killed="rule_shard_wildcards_1",
            lost="rule_shard_wildcards_2",
            hold=slow,
            half_way=lambda folder, finished: ["shards/1.txt", "shards/2.txt"],
        ),
        id="tiny",
    ),
    pytest.param(
        Graph(
            fill=project,
            target="records",
            results=("results/*/*/*",),
            shards=tuple(f"rule_features_wildcards_aviary_aviary_{k}_3" for k in (1, 2, 3)),
            killed="rule_features_wildcards_aviary_aviary_2_3",
            lost="rule_features_wildcards_aviary_aviary_3_3",
            hold=unwritten,
            half_way=first_shards,
            resumed=encoded_the_rest,
            here=CHOSEN,
            there=(*CHOSEN, "parts=3"),
        ),
        id="project",
    ),
]


@dataclass(frozen=True)
class Job:
    """A line of the queue, in which finished jobs stay."""

    number: str
    state: str
    node: str
    name: str


@dataclass(frozen=True)
class Slurm:
    """The cluster under test."""

    folder: Path
    environment: dict[str, str]

    def ask(self, *words: str) -> str:
        return subprocess.run(words, env=self.environment, check=True, capture_output=True, text=True).stdout

    def jobs(self, folder: Path) -> list[Job]:
        """What was submitted from a folder, in the order of submission."""
        lines = self.ask("squeue", "--states=all", "--noheader", "--sort=i", "--format=%Z|%i|%T|%N|%k").splitlines()
        rows = [line.split("|") for line in lines]
        return [Job(*row) for where, *row in rows if where == str(folder)]

    def job(self, folder: Path, name: str) -> Job:
        return next(job for job in self.jobs(folder) if job.name == name)

    @contextmanager
    def snakemake(self, folder: Path, graph: Graph) -> Iterator[subprocess.Popen]:
        """The graph of a folder on the cluster, by the profile that users are told to use."""
        # The plugin looks at the queue first after so many seconds; 10 more each time that it finds nothing done.
        words = ["--profile", str(ROOT / "profiles" / "slurm"), "--slurm-init-seconds-before-status-checks", "8"]
        with (folder / "snakemake.log").open("w") as log:
            process = subprocess.Popen(
                [*command(graph.target, graph.there), *words],
                cwd=folder,
                env=self.environment | own(folder),
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def short() -> Iterator[Path]:
    """For a cluster, whose sockets want a short path; pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


@pytest.fixture
def slurm(short) -> Iterator[Slurm]:
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("Snakemake's plugin for SLURM is not installed: pip install -e '.[cluster]'")
    with ExitStack() as stack:
        try:
            environment = stack.enter_context(slurm_cluster.cluster(short, nodes=2, cpus=2))
        except slurm_cluster.CannotStart as reason:
            pytest.skip(str(reason))
        yield Slurm(short, environment)


def command(target: str, config: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "snakemake", target, *(["--config", *config] if config else [])]


def own(folder: Path) -> dict[str, str]:
    """The environment of a run in a folder: with the package, the data sets and the store that lie in it."""
    return {"PYTHONPATH": str(folder), "LGCA_HOME": str(folder / "home"), "LGCA_STORE": str(folder / "store")}


# Of a record: when it was made, how much work was left to do and who did the rest, in which runs differ.
TELLING = {"utc", "seconds", "images_per_second", "peak_memory", "image_passes", "text_passes", "parts"}


def results(folder: Path, graph: Graph) -> dict[str, object]:
    """The content of every result; of a record, all but what tells one run from another."""
    found: dict[str, object] = {}
    for path in (path for pattern in graph.results for path in folder.glob(pattern)):
        content: object = path.read_bytes()
        if path.name == RECORD:
            record = json.loads(path.read_bytes())
            assert record.keys() > TELLING
            content = {name: value for name, value in record.items() if name not in TELLING}
        found[path.relative_to(folder).as_posix()] = content
    return found


def records(folder: Path, graph: Graph) -> list[Record]:
    """Those among the results, if there are any."""
    return [load(path.parent)[0] for pattern in graph.results for path in folder.glob(pattern) if path.name == RECORD]


def no_work_was_left(folder: Path, graph: Graph) -> bool:
    """Whether the records found all that they read in the store, and say who had put it there."""
    return all(
        (record.image_passes, record.text_passes) == (0, 0)
        and sum(part.pictures for part in record.parts) == record.dataset.count
        for record in records(folder, graph)
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Callable[[Graph], Path]:
    """Where a graph was run on one machine, without a cluster; run once."""

    @cache
    def run(graph: Graph) -> Path:
        folder = tmp_path_factory.mktemp("local")
        graph.fill(folder)
        words = [*command(graph.target, graph.here), "--cores", "2", "--quiet", "all"]
        subprocess.run(words, cwd=folder, env=os.environ | own(folder), check=True)
        assert results(folder, graph)
        return folder

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where a graph runs: every node sees it, as on a cluster's shared file system."""
    return tmp_path.resolve()


def release(file: Path) -> None:
    """Removes a file that holds jobs up; of a pipe, those that wait for it find that nothing is in it."""
    with ExitStack() as stack:
        if file.is_fifo():
            stack.callback(os.close, os.open(file, os.O_RDWR))
        file.unlink()


def complain(folder: Path) -> str:
    """What Snakemake and the jobs that failed said."""
    logs = [folder / "snakemake.log", *sorted(folder.glob(".snakemake/slurm_logs/**/*.log"))]
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')}" for log in logs)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_cluster_gives_what_one_machine_gives(slurm, local, folder, graph):
    graph.fill(folder)
    with slurm.snakemake(folder, graph) as snakemake:
        assert snakemake.wait() == 0, complain(folder)
    assert results(folder, graph) == results(local(graph), graph)
    assert no_work_was_left(folder, graph)
    passes = [[record.image_passes_in_all for record in records(place, graph)] for place in (folder, local(graph))]
    assert passes[0] == passes[1]
    jobs = slurm.jobs(folder)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert set(Counter(job.name for job in jobs).values()) == {1}
    assert {job.node for job in jobs if job.name in graph.shards} == {"n1", "n2"}


@pytest.mark.parametrize("graph", GRAPHS)
def test_nothing_is_lost_when_jobs_are_killed_half_way(slurm, local, folder, graph):
    graph.fill(folder)
    held = graph.hold(folder, local(graph))
    half_way = graph.half_way(folder, local(graph))
    with slurm.snakemake(folder, graph) as snakemake:

        def wait(ready: Callable[[], bool]) -> None:
            while not ready():
                assert snakemake.poll() is None, complain(folder)
                time.sleep(0.2)

        def reaches(name: str, wanted: str) -> bool:
            state = next((job.state for job in slurm.jobs(folder) if job.name == name), "")
            assert state in {"", "PENDING", "RUNNING", "COMPLETING", wanted}, name
            return state == wanted

        wait(lambda: all(any(folder.glob(pattern)) for pattern in half_way))
        wait(lambda: all(reaches(name, "COMPLETED") for name in set(graph.shards) - {graph.killed, graph.lost}))
        slurm_cluster.kill(slurm.folder, job=slurm.job(folder, graph.killed).number)
        wait(lambda: reaches(graph.killed, "FAILED"))

        lost = slurm.job(folder, graph.lost)
        slurm_cluster.kill(slurm.folder, node=lost.node)
        # As the controller would find out in some minutes; and the job would be put off for two more.
        slurm.ask("scontrol", "update", f"NodeName={lost.node}", "State=DOWN", "Reason=lost")
        wait(lambda: reaches(graph.lost, "PENDING"))
        slurm.ask("scontrol", "update", f"JobId={lost.number}", "StartTime=now")

        for file in held:
            release(file)
        assert snakemake.wait() == 0, complain(folder)

    assert results(folder, graph) == results(local(graph), graph)
    assert no_work_was_left(folder, graph)
    assert graph.resumed(folder, local(graph))
    jobs = slurm.jobs(folder)
    counts = Counter(job.name for job in jobs)
    assert counts.pop(graph.killed) == 2
    assert set(counts.values()) == {1}
    assert [job.state for job in jobs if job.name == graph.killed] == ["FAILED", "COMPLETED"]
    assert {job.state for job in jobs if job.name != graph.killed} == {"COMPLETED"}
    assert "Restarts=1" in slurm.ask("scontrol", "show", "job", lost.number).split()


# The cluster itself


@pytest.fixture
def able() -> None:
    if reason := slurm_cluster.missing():
        pytest.skip(reason)


# Starts a cluster in sys.argv[1], on it a job that lasts, and says so.
USER = """
import signal, subprocess, sys, time
from pathlib import Path
from support.slurm_cluster import cluster

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it was ignored
folder = Path(sys.argv[1])
with cluster(folder, nodes=1) as environment:
    job = f"srun sh -c 'touch {folder}/started; exec sleep 600'"
    subprocess.run(["sbatch", "--output=/dev/null", "--wrap", job], env=environment, check=True, capture_output=True)
    while not (folder / "started").exists():
        time.sleep(0.1)
    print("runs", flush=True)
    time.sleep(600)
"""


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen]:
    """A process whose first line of output can be read, killed at the end."""
    process = subprocess.Popen(words, cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def programs(folder: Path) -> set[str]:
    return {Path(f"/proc/{process}/comm").read_text().strip() for process in slurm_cluster.processes(folder)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_process_is_left_however_a_test_ends(able, short, number):
    with running(sys.executable, "-c", USER, str(short)) as user:
        assert user.stdout.readline() == "runs\n"
        assert programs(short) >= {"munged", "slurmctld", "slurmd", "slurmstepd", "sleep"}
        user.send_signal(number)
        user.wait()
        # Who can still act at the end waits for it; else it takes the keeper a moment.
        for _ in range(0 if number == signal.SIGINT else 600):
            if not slurm_cluster.processes(short):
                break
            time.sleep(0.1)
        assert slurm_cluster.processes(short) == []


def test_by_hand(able, short):
    with running(sys.executable, slurm_cluster.__file__, str(short), "--nodes", "3") as user:
        export = user.stdout.readline()
        assert export.startswith("export SLURM_CONF=")
        told = subprocess.run(
            ["sh", "-c", f"{export} sinfo --noheader --format='%D %T'"], capture_output=True, text=True
        )
        assert told.stdout.split() == ["3", "idle"]
        user.send_signal(signal.SIGINT)
        assert user.wait() == 0
        assert slurm_cluster.processes(short) == []


def test_why_it_cannot_start(short, monkeypatch):
    monkeypatch.setattr(slurm_cluster, "PATH", str(short))
    assert "slurmctld" in slurm_cluster.missing()
    assert "apt-get install slurm-wlm" in slurm_cluster.missing()


def test_a_daemon_that_does_not_start_is_the_reason(able, short, monkeypatch):
    (short / "bin").mkdir()
    daemon = short / "bin" / "slurmctld"
    daemon.write_text("#!/bin/sh\necho fatal: no such luck >&2\nexit 1\n", encoding="utf-8")
    daemon.chmod(0o700)
    monkeypatch.setenv("PATH", f"{short}/bin:{os.environ['PATH']}")
    started = slurm_cluster.cluster(short / "slurm")
    with pytest.raises(slurm_cluster.CannotStart, match=r"slurmctld ended at once.*no such luck"), started:
        pass
    assert slurm_cluster.processes(short / "slurm") == []
    started = slurm_cluster.cluster(short / "a b")
    with pytest.raises(slurm_cluster.CannotStart, match=r"a space or more than 70"), started:
        pass
    assert not (short / "a b").exists()
