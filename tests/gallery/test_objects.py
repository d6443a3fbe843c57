"""Objects over pictures, read back from the pixels."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from convnext.errors import UserError
from convnext.gallery import objects
from convnext.gallery.colours import colour_of
from convnext.gallery.objects import Shown, draw_objects, percent
from convnext.gallery.sheet import GROUND, Item, scale_of, with_legend

CLASSES = ("cat", "dog", "bird", "traffic light")
GREY = (90, 90, 90)
SIZE = (600, 400)


def shown(
    *items: tuple[str, tuple[float, float, float, float]],
    scores: Sequence[float] | None = None,
    masks: NDArray[np.bool_] | None = None,
) -> Shown:
    return Shown(
        boxes=np.array([box for _, box in items], dtype=np.float32).reshape(-1, 4),
        labels=tuple(label for label, _ in items),
        scores=None if scores is None else np.array(scores, dtype=np.float32),
        masks=masks,
    )


def plain(size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new("RGB", size, GREY)


def colours_in(picture: Image.Image) -> set[tuple[int, int, int]]:
    return {tuple(colour) for colour in np.unique(np.array(picture).reshape(-1, 3), axis=0).tolist()}  # type: ignore[misc]


def strip(drawn: Image.Image, height: int = SIZE[1]) -> Image.Image:
    return drawn.crop((0, height, drawn.width, drawn.height))


@pytest.fixture
def legends(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[tuple[str, str]], str]]:
    seen: list[tuple[list[tuple[str, str]], str]] = []

    def keep(picture: Image.Image, items: Sequence[Item], note: str, scale: object) -> Image.Image:
        seen.append(([(item.name, item.amount) for item in items], note))
        return with_legend(picture, items, note, scale)  # type: ignore[arg-type]

    monkeypatch.setattr(objects, "with_legend", keep)
    return seen


def test_a_box_is_drawn_where_it_is_in_the_colour_of_its_class() -> None:
    pixels = np.array(draw_objects(plain(), shown(("dog", (200, 100, 300, 250))), CLASSES))
    dog = np.array(colour_of(1))
    assert (pixels[150:240, 200] == dog).all() and (pixels[150:240, 299] == dog).all()
    assert (pixels[249, 210:290] == dog).all() and (pixels[100, 210:290] == dog).all()
    # Nothing within it, and outside only its name.
    assert (pixels[110:240, 210:290] == GREY).all()
    outside = (pixels[:400] != GREY).any(axis=2)
    outside[99:251, 199:301] = False
    rows, columns = outside.nonzero()
    assert len(rows) and rows.min() >= 75 and rows.max() < 100 and columns.min() >= 199 and columns.max() < 260


def test_a_mask_tints_what_it_covers_and_nothing_else() -> None:
    masks = np.zeros((1, 400, 600), dtype=bool)
    masks[0, 120:220, 220:260] = True
    pixels = np.array(draw_objects(plain(), shown(("dog", (200, 100, 300, 250)), masks=masks), CLASSES))
    mixed = np.round(0.58 * np.array(GREY) + 0.42 * np.array(colour_of(1)))
    assert (np.abs(pixels[125:215, 225:255] - mixed) <= 1).all()
    assert (pixels[120, 220:260] == colour_of(1)).all() and (pixels[120:220, 259] == colour_of(1)).all()
    assert (pixels[110:119, 210:290] == GREY).all() and (pixels[125:215, 262:290] == GREY).all()


def test_masks_and_boxes_of_a_small_picture_grow_with_it() -> None:
    masks = np.zeros((1, 96, 128), dtype=bool)
    masks[0, 40:60, 30:70] = True
    drawn = draw_objects(plain((128, 96)), shown(("cat", (20, 30, 80, 70)), masks=masks), CLASSES)
    factor = scale_of(128, 96).factor
    assert factor >= 3 and drawn.width == 128 * factor
    pixels = np.array(drawn)[: 96 * factor]
    assert (pixels[40 * factor, 30 * factor : 70 * factor] == colour_of(0)).all()
    assert (pixels[40 * factor - 1, 30 * factor : 70 * factor] == GREY).all()
    assert (pixels[59 * factor + factor - 1, 30 * factor : 70 * factor] == colour_of(0)).all()
    assert (pixels[40 * factor : 60 * factor, 20 * factor] == colour_of(0)).all()


def test_the_legend_lists_exactly_what_is_drawn(legends: list[tuple[list[tuple[str, str]], str]]) -> None:
    boxes = [(10.0 + 50 * number, 50.0, 50.0 + 50 * number, 90.0) for number in range(6)]
    labels = ["dog", "bird", "dog", "cat", "dog", "bird"]
    drawn = draw_objects(
        plain(), shown(*zip(labels, boxes, strict=True), scores=[0.9, 0.8, 0.31, 0.29, 0.3, 0.1]), CLASSES
    )
    assert legends == [([("dog", "×3"), ("bird", "×1")], "2 below 30% not drawn")]
    inside = colours_in(strip(drawn))
    assert {colour_of(1), colour_of(2), GROUND} <= inside
    assert not {colour_of(0), colour_of(3)} & inside
    assert colour_of(0) not in colours_in(drawn)


def test_a_score_of_just_the_threshold_is_drawn(legends: list[tuple[list[tuple[str, str]], str]]) -> None:
    given = shown(("cat", (10, 50, 60, 90)), ("dog", (100, 50, 160, 90)), scores=[0.5, 0.4375])
    draw_objects(plain(), given, CLASSES, score_threshold=0.5)
    assert legends == [([("cat", "×1")], "1 below 50% not drawn")]


def test_of_two_classes_of_one_name_the_first_gives_the_colour() -> None:
    drawn = draw_objects(plain(), shown(("bat", (200, 100, 300, 250))), ("cat", "bat", "bat"))
    assert drawn.getpixel((200, 200)) == colour_of(1)


def test_the_name_of_the_surest_lies_on_top() -> None:
    # So low a picture that the plates of two names must overlap.
    objects_of_it = [("cat", (0.0, 8.0, 20.0, 24.0)), ("dog", (0.0, 0.0, 20.0, 16.0))]
    alone = np.array(draw_objects(plain((600, 30)), shown(objects_of_it[0], scores=[0.9]), CLASSES))
    both = np.array(draw_objects(plain((600, 30)), shown(*objects_of_it, scores=[0.9, 0.5]), CLASSES))
    assert np.array_equal(both[:16, :22], alone[:16, :22])
    assert (both[22:29, 22:40] == colour_of(1)).all(axis=2).any()


def test_tiny_pictures_stay_squares_and_small_ones_become_smooth() -> None:
    for side, smooth in ((32, False), (128, True)):
        pixels = np.zeros((side, side, 3), dtype=np.uint8)
        pixels[:, side // 2 :] = 255
        drawn = draw_objects(Image.fromarray(pixels), shown(), CLASSES)
        row = np.array(drawn)[10, : side * scale_of(side, side).factor, 0]
        assert (len(np.unique(row)) > 2) == smooth


def test_the_threshold_does_not_touch_the_truth(legends: list[tuple[list[tuple[str, str]], str]]) -> None:
    draw_objects(plain(), shown(("cat", (10, 50, 60, 90)), ("dog", (100, 50, 160, 90))), CLASSES, score_threshold=0.99)
    assert legends == [([("cat", "×1"), ("dog", "×1")], "")]


def test_a_picture_without_objects_says_so(legends: list[tuple[list[tuple[str, str]], str]]) -> None:
    masks = np.zeros((0, 400, 600), dtype=bool)
    drawn = draw_objects(plain(), shown(masks=masks), CLASSES)
    draw_objects(plain(), shown(("cat", (10, 50, 60, 90)), scores=[0.2]), CLASSES)
    assert legends == [([], "no objects"), ([], "no objects; 1 below 30% not drawn")]
    assert (np.array(drawn)[:400] == GREY).all()
    assert drawn.height > 400 and len(colours_in(strip(drawn))) > 2


def test_what_is_given_is_not_changed_and_the_drawing_is_the_same_each_time() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8))
    masks = np.zeros((2, 400, 600), dtype=bool)
    masks[:, 100:200, 100:200] = True
    given = shown(("cat", (90, 90, 210, 210)), ("dog", (300, 5, 610, 410)), scores=[0.5, 0.9], masks=masks)
    before = [picture.tobytes(), given.boxes.copy(), masks.copy()]
    first, second = draw_objects(picture, given, CLASSES), draw_objects(picture, given, CLASSES)
    assert first.tobytes() == second.tobytes()
    assert picture.tobytes() == before[0]
    assert np.array_equal(given.boxes, before[1]) and np.array_equal(masks, before[2])


def test_a_small_object_is_not_hidden_by_a_large_one() -> None:
    masks = np.zeros((2, 400, 600), dtype=bool)
    masks[0, 200:240, 300:340] = True
    masks[1, 50:390, 50:590] = True
    items = [("cat", (290.0, 190.0, 350.0, 250.0)), ("dog", (50.0, 50.0, 590.0, 390.0))]
    for order in ((0, 1), (1, 0)):
        given = shown(*(items[number] for number in order), masks=masks[list(order)])
        pixels = np.array(draw_objects(plain(), given, CLASSES))
        assert (pixels[205:235, 300] == colour_of(0)).all() and (pixels[239, 305:335] == colour_of(0)).all()


def test_a_class_has_its_colour_whatever_else_is_in_the_picture() -> None:
    alone = draw_objects(plain(), shown(("bird", (200, 100, 300, 250))), CLASSES)
    both = draw_objects(plain(), shown(("cat", (10, 100, 90, 250)), ("bird", (200, 100, 300, 250))), CLASSES)
    for drawn in (alone, both):
        assert drawn.getpixel((200, 200)) == colour_of(2)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "I;16"])
def test_pictures_of_every_kind_are_drawn_on(mode: str) -> None:
    picture = Image.new("I;16", (64, 48), 500) if mode == "I;16" else Image.new("RGB", (64, 48), GREY).convert(mode)
    assert draw_objects(picture, shown(("cat", (5, 5, 30, 30))), CLASSES).mode == "RGB"


def test_boxes_beyond_the_picture_and_without_area_do_no_harm() -> None:
    given = shown(("cat", (-50, -50, 900, 900)), ("dog", (10, 10, 10, 10)), ("bird", (700, 500, 800, 600)))
    pixels = np.array(draw_objects(plain(), given, CLASSES))
    assert (pixels[399, 100:500] == colour_of(0)).all() and (pixels[100:300, 0] == colour_of(0)).all()


def test_many_objects_with_long_names_in_a_narrow_picture_are_drawn() -> None:
    generator = np.random.default_rng(1)
    classes = ["name " * 20, "<b>&", "кошка", ""]
    corners = np.sort(generator.random((50, 2, 2)) * [60, 400], axis=1).reshape(50, 4)
    given = Shown(
        boxes=corners, labels=tuple(classes[n] for n in generator.integers(0, 4, 50)), scores=np.ones(50), masks=None
    )
    drawn = draw_objects(plain((60, 400)), given, classes)
    assert drawn.width >= 60 and drawn.height > 400


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (0.004, "<1%"), (0.01, "1%"), (0.934, "93%"), (0.9999, "99%"), (1, "100%")]
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_mistakes_are_told() -> None:
    with pytest.raises(UserError, match=r"'dgo' is none of the 4 classes.*did you mean dog"):
        draw_objects(plain(), shown(("dgo", (1, 1, 2, 2))), CLASSES)
    with pytest.raises(UserError, match=r"\(400, 600\), got \(600, 400\)"):
        draw_objects(plain(), shown(("dog", (1, 1, 2, 2)), masks=np.zeros((1, 600, 400), dtype=bool)), CLASSES)
    with pytest.raises(UserError, match=r"boxes must be \(2, 4\)"):
        Shown(boxes=np.zeros((1, 4)), labels=("cat", "dog"), scores=None, masks=None)
    with pytest.raises(UserError, match=r"scores must be \(1,\)"):
        Shown(boxes=np.zeros((1, 4)), labels=("cat",), scores=np.zeros(2), masks=None)
    with pytest.raises(UserError, match=r"masks must be \(1, H, W\)"):
        Shown(boxes=np.zeros((1, 4)), labels=("cat",), scores=None, masks=np.zeros((2, 3, 3), dtype=bool))
    with pytest.raises(UserError, match="infinite or none"):
        Shown(boxes=np.full((1, 4), np.nan), labels=("cat",), scores=None, masks=None)
