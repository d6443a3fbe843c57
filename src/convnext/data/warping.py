"""Shear, translate and turn a picture, as Pillow's affine transform does.

Pillow weighs 4 x 4 neighbours for each pixel, one pixel after another. A shear or a translation needs only the four
along one axis, with the same weights for a whole line, and that goes several times faster line by line.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from convnext.data.colours import to_array, to_image
from convnext.data.pictures import Pixels
from convnext.preprocess import Interpolation

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
TAPS = 4
# Pillow cuts off what follows the point; without this a plain area would fall by one where float32 rounds down.
ROUNDING = 2.0**-10

Floats = NDArray[np.floating]
Fill = tuple[int, ...]


def shear_x(pixels: Pixels, factor: float, fill: Fill, method: Interpolation) -> Pixels:
    """Move each row to the left by `factor` times its depth below the upper edge."""
    return _slide_rows(pixels, factor * (np.arange(pixels.shape[0]) + 0.5), fill, method)


def shear_y(pixels: Pixels, factor: float, fill: Fill, method: Interpolation) -> Pixels:
    """Move each column up by `factor` times its distance from the left edge."""
    return _slide_columns(pixels, factor * (np.arange(pixels.shape[1]) + 0.5), fill, method)


def translate_x(pixels: Pixels, share: float, fill: Fill, method: Interpolation) -> Pixels:
    """Move the picture to the left by a share of its width."""
    height, width, _ = pixels.shape
    return _slide_rows(pixels, np.full(height, share * width), fill, method)


def translate_y(pixels: Pixels, share: float, fill: Fill, method: Interpolation) -> Pixels:
    """Move the picture up by a share of its height."""
    height, width, _ = pixels.shape
    return _slide_columns(pixels, np.full(width, share * height), fill, method)


def rotate(pixels: Pixels, degrees: float, fill: Fill, method: Interpolation) -> Pixels:
    """Turn the picture about its middle, counter-clockwise: by Pillow, for all 16 neighbours count here."""
    colour = fill if len(fill) > 1 else fill[0]
    return to_array(to_image(pixels).rotate(degrees, RESAMPLING[method], fillcolor=colour))


def _slide_rows(pixels: Pixels, shifts: Floats, fill: Fill, method: Interpolation) -> Pixels:
    """Return a picture whose pixel at x is, in row y, what was at x + shifts[y]; `fill` where that lies outside."""
    height, width, channels = pixels.shape
    flat = pixels.reshape(height, -1)
    whole = np.clip(np.floor(shifts), -width - 2, width + 2).astype(np.int64)
    border = int(np.abs(whole).max()) + 2
    padded = np.empty((height, (border + width + border) * channels), dtype=np.uint8)
    padded[:, border * channels : -border * channels] = flat
    for place in (border - 2, border - 1):
        padded[:, place * channels : (place + 1) * channels] = flat[:, :channels]
        padded[:, -(place + 1) * channels : padded.shape[1] - place * channels] = flat[:, -channels:]
    near = np.empty((height, (width + TAPS - 1) * channels), dtype=np.uint8)
    for first, end in _runs(whole):
        start = (int(whole[first]) + border - 1) * channels
        near[first:end] = padded[first:end, start : start + near.shape[1]]
    levels = torch.from_numpy(near).float()
    moved = _weighted(
        [levels[:, tap * channels : (tap + width) * channels] for tap in range(TAPS)],
        [weight[:, None] for weight in _weights(shifts - whole, method)],
    )
    _fill_outside(moved, np.arange(width).repeat(channels)[None, :], shifts[:, None], width, fill)
    return moved.reshape(pixels.shape)


def _slide_columns(pixels: Pixels, shifts: Floats, fill: Fill, method: Interpolation) -> Pixels:
    """Return a picture whose pixel at y is, in column x, what was at y + shifts[x]; `fill` where that lies outside."""
    height, width, channels = pixels.shape
    flat = pixels.reshape(height, -1)
    whole = np.clip(np.floor(shifts), -height - 2, height + 2).astype(np.int64)
    border = int(np.abs(whole).max()) + 2
    padded = np.empty((border + height + border, width * channels), dtype=np.uint8)
    padded[border:-border] = flat
    padded[border - 2 : border] = flat[0]
    padded[border + height : border + height + 2] = flat[-1]
    near = np.empty((height + TAPS - 1, width * channels), dtype=np.uint8)
    for first, end in _runs(whole):
        start, columns = int(whole[first]) + border - 1, slice(first * channels, end * channels)
        near[:, columns] = padded[start : start + len(near), columns]
    levels = torch.from_numpy(near).float()
    moved = _weighted(
        [levels[tap : tap + height] for tap in range(TAPS)],
        [weight.repeat_interleave(channels)[None, :] for weight in _weights(shifts - whole, method)],
    )
    _fill_outside(moved, np.arange(height)[:, None], shifts.repeat(channels)[None, :], height, fill)
    return moved.reshape(pixels.shape)


def _runs(whole: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield first and end of the lines that move by the same whole number of pixels."""
    edges = (np.flatnonzero(whole[1:] != whole[:-1]) + 1).tolist()
    return zip([0, *edges], [*edges, len(whole)], strict=True)


def _weights(parts: Floats, method: Interpolation) -> list[Tensor]:
    """Return the weights of the pixels at -1, 0, 1 and 2 from the whole part of a shift, given the rest of it."""
    part = torch.from_numpy(parts.astype(np.float32))
    if method == "bicubic":
        # Cubic convolution with Pillow's parameter for transforms, -1; its resize has -0.5 and torch -0.75.
        square = part * part
        cube = square * part
        return [2 * square - part - cube, 1 - 2 * square + cube, part + square - cube, cube - square]
    zero = torch.zeros_like(part)
    right = part if method == "bilinear" else (part >= 0.5).float()
    return [zero, 1 - right, right, zero]


def _weighted(views: list[Tensor], weights: list[Tensor]) -> Pixels:
    total = views[0] * weights[0]
    for view, weight in zip(views[1:], weights[1:], strict=True):
        total.addcmul_(view, weight)
    moved: Pixels = total.add_(ROUNDING).clamp_(0, 255).numpy().astype(np.uint8)
    return moved


def _fill_outside(moved: Pixels, places: NDArray[np.int64], shifts: Floats, length: int, fill: Fill) -> None:
    """Write the fill colour where the middle of a pixel comes from outside of the picture."""
    least, end = (np.ceil(edge - 0.5 - shifts).astype(np.int16) for edge in (0, length))
    places = places.astype(np.int16)
    colours = np.tile(np.array(fill, dtype=np.uint8), moved.shape[1] // len(fill))
    if least.max() > 0:
        np.copyto(moved, colours, where=places < least)
    if end.min() < length:
        np.copyto(moved, colours, where=places >= end)
