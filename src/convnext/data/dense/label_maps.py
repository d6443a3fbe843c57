"""One label picture: its values as they were written, and what class each value means."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext.data.dense.splits import IGNORED, LabelError, LabelMap
from convnext.data.pictures import MAX_PIXELS, PictureError

FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM")
ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm")
INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")
LARGEST_VALUE = 65535
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_BITS_AT, PNG_COLOURS_AT, PNG_GREY = 24, 25, 0
NO_CLASS = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class Meaning:
    """What values mean: `table[value]` is the class, IGNORED, or NO_CLASS for a value that must not occur.

    table    int16 (65,536,)
    allowed  the values that may occur, in words
    """

    table: NDArray[np.int16]
    allowed: str

    def classes_of(self, values: NDArray[np.int64], name: str) -> LabelMap:
        """Return the label map of values (height, width); LabelError that names a value that is no class."""
        classes = self.table[values]
        if classes.min(initial=0) < 0:
            wrong = sorted(set(values[classes < 0].tolist()))
            raise LabelError(
                f"{name}: value {', '.join(map(str, wrong[:5]))} is no class; allowed are {self.allowed}; mend the "
                "label picture or classes.txt"
            )
        return classes.astype(np.uint8)


def meaning(num_classes: int, *, first: int = 0, ignored: int | None = None) -> Meaning:
    """Return the meaning of values that count classes from `first` on; those below it, 255 and `ignored` mean none."""
    table = np.full(LARGEST_VALUE + 1, NO_CLASS, dtype=np.int16)
    table[first : first + num_classes] = np.arange(num_classes)
    nothing = sorted({*range(first), IGNORED, *(() if ignored is None else (ignored,))})
    table[nothing] = IGNORED
    words = f"{first} to {first + num_classes - 1}, and {', '.join(map(str, nothing))} for what is not labelled"
    return Meaning(table=table, allowed=words)


def mapped_meaning(classes: Mapping[int, int], most: int) -> Meaning:
    """Return the meaning of values of which only some are classes: all others up to `most`, and 255, mean none."""
    table = np.full(LARGEST_VALUE + 1, NO_CLASS, dtype=np.int16)
    table[: most + 1] = table[IGNORED] = IGNORED
    table[list(classes)] = list(classes.values())
    return Meaning(table=table, allowed=f"0 to {most} and {IGNORED}")


def read_values(data: bytes, name: str) -> NDArray[np.int64]:
    """Return the values of a label picture (height, width), 0 to 65,535, of a palette picture its indices.

    PictureError for a file that cannot be read, LabelError for one in colour or in a format that changes values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=(*FORMATS, "JPEG", "WEBP")) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise PictureError(f"{name}: refused, it has more than {MAX_PIXELS:,} pixels")
                if image.format not in FORMATS:
                    raise LabelError(f"{name}: {image.format} changes values as it saves them; save label maps as PNG")
                if image.mode not in INDEX_MODES:
                    raise LabelError(
                        f"{name}: a label map has one number for each pixel, and this is a colour picture "
                        f"({image.mode}); save the numbers of the classes as a grey or palette PNG"
                    )
                values = np.asarray(image).astype(np.int64)
    except (PictureError, LabelError):
        raise
    except Exception as error:  # the decoders raise anything on a bad file
        raise PictureError(f"{name}: cannot be read as a picture ({error or type(error).__name__})") from error
    if values.min(initial=0) < 0 or values.max(initial=0) > LARGEST_VALUE:
        raise LabelError(
            f"{name}: its values must be from 0 to {LARGEST_VALUE:,}, got {values.min()} to {values.max()}"
        )
    return values // _spread(data)


def _spread(data: bytes) -> int:
    """Return the factor by which Pillow spreads the values of a grey PNG of two or four bits over eight."""
    if not data.startswith(PNG_START) or data[PNG_COLOURS_AT] != PNG_GREY:
        return 1
    return {2: 85, 4: 17}.get(data[PNG_BITS_AT], 1)
