"""Several processes that share a training, as `torchrun` starts them; one alone is the first of one."""

import os
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from lgca_core.related.goal.losses import RegionRows, Vectors

Gather = Literal["apart", "mixed"]


def gathered(vectors: Vectors, rows: RegionRows, how: Gather) -> tuple[Vectors, RegionRows]:
    """The vectors of all processes, through which gradients flow back to each, and how each row counts.

    Pictures are gathered apart from regions, and texts from sentences. ``how="mixed"``, the arm, gathers the two
    together and cuts the rows in the middle, as released; it needs as many regions as pictures.
    """

    def every(of: Tensor) -> Tensor:
        return torch.cat(all_gather(of)) if of.is_floating_point() else torch.cat(all_gather(of.float())) > 0

    shared = {name: every(of) for name, of in vectors._asdict().items() if of.ndim and len(of)}
    if how == "mixed" and len(vectors.region):
        for whole, part in (("image", "region"), ("text", "sentence")):
            mixed = every(torch.cat([getattr(vectors, whole), getattr(vectors, part)]))
            shared[whole], shared[part] = mixed.chunk(2)
    return vectors._replace(**shared), RegionRows(*(every(of) for of in rows))


def summed(counts: dict[str, int], device: torch.device) -> dict[str, int]:
    """Counts of each process, under the same names, to those of all."""
    numbers = torch.tensor([*counts.values()], device=device)
    dist.all_reduce(numbers)
    return dict(zip(counts, numbers.tolist(), strict=True))


def ranks() -> tuple[int, int]:
    """Number of this process and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def join_processes(device: str) -> str:
    """Join the processes that `torchrun` started, if it did: the device of this one."""
    if "RANK" not in os.environ or not dist.is_available():
        return device
    gpus = device != "cpu" and torch.cuda.is_available()
    own = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if gpus else "cpu"
    if gpus:
        torch.cuda.set_device(own)  # where collectives without a tensor, such as a barrier, take place
    dist.init_process_group("nccl" if gpus else "gloo")
    return own


def leave_processes() -> None:
    """End what :func:`join_processes` began, once every process has ended its work."""
    if dist.is_initialized():
        dist.destroy_process_group()


def is_first() -> bool:
    """Whether this process is the first of those that `torchrun` started, or the only one."""
    return ranks()[0] == 0


def wait_for_first() -> None:
    """Go on once every process has come this far."""
    if dist.is_initialized():
        dist.barrier()
