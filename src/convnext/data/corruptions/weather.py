"""The corruptions of the group weather."""

import numpy as np

from convnext.data.corruptions.levels import Levels, to_levels, to_pixels
from convnext.data.corruptions.patterns import frost_pattern, plasma
from convnext.data.corruptions.resampling import moved_along, zoomed
from convnext.data.pictures import Pixels

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def snow(
    pixels: Pixels,
    generator: np.random.Generator,
    mean: float,
    deviation: float,
    zoom: float,
    threshold: float,
    half_way: float,
    width: float,
    share: float,
) -> Pixels:
    """Whiten the picture and let flakes fall over it, in both directions of one line."""
    levels = to_levels(pixels)
    flakes = generator.normal(mean, deviation, pixels.shape[:2]).astype(np.float32)
    flakes = zoomed(flakes[None], zoom)
    flakes[flakes < threshold] = 0
    flakes = moved_along(np.clip(flakes, 0, 1), half_way, width, generator.uniform(-135, -45))[0]
    grey = (levels @ GREY)[:, :, None]
    whitened = share * levels + (1 - share) * np.maximum(levels, grey * 1.5 + 0.5)
    return to_pixels(whitened + (flakes + flakes[::-1, ::-1])[:, :, None])


def frost(pixels: Pixels, generator: np.random.Generator, share: float, frost_share: float) -> Pixels:
    """Lay frost over the picture: a made pattern, where the published files have photographs of frost."""
    pattern = frost_pattern(pixels.shape[0], generator)
    return to_pixels(np.float32(share) * to_levels(pixels) + np.float32(frost_share) * pattern)


def fog(pixels: Pixels, generator: np.random.Generator, strength: float, decay: float) -> Pixels:
    """Lay a plasma over the picture and scale the sum back to the picture's range."""
    levels = to_levels(pixels)
    highest = levels.max()
    side = 1 << (pixels.shape[0] - 1).bit_length()
    layer = plasma(side, decay, generator)[: pixels.shape[0], : pixels.shape[1], None]
    return to_pixels((levels + np.float32(strength) * layer) * (highest / (highest + strength)))


def brightness(pixels: Pixels, generator: np.random.Generator, added: float) -> Pixels:
    """Add to the value of each pixel, at the same hue and saturation."""
    levels = to_levels(pixels)
    value = levels.max(axis=2, keepdims=True)
    raised = np.clip(value + np.float32(added), 0, 1)
    # Black has no hue, so it becomes grey.
    lifted: Levels = np.where(value > 0, levels * (raised / np.maximum(value, np.float32(1e-9))), raised)
    return to_pixels(lifted)
