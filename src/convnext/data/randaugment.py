"""RandAugment: a few operations out of fifteen, drawn anew for each picture (paper, section A.1), as timm does it.

A draw is made first and carried out afterwards, so that what is drawn does not depend on the picture.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from convnext.data import colours, warping
from convnext.data.pictures import Pixels
from convnext.policy import MOST_MAGNITUDE, RandAugmentPolicy
from convnext.preprocess import IMAGENET_MEAN, Interpolation

# What comes into view from outside of a picture: ImageNet's mean colour, and its grey.
FILL = {
    3: tuple(round(255 * mean) for mean in IMAGENET_MEAN),
    1: (round(255 * sum(IMAGENET_MEAN) / 3),),
}
# timm takes a greater noise for "anything from 0 to the magnitude".
UNIFORM_ABOVE_STD = 100
TRANSLATION = 0.45
TRANSLATIONS = ("TranslateX", "TranslateY")

Level = Callable[[float, np.random.Generator], Any]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation by name, with its argument: degrees, a factor, a threshold and so on; None where it has none."""

    name: str
    argument: Any = None


def randaugment(
    pixels: Pixels,
    policy: RandAugmentPolicy,
    interpolation: Interpolation,
    generator: np.random.Generator,
    *,
    most_translation: float = TRANSLATION,
) -> Pixels:
    """Draw operations and carry them out on uint8 (height, width, channels), one channel or three.

    interpolation: how shears, translations and rotations are resampled.
    most_translation: share of the picture that a translation may move out of sight.
    """
    for step in draw_steps(policy, generator):
        if step.name in TRANSLATIONS:
            step = Step(name=step.name, argument=min(max(step.argument, -most_translation), most_translation))
        pixels = carry_out(pixels, step, interpolation)
    return pixels


def draw_steps(policy: RandAugmentPolicy, generator: np.random.Generator) -> list[Step]:
    """Return the operations that the next picture gets, in order; often there are fewer than `policy.ops`."""
    levels = INCREASING if policy.increasing else MIXED
    names = list(levels)
    steps = []
    for chosen in generator.integers(0, len(names), policy.ops).tolist():
        if generator.random() >= policy.chance:
            continue
        level = levels[names[chosen]]
        magnitude = _magnitude(policy, generator)
        steps.append(Step(name=names[chosen], argument=None if level is None else level(magnitude, generator)))
    return steps


def carry_out(pixels: Pixels, step: Step, interpolation: Interpolation) -> Pixels:
    """Return the picture after one operation."""
    if step.name in WARPS:
        return WARPS[step.name](pixels, step.argument, FILL[pixels.shape[2]], interpolation)
    if step.argument is None:
        return COLOURS[step.name](pixels)
    return COLOURS[step.name](pixels, step.argument)


def _magnitude(policy: RandAugmentPolicy, generator: np.random.Generator) -> float:
    magnitude = policy.magnitude
    if policy.std > UNIFORM_ABOVE_STD:
        magnitude = generator.uniform(0, magnitude)
    elif policy.std > 0:
        magnitude = generator.normal(magnitude, policy.std)
    return min(max(magnitude, 0.0), policy.most)


def _either_sign(most: float, magnitude: float, generator: np.random.Generator) -> float:
    value = magnitude / MOST_MAGNITUDE * most
    return -value if generator.random() < 0.5 else value


def _factor(magnitude: float, generator: np.random.Generator) -> float:
    """Return a factor that is 1, no change, in the middle of the magnitudes."""
    return magnitude / MOST_MAGNITUDE * 1.8 + 0.1


def _factor_away_from_one(magnitude: float, generator: np.random.Generator) -> float:
    return max(0.1, 1.0 + _either_sign(0.9, magnitude, generator))


def _whole(most: int, magnitude: float, generator: np.random.Generator) -> int:
    return int(magnitude / MOST_MAGNITUDE * most)


def _whole_below(most: int, magnitude: float, generator: np.random.Generator) -> int:
    return most - _whole(most, magnitude, generator)


# timm's sets, in its order: from a magnitude of 0 to 10 to the argument of the operation. In the increasing set a
# higher magnitude always means a stronger change.
INCREASING: Mapping[str, Level | None] = {
    "AutoContrast": None,
    "Equalize": None,
    "Invert": None,
    "Rotate": partial(_either_sign, 30.0),
    "Posterize": partial(_whole_below, 4),
    "Solarize": partial(_whole_below, 256),
    "SolarizeAdd": partial(_whole, 110),
    "Color": _factor_away_from_one,
    "Contrast": _factor_away_from_one,
    "Brightness": _factor_away_from_one,
    "Sharpness": _factor_away_from_one,
    "ShearX": partial(_either_sign, 0.3),
    "ShearY": partial(_either_sign, 0.3),
    **dict.fromkeys(TRANSLATIONS, partial(_either_sign, TRANSLATION)),
}
MIXED: Mapping[str, Level | None] = {
    **INCREASING,
    "Posterize": partial(_whole, 4),
    "Solarize": partial(_whole, 256),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), _factor),
}
WARPS: Mapping[str, Callable[[Pixels, float, tuple[int, ...], Interpolation], Pixels]] = {
    "Rotate": warping.rotate,
    "ShearX": warping.shear_x,
    "ShearY": warping.shear_y,
    "TranslateX": warping.translate_x,
    "TranslateY": warping.translate_y,
}
COLOURS: Mapping[str, Callable[..., Pixels]] = {
    "AutoContrast": colours.auto_contrast,
    "Equalize": colours.equalize,
    "Invert": colours.invert,
    "Posterize": colours.posterize,
    "Solarize": colours.solarize,
    "SolarizeAdd": colours.solarize_add,
    "Color": colours.colour,
    "Contrast": colours.contrast,
    "Brightness": colours.brightness,
    "Sharpness": colours.sharpness,
}
