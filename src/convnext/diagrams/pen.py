"""Pen: shapes and texts of one drawing, in inches from its upper left corner, highlighted where they changed."""

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from matplotlib.text import Text
from matplotlib.textpath import TextToPath

from convnext.diagrams.changes import Changes

INK, FAINT, RULE = "#222222", "#6B6B6B", "#D5D5D5"
DENSE, DEPTHWISE, MAP, PILL = "#BFD7EE", "#BFE3CF", "#E3DDEA", "#F1F1F1"
# A warm fill with a dark rim stands out in colour and in grey.
WARM, RIM = "#FFC27A", "#B54708"
PILL_HEIGHT, PILL_GAP = 0.18, 0.06
FONT = "DejaVu Sans"
Look = Literal["plain", "changed", "gone"]
# Face, rim and line of each.
_LOOKS: dict[Look, tuple[str, str, str]] = {
    "plain": (PILL, FAINT, "-"),
    "changed": (WARM, RIM, "-"),
    "gone": ("white", RIM, "--"),
}
_MEASURE = TextToPath()


def text_width(text: str, points: float, *, bold: bool = False) -> float:
    """Return the width of a text in inches."""
    font = FontProperties(family=FONT, size=points, weight="bold" if bold else "normal")
    width, _, _ = _MEASURE.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def fitted(text: str, points: float, width: float) -> list[str]:
    """Return the text in lines no wider than `width` inches, the further ones indented."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", points) <= width:
            lines[-1] += f" {word}"
        else:
            # No-break spaces: an SVG drops plain ones at the start of a text.
            lines.append(f"\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}{word}" if lines else word)
    return lines


class Pen:
    """Draws on the axes of a page, whose units are inches and whose y points down.

    left, top  the corner on the page that places are counted from
    name       of the drawing; the SVG's elements are called NAME.ELEMENT
    changes    what differs from the drawing before it
    """

    def __init__(self, axes: Axes, *, left: float, top: float, name: str, changes: Changes) -> None:
        self.axes = axes
        self.left, self.top = left, top
        self.name = name
        self.changes = changes

    def down(self, height: float) -> None:
        """Move the corner down."""
        self.top += height

    def marked(self, keys: Sequence[str]) -> bool:
        """Tell whether one of the elements changed."""
        return not self.changes.marked.isdisjoint(keys)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        points: float = 7.5,
        colour: str = INK,
        bold: bool = False,
        align: str = "left",
        key: str | None = None,
    ) -> None:
        """Write a text, its middle at height y; `key` is the element that it tells, on a warm patch if that changed."""
        written = self._write(x, y, text, points, colour, align, bold)
        if key is None:
            return
        written.set_gid(f"{self.name}.{key}")
        if self.marked([key]):
            width = text_width(text, points, bold=bold) + 0.08
            start = x - 0.04 - {"left": 0.0, "center": width / 2 - 0.04, "right": width - 0.08}[align]
            self.pill(start, y, width, key=key, look="changed")

    def pill(self, x: float, y: float, width: float, *, key: str, look: Look) -> None:
        """Draw a rounded rectangle without a text: its left end at x, its middle at y."""
        face, rim, line = _LOOKS[look]
        self.axes.add_patch(
            FancyBboxPatch(
                (self.left + x, self.top + y - PILL_HEIGHT / 2),
                width,
                PILL_HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.05",
                facecolor=face,
                edgecolor=rim,
                linewidth=0.6 if look == "plain" else 1.2,
                linestyle=line,
                zorder=4,
                gid=f"{self.name}.{key}.mark",
            )
        )

    def chips(self, x: float, y: float, texts: Mapping[str, str | None], *, centred: bool = False) -> None:
        """Draw small labelled pills side by side.

        texts  element to label; None draws a dashed pill for what stood there before, or nothing if nothing did
        x      left end, or the middle if `centred`; y their middle
        """
        shown = {key: text if text is not None else self._gone(key) for key, text in texts.items()}
        widths = {key: text_width(text, 7) + 0.13 for key, text in shown.items() if text is not None}
        if centred:
            x -= (sum(widths.values()) + PILL_GAP * (len(widths) - 1)) / 2
        for key, width in widths.items():
            gone = texts[key] is None
            look: Look = "gone" if gone else ("changed" if self.marked([key]) else "plain")
            self.pill(x, y, width, key=key, look=look)
            colour = RIM if gone else INK
            self._write(x + width / 2, y, str(shown[key]), 7, colour, "center").set_gid(f"{self.name}.{key}")
            x += width + PILL_GAP

    def box(
        self,
        x: float,
        y: float,
        sides: tuple[float, float],
        height: float,
        *,
        key: str,
        label: str = "",
        striped: bool = False,
        marked: bool = False,
    ) -> None:
        """Draw a convolution as a trapezoid: its middle at x, its upper side at y, `sides` how wide above and below."""
        upper, lower = sides
        corners = [(x - upper / 2, y), (x + upper / 2, y), (x + lower / 2, y + height), (x - lower / 2, y + height)]
        places = [(self.left + across, self.top + down) for across, down in corners]
        face = WARM if marked else (DEPTHWISE if striped else DENSE)
        rim, width = (RIM, 1.8) if marked else (INK, 0.8)
        self.axes.add_patch(Polygon(places, facecolor=face, edgecolor="none", zorder=2, gid=f"{self.name}.{key}.mark"))
        if striped:
            # A slice for each few channels: none of them sees another. The label keeps clear of the gaps.
            count, clear = max(4, round(upper / 0.09)), text_width(label, 8.5, bold=True) / 2 + 0.03
            for number in range(1, count):
                at = upper * (number / count - 0.5)
                if not label or abs(at) > clear:
                    self.line([(x + at, y), (x + at, y + height)], colour="white", width=1.3, zorder=2.5)
        if label:
            self._write(x, y + height / 2, label, 8.5, INK, "center", marked).set_gid(f"{self.name}.{key}")
        self.axes.add_patch(Polygon(places, fill=False, edgecolor=rim, linewidth=width, zorder=3))

    def slab(self, x: float, y: float, width: float, height: float) -> None:
        """Draw a filled rectangle, its left side at x and its middle at y."""
        corner = (self.left + x, self.top + y - height / 2)
        self.axes.add_patch(Rectangle(corner, width, height, facecolor=MAP, edgecolor=INK, linewidth=0.6, zorder=2))

    def line(
        self, points: Sequence[tuple[float, float]], *, colour: str = INK, width: float = 0.9, zorder: float = 1
    ) -> None:
        """Draw a line through the points."""
        across = [self.left + x for x, _ in points]
        down = [self.top + y for _, y in points]
        self.axes.add_line(Line2D(across, down, color=colour, linewidth=width, zorder=zorder, solid_capstyle="butt"))

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw an arrow."""
        tail, head = ((self.left + x, self.top + y) for x, y in (start, end))
        self.axes.add_patch(
            FancyArrowPatch(
                tail, head, arrowstyle="-|>", mutation_scale=7, shrinkA=0, shrinkB=0, color=INK, linewidth=0.9, zorder=1
            )
        )

    def plus(self, x: float, y: float, radius: float) -> None:
        """Draw the circle where the shortcut is added."""
        centre = (self.left + x, self.top + y)
        self.axes.add_patch(Circle(centre, radius, facecolor="white", edgecolor=INK, linewidth=0.9, zorder=3))
        self.line([(x - radius * 0.6, y), (x + radius * 0.6, y)], zorder=4)
        self.line([(x, y - radius * 0.6), (x, y + radius * 0.6)], zorder=4)

    def _gone(self, key: str) -> str | None:
        return f"no {self.changes.gone[key]}" if key in self.changes.gone else None

    def _write(self, x: float, y: float, text: str, points: float, colour: str, align: str, bold: bool = False) -> Text:
        return self.axes.text(
            self.left + x,
            self.top + y,
            text,
            fontsize=points,
            color=colour,
            fontweight="bold" if bold else "normal",
            ha=align,
            va="center_baseline",
            parse_math=False,
            zorder=5,
        )
