"""ReaL: labels of ImageNet's validation pictures made anew, several where a picture shows several things.

The file real.json of github.com/google-research/reassessed-imagenet holds a list of class numbers for each picture, by
the picture's number; 46,837 of 50,000 lists are not empty.
"""

import json
import re
from pathlib import Path

from convnext.errors import UserError
from convnext.labels import NUM_CLASSES_1K

FILE = "real.json"
PICTURE = re.compile(r"ILSVRC2012_val_(\d{8})\.[^/]*$")

RealLabels = tuple[tuple[int, ...], ...]


def read_real_labels(path: Path) -> RealLabels:
    """Return for each picture, in the order of their numbers, its classes as numbers of ImageNet-1K.

    UserError when there is no such file, or it is no list of lists of class numbers.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"there is no {path}; put the labels of github.com/google-research/reassessed-imagenet there, or name the "
            "file with --labels"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); copy it again") from error
    if not isinstance(value, list) or not value or not all(map(_is_classes, value)):
        raise UserError(f"{path} is no list of lists of class numbers from 0 to {NUM_CLASSES_1K - 1}; is it real.json?")
    return tuple(tuple(row) for row in value)


def picture_number(name: str, count: int) -> int:
    """Return the place, from 0, of a validation picture in the list; UserError for another name or number."""
    found = PICTURE.search(name)
    if found is None:
        raise UserError(f"{name} is no name of a validation picture, ILSVRC2012_val_00000001.JPEG, so it has no number")
    number = int(found[1])
    if not 1 <= number <= count:
        raise UserError(f"{name} has number {number}, and there are labels for 1 to {count}")
    return number - 1


def _is_classes(row: object) -> bool:
    return isinstance(row, list) and all(type(one) is int and 0 <= one < NUM_CLASSES_1K for one in row)
