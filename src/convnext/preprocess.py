"""How a picture becomes the square a network was trained to see; this travels with the weights."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from convnext.errors import UserError, nearest

Interpolation = Literal["nearest", "bilinear", "bicubic"]
Resize = Literal["short_side", "squash"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SQUASH_FROM_PX = 384


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The steps from a picture to the input of a network when it is evaluated.

    size: side of the square that the network sees, pixels.
    resize: "short_side" scales the short side to size / crop and cuts the middle; "squash" scales both sides
    to `size` and cuts nothing, so crop is 1 there.
    mean, std: per channel, for values scaled to 0..1; three entries, or one for grey pictures.
    """

    size: int = 224
    resize: Resize = "short_side"
    crop: float = 0.875
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if not _is_number(self.size) or self.size != int(self.size) or self.size < 1:
            raise UserError(f"size must be a whole number of pixels from 1, got {self.size!r}")
        for name, choices in (("resize", get_args(Resize)), ("interpolation", get_args(Interpolation))):
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be {' or '.join(choices)}, got {getattr(self, name)!r}")
        if not _is_number(self.crop) or not 0 < self.crop <= 1:
            raise UserError(f"crop must be above 0 and at most 1, got {self.crop!r}; the paper uses 0.875")
        if self.resize == "squash" and self.crop != 1:
            raise UserError(f"crop must be 1.0 with resize squash, which cuts nothing, got {self.crop}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) not in (1, 3) or not all(map(_is_number, values)):
                raise UserError(f"{name} must be one or three numbers, got {values!r}")
        if len(self.mean) != len(self.std):
            raise UserError(f"mean has {len(self.mean)} entries but std has {len(self.std)}; give equally many")
        if min(self.std) <= 0:
            raise UserError(f"std must be above 0 in each channel, got {self.std!r}")

    @classmethod
    def for_size(cls, size: int) -> "Preprocess":
        """Return the paper's rule: squash from 384 up, below that short side size / 0.875 and the middle."""
        if size >= SQUASH_FROM_PX:
            return cls(size=size, resize="squash", crop=1.0)
        return cls(size=size)

    @property
    def resize_px(self) -> int:
        """The side that the picture is scaled to before the middle is cut: size / crop, rounded down."""
        # The tiny addition keeps a crop that was itself computed as size / resize_px on its side of the floor.
        return math.floor(self.size / self.crop + 1e-6)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """Rebuild what `to_dict` wrote; an unknown or ill-typed field is a UserError."""
        names = [field.name for field in fields(cls)]
        for name in values:
            if name not in names:
                raise UserError(f"preprocessing has no field {name!r}{nearest(name, names)}")
        for name in ("mean", "std"):
            if not isinstance(values.get(name, ()), list | tuple):
                raise UserError(f"{name} must be a list of numbers, got {values[name]!r}")
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**given)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
