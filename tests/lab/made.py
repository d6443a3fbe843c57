"""Small sweeps for the tests: narrow nets, few pictures, two epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convnext.lab.recipes import sweep_recipes
from convnext.lab.rows import Kind, rows_of
from convnext.lab.sweep import Made, Sweep
from convnext.roadmap import REGIMES

NARROW = REGIMES["quarter"].scaled(width=4, depths=(1, 1, 1, 1))
SETTINGS = ("data.size=32", "data.batch_size=8", "data.workers=0", "engine.log_every=1")


def made_pictures(folder: Path) -> str:
    """Three class folders of ten noisy squares."""
    generator = np.random.default_rng(0)
    for name, level in (("dark", 70), ("light", 190), ("middle", 130)):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.clip(level + generator.integers(-40, 41, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return str(folder)


def made_sweep(
    data: str,
    *asked: str,
    kind: Kind = "walk",
    seeds: Sequence[int] = (0,),
    epochs: int = 2,
    order: Sequence[str] = (),
    **options: Any,
) -> Sweep:
    """A sweep over the asked rows, all for none."""
    rows = rows_of(kind, NARROW, order)
    modern, classic = sweep_recipes(NARROW, 24, epochs=epochs, settings=SETTINGS, **options)
    return Sweep(
        kind=kind,
        regime=NARROW,
        rows=rows,
        seeds={row.name: tuple(seeds) if not asked or row.name in asked else () for row in rows},
        modern=modern,
        classic=classic,
        data=data,
        made=Made(date="2026-11-22", version="0", commit=None, command="convnext roadmap train DATA"),
    )
