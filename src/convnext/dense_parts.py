"""The parts of a recipe that only detection and segmentation have: how their pictures are resized and varied."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from convnext.errors import UserError
from convnext.setting import Part, at_least, is_fraction, setting, switch

# By part: what it is for, and a recipe that has it.
PARTS_OF_TASKS = {"detect": ("detection", "coco-mask-rcnn"), "segment": ("segmentation", "ade20k")}


def not_for(leaf: str, recipe: str) -> str:
    """Return what to say where a setting is of a part that the recipe of this name does not have."""
    part = leaf.partition(".")[0]
    task, example = PARTS_OF_TASKS[part]
    return (
        f"{leaf} belongs to {task}, and the recipe {recipe} is not for it; "
        f"take --task {part} or a recipe such as {example}"
    )


def _rises_from(least: int) -> Callable[[Any], bool]:
    return lambda pair: bool(least <= pair[0] <= pair[1])


@dataclass(frozen=True, kw_only=True)
class Detect(Part):
    """How pictures with objects are resized and varied; the defaults are the official code's for COCO.

    `data.size` is the short side in evaluation; `longest` holds there too.

    short_sides  lowest and highest short side of training, drawn in steps of `short_step`
    longest      most pixels of the long side; where they do not do, the short side is shorter
    crop_chance  share of pictures that are resized to a side of `crop_shorts` and cut before they are resized as above
    crop_shorts  lowest and highest short side before the cut, drawn in steps of `crop_step`
    crop_sides   lowest and highest side of the window that is cut, height and width drawn apart
    """

    short_sides: tuple[int, int] = setting((480, 800), "two rising whole numbers of at least 16", _rises_from(16))
    short_step: int = setting(32, "a whole number of at least 1", at_least(1))
    longest: int = setting(1333, "a whole number of at least 16", at_least(16))
    crop_chance: float = setting(0.5, "a chance from 0 to 1", is_fraction)
    crop_shorts: tuple[int, int] = setting((400, 600), "two rising whole numbers of at least 16", _rises_from(16))
    crop_step: int = setting(100, "a whole number of at least 1", at_least(1))
    crop_sides: tuple[int, int] = setting((384, 600), "two rising whole numbers of at least 8", _rises_from(8))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.longest < self.short_sides[1]:
            raise UserError(
                f"detect.longest must be at least the highest of detect.short_sides ({self.short_sides[1]}), got "
                f"{self.longest}; the paper has 1333 with 800"
            )

    def require_size(self, size: int) -> None:
        """Raise UserError where a short side in evaluation of so many pixels is longer than the long side may be."""
        if self.longest < size:
            raise UserError(
                f"data.size is the short side in evaluation and must be at most detect.longest ({self.longest}), got "
                f"{size}; --size changes all sizes in proportion"
            )

    def stretched(self, stretch: float) -> "Detect":
        """Return the part with all sizes times `stretch`, rounded to multiples of 8 and of at least 16 pixels."""
        if stretch == 1:
            return self
        shorts = _stretched(self.short_sides, stretch)
        return replace(
            self,
            short_sides=shorts,
            short_step=max(8, _multiple(stretch * self.short_step, 8)),
            longest=max(shorts[1], round(stretch * self.longest)),
            crop_shorts=_stretched(self.crop_shorts, stretch),
            crop_step=max(8, _multiple(stretch * self.crop_step, 8)),
            crop_sides=_stretched(self.crop_sides, stretch),
        )


@dataclass(frozen=True, kw_only=True)
class Segment(Part):
    """How pictures with label maps are resized and varied; the defaults are the official code's for ADE20K.

    `data.size` is the side of the random crop in training and of the sliding window in evaluation.

    ratio            lowest and highest factor on `base`, to which a picture is resized in training, its aspect kept
    base             long and short side in pixels that a picture is fitted into, in evaluation as it is
    max_class_share  a crop in which one class takes more is drawn anew, up to ten times; 1 for any crop
    photometric      change brightness, contrast, saturation and hue
    stride           pixels from one sliding window to the next in evaluation
    aux_weight       of the auxiliary head's loss
    """

    ratio: tuple[float, float] = setting(
        (0.5, 2.0), "two rising numbers above 0", lambda pair: 0 < pair[0] <= pair[1] < float("inf")
    )
    base: tuple[int, int] = setting(
        (2048, 512), "a long and a short side of at least 16 pixels", lambda pair: 16 <= pair[1] <= pair[0]
    )
    max_class_share: float = setting(0.75, "above 0 and at most 1", lambda value: 0 < value <= 1)
    photometric: bool = switch(True)
    stride: int = setting(341, "a whole number of pixels of at least 1", at_least(1))
    aux_weight: float = setting(0.4, "a number of at least 0", at_least(0))

    def require_size(self, size: int) -> None:
        """Raise UserError where windows of so many pixels, a stride apart, would leave out pixels."""
        if self.stride > size:
            raise UserError(
                f"segment.stride must be at most the window's side, data.size ({size}), got {self.stride}, which would "
                "leave out pixels; --size changes both in proportion"
            )

    def stretched(self, stretch: float) -> "Segment":
        """Return the part with all sizes times `stretch`; those of `base` are rounded to multiples of 8."""
        if stretch == 1:
            return self
        short, long = _stretched((self.base[1], self.base[0]), stretch)
        return replace(self, base=(long, short), stride=max(1, int(stretch * self.stride)))


def _stretched(pair: tuple[int, int], stretch: float) -> tuple[int, int]:
    low, high = (max(16, _multiple(stretch * side, 8)) for side in pair)
    return low, high


def _multiple(value: float, of: int) -> int:
    return of * round(value / of)
