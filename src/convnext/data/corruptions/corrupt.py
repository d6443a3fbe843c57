"""Corrupt a picture, or every picture of a store, always in the same way for the same seed."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from convnext.data.augment import eval_picture
from convnext.data.colours import to_image
from convnext.data.corruptions.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from convnext.data.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from convnext.data.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from convnext.data.corruptions.table import NAMES, SIZE_PX, check_severity, corruption_named
from convnext.data.corruptions.weather import brightness, fog, frost, snow
from convnext.data.pictures import Pixels
from convnext.data.splits import Store
from convnext.errors import UserError
from convnext.preprocess import Preprocess

# How the published files were made: short side 256, the middle 224, then the corruption, then JPEG of this quality.
BEFORE = Preprocess(size=SIZE_PX, interpolation="bilinear")
WRITTEN_QUALITY = 85

FUNCTIONS: dict[str, Callable[..., Pixels]] = {
    function.__name__: function
    for function in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        snow,
        frost,
        fog,
        brightness,
        contrast,
        elastic_transform,
        pixelate,
        jpeg_compression,
    )
}


def corrupt(pixels: Pixels, name: str, severity: int, generator: np.random.Generator) -> Pixels:
    """Return a square colour picture with one of the fifteen corruptions: uint8 (side, side, 3).

    The parameters are made for a side of 224. UserError for an unknown name or severity, or another shape.
    """
    corruption = corruption_named(name)
    if pixels.ndim != 3 or pixels.shape[0] != pixels.shape[1] or pixels.shape[2] != 3:
        raise UserError(f"a corruption takes square colour pictures, got {pixels.shape}; cut them first")
    return FUNCTIONS[name](pixels, generator, *corruption.parameters[check_severity(severity) - 1])


@dataclass(frozen=True, kw_only=True)
class CorruptedStore:
    """The pictures of a store as ImageNet-C has them: 224 x 224, corrupted, and through JPEG.

    The draw of a picture follows from seed, its entry, corruption and severity alone.
    """

    store: Store
    corruption: str
    severity: int
    seed: int = 0

    def name(self, entry: int) -> str:
        """Return the name of the clean picture."""
        return self.store.name(entry)

    def picture(self, entry: int) -> Image.Image:
        """Return the corrupted picture in mode RGB, or raise PictureError."""
        square = eval_picture(self.store.picture(entry), BEFORE)
        chosen = (self.seed, entry, NAMES.index(self.corruption), self.severity)
        generator = np.random.default_rng(np.random.SeedSequence(chosen))
        file = BytesIO()
        to_image(corrupt(square, self.corruption, self.severity, generator)).save(file, "JPEG", quality=WRITTEN_QUALITY)
        with Image.open(file) as image:
            return image.convert("RGB")
