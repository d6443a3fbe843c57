"""Figure 2 redrawn from a sweep, beside the paper's, and the learning curves of its rows."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from convnext.lab.analysis import Analysis, RowFinding
from convnext.lab.canvas import GREY, INK, NORMAL, PALE, SECTIONS, SMALL, dress, new_figure, own_style, section_colour
from convnext.lab.results import PAPERS_SIZE
from convnext.lab.statistics import Spread
from convnext.lab.wording import counted, data_title, gmacs_texts, signed
from convnext.roadmap import SWIN, Level

LEAST_WITH_PAPER = 3
LONGEST_NAME = 24
HATCH = "/////"
MOST_COLUMNS, LONGEST_LINE = 6, 20


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: where it ends, what is printed in it, its error bar, and the dots of the seeds; no end is no bar."""

    colour: str
    kept: bool
    end: float | None = None
    text: str = ""
    low: float | None = None
    high: float | None = None
    dots: tuple[float, ...] = ()


def has_paper(analysis: Analysis) -> bool:
    """Whether the paper measured enough of the rows for a panel of its own."""
    return sum(row.paper_top1 is not None for row in analysis.rows) >= LEAST_WITH_PAPER


@own_style()
def plot_roadmap(analysis: Analysis) -> Figure:
    """Draw Figure 2 with what was measured, and beside it the paper's, where it has these rows.

    Where single decisions are left out, the bars are differences to the whole ConvNeXt with their 95% intervals.
    """
    rows = analysis.rows
    paper = has_paper(analysis)
    figure = new_figure(1.9 + 0.27 * len(rows))
    panels = figure.subplots(1, 4 if paper else 2, sharey=True, width_ratios=[3, 1.35] * (2 if paper else 1))
    _name_rows(panels[0], rows)
    kept = [row.result.row.adopted for row in rows]
    if analysis.walks:
        _draw_levels(panels[0], [_measured(row) for row in rows])
    else:
        _draw_differences(panels[0], [_left_out(row, analysis) for row in rows], rows[0].spread)
    panels[0].set_title(_title(analysis), loc="left", fontsize=NORMAL, parse_math=False)
    _draw_gmacs(panels[1], [row.result.gmacs for row in rows], kept, line=analysis.walks)
    if paper:
        regime = analysis.results.sweep.regime.paper
        swin = SWIN.get(regime)
        _draw_levels(panels[2], [_published(row) for row in rows], swin)
        panels[2].set_title(f"the paper: ImageNet-1K\n{PAPERS_SIZE} px\nregime {regime}", loc="left", fontsize=NORMAL)
        papers = [None if row.result.row.paper is None else row.result.row.paper.gmacs for row in rows]
        _draw_gmacs(panels[3], papers, kept, swin)
    _legend(figure, rows, analysis)
    return figure


