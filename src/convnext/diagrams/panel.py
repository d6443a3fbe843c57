"""One network as a drawing: what it is, what changed, a residual block, and the way through its stages."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from convnext.diagrams.changes import Changes, changes_between
from convnext.diagrams.nets import Drawn
from convnext.diagrams.parts import ConvPart, NetParts, elements, square
from convnext.diagrams.pen import FAINT, RIM, RULE, Pen, fitted, text_width

# Everything is in inches but the size of the caption, in points.
WIDTH = 3.4
_TOLD = 8.0
_TITLE_HEIGHT, _BLOCK_HEIGHT, _ROW, _ENTRY, _CAPTION, _LINE = 0.72, 3.55, 0.23, 0.25, 0.32, 0.16
_FIRST_ROW = 0.24
# Of the block: its middle, its shortcut, its boxes from narrowest to widest and what is between them, its sum.
_CENTRE, _SHORTCUT, _NARROWEST, _WIDEST = 1.52, 0.2, 0.95, 2.15
_BOX, _GAP, _SUM = 0.34, 0.38, 0.09
# Of the stages: left end, longest and highest map, and right ends of the columns.
_MAP = (0.52, 0.6, 0.22)
_COLUMNS = {"blocks": 1.62, "channels": 2.2, "side": 2.76, "macs": 3.3}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What all drawings of a page share so that they can be compared: the most channels of a convolution and stage."""

    conv_channels: int
    stage_channels: int


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A network and the one that it is compared with, None for the first of a page."""

    net: Drawn
    before: Drawn | None

    @cached_property
    def changes(self) -> Changes:
        """What differs from the network before."""
        return Changes() if self.before is None else changes_between(self.before.parts, self.net.parts)

    @property
    def caption(self) -> list[str]:
        """The lines that tell the changes in words, wrapped to the width of a drawing."""
        if self.before is None:
            return []
        words = self.changes.words or ("nothing in the network",)
        told = (line for word in words for line in fitted(f"• {word}", _TOLD, WIDTH))
        return [f"changes from {self.before.name}:", *told]

    @property
    def height(self) -> float:
        """The height in inches."""
        rows = (len(self.net.parts.stages) + 2) * (_ROW + _ENTRY)
        return _TITLE_HEIGHT + _BLOCK_HEIGHT + _FIRST_ROW + rows + _CAPTION + len(self.caption) * _LINE


def draw_panel(pen: Pen, panel: Panel, scale: Scale) -> None:
    """Draw a network from the pen's corner down."""
    parts = panel.net.parts
    total = _total(parts.macs, panel.before.parts.macs if panel.before else None)
    pen.text(0, 0.08, panel.net.title, points=11, bold=True)
    # The name of a scaled regime may be long.
    points = min(8.0, 8 * WIDTH / text_width(panel.net.about, 8))
    pen.text(0, 0.29, panel.net.about, points=points, colour=FAINT)
    pen.text(0, 0.47, f"{total}, {parts.params / 1e6:.2f}M parameters", points=8.5, key="total")
    pen.down(_TITLE_HEIGHT)
    _draw_block(pen, parts, scale)
    pen.down(_BLOCK_HEIGHT)
    bottom = _draw_stages(pen, parts, scale) + _CAPTION
    for number, line in enumerate(panel.caption):
        pen.text(0, bottom + number * _LINE, line, points=_TOLD, colour=RIM, bold=number == 0)


def macs_text(macs: int) -> str:
    """Return a number of multiply-adds with three digits and its unit, such as 51.4 M."""
    unit, name = next(((unit, name) for unit, name in ((1e9, "G"), (1e6, "M")) if macs >= 0.9995 * unit), (1e3, "k"))
    value = macs / unit
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {name}"


def _total(macs: int, before: int | None) -> str:
    # Two digits of 1e9 as the paper prints them; of 1e6 for a net that would have nothing before the point.
    unit, name = (1e9, "G") if macs >= 1e8 else (1e6, "M")
    text = f"{macs / unit:.2f} {name}MACs"
    if before is None:
        return text
    more = "as before" if macs == before else f"{(macs - before) / unit:+.2f}".replace("-", "−")
    return f"{text} ({more})"


