"""Labels of Figure 1: near their bubble, on nothing else, inside the frame."""

import math
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convnext.figure1.places import Box, Disc, Line, Place, Shape, Tile, place_labels

FRAME = Box(left=0, bottom=0, right=300, top=200)
UNIT = Box(left=0, bottom=0, right=2, top=1)


@pytest.mark.parametrize(
    ("line", "crossed"),
    [
        (((-1, 0.5), (3, 0.5)), True),
        (((0.5, 0.5), (0.6, 0.6)), True),
        (((-1, 2), (3, 2)), False),
        (((-1, 0.5), (-0.1, 0.5)), False),
        (((1, -1), (1, 3)), True),
        (((-1, 0.8), (0.5, 2.3)), False),
        (((-1, -0.5), (3, 1.5)), True),
        (((3, -1), (3, 2)), False),
    ],
)
def test_a_line_crosses_a_box_where_a_part_of_it_lies_inside(line: Line, crossed: bool) -> None:
    assert UNIT.crossed_by(line) is crossed
    assert UNIT.crossed_by((line[1], line[0])) is crossed


@pytest.mark.parametrize(
    ("line", "crossed"),
    [
        (((-3, 0), (3, 0)), True),
        (((-3, 1.1), (3, 1.1)), False),
        (((-3, 0), (-1.5, 0)), False),
        (((0, 0), (9, 9)), True),
    ],
)
def test_a_line_crosses_a_disc_where_a_part_of_it_lies_inside(line: Line, crossed: bool) -> None:
    assert Disc(x=0, y=0, radius=1).crossed_by(line) is crossed


def test_a_disc_leaves_the_corners_to_a_label_that_a_tile_takes() -> None:
    in_the_corner = Box(left=0.8, bottom=0.8, right=2, top=2)
    assert not Disc(x=0, y=0, radius=1).meets(in_the_corner)
    assert Tile(x=0, y=0, half=1).meets(in_the_corner)


def reach(shape: Shape) -> float:
    return shape.radius if isinstance(shape, Disc) else shape.half


def overlap(one: Box, other: Box) -> bool:
    across = min(one.right, other.right) - max(one.left, other.left)
    return across > 0 and min(one.top, other.top) - max(one.bottom, other.bottom) > 0


def covers(box: Box, shape: Shape) -> bool:
    """Whether a point of the box, of many, lies in the bubble."""
    steps = [part / 12 for part in range(13)]
    for across in steps:
        for up in steps:
            x = box.left + across * (box.right - box.left) - shape.x
            y = box.bottom + up * (box.top - box.bottom) - shape.y
            far = math.hypot(x, y) if isinstance(shape, Disc) else max(abs(x), abs(y))
            if far < reach(shape):
                return True
    return False


def check(places: list[Place], shapes: list[Shape]) -> None:
    for place in places:
        box = place.box
        assert box.left >= 0 and box.bottom >= 0 and box.right <= 300 and box.top <= 200
        assert not any(covers(box, shape) for shape in shapes)
    for one, other in combinations(places, 2):
        assert not overlap(one.box, other.box)
        for line, box in ((one.line, other.box), (other.line, one.box)):
            assert line is None or not box.crossed_by(line)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(10, 290), st.floats(10, 190), st.floats(2, 25), st.booleans(), st.floats(10, 90)),
        min_size=1,
        max_size=14,
    )
)
def test_no_label_covers_anything_or_leaves_the_frame(
    drawn: list[tuple[float, float, float, bool, float]],
) -> None:
    shapes: list[Shape] = [
        Disc(x=x, y=y, radius=far) if round_ else Tile(x=x, y=y, half=far) for x, y, far, round_, _ in drawn
    ]
    places = place_labels(shapes, [(width, 9.0) for *_, width in drawn], FRAME)
    check([place for place in places if place is not None], shapes)
    if len(drawn) == 1:
        assert places[0] is not None


def test_a_lonely_label_stands_right_beside_its_bubble() -> None:
    (place,) = place_labels([Disc(x=50, y=60, radius=10)], [(30.0, 8.0)], FRAME)
    assert place is not None and place.line is None
    assert place.box == Box(left=62, bottom=56, right=92, top=64)


def test_at_the_right_edge_a_label_stands_on_the_left() -> None:
    (place,) = place_labels([Tile(x=280, y=60, half=10)], [(30.0, 8.0)], FRAME)
    assert place is not None and place.line is None
    assert place.box == Box(left=238, bottom=56, right=268, top=64)


def test_a_crowd_is_labelled_all_the_same_with_lines_from_the_middles() -> None:
    # A row of bubbles that touch: most labels cannot stand beside their own.
    shapes: list[Shape] = [Disc(x=120 + 8.0 * at, y=100, radius=4) for at in range(8)]
    places = place_labels(shapes, [(50.0, 9.0)] * 8, FRAME)
    found = [place for place in places if place is not None]
    assert len(found) == 8
    check(found, shapes)
    for shape, place in zip(shapes, found, strict=True):
        nearest = min(shapes, key=lambda other: math.dist((other.x, other.y), place.box.nearest((other.x, other.y))))
        assert nearest is shape if place.line is None else place.line[0] == (shape.x, shape.y)


def test_a_label_covers_no_bar() -> None:
    bar = ((50.0, 40.0), (50.0, 80.0))
    beside = Disc(x=49, y=60, radius=3)
    (place,) = place_labels([beside], [(30.0, 8.0)], FRAME, [bar])
    assert place is not None and not place.box.crossed_by(bar)


def test_what_fits_nowhere_is_left_out_and_the_rest_is_not() -> None:
    places = place_labels(
        [Disc(x=100, y=100, radius=5), Disc(x=200, y=100, radius=5)], [(301.0, 9.0), (40.0, 9.0)], FRAME
    )
    assert places[0] is None and places[1] is not None
