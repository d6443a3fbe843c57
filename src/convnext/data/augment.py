"""From a picture to the square of pixels that a network sees: varied in training, fixed in evaluation.

Pure functions; in training all chance comes from the generator that is passed in.
"""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from convnext.data.colours import to_array, to_image
from convnext.data.pictures import MAX_PIXELS, PictureError, Pixels
from convnext.data.randaugment import randaugment
from convnext.data.splits import LabelSafe
from convnext.data.uncut import FineBox, LoadedPicture, Uncut
from convnext.data.warping import RESAMPLING
from convnext.policy import parse_randaugment
from convnext.preprocess import Interpolation, Preprocess
from convnext.recipe import Augment

CROP_TRIES = 10


def keep_labels_true(augment: Augment, safe: LabelSafe) -> Augment:
    """Return the augmentation without what would make labels of this source false."""
    low, high = augment.crop_scale
    return replace(
        augment,
        crop_scale=(max(low, safe.min_crop_scale), max(high, safe.min_crop_scale)),
        flip=augment.flip if safe.flip else 0.0,
    )


def cut_square(picture: Uncut | Image.Image, size: int, augment: Augment, generator: np.random.Generator) -> Pixels:
    """Cut a random part, scale it to a square and perhaps mirror it: uint8 (size, size, channels).

    augment: as `keep_labels_true` leaves it.
    """
    uncut = LoadedPicture(image=picture) if isinstance(picture, Image.Image) else picture
    box = random_crop(*uncut.size, augment.crop_scale, augment.crop_ratio, generator)
    square = scale_part(*uncut.part(box, size), size, augment.interpolation)
    if generator.random() < augment.flip:
        # torch turns pixels of three bytes round ten times faster than numpy.
        square = torch.from_numpy(square).flip(1).numpy()
    return square


def vary_square(square: Pixels, augment: Augment, generator: np.random.Generator, *, safe: LabelSafe) -> Pixels:
    """RandAugment what `cut_square` returned, given the generator as it was left there.

    safe: no translation moves more out of sight than it allows.
    """
    if augment.randaugment is None:
        return square
    policy = _policy(augment.randaugment)
    return randaugment(square, policy, augment.interpolation, generator, most_translation=1 - safe.min_crop_scale)


_policy = cache(parse_randaugment)


def scale_part(pixels: Pixels, box: FineBox, size: int, method: Interpolation) -> Pixels:
    """Scale a box of a picture to a square of this side, with antialiasing: uint8 (size, size, channels).

    torch does it, where the box lies on whole pixels, as Pillow did until version 12: first along the rows and then
    along the columns, in fixed point. Its weights have 16 bits and Pillow's 22, which moves some values by one level.
    """
    left, top, width, height = box
    if method == "nearest" or any(edge != int(edge) for edge in box):
        image = to_image(pixels).resize((size, size), RESAMPLING[method], (left, top, left + width, top + height))
        return to_array(image)
    rows, columns = slice(int(top), int(top + height)), slice(int(left), int(left + width))
    # Cut as a batch of one, by which torch sees that the channels come last, and leaves them there.
    batch = torch.from_numpy(pixels)[None, rows, columns].permute(0, 3, 1, 2)
    scaled = F.interpolate(batch, (size, size), mode=method, antialias=True)
    square: Pixels = scaled.permute(0, 2, 3, 1)[0].contiguous().numpy()
    return square


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
        return to_array(image.resize((size, size), method))
    width, height = image.size
    scaled = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    if scaled[0] * scaled[1] > MAX_PIXELS:
        raise PictureError(f"a picture of {width} x {height} is too thin to be scaled to a short side of {side}")
    left, top = (round((length - size) / 2) for length in scaled)
    return to_array(image.resize(scaled, method).crop((left, top, left + size, top + size)))
