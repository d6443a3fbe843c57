"""Objects over their picture: boxes, masks, names, and a legend of the classes that are there."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from convnext.errors import UserError, nearest
from convnext.gallery.colours import colour_of
from convnext.gallery.lettering import class_name, line_of
from convnext.gallery.plates import placed
from convnext.gallery.sheet import Item, Scale, enlarged, enlarged_map, scale_of, with_legend

_MASK_OPACITY = 0.42
# Where there are more objects their names are set smaller.
_MANY, _SMALLER, _LEAST_TEXT = 15, 0.85, 11
_DARK = (17, 17, 17)


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """The objects of one picture.

    boxes   (M, 4) x0, y0, x1, y1 in pixels of the picture
    labels  the class of each, by name
    scores  (M,) from 0 to 1; None for objects that are the truth
    masks   (M, H, W) of the picture's size, or None
    """

    boxes: NDArray[np.floating]
    labels: tuple[str, ...]
    scores: NDArray[np.floating] | None
    masks: NDArray[np.bool_] | None

    def __post_init__(self) -> None:
        number = len(self.labels)
        if self.boxes.shape != (number, 4):
            raise UserError(f"boxes must be ({number}, 4) for {number} labels, got {self.boxes.shape}; give each a box")
        if not np.isfinite(self.boxes).all():
            raise UserError("boxes must be numbers, got some that are infinite or none; leave those objects out")
        if self.scores is not None and self.scores.shape != (number,):
            raise UserError(f"scores must be ({number},) for {number} labels, got {self.scores.shape}; give each one")
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != number):
            raise UserError(
                f"masks must be ({number}, H, W) for {number} labels, got {self.masks.shape}; give each object one"
            )


def draw_objects(
    picture: Image.Image, shown: Shown, classes: Sequence[str], *, score_threshold: float = 0.3
) -> Image.Image:
    """Return a copy of the picture with its objects drawn over it, and below them the classes with their counts.

    Objects with a score below the threshold are not drawn, but told of. Small pictures are enlarged (see
    `scale_of`). A class has the same colour in all pictures, by its place in `classes`. UserError for a label that is
    none of the classes, or masks of another size than the picture's.
    """
    numbers = _numbers(shown.labels, classes)
    if shown.masks is not None and len(shown.masks) and shown.masks.shape[1:] != (picture.height, picture.width):
        raise UserError(
            f"masks must be of the picture's height and width, ({picture.height}, {picture.width}), "
            f"got {shown.masks.shape[1:]}; resize them first"
        )
    scale = scale_of(*picture.size)
    kept = _kept(shown, score_threshold)
    # Small objects over large ones, so that none is hidden.
    order = sorted(kept, key=lambda number: -_area(shown.boxes[number]))
    canvas = enlarged(picture, scale)
    if shown.masks is not None:
        canvas = _with_masks(canvas, shown.masks, [(number, numbers[number]) for number in order], scale)
    pen = ImageDraw.Draw(canvas)
    thin = shown.masks is not None
    for number in order:
        _draw_box(pen, _corners(shown.boxes[number], scale), colour_of(numbers[number]), canvas.size, scale, thin=thin)
    _draw_names(pen, shown, numbers, classes, kept, canvas.size, scale)
    hidden = len(shown.labels) - len(kept)
    items = _items([numbers[number] for number in kept], classes)
    return with_legend(canvas, items, _note(bool(kept), hidden, score_threshold), scale)


def _numbers(labels: Sequence[str], classes: Sequence[str]) -> list[int]:
    number_of = {name: number for number, name in reversed(list(enumerate(classes)))}
    for label in labels:
        if label not in number_of:
            raise UserError(f"{label!r} is none of the {len(classes)} classes{nearest(label, classes)}")
    return [number_of[label] for label in labels]


def _kept(shown: Shown, threshold: float) -> list[int]:
    """Return the numbers of the objects to draw, the surest first, of the truth the largest first."""
    if shown.scores is None:
        return sorted(range(len(shown.labels)), key=lambda number: -_area(shown.boxes[number]))
    scores = shown.scores.tolist()
    return sorted((n for n in range(len(scores)) if scores[n] >= threshold), key=lambda number: -scores[number])


def _area(box: NDArray[np.floating]) -> float:
    return float(abs(box[2] - box[0]) * abs(box[3] - box[1]))


def _corners(box: NDArray[np.floating], scale: Scale) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (float(value) * scale.factor for value in box)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _with_masks(
    canvas: Image.Image, masks: NDArray[np.bool_], order: Sequence[tuple[int, int]], scale: Scale
) -> Image.Image:
    """Return the picture with translucent masks, the inner edge of each opaque; order: (object, class) pairs."""
    pixels = np.array(canvas)
    for number, of_class in order:
        rows, columns = masks[number].any(axis=1).nonzero()[0], masks[number].any(axis=0).nonzero()[0]
        if not len(rows):
            continue
        inner = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        mask = enlarged_map(masks[number][inner], scale).astype(bool)
        top, left = rows[0] * scale.factor, columns[0] * scale.factor
        part = pixels[top : top + mask.shape[0], left : left + mask.shape[1]]
        colour = np.array(colour_of(of_class))
        mixed = (1 - _MASK_OPACITY) * part[mask] + _MASK_OPACITY * colour
        part[mask] = mixed.round().astype(np.uint8)
        part[mask & ~binary_erosion(mask, iterations=scale.line_px)] = colour
    return Image.fromarray(pixels)


def _draw_box(
    pen: ImageDraw.ImageDraw,
    corners: tuple[float, float, float, float],
    colour: tuple[int, int, int],
    size: tuple[int, int],
    scale: Scale,
    *,
    thin: bool,
) -> None:
    line = max(1, scale.line_px // 2) if thin else scale.line_px
    x0, y0 = (max(0, min(round(value), side - 1)) for value, side in zip(corners[:2], size, strict=True))
    x1, y1 = (max(0, min(round(value) - 1, side - 1)) for value, side in zip(corners[2:], size, strict=True))
    x1, y1 = max(x0, x1), max(y0, y1)
    # A dark hair line around it parts the box from ground of its own colour.
    pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=_DARK)
    pen.rectangle((x0, y0, x1, y1), outline=colour, width=min(line, (min(x1 - x0, y1 - y0) + 2) // 2))


def _draw_names(
    pen: ImageDraw.ImageDraw,
    shown: Shown,
    numbers: Sequence[int],
    classes: Sequence[str],
    kept: Sequence[int],
    size: tuple[int, int],
    scale: Scale,
) -> None:
    text_px = scale.text_px if len(kept) <= _MANY else max(_LEAST_TEXT, round(_SMALLER * scale.text_px))
    lines, boxes = [], [_corners(shown.boxes[number], scale) for number in kept]
    for number, (left, _, right, _) in zip(kept, boxes, strict=True):
        tail = "" if shown.scores is None else percent(float(shown.scores[number]))
        longest = min(size[0] - text_px, max(0.45 * size[0], right - left))
        name = class_name(classes[numbers[number]], numbers[number])
        lines.append(line_of(name, text_px, longest_px=int(longest), tail=tail))
    plates = placed(lines, boxes, [colour_of(numbers[number]) for number in kept], size)
    # The surest last, so that it lies on top.
    for plate in reversed(plates):
        plate.draw(pen)


def percent(share: float) -> str:
    """Return a share of 1 in whole percent; only what is all is 100%, only what is nothing 0%."""
    if 0 < share < 0.01:
        return "<1%"
    return f"{min(round(100 * share), 99) if share < 1 else 100}%"


def _items(numbers: Sequence[int], classes: Sequence[str]) -> list[Item]:
    counts = sorted(Counter(numbers).items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        Item(colour=colour_of(number), name=class_name(classes[number], number), amount=f"×{count}")
        for number, count in counts
    ]


def _note(any_kept: bool, hidden: int, threshold: float) -> str:
    if not hidden:
        return "" if any_kept else "no objects"
    below = f"{hidden} below {percent(threshold)} not drawn"
    return below if any_kept else f"no objects; {below}"
