"""What becomes of boxes that leave their picture or have no area."""

import numpy as np
from numpy.typing import NDArray

from convnext.data.dense.splits import Boxes


def cut_to(boxes: Boxes, height: int, width: int) -> Boxes:
    """Return boxes (M, 4) without what lies outside a picture."""
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=np.float32))


def has_area(boxes: Boxes) -> NDArray[np.bool_]:
    """Return for each box (M, 4) whether it is wider and higher than nothing."""
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def box_areas(boxes: Boxes) -> NDArray[np.float32]:
    """Return the square pixels of each box (M, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
