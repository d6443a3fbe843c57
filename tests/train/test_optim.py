"""Groups, one step by hand, and the optimizer's state in and out."""

import torch
from torch import nn

from convnext.network import Network
from convnext.recipe import Optim
from convnext.train.optim import (
    build_optimizer,
    optimizer_tensors,
    parameter_groups,
    restore_optimizer,
    set_learning_rate,
)
from tests.train.tiny import BATCH_NET, LAYER_NET


def test_decay_reaches_kernels_and_matrices_only() -> None:
    decayed, other = parameter_groups(Network(LAYER_NET), 0.05)
    assert (decayed.weight_decay, other.weight_decay) == (0.05, 0.0)
    assert {
        "downsample_layers.0.0.weight",
        "downsample_layers.1.1.weight",
        "stages.0.0.dwconv.weight",
        "stages.0.0.pwconv1.weight",
        "stages.0.0.pwconv2.weight",
        "head.weight",
    } <= set(decayed.parameters)
    assert {
        "downsample_layers.0.1.weight",
        "downsample_layers.1.0.weight",
        "stages.0.0.norm.weight",
        "stages.0.0.dwconv.bias",
        "stages.0.0.gamma",
        "norm.weight",
        "head.bias",
    } <= set(other.parameters)
    everything = sorted(name for name, _ in Network(LAYER_NET).named_parameters())
    assert sorted((*decayed.parameters, *other.parameters)) == everything


def test_layer_scale_of_batch_norm_nets_is_not_decayed_though_it_has_three_dimensions() -> None:
    network = Network(BATCH_NET)
    gammas = [name for name, _ in network.named_parameters() if name.endswith("gamma")]
    assert gammas and all(network.get_parameter(name).ndim == 3 for name in gammas)
    decayed, other = parameter_groups(network, 0.05)
    assert set(gammas) <= set(other.parameters)
    assert "layer1.0.conv1.weight" in decayed.parameters and "layer1.0.bn1.weight" in other.parameters


def test_frozen_parameters_are_in_no_group() -> None:
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    groups = parameter_groups(model, 0.1)
    assert [group.parameters for group in groups] == [(), ("bias",)]
    build_optimizer(model, groups, Optim())


def test_steps_equal_adamw_written_by_hand() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    optim = Optim(lr=0.5, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-3)
    optimizer = build_optimizer(model, parameter_groups(model, optim.weight_decay), optim)
    assert all(group["fused"] for group in optimizer.param_groups)
    expected = {name: value.detach().clone() for name, value in model.named_parameters()}
    first = {name: torch.zeros_like(value) for name, value in expected.items()}
    second = {name: torch.zeros_like(value) for name, value in expected.items()}
    for step, lr in enumerate((0.5, 0.2, 0.3), start=1):
        set_learning_rate(optimizer, lr)
        model(torch.randn(4, 3, dtype=torch.float64)).square().sum().backward()
        for name, value in model.named_parameters():
            gradient = value.grad
            assert gradient is not None
            if name == "weight":
                expected[name] *= 1 - lr * 0.1
            first[name] = 0.8 * first[name] + 0.2 * gradient
            second[name] = 0.9 * second[name] + 0.1 * gradient**2
            root = (second[name] / (1 - 0.9**step)).sqrt() + 1e-3
            expected[name] -= lr * first[name] / (1 - 0.8**step) / root
        optimizer.step()
        optimizer.zero_grad()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], rtol=1e-12, atol=1e-14)


def test_restored_state_goes_on_the_same_also_in_another_memory_format() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 6, 6)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(inputs).square().sum().backward()
        optimizer.step()

    def make() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model, build_optimizer(model, parameter_groups(model, 0.1), Optim(lr=0.1))

    model, optimizer = make()
    step(model, optimizer)
    stored = {name: value.clone().contiguous() for name, value in optimizer_tensors(model, optimizer).items()}
    assert sorted(stored) == sorted(f"{name}/{slot}" for name in ("weight", "bias") for slot in SLOTS)
    other, fresh = make()
    other.load_state_dict(model.state_dict())
    restore_optimizer(other, fresh, stored)
    step(model, optimizer)
    step(other, fresh)
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)


SLOTS = ("step", "exp_avg", "exp_avg_sq")
