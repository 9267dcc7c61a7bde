"""Muon: orthogonal steps of weight matrices, AdamW's for the rest."""

import copy

import pytest
import torch
from torch import nn

from ehrpose.engine.muon import Muon, orthogonal
from ehrpose.registry import OPTIMIZERS


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ConvTranspose2d(8, 6, 2),
        nn.Conv2d(6, 4, 1),
    )


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> list[float]:
    torch.manual_seed(1)
    losses = []
    for _ in range(steps):
        loss = (model(torch.randn(2, 3, 12, 12)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("shape", [(3, 24, 216), (1, 200, 30), (2, 17, 17)])
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e6])
def test_singular_values_are_near_one_and_vectors_stay(shape, size):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(2)) * size
    made = orthogonal(matrices)
    assert made.dtype == torch.float32
    assert made.shape == matrices.shape
    # The smallest of a square random matrix need more than five rounds.
    values = torch.linalg.svdvals(made)
    assert values.max() < 1.3
    assert values.median() > 0.6
    u, _, vh = torch.linalg.svd(matrices / size, full_matrices=False)
    turned = u.mT @ made @ vh.mT
    assert (turned - torch.diag_embed(turned.diagonal(dim1=1, dim2=2))).abs().max() < 0.05


def test_zeros_stay_zeros():
    assert not orthogonal(torch.zeros(2, 4, 9)).any()


def test_norms_biases_and_depthwise_filters_are_adamw():
    ours, theirs = network(), network()
    mixed = Muon(ours.parameters(), lr=0.01, weight_decay=0.1)
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1)
    train(ours, mixed, 1)
    train(theirs, plain, 1)
    equal = [name for (name, a), b in zip(ours.named_parameters(), theirs.parameters()) if torch.equal(a, b)]
    assert equal == ["0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.bias", "4.bias"]


def test_a_step_is_as_large_as_the_learning_rate_says():
    weight = nn.Parameter(torch.randn(32, 16, 3, 3))
    before = weight.detach().clone()
    optimizer = Muon([weight], lr=0.01, weight_decay=0.0)
    weight.grad = torch.randn_like(weight) * 1e-6
    optimizer.step()
    step = (weight.detach() - before).square().mean().sqrt()
    assert 0.2 * 0.01 * 0.7 < step < 0.2 * 0.01 * 1.3
    assert ((weight.detach() - before) * weight.grad).sum() < 0


def test_weight_decay_shrinks_weights_without_gradient():
    weight = nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert torch.allclose(weight, torch.full((4, 4), 0.95))


def test_parameters_without_gradient_stay():
    model = network()
    before = copy.deepcopy(model.state_dict())
    optimizer = Muon(model.parameters(), lr=0.1)
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_memory_format_does_not_matter():
    start, gradient = torch.randn(8, 4, 3, 3), torch.randn(8, 4, 3, 3)
    made = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(start.clone(memory_format=memory_format))
        weight.grad = gradient.clone(memory_format=memory_format)
        optimizer = Muon([weight], lr=0.01)
        optimizer.step()
        optimizer.step()
        made.append(weight.detach())
    assert torch.equal(*made)


def test_it_learns():
    model = network()
    losses = train(model, Muon(model.parameters(), lr=0.02), 40)
    assert losses[-1] < losses[0] / 4


def test_a_resumed_run_equals_one_that_went_on():
    whole, first = network(), network()
    optimizer = Muon(whole.parameters(), lr=0.01)
    train(whole, optimizer, 3)
    train(whole, optimizer, 3)
    begun = Muon(first.parameters(), lr=0.01)
    train(first, begun, 3)
    second = network()
    second.load_state_dict(first.state_dict())
    resumed = Muon(second.parameters(), lr=0.01)
    resumed.load_state_dict(copy.deepcopy(begun.state_dict()))
    train(second, resumed, 3)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters()))


def test_groups_keep_their_own_settings():
    model = network()
    optimizer = Muon(
        [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[4].parameters()}], lr=0.1
    )
    assert [(group["lr"], group["orthogonal"]) for group in optimizer.param_groups] == [
        (0.5, True), (0.5, False), (0.1, True), (0.1, False),
    ]  # fmt: skip
    optimizer.add_param_group({"params": nn.Parameter(torch.ones(2, 2)), "momentum": 0.5})
    assert optimizer.param_groups[-1]["momentum"] == 0.5
    assert len(optimizer.param_groups) == 5


def test_named_parameters_are_taken():
    groups = Muon(network().named_parameters()).param_groups
    assert [group["param_names"] for group in groups] == [
        ["0.weight", "3.weight", "4.weight"],
        ["0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.bias", "4.bias"],
    ]


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_momentum_out_of_range(momentum):
    with pytest.raises(ValueError, match="momentum from 0 to below 1"):
        Muon(network().parameters(), momentum=momentum)


def test_configs_find_it():
    optimizer = OPTIMIZERS.build({"type": "Muon", "params": list(network().parameters()), "lr": 1e-3})
    assert isinstance(optimizer, Muon)
