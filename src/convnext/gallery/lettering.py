"""Text in pictures: fonts that have the letters of a name, its size in pixels, and names cut to fit."""

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageDraw, ImageFont

from convnext.gallery.colours import Colour

_CUT = "\N{HORIZONTAL ELLIPSIS}"
_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of text, ready to draw: a name as far as it fits, what follows it, and the width (pixels) of all."""

    text: str
    tail: str
    font: ImageFont.FreeTypeFont
    width: int

    @property
    def height(self) -> int:
        """Pixels from the top of the highest to the bottom of the lowest letters of the font."""
        return line_height(int(self.font.size))

    def draw(self, pen: ImageDraw.ImageDraw, left: int, top: int, ink: Colour) -> None:
        """Draw the line with its upper left corner there."""
        plain = _plain(int(self.font.size))
        # By the base line of the plain font, so that lines in other scripts stand level with those beside them.
        base = top + plain.getmetrics()[0]
        pen.text((left, base), self.text, font=self.font, fill=ink, anchor="ls")
        # Apart from the name: after one that runs from right to left it would stand before it.
        pen.text((left + self.width, base), self.tail, font=plain, fill=ink, anchor="rs")


def line_height(size_px: int) -> int:
    """Return the height (pixels) of a line of this size."""
    return sum(_plain(size_px).getmetrics())


def line_of(text: str, size_px: int, *, longest_px: int, tail: str = "") -> Line:
    """Return a line that is at most `longest_px` wide: the text, cut with … where it must be, and the whole tail.

    Where not even one letter fits beside the tail, the tail goes too, and at last the text.
    """
    text = shown_name(text)
    font = _font_for(text, size_px) or _plain(size_px)
    for end in (tail, "") if tail else ("",):
        after = _width(f" {end}", _plain(size_px)) if end else 0
        for length in range(len(text), 0, -1):
            part = text if length == len(text) else text[:length].rstrip() + _CUT
            width = _width(part, font) + after
            if width <= longest_px:
                return Line(text=part, tail=end, font=font, width=width)
    return Line(text="", tail="", font=font, width=0)


def shown_name(text: str) -> str:
    """Return a name as one line that can be drawn: white space joined, what is no character dropped."""
    text = text.encode("utf-8", "replace").decode()
    kept = (" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in text[:_LONGEST])
    return " ".join("".join(kept).split())


def class_name(name: str, number: int) -> str:
    """Return the name of class `number` as it is drawn: "class 7" where it is empty or no font here has its letters."""
    name = shown_name(name)
    return name if name and _font_for(name, 16) is not None else f"class {number}"


@cache
def _font_for(text: str, size_px: int) -> ImageFont.FreeTypeFont | None:
    """Return the plain font, or an installed one that has the letters that it lacks; None where there is none."""
    needed = {ord(letter) for letter in text if not letter.isspace()}
    if needed <= _letters(_plain_path()):
        return _plain(size_px)
    for path in _installed():
        if needed <= _letters(path):
            try:
                return ImageFont.truetype(path, size_px)
            except OSError:
                # A font of little pictures in one size alone, as of emoji.
                continue
    return None


@cache
def _plain(size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_plain_path(), size_px)


@cache
def _plain_path() -> str:
    # Comes with matplotlib; Latin, Greek, Cyrillic, Hebrew, Arabic and more.
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@cache
def _installed() -> tuple[str, ...]:
    return tuple(sorted(findSystemFonts()))


@cache
def _letters(path: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


def _width(text: str, font: ImageFont.FreeTypeFont) -> int:
    left, _, right, _ = font.getbbox(text, anchor="ls")
    return int(max(right, font.getlength(text)) - min(left, 0) + 0.999)
