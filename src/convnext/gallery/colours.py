"""Colours of classes: the same for a number wherever it is drawn; the first are told apart by the colour-blind too."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from convnext.errors import UserError

MOST_COLOURS = 255
Colour = tuple[int, int, int]

# The first ones by hand: pleasant on photographs, and nearly as far apart for the colour-blind as for others.
_FIRST = ("#f2622e", "#2f7de1", "#ffcd00", "#12a37f", "#ca41db", "#56d2f5", "#7eef5b", "#7531e0", "#ff8fb3", "#8c4a14")
# Candidates for the rest; greys, which mean "ignored", and what is lost on dark or light ground are left out.
_STEPS, _LEAST_LIGHT, _MOST_LIGHT, _LEAST_CHROMA = 18, 0.38, 0.93, 0.055
# What red-blind and green-blind people see of linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
_RED_BLIND = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
_GREEN_BLIND = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
# Their space is flatter, so that a distance in it counts more; else it alone would choose.
_BLIND_WEIGHT = 1.6


def palette(count: int) -> NDArray[np.uint8]:
    """Return (count, 3) RGB colours that are told apart; colour i is the same whatever the count, 0 to 255."""
    if not 0 <= count <= MOST_COLOURS:
        raise UserError(
            f"a label map holds 0 to {MOST_COLOURS} classes, got {count}; draw the ones that matter, or join some"
        )
    return _all_colours()[:count].copy()


def colour_of(number: int) -> Colour:
    """Return the colour of class `number`; beyond the 255th they begin anew."""
    red, green, blue = _all_colours()[number % MOST_COLOURS].tolist()
    return red, green, blue


def ink_on(colour: Colour) -> Colour:
    """Return near-black or white, whichever stands out more on a colour (the contrast of WCAG 2, at least 4.5)."""
    light = float(luminance(np.array(colour, dtype=np.uint8)))
    return (17, 17, 17) if (light + 0.05) / 0.055 > 1.05 / (light + 0.05) else (255, 255, 255)


def luminance(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the relative luminance (0 to 1) of colours (..., 3)."""
    light: NDArray[np.float64] = _linear(rgb) @ np.array([0.2126, 0.7152, 0.0722])
    return light


def oklab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return colours (..., 3) in Oklab, in which a distance is about what the eye finds it to be."""
    return _oklab_of_linear(_linear(rgb))


@cache
def _all_colours() -> NDArray[np.uint8]:
    """Return all colours: the first by hand, each further one the candidate that is farthest from those before."""
    first = np.array([list(bytes.fromhex(code[1:])) for code in _FIRST], dtype=np.uint8)
    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = oklab(grid)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    grid = grid[(lab[:, 0] >= _LEAST_LIGHT) & (lab[:, 0] <= _MOST_LIGHT) & (chroma >= _LEAST_CHROMA)]
    seen = _as_seen(grid)
    nearest = np.full(len(grid), np.inf)
    for colour in first:
        nearest = np.minimum(nearest, _distances(seen, _as_seen(colour[None])))
    chosen = list(first)
    while len(chosen) < MOST_COLOURS:
        farthest = int(nearest.argmax())
        chosen.append(grid[farthest])
        nearest = np.minimum(nearest, _distances(seen, seen[:, farthest : farthest + 1]))
    colours = np.stack(chosen)
    colours.flags.writeable = False
    return colours


def _as_seen(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (3, N, 3): colours in Oklab as most people, the red-blind and the green-blind see them."""
    linear = _linear(rgb)
    views = [linear, *(np.clip(linear @ np.array(matrix).T, 0, 1) for matrix in (_RED_BLIND, _GREEN_BLIND))]
    return np.stack([_oklab_of_linear(view) for view in views])


def _distances(seen: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = np.linalg.norm(seen - one, axis=-1)
    nearest: NDArray[np.float64] = np.minimum(apart[0], _BLIND_WEIGHT * apart[1:].min(axis=0))
    return nearest


def _linear(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = rgb.astype(np.float64) / 255
    linear: NDArray[np.float64] = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear


def _oklab_of_linear(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    lab: NDArray[np.float64] = np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )
    return lab
