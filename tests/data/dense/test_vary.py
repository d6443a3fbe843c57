"""Whatever is done to a picture is done to its boxes, masks and label map."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from convnext.data.dense import vary
from convnext.data.dense.coco_masks import boxes_of
from convnext.data.dense.resize import fitted_size, padded_size
from convnext.data.dense.sample import Sample, cropped, flipped, resized
from convnext.data.dense.scenes import draw_scene
from convnext.data.dense.splits import Objects
from convnext.data.dense.vary import (
    distorted,
    is_varied,
    random_window,
    varied_window,
    vary_labels,
    vary_objects,
)
from convnext.dense_parts import Detect, Segment

SEEDS = st.integers(0, 2**32 - 1)
SMALL = Detect(short_sides=(64, 160), short_step=16, longest=200, crop_shorts=(80, 180), crop_sides=(30, 120))
# Far apart, so that a mixture of two colours at an edge is nearer to one of them than to any third.
COLOURS = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]])


def scene_objects(seed, crowd=False):
    """Return a scene whose pixels tell its objects: the red channel is the number of the topmost one, times 30."""
    scene = draw_scene(seed % 500)
    pixels = np.zeros((*scene.masks.shape[1:], 3), dtype=np.uint8)
    for number, mask in enumerate(scene.masks):
        pixels[mask, 0] = 30 * (number + 1)
    count = len(scene.labels)
    generator = np.random.default_rng(seed)
    objects = Objects(
        boxes=boxes_of(scene.masks),
        labels=np.arange(count),
        crowd=generator.random(count) < (0.4 if crowd else 0),
        areas=scene.masks.sum(axis=(1, 2)).astype(np.float32),
        masks=scene.masks,
    )
    return Sample(pixels=pixels, objects=objects)


def coloured(seed, ignored=True):
    """Return a scene's label map painted in COLOURS, with a part that is ignored."""
    scene = draw_scene(seed % 500)
    labels = np.zeros(scene.pixels.shape[:2], dtype=np.uint8)
    for mask, label in zip(scene.masks, scene.labels, strict=True):
        labels[mask] = label
    pixels = COLOURS[labels].astype(np.uint8)
    if ignored:
        labels[:7, :9] = 255
    return Sample(pixels=pixels, labels=labels)


def same(one, other):
    assert np.array_equal(one.pixels, other.pixels)
    if one.labels is not None:
        assert np.array_equal(one.labels, other.labels)
    if one.objects is not None:
        for name in ("boxes", "labels", "crowd", "areas", "masks"):
            assert np.array_equal(getattr(one.objects, name), getattr(other.objects, name)), name


def assert_consistent(sample, within=1e-4):
    """Boxes are tight around masks, within some pixels, and inside the picture; masks lie where their colour is."""
    height, width = sample.size
    objects = sample.objects
    assert objects.masks.shape[1:] == (height, width)
    if len(objects) == 0:
        return
    boxes = objects.boxes
    assert boxes.min() >= 0 and boxes[:, [0, 2]].max() <= width and boxes[:, [1, 3]].max() <= height
    assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
    there = objects.masks.any(axis=(1, 2))
    assert np.abs(boxes_of(objects.masks)[there] - boxes[there]).max(initial=0) <= within
    red = sample.pixels[:, :, 0].astype(int)
    for mask, label in zip(objects.masks, objects.labels, strict=True):
        inner = mask
        for axis in (0, 1):
            inner = np.logical_and.reduce([np.roll(inner, shift, axis) for shift in range(-3, 4)])
        assert (red[inner] == 30 * (label + 1)).all()


@given(SEEDS)
def test_a_mirror_image_of_a_mirror_image_is_the_picture(seed):
    for sample in (scene_objects(seed), coloured(seed)):
        same(flipped(flipped(sample)), sample)
    once = flipped(scene_objects(seed))
    assert_consistent(once)
    assert np.array_equal(boxes_of(once.objects.masks), once.objects.boxes)
    assert np.array_equal(once.pixels, scene_objects(seed).pixels[:, ::-1])


@given(SEEDS, st.integers(160, 300), st.integers(160, 300))
def test_enlarged_objects_stay_on_their_pixels(seed, height, width):
    sample = resized(scene_objects(seed), (height, width))
    assert sample.size == (height, width)
    assert_consistent(sample, within=0.501)
    assert sample.objects.areas.tolist() == scene_objects(seed).objects.areas.tolist()


