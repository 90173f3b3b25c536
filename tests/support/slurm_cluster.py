"""A private SLURM for the test of the profile: munge, a controller and two nodes, in one folder and as one user.

It wants SLURM's and munge's programs (Debian and Ubuntu: ``apt-get install slurm-wlm``) but neither root, systemd,
cgroups nor a database. The daemons answer only those who can read the key in the folder.
"""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Daemons live where an ordinary user's PATH does not reach.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue"]
NODES = ("n1", "n2")

# config_overrides: a node has the processors and memory that we say. Without cgroups, no job is confined to its own.
# JobRequeue=0: a job that lost its node comes back only if it was submitted with --requeue.
CONFIGURATION = """\
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSyslogDebug=quiet
PlugStackConfig={folder}/plugstack.conf
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
JobRequeue=0
KillWait=2
MessageTimeout=60
MinJobAge=3600
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP LLN=YES
"""
NODE = "NodeName={} NodeHostname={} NodeAddr=127.0.0.1 Port={} CPUs=2 RealMemory=1000000\n"

# Snakemake's job steps clear the variables named SLURM_... before they call srun, the cluster's address among them.
SRUN = """\
#!/bin/sh
SLURM_CONF={} exec {} "$@"
"""


def missing() -> str:
    """The programs that this machine lacks, as a sentence with the mend; empty if none."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    return f"no {', '.join(absent)} on this machine: on Debian and Ubuntu, apt-get install slurm-wlm" if absent else ""


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Runs a cluster while the block does, in a folder with a short path, whose sockets want one.

    Yields the environment in which SLURM's commands use it. At the end every daemon, job and command is killed.
    """
    environment = _fill(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(kill, folder)

        def daemon(name: str, *words: str) -> Callable[[], None]:
            with (folder / "log" / name).open("wb") as log:
                own = environment | {"PRIVATE_SLURM": name}
                process = subprocess.Popen(words, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
            stack.callback(process.wait)
            stack.callback(process.kill)

            def alive() -> None:
                assert process.poll() is None, f"{name} ended: {(folder / 'log' / name).read_text(errors='replace')}"

            return alive

        def wait(ready: Callable[[], bool], *alive: Callable[[], None]) -> None:
            while not ready():
                for check in alive:
                    check()
                time.sleep(0.1)

        def asked(*words: str) -> str:
            return subprocess.run(words, env=environment, capture_output=True, text=True).stdout.strip()

        # --force: munged wants its socket to be open to all users, and here it is not to be.
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed")]
        munge = daemon("munged", "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
        wait((folder / "munge.socket").is_socket, munge)
        controller = daemon("slurmctld", "slurmctld", "-D", "-c")
        wait(lambda: asked("scontrol", "ping").endswith("is UP"), controller)
        nodes = [daemon(name, "slurmd", "-D", "-N", name) for name in NODES]
        idle = ["idle"] * len(NODES)
        wait(lambda: asked("sinfo", "--noheader", "--Node", "--format=%T").split() == idle, controller, *nodes)
        yield environment


def kill(folder: Path, *variables: str) -> None:
    """Ends a cluster's processes as a power cut would: nothing gets to say a word.

    With variables, such as ``SLURM_JOB_ID=3``: only those with one of them in their environment.
    """
    _signal(_processes(folder, *variables), signal.SIGSTOP)  # so that none can start another meanwhile
    while left := _processes(folder, *variables):
        _signal(left, signal.SIGKILL)


def _signal(processes: list[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _processes(folder: Path, *variables: str) -> list[int]:
    """The ids of its daemons and jobs, and of what was started in the environment that `cluster` gave."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = os.fsdecode((entry / "environ").read_bytes()).split("\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        if f"SLURM_CONF={folder}/slurm.conf" in words and (not variables or any(word in variables for word in words)):
            found.append(int(entry.name))
    return found


def _fill(folder: Path) -> dict[str, str]:
    """Writes what the daemons read, and gives the environment of those who use them."""
    folder.chmod(0o700)
    for name in ("state", "spool", "log", "bin"):
        (folder / name).mkdir()
    (folder / "munge.key").touch(0o600)
    (folder / "munge.key").write_bytes(secrets.token_bytes(64))
    (folder / "plugstack.conf").touch(0o600)
    srun = folder / "bin" / "srun"
    srun.write_text(SRUN.format(folder / "slurm.conf", shutil.which("srun", path=PATH)), encoding="utf-8")
    srun.chmod(0o700)
    host = socket.gethostname().partition(".")[0]
    port, *ports = _free_ports(1 + len(NODES))
    nodes = "".join(NODE.format(name, host, port) for name, port in zip(NODES, ports, strict=True))
    configuration = CONFIGURATION.format(host=host, port=port, user=os.getuid(), folder=folder, nodes=nodes)
    (folder / "slurm.conf").write_text(configuration, encoding="utf-8")
    # Without what another cluster's job or user left in this process.
    foreign = ("SLURM_", "SBATCH_", "SRUN_", "SALLOC_", "SCANCEL_", "SINFO_", "SQUEUE_", "SCONTROL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{PATH}"}


def _free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, below those that Linux gives to outgoing connections."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20000, 32000), 1000):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports between 20000 and 32000")
