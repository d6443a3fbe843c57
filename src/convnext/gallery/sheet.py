"""What is drawn on: a picture, enlarged where it is small, and below it the legend of its classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from convnext.gallery.colours import Colour
from convnext.gallery.lettering import Line, line_of

# The long side that a small picture is enlarged to at least, so that text beside what it names leaves some to see.
_LEAST_SIDE = 480
# Below this side a picture is shown as the squares that it is, not blurred.
_PIXEL_ART = 64
_LEAST_TEXT, _SIDE_OF_TEXT = 13, 45
_LEAST_LETTERS = 20
GROUND: Colour = (30, 32, 36)
INK: Colour = (238, 238, 238)
MUTED: Colour = (165, 168, 173)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How a picture is drawn: how often its side is enlarged, and the size of text and lines in pixels."""

    factor: int
    text_px: int
    line_px: int


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of a legend: a colour (None is the hatching of ignored places), a name, and how much of it there is."""

    colour: Colour | None
    name: str
    amount: str


def scale_of(width: int, height: int) -> Scale:
    """Return how a picture of this size (pixels) is drawn."""
    longest = max(width, height)
    factor = -(-_LEAST_SIDE // longest)
    text_px = max(_LEAST_TEXT, round(factor * min(longest / _SIDE_OF_TEXT, width / _LEAST_LETTERS)))
    return Scale(factor=factor, text_px=text_px, line_px=max(2, round(text_px / 8)))


def enlarged(picture: Image.Image, scale: Scale) -> Image.Image:
    """Return an RGB copy of a picture in the scale; what is transparent in it becomes white."""
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    picture = picture.convert("RGB")
    how = Image.Resampling.NEAREST if max(picture.size) < _PIXEL_ART else Image.Resampling.LANCZOS
    return picture.resize((picture.width * scale.factor, picture.height * scale.factor), how)


def enlarged_map(values: NDArray[np.generic], scale: Scale) -> NDArray[np.generic]:
    """Return an array (H, W), each value as the square of pixels that it becomes."""
    return values.repeat(scale.factor, axis=0).repeat(scale.factor, axis=1)


def with_legend(picture: Image.Image, items: Sequence[Item], note: str, scale: Scale) -> Image.Image:
    """Return the picture with the items in columns below it, and after them a note in a muted colour ("" is none)."""
    pad = scale.text_px * 2 // 3
    width = max(picture.width, _LEAST_LETTERS * scale.text_px)
    swatch = scale.text_px
    room = width - 2 * pad
    lines = _fitted(items, swatch + pad // 2, room, scale.text_px)
    columns, column_px = _columns([swatch + pad // 2 + line.width for line in lines], room, 2 * pad)
    last = line_of(note, scale.text_px, longest_px=room)
    rows = -(-len(lines) // columns) if lines else 0
    row_px = round(1.35 * last.height)
    sheet = Image.new("RGB", (width, picture.height + 2 * pad + row_px * (rows + bool(note))), GROUND)
    sheet.paste(picture)
    pen = ImageDraw.Draw(sheet)
    for number, (item, line) in enumerate(zip(items, lines, strict=True)):
        row, column = divmod(number, columns)
        left = pad + (
            column * column_px if column_px else sum(swatch + pad // 2 + one.width + 2 * pad for one in lines[:column])
        )
        top = picture.height + pad + row * row_px
        _draw_swatch(sheet, item.colour, left, top + (row_px - swatch) // 2, swatch)
        line.draw(pen, left + swatch + pad // 2, top + (row_px - line.height) // 2, INK)
    last.draw(pen, pad, picture.height + pad + rows * row_px + (row_px - last.height) // 2, MUTED)
    return sheet


def hatching(height: int, width: int, scale: Scale) -> NDArray[np.bool_]:
    """Return the light stripes (height, width) that mark ignored places."""
    period = 6 * scale.line_px
    rows, columns = np.ogrid[:height, :width]
    stripes: NDArray[np.bool_] = (rows + columns) % period < period // 3
    return stripes


def _fitted(items: Sequence[Item], before: int, room: int, text_px: int) -> list[Line]:
    # Several names share the width; one very long one must not push each of the others onto a line of its own.
    longest = room if len(items) == 1 else max(room // 2 - before - text_px, 8 * text_px)
    return [line_of(item.name, text_px, longest_px=min(longest, room - before), tail=item.amount) for item in items]


def _columns(widths: Sequence[int], room: int, gap: int) -> tuple[int, int]:
    """Return the number of columns and the width of each; width 0: all stand in one row, one after the other."""
    if sum(widths) + gap * (len(widths) - 1) <= room:
        return max(1, len(widths)), 0
    columns = max(1, (room + gap) // (max(widths) + gap))
    return columns, (room + gap) // columns


def _draw_swatch(sheet: Image.Image, colour: Colour | None, left: int, top: int, side: int) -> None:
    if colour is not None:
        sheet.paste(colour, (left, top, left + side, top + side))
        return
    rows, columns = np.ogrid[:side, :side]
    stripes = ((rows + columns) % 6 < 2)[..., None]
    pixels = np.where(stripes, np.uint8(205), np.uint8(110)).repeat(3, axis=2)
    sheet.paste(Image.fromarray(pixels.astype(np.uint8)), (left, top))
