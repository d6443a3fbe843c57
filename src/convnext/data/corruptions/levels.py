"""Between pixels of 8 bits and levels from 0 to 1, in which most corruptions compute."""

import numpy as np
from numpy.typing import NDArray

from convnext.data.pictures import Pixels

Levels = NDArray[np.floating]


def to_levels(pixels: Pixels) -> Levels:
    """Return uint8 pixels as levels from 0 to 1."""
    return pixels.astype(np.float32) / np.float32(255)


def to_pixels(levels: Levels) -> Pixels:
    """Return levels as uint8 pixels, cut off at 0 and 1 and rounded down, as the published files were made."""
    # The tiny addition keeps a level that was a pixel's on its side of the floor.
    scaled: Pixels = (np.clip(levels, 0, 1) * np.float32(255) + np.float32(2.0**-10)).astype(np.uint8)
    return scaled
