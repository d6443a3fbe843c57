"""Where the names of objects stand."""

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from convnext.gallery.colours import ink_on
from convnext.gallery.lettering import line_of
from convnext.gallery.plates import Plate, placed

RED = (230, 30, 30)


def place(
    *boxes: tuple[float, float, float, float], size: tuple[int, int] = (300, 200), text: str = "cat"
) -> list[Plate]:
    lines = [line_of(text, 14, longest_px=size[0]) for _ in boxes]
    return placed(lines, boxes, [RED] * len(boxes), size)


def overlap(one: Plate, other: Plate) -> int:
    across = min(one.right, other.right) - max(one.left, other.left)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(0, across) * max(0, down)


corner = st.floats(-60, 400)


@given(st.lists(st.tuples(corner, corner, corner, corner), max_size=30))
def test_every_plate_is_inside_the_picture_and_no_more_than_half_hidden(
    boxes: list[tuple[float, float, float, float]],
) -> None:
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in boxes]
    plates = place(*boxes)
    assert (len(plates) > 0) == (len(boxes) > 0)
    for number, plate in enumerate(plates):
        assert 0 <= plate.left < plate.right <= 300
        assert 0 <= plate.top < plate.bottom <= 200
        hidden = sum(overlap(plate, before) for before in plates[:number])
        assert 2 * hidden <= (plate.right - plate.left) * (plate.bottom - plate.top)


def test_a_plate_stands_on_the_upper_left_corner_of_its_box() -> None:
    (plate,) = place((100, 80, 180, 150))
    assert (plate.left, plate.bottom) == (100, 80)


def test_a_box_at_the_upper_edge_has_its_name_at_the_edge() -> None:
    (plate,) = place((100, 0, 180, 150))
    assert (plate.left, plate.top) == (100, 0)


def test_a_box_in_the_corner_has_its_name_pushed_back_inside() -> None:
    (plate,) = place((295, 190, 300, 200))
    assert plate.right == 300 and plate.bottom <= 190


def test_two_boxes_in_one_place_have_names_in_two_places() -> None:
    first, second, third = place(*[(100.0, 80.0, 180.0, 150.0)] * 3)
    assert overlap(first, second) == overlap(first, third) == overlap(second, third) == 0
    # The most important one keeps the best place.
    assert (first.left, first.bottom) == (100, 80)
    for plate in (second, third):
        assert plate.left < 180 and plate.right > 100 and plate.top <= 150 and plate.bottom >= 80


def test_a_picture_smaller_than_a_plate_gets_none() -> None:
    assert place((0, 0, 5, 5), size=(30, 8)) == []


def test_a_plate_is_opaque_and_its_text_in_the_ink_of_its_colour() -> None:
    (plate,) = place((100, 80, 180, 150))
    picture = Image.new("RGB", (300, 200), (0, 255, 0))
    plate.draw(ImageDraw.Draw(picture))
    inside = picture.crop((plate.left, plate.top, plate.right, plate.bottom))
    colours = {colour for _, colour in inside.getcolors(10_000) or []}
    assert (0, 255, 0) not in colours
    assert RED in colours and ink_on(RED) in colours
    picture.paste((0, 255, 0), (plate.left, plate.top, plate.right, plate.bottom))
    assert picture.getcolors() == [(300 * 200, (0, 255, 0))]
