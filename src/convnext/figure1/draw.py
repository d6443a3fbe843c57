"""The figure: a panel beside the other, bubbles by area, families by colour, labels that cover nothing.

What belongs to a bubble has the gid bubble-PANEL-NUMBER or label-PANEL-NUMBER, its id in an SVG.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from convnext.diagrams.pen import text_width
from convnext.figure1.bubbles import Bubble, Panel
from convnext.figure1.families import FAMILIES, Family
from convnext.figure1.places import Box, Disc, Line, Place, Shape, Tile, place_labels
from convnext.lab.canvas import DPI, GREY, INK, dress, own_style

# Sizes in typographic points.
LABEL, SMALL, NORMAL, TITLE = 7.5, 7.5, 8.5, 10.5
PLOT = (348.0, 300.0)
LEFT, RIGHT, ABOVE, BELOW, KEY, LEGEND = 44.0, 12.0, 26.0, 36.0, 30.0, 26.0
SMALLEST, LARGEST = 7.5, 66.0
COLUMNS = 2
# Around all bubbles, in points; the least span of the axes, in powers of ten and in percent.
AIR, LEAST_ACROSS, LEAST_UP = 16.0, 0.4, 2.0
ROUNDS = 50
MARKERS = {"ConvNet": "o", "Transformer": "s", None: "D"}
SHAPES = {"ConvNet": "round: ConvNet", "Transformer": "square: Transformer", None: "diamond: unknown"}
FONTS = ["DejaVu Sans", "Verdana", "Arial", "Helvetica"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large bubbles are: the diameter in points of a round one of 1 GMAC; all have the same area per GMAC."""

    unit: float

    @classmethod
    def of(cls, bubbles: Sequence[Bubble]) -> "Scale":
        """Return the scale in which the smallest bubble can be seen and the largest leaves room."""
        costs = [bubble.gmacs for bubble in bubbles]
        return cls(unit=min(SMALLEST / math.sqrt(min(costs)), LARGEST / math.sqrt(max(costs))))

    def area(self, gmacs: float) -> float:
        """Return the area of a bubble in square points, whatever its shape."""
        return math.pi / 4 * gmacs * self.unit**2

    def marker_size(self, gmacs: float, family: Family) -> float:
        """Return matplotlib's size of a marker: the square of a circle's diameter or of a square's side."""
        return gmacs * self.unit**2 if family.kind == "ConvNet" else self.area(gmacs)

    def reach(self, gmacs: float, family: Family) -> float:
        """Return how far a bubble reaches to the side, in points; a diamond stands on a corner."""
        side = math.sqrt(self.marker_size(gmacs, family))
        return side / math.sqrt(2) if family.kind is None else side / 2


