"""The averaged copies of HADA's networks, which teach them and fill the queue."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn


class AveragedCopy(nn.Module):
    """An exponential moving average of a network: theta' <- m theta' + (1 - m) theta, called as the network is.

    It begins as the network is, so it must be made after weights are loaded (as released, it is made before: a second
    stage is taught by random weights). It has no gradients and stays in evaluation mode, whatever `train` is told. Only
    parameters are averaged: buffers, the running statistics of norms, are copied from the network at each update.

    ``released=True``, an arm: it follows `train`, so that the teacher has dropout, and its buffers are those of its own
    batches.
    """

    def __init__(self, network: nn.Module, momentum: float = 0.995, *, released: bool = False) -> None:
        super().__init__()
        assert 0 <= momentum <= 1
        self.network = deepcopy(network).requires_grad_(False)
        self.momentum, self.released = momentum, released
        self.train(network.training)

    def train(self, mode: bool = True) -> "AveragedCopy":
        """Evaluation mode always; as released, the mode given."""
        return super().train(mode and self.released)

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """One step of the average, to be taken before the copies are asked."""
        for own, other in zip(self.network.parameters(), network.parameters(), strict=True):
            own.lerp_(other, 1 - self.momentum)
        if not self.released:
            for buffer, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
                buffer.copy_(theirs)

    @torch.no_grad()
    def forward(self, *items: Any) -> Any:
        """What the averaged network makes of them, without gradients."""
        return self.network(*items)