def _draw_block(pen: Pen, net: NetParts, scale: Scale) -> None:
    shown, block = elements(net), net.block
    _draw_head(pen, "a block of stage 1", ["macs"])
    entering = f"{block.channels[0]} channels, {square(block.side)}"
    pen.text(_CENTRE, 0.24, entering, align="center", colour=FAINT)
    fork = 0.34
    y = fork + 0.13
    pen.arrow((_CENTRE, fork), (_CENTRE, y))
    for conv in block.convs:
        pills = [f"{conv.role}.norm", f"{conv.role}.act"]
        if conv is block.convs[-1]:
            pills.append("block.scale")
        _draw_conv(pen, conv, y, scale)
        y += _BOX + _GAP
        pen.arrow((_CENTRE, y - _GAP), (_CENTRE, y))
        pen.chips(_CENTRE, y - _GAP / 2 - 0.02, {key: shown.get(key) for key in pills}, centred=True)
    foot = y + _SUM
    pen.line([(_CENTRE, fork), (_SHORTCUT, fork), (_SHORTCUT, foot)])
    pen.arrow((_SHORTCUT, foot), (_CENTRE - _SUM, foot))
    pen.chips(_SHORTCUT - 0.1, foot, {"block.shortcut": shown.get("block.shortcut")})
    pen.plus(_CENTRE, foot, _SUM)
    end = foot + _SUM + _GAP
    pen.arrow((_CENTRE, foot + _SUM), (_CENTRE, end))
    pen.chips(_CENTRE, end - _GAP / 2 - 0.02, {"block.act": shown.get("block.act")}, centred=True)
    pen.text(_CENTRE, end + 0.08, f"{block.channels[-1]} channels", align="center", colour=FAINT)


def _draw_conv(pen: Pen, conv: ConvPart, y: float, scale: Scale) -> None:
    def side(channels: int) -> float:
        return _NARROWEST + (_WIDEST - _NARROWEST) * channels / scale.conv_channels

    marked = pen.marked([f"{conv.role}.{what}" for what in ("kernel", "channels", "kind", "place")])
    sides = (side(conv.in_channels), side(conv.out_channels))
    pen.box(_CENTRE, y, sides, _BOX, key=conv.role, label=conv.label, striped=conv.depthwise, marked=marked)
    counted = macs_text(conv.macs)
    pen.text(_COLUMNS["macs"], y + _BOX / 2, counted, align="right", colour=FAINT, key=f"{conv.role}.macs")


def _draw_stages(pen: Pen, net: NetParts, scale: Scale) -> float:
    shown = elements(net)
    _draw_head(pen, "the whole network", list(_COLUMNS))
    y = _FIRST_ROW
    _draw_row(pen, y, "picture", {"channels": shown["picture.channels"], "side": square(net.size)})
    for name, entry, macs, drawn_map in _rows(net):
        y += _ENTRY
        pen.arrow((0.06, y - 0.1), (0.06, y + 0.1))
        pen.chips(0.18, y, {f"{name}.{what}": shown.get(f"{name}.{what}") for what in entry})
        y += _ROW
        if drawn_map is not None:
            channels, side = drawn_map
            left, width, height = _MAP
            wide, tall = width * channels / scale.stage_channels, height * side / net.stem_side
            pen.slab(left, y, max(0.02, wide), max(0.02, tall))
        cells = {column: shown[key] for column in _COLUMNS if (key := f"{name}.{column}") in shown}
        _draw_row(pen, y, name, {**cells, "macs": macs_text(macs)})
    return y


def _rows(net: NetParts) -> Iterator[tuple[str, tuple[str, ...], int, tuple[int, int] | None]]:
    """Yield of each part its name, what is done on the way to it, its MACs, and channels and side of its map."""
    yield "stem", ("size", "norm", "act", "pool"), net.stem.macs, (net.stem.out_channels, net.stem_side)
    for stage in net.stages:
        yield stage.name, ("norm", "shrink", "shortcut"), stage.macs, (stage.channels, stage.side)
    yield "head", ("pool", "norm", "linear"), net.head_macs, None


def _draw_head(pen: Pen, title: str, columns: list[str]) -> None:
    pen.text(0, 0, title, points=7, colour=FAINT)
    for column in columns:
        shown = {"side": "pixels", "macs": "MACs"}.get(column, column)
        pen.text(_COLUMNS[column], 0, shown, points=7, align="right", colour=FAINT)
    pen.line([(0, 0.1), (_COLUMNS["macs"], 0.1)], colour=RULE)


def _draw_row(pen: Pen, y: float, name: str, cells: dict[str, str]) -> None:
    pen.text(0, y, name.replace("stage", "stage "))
    for column, text in cells.items():
        pen.text(_COLUMNS[column], y, text, align="right", key=f"{name}.{column}")
