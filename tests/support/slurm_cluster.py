"""A private SLURM on this machine, for tests and for trying things out: munge, a controller and some nodes.

    python tests/slurm_cluster.py [FOLDER] [--nodes 2] [--cpus 2]

starts one, prints how to use it, and stops it on Ctrl-C; a test writes ``with cluster(folder) as environment:``. It
wants SLURM's and munge's programs (Debian and Ubuntu: ``apt-get install slurm-wlm``) but neither root, systemd, cgroups
nor a database. Keys, state and logs lie in the folder; the daemons answer only those who can read the key there.
"""

import argparse
import contextlib
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Daemons live where an ordinary user's PATH does not reach.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "sinfo", "squeue"]

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
NODE = "NodeName=n{} NodeHostname={} NodeAddr=127.0.0.1 Port={} CPUs={} RealMemory=1000000\n"

# Snakemake's job steps clear the variables named SLURM_... before they call srun, the cluster's address among them.
SRUN = """\
#!/bin/sh
SLURM_CONF={} exec {} "$@"
"""


class CannotStart(Exception):
    """One sentence: why there is no cluster, and the mend where there is one."""


def missing() -> str:
    """What a cluster lacks on this machine, as a sentence; empty if nothing."""
    if sys.platform != "linux":
        return f"SLURM runs on Linux, and this is {sys.platform}"
    if absent := [name for name in PROGRAMS if not shutil.which(name, path=PATH)]:
        return f"no {', '.join(absent)} on this machine: on Debian and Ubuntu, apt-get install slurm-wlm"
    return ""


