"""The graph on a real SLURM: what a cluster gives equals what one machine gives, also when jobs are killed half-way."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import slurm_cluster

ROOT = Path(__file__).parents[1]

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
    half_way: tuple[str, ...]  # once these files exist, both are in their midst
    slow: tuple[str, ...]  # files that keep them there


GRAPHS = [
    pytest.param(
        Graph(
            fill=lambda folder: (folder / "Snakefile").write_text(TINY, encoding="utf-8"),
            target="gather",
            results=("gathered.txt", "shards/*.txt"),
            shards=("rule_shard_wildcards_1", "rule_shard_wildcards_2", "rule_shard_wildcards_3"),
            killed="rule_shard_wildcards_1",
            lost="rule_shard_wildcards_2",
            half_way=("shards/1.txt", "shards/2.txt"),
            slow=("slow-1", "slow-2"),
        ),
        id="tiny",
    )
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
    def snakemake(self, folder: Path, target: str) -> Iterator[subprocess.Popen]:
        """The graph of a folder on the cluster, by the profile that users are told to use."""
        # The plugin looks at the queue first after so many seconds; 10 more each time that it finds nothing done.
        words = ["--profile", str(ROOT / "profiles" / "slurm"), "--slurm-init-seconds-before-status-checks", "8"]
        with (folder / "snakemake.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", target, *words],
                cwd=folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def slurm(tmp_path_factory) -> Iterator[Slurm]:
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("Snakemake's plugin for SLURM is not installed: pip install -e '.[cluster]'")
    folder = tmp_path_factory.mktemp("slurm")
    with ExitStack() as stack:
        try:
            environment = stack.enter_context(slurm_cluster.cluster(folder, nodes=2, cpus=2))
        except slurm_cluster.CannotStart as reason:
            pytest.skip(str(reason))
        yield Slurm(folder, environment)


def results(folder: Path, graph: Graph) -> dict[str, bytes]:
    paths = [path for pattern in graph.results for path in folder.glob(pattern)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Callable[[Graph], dict[str, bytes]]:
    """What a graph gives on one machine, without a cluster; run once."""

    @cache
    def run(graph: Graph) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp("local")
        graph.fill(folder)
        words = [sys.executable, "-m", "snakemake", graph.target, "--cores", "2", "--quiet", "all"]
        subprocess.run(words, cwd=folder, check=True)
        return results(folder, graph)

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where a graph runs: every node sees it, as on a cluster's shared file system."""
    return tmp_path.resolve()


def complain(folder: Path) -> str:
    """What Snakemake and the jobs that failed said."""
    logs = [folder / "snakemake.log", *sorted(folder.glob(".snakemake/slurm_logs/**/*.log"))]
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')}" for log in logs)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_cluster_gives_what_one_machine_gives(slurm, local, folder, graph):
    graph.fill(folder)
    with slurm.snakemake(folder, graph.target) as snakemake:
        assert snakemake.wait() == 0, complain(folder)
    assert results(folder, graph) == local(graph) != {}
    jobs = slurm.jobs(folder)
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert set(Counter(job.name for job in jobs).values()) == {1}
    assert {job.node for job in jobs if job.name in graph.shards} == {"n1", "n2"}


@pytest.mark.parametrize("graph", GRAPHS)
def test_nothing_is_lost_when_jobs_are_killed_half_way(slurm, local, folder, graph):
    graph.fill(folder)
    for name in graph.slow:
        (folder / name).touch()
    with slurm.snakemake(folder, graph.target) as snakemake:

        def wait(ready: Callable[[], bool]) -> None:
            while not ready():
                assert snakemake.poll() is None, complain(folder)
                time.sleep(0.2)

        def reaches(name: str, wanted: str) -> bool:
            state = next((job.state for job in slurm.jobs(folder) if job.name == name), "")
            assert state in {"", "PENDING", "RUNNING", "COMPLETING", wanted}, name
            return state == wanted

        wait(lambda: all((folder / name).exists() for name in graph.half_way))
        wait(lambda: all(reaches(name, "COMPLETED") for name in set(graph.shards) - {graph.killed, graph.lost}))
        slurm_cluster.kill(slurm.folder, job=slurm.job(folder, graph.killed).number)
        wait(lambda: reaches(graph.killed, "FAILED"))

        lost = slurm.job(folder, graph.lost)
        slurm_cluster.kill(slurm.folder, node=lost.node)
        # As the controller would find out in some minutes; and the job would be put off for two more.
        slurm.ask("scontrol", "update", f"NodeName={lost.node}", "State=DOWN", "Reason=lost")
        wait(lambda: reaches(graph.lost, "PENDING"))
        slurm.ask("scontrol", "update", f"JobId={lost.number}", "StartTime=now")

        for name in graph.slow:
            (folder / name).unlink()
        assert snakemake.wait() == 0, complain(folder)

    assert results(folder, graph) == local(graph) != {}
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
import subprocess, sys, time
from pathlib import Path
from slurm_cluster import cluster

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
def test_no_process_is_left_however_a_test_ends(able, folder, number):
    with running(sys.executable, "-c", USER, str(folder)) as user:
        assert user.stdout.readline() == "runs\n"
        assert programs(folder) >= {"munged", "slurmctld", "slurmd", "slurmstepd", "sleep"}
        user.send_signal(number)
        user.wait()
        # Who can still act at the end waits for it; else it takes the keeper a moment.
        for _ in range(0 if number == signal.SIGINT else 600):
            if not slurm_cluster.processes(folder):
                break
            time.sleep(0.1)
        assert slurm_cluster.processes(folder) == []


def test_by_hand(able, folder):
    with running(sys.executable, slurm_cluster.__file__, str(folder), "--nodes", "3") as user:
        export = user.stdout.readline()
        assert export.startswith("export SLURM_CONF=")
        told = subprocess.run(
            ["sh", "-c", f"{export} sinfo --noheader --format='%D %T'"], capture_output=True, text=True
        )
        assert told.stdout.split() == ["3", "idle"]
        user.send_signal(signal.SIGINT)
        assert user.wait() == 0
        assert slurm_cluster.processes(folder) == []


def test_why_it_cannot_start(folder, monkeypatch):
    monkeypatch.setattr(slurm_cluster, "PATH", str(folder))
    assert "slurmctld" in slurm_cluster.missing()
    assert "apt-get install slurm-wlm" in slurm_cluster.missing()


def test_a_daemon_that_does_not_start_is_the_reason(able, folder, monkeypatch):
    (folder / "bin").mkdir()
    daemon = folder / "bin" / "slurmctld"
    daemon.write_text("#!/bin/sh\necho fatal: no such luck >&2\nexit 1\n", encoding="utf-8")
    daemon.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    started = slurm_cluster.cluster(folder / "slurm")
    with pytest.raises(slurm_cluster.CannotStart, match=r"slurmctld ended at once.*no such luck"), started:
        pass
    assert slurm_cluster.processes(folder / "slurm") == []
    started = slurm_cluster.cluster(folder / "a b")
    with pytest.raises(slurm_cluster.CannotStart, match=r"a space or more than 70"), started:
        pass
    assert not (folder / "a b").exists()
