"""Ways to run an encoder on crops that are cut already, and what its time goes into: what was tried, and a profile.

The ways take turns, and must come to the same vectors:

- ``ours``: the towers of `lgca_core.encoders.fast_towers`, in batches as large as an encoder's own;
- ``open_clip``: its own model in the same batches;
- ``batches a quarter as large`` and ``batches four times as large``, where memory holds them;
- ``compiled``: our tower through `torch.compile`, where that finds a compiler;
- ``in float32``: our towers, where the precision asked for is another;
- ``a thread a batch``: on a CPU, each thread a batch of its own instead of all of them one batch together, where that
  gives every thread as many.

The profile is of ``ours``: the share of every operator of torch in the time of all, without those that it calls.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # or torch's profiler tells when it starts and what it does not find

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from lgca_core.bench.harness import COSINES_AGREE, SEED_OF_WORK, Say, models, time_in_turns
from lgca_core.bench.record import begin_with_encoder, timings
from lgca_core.encoder import Encoder
from lgca_core.encoders.devices import Device, Precision
from lgca_core.errors import LgcaError

LISTED = 10  # operators of the profile that are named; the others are one


def ways(encoder: Encoder, float32: Encoder, model: Any, crops: Tensor, report: Say) -> dict[str, Callable[[], Tensor]]:
    """Each way to encode the crops (n, 3, S, S) uint8: (n, D). A way that the machine lacks is reported and absent."""
    whole = encoder.batch_size
    arms = {
        "ours": encoder,
        "open_clip": replace(encoder, image=model.encode_image),
        "batches a quarter as large": replace(encoder, batch_size=max(1, whole // 4)),
        "batches four times as large": replace(encoder, batch_size=4 * whole),
        "compiled": replace(encoder, image=torch.compile(encoder.image)),
    }
    if encoder.precision != "float32":
        arms["in float32"] = replace(float32, batch_size=whole)
    found: dict[str, Callable[[], Tensor]] = {}
    for name, arm in arms.items():
        asked = arm.batch_size
        try:
            arm.encode_crops(crops)
        except Exception as error:  # whatever a compiler that is not there, or not found, leads to
            if name != "compiled":
                raise
            report(f"compiled: not here ({type(error).__name__})")
            continue
        if arm.batch_size == asked:  # not halved for want of memory
            found[name] = functools.partial(arm.encode_crops, crops)
    threads = torch.get_num_threads()
    if encoder.device.type == "cpu" and threads > 1 and len(crops) // whole % threads == 0:
        found["a thread a batch"] = lambda: _thread_a_batch(encoder, crops)
    return found


def _thread_a_batch(encoder: Encoder, crops: Tensor) -> Tensor:
    with one_thread() as threads:
        return replace(encoder, workers=threads).encode_crops(crops)


@contextmanager
def one_thread() -> Iterator[int]:
    """Let torch run an operator in one thread; gives how many it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def seconds_of_operators(run: Callable[[], object], device: torch.device) -> tuple[dict[str, float], float]:
    """What each operator of torch takes by the profiler, without those that it calls; and what all of it takes."""
    gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as profiled:
        run()
    events = profiled.key_averages()
    # On a GPU an operator's time is that of the kernels it starts, which are listed once more by themselves.
    here = [event for event in events if event.device_type == DeviceType.CPU]
    spent = {event.key: event.self_device_time_total if gpu else event.self_cpu_time_total for event in here}
    kernels = [event for event in events if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    return spent, sum(event.self_device_time_total for event in kernels) if gpu else sum(spent.values())


def shares(spent: Mapping[str, float], total: float) -> list[dict[str, Any]]:
    """The share of each operator in the total, the largest first; those past `LISTED` as one."""
    ordered = sorted(spent.items(), key=lambda operator: -operator[1])
    rows: list[dict[str, Any]] = [{"operator": name, "share": time / total} for name, time in ordered[:LISTED]]
    return [*rows, {"operator": "others", "share": 1 - sum(row["share"] for row in rows)}]


def time_encoding(
    name: str, device: Device, precision: Precision, batches: int, repeats: int, report: Say
) -> dict[str, Any]:
    """Time every way on so many batches of crops, and profile ours: the record.

    Raises:
        LgcaError: there is no such architecture or device; the ways' vectors are not the same.
    """
    with models(name, device, precision) as (encoder, model), models(name, device) as (float32, _):
        shape = batches * encoder.batch_size, 3, encoder.size, encoder.size
        generator = torch.Generator().manual_seed(SEED_OF_WORK)
        crops = torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(encoder.device)
        arms = ways(encoder, float32, model, crops, report)
        made = {arm: run() for arm, run in arms.items()}
        apart = float(torch.stack([1 - (made["ours"] * other).sum(dim=-1) for other in made.values()]).max())
        if not apart <= COSINES_AGREE[encoder.precision]:  # nor is what is not a number
            raise LgcaError(f"the ways' vectors are {apart:.1e} short of a cosine of 1: they do not compute the same")
        timed = timings(time_in_turns(arms, repeats, encoder.device, report, warm_up=False))
        operators = shares(*seconds_of_operators(arms["ours"], encoder.device))
    median = timed["median_seconds"]
    return (
        begin_with_encoder("encoding", name, encoder)
        | {"crops": shape[0]}
        | timed
        | {
            "crops_per_second": {arm: shape[0] / spent for arm, spent in median.items()},
            "times_ours": {arm: median["ours"] / spent for arm, spent in median.items()},
            "operators": operators,
            "farthest_from_cosine_1": apart,
        }
    )
