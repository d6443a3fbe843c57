"""How training varies pictures with objects and pictures with label maps, and how evaluation resizes both.

Pure functions; all chance comes from the generator that is passed in (paper, section A.3).
"""

import numpy as np
from PIL import Image

from convnext.data.dense.resize import fitted_size
from convnext.data.dense.sample import Sample, Window, cropped, flipped, resized
from convnext.data.dense.splits import IGNORED, LabelMap
from convnext.data.pictures import Pixels
from convnext.dense_parts import Detect, Segment

CROP_TRIES = 10
# Photometric distortion, each with a chance of a half, as in the reference: most steps of 0..255 added, factors, most
# of a full turn of the hue.
CHANCE = 0.5
BRIGHTNESS_STEPS = 32.0
FACTORS = (0.5, 1.5)
HUE_TURN = 0.1


def vary_objects(sample: Sample, detect: Detect, generator: np.random.Generator, *, flip: float) -> Sample:
    """Return a sample resized to a random short side, perhaps cut before (DETR's branch), perhaps mirrored.

    flip: chance of a mirror image.
    """
    if generator.random() < detect.crop_chance:
        short = _drawn(generator, detect.crop_shorts, detect.crop_step)
        sample = resized(sample, fitted_size(sample.size, short=short, longest=detect.longest))
        sample = cropped(sample, random_window(sample.size, detect.crop_sides, generator))
    short = _drawn(generator, detect.short_sides, detect.short_step)
    sample = resized(sample, fitted_size(sample.size, short=short, longest=detect.longest))
    return flipped(sample) if generator.random() < flip else sample


def vary_labels(sample: Sample, segment: Segment, generator: np.random.Generator, *, crop: int, flip: float) -> Sample:
    """Return a sample resized by a random factor, cut to at most crop x crop, perhaps mirrored, with colours changed.

    crop: side of the window in pixels; a smaller picture is whole, and whoever makes the batch pads it.
    """
    factor = generator.uniform(*segment.ratio)
    longest, short = (int(side * factor) for side in segment.base)
    sample = resized(sample, fitted_size(sample.size, short=short, longest=longest))
    sample = cropped(sample, varied_window(sample, crop, segment.max_class_share, generator))
    if generator.random() < flip:
        sample = flipped(sample)
    if not segment.photometric:
        return sample
    return Sample(pixels=distorted(sample.pixels, generator), objects=sample.objects, labels=sample.labels)


def random_window(size: tuple[int, int], sides: tuple[int, int], generator: np.random.Generator) -> Window:
    """Return a window with sides from the lower to the higher of two, drawn apart, never larger than the picture."""
    height, width = (int(generator.integers(min(side, sides[0]), min(side, sides[1]) + 1)) for side in size)
    return _placed(size, height, width, generator)


def varied_window(sample: Sample, crop: int, max_class_share: float, generator: np.random.Generator) -> Window:
    """Return a window of crop x crop in which no class has a share or more of what is labelled, if ten new ones do."""
    height, width = (min(side, crop) for side in sample.size)
    assert sample.labels is not None, "this is for label maps"
    window = _placed(sample.size, height, width, generator)
    for _ in range(CROP_TRIES):
        top, left = window[:2]
        if max_class_share >= 1 or is_varied(sample.labels[top : top + height, left : left + width], max_class_share):
            break
        window = _placed(sample.size, height, width, generator)
    return window


def is_varied(labels: LabelMap, max_class_share: float) -> bool:
    """Whether there are two classes or more, and none has this share of the labelled pixels or more."""
    counts = np.bincount(labels.reshape(-1), minlength=IGNORED + 1)[:IGNORED]
    return bool(np.count_nonzero(counts) > 1 and counts.max() < max_class_share * counts.sum())


def distorted(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Return pixels with brightness, contrast, saturation and hue changed, each with a chance of a half."""
    if generator.random() < CHANCE:
        pixels = _clipped(pixels + np.float32(generator.uniform(-BRIGHTNESS_STEPS, BRIGHTNESS_STEPS)))
    contrast_first = generator.random() < CHANCE
    if contrast_first:
        pixels = _contrast(pixels, generator)
    saturation = generator.uniform(*FACTORS) if generator.random() < CHANCE else None
    turn = round(generator.uniform(-HUE_TURN, HUE_TURN) * 256) if generator.random() < CHANCE else None
    if saturation is not None or turn is not None:
        hsv = np.array(Image.fromarray(np.ascontiguousarray(pixels)).convert("HSV"))
        if saturation is not None:
            hsv[:, :, 1] = _clipped(hsv[:, :, 1] * np.float32(saturation))
        if turn is not None:
            hsv[:, :, 0] += np.uint8(turn % 256)
        pixels = np.array(Image.frombytes("HSV", (hsv.shape[1], hsv.shape[0]), hsv.tobytes()).convert("RGB"))
    return pixels if contrast_first else _contrast(pixels, generator)


def _contrast(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    if generator.random() < CHANCE:
        return _clipped(pixels * np.float32(generator.uniform(*FACTORS)))
    return pixels


def _clipped(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Pixels:
    return np.clip(values, 0, 255).astype(np.uint8)


def _placed(size: tuple[int, int], height: int, width: int, generator: np.random.Generator) -> Window:
    top, left = (int(generator.integers(side - part + 1)) for side, part in zip(size, (height, width), strict=True))
    return top, left, height, width


def _drawn(generator: np.random.Generator, bounds: tuple[int, int], step: int) -> int:
    """Return one of low, low + step ... up to high."""
    low, high = bounds
    return low + step * int(generator.integers((high - low) // step + 1))
