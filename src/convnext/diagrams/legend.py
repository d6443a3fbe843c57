"""What the shapes of a page mean, in a few words at its foot."""

from collections.abc import Iterator
from dataclasses import dataclass

from convnext.diagrams.pen import FAINT, Pen, text_width

_SAMPLE, _AFTER, _LINE, _APART, _POINTS = 0.42, 0.08, 0.25, 0.3, 7.5
_SHAPES = {
    "dense": "dense convolution, as wide as its channels",
    "depthwise": "d: depthwise, each channel alone",
    "map": "a map, as high as its side and as wide as its channels",
}
_COMPARED = {
    "changed": "new, or other than in the drawing before",
    "gone": "in the drawing before and not in this one",
}


@dataclass(frozen=True, kw_only=True)
class Legend:
    """The legend of a page.

    width     that it may take, in inches
    size      side in pixels of the picture that the multiply-adds are counted for
    compared  whether there is more than one drawing, so that something may be highlighted
    """

    width: float
    size: int
    compared: bool

    @property
    def height(self) -> float:
        """The height in inches."""
        return _LINE * (1 + max(line for _, line, _, _ in self._places()))

    def draw(self, pen: Pen) -> None:
        """Draw it from the pen's corner down."""
        for x, line, sample, meaning in self._places():
            _draw_sample(pen, sample, x, line * _LINE)
            pen.text(x + _taken(sample), line * _LINE, meaning, points=_POINTS, colour=FAINT)

    def _places(self) -> Iterator[tuple[float, int, str, str]]:
        """Yield of each entry its left end, its line, its sample ("" for none) and its meaning."""
        shapes = {**_SHAPES, **(_COMPARED if self.compared else {})}
        notes = ["BN, LN: batch and layer norm", f"MACs: multiply-adds for one picture of {self.size}x{self.size}"]
        x, line = 0.0, 0
        for sample, meaning in [*shapes.items(), *(("", note) for note in notes)]:
            needed = _taken(sample) + text_width(meaning, _POINTS)
            if x > 0 and x + needed > self.width:
                x, line = 0.0, line + 1
            yield x, line, sample, meaning
            x += needed + _APART


def _taken(sample: str) -> float:
    return _SAMPLE + _AFTER if sample else 0.0


def _draw_sample(pen: Pen, sample: str, x: float, y: float) -> None:
    middle = x + _SAMPLE / 2
    if sample == "dense":
        pen.box(middle, y - 0.08, (_SAMPLE, _SAMPLE * 0.6), 0.16, key=sample)
    elif sample == "depthwise":
        pen.box(middle, y - 0.08, (_SAMPLE, _SAMPLE), 0.16, key=sample, striped=True)
    elif sample == "map":
        pen.slab(middle - 0.1, y, 0.2, 0.14)
    elif sample in ("changed", "gone"):
        pen.pill(x, y, _SAMPLE, key=sample, look="changed" if sample == "changed" else "gone")
