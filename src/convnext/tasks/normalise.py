"""From bytes to the numbers that a network takes, on the device."""

from functools import cache

import torch
from torch import Tensor

from convnext.preprocess import Preprocess


def normalise(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Map uint8 pictures (N, C, H, W) to (images / 255 - mean) / std in float32, channels last in memory."""
    floats = images.to(dtype=torch.float32, memory_format=torch.channels_last)
    mean, std = _on_device(preprocess.mean, images.device), _on_device(preprocess.std, images.device)
    return floats.div_(255).sub_(mean).div_(std)


@cache
def _on_device(values: tuple[float, ...], device: torch.device) -> Tensor:
    # Kept, because making a tensor on a GPU waits for the GPU, and this is asked for at every step.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)
