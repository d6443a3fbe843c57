"""Read one picture file of any common kind as plain 8-bit RGB, or say which file failed and why."""

import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from convnext.errors import UserError

Pixels = NDArray[np.uint8]  # (height, width, channels)

PICTURE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm")
# Only these decoders are tried, whatever the file calls itself: others start programs (EPS) or fetch files.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
# Twice the size at which Pillow starts to warn: about a quarter of a gigabyte of 24-bit pixels, times two.
MAX_PIXELS = 178_956_970

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(UserError):
    """One picture cannot be used; the text names it and gives the reason."""


def read_picture(data: bytes | Path, name: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a picture, turned upright, as mode RGB.

    data: the bytes of the file, or its path; name: what to call it in an error.
    Transparent parts become white, 16-bit grey is scaled to 8 bits, an animation gives its first frame.
    Raises PictureError for a file that is corrupt, truncated, no picture, or has more than `max_pixels`.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and odd metadata; the size is checked here and the rest is harmless.
            warnings.simplefilter("ignore")
            with _stream(data) as stream, Image.open(stream, formats=FORMATS) as image:
                _check_size(image, name, max_pixels)
                image.load()
                turn = upright_turn(image)
                return to_rgb(image if turn is None else image.transpose(turn), name)
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"{name}: refused, it has far too many pixels (a decompression bomb?)") from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{name}: not a picture of a known kind ({', '.join(FORMATS)})") from error
    except Exception as error:  # the decoders raise anything from SyntaxError to struct.error on a bad file
        raise PictureError(f"{name}: cannot be read as a picture ({_reason(error)})") from error


def read_bytes(path: Path, name: str) -> bytes:
    """Return the bytes of a picture's file, or raise PictureError; name: what to call it in an error."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{name}: cannot be read as a picture ({_reason(error)})") from error


def upright_turn(image: Image.Image) -> Image.Transpose | None:
    """Return how a picture has to be turned to stand upright; None where it stands already."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # broken metadata is no reason to lose good pixels
        return None
    return UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Return a loaded picture of any mode as a new RGB picture, transparency on white."""
    if image.mode.startswith("I"):
        return _from_16_bit(image, name).convert("RGB")
    if image.mode == "F":
        raise PictureError(f"{name}: floating-point pixels have no agreed range; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _stream(data: bytes | Path) -> BinaryIO:
    return io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise PictureError(
            f"{name}: refused, {image.width} x {image.height} is {pixels:,} pixels and at most {max_pixels:,} are "
            "read (a decompression bomb?); scale it down"
        )


def _from_16_bit(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise PictureError(f"{name}: its pixels do not fit 16 bits and have no agreed range; save it with 8 or 16")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
