"""Move and scale parts of a picture: what zoom blur, snow, motion blur and the elastic transform are made of."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from convnext.data.corruptions.levels import Levels

# Planes are (channels, height, width): rows lie together in memory, and numpy is fast along them.


def zoomed(planes: Levels, factor: float) -> Levels:
    """Return the middle of square planes enlarged to the same size, between the pixels linearly."""
    first, second, weight = _zoom_places(planes.shape[-1], factor)
    rows = planes[:, first] * (1 - weight[:, None]) + planes[:, second] * weight[:, None]
    enlarged: Levels = rows[:, :, first] * (1 - weight) + rows[:, :, second] * weight
    return enlarged


@cache
def _zoom_places(side: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Levels]:
    """Return for each place of the result the places on both sides of it in the plane, and the weight of the second.

    The corners of the enlarged part meet the corners of the part.
    """
    part = math.ceil(side / factor)
    start = (side - part) // 2
    enlarged = round(part * factor)
    trim = (enlarged - side) // 2
    places = np.arange(trim, trim + side) * (part - 1) / (enlarged - 1)
    first = np.minimum(np.floor(places).astype(np.int64), part - 2)
    return start + first, start + first + 1, (places - first).astype(np.float32)


def moved_along(planes: Levels, half_way: float, width: float, degrees: float) -> Levels:
    """Return planes smeared along a direction, from each pixel on, with weights that fall like one side of a bell.

    half_way: the way is twice that long and a pixel more; width: standard deviation of the weights, pixels;
    degrees: of the direction, downwards from the right. Beyond the edge lies more of the edge.
    """
    steps = np.arange(2 * math.ceil(half_way) + 1)
    weights = np.exp(-(steps**2) / (2 * width**2))
    weights /= weights.sum()
    across = np.ceil(steps * math.cos(math.radians(degrees)) - 0.5).astype(int)
    down = np.ceil(steps * math.sin(math.radians(degrees)) - 0.5).astype(int)
    above, left = max(0, -down.min()), max(0, -across.min())
    borders = ((above, max(0, down.max())), (left, max(0, across.max())))
    padded = np.pad(planes, ((0, 0), *borders), mode="edge")
    height, length = planes.shape[1:]
    total = np.zeros_like(planes)
    for x, y, weight in zip(across + left, down + above, weights, strict=True):
        total += padded[:, y : y + height, x : x + length] * np.float32(weight)
    return total


def sampled(planes: Levels, rows: Levels, columns: Levels, mode: str) -> Levels:
    """Return planes read at fractional places, linearly; mode: how they go on beyond the edge, in scipy's words."""
    return np.stack([ndimage.map_coordinates(plane, (rows, columns), order=1, mode=mode) for plane in planes])


def smoothed_field(field: Levels, width: float) -> Levels:
    """Return a square field smoothed by a bell of that standard deviation, cut off at three, mirrored at the edge."""
    matrix = _smoothing_matrix(len(field), width)
    smooth: Levels = matrix @ field @ matrix.T
    return smooth


@cache
def _smoothing_matrix(side: int, width: float) -> Levels:
    """Return the smoothing of one axis as a matrix: a bell wider than the picture costs no more than a narrow one."""
    matrix: Levels = ndimage.gaussian_filter1d(np.eye(side, dtype=np.float32), width, axis=0, truncate=3.0)
    return matrix