@own_style()
def plot_curves_of_steps(analysis: Analysis) -> Figure:
    """Draw the learning curves of every row that has a run, one small picture each, the row before in grey."""
    rows = analysis.done
    lines = max(1, math.ceil(len(rows) / MOST_COLUMNS))
    columns = max(1, math.ceil(len(rows) / lines))
    figure = new_figure(0.7 + 1.3 * lines)
    cells = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for number, axes in enumerate(cells):
        if number >= len(rows):
            axes.set_axis_off()
            continue
        _draw_curves(axes, rows[number], analysis.row(rows[number].result.row.before))
        # Above an empty place the axis of epochs has no picture of its own.
        axes.tick_params(labelbottom=number + columns >= len(rows), labelsize=SMALL)
    figure.supxlabel("epoch", fontsize=NORMAL)
    figure.supylabel("top-1 on held-out pictures, %", fontsize=NORMAL)
    if analysis.rows[1:]:
        handles = [
            Line2D([], [], color=INK, linewidth=1.4, label="the row, one line a seed"),
            Line2D([], [], color=PALE, linewidth=1, label="the row that it is compared with"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=SMALL)
    return figure


def _title(analysis: Analysis) -> str:
    sweep = analysis.results.sweep
    name, regime = _short(data_title(sweep.data)), _short(f"regime {sweep.regime.name}")
    return f"measured: {name}\n{sweep.modern.data.size} px, {counted(sweep.modern.schedule.epochs, 'epoch')}\n{regime}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _measured(row: RowFinding) -> Bar:
    colour, kept = section_colour(row), row.result.row.adopted
    found = row.spread
    if found is None:
        return Bar(colour=colour, kept=kept, text="not run")
    std = found.std
    low, high = (None, None) if std is None else (found.mean - std, found.mean + std)
    dots = tuple(row.result.top1s)
    return Bar(colour=colour, kept=kept, end=found.mean, text=f"{found.mean:.2f}", low=low, high=high, dots=dots)


def _published(row: RowFinding) -> Bar:
    colour, kept, paper = section_colour(row), row.result.row.adopted, row.result.row.paper
    if paper is None:
        return Bar(colour=colour, kept=kept)
    low, high = (None, None) if paper.std is None else (paper.top1 - paper.std, paper.top1 + paper.std)
    return Bar(colour=colour, kept=kept, end=paper.top1, text=f"{paper.top1:.2f}", low=low, high=high)


def _left_out(row: RowFinding, analysis: Analysis) -> Bar:
    colour, whole = section_colour(row), analysis.rows[0].spread
    if row.result.row.before is None and whole is not None:
        return Bar(
            colour=colour, kept=True, end=0.0, text="0", dots=tuple(top1 - whole.mean for top1 in row.result.top1s)
        )
    found = row.difference
    if found is None or whole is None:
        return Bar(colour=colour, kept=True, text="not run" if row.spread is None else "nothing to compare with")
    dots = tuple(top1 - whole.mean for top1 in row.result.top1s)
    text = signed(found.value)
    return Bar(colour=colour, kept=True, end=found.value, text=text, low=found.low, high=found.high, dots=dots)


def _name_rows(axes: Axes, rows: Sequence[RowFinding]) -> None:
    axes.set_yticks(range(len(rows)), [row.title for row in rows], fontsize=NORMAL, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _draw_levels(axes: Axes, bars: Sequence[Bar], swin: Level | None = None) -> None:
    """Draw accuracies as bars that begin below the lowest, which the axis says."""
    values = [value for bar in bars for value in (bar.end, bar.low, bar.high, *bar.dots) if value is not None]
    values += [] if swin is None else [swin.top1]
    lowest, highest = (min(values), max(values)) if values else (0.0, 100.0)
    room = max(highest - lowest, 1.0)
    # The printed number must fit into the shortest bar.
    start = max(0.0, lowest - 0.5 * room) if values else 0.0
    _dress_rows(axes)
    axes.set_xlim(start, min(100.0, highest + 0.12 * room) if values else 100.0)
    for y, bar in enumerate(bars):
        _draw_bar(axes, y, bar, start)
        axes.text(start + 0.03 * (axes.get_xlim()[1] - start), y, bar.text, **_print_on(bar))
    axes.set_xlabel(f"top-1, %{f' (bars begin at {start:.1f})' if start else ''}", fontsize=SMALL)
    if swin is not None:
        axes.axvline(swin.top1, color=INK, linewidth=1, linestyle="--", zorder=4)
        axes.annotate(
            f"{swin.name} {swin.top1:.1f}",
            (swin.top1, 0),
            (-3, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=SMALL,
            color=INK,
        )


def _draw_differences(axes: Axes, bars: Sequence[Bar], whole: Spread | None) -> None:
    """Draw differences as bars from 0, their numbers in a column of their own."""
    values = [value for bar in bars for value in (bar.end, bar.low, bar.high, *bar.dots) if value is not None]
    lowest, highest = min([0.0, *values]), max([0.0, *values])
    room = max(highest - lowest, 1.0)
    _dress_rows(axes)
    axes.set_xlim(lowest - 0.06 * room, highest + 0.35 * room)
    for y, bar in enumerate(bars):
        _draw_bar(axes, y, bar, 0.0)
        muted = INK if bar.end is not None else GREY
        axes.text(
            0.99,
            y,
            bar.text,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=SMALL,
            color=muted,
        )
    axes.axvline(0, color=INK, linewidth=0.8)
    level = "" if whole is None else f" ({whole.mean:.2f}%)"
    axes.set_xlabel(f"difference to the whole ConvNeXt{level} in top-1, points", fontsize=SMALL)


def _dress_rows(axes: Axes) -> None:
    dress(axes)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelsize=NORMAL)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _draw_bar(axes: Axes, y: int, bar: Bar, start: float) -> None:
    if bar.end is None:
        return
    look: dict[str, Any] = (
        {"color": bar.colour} if bar.kept else {"facecolor": "white", "edgecolor": bar.colour, "hatch": HATCH}
    )
    axes.barh(y, bar.end - start, left=start, height=0.72, linewidth=0.8, **look)
    if bar.low is not None and bar.high is not None:
        axes.plot([bar.low, bar.high], [y, y], color=INK, linewidth=1.1, zorder=3)
    for dot in bar.dots:
        axes.plot(dot, y, "o", color="white", markeredgecolor=INK, markeredgewidth=0.7, markersize=3, zorder=4)


def _print_on(bar: Bar) -> dict[str, Any]:
    """Return how a number is printed on a bar so that it can be read there."""
    style: dict[str, Any] = {"va": "center", "fontsize": SMALL}
    if bar.end is None:
        return {**style, "color": GREY, "style": "italic"}
    if not bar.kept:
        return {**style, "color": INK, "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1}}
    return {**style, "color": "white" if _is_dark(bar.colour) else "black"}


def _is_dark(colour: str) -> bool:
    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.4


def _draw_gmacs(
    axes: Axes, values: Sequence[float | None], kept: Sequence[bool], swin: Level | None = None, *, line: bool = True
) -> None:
    """Draw multiply-adds as a line of points down the rows, the numbers in a column beside it, their axis on top."""
    known = [value for value in values if value is not None]
    highest = max(known)
    axes.set_xlim(-0.05 * highest, 2.2 * highest)
    for side in ("right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("GMACs", fontsize=SMALL)
    axes.set_xticks([0, *[tick for tick in MaxNLocator(3).tick_values(0, highest) if tick <= highest][-1:]])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.tick_params(axis="y", length=0)
    path = [(value, y) for y, value in enumerate(values) if value is not None and kept[y]]
    axes.plot(*zip(*path, strict=True), color=INK, linewidth=1 if line else 0, marker="o", markersize=3)
    texts = iter(gmacs_texts(known))
    for y, value in enumerate(values):
        if value is None:
            continue
        if not kept[y]:
            axes.plot(value, y, "o", color=INK, markerfacecolor="white", markersize=3)
        axes.text(0.99, y, next(texts), transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=SMALL)
    if swin is not None:
        axes.axvline(swin.gmacs, color=INK, linewidth=0.8, linestyle="--", zorder=0)


def _legend(figure: Figure, rows: Sequence[RowFinding], analysis: Analysis) -> None:
    used = {section_colour(row) for row in rows}
    handles: list[Patch | Line2D] = [
        Patch(color=colour, label=name) for name, (colour, _) in SECTIONS.items() if colour in used
    ]
    if not all(row.result.row.adopted for row in rows):
        handles.append(Patch(facecolor="white", edgecolor=INK, hatch=HATCH, label="tried, not kept"))
    handles.append(
        Line2D([], [], color=INK, linewidth=1.1, label="± std of seeds" if analysis.walks else "95% interval")
    )
    handles.append(
        Line2D([], [], linewidth=0, marker="o", color="white", markeredgecolor=INK, markersize=4, label="one seed")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=SMALL)


def _draw_curves(axes: Axes, row: RowFinding, before: RowFinding | None) -> None:
    colour = section_colour(row)
    for runs, shade, width in ((before.result.runs if before else (), PALE, 0.9), (row.result.runs, colour, 1.3)):
        for run in runs:
            if run.curve:
                mark = "o" if len(run.curve) == 1 else ""
                axes.plot(*zip(*run.curve, strict=True), color=shade, linewidth=width, marker=mark, markersize=3)
    dress(axes)
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True, min_n_ticks=1))
    axes.set_title(textwrap.fill(row.title, LONGEST_LINE), fontsize=SMALL, pad=3)
    if row.spread is not None:
        axes.text(0.97, 0.05, f"{row.spread.mean:.2f}", transform=axes.transAxes, ha="right", fontsize=SMALL)
