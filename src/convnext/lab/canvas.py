"""What the figures of a sweep share: their width, their colours, how axes look, and how a figure is written.

Drawn with matplotlib's objects on the Agg canvas, and with its own defaults, whatever a matplotlibrc says. Text in an
SVG stays text, and the same results make the same bytes.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convnext.files import write_bytes
from convnext.lab.analysis import RowFinding

# For a page about 900 pixels wide: small print is then 12 pixels high.
WIDTH_INCHES, DPI = 7.5, 200
SMALL, NORMAL = 7, 8
INK, GREY, PALE, FAINT = "#222222", "#888888", "#B8B8B8", "#E2E2E2"

SECTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "training": ("#606060", ("original", "modern_recipe")),
    "macro design": ("#E69F00", ("stage_ratio", "patchify_stem")),
    "ResNeXt": ("#56B4E9", ("depthwise", "width")),
    "inverted bottleneck": ("#009E73", ("inverted",)),
    "large kernel": ("#0072B2", ("move_up", "kernel_5", "kernel_7", "kernel_9", "kernel_11")),
    "micro design": ("#CC79A7", ("gelu", "fewer_activations", "fewer_norms", "layernorm", "separate_downsampling")),
}
"""The sections of the paper, each with a colour (Okabe and Ito's, told apart by everyone) and its steps."""


def section_colour(row: RowFinding) -> str:
    """Return the colour of the section that a row's step belongs to; dark for a whole network."""
    return next((colour for colour, steps in SECTIONS.values() if row.result.row.step in steps), INK)


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """Let a figure be drawn with matplotlib's defaults; its global settings are put back at the end."""
    with rc_context():
        # A matplotlibrc would change the figure, or ask for a LaTeX that is not there.
        rcdefaults()
        # Text in an SVG stays text.
        rcParams["svg.fonttype"] = "none"
        yield


def new_figure(height: float) -> Figure:
    """Return an empty figure of that height in inches."""
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes) -> None:
    """Give axes the look that all have: small print, a faint grid behind, no frame on top and right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def write_figure(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure that was drawn in `own_style` as NAME.png and NAME.svg and return the SVG.

    The same figure makes the same bytes, whatever matplotlib's settings are. UserError when the place cannot be
    written.
    """
    png, svg = BytesIO(), BytesIO()
    with warnings.catch_warnings(), own_style():
        # Else the names inside an SVG would be random.
        rcParams["svg.hashsalt"] = name
        # The name of a data set in a script that the font lacks becomes boxes in the PNG.
        warnings.filterwarnings("ignore", message="Glyph")
        # Laid out once, so that both files agree.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(png, format="png", metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    write_bytes(folder / f"{name}.png", png.getvalue())
    write_bytes(folder / f"{name}.svg", svg.getvalue())
    return svg.getvalue().decode()
