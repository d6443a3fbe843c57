"""Shear, translate and turn a picture, as Pillow's affine transform does.

Pillow weighs 4 x 4 neighbours for each pixel, one pixel after another. A shear or a translation needs only the four
along one axis, with the same weights for a whole line, and that goes several times faster line by line.
"""

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

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
    """Move each row by `factor` times its height below the upper edge."""
    return _slide_rows(pixels, factor * (np.arange(pixels.shape[0]) + 0.5), fill, method)


def shear_y(pixels: Pixels, factor: float, fill: Fill, method: Interpolation) -> Pixels:
    """Move each column by `factor` times its distance from the left edge."""
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
    whole, weights = _taps(shifts, width, method)
    border = int(np.abs(whole).max()) + 2
    padded = np.zeros((height, border + width + border, channels), dtype=np.uint8)
    padded[:, border : border + width] = pixels
    padded[:, border - 2 : border] = pixels[:, :1]
    padded[:, border + width : border + width + 2] = pixels[:, -1:]
    windows = sliding_window_view(padded.reshape(height, -1), (width + TAPS - 1) * channels, axis=1)
    near = torch.from_numpy(windows[np.arange(height), (whole + border - 1) * channels]).float()
    views = [near[:, tap * channels : (tap + width) * channels] for tap in range(TAPS)]
    moved = _weighted(views, [weight[:, None] for weight in weights])
    _fill_outside(moved, np.repeat(np.arange(width), channels)[None, :], shifts[:, None], width, np.tile(fill, width))
    return moved.reshape(pixels.shape)


def _slide_columns(pixels: Pixels, shifts: Floats, fill: Fill, method: Interpolation) -> Pixels:
    """Return a picture whose pixel at y is, in column x, what was at y + shifts[x]; `fill` where that lies outside."""
    height, width, channels = pixels.shape
    stride = width * channels
    whole, weights = _taps(shifts, height, method)
    border = int(np.abs(whole).max()) + 2
    padded = np.zeros((border + height + border, stride), dtype=np.uint8)
    padded[border : border + height] = pixels.reshape(height, stride)
    padded[border - 2 : border] = padded[border]
    padded[border + height : border + height + 2] = padded[border + height - 1]
    first = np.repeat(whole + border - 1, channels) * stride + np.arange(stride)
    places = np.arange(height + TAPS - 1)[:, None] * stride + first[None, :]
    near = torch.from_numpy(padded.reshape(-1).take(places)).float()
    views = [near[tap : tap + height] for tap in range(TAPS)]
    moved = _weighted(views, [weight.repeat_interleave(channels)[None, :] for weight in weights])
    _fill_outside(moved, np.arange(height)[:, None], np.repeat(shifts, channels)[None, :], height, np.tile(fill, width))
    return moved.reshape(pixels.shape)


def _taps(shifts: Floats, length: int, method: Interpolation) -> tuple[NDArray[np.int64], list[torch.Tensor]]:
    """Return the whole pixels of each shift, and the weights of the neighbours at -1, 0, 1 and 2 from there."""
    whole = np.floor(shifts)
    part = torch.from_numpy((shifts - whole).astype(np.float32))
    zero = torch.zeros_like(part)
    square, cube = part**2, part**3
    weights = {
        # Cubic convolution with Pillow's parameter for transforms, -1; its resize has -0.5 and torch -0.75.
        "bicubic": [2 * square - part - cube, 1 - 2 * square + cube, part + square - cube, cube - square],
        "bilinear": [zero, 1 - part, part, zero],
        "nearest": [zero, (part < 0.5).float(), (part >= 0.5).float(), zero],
    }[method]
    # Beyond the picture all is fill, however far.
    return np.clip(whole, -length - 2, length + 2).astype(np.int64), weights


def _weighted(views: list[torch.Tensor], weights: list[torch.Tensor]) -> Pixels:
    total = views[0] * weights[0]
    for view, weight in zip(views[1:], weights[1:], strict=True):
        total.addcmul_(view, weight)
    moved: Pixels = total.add_(ROUNDING).clamp_(0, 255).numpy().astype(np.uint8)
    return moved


def _fill_outside(
    moved: Pixels, places: NDArray[np.int64], shifts: Floats, length: int, fill: NDArray[np.int64]
) -> None:
    """Write the fill colour where a pixel's centre comes from outside of the picture; all shapes broadcast."""
    least, end = (np.clip(np.ceil(edge - 0.5 - shifts), 0, length).astype(np.int16) for edge in (0, length))
    places = places.astype(np.int16)
    np.copyto(moved, fill.astype(np.uint8), where=(places < least) | (places >= end))
