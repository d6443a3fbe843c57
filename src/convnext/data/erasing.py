"""Random Erasing: a rectangle of a picture becomes noise, a fresh normal draw for each value (paper, section A.1)."""

import math

import numpy as np
import torch
from torch import Tensor

AREA = (0.02, 1 / 3)
ASPECT = (0.3, 1 / 0.3)
TRIES = 10


def erase(images: Tensor, chance: float, numbers: np.random.Generator, tensors: torch.Generator | None) -> Tensor:
    """Fill a random rectangle of some pictures with standard normal noise, in place, and return them.

    images: floats (N, C, height, width), normalised, so that the noise has the spread of the pictures.
    chance: of each picture to lose a rectangle.
    numbers: decides which pictures and where, on the processor, so that a GPU is not waited for.
    tensors: makes the noise, on the pictures' device; None for torch's own.
    Equals timm's RandomErasing in its mode "pixel" with one rectangle.
    """
    for image in images:
        if numbers.random() >= chance:
            continue
        box = draw_rectangle(image.shape[-2], image.shape[-1], numbers)
        if box is not None:
            top, left, height, width = box
            image[:, top : top + height, left : left + width].normal_(generator=tensors)
    return images


def draw_rectangle(height: int, width: int, numbers: np.random.Generator) -> tuple[int, int, int, int] | None:
    """Return a random rectangle as top, left, height, width in pixels; None after ten draws that do not fit.

    Its area is uniform from 0.02 to 1/3 of the picture's, its height / width log-uniform from 0.3 to 1/0.3, and it is
    smaller than the picture in both directions.
    """
    for _ in range(TRIES):
        area = height * width * numbers.uniform(*AREA)
        aspect = math.exp(numbers.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        part_height, part_width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if part_height < height and part_width < width:
            top = int(numbers.integers(0, height - part_height + 1))
            left = int(numbers.integers(0, width - part_width + 1))
            return top, left, part_height, part_width
    return None
