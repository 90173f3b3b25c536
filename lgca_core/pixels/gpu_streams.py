"""Keeps a GPU busy: copies that do not wait for it, and several chunks of pictures at a time, a CUDA stream each."""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor.to(device)``; where that is from here to a GPU, without waiting for what the GPU is at."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def map_in_streams(
    work: Callable[[_Item], _Result], items: Iterable[_Item], device: torch.device, streams: int
) -> Iterator[_Result]:
    """Yields ``work(item)`` of each item in order, up to `streams` at once; each is synchronised before it is yielded.

    Each runs in a thread, on a GPU with a CUDA stream of its own: while one waits for a ranking, to know which boxes to
    expand, another's crops are encoded. Items are taken in the caller's thread, and no more than `streams` are ahead.
    With one stream everything happens in the caller's own thread and stream.

    Raises whatever taking an item or the work on it raises; work that is under way then is waited for and dropped.
    """
    if streams == 1:
        yield from map(work, items)
        return
    gpu = device.type == "cuda"
    cuda_streams = iter([_stream(device, number) for number in range(streams)] if gpu else [])

    def begin() -> None:
        if gpu:
            torch.cuda.set_stream(next(cuda_streams))

    def run(item: _Item, ready: torch.cuda.Event | None) -> _Result:
        if ready is None:
            return work(item)
        stream = torch.cuda.current_stream(device)
        stream.wait_event(ready)  # for what the caller made of the item, in the caller's stream
        try:
            return work(item)
        finally:
            stream.synchronize()  # before memory of the item goes back to the caller's stream

    under_way: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(streams, thread_name_prefix="lgca-stream", initializer=begin) as threads:
        for item in items:
            ready = torch.cuda.current_stream(device).record_event() if gpu else None
            under_way.append(threads.submit(run, item, ready))
            if len(under_way) == streams:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


@functools.cache
def _stream(device: torch.device, number: int) -> torch.cuda.Stream:
    """A stream by number, the same one every time: memory that torch caches for a stream serves no other."""
    return torch.cuda.Stream(device)
