"""Cost against accuracy: every row of a sweep as a numbered point, with a key beside it."""

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convnext.lab.analysis import Analysis
from convnext.lab.canvas import GREY, INK, NORMAL, SMALL, dress, new_figure, own_style, section_colour

# Sizes in typographic points: what a number and a point cover, and how far from its point a number may be written.
NUMBER, POINT = (9.0, 7.5), 6.0
Place = tuple[float, float]
REACH = (8.0, 12.0, 17.0, 23.0, 30.0)
DIRECTIONS = 16
LEAST_LINES = 18


@own_style()
def plot_cost(analysis: Analysis) -> Figure:
    """Draw multiply-adds against top-1, a numbered point for each row that has a run, arrows along the kept ones."""
    numbered = [(number, row) for number, row in enumerate(analysis.rows, start=1) if row.spread is not None]
    figure = new_figure(4.2)
    axes, key = figure.subplots(1, 2, width_ratios=[2.4, 1])
    points: list[Place] = []
    for place, (number, row) in enumerate(numbered):
        assert row.spread is not None, "only rows with a run are numbered"
        colour = section_colour(row)
        face = colour if row.result.row.adopted else "white"
        points.append((row.result.gmacs, row.spread.mean))
        axes.errorbar(*points[-1], yerr=row.spread.std, color=colour, linewidth=0.8, alpha=0.5, zorder=2)
        axes.plot(*points[-1], "o", color=colour, markerfacecolor=face, markersize=5, zorder=3)
        # The lines of the key have one height, however many there are.
        top = 1 - (place + 0.5) / max(LEAST_LINES, len(numbered))
        key.plot(0.02, top, "o", color=colour, markerfacecolor=face, markersize=4)
        key.text(0.08, top, f"{number}  {row.title}", fontsize=SMALL, va="center")
    key.set(xlim=(0, 1), ylim=(0, 1))
    key.set_axis_off()
    dress(axes)
    axes.margins(0.09)
    axes.set_xlabel(f"GMACs for one picture of {analysis.results.sweep.modern.data.size} pixels", fontsize=NORMAL)
    axes.set_ylabel("top-1 on held-out pictures, %", fontsize=NORMAL)
    kept = [point for point, (_, row) in zip(points, numbered, strict=True) if row.result.row.adopted]
    arrows = list(pairwise(kept)) if analysis.walks else []
    for before, after in arrows:
        arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 0.7, "shrinkA": 3, "shrinkB": 3}
        axes.annotate("", after, before, arrowprops=arrow, zorder=1)
    _write_numbers(figure, axes, points, [str(number) for number, _ in numbered], arrows)
    return figure


def _write_numbers(
    figure: Figure, axes: Axes, points: Sequence[Place], texts: Sequence[str], arrows: Sequence[tuple[Place, Place]]
) -> None:
    # Only a figure that is laid out knows where its points lie.
    figure.draw_without_rendering()
    places = _on_paper(figure, axes, points)
    taken = [(place, (NUMBER[0] / 2 + POINT / 2, NUMBER[1] / 2 + POINT / 2)) for place in places]
    for before, after in arrows:
        line = _between(*_on_paper(figure, axes, [before, after]))
        taken += [(place, (NUMBER[0] / 2, NUMBER[1] / 2)) for place in line]
    for point, place, text in zip(points, places, texts, strict=True):
        right, up = _free_offset(place, taken)
        taken.append(((place[0] + right, place[1] + up), NUMBER))
        far = math.hypot(right, up) > REACH[1]
        written = axes.annotate(
            text,
            point,
            (right, up),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=SMALL,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2} if far else None,
            zorder=5,
        )
        # The numbers stay inside; asking them would lay the figure out anew.
        written.set_in_layout(False)


def _on_paper(figure: Figure, axes: Axes, points: Sequence[Place]) -> list[Place]:
    """Return where points of the data lie on the page, in typographic points."""
    scale = 72 / figure.dpi
    return [(float(x) * scale, float(y) * scale) for x, y in axes.transData.transform(points)] if points else []


def _between(one: Place, other: Place) -> list[Place]:
    """Return places along a line, close enough together that no number fits between two."""
    count = math.ceil(math.dist(one, other) / POINT)
    return [
        (one[0] + (other[0] - one[0]) * part / count, one[1] + (other[1] - one[1]) * part / count)
        for part in range(1, count)
    ]


def _free_offset(place: Place, taken: Sequence[tuple[Place, Place]]) -> Place:
    """Return the nearest offset from a point where a number covers nothing; each thing has its place and its reach."""
    for reach in REACH:
        for turn in range(DIRECTIONS):
            # From the right on, up and down by turns.
            angle = math.pi / DIRECTIONS * turn * (-1) ** turn
            right, up = reach * math.cos(angle), reach * math.sin(angle)
            x, y = place[0] + right, place[1] + up
            if not any(abs(x - one) < width and abs(y - other) < height for (one, other), (width, height) in taken):
                return right, up
    return REACH[0], REACH[0]
