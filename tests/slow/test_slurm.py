"""The profile for SLURM: a graph on a cluster gives what it must, also when jobs and a node are killed half-way."""

import importlib.util
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import slurm_cluster
from support.shared import ROOT

pytestmark = pytest.mark.cluster

# A job writes half of its output and then waits for as long as there is a file slow-<i>.
GRAPH = """
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
GATHERED = "".join(f"half {i}\nwhole {i}\n" for i in (1, 2, 3))


@dataclass(frozen=True)
class Job:
    """A line of the queue, in which finished jobs stay."""

    number: str
    state: str
    node: str
    name: str  # the comment that Snakemake gives it, rule_<rule>_wildcards_<values>


@dataclass(frozen=True)
class Slurm:
    """The cluster under test, and a folder with the graph, which every node sees as on a shared file system."""

    place: Path
    environment: dict[str, str]
    folder: Path

    def ask(self, *words: str) -> str:
        return subprocess.run(words, env=self.environment, check=True, capture_output=True, text=True).stdout

    def jobs(self) -> list[Job]:
        """In the order of submission."""
        lines = self.ask("squeue", "--states=all", "--noheader", "--sort=i", "--format=%i|%T|%N|%k").splitlines()
        return [Job(*line.split("|")) for line in lines]

    def shard(self, i: int) -> Job | None:
        """The first job of a shard, once it was submitted."""
        return next((job for job in self.jobs() if job.name == f"rule_shard_wildcards_{i}"), None)

    @contextmanager
    def snakemake(self) -> Iterator[subprocess.Popen]:
        """The graph on the cluster, by the profile that users are told to use."""
        # The plugin looks at the queue first after so many seconds; 10 more each time that it finds nothing done.
        words = ["--profile", str(ROOT / "profiles" / "slurm"), "--slurm-init-seconds-before-status-checks", "8"]
        command = [sys.executable, "-m", "snakemake", "gather", *words]
        with (self.folder / "snakemake.log").open("w") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def complaint(self) -> str:
        """What Snakemake and the jobs said."""
        logs = [self.folder / "snakemake.log", *sorted(self.folder.glob(".snakemake/slurm_logs/**/*.log"))]
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')}" for log in logs)


@pytest.fixture
def slurm(tmp_path) -> Iterator[Slurm]:
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("Snakemake's plugin for SLURM is not installed: pip install -e '.[cluster]'")
    if reason := slurm_cluster.missing():
        pytest.skip(reason)
    (tmp_path / "Snakefile").write_text(GRAPH, encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True) as short:
        place = Path(short).resolve()
        with slurm_cluster.cluster(place) as environment:
            yield Slurm(place, environment, tmp_path.resolve())


def test_a_graph_runs_on_every_node(slurm):
    with slurm.snakemake() as snakemake:
        assert snakemake.wait() == 0, slurm.complaint()
    assert (slurm.folder / "gathered.txt").read_text() == GATHERED
    jobs = slurm.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert sorted(Counter(job.name for job in jobs).values()) == [1] * 4
    assert {job.node for job in jobs if "shard" in job.name} == set(slurm_cluster.NODES)


def test_nothing_is_lost_when_jobs_are_killed_half_way(slurm):
    held = [slurm.folder / f"slow-{i}" for i in (1, 2)]
    for file in held:
        file.touch()
    with slurm.snakemake() as snakemake:

        def wait(ready: Callable[[], bool]) -> None:
            while not ready():
                assert snakemake.poll() is None, slurm.complaint()
                time.sleep(0.2)

        def reaches(i: int, wanted: str) -> bool:
            state = job.state if (job := slurm.shard(i)) else ""
            assert state in {"", "PENDING", "RUNNING", "COMPLETING", wanted}, f"shard {i}"
            return state == wanted

        wait(lambda: all((slurm.folder / "shards" / f"{i}.txt").exists() for i in (1, 2)))
        wait(lambda: reaches(3, "COMPLETED"))
        killed, lost = slurm.shard(1), slurm.shard(2)
        slurm_cluster.kill(slurm.place, f"SLURM_JOB_ID={killed.number}")
        wait(lambda: reaches(1, "FAILED"))

        slurm_cluster.kill(slurm.place, f"PRIVATE_SLURM={lost.node}", f"SLURMD_NODENAME={lost.node}")
        # As the controller would find out in some minutes; and the job would be put off for two more.
        slurm.ask("scontrol", "update", f"NodeName={lost.node}", "State=DOWN", "Reason=lost")
        wait(lambda: reaches(2, "PENDING"))
        slurm.ask("scontrol", "update", f"JobId={lost.number}", "StartTime=now")

        for file in held:
            file.unlink()
        assert snakemake.wait() == 0, slurm.complaint()

    assert (slurm.folder / "gathered.txt").read_text() == GATHERED
    jobs = slurm.jobs()
    assert [job.state for job in jobs if job.name == killed.name] == ["FAILED", "COMPLETED"]
    others = [job for job in jobs if job.name != killed.name]
    assert [job.state for job in others] == ["COMPLETED"] * 3
    assert len({job.name for job in others}) == 3
    assert "Restarts=1" in slurm.ask("scontrol", "show", "job", lost.number).split()
