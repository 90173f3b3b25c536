"""Ways to run an encoder on crops that are cut already, and what its time goes into: what was tried, and a profile.

    python -m lgca_core.bench.encoding                              # embedded encoder, float32
    python -m lgca_core.bench.encoding --precision auto             # the fast one
    python -m lgca_core.bench.encoding --encoder ViT-B-32-quickgelu # OpenAI's architecture, random weights

The ways take turns, and must come to the same vectors:

- ``ours``: the towers of `lgca_core.towers`, in batches as large as an encoder's own;
- ``open_clip``: its own model in the same batches;
- ``batches a quarter as large`` and ``batches four times as large``, where memory holds them;
- ``compiled``: our tower through `torch.compile`, where that finds a compiler;
- ``in float32``: our towers, where the precision asked for is another;
- ``a thread a batch``: on a CPU, each thread a batch of its own instead of all of them one batch together, where that
  gives every thread as many.

The profile is of ``ours``: the share of every operator of torch in the time of all, without those that it calls. A
record is written to ``results/bench/``.
"""

import argparse
import functools
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # or torch's profiler tells when it starts and what it does not find

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from lgca_core.bench.pipeline import AGREE, models, timed
from lgca_core.bench.record import begin, write
from lgca_core.encoder import Encoder
from lgca_core.errors import LgcaError

LISTED = 10  # operators of the profile that are named; the others are one


def ways(encoder: Encoder, float32: Encoder, model: Any, crops: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Each way to encode the crops (n, 3, S, S) uint8: (n, D)."""
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
    for name, of in arms.items():
        asked = of.batch_size
        try:
            of.encode_crops(crops)
        except Exception as error:  # whatever a compiler that is not there, or not found, leads to
            if name != "compiled":
                raise
            print(f"compiled: not here ({type(error).__name__})", file=sys.stderr)
            continue
        if of.batch_size == asked:  # not halved for want of memory
            found[name] = functools.partial(of.encode_crops, crops)
    threads = torch.get_num_threads()
    if encoder.device.type == "cpu" and threads > 1 and len(crops) // whole % threads == 0:
        found["a thread a batch"] = lambda: _thread_a_batch(encoder, crops)
    return found


def _thread_a_batch(encoder: Encoder, crops: Tensor) -> Tensor:
    with one_thread() as threads:
        return replace(encoder, workers=threads).encode_crops(crops)


@contextmanager
def one_thread():
    """torch with one thread an operator; gives how many it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def operators(run: Callable[[], Any], device: torch.device) -> list[dict[str, Any]]:
    """The share of every operator in the time of all, the largest first, those past `LISTED` as one."""
    gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as profiled:
        run()
    events = profiled.key_averages()
    # On a GPU an operator's time is that of the kernels it starts, which are listed once more by themselves.
    here = [of for of in events if of.device_type == DeviceType.CPU]
    spent = {of.key: of.self_device_time_total if gpu else of.self_cpu_time_total for of in here}
    kernels = [of for of in events if of.device_type == DeviceType.CUDA and not of.is_user_annotation]
    total = sum(of.self_device_time_total for of in kernels) if gpu else sum(spent.values())
    ordered = sorted(spent.items(), key=lambda known: -known[1])
    rows = [{"operator": name, "share": time / total} for name, time in ordered[:LISTED]]
    return [*rows, {"operator": "others", "share": 1 - sum(row["share"] for row in rows)}]


def benchmark(name: str, device: str, precision: str, batches: int, repeats: int) -> dict[str, Any]:
    """One run: seconds of every way, its speed, and the profile."""
    asked = models(name, device, precision)  # type: ignore[arg-type]
    with asked as (encoder, model), models(name, device) as (float32, _):  # type: ignore[arg-type]
        shape = batches * encoder.batch_size, 3, encoder.size, encoder.size
        crops = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        crops = crops.to(encoder.device)
        arms = ways(encoder, float32, model, crops)
        made = {arm: run() for arm, run in arms.items()}
        apart = float(torch.stack([1 - (made["ours"] * other).sum(dim=-1) for other in made.values()]).max())
        if not apart <= AGREE[encoder.precision]:
            raise LgcaError(f"the ways' vectors are {apart:.1e} short of a cosine of 1: they do not compute the same")
        seconds = timed(arms, repeats, encoder.device, lambda said: print(said, file=sys.stderr))
        profiled = operators(arms["ours"], encoder.device)
    median = {arm: statistics.median(spent) for arm, spent in seconds.items()}
    return begin("encoding", encoder.device) | {
        "encoder": name,
        "weights": "embedded" if name == "aviary" else "random",
        "precision": encoder.precision,
        "device": encoder.device.type,
        "batch_size": encoder.batch_size,
        "crops": shape[0],
        "seconds": seconds,
        "median_seconds": median,
        "crops_per_second": {arm: shape[0] / spent for arm, spent in median.items()},
        "times_ours": {arm: median["ours"] / spent for arm, spent in median.items()},
        "operators": profiled,
        "farthest_from_cosine_1": apart,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--encoder", default="aviary", help="aviary, or an architecture of open_clip: random weights")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--batches", type=int, default=8, help="crops to encode, in batches of the encoder's own size")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/bench"), metavar="FOLDER", help="of the record")
    asked = parser.parse_args(words)
    for option, least in (("batches", 4), ("repeats", 1)):
        if getattr(asked, option) < least:
            parser.error(f"--{option} must be at least {least}, got {getattr(asked, option)}")
    try:
        asked.out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        record = benchmark(asked.encoder, asked.device, asked.precision, asked.batches, asked.repeats)
        file = write(record, asked.out, f"{record['encoder']}-{record['precision']}-{record['device']}")
    except (LgcaError, OSError) as error:
        parser.error(str(error))
    for arm, speed in record["crops_per_second"].items():
        print(f"{arm:<28} {speed:9.1f} crops a second   {record['times_ours'][arm]:5.2f} x")
    for row in record["operators"]:
        print(f"{row['operator']:<56} {100 * row['share']:5.1f} %")
    print(f"record: {file}")


if __name__ == "__main__":
    main()
