"""The outside count: torch's own flop counter on the built network, on the meta device."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from convnext.network import Network
from convnext.spec import NetSpec


def on_meta(spec: NetSpec) -> Network:
    with torch.device("meta"):
        return Network(spec).eval()


def counted_macs(model: Network, size: int) -> int:
    images = torch.empty(1, model.spec.in_channels, size, size, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(images)
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


def counted_activations(model: Network, size: int) -> int:
    """Elements of the outputs of convolutions and linear layers, seen by hooks."""
    total = 0

    def add(_layer: torch.nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel()

    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    handles = [layer.register_forward_hook(add) for layer in layers]
    model(torch.empty(1, model.spec.in_channels, size, size, device="meta"))
    for handle in handles:
        handle.remove()
    return total


def counted_params(model: Network) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
