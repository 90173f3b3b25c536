"""The averaged copies of HADA's networks."""

import torch
from torch import nn

from lgca_core.related.hada.averaging import AveragedCopy
from lgca_core.related.hada.network import FIRST_STAGE, Fusion


def a_network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).double()


def test_the_average_is_its_closed_form():
    """Of a network that stays: theta + m^n (theta' - theta). Of one that moves by one each step: the sum."""
    network = a_network()
    average = AveragedCopy(network, 0.995)
    began = [of.clone() for of in average.network.parameters()]
    with torch.no_grad():
        for of in network.parameters():
            of.add_(1)
    for _ in range(200):
        average.update(network)
    for own, first in zip(average.network.parameters(), began, strict=True):
        torch.testing.assert_close(own, first + (1 - 0.995**200), rtol=1e-12, atol=1e-12)
    moving, average = a_network(), None
    average = AveragedCopy(moving, 0.9)
    began = [of.clone() for of in average.network.parameters()]
    for _ in range(5):
        with torch.no_grad():
            for of in moving.parameters():
                of.add_(1)
        average.update(moving)
    far = sum(0.1 * 0.9 ** (5 - step) * step for step in range(1, 6))
    for own, first in zip(average.network.parameters(), began, strict=True):
        torch.testing.assert_close(own, 0.9**5 * first + (1 - 0.9**5) * first + far)


def test_a_copy_begins_as_the_loaded_network_and_shares_nothing_with_it():
    network, other = a_network(), a_network()
    network.load_state_dict(other.state_dict())
    average = AveragedCopy(network)
    for name, of in other.state_dict().items():
        assert torch.equal(average.network.state_dict()[name], of)
    with torch.no_grad():
        network[0].weight.add_(1)
    assert torch.equal(average.network[0].weight, other[0].weight)
    assert not any(of.requires_grad for of in average.parameters())
    assert all(of.requires_grad for of in network.parameters())


def test_a_copy_stays_in_evaluation_mode_with_the_networks_statistics():
    network = a_network().train()
    average = AveragedCopy(network)
    holder = nn.ModuleList([network, average]).train()
    rows = torch.randn(6, 3, dtype=torch.float64)
    assert not any(of.training for of in average.modules()) and holder.training
    assert torch.equal(average(rows), average(rows)) and not average(rows).requires_grad
    network(rows + 3)
    assert not torch.equal(average.network[1].running_mean, network[1].running_mean)
    average.update(network)
    assert torch.equal(average.network[1].running_mean, network[1].running_mean)


def test_as_released_a_copy_follows_train_and_has_statistics_of_its_own():
    network = a_network().train()
    average = AveragedCopy(network, released=True)
    nn.ModuleList([network, average]).train()
    rows = torch.randn(6, 3, dtype=torch.float64)
    assert not torch.equal(average(rows), average(rows))  # dropout
    network(rows + 3)
    own = average.network[1].running_mean.clone()
    average.update(network)
    assert torch.equal(average.network[1].running_mean, own) and own.any()
    assert not average.eval().network.training


def test_a_copy_of_a_fusion_is_the_fusion():
    torch.manual_seed(0)
    side = Fusion((6, 4), (3, 5), FIRST_STAGE).train()
    average = AveragedCopy(side)
    for own, other in zip(average.network.parameters(), side.parameters(), strict=True):
        assert torch.equal(own, other)
    average.update(side)
    assert not average.network.graph.training and side.graph.training
