"""Where in a label map there is room for a name: the widest place of each large region."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, label

# Sought in every n-th pixel of maps larger than this, which is fine enough for a name.
_LONGEST_SOUGHT = 256
# What takes less of the picture than this is left to the legend.
_LEAST_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class Region:
    """Connected pixels of a class: the class's number, and around (x, y) the room for a name, in pixels of the map."""

    number: int
    x: float
    y: float
    width: int
    height: int


def largest_regions(label_map: NDArray[np.uint8], ignore: int) -> list[Region]:
    """Return each connected region of a class that takes a hundredth of the map (H, W) or more, with its room."""
    step = -(-max(label_map.shape) // _LONGEST_SOUGHT)
    coarse = label_map[::step, ::step]
    regions = []
    for number in np.unique(coarse).tolist():
        if number == ignore:
            continue
        parts, _ = label(coarse == number)
        for part, where in enumerate(find_objects(parts), start=1):
            inside = parts[where] == part
            if inside.sum() >= _LEAST_SHARE * coarse.size:
                regions.append(_region(number, inside, (where[0].start, where[1].start), step))
    return regions


def _region(number: int, inside: NDArray[np.bool_], corner: tuple[int, int], step: int) -> Region:
    # A frame of outside, because a region ends where the picture does.
    framed = np.pad(inside, 1)
    # Names are wider than high: a place counts as far from a border above it as from one thrice as far beside it.
    # Among places that are equal by this, the one that is deepest inside by the plain distance.
    depth = (distance_transform_edt(framed, sampling=(3, 1)) + 0.1 * distance_transform_edt(framed))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    width = _run(inside[row], int(column))
    height = _run(inside[:, column], int(row))
    return Region(
        number=number,
        x=(corner[1] + float(column) + 0.5) * step,
        y=(corner[0] + float(row) + 0.5) * step,
        width=width * step,
        height=height * step,
    )


def _run(inside: NDArray[np.bool_], at: int) -> int:
    """Return the length of the longest run that is inside and has `at` in its middle."""
    before, after = inside[: at + 1][::-1], inside[at:]
    free = [len(side) if side.all() else int(side.argmin()) for side in (before, after)]
    return 2 * min(free) - 1