@own_style()
def draw_panels(panels: Sequence[Panel], scales: Sequence[Scale] | None = None) -> Figure:
    """Return a figure of at least one panel, two in a row.

    scales  of each panel; None takes one for all panels of the paper's accuracies and one for the measured ones
    """
    rcParams["font.sans-serif"] = FONTS
    scales = scales_of(panels) if scales is None else scales
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    cell = (LEFT + PLOT[0] + RIGHT, ABOVE + PLOT[1] + BELOW + KEY)
    width, height = columns * cell[0], rows * cell[1] + LEGEND
    figure = Figure(figsize=(width / 72, height / 72), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for at, (panel, scale) in enumerate(zip(panels, scales, strict=True)):
        left = at % columns * cell[0] + LEFT
        bottom = height - (at // columns + 1) * cell[1] + BELOW + KEY
        axes = figure.add_axes((left / width, bottom / height, PLOT[0] / width, PLOT[1] / height))
        _draw_panel(axes, panel, scale)
        place = (left / width, (bottom - BELOW - KEY) / height, PLOT[0] / width, KEY / height)
        _draw_key(figure.add_axes(place), panel, scale)
    _draw_legend(figure.add_axes((0, 0, 1, LEGEND / height)), panels, width)
    return figure


def scales_of(panels: Sequence[Panel]) -> list[Scale]:
    """Return the scale of each panel: one for the paper's accuracies and one for measured ones."""
    scales = {
        measured: Scale.of([bubble for panel in panels if panel.measured == measured for bubble in panel.bubbles])
        for measured in {panel.measured for panel in panels}
    }
    return [scales[panel.measured] for panel in panels]


def unlabelled(figure: Figure, panels: Sequence[Panel]) -> list[str]:
    """Return the labels for which a figure of these panels had no room."""
    written = {text.get_gid() for axes in figure.axes for text in axes.texts}
    return [
        bubble.label
        for panel in panels
        for number, bubble in enumerate(panel.bubbles, start=1)
        if f"label-{panel.name}-{number}" not in written
    ]


def rendered(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """Return a figure as a file: the same figure gives the same bytes, and in an SVG texts stay texts."""
    buffer = BytesIO()
    with warnings.catch_warnings(), own_style():
        # A name in a script that the font lacks becomes boxes in the PNG.
        warnings.filterwarnings("ignore", message="Glyph")
        rcParams["font.sans-serif"] = FONTS
        rcParams["svg.hashsalt"] = "convnext"
        nothing = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, metadata=nothing)
    return buffer.getvalue()


def _draw_panel(axes: Axes, panel: Panel, scale: Scale) -> None:
    bubbles = panel.bubbles
    reaches = [scale.reach(bubble.gmacs, bubble.family) for bubble in bubbles]
    across = [math.log10(panel.x(bubble)) for bubble in bubbles]
    low, high = _limits([(x, x, reach) for x, reach in zip(across, reaches, strict=True)], PLOT[0], LEAST_ACROSS)
    spans = [(_span(bubble), reach) for bubble, reach in zip(bubbles, reaches, strict=True)]
    axes.set_xscale("log")
    axes.set_xlim(10**low, 10**high)
    axes.set_ylim(*_limits([(bottom, top, reach) for (bottom, top), reach in spans], PLOT[1], LEAST_UP))
    dress(axes)
    axes.tick_params(labelsize=SMALL, length=2.5, color=GREY, labelcolor=INK)
    axes.spines[["left", "bottom"]].set_color(GREY)
    ticks = _ticks(10**low, 10**high)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(_plain(_cut(panel.title)), fontsize=TITLE, fontweight="bold", loc="left", color=INK)
    axes.set_xlabel(panel.x_label, fontsize=NORMAL, color=INK)
    axes.set_ylabel(panel.y_label, fontsize=NORMAL, color=INK)
    # Small bubbles lie on large ones.
    for depth, at in enumerate(sorted(range(len(bubbles)), key=lambda at: -bubbles[at].gmacs)):
        _draw_bubble(axes, panel, at, scale, depth)
    _write_labels(axes, panel, reaches)


def _span(bubble: Bubble) -> tuple[float, float]:
    return bubble.top1 - (bubble.std or 0.0), bubble.top1 + (bubble.std or 0.0)


def _limits(things: Sequence[tuple[float, float, float]], length: float, least: float) -> tuple[float, float]:
    """Return the ends of an axis of so many points on which each thing, from value to value, keeps its reach.

    least  how much the axis spans at least: small differences shall look small

    The ends follow from how long a point is, and that from the ends; so they are found in a few rounds.
    """
    start, end = min(thing[0] for thing in things), max(thing[1] for thing in things)
    for _ in range(ROUNDS):
        point = max(end - start, least) / length
        start = min(bottom - (reach + AIR) * point for bottom, _, reach in things)
        end = max(top + (reach + AIR) * point for _, top, reach in things)
    lacking = max(0.0, least - (end - start)) / 2
    return start - lacking, end + lacking


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers on a logarithmic axis."""
    if high / low < 4:
        return [float(value) for value in MaxNLocator(6).tick_values(low, high) if low <= value <= high]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [part * 10.0**power for power in powers for part in (1, 2, 5) if low <= part * 10.0**power <= high]


def _draw_bubble(axes: Axes, panel: Panel, at: int, scale: Scale, depth: int) -> None:
    bubble = panel.bubbles[at]
    x = panel.x(bubble)
    over = 3 + 0.01 * depth
    if bubble.std is not None:
        axes.errorbar(x, bubble.top1, yerr=bubble.std, color=INK, linewidth=0.8, capsize=2, zorder=4)
    drawn = axes.scatter(
        [x],
        [bubble.top1],
        s=scale.marker_size(bubble.gmacs, bubble.family),
        marker=MARKERS[bubble.family.kind],
        facecolor=bubble.family.colour,
        edgecolor="white",
        linewidth=0.7,
        alpha=0.85,
        zorder=over,
    )
    drawn.set_gid(f"bubble-{panel.name}-{at + 1}")


def _write_labels(axes: Axes, panel: Panel, reaches: Sequence[float]) -> None:
    middles = _on_panel(axes, [(panel.x(bubble), bubble.top1) for bubble in panel.bubbles])
    shapes: list[Shape] = [
        Tile(x=x, y=y, half=reach) if bubble.family.kind == "Transformer" else Disc(x=x, y=y, radius=reach)
        for (x, y), reach, bubble in zip(middles, reaches, panel.bubbles, strict=True)
    ]
    sizes = [(72 * text_width(bubble.label, LABEL), 1.2 * LABEL) for bubble in panel.bubbles]
    bars: list[Line] = []
    for bubble in panel.bubbles:
        if bubble.std is not None:
            bottom, top = _on_panel(axes, [(panel.x(bubble), value) for value in _span(bubble)])
            bars.append((bottom, top))
    frame = Box(left=2, bottom=2, right=PLOT[0], top=PLOT[1])
    for at, place in enumerate(place_labels(shapes, sizes, frame, bars)):
        if place is not None:
            _write_label(axes, panel, at, place)


def _write_label(axes: Axes, panel: Panel, at: int, place: Place) -> None:
    box = place.box
    if place.line is not None:
        (x, y), (to_x, to_y) = place.line
        axes.plot(
            [x / PLOT[0], to_x / PLOT[0]],
            [y / PLOT[1], to_y / PLOT[1]],
            transform=axes.transAxes,
            color=INK,
            linewidth=0.6,
            marker="o",
            markersize=1.6,
            markevery=[0],
            zorder=4.5,
        )
    text = axes.text(
        (box.left + box.right) / 2 / PLOT[0],
        (box.bottom + box.top) / 2 / PLOT[1],
        _plain(panel.bubbles[at].label),
        transform=axes.transAxes,
        fontsize=LABEL,
        color=INK,
        ha="center",
        va="center_baseline",
        zorder=5,
    )
    text.set_gid(f"label-{panel.name}-{at + 1}")


def _cut(title: str) -> str:
    """Return a title that is no wider than its panel; the middle of a longer one is left out."""
    kept = len(title)
    cut = title
    while 72 * text_width(cut, TITLE, bold=True) > PLOT[0]:
        kept -= 1
        cut = f"{title[: kept // 2]}…{title[len(title) - (kept - kept // 2) :]}"
    return cut


def _plain(text: str) -> str:
    # A dollar sign would start matplotlib's formula mode.
    return text.replace("$", r"\$")


def _on_panel(axes: Axes, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return where points of the data lie, in typographic points from the lower left corner of the axes."""
    inside = axes.transAxes.inverted().transform(axes.transData.transform(points))
    return [(float(x) * PLOT[0], float(y) * PLOT[1]) for x, y in inside]


def _draw_key(axes: Axes, panel: Panel, scale: Scale) -> None:
    """Draw what area and shape mean, in a row below a panel: circles of round costs, and words."""
    axes.set(xlim=(0, PLOT[0]), ylim=(0, KEY))
    axes.set_axis_off()
    costs = [bubble.gmacs for bubble in panel.bubbles]
    text = "area: GMACs"
    kinds = {bubble.family.kind for bubble in panel.bubbles}
    said = ", ".join(words for kind, words in SHAPES.items() if kind in kinds)
    axes.text(PLOT[0], KEY / 2, said, fontsize=SMALL, color=INK, ha="right", va="center_baseline")
    axes.text(0, KEY / 2, text, fontsize=SMALL, color=INK, va="center_baseline")
    left = 72 * text_width(text, SMALL) + 14
    for cost in _round_costs(min(costs), max(costs)):
        diameter = scale.unit * math.sqrt(cost)
        if diameter > KEY - 2 or left + diameter + 20 > PLOT[0] - 72 * text_width(said, SMALL):
            break
        axes.scatter(left + diameter / 2, KEY / 2, s=diameter**2, facecolor="none", edgecolor=GREY, linewidth=0.8)
        left += diameter + 3
        axes.text(left, KEY / 2, f"{cost:g}", fontsize=SMALL, color=INK, va="center_baseline")
        left += 72 * text_width(f"{cost:g}", SMALL) + 14


def _round_costs(low: float, high: float) -> list[float]:
    power = 10.0 ** math.floor(math.log10(low))
    start = max(part * power for part in (1, 2, 5) if part * power <= low)
    return [start * 4.0**step for step in range(8) if start * 4.0**step <= 1.5 * high]


def _draw_legend(axes: Axes, panels: Sequence[Panel], width: float) -> None:
    """Draw the families that the panels show, in a row below all of them."""
    axes.set(xlim=(0, width), ylim=(0, LEGEND))
    axes.set_axis_off()
    shown = {bubble.family for panel in panels for bubble in panel.bubbles}
    left = LEFT
    for family in FAMILIES:
        if family not in shown:
            continue
        size = 64.0 if family.kind == "ConvNet" else 64.0 * math.pi / 4
        axes.scatter(left + 4, LEGEND / 2, s=size, marker=MARKERS[family.kind], facecolor=family.colour, linewidth=0)
        left += 12
        axes.text(left, LEGEND / 2, family.name, fontsize=NORMAL, color=INK, va="center_baseline")
        left += 72 * text_width(family.name, NORMAL) + 16
