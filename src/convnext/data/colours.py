"""Change the colours of a picture and not its shape, with exactly the pixels of Pillow and timm.

All for uint8 (height, width, channels), one channel or three. Arithmetic on whole arrays where that is faster than
Pillow; Pillow itself where it is not.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from convnext.data.pictures import Pixels

SMOOTHING = 13  # Pillow's SMOOTH: the 3 x 3 neighbours count 1, the middle 5


def auto_contrast(pixels: Pixels) -> Pixels:
    """Stretch each channel to the whole range."""
    # Row by row, for numpy is ten times slower where the inner axis has three entries.
    rows = pixels.reshape(len(pixels), -1)
    low = rows.min(axis=0).reshape(-1, pixels.shape[2]).min(axis=0).astype(np.float64)
    high = rows.max(axis=0).reshape(-1, pixels.shape[2]).max(axis=0).astype(np.float64)
    plain = high <= low
    # In double precision and in the order of Pillow's arithmetic, for what follows the point is cut off.
    scale = np.where(plain, 1.0, 255.0 / np.where(plain, 1.0, high - low))
    offset = np.where(plain, 0.0, -low * scale)
    stretched: Pixels = (rows * np.tile(scale, pixels.shape[1]) + np.tile(offset, pixels.shape[1])).astype(np.uint8)
    return stretched.reshape(pixels.shape)


def equalize(pixels: Pixels) -> Pixels:
    """Spread the levels of each channel so that each is about equally frequent."""
    return to_array(ImageOps.equalize(to_image(pixels)))


def invert(pixels: Pixels) -> Pixels:
    """Turn each level into its opposite."""
    return 255 - pixels


def posterize(pixels: Pixels, bits: int) -> Pixels:
    """Keep the highest bits (0 to 8) of each level; with none the picture is black."""
    return pixels & np.uint8(256 - (256 >> bits))


def solarize(pixels: Pixels, threshold: int) -> Pixels:
    """Invert the levels from `threshold` (0 to 256) up."""
    return pixels ^ ((pixels >= threshold) * np.uint8(255))


def solarize_add(pixels: Pixels, add: int) -> Pixels:
    """Add to the levels below 128; `add` is at most 128, so that none passes 255."""
    return pixels + (pixels < 128) * np.uint8(add)


def colour(pixels: Pixels, factor: float) -> Pixels:
    """Mix with the grey picture: 0 gives that, 1 the picture, more makes it gaudier."""
    return to_array(ImageEnhance.Color(to_image(pixels)).enhance(factor))


def contrast(pixels: Pixels, factor: float) -> Pixels:
    """Mix with the mean grey: 0 gives plain grey, 1 the picture, more makes it harsher."""
    mean = int(np.asarray(to_image(pixels).convert("L")).mean() + 0.5)
    return _away_from(np.float32(mean), pixels, factor)


def brightness(pixels: Pixels, factor: float) -> Pixels:
    """Mix with black: 0 gives that, 1 the picture, more makes it brighter."""
    return _away_from(np.float32(0), pixels, factor)


def sharpness(pixels: Pixels, factor: float) -> Pixels:
    """Mix with a smoothed picture: 0 gives that, 1 the picture, more sharpens; the outermost pixels stay."""
    sharp = pixels.copy()
    wide = pixels.astype(np.uint16)
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    total = rows[:-2] + rows[1:-1] + rows[2:] + 4 * wide[1:-1, 1:-1]
    smooth = (2 * total + SMOOTHING) // (2 * SMOOTHING)
    sharp[1:-1, 1:-1] = _away_from(smooth.astype(np.float32), pixels[1:-1, 1:-1], factor)
    return sharp


def _away_from(dull: NDArray[np.float32] | np.float32, pixels: Pixels, factor: float) -> Pixels:
    """Go from `dull` to the picture and, with a factor above 1, past it; in float32 and cut off, as Pillow does."""
    moved = pixels - dull
    moved *= np.float32(factor)
    moved += dull
    return np.clip(moved, 0, 255, out=moved).astype(np.uint8)


def to_image(pixels: Pixels) -> Image.Image:
    """Return an array of one or three channels as a picture in mode L or RGB."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def to_array(image: Image.Image) -> Pixels:
    """Return a picture in mode L or RGB as an array."""
    array = np.array(image)
    return array if array.ndim == 3 else array[:, :, None]
