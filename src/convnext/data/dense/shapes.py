"""Outlines of the made scenes' shapes: polygons around the origin, as large as a circle of radius 1."""

import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float64]  # (corners, 2) across and down

SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
STAR_WAIST = 0.45
CROSS_ARM = 0.34


def outline(shape: str) -> Outline:
    """Return the corners of one of SHAPES."""
    if shape == "circle":
        return _around(np.linspace(0, 2 * np.pi, 64, endpoint=False), 1.0)
    if shape == "square":
        return _around(np.pi / 4 + np.arange(4) * np.pi / 2, 1.0)
    if shape == "triangle":
        return _around(-np.pi / 2 + np.arange(3) * 2 * np.pi / 3, 1.0)
    if shape == "star":
        return _around(-np.pi / 2 + np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2, STAR_WAIST, 1.0))
    if shape == "cross":
        a = CROSS_ARM
        one = np.array([(a, -1), (a, -a), (1, -a)])
        turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
        return np.concatenate([one @ turn.T for turn in turns]) * 0.95
    assert shape == "heart", shape
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    across = 16 * np.sin(t) ** 3
    down = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([across, down - 2.5], axis=1) / 16


def turned(points: Outline, degrees: float) -> Outline:
    """Return an outline turned around the origin."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    rotated: Outline = points @ np.array([[cosine, sine], [-sine, cosine]])
    return rotated


def _around(angles: NDArray[np.float64], radius: NDArray[np.float64] | float) -> Outline:
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)
