"""Where the names of objects stand: beside their box, inside the picture, and off each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from convnext.gallery.colours import Colour, ink_on
from convnext.gallery.lettering import Line

# A plate that would hide more than this share of itself behind others is left out; the legend has counted its object.
_MOST_HIDDEN = 0.5
_EDGE: Colour = (17, 17, 17)


@dataclass(frozen=True, kw_only=True)
class Plate:
    """A name on ground of its class's colour, in whole pixels; right and bottom are the first pixels outside."""

    line: Line
    colour: Colour
    left: int
    top: int
    right: int
    bottom: int
    pad: int

    def draw(self, pen: ImageDraw.ImageDraw) -> None:
        """Draw the plate with a dark edge, so that it stands out on ground of its own colour."""
        corners = (self.left, self.top, self.right - 1, self.bottom - 1)
        pen.rectangle(corners, fill=self.colour, outline=_EDGE)
        self.line.draw(pen, self.left + self.pad, self.top + 1, ink_on(self.colour))


def placed(
    lines: Sequence[Line],
    boxes: Sequence[tuple[float, float, float, float]],
    colours: Sequence[Colour],
    size: tuple[int, int],
) -> list[Plate]:
    """Return the plates of objects, most important first, in a picture of (width, height) pixels.

    Each takes the place at its box where it hides the least of those before it. Left out: plates larger than the
    picture, and those that find no place of which half is free.
    """
    plates: list[Plate] = []
    for line, box, colour in zip(lines, boxes, colours, strict=True):
        pad = max(2, int(line.font.size) // 4)
        width, height = line.width + 2 * pad, line.height + 2
        if not line.text or width > size[0] or height > size[1]:
            continue
        spots = [_inside(spot, width, height, size) for spot in _spots(box, width, height)]
        hidden = [sum(_overlap(spot, width, height, other) for other in plates) for spot in spots]
        least = min(range(len(spots)), key=lambda number: (hidden[number], number))
        if hidden[least] > _MOST_HIDDEN * width * height:
            continue
        left, top = spots[least]
        plates.append(
            Plate(line=line, colour=colour, left=left, top=top, right=left + width, bottom=top + height, pad=pad)
        )
    return plates


def _spots(box: tuple[float, float, float, float], width: int, height: int) -> list[tuple[int, int]]:
    """Return the upper left corners of a plate at a box, the best first: above it, in it, below it."""
    x0, y0, x1, y1 = (round(value) for value in box)
    lefts = (x0, x1 - width) if x1 - x0 > width else (x0,)
    return [(left, top) for top in (y0 - height, y0, y1, y1 - height, (y0 + y1 - height) // 2) for left in lefts]


def _inside(spot: tuple[int, int], width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    return max(0, min(spot[0], size[0] - width)), max(0, min(spot[1], size[1] - height))


def _overlap(spot: tuple[int, int], width: int, height: int, other: Plate) -> int:
    across = min(spot[0] + width, other.right) - max(spot[0], other.left)
    down = min(spot[1] + height, other.bottom) - max(spot[1], other.top)
    return max(0, across) * max(0, down)
