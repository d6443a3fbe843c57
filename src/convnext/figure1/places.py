"""Where labels stand: near their bubble, on nothing else, inside the frame. Plain geometry, in typographic points.

Labels are placed one after the other, each at the nearest free place; where one finds none, it takes its turn before
the others and all are placed anew.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Point = tuple[float, float]
Line = tuple[Point, Point]
# From the rim of the bubble to the label; further ones need a line that leads to them.
GAPS = (2.0, 4.5, 8.0, 12.0, 17.0, 23.0, 30.0, 38.0, 48.0, 60.0, 75.0, 95.0, 120.0)
FARTHEST_WITHOUT_LINE = 4.5
# Beside the bubble first, above and below it later.
_DEGREES = (
    0,
    180,
    15,
    165,
    345,
    195,
    30,
    150,
    330,
    210,
    90,
    270,
    45,
    135,
    315,
    225,
    60,
    120,
    300,
    240,
    75,
    105,
    285,
    255,
)
# White around a label, and how much farther than its own the next bubble must be.
_AIR, _CLEARLY = 1.0, 1.0
_MOST_TURNS = 12


@dataclass(frozen=True, kw_only=True)
class Box:
    """An upright rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box", air: float = 0.0) -> bool:
        """Whether two boxes overlap, or come nearer to each other than `air`."""
        across = self.left < other.right + air and other.left < self.right + air
        return across and self.bottom < other.top + air and other.bottom < self.top + air

    def holds(self, other: "Box") -> bool:
        """Whether another box lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.bottom <= other.bottom and other.top <= self.top

    def nearest(self, point: Point) -> Point:
        """Return the point of the box that is nearest to another one."""
        return min(max(point[0], self.left), self.right), min(max(point[1], self.bottom), self.top)

    def crossed_by(self, line: Line) -> bool:
        """Whether a part of a line lies inside."""
        (x, y), (to_x, to_y) = line
        enter, leave = 0.0, 1.0
        for start, step, low, high in ((x, to_x - x, self.left, self.right), (y, to_y - y, self.bottom, self.top)):
            if step == 0:
                if not low < start < high:
                    return False
                continue
            one, other = sorted(((low - start) / step, (high - start) / step))
            enter, leave = max(enter, one), min(leave, other)
        return enter < leave


@dataclass(frozen=True, kw_only=True)
class Disc:
    """A round bubble."""

    x: float
    y: float
    radius: float

    def rim(self, angle: float) -> float:
        """Return how far the bubble reaches in a direction."""
        return self.radius

    def meets(self, box: Box, air: float = 0.0) -> bool:
        """Whether a box covers a part of the disc, or comes nearer than `air`."""
        return math.dist((self.x, self.y), box.nearest((self.x, self.y))) < self.radius + air

    def crossed_by(self, line: Line) -> bool:
        """Whether a part of a line lies inside."""
        (x, y), (to_x, to_y) = line
        length = math.dist(*line)
        share = ((self.x - x) * (to_x - x) + (self.y - y) * (to_y - y)) / length**2 if length else 0.0
        share = min(max(share, 0.0), 1.0)
        return math.dist((self.x, self.y), (x + share * (to_x - x), y + share * (to_y - y))) < self.radius


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A square bubble; `half` of its side."""

    x: float
    y: float
    half: float

    @property
    def box(self) -> Box:
        """The tile as a rectangle."""
        return Box(left=self.x - self.half, right=self.x + self.half, bottom=self.y - self.half, top=self.y + self.half)

    def rim(self, angle: float) -> float:
        """Return how far the bubble reaches in a direction."""
        return self.half / max(abs(math.cos(angle)), abs(math.sin(angle)))

    def meets(self, box: Box, air: float = 0.0) -> bool:
        """Whether a box covers a part of the tile, or comes nearer than `air`."""
        return self.box.meets(box, air)

    def crossed_by(self, line: Line) -> bool:
        """Whether a part of a line lies inside."""
        return self.box.crossed_by(line)


Shape = Disc | Tile


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a label stands, how far from its bubble, and the line from the bubble's middle where it is far."""

    box: Box
    gap: float
    line: Line | None


def place_labels(
    shapes: Sequence[Shape], sizes: Sequence[Point], frame: Box, bars: Sequence[Line] = ()
) -> list[Place | None]:
    """Return where the label of each disc stands, None where no place is free.

    sizes  width and height of each label
    frame  what no label may leave
    bars   lines that no label may cover
    """
    order = list(range(len(shapes)))
    best: list[Place | None] = [None] * len(shapes)
    for _ in range(_MOST_TURNS):
        places = _placed_in_order(order, shapes, sizes, frame, bars)
        if sum(place is None for place in places) < sum(place is None for place in best) or best.count(None) == len(
            best
        ):
            best = places
        lost = [at for at in order if places[at] is None]
        if not lost:
            break
        order = [*lost, *(at for at in order if at not in lost)]
    return best


def _placed_in_order(
    order: Sequence[int], shapes: Sequence[Shape], sizes: Sequence[Point], frame: Box, bars: Sequence[Line]
) -> list[Place | None]:
    places: list[Place | None] = [None] * len(shapes)
    for at in order:
        others = [place for place in places if place is not None]
        for place in _candidates(shapes[at], sizes[at]):
            if frame.holds(place.box) and _is_free(place, at, shapes, others, bars):
                places[at] = place
                break
    return places


def _candidates(shape: Shape, size: Point) -> Iterator[Place]:
    """Yield the places around a bubble, the nearest first; of those that are as near the one most to its side."""
    width, height = size
    middle = (shape.x, shape.y)
    for gap in GAPS:
        far = gap > FARTHEST_WITHOUT_LINE
        for angle in map(math.radians, _DEGREES):
            right, up = math.cos(angle), math.sin(angle)
            reach = shape.rim(angle) + gap
            # A label beside its bubble begins or ends there, one above or below it stands in the middle; at the end of
            # a line it may begin or end there too, so that stairs of labels lead out of a crowd.
            for share in (right, 1.0, -1.0) if far else (right,):
                x, y = shape.x + right * reach + share * width / 2, shape.y + up * (reach + height / 2)
                box = Box(left=x - width / 2, right=x + width / 2, bottom=y - height / 2, top=y + height / 2)
                yield Place(box=box, gap=gap, line=(middle, box.nearest(middle)) if far else None)


def _is_free(place: Place, own: int, shapes: Sequence[Shape], others: Sequence[Place], bars: Sequence[Line]) -> bool:
    box, line = place.box, place.line
    # Without a line a label belongs to the bubble that is nearest.
    air = place.gap + _CLEARLY if line is None else _AIR
    if any(shape.meets(box, _AIR if at == own else air) for at, shape in enumerate(shapes)):
        return False
    if any(box.crossed_by(bar) for bar in bars):
        return False
    for other in others:
        if box.meets(other.box, _AIR) or (other.line is not None and box.crossed_by(other.line)):
            return False
        if line is not None and (other.box.crossed_by(line) or (other.line is not None and _cross(line, other.line))):
            return False
    # A line begins in what covers its bubble, but passes through nothing else.
    return line is None or not any(
        shape.crossed_by(line) and not shape.crossed_by((line[0], line[0]))
        for at, shape in enumerate(shapes)
        if at != own
    )


def _cross(one: Line, other: Line) -> bool:
    def side(line: Line, point: Point) -> float:
        (x, y), (to_x, to_y) = line
        return (to_x - x) * (point[1] - y) - (to_y - y) * (point[0] - x)

    return side(one, other[0]) * side(one, other[1]) < 0 and side(other, one[0]) * side(other, one[1]) < 0
