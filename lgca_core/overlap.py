"""What keeps a GPU busy: copies that do not wait for it, and several chunks of pictures at a time."""

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor.to(device)``; where that is from here to a GPU, without waiting for what the GPU is at."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def in_flight(
    work: Callable[[Item], Result], items: Iterable[Item], device: torch.device, flights: int
) -> Iterator[Result]:
    """``work(item)`` of each, in order; so many at a time, in threads, and on a GPU in a stream of their own each.

    While the one waits for a ranking, to know which boxes to expand, the other's crops are encoded. Items are taken
    in the caller's thread, no sooner than there is a flight for them. What work returns is complete. One flight is the
    caller's own thread and stream.

    Raises whatever taking an item or the work on it raises; what flies then is waited for and dropped.
    """
    if flights == 1:
        yield from map(work, items)
        return
    gpu = device.type == "cuda"
    streams = iter([_stream(device, number) for number in range(flights)] if gpu else [])

    def begin() -> None:
        if gpu:
            torch.cuda.set_stream(next(streams))

    def fly(item: Item, ready: torch.cuda.Event | None) -> Result:
        if ready is None:
            return work(item)
        stream = torch.cuda.current_stream(device)
        stream.wait_event(ready)  # for what the caller made of the item, in the caller's stream
        try:
            return work(item)
        finally:
            stream.synchronize()  # before memory of the item goes back to the caller's stream

    flying: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(flights, thread_name_prefix="lgca-flight", initializer=begin) as threads:
        for item in items:
            flying.append(threads.submit(fly, item, torch.cuda.current_stream(device).record_event() if gpu else None))
            if len(flying) == flights:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()


@functools.cache
def _stream(device: torch.device, number: int) -> torch.cuda.Stream:
    """The same ones every time: what is kept for a stream, on the GPU, is not kept again for the next."""
    return torch.cuda.Stream(device)
