"""Label maps over pictures, read back from the pixels."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from convnext.errors import UserError
from convnext.gallery import maps
from convnext.gallery.colours import colour_of
from convnext.gallery.maps import draw_map, palette, share_text
from convnext.gallery.regions import largest_regions
from convnext.gallery.sheet import Item, scale_of, with_legend

# Too long for any place, so that no name covers what is looked at.
LONG = tuple(f"class {number} " + "with a very long name " * 5 for number in range(5))
GREY = (90, 90, 90)


def plain(width: int = 600, height: int = 400) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def quarters(width: int = 600, height: int = 400) -> NDArray[np.uint8]:
    labels = np.full((height, width), 3, dtype=np.uint8)
    labels[: height // 2, : width // 4] = 0
    labels[height // 2 :, : width // 4] = 255
    return labels


@pytest.fixture
def legends(monkeypatch: pytest.MonkeyPatch) -> list[list[Item]]:
    seen: list[list[Item]] = []

    def keep(picture: Image.Image, items: Sequence[Item], note: str, scale: object) -> Image.Image:
        assert note == ""
        seen.append(list(items))
        return with_legend(picture, items, note, scale)  # type: ignore[arg-type]

    monkeypatch.setattr(maps, "with_legend", keep)
    return seen


@pytest.mark.parametrize("opacity", [0.0, 0.6, 1.0])
def test_each_class_has_its_colour_where_it_is(opacity: float) -> None:
    pixels = np.array(draw_map(plain(), quarters(), LONG, opacity=opacity)).astype(int)
    for number, part in ((0, pixels[5:195, 5:145]), (3, pixels[5:395, 155:595])):
        expected = (1 - opacity) * np.array(GREY) + opacity * palette(5)[number]
        assert (np.abs(part - expected) <= 1).all()


def test_a_small_map_grows_with_its_picture_and_keeps_hard_edges() -> None:
    factor = scale_of(128, 96).factor
    drawn = draw_map(plain(128, 96), quarters(128, 96), LONG, opacity=1.0)
    assert factor >= 3 and drawn.width == 128 * factor
    pixels = np.array(drawn)[: 40 * factor, : 128 * factor]
    inside = {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}
    assert inside == {colour_of(0), colour_of(3), (250, 250, 250)}
    assert (pixels[:, : 32 * factor - 2] == colour_of(0)).all() and (pixels[:, 32 * factor :] == colour_of(3)).all()


def test_regions_are_parted_by_a_line() -> None:
    pixels = np.array(draw_map(plain(), quarters(), LONG))
    white = (pixels[:400] == 250).all(axis=2)
    assert white[:, 149].all() and white[199, :149].all()
    white[:, 148:150] = white[198:200, :150] = False
    assert not white.any()


def test_ignored_places_are_hatched_in_grey() -> None:
    ignored = np.array(draw_map(plain(), quarters(), LONG))[205:395, 5:140]
    assert (ignored == ignored[..., :1]).all()
    assert 2 <= len(np.unique(ignored)) <= 3
    assert abs(int(ignored.max()) - int(ignored.min())) > 40


def test_the_legend_lists_exactly_what_is_there_by_share(legends: list[list[Item]]) -> None:
    labels = np.full((100, 100), 2, dtype=np.uint8)
    labels[:43] = 4
    labels[99, 95:] = 255
    labels[50, 50] = 0
    drawn = draw_map(plain(100, 100), labels, ["wall", "sea", "sky", "car", "road"])
    assert [(item.name, item.amount) for item in legends[0]] == [
        ("sky", "57%"),
        ("road", "43%"),
        ("wall", "<0.1%"),
        ("ignored", "<0.1%"),
    ]
    assert [item.colour for item in legends[0]] == [colour_of(2), colour_of(4), colour_of(0), None]
    below = np.array(drawn)[100 * scale_of(100, 100).factor :].reshape(-1, 3)
    inside = {tuple(colour) for colour in np.unique(below, axis=0).tolist()}
    assert {colour_of(2), colour_of(4), colour_of(0)} <= inside
    assert not {colour_of(1), colour_of(3)} & inside


def test_a_map_of_150_classes_has_each_in_its_legend(legends: list[list[Item]]) -> None:
    labels = (np.arange(600 * 400) % 150).astype(np.uint8).reshape(400, 600)
    drawn = draw_map(plain(), labels, [f"a class that is called {number}" for number in range(150)])
    assert len(legends[0]) == 150
    below = np.array(drawn)[400:].reshape(-1, 3)
    inside = {tuple(colour) for colour in np.unique(below, axis=0).tolist()}
    assert {colour_of(number) for number in range(150)} <= inside


def test_a_region_with_room_is_named_within_itself_and_others_are_not() -> None:
    labels = np.zeros((400, 600), dtype=np.uint8)
    labels[:, 300:] = 1
    labels[50:60, 20:30] = 2
    without = np.array(draw_map(plain(), labels, LONG))[:400]
    named = np.array(draw_map(plain(), labels, ["wall", "sky", "a class"]))[:400]
    different = (without != named).any(axis=2)
    for number in (0, 1):
        assert different[labels == number].any()
        assert (named[different & (labels == number)] == colour_of(number)).all(axis=1).any()
    assert not different[labels == 2].any()
    assert not different[:, 297:301].any() and not different[[0, -1]].any()


def test_a_name_that_does_not_fit_is_not_drawn() -> None:
    labels = np.zeros((400, 600), dtype=np.uint8)
    labels[:, 300:320] = 1
    labels[200:208, 320:] = 2
    pixels = np.array(draw_map(plain(), labels, [LONG[0], "sky", "sea"], opacity=1.0))[:400]
    # A name would bring the ink of its letters.
    inside = {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}
    assert inside == {colour_of(0), colour_of(1), colour_of(2), (250, 250, 250)}


def test_what_is_given_is_not_changed_and_the_drawing_is_the_same_each_time() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8))
    labels = quarters(128, 96)
    before = picture.tobytes()
    first, second = draw_map(picture, labels, LONG), draw_map(picture, labels, LONG)
    assert first.tobytes() == second.tobytes()
    assert picture.tobytes() == before and np.array_equal(labels, quarters(128, 96))


@pytest.mark.parametrize("ignore", [0, 200])
def test_any_number_may_be_the_ignored_one(ignore: int, legends: list[list[Item]]) -> None:
    labels = np.full((50, 50), 1, dtype=np.uint8)
    labels[:10] = ignore
    draw_map(plain(50, 50), labels, ["wall", "sky"], ignore=ignore)
    assert [(item.name, item.amount) for item in legends[0]] == [("sky", "80%"), ("ignored", "20%")]


def test_a_map_that_is_ignored_as_a_whole_is_drawn(legends: list[list[Item]]) -> None:
    draw_map(plain(50, 50), np.full((50, 50), 255, dtype=np.uint8), ["wall"])
    assert [(item.name, item.amount) for item in legends[0]] == [("ignored", "100%")]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0004, "<0.1%"), (0.001, "0.1%"), (0.0314, "3.1%"), (0.0996, "10%"), (0.43, "43%"), (0.999, "99%"), (1, "100%")],
)
def test_shares(share: float, text: str) -> None:
    assert share_text(share) == text


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match=r"\(400, 600\), got \(600, 400\)"):
        draw_map(plain(), quarters(400, 600), LONG)
    with pytest.raises(UserError, match=r"holds 3, which is none of the classes \(0 to 1\) nor 255"):
        draw_map(plain(), quarters(), ["wall", "sky"])
    with pytest.raises(UserError, match=r"opacity must be from 0 to 1, got 60"):
        draw_map(plain(), quarters(), LONG, opacity=60)
    with pytest.raises(UserError, match="0 to 255 classes, got 300"):
        draw_map(plain(), quarters(), ["wall"] * 300)


@given(st.integers(0, 2**32 - 1))
def test_the_middle_of_a_region_and_the_room_around_it_are_inside_it(seed: int) -> None:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 4, (6, 9), dtype=np.uint8)
    labels = coarse.repeat(10, axis=0).repeat(10, axis=1)
    regions = largest_regions(labels, ignore=3)
    assert {region.number for region in regions} == set(np.unique(labels).tolist()) - {3}
    for region in regions:
        row, column = int(region.y), int(region.x)
        half_width, half_height = region.width // 2, region.height // 2
        assert (labels[row, column - half_width : column + half_width + 1] == region.number).all()
        assert (labels[row - half_height : row + half_height + 1, column] == region.number).all()
        assert region.width >= 9 and region.height >= 9


def test_each_part_of_a_class_is_a_region_but_small_ones_are_not() -> None:
    labels = np.full((300, 1000), 255, dtype=np.uint8)
    labels[100:200, 100:300] = 7
    labels[100:200, 600:900] = 7
    labels[10:20, 10:20] = 7
    left, right = largest_regions(labels, ignore=255)
    assert (left.number, right.number) == (7, 7)
    assert abs(left.x - 200) <= 6 and abs(left.y - 150) <= 6 and left.height >= 90
    assert abs(right.x - 750) <= 6 and abs(right.y - 150) <= 6
