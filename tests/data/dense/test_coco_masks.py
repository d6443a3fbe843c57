"""Masks against pycocotools, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference

from convnext.data.dense.coco_masks import (
    boxes_of,
    from_polygon,
    from_run_lengths,
    mask_from,
    read_counts,
    run_lengths,
)

# pycocotools is older than this numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)


def polygon(seed, height, width):
    """Return a polygon that may cross itself and leave the picture, with whole and broken coordinates."""
    generator = np.random.default_rng(seed)
    corners = generator.uniform(-0.3, 1.3, (generator.integers(3, 12), 2)) * [width, height]
    return np.where(generator.random(corners.shape) < 0.3, corners.round(), corners.round(2)).reshape(-1).tolist()


def blob(seed, height, width):
    generator = np.random.default_rng(seed)
    return generator.random((height, width)) < generator.random()


@given(SEEDS, SIDES, SIDES)
def test_polygons_are_filled_as_coco_does(seed, height, width):
    corners = polygon(seed, height, width)
    expected = reference.decode(reference.frPyObjects([corners], height, width))[:, :, 0]
    assert np.array_equal(from_polygon(corners, height, width), expected)


@given(SEEDS, SIDES, SIDES)
def test_several_polygons_are_one_mask(seed, height, width):
    parts = [polygon(seed, height, width), polygon(seed + 1, height, width)]
    expected = reference.decode(reference.merge(reference.frPyObjects(parts, height, width)))
    assert np.array_equal(mask_from(parts, height, width), expected)


@given(SEEDS, SIDES, SIDES)
def test_run_lengths_as_a_text_and_as_a_list(seed, height, width):
    mask = blob(seed, height, width)
    encoded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    as_text = {"size": [height, width], "counts": encoded["counts"].decode()}
    assert np.array_equal(mask_from(as_text, height, width), mask)
    assert np.array_equal(mask_from(as_text | {"counts": encoded["counts"]}, height, width), mask)
    assert read_counts(encoded["counts"]) == run_lengths(mask)
    assert np.array_equal(mask_from(as_text | {"counts": run_lengths(mask)}, height, width), mask)
    assert reference.frPyObjects(as_text | {"counts": run_lengths(mask)}, height, width) == encoded


def test_long_runs_as_a_text():
    mask = np.zeros((700, 900), dtype=bool)
    mask[300:, 450:] = True
    mask[0, 0] = True
    encoded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert np.array_equal(mask_from(encoded, 700, 900), mask)


@given(SEEDS, SIDES, SIDES)
def test_boxes_are_tight(seed, height, width):
    masks = np.stack([blob(seed + number, height, width) & (blob(seed + 7, height, width)) for number in range(3)])
    for mask, box in zip(masks, boxes_of(masks), strict=True):
        rows, columns = np.nonzero(mask)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]
        assert box.tolist() == expected


def test_boxes_of_no_masks():
    assert boxes_of(np.zeros((0, 4, 5), dtype=bool)).shape == (0, 4)


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ({"size": [5, 4], "counts": [20]}, r"has the size \[5, 4\] and the picture \[4, 5\]"),
        ({"size": [4, 5], "counts": [19]}, "do not add up to the 20 pixels"),
        ({"size": [4, 5], "counts": [21, -1]}, "do not add up"),
        ({"size": [4, 5], "counts": ["a"]}, "do not add up"),
        ({"size": [4, 5], "counts": "P"}, "end within a number"),
        ({"size": [4, 5], "counts": " "}, "the character ' '"),
        ({"counts": [20]}, "has the size None"),
        ([], "neither polygons nor run lengths"),
        ("abc", "neither polygons nor run lengths"),
        ([[1, 2, 3, 4]], "three or more pairs"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three or more pairs"),
        ([[1, 2, 3, 4, float("nan"), 6]], "three or more pairs"),
        ([["a", "b", 3, 4, 5, 6]], "could not convert"),
    ],
)
def test_what_is_no_mask(segmentation, said):
    with pytest.raises(ValueError, match=said):
        mask_from(segmentation, 4, 5)


def test_run_lengths_begin_outside():
    assert np.array_equal(from_run_lengths([1, 2, 1], 2, 2), [[False, True], [True, False]])
