"""From a picture to the square of pixels that a network sees: varied in training, fixed in evaluation.

Pure functions; in training all chance comes from the generator that is passed in.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext.data.pictures import MAX_PIXELS, PictureError
from convnext.data.splits import LabelSafe
from convnext.preprocess import Preprocess
from convnext.recipe import Augment

Pixels = NDArray[np.uint8]

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
CROP_TRIES = 10


def keep_labels_true(augment: Augment, safe: LabelSafe) -> Augment:
    """Return the augmentation without what would make labels of this source false."""
    low, high = augment.crop_scale
    return replace(
        augment,
        crop_scale=(max(low, safe.min_crop_scale), max(high, safe.min_crop_scale)),
        flip=augment.flip if safe.flip else 0.0,
    )


def train_picture(image: Image.Image, size: int, augment: Augment, generator: np.random.Generator) -> Pixels:
    """Cut a random part, scale it to a square and perhaps mirror it: uint8 (size, size, channels)."""
    left, top, width, height = random_crop(*image.size, augment.crop_scale, augment.crop_ratio, generator)
    method = RESAMPLING[augment.interpolation]
    # One resampling straight from the box; cutting first would copy the pixels once more.
    square = image.resize((size, size), method, box=(left, top, left + width, top + height))
    if generator.random() < augment.flip:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _pixels(square)


def random_crop(
    width: int, height: int, scale: tuple[float, float], ratio: tuple[float, float], generator: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return a random part of a picture as left, top, width, height in pixels.

    Its area is uniform in `scale` (as a share of the picture's), its width / height log-uniform in `ratio`.
    After ten draws that do not fit it is the largest middle part with an allowed ratio. The draws come in the
    order of torchvision's RandomResizedCrop.
    """
    for _ in range(CROP_TRIES):
        area = width * height * generator.uniform(*scale)
        aspect = math.exp(generator.uniform(math.log(ratio[0]), math.log(ratio[1])))
        part_width, part_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < part_width <= width and 0 < part_height <= height:
            top = int(generator.integers(0, height - part_height + 1))
            left = int(generator.integers(0, width - part_width + 1))
            return left, top, part_width, part_height
    part_width, part_height = width, height
    if width / height < ratio[0]:
        part_height = round(width / ratio[0])
    elif width / height > ratio[1]:
        part_width = round(height * ratio[1])
    return (width - part_width) // 2, (height - part_height) // 2, part_width, part_height


def eval_picture(image: Image.Image, preprocess: Preprocess) -> Pixels:
    """Scale and cut a picture as `preprocess` says: uint8 (size, size, channels).

    Equals torchvision's Resize and CenterCrop on the same picture, pixel for pixel.
    """
    size, side = preprocess.size, preprocess.resize_px
    method = RESAMPLING[preprocess.interpolation]
    if preprocess.resize == "squash":
        return _pixels(image.resize((size, size), method))
    width, height = image.size
    scaled = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    if scaled[0] * scaled[1] > MAX_PIXELS:
        raise PictureError(f"a picture of {width} x {height} is too thin to be scaled to a short side of {side}")
    left, top = (round((length - size) / 2) for length in scaled)
    return _pixels(image.resize(scaled, method).crop((left, top, left + size, top + size)))


def _pixels(image: Image.Image) -> Pixels:
    array = np.array(image)
    return array if array.ndim == 3 else array[:, :, None]
