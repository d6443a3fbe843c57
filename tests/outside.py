"""Models of other libraries and random weights of the size that trained ones have, for tests of several files."""

import timm
import torch
import torchvision
from torch import nn
from transformers import ConvNextConfig, ConvNextForImageClassification

from convnext.spec import CONVNEXT_TINY, NetSpec


def randomise(net: nn.Module, seed: int = 0) -> None:
    """Give every parameter and running statistic a random value; all differ, and every part of the net counts."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in net.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        if name.rpartition(".")[2] in ("gamma", "layer_scale", "layer_scale_parameter", "running_var"):
            tensor.copy_(0.5 + 0.5 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype))
        elif tensor.ndim > 1:
            tensor.copy_(noise / tensor[0].numel() ** 0.5)
        else:
            tensor.copy_(0.2 * noise + (1.0 if name.endswith("weight") else 0.0))


# Small, but with four stages of different depths, so that no stage can be taken for another.
SMALL = NetSpec.from_dict({**CONVNEXT_TINY.to_dict(), "depths": (1, 2, 3, 1), "width": 8, "num_classes": 7})


def model_of(library: str, *, num_classes: int = 7, in_channels: int = 3) -> nn.Module:
    """Return a library's own ConvNeXt of the size of SMALL, with random weights, in evaluation mode."""
    depths, dims = list(SMALL.depths), [8, 16, 32, 64]
    if library == "timm":
        net = timm.create_model(
            "convnext_tiny", depths=depths, dims=dims, num_classes=num_classes, in_chans=in_channels
        )
    elif library == "torchvision":
        outs: list[int | None] = [16, 32, 64, None]
        blocks = [
            torchvision.models.convnext.CNBlockConfig(width, out, depth)
            for width, out, depth in zip(dims, outs, depths, strict=True)
        ]
        net = torchvision.models.ConvNeXt(blocks, num_classes=num_classes)
    else:
        config = ConvNextConfig(
            depths=depths, hidden_sizes=dims, num_labels=num_classes, num_channels=in_channels, layer_norm_eps=1e-6
        )
        net = ConvNextForImageClassification(config)
    randomise(net)
    return net.eval()
