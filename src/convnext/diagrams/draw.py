"""A page of drawings: networks side by side, each compared with the one before it, as SVG or PNG."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convnext.diagrams.changes import Changes
from convnext.diagrams.legend import Legend
from convnext.diagrams.nets import Drawn
from convnext.diagrams.panel import WIDTH, Panel, Scale, draw_panel
from convnext.diagrams.pen import FONT, Pen
from convnext.errors import UserError
from convnext.files import write_bytes

MOST_IN_A_ROW = 6
_MARGIN, _BETWEEN = 0.3, 0.4
_ENDINGS = (".svg", ".png")
_STYLE: Any = {
    # Texts as texts can be searched; the salt gives the shapes the same names in every run.
    "svg.fonttype": "none",
    "svg.hashsalt": "convnext",
    "font.family": ["sans-serif"],
    # What the SVG names: a viewer without the first takes one that is about as wide, or narrower.
    "font.sans-serif": [FONT, "Verdana", "Arial", "Helvetica"],
}


def check_ending(path: Path) -> None:
    """Refuse a file that is neither .svg nor .png; UserError says so before anything is drawn."""
    if path.suffix.lower() not in _ENDINGS:
        raise UserError(f"a drawing is written as .svg or .png, got {path}; give the file one of these endings")


def draw_page(path: Path, nets: Sequence[Drawn]) -> None:
    """Draw networks in order, what differs from the one before highlighted, and write the page.

    The path's ending chooses SVG, whose texts stay texts, or PNG. The same networks give the same bytes. UserError for
    another ending or a place that cannot be written.
    """
    check_ending(path)
    kind = path.suffix.lower()[1:]
    nothing = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    buffer = BytesIO()
    with rc_context():
        # A matplotlibrc would change the page.
        rcdefaults()
        rcParams.update(_STYLE)
        page(nets).savefig(buffer, format=kind, dpi=150, metadata=nothing)
    write_bytes(path, buffer.getvalue())


def page(nets: Sequence[Drawn]) -> Figure:
    """Return the page of at least one network as a figure, at most six in a row.

    What tells or marks an element of the third network has the gid net3.ELEMENT or net3.ELEMENT.mark, the id in an SVG;
    elements are named as in `convnext.diagrams.parts.elements`.
    """
    panels = [Panel(net=net, before=nets[at - 1] if at else None) for at, net in enumerate(nets)]
    rows = _rows(len(panels))
    heights = [max(panels[at].height for at in row) + _BETWEEN for row in rows]
    width = len(rows[0]) * (WIDTH + _BETWEEN) - _BETWEEN
    legend = Legend(width=width, size=nets[0].parts.size, compared=len(nets) > 1)
    figure, axes = _blank(width + 2 * _MARGIN, sum(heights) + legend.height + 2 * _MARGIN)
    scale = Scale(
        conv_channels=max(max(net.parts.block.channels) for net in nets),
        stage_channels=max(stage.channels for net in nets for stage in net.parts.stages),
    )
    top = _MARGIN
    for row, row_height in zip(rows, heights, strict=True):
        for place, at in enumerate(row):
            left = _MARGIN + place * (WIDTH + _BETWEEN)
            pen = Pen(axes, left=left, top=top, name=f"net{at + 1}", changes=panels[at].changes)
            draw_panel(pen, panels[at], scale)
        top += row_height
    legend.draw(Pen(axes, left=_MARGIN, top=top + 0.1, name="legend", changes=Changes()))
    # Nothing reaches over the edge, and without clipping the SVG is smaller.
    for artist in axes.get_children():
        artist.set_clip_on(False)
    return figure


def _rows(count: int) -> list[range]:
    rows = -(-count // MOST_IN_A_ROW)
    # Rows of about equal length: eight nets are four and four.
    longest = -(-count // rows)
    return [range(start, min(start + longest, count)) for start in range(0, count, longest)]


def _blank(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes
