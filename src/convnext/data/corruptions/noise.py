"""The corruptions of the group noise: each value on its own, each channel too."""

import numpy as np

from convnext.data.corruptions.levels import to_levels, to_pixels
from convnext.data.pictures import Pixels


def gaussian_noise(pixels: Pixels, generator: np.random.Generator, deviation: float) -> Pixels:
    """Add normal noise, as in low light."""
    noise = generator.standard_normal(pixels.shape, dtype=np.float32)
    noise *= np.float32(deviation)
    return to_pixels(noise + to_levels(pixels))


def shot_noise(pixels: Pixels, generator: np.random.Generator, photons: float) -> Pixels:
    """Count photons, of which a full level has `photons` on average."""
    counted = generator.poisson(to_levels(pixels) * np.float32(photons)).astype(np.float32)
    return to_pixels(counted / np.float32(photons))


def impulse_noise(pixels: Pixels, generator: np.random.Generator, share: float) -> Pixels:
    """Set a share of the values to 0 or to full level, each with the same chance."""
    chance = generator.random(pixels.shape, dtype=np.float32)
    noisy = pixels.copy()
    noisy[chance < share / 2] = 0
    noisy[chance > 1 - share / 2] = 255
    return noisy
