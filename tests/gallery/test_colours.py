"""Colours of classes: told apart, stable, and with text on them that can be read."""

import numpy as np
import pytest
from numpy.typing import NDArray

from convnext.errors import UserError
from convnext.gallery import maps
from convnext.gallery.colours import colour_of, ink_on, oklab, palette


def least_distance(colours: NDArray[np.uint8]) -> float:
    lab = oklab(colours)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return float(apart[~np.eye(len(lab), dtype=bool)].min())


def contrast(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """WCAG 2's ratio, written as the recommendation has it."""
    lights = []
    for colour in (first, second):
        linear = [
            value / 255 / 12.92 if value / 255 <= 0.03928 else ((value / 255 + 0.055) / 1.055) ** 2.4
            for value in colour
        ]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_oklab_has_the_values_of_its_author() -> None:
    rgb = np.array([[255, 255, 255], [255, 0, 0], [0, 0, 255], [0, 0, 0]], dtype=np.uint8)
    expected = [[1, 0, 0], [0.627955, 0.224863, 0.125846], [0.452014, -0.032457, -0.311528], [0, 0, 0]]
    np.testing.assert_allclose(oklab(rgb), expected, atol=2e-4)


@pytest.mark.parametrize(("count", "least"), [(10, 0.12), (20, 0.1), (80, 0.05), (150, 0.037), (255, 0.026)])
def test_colours_are_told_apart(count: int, least: float) -> None:
    # Two colours at random among 150 come as near as 0.005 to each other.
    assert least_distance(palette(count)) >= least


def test_the_first_colours_differ_for_the_colour_blind() -> None:
    # Green-blind people see hardly any difference along a + green to red, so that light and blue must tell.
    lab = oklab(palette(10))[:, (0, 2)]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[~np.eye(10, dtype=bool)]
    assert apart.min() > 0.03


def test_a_class_number_has_one_colour_whatever_the_count() -> None:
    whole = palette(255)
    assert whole.shape == (255, 3) and whole.dtype == np.uint8
    for count in (0, 1, 2, 21, 150):
        assert np.array_equal(palette(count), whole[:count])
    assert [colour_of(number) for number in range(255)] == [tuple(row) for row in whole.tolist()]
    assert colour_of(255) == colour_of(0)
    assert maps.palette is palette


def test_a_palette_may_be_written_into_without_changing_the_next() -> None:
    first = palette(3)
    first[:] = 0
    assert palette(3).any(axis=1).all()


def test_no_colour_is_grey_as_ignored_places_are() -> None:
    lab = oklab(palette(255))
    assert np.hypot(lab[:, 1], lab[:, 2]).min() > 0.05


def test_text_on_every_colour_can_be_read() -> None:
    inks = {ink_on(colour_of(number)) for number in range(255)}
    assert len(inks) == 2
    assert all(contrast(colour_of(number), ink_on(colour_of(number))) >= 4.3 for number in range(255))


@pytest.mark.parametrize("count", [-1, 256])
def test_more_classes_than_a_map_holds_are_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"0 to 255 classes, got {count}"):
        palette(count)
