"""The corruptions of the group blur."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from convnext.data.corruptions.levels import Levels, to_levels, to_pixels
from convnext.data.corruptions.resampling import moved_along, zoomed
from convnext.data.pictures import Pixels

LEAST_REACH_PX = 8


def defocus_blur(pixels: Pixels, generator: np.random.Generator, radius: float, soft: float) -> Pixels:
    """Spread each pixel over a disc, as a lens out of focus does."""
    kernel = _disc(radius, soft)
    reach = len(kernel) // 2
    planes = np.pad(to_levels(pixels).transpose(2, 0, 1), ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    blurred = signal.fftconvolve(planes, kernel[None], mode="valid", axes=(1, 2))
    return to_pixels(blurred.transpose(1, 2, 0))


def glass_blur(pixels: Pixels, generator: np.random.Generator, width: float, farthest: float, passes: float) -> Pixels:
    """Blur, let each pixel take the colour of a near one, again and again, and blur once more."""
    blurred = to_pixels(_bell(to_levels(pixels), width))
    height, length, channels = pixels.shape
    order = list(range(height * length))
    far = int(farthest)
    rows = np.arange(height - far, far, -1)
    columns = np.arange(length - far, far, -1)
    places = (rows[:, None] * length + columns).ravel()
    for _ in range(int(passes)):
        across, down = generator.integers(-far, far, (2, len(places)))
        # One after the other, as a colour may travel on. The published files were made by an exchange that, through
        # a slip, only copies: both pixels end with the second one's colour.
        for place, other in zip(places.tolist(), (places + down * length + across).tolist(), strict=True):
            order[place] = order[other]
    shuffled = blurred.reshape(-1, channels)[order].reshape(pixels.shape)
    return to_pixels(_bell(to_levels(shuffled), width))


def motion_blur(pixels: Pixels, generator: np.random.Generator, half_way: float, width: float) -> Pixels:
    """Smear the picture along a direction within 45 degrees of the horizontal."""
    degrees = generator.uniform(-45, 45)
    planes = np.ascontiguousarray(to_levels(pixels).transpose(2, 0, 1))
    return to_pixels(moved_along(planes, half_way, width, degrees).transpose(1, 2, 0))


def zoom_blur(pixels: Pixels, generator: np.random.Generator, end: float, step: float) -> Pixels:
    """Average the picture with itself, zoomed in by more and more."""
    planes = np.ascontiguousarray(to_levels(pixels).transpose(2, 0, 1))
    factors = np.arange(1, end, step)
    total = planes.copy()
    for factor in factors.tolist():
        total += zoomed(planes, factor)
    return to_pixels((total / np.float32(len(factors) + 1)).transpose(1, 2, 0))


def _disc(radius: float, soft: float) -> NDArray[np.float64]:
    reach = max(LEAST_REACH_PX, int(radius))
    line = np.arange(-reach, reach + 1)
    disc = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float64)
    # The edge is softened over one pixel on each side for small discs, over two for others. What would pass the edge of
    # the kernel is mirrored, so that discs that touch it add up to 1% more than 1: so are the published files.
    near = 1 if radius <= LEAST_REACH_PX else 2
    soft_disc: NDArray[np.float64] = ndimage.gaussian_filter(disc / disc.sum(), soft, radius=near, mode="mirror")
    return soft_disc


def _bell(levels: Levels, width: float) -> Levels:
    blurred: Levels = ndimage.gaussian_filter(levels, (width, width, 0), mode="nearest")
    return blurred