@contextlib.contextmanager
def cluster(folder: Path, nodes: int = 2, cpus: int = 2) -> Iterator[dict[str, str]]:
    """A cluster of nodes n1, n2, ... while the block runs; yields the environment in which its commands work.

    A process of its own keeps it. When the block ends, or this process does, even by SIGKILL, it stops the cluster, its
    jobs, and whatever was started in that environment.

    Args:
        folder: made if need be; short (sockets lie in it) and without spaces.
        nodes, cpus: how many nodes, and processors of each; they need not exist.

    Raises:
        CannotStart: programs are missing, or a daemon did not come up.
    """
    keeper = subprocess.Popen(
        [sys.executable, __file__, str(folder), "--nodes", str(nodes), "--cpus", str(cpus), "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert keeper.stdin and keeper.stdout
    try:
        first = keeper.stdout.readline()
        if not first.startswith("export "):
            raise CannotStart((first + keeper.stdout.read()).strip().removeprefix("error: "))
        yield _environment(folder)
    finally:
        keeper.stdin.close()
        keeper.wait()


def processes(folder: Path, *variables: str) -> list[int]:
    """The ids of a cluster's processes: daemons, jobs, and what was started in the environment that `cluster` gave.

    With variables, such as ``SLURM_JOB_ID=3``: only those with one of them in their environment.
    """
    address = f"SLURM_CONF={_configuration(folder)}"
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = os.fsdecode((entry / "environ").read_bytes()).split("\0")
        except OSError:  # ended meanwhile, or another user's
            continue
        # A shell that a user pointed at the cluster has its address too, but neither of these.
        own = any(word.startswith(("PRIVATE_SLURM=", "SLURM_JOB_ID=")) for word in words)
        if address in words and own and (not variables or any(word in variables for word in words)):
            found.append(int(entry.name))
    return found


def kill(folder: Path, *, job: str = "", node: str = "") -> None:
    """Ends a job's processes, or a node with all that runs on it, as a power cut would: nothing gets to say a word."""
    wanted = [f"SLURM_JOB_ID={job}"] if job else [f"PRIVATE_SLURM={node}", f"SLURMD_NODENAME={node}"]
    _signal(processes(folder, *wanted), signal.SIGSTOP)
    while left := processes(folder, *wanted):
        _signal(left, signal.SIGKILL)


def stop(folder: Path) -> None:
    """Ends every process of the folder's cluster; does nothing if there is none."""
    for number, seconds in ((signal.SIGTERM, 2), (signal.SIGKILL, 30)):
        deadline = time.monotonic() + seconds
        while (left := processes(folder)) and time.monotonic() < deadline:
            _signal(left, number)
            time.sleep(0.1)


def _signal(ids: list[int], number: signal.Signals) -> None:
    for process in ids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _start(folder: Path, nodes: int, cpus: int, stack: contextlib.ExitStack) -> None:
    """Starts it all; the stack then waits for the daemons to end."""
    if lack := missing():
        raise CannotStart(lack)
    # A socket's path has at most 107 bytes, and that of a job step is up to 36 longer than the folder's.
    if " " in str(folder) or len(os.fsencode(folder)) > 70:
        raise CannotStart(f"{folder} holds a space or more than 70 characters: give another folder")
    _fill(folder, nodes, cpus)
    environment = _environment(folder)
    daemons: dict[str, subprocess.Popen] = {}

    def daemon(name: str, *words: str) -> None:
        own = environment | {"PRIVATE_SLURM": name}
        with (folder / "log" / name).open("wb") as log:
            process = subprocess.Popen(words, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
        daemons[name] = stack.enter_context(process)

    def asked(*words: str) -> str:
        return subprocess.run(words, env=environment, capture_output=True, text=True).stdout.strip()

    def wait(ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not ready():
            ended = [name for name, process in daemons.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                what = f"{ended[0]} ended at once" if ended else "the nodes were not up after a minute"
                raise CannotStart(f"SLURM does not start on this machine: {what} ({_complaint(folder, ended)})")
            time.sleep(0.1)

    # --force: munged wants its socket to be open to all users, and here it is not to be.
    files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed")]
    daemon("munged", "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
    wait((folder / "munge.socket").is_socket)
    daemon("slurmctld", "slurmctld", "-D", "-c")
    wait(lambda: asked("scontrol", "ping").endswith("is UP"))
    names = [f"n{number}" for number in range(1, nodes + 1)]
    for name in names:
        daemon(name, "slurmd", "-D", "-N", name)
    wait(lambda: asked("sinfo", "--noheader", "--Node", "--format=%T").split() == ["idle"] * nodes)


def _fill(folder: Path, nodes: int, cpus: int) -> None:
    """What the daemons read, in a folder that only this user can enter."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in ("state", "spool", "log", "bin"):
        (folder / name).mkdir(exist_ok=True)
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(64))
    (folder / "plugstack.conf").touch(0o600)
    srun = folder / "bin" / "srun"
    srun.write_text(SRUN.format(_configuration(folder), shutil.which("srun", path=PATH)), encoding="utf-8")
    srun.chmod(0o700)
    host = socket.gethostname().partition(".")[0]
    port, *ports = _free_ports(1 + nodes)
    lines = "".join(NODE.format(number, host, port, cpus) for number, port in enumerate(ports, 1))
    configuration = CONFIGURATION.format(host=host, port=port, user=os.getuid(), folder=folder, nodes=lines)
    _configuration(folder).write_text(configuration, encoding="utf-8")


def _complaint(folder: Path, names: list[str]) -> str:
    """The last error in the logs of these daemons; of all, if none is named."""
    logs = [folder / "log" / name for name in names] or sorted((folder / "log").iterdir())
    lines = [line.strip() for log in logs for line in log.read_text(errors="replace").splitlines()]
    return ([line for line in lines if re.search("error|fatal", line, re.IGNORECASE)] or lines or ["no word"])[-1]


def _configuration(folder: Path) -> Path:
    return folder.resolve() / "slurm.conf"


def _environment(folder: Path) -> dict[str, str]:
    """This process's, without what another cluster's job or user left in it."""
    foreign = re.compile("(SLURM|SBATCH|SRUN|SALLOC|SCANCEL|SINFO|SQUEUE|SCONTROL)_")
    kept = {name: value for name, value in os.environ.items() if not foreign.match(name)}
    configuration = _configuration(folder)
    own = {"SLURM_CONF": str(configuration), "PATH": f"{configuration.parent}/bin:{PATH}", "PRIVATE_SLURM": "user"}
    return kept | own


def _free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, below those that Linux gives to outgoing connections."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20000, 32000), 1000):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise CannotStart("SLURM does not start on this machine: no free ports between 20000 and 32000")


def main() -> int:
    parser = argparse.ArgumentParser(description="Starts a private SLURM on this machine, until Ctrl-C.")
    parser.add_argument("folder", nargs="?", type=Path, help="for keys, state and logs; a temporary one by default")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2, help="of each node; they need not exist")
    parser.add_argument("--until-eof", action="store_true", help="stop at the end of standard input")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # all end it as Ctrl-C does, also where that was ignored
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        folder = folder.resolve()
        try:
            stop(folder)  # what an earlier one may have left
            _start(folder, options.nodes, options.cpus, stack)
            print(f'export SLURM_CONF={_configuration(folder)} PATH="{folder}/bin:$PATH"', flush=True)
            if options.until_eof:
                sys.stdin.read()
            else:
                print("# With that, sinfo, sbatch and snakemake --profile profiles/slurm use it. Ctrl-C stops it.")
                signal.pause()
        except CannotStart as reason:
            print(f"error: {reason}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 0
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # so that nothing cuts this short
            stop(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
