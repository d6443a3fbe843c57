"""The embedded data set: scikit-learn's 1,797 real handwritten digits of 8x8 pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnext.data.splits import LabelSafe, Source, split_by_seed

# A mirrored 2 is no digit, and half of an 8 is another one.
DIGITS_SAFE = LabelSafe(flip=False, min_crop_scale=0.7)


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayStore:
    """Grey pictures held in memory, uint8 (count, height, width)."""

    title: str
    pictures: NDArray[np.uint8]

    def name(self, entry: int) -> str:
        """Return the title and the number."""
        return f"{self.title}/{entry}"

    def picture(self, entry: int) -> Image.Image:
        """Return the array as a picture."""
        return Image.fromarray(self.pictures[entry]).convert("RGB")


def open_digits(*, seed: int, val_fraction: float) -> Source:
    """Return the digits, their values 0..16 scaled to 0..255, split by the seed."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    store = ArrayStore(title="digits", pictures=np.rint(digits.images * (255 / 16)).astype(np.uint8))
    classes = tuple(str(name) for name in digits.target_names)
    labels = digits.target.astype(np.int64)
    train, val = split_by_seed(store, labels, classes, seed=seed, val_fraction=val_fraction)
    return Source(name="digits", classes=classes, train=train, val=val, label_safe=DIGITS_SAFE, has_own_val=False)
