"""Processes that write to a store, so that they can be killed and set against each other; light to start."""

import os
import resource
import signal
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from lgca_core.evaluation.store.feature_set import FeatureSet, Report
from lgca_core.evaluation.store.shard import Shard
from lgca_core.evaluation.store.store import Store
from lgca_core.views import Encoded
from support.steps import Steps

KEY = {"manifest": "f" * 64, "encoder": {"name": "stub", "precision": "float32"}, "plan": {"draw": "whole"}}
SIZE = (30, 40)
IDENTITIES = [sha256(str(number).encode()).hexdigest() for number in range(10)]


@cache
def big(index: int, rounding: int = 0) -> Shard:
    """A shard of 250 kB, so that there is a middle to be killed in: 60 boxes of 4 pictures (of 2, the last)."""
    identities = IDENTITIES[4 * index : 4 * index + 4]
    rng = np.random.default_rng([index, rounding])
    features = torch.from_numpy(rng.standard_normal((60 * len(identities), 512), dtype=np.float32)).half()
    place = torch.arange(60).repeat(len(identities))
    boxes = torch.stack([place // 20, place % 20, 1 + 0 * place, 1 + 0 * place], dim=1).int()
    counts = torch.full((len(identities),), 60, dtype=torch.int32)
    return Shard.of(identities, [SIZE] * len(identities), Encoded(counts, boxes, features))


def open_pool(root: Path, report: Report | None = None) -> FeatureSet:
    """Of three shards."""
    return Store(root, pictures=4, report=report).pool(KEY, IDENTITIES, dataset="toys")


@cache
def grown() -> Shard:
    """Shard 0 with one more box."""
    box = Encoded(torch.tensor([1, 0, 0, 0]).int(), torch.tensor([[0, 0, *SIZE]]).int(), torch.ones(1, 512).half())
    return big(0).union(Shard.of(IDENTITIES[:4], [SIZE] * 4, box))


def write_all(root: Path, kill_at: int | None = None, most: int | None = None) -> None:
    """Writes the three shards, and lets the first one grow.

    At its `kill_at`-th step outside Python, or when `most` bytes of a file are written, it is killed.
    """
    if most is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    shards = [big(0), big(1), big(2), grown()]
    Steps(kill_at)
    pool = open_pool(root)
    for index, shard in zip((0, 1, 2, 0), shards, strict=True):
        pool.write(index, shard)


def write_often(root: Path, number: int, start) -> None:
    """Writes every shard twice, in an order of its own, with one of two roundings."""
    pool = open_pool(root)
    start.wait()
    for turn in range(6):
        index = (turn + number) % 3
        pool.write(index, big(index, number % 2))


def write_slowly(root: Path, ready, go) -> None:
    """Writes a shard, and waits until it may go on, before what is written is forced to the disc."""
    force = os.fsync

    def wait(stream):
        os.fsync = force
        ready.set()
        go.wait()
        force(stream)

    pool = open_pool(root)
    os.fsync = wait
    pool.write(0, big(0))
