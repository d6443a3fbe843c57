"""Small pictures in the layouts of the sets."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def paint(path: Path, seed: int, side: int = 24) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 6, 3), dtype=np.uint8)
    # As PNG whatever its name, so that a test knows the pixels.
    Image.fromarray(pixels).save(path, "PNG")
    return path


def paint_all(root: Path, names: Iterable[str]) -> Path:
    for seed, name in enumerate(names):
        paint(root / name, seed)
    return root
