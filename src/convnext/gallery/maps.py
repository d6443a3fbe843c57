"""A label map over its picture: classes in colour, named where there is room, and a legend by share."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from convnext.errors import UserError
from convnext.gallery.colours import MOST_COLOURS, Colour, colour_of, ink_on, palette
from convnext.gallery.lettering import class_name, line_of
from convnext.gallery.regions import Region, largest_regions
from convnext.gallery.sheet import Item, Scale, enlarged, enlarged_map, hatching, scale_of, with_legend

__all__ = ["draw_map", "palette"]

_BORDER: Colour = (250, 250, 250)
_IGNORED_DARK, _IGNORED_LIGHT, _IGNORED_OPACITY = 70, 150, 0.75


def draw_map(
    picture: Image.Image,
    label_map: NDArray[np.uint8],
    classes: Sequence[str],
    *,
    ignore: int = 255,
    opacity: float = 0.6,
) -> Image.Image:
    """Return a copy of the picture with each pixel in the colour of its class, and below it the classes by share.

    label_map: (H, W) of the picture, class numbers, `ignore` where there is none; such places are hatched in grey and
    count in the shares. Regions are parted by a white line and named where the name has room. Small pictures are
    enlarged (see `scale_of`). UserError for a map of another size, and for numbers that are no classes.
    """
    _check(picture, label_map, classes, ignore, opacity)
    scale = scale_of(*picture.size)
    pixels = np.array(enlarged(picture, scale), dtype=np.float32)
    shown = enlarged_map(label_map, scale).astype(np.uint8)
    colours = np.zeros((256, 3), dtype=np.float32)
    colours[: len(classes)] = palette(len(classes))
    ignored = shown == ignore
    mixed = (1 - opacity) * pixels + opacity * colours[shown]
    if ignored.any():
        mixed[ignored] = _hatched(pixels, scale)[ignored]
    mixed[_borders(shown, scale)] = _BORDER
    canvas = Image.fromarray(mixed.round().astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    for region in largest_regions(label_map, ignore):
        _draw_name(pen, region, classes, scale)
    return with_legend(canvas, _items(label_map, classes, ignore), "", scale)


def _check(
    picture: Image.Image, label_map: NDArray[np.uint8], classes: Sequence[str], ignore: int, opacity: float
) -> None:
    if label_map.shape != (picture.height, picture.width):
        raise UserError(
            f"a label map must be of the picture's height and width, ({picture.height}, {picture.width}), "
            f"got {label_map.shape}; resize it first, to the nearest pixel"
        )
    if not 0 <= opacity <= 1:
        raise UserError(f"opacity must be from 0 to 1, got {opacity}; 0.6 shows map and picture alike")
    if len(classes) > MOST_COLOURS:
        palette(len(classes))
    strange = set(np.unique(label_map).tolist()) - set(range(len(classes))) - {ignore}
    if strange:
        raise UserError(
            f"the label map holds {min(strange)}, which is none of the classes (0 to {len(classes) - 1}) "
            f"nor {ignore} (ignored); map it to one of them first"
        )


def _hatched(pixels: NDArray[np.float32], scale: Scale) -> NDArray[np.float32]:
    grey = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
    stripes = hatching(pixels.shape[0], pixels.shape[1], scale)[..., None]
    tone = np.where(stripes, np.float32(_IGNORED_LIGHT), np.float32(_IGNORED_DARK))
    hatched: NDArray[np.float32] = (1 - _IGNORED_OPACITY) * grey + _IGNORED_OPACITY * tone
    return hatched


def _borders(shown: NDArray[np.uint8], scale: Scale) -> NDArray[np.bool_]:
    """Return the pixels at which a region ends, in a line about as wide as the scale's."""
    borders = np.zeros(shown.shape, dtype=bool)
    for reach in range(1, max(1, scale.line_px // 2) + 1):
        borders[:, :-reach] |= shown[:, reach:] != shown[:, :-reach]
        borders[:-reach] |= shown[reach:] != shown[:-reach]
    return borders


def _draw_name(pen: ImageDraw.ImageDraw, region: Region, classes: Sequence[str], scale: Scale) -> None:
    name = class_name(classes[region.number], region.number)
    line = line_of(name, scale.text_px, longest_px=pen.im.size[0])
    width, height = line.width + scale.text_px // 2, line.height + 2
    if line.text != name or width > region.width * scale.factor or height > region.height * scale.factor:
        return
    left = round(region.x * scale.factor - width / 2)
    top = round(region.y * scale.factor - height / 2)
    colour = colour_of(region.number)
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=colour, outline=_BORDER)
    line.draw(pen, left + (width - line.width) // 2, top + 1, ink_on(colour))


def _items(label_map: NDArray[np.uint8], classes: Sequence[str], ignore: int) -> list[Item]:
    """Return the classes that are in the map, the largest first, and last what is ignored."""
    values, counts = np.unique(label_map, return_counts=True)
    shares = dict(zip(values.tolist(), (counts / label_map.size).tolist(), strict=True))
    ignored = shares.pop(ignore, 0.0)
    items = [
        Item(colour=colour_of(number), name=class_name(classes[number], number), amount=share_text(share))
        for number, share in sorted(shares.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    return [*items, Item(colour=None, name="ignored", amount=share_text(ignored))] if ignored else items


def share_text(share: float) -> str:
    """Return a share of 1 in percent, with a decimal below 10%; only what is all is 100%."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "<0.1%"
    if percent < 9.95:
        return f"{percent:.1f}%"
    return f"{min(round(percent), 99) if share < 1 else 100}%"
