"""COCO's three ways to write a mask: polygons, run lengths as a list, run lengths as a text; and boxes of masks.

A mask is filled exactly as COCO's own tools fill it, so that its pixels and its scores are the same. They count pixels
down the columns, from the left one to the right one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnext.data.dense.splits import Boxes, Masks

# COCO draws the outline of a polygon on a grid five times as fine as the pixels.
FINENESS = 5
# A run length is written in pieces of five bits, each a printable character from this one on.
PIECE_BITS, FIRST_CHARACTER = 5, 48
Mask = NDArray[np.bool_]


def mask_from(segmentation: Any, height: int, width: int) -> Mask:
    """Return the mask (height, width) that an annotation's "segmentation" describes.

    ValueError, with what is wrong as its text, where it describes none or one of another size.
    """
    if isinstance(segmentation, dict):
        counts, size = segmentation.get("counts"), segmentation.get("size")
        if list(size or ()) != [height, width]:
            raise ValueError(f"its mask has the size {size} and the picture {[height, width]} (height, width)")
        return from_run_lengths(read_counts(counts) if isinstance(counts, str | bytes) else counts, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("its segmentation is neither polygons nor run lengths")
    mask = np.zeros((height, width), dtype=np.bool_)
    for polygon in segmentation:
        mask |= from_polygon(polygon, height, width)
    return mask


def from_polygon(corners: Sequence[float], height: int, width: int) -> Mask:
    """Return the mask of a polygon x0, y0, x1, y1 ... in pixels; ValueError where it is none.

    The outline is drawn on the fine grid; where it steps from one column of pixels to the next, the pixels below turn
    from outside to inside or back.
    """
    points = np.asarray(corners, dtype=np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise ValueError("its polygon needs three or more pairs of numbers")
    across, down = _outline(points.reshape(-1, 2))
    steps = np.flatnonzero(np.diff(across))
    before, after = across[steps], across[steps + 1]
    # A step belongs to the fine column on its left: going right to the one that is left, going left to the one entered.
    column = (np.where(after < before, after, after - 1) + 0.5) / FINENESS - 0.5
    row = (np.minimum(down[steps], down[steps + 1]) + 0.5) / FINENESS - 0.5
    inside = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip(row[inside], 0, height)).astype(np.int64)
    turns = np.bincount(column[inside].astype(np.int64) * height + row, minlength=height * width)[: height * width]
    filled: Mask = np.cumsum(turns) % 2 == 1
    return filled.reshape(width, height).T


def from_run_lengths(counts: Any, height: int, width: int) -> Mask:
    """Return the mask of run lengths, outside first; ValueError where they do not fill the picture."""
    lengths = np.asarray(counts)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"its run lengths do not add up to the {height * width:,} pixels of the picture")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def read_counts(text: str | bytes) -> list[int]:
    """Return the run lengths that a text holds; ValueError where it ends within one.

    Each is a signed number in pieces of five bits, the lowest first; from the fourth on it is what is to be added to
    the last but one.
    """
    data = text.encode("latin-1") if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for character in data:
        piece = character - FIRST_CHARACTER
        if not 0 <= piece < 64:
            raise ValueError(f"its run lengths have the character {chr(character)!r}")
        value |= (piece & 31) << shift
        shift += PIECE_BITS
        if piece & 32:
            continue
        if piece & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its run lengths end within a number")
    return counts


def run_lengths(mask: Mask) -> list[int]:
    """Return the run lengths of a mask (height, width), outside first."""
    line = mask.T.reshape(-1)
    turns = np.flatnonzero(np.diff(line)) + 1
    lengths = np.diff(np.concatenate([[0], turns, [len(line)]])).tolist()
    return [0, *lengths] if len(line) and line[0] else lengths


def boxes_of(masks: Masks) -> Boxes:
    """Return the tight box of each mask (M, height, width): float32 (M, 4); zeros for an empty one."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    rows = np.asarray(masks.any(axis=2))
    columns = np.asarray(masks.any(axis=1))
    for start, line in ((0, columns), (1, rows)):
        if line.shape[1]:
            boxes[:, start] = line.argmax(axis=1)
            boxes[:, start + 2] = line.shape[1] - line[:, ::-1].argmax(axis=1)
    boxes[~rows.any(axis=1)] = 0
    return boxes


def _outline(points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the points of the closed outline on the fine grid, in order: columns and rows."""
    fine = np.trunc(FINENESS * points + 0.5).astype(np.int64)
    across: list[NDArray[np.int64]] = []
    down: list[NDArray[np.int64]] = []
    for start, end in zip(fine, np.roll(fine, -1, axis=0), strict=True):
        length = np.abs(end - start)
        # Along the longer direction, always upwards, so that an edge has the same points from either end.
        along = 0 if length[0] >= length[1] else 1
        low, high = (start, end) if start[along] <= end[along] else (end, start)
        steps = np.arange(length[along] + 1)
        slope = (high[1 - along] - low[1 - along]) / length[along] if length[along] else 0.0
        line = [steps, steps]
        line[along] = steps + low[along]
        line[1 - along] = np.trunc(low[1 - along] + slope * steps + 0.5).astype(np.int64)
        forward = slice(None, None, 1 if start[along] <= end[along] else -1)
        across.append(line[0][forward])
        down.append(line[1][forward])
    return np.concatenate(across), np.concatenate(down)