@given(SEEDS, st.integers(20, 250), st.integers(20, 250))
def test_rectangles_of_any_size_keep_a_tight_box(seed, height, width):
    """Not shapes with tips: a tip of one pixel may fall between the pixels of a smaller picture."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((3, 100, 120), dtype=bool)
    for mask in masks:
        top, left = generator.integers(0, 80, 2)
        mask[top : top + generator.integers(10, 60), left : left + generator.integers(10, 60)] = True
    objects = Objects(boxes=boxes_of(masks), labels=np.arange(3), crowd=np.zeros(3, bool),
                      areas=np.ones(3, np.float32), masks=masks)  # fmt: skip
    sample = resized(Sample(pixels=np.zeros((100, 120, 3), np.uint8), objects=objects), (height, width))
    assert np.abs(boxes_of(sample.objects.masks) - sample.objects.boxes).max() <= 0.501


@given(SEEDS, SEEDS)
def test_cropped_objects_are_what_is_left_of_them(seed, draw):
    sample = scene_objects(seed, crowd=True)
    window = random_window(sample.size, (5, 120), np.random.default_rng(draw))
    top, left, height, width = window
    part = cropped(sample, window)
    assert np.array_equal(part.pixels, sample.pixels[top : top + height, left : left + width])
    masks = sample.objects.masks[:, top : top + height, left : left + width]
    left_over = masks.any(axis=(1, 2))
    # Exactly those of which a pixel is in the window, in the same order, a crowd still being one.
    assert part.objects.labels.tolist() == np.flatnonzero(left_over).tolist()
    assert np.array_equal(part.objects.masks, masks[left_over])
    assert np.array_equal(part.objects.boxes, boxes_of(masks[left_over]))
    assert np.array_equal(part.objects.crowd, sample.objects.crowd[left_over])


def test_boxes_alone_are_cut_and_dropped():
    boxes = np.array([[0, 0, 4, 4], [8, 2, 14, 9], [20, 20, 30, 25], [5, 0, 12, 3]], dtype=np.float32)
    count = len(boxes)
    objects = Objects(boxes=boxes, labels=np.arange(count), crowd=np.arange(count) == 1,
                      areas=np.ones(count, np.float32), masks=None)  # fmt: skip
    part = cropped(Sample(pixels=np.zeros((30, 40, 3), np.uint8), objects=objects), (3, 4, 10, 8))
    # The first and the last only touch the window.
    assert (part.objects.boxes.tolist(), part.objects.labels.tolist()) == ([[4, 0, 8, 6]], [1])
    assert part.objects.crowd.tolist() == [True]


@given(SEEDS, SEEDS)
def test_varied_objects_are_consistent(seed, draw):
    sample = vary_objects(scene_objects(seed, crowd=True), SMALL, np.random.default_rng(draw), flip=0.5)
    assert max(sample.size) <= 200 and min(sample.size) <= 160
    whole = scene_objects(seed, crowd=True).objects
    assert set(sample.objects.labels) <= set(whole.labels)
    assert np.array_equal(sample.objects.crowd, whole.crowd[sample.objects.labels])
    assert_consistent_after_two(sample)


def assert_consistent_after_two(sample):
    """Resized twice with a cut between: boxes inside, tight within a pixel of each time."""
    height, width = sample.size
    boxes = sample.objects.boxes
    assert boxes.min(initial=0) >= 0 and boxes[:, [0, 2]].max(initial=0) <= width
    assert boxes[:, [1, 3]].max(initial=0) <= height
    assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
    there = sample.objects.masks.any(axis=(1, 2))
    error = np.abs(boxes_of(sample.objects.masks)[there] - boxes[there]).max(initial=0)
    assert error <= 1 + 160 / 30


def test_without_the_crop_branch_the_short_side_is_one_of_the_steps():
    part = replace(SMALL, crop_chance=0.0, longest=10_000)
    sides, mirrored = [], 0
    sample = scene_objects(4)
    for draw in range(300):
        varied = vary_objects(sample, part, np.random.default_rng(draw), flip=0.5)
        sides.append(min(varied.size))
        mirrored += not np.array_equal(varied.pixels, resized(sample, varied.size).pixels)
        assert len(varied.objects) == len(sample.objects)
    assert set(sides) == set(range(64, 161, 16))
    assert 110 < mirrored < 190
    assert max(np.bincount(sides)) < 80


def test_the_crop_branch_cuts_half_of_the_time():
    sample = scene_objects(4)
    ratio = sample.size[0] / sample.size[1]
    cut = 0
    for draw in range(300):
        height, width = vary_objects(sample, SMALL, np.random.default_rng(draw), flip=0.0).size
        cut += abs(height / width - ratio) > 0.03
    assert 100 < cut < 180
    never = replace(SMALL, crop_chance=0.0)
    sizes = [vary_objects(sample, never, np.random.default_rng(draw), flip=0.0).size for draw in range(50)]
    assert all(abs(height / width - ratio) < 0.03 for height, width in sizes)


def test_before_the_cut_the_short_side_is_one_of_steps_too(monkeypatch):
    asked = []

    def noting(size, *, short, longest):
        asked.append(short)
        return fitted_size(size, short=short, longest=longest)

    monkeypatch.setattr(vary, "fitted_size", noting)
    part = replace(SMALL, crop_chance=1.0, crop_step=30, longest=10_000)
    for draw in range(60):
        vary_objects(scene_objects(4), part, np.random.default_rng(draw), flip=0.0)
    assert set(asked[::2]) == {80, 110, 140, 170} and set(asked[1::2]) == set(range(64, 161, 16))


def test_windows_are_of_absolute_sides_and_anywhere():
    windows = [random_window((100, 300), (40, 120), np.random.default_rng(draw)) for draw in range(500)]
    heights, widths = {window[2] for window in windows}, {window[3] for window in windows}
    assert (min(heights), max(heights)) == (40, 100) and (min(widths), max(widths)) == (40, 120)
    for top, left, height, width in windows:
        assert 0 <= top <= 100 - height and 0 <= left <= 300 - width
    assert {window[0] for window in windows} >= {0, 1} and max(window[1] for window in windows) > 200
    assert random_window((20, 30), (40, 60), np.random.default_rng(0)) == (0, 0, 20, 30)


def nearest_colour(pixels):
    return np.abs(pixels[:, :, None].astype(int) - COLOURS).sum(axis=3).argmin(axis=2)


def disagreement(sample):
    """Return the share of pixels with a label whose colour is that of another one, away from edges of the map."""
    labels = sample.labels
    flat = np.ones(labels.shape, dtype=bool)
    for axis in (0, 1):
        for shift in (-1, 1):
            flat &= np.roll(labels, shift, axis) == labels
    known = (labels != 255) & flat
    return (nearest_colour(sample.pixels)[known] != labels[known]).mean() if known.any() else 0.0


@given(SEEDS, SEEDS, st.integers(30, 140))
def test_a_label_map_stays_on_its_picture(seed, draw, crop):
    part = Segment(base=(400, 100), photometric=False)
    sample = vary_labels(coloured(seed), part, np.random.default_rng(draw), crop=crop, flip=0.5)
    assert sample.labels.shape == sample.size and max(sample.size) <= crop
    # Lines of one pixel in the way of the resampling may take another colour; a shift of a pixel would show far more.
    assert disagreement(sample) < 0.004
    assert set(np.unique(sample.labels)) <= set(np.unique(coloured(seed).labels))


def test_the_measure_above_notices_a_shift():
    part = Segment(base=(400, 100), photometric=False)
    sample = vary_labels(coloured(2), part, np.random.default_rng(1), crop=100, flip=0.0)
    shifted = replace(sample, labels=np.roll(sample.labels, 2, axis=1))
    mirrored = replace(sample, labels=sample.labels[:, ::-1])
    assert disagreement(sample) < 0.004 < disagreement(shifted) < disagreement(mirrored)


def test_segmentation_is_resized_by_the_ratio_and_keeps_the_aspect():
    part = Segment(base=(1000, 80), ratio=(0.5, 2.0), photometric=False)
    sample = coloured(7)
    sizes = [vary_labels(sample, part, np.random.default_rng(draw), crop=10_000, flip=0.0).size for draw in range(200)]
    shorts = [min(size) for size in sizes]
    assert min(shorts) in range(40, 45) and max(shorts) in range(150, 161) and len(set(shorts)) > 50
    for size in sizes:
        assert size[0] / size[1] == pytest.approx(sample.size[0] / sample.size[1], rel=0.03)


def test_a_window_with_too_much_of_one_class_is_drawn_anew():
    labels = np.zeros((100, 100), dtype=np.uint8)
    labels[60:, 60:] = 1
    labels[80:, :20] = 255
    sample = Sample(pixels=np.zeros((100, 100, 3), np.uint8), labels=labels)

    def share(limit):
        good = 0
        for draw in range(300):
            top, left, height, width = varied_window(sample, 40, limit, np.random.default_rng(draw))
            assert (height, width) == (40, 40)
            good += is_varied(labels[top : top + 40, left : left + 40], 0.75)
        return good / 300

    anywhere, sought = share(1.0), share(0.75)
    assert anywhere < 0.3
    # Eleven draws instead of one.
    assert sought == pytest.approx(1 - (1 - anywhere) ** 11, abs=0.1)


def test_what_is_varied():
    assert is_varied(np.array([[0, 0, 1, 1]], np.uint8), 0.75)
    assert not is_varied(np.array([[0, 0, 0, 1]], np.uint8), 0.75)
    assert is_varied(np.array([[0, 0, 0, 1]], np.uint8), 0.76)
    assert not is_varied(np.array([[2, 2, 2, 2]], np.uint8), 1.0)
    assert is_varied(np.array([[0, 1] + [255] * 20], np.uint8), 0.75)
    assert not is_varied(np.full((1, 4), 255, np.uint8), 0.75)


def test_pixels_are_resized_as_torch_does_and_labels_by_the_nearest_centre():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    labels = generator.integers(0, 9, (20, 30), dtype=np.uint8)
    for size in ((31, 47), (9, 14), (40, 60)):
        sample = resized(Sample(pixels=pixels, labels=labels), size)
        layers = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        expected = F.interpolate(layers, size=size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0).numpy()
        assert np.abs(sample.pixels - expected).max() <= 1.01
        rows = ((np.arange(size[0]) + 0.5) * 20 / size[0]).astype(int)
        columns = ((np.arange(size[1]) + 0.5) * 30 / size[1]).astype(int)
        assert np.array_equal(sample.labels, labels[rows][:, columns])


def test_photometric_distortion_is_of_the_references_strength():
    pixels = np.full((4, 4, 3), (120, 90, 60), dtype=np.uint8)
    found = np.stack([distorted(pixels, np.random.default_rng(draw))[0, 0] for draw in range(2000)]).astype(float)
    # A sixteenth: neither brightness, contrast, saturation nor hue.
    unchanged = (found == pixels[0, 0]).all(axis=1).mean()
    assert unchanged == pytest.approx(1 / 16, abs=0.02)
    value = found.max(axis=1)
    assert value.min() == pytest.approx((120 - 32) * 0.5, abs=6) and 200 < value.max() <= (120 + 32) * 1.5 + 1
    assert value.mean() == pytest.approx(120, abs=2)
    # The hue leaves red as the largest channel in most cases, and never makes blue the largest.
    largest = found.argmax(axis=1)
    assert (largest == 0).mean() > 0.7 and (largest == 1).any() and not (largest == 2).any()
    grey = np.full((4, 4, 3), 77, dtype=np.uint8)
    changed = distorted(grey, np.random.default_rng(3))
    assert (changed.max(axis=2) == changed.min(axis=2)).all()


def test_labels_are_not_touched_by_colours():
    part = Segment(base=(400, 100))
    one = vary_labels(coloured(5), part, np.random.default_rng(0), crop=90, flip=0.5)
    other = vary_labels(coloured(5), replace(part, photometric=False), np.random.default_rng(0), crop=90, flip=0.5)
    assert np.array_equal(one.labels, other.labels) and not np.array_equal(one.pixels, other.pixels)


def test_sizes():
    # A picture of COCO and one that is too long for its short side; as OpenMMLab and torchvision have them.
    assert fitted_size((480, 640), short=800, longest=1333) == (800, 1067)
    assert fitted_size((640, 480), short=800, longest=1333) == (1067, 800)
    assert fitted_size((300, 1200), short=800, longest=1333) == (333, 1333)
    assert fitted_size((1, 5000), short=512, longest=1000) == (1, 1000)
    assert padded_size([(800, 1067), (1067, 800)], multiple=32) == (1088, 1088)
    assert padded_size([(32, 64)], multiple=32) == (32, 64)
    assert padded_size([], multiple=32) == (32, 32)
