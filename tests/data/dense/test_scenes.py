"""Made scenes: the same always, their masks exact, and of each shape a good part in sight."""

import numpy as np
import pytest

from convnext.data.dense.coco_masks import boxes_of
from convnext.data.dense.scenes import LEAST_IN_SIGHT, SIDES_PX, draw_scene, lay_out
from convnext.data.dense.shapes import SHAPES
from convnext.data.dense.sources import open_detection, open_segmentation
from convnext.errors import UserError


def test_both_kinds_show_the_same_scenes():
    objects, labels = open_detection("scenes:10"), open_segmentation("scenes:10")
    assert objects.classes == SHAPES and labels.classes == ("background", *SHAPES)
    assert objects.has_masks and objects.has_own_val and objects.kind == "objects" and labels.kind == "labels"
    assert (len(objects.train), len(objects.val)) == (10, 2)
    for index in range(10):
        assert objects.train.picture(index).tobytes() == labels.train.picture(index).tobytes()
        found, map_ = objects.train.objects(index), labels.train.label_map(index)
        assert (
            map_.shape == found.masks.shape[1:] == objects.train.size(index) == objects.train.picture(index).size[::-1]
        )
        assert np.array_equal(map_ > 0, found.masks.any(axis=0))
        for mask, label in zip(found.masks, found.labels, strict=True):
            assert (map_[mask] == label + 1).all()
        assert found.masks.sum(axis=0).max() <= 1  # what is in sight of one is not of another
        assert np.array_equal(found.boxes, boxes_of(found.masks))
        assert found.areas.tolist() == found.masks.sum(axis=(1, 2)).tolist()
        assert not found.crowd.any()


def test_train_and_val_share_no_scene_and_nothing_depends_on_the_seed():
    source = open_detection("scenes")
    assert (len(source.train), len(source.val)) == (200, 40)
    few = open_detection("scenes:30")
    names = [{split.name(index) for index in range(len(split))} for split in (few.train, few.val)]
    assert len(names[0]) == 30 and not names[0] & names[1]
    assert few.fingerprint() == open_detection("scenes:30", seed=5).fingerprint()
    assert few.fingerprint() != open_detection("scenes:31").fingerprint()


def test_scenes_differ_and_are_drawn_by_their_number_alone():
    np.random.seed(0)
    first = draw_scene(3)
    np.random.seed(1)
    assert np.array_equal(first.pixels, draw_scene(3).pixels)
    assert len({draw_scene(number).pixels.tobytes() for number in range(20)}) == 20


def test_there_is_variety():
    layouts = [lay_out(number) for number in range(60)]
    labels = np.concatenate([layout.labels for layout in layouts])
    assert np.bincount(labels, minlength=len(SHAPES)).min() > 15
    assert {len(layout.labels) for layout in layouts} >= {1, 2, 3, 4, 5, 6}
    sizes = {(layout.height, layout.width) for layout in layouts}
    assert len(sizes) > 50 and min(map(min, sizes)) >= SIDES_PX[0] and max(map(max, sizes)) <= SIDES_PX[1]
    # Some are partly covered, and none is nearly gone.
    shares = [
        mask.sum() / (shape.cover >= 0.5).sum()
        for layout in layouts
        for mask, shape in zip(layout.masks, layout.placed, strict=True)
    ]
    assert min(shares) >= LEAST_IN_SIGHT and sum(share < 0.95 for share in shares) > 20


def test_shapes_stand_out_from_what_is_around_them():
    for number in range(10):
        scene = draw_scene(number)
        pixels = scene.pixels.astype(float)
        for mask in scene.masks:
            inside = pixels[mask].mean(axis=0)
            outside = pixels[~scene.masks.any(axis=0)].mean(axis=0)
            assert np.abs(inside - outside).max() > 12


@pytest.mark.parametrize("text", ["scenes:", "scenes:0", "scenes:many", "scenes:-3", "scenes:1000000"])
def test_numbers_that_are_none(text):
    with pytest.raises(UserError, match="scenes take a number of scenes to train on, such as scenes:200"):
        open_detection(text)
