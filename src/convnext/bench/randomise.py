"""Weights and pictures with which no part of a network can be left out unnoticed.

Fresh networks are poor subjects for a comparison: LayerScale starts at 1e-6, biases and some heads at 0, running
statistics at 0 and 1, so that a program which skips them computes the same. Here every parameter and every running
statistic is drawn anew. Networks with BatchNorm would forget the picture on the way down (with statistics that do not
fit, the logits of two pictures agree to six digits), so theirs are measured on pictures first.
"""

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
# Pictures that set the running statistics.
CALIBRATING = 2


def randomise(model: nn.Module, size: int, channels: int, seed: int) -> None:
    """Draw every parameter and running statistic anew, on the CPU, the same ones for the same seed.

    size, channels   of the pictures that the network takes, in pixels
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                _draw(name, parameter, generator)
        _measure_statistics(model, pictures(CALIBRATING, size, channels, seed + 1), generator)


def _draw(name: str, parameter: Tensor, generator: torch.Generator) -> None:
    if name == "weight" and parameter.ndim > 1:
        # Of unit scale where it comes in, so that activations neither die out nor grow out of range.
        inputs = parameter.numel() / parameter.shape[0]
        parameter.normal_(0.0, inputs**-0.5, generator=generator)
    elif name in ("weight", "gain"):
        # Of norms, and of the scaled convolutions that NFNets have in their place.
        parameter.normal_(1.0, 0.1, generator=generator)
    elif name.endswith("bias"):
        parameter.normal_(0.0, 0.1, generator=generator)
    else:
        # LayerScale, tokens, embeddings of places: large enough to be missed.
        parameter.normal_(0.0, 0.5, generator=generator)


def _measure_statistics(model: nn.Module, images: Tensor, generator: torch.Generator) -> None:
    norms = [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]
    if not norms:
        return
    before = model.training
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        assert norm.running_var is not None and norm.running_mean is not None
        norm.momentum = momentum
        # Not quite what was measured, in parts of it: a program that takes a batch's own statistics shall differ.
        off = torch.empty_like(norm.running_mean).normal_(0.0, 0.1, generator=generator)
        norm.running_mean.add_(off * norm.running_var.sqrt())
        norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.25, generator=generator))
    model.train(before)


def pictures(count: int, size: int, channels: int, seed: int) -> Tensor:
    """Return pictures (count, channels, size, size) of coarse patches and noise, which differ as photographs do."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, channels, 4, 4, generator=generator)
    patches = nn.functional.interpolate(coarse, size=(size, size), mode="nearest")
    return patches + 0.5 * torch.randn(count, channels, size, size, generator=generator)
