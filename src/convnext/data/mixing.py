"""Mixup and CutMix: pictures of a batch are mixed in pairs, and their targets in the same share (section A.1)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convnext.recipe import Mix


@dataclass(frozen=True, kw_only=True)
class Blend:
    """How a batch is mixed.

    share   of each picture's own target; the rest is its partner's
    box     top, bottom, left, right in pixels of what comes from the partner (CutMix); None where whole pictures are
            averaged (Mixup)
    """

    share: float = 1.0
    box: tuple[int, int, int, int] | None = None


def mix(
    images: Tensor, labels: Tensor, num_classes: int, mix: Mix, numbers: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix a batch by one draw, in place, and return its pictures and targets.

    images: floats (N, C, height, width); each is mixed with the one as far from the end as it is from the start, so
    that of an odd number the middle one stays as it is.
    labels: class numbers (N,). The targets are shares of the classes (N, num_classes), in the type of the pictures.
    numbers: all chance, on the processor, so that a GPU is not waited for.
    Equals timm's Mixup in its mode "batch".
    """
    blend = draw_blend(images.shape[-2], images.shape[-1], mix, numbers)
    blend_images(images, blend)
    return images, blend_targets(labels, num_classes, mix.label_smoothing, blend.share, images.dtype)


def draw_blend(height: int, width: int, mix: Mix, numbers: np.random.Generator) -> Blend:
    """Return whether and how the next batch is mixed."""
    if not mix.on or numbers.random() >= mix.chance:
        return Blend()
    # Where both are on, one draw decides between them; timm draws in this order too.
    is_cutmix = mix.cutmix > 0 and (mix.mixup == 0 or numbers.random() < mix.switch)
    alpha = mix.cutmix if is_cutmix else mix.mixup
    share = float(numbers.beta(alpha, alpha))
    return _boxed(height, width, share, numbers) if is_cutmix else Blend(share=share)


def _boxed(height: int, width: int, share: float, numbers: np.random.Generator) -> Blend:
    """Return a box whose centre lies anywhere in the picture, cut off at its edges, and the share it truly leaves."""
    side = math.sqrt(1 - share)
    edges: list[int] = []
    for length in (height, width):
        cut = int(length * side)
        centre = int(numbers.integers(0, length))
        edges += [max(centre - cut // 2, 0), min(centre + (cut + 1) // 2, length)]
    top, bottom, left, right = edges
    return Blend(share=1 - (bottom - top) * (right - left) / (height * width), box=(top, bottom, left, right))


def blend_images(images: Tensor, blend: Blend) -> None:
    """Mix pictures (N, C, height, width) with the same pictures in reverse order, in place."""
    if blend.box is not None:
        top, bottom, left, right = blend.box
        part = images[:, :, top:bottom, left:right]
        part.copy_(part.flip(0))
    elif blend.share < 1:
        partners = images.flip(0).mul_(1 - blend.share)
        images.mul_(blend.share).add_(partners)


def blend_targets(labels: Tensor, num_classes: int, smoothing: float, share: float, dtype: torch.dtype) -> Tensor:
    """Return the mixed targets (N, num_classes): smoothed first, then mixed as the pictures are."""
    off = smoothing / num_classes
    own = torch.full((len(labels), num_classes), off, dtype=dtype, device=labels.device)
    own.scatter_(1, labels[:, None], 1 - smoothing + off)
    return own * share + own.flip(0) * (1 - share)
