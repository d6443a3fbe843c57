"""The corruptions of the group digital."""

from io import BytesIO

import numpy as np
from PIL import Image

from convnext.data.colours import to_array, to_image
from convnext.data.corruptions.levels import to_levels, to_pixels
from convnext.data.corruptions.resampling import sampled, smoothed_field
from convnext.data.pictures import Pixels


def contrast(pixels: Pixels, generator: np.random.Generator, left: float) -> Pixels:
    """Bring each channel nearer to its mean."""
    levels = to_levels(pixels)
    mean = levels.mean(axis=(0, 1), keepdims=True)
    return to_pixels((levels - mean) * np.float32(left) + mean)


def elastic_transform(
    pixels: Pixels, generator: np.random.Generator, strength: float, width: float, shift: float
) -> Pixels:
    """Move three corners of the middle at random, then each pixel by a smooth random field."""
    side = pixels.shape[0]
    planes = np.ascontiguousarray(to_levels(pixels).transpose(2, 0, 1))
    columns, rows = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    middle, third = side // 2, side // 3
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]) * third + middle
    moved = corners + generator.uniform(-shift, shift, corners.shape)
    # What the result shows at (x, y) lay at (x, y, 1) @ back.
    back = np.linalg.solve(np.column_stack([moved, np.ones(3)]), corners).astype(np.float32)
    from_x = columns * back[0, 0] + rows * back[1, 0] + back[2, 0]
    from_y = columns * back[0, 1] + rows * back[1, 1] + back[2, 1]
    planes = sampled(planes, from_y, from_x, "mirror")
    across, down = (
        smoothed_field(generator.uniform(-1, 1, (side, side)).astype(np.float32), width) * np.float32(strength)
        for _ in range(2)
    )
    return to_pixels(sampled(planes, rows + down, columns + across, "reflect").transpose(1, 2, 0))


def pixelate(pixels: Pixels, generator: np.random.Generator, share: float) -> Pixels:
    """Shrink the picture by averaging and enlarge it again in squares."""
    height, width = pixels.shape[:2]
    small = to_image(pixels).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return to_array(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(pixels: Pixels, generator: np.random.Generator, quality: float) -> Pixels:
    """Write the picture as JPEG and read it back."""
    file = BytesIO()
    to_image(pixels).save(file, "JPEG", quality=int(quality))
    with Image.open(file) as image:
        return to_array(image.convert("RGB"))
