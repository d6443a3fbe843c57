"""Two random patterns: plasma for fog, and frost as ferns of ice needles."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from convnext.data.corruptions.levels import Levels

ROUGHNESS = 100.0
# Mean colour and deviation of the five photographs that the published files draw from (two of them are the same).
# The photographs themselves are not shipped; these numbers keep made frost as bright and as strong.
FROST_KINDS: tuple[tuple[tuple[float, float, float], float], ...] = (
    ((78, 149, 166), 20),
    ((201, 205, 214), 22),
    ((201, 205, 214), 22),
    ((138, 153, 165), 28),
    ((112, 123, 135), 42),
)
FERNS = 40
FERN_LENGTH_PX = (30.0, 130.0)
NEEDLE_EVERY_PX = 4.0
SUPERSAMPLED = 2
BASE_DECAY = 1.6
BASE_SHARE = 1.0


def plasma(side: int, decay: float, generator: np.random.Generator) -> Levels:
    """Return a cloud by the diamond-square method on a torus, from 0 to 1: (side, side), side a power of two.

    decay: at each finer scale the random part is decay squared times smaller.
    """
    field = np.zeros((side, side))
    step, roughness = side, ROUGHNESS

    def varied(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return sums / 4 + roughness**2 * generator.uniform(-1, 1, sums.shape)

    while step > 1:
        half = step // 2
        corners = field[::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        field[half::step, half::step] = varied(pairs + np.roll(pairs, -1, axis=1))
        middles = field[half::step, half::step]
        below, beside = middles + np.roll(middles, 1, axis=0), middles + np.roll(middles, 1, axis=1)
        field[::step, half::step] = varied(corners + np.roll(corners, -1, axis=1) + below)
        field[half::step, ::step] = varied(corners + np.roll(corners, -1, axis=0) + beside)
        step, roughness = half, roughness / decay
    field -= field.min()
    cloud: Levels = (field / field.max()).astype(np.float32)
    return cloud


def frost_pattern(side: int, generator: np.random.Generator) -> Levels:
    """Return frost that fills a square: levels (side, side, 3), of one of five colours and strengths."""
    colour, deviation = FROST_KINDS[generator.integers(len(FROST_KINDS))]
    base = plasma(1 << (side - 1).bit_length(), BASE_DECAY, generator)[:side, :side]
    ice = BASE_SHARE * _standard(base) + _standard(_ferns(side, generator))
    frost = np.array(colour, dtype=np.float32) + np.float32(deviation) * _standard(ice)[:, :, None]
    levels: Levels = np.clip(frost, 0, 255) / np.float32(255)
    return levels


def _ferns(side: int, generator: np.random.Generator) -> Levels:
    """Return stems with needles on both sides that grow shorter towards the tip, drawn over each other."""
    canvas = Image.new("L", (side * SUPERSAMPLED, side * SUPERSAMPLED), 40)
    pen = ImageDraw.Draw(canvas)
    for _ in range(FERNS):
        root = generator.uniform(0, side, 2)
        heading, spread = generator.uniform(0, 2 * math.pi), generator.uniform(0.5, 1.0)
        length, shade = generator.uniform(*FERN_LENGTH_PX), int(generator.integers(70, 256))
        direction = np.array([math.cos(heading), math.sin(heading)])
        _line(pen, root, root + length * direction, shade, 2)
        ways = np.arange(0, length, NEEDLE_EVERY_PX)
        for side_of_stem in (-spread, spread):
            angles = heading + side_of_stem * generator.uniform(0.7, 1.3, len(ways))
            reaches = generator.uniform(0.1, 0.5, len(ways)) * (length - ways) + 2
            for way, angle, reach in zip(ways, angles.tolist(), reaches.tolist(), strict=True):
                start = root + way * direction
                _line(pen, start, start + reach * np.array([math.cos(angle), math.sin(angle)]), shade, 1)
    small = canvas.resize((side, side), Image.Resampling.BOX)
    return np.asarray(small).astype(np.float32)


def _line(
    pen: ImageDraw.ImageDraw, start: NDArray[np.float64], end: NDArray[np.float64], shade: int, width: int
) -> None:
    pen.line((*(start * SUPERSAMPLED), *(end * SUPERSAMPLED)), fill=shade, width=width)


def _standard(field: Levels) -> Levels:
    """Return a field with mean 0 and deviation 1."""
    standard: Levels = (field - field.mean()) / (field.std() + np.float32(1e-6))
    return standard
