"""Batches of dense data: the same with any number of workers, entered anywhere, over ranks; and what is left out."""

import json
import pickle
from dataclasses import fields

import numpy as np
import pytest
import torch

from convnext.data.dense.loader import (
    DetectEvalLoader,
    DetectTrainLoader,
    SegmentEvalLoader,
    SegmentTrainLoader,
)
from convnext.data.dense.sources import open_detection, open_segmentation
from convnext.data.dense.splits import LabelError
from convnext.data.plans import Share, epoch_order
from convnext.dense_parts import Detect, Segment
from convnext.errors import UserError
from dense.made import HEIGHT, WIDTH, coco_folder, label_folder, label_values, plain_pairs

DETECT = Detect(short_sides=(48, 80), short_step=16, longest=120, crop_shorts=(60, 100), crop_sides=(40, 80))
SEGMENT = Segment(base=(300, 70))
SCENES = open_detection("scenes:14")
MAPS = open_segmentation("scenes:14")


def detect_loader(split=SCENES.train, **changes):
    arguments = {"detect": DETECT, "flip": 0.5, "batch_size": 4, "seed": 3, "workers": 0, "masks": True}
    return DetectTrainLoader(split, **(arguments | changes))


def segment_loader(split=MAPS.train, **changes):
    arguments = {"segment": SEGMENT, "size": 64, "flip": 0.5, "batch_size": 4, "seed": 3, "workers": 0}
    return SegmentTrainLoader(split, **(arguments | changes))


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for one in value for tensor in flat(one)] if isinstance(value, tuple | list) else [value]


def same(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        for field in fields(one):
            mine, theirs = flat(getattr(one, field.name)), flat(getattr(other, field.name))
            assert len(mine) == len(theirs)
            for a, b in zip(mine, theirs, strict=True):
                assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


def test_training_batches_of_objects():
    loader = detect_loader()
    assert (loader.steps_per_epoch, loader.micro_batches) == (3, 1)
    batches = list(loader.epoch(0))
    assert len(batches) == 3
    for batch, expected in zip(batches, epoch_order(3, 0, 14)[:12].reshape(3, 4).tolist(), strict=True):
        assert sorted(batch.indices.tolist()) == sorted(expected)
        height, width = batch.images.shape[2:]
        assert batch.images.dtype == torch.uint8 and batch.images.shape[:2] == (4, 3)
        assert height % 32 == width % 32 == 0
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        # As small as it may be.
        assert height - max(size[0] for size in batch.sizes) < 32 and width - max(size[1] for size in batch.sizes) < 32
        for place, (index, size) in enumerate(zip(batch.indices.tolist(), batch.sizes, strict=True)):
            outside = torch.ones(height, width, dtype=torch.bool)
            outside[: size[0], : size[1]] = False
            assert (batch.images[place][:, outside] == 0).all()
            assert batch.images[place][:, ~outside].float().std() > 5
            boxes, masks = batch.boxes[place], batch.masks[place]
            assert (boxes.dtype, batch.labels[place].dtype, masks.dtype) == (torch.float32, torch.int64, torch.uint8)
            assert masks.shape == (len(boxes), height, width) and not masks[:, outside].any()
            assert len(boxes) == len(batch.labels[place]) == len(batch.areas[place]) == len(batch.crowd[place])
            assert batch.picture_ids[place] == SCENES.train.picture_id(index)
            assert batch.original_sizes[place] == SCENES.train.size(index)
            assert set(batch.labels[place].tolist()) <= set(SCENES.train.objects(index).labels.tolist())
    without = list(detect_loader(masks=False).epoch(0))
    assert all(one is None for batch in without for one in batch.masks)
    assert torch.equal(without[1].images, batches[1].images)


def test_training_batches_of_label_maps():
    batches = list(segment_loader(size=96).epoch(2))
    some_padding = False
    for batch in batches:
        assert batch.images.shape == (4, 3, 96, 96) and batch.maps.shape == (4, 96, 96)
        assert batch.images.dtype == batch.maps.dtype == torch.uint8
        for place, (height, width) in enumerate(batch.sizes):
            outside = torch.ones(96, 96, dtype=torch.bool)
            outside[:height, :width] = False
            some_padding |= bool(outside.any())
            assert (batch.maps[place][outside] == 255).all() and (batch.maps[place][~outside] < 7).all()
            assert (batch.images[place][:, outside] == 0).all()
            assert batch.original_sizes[place] == MAPS.train.label_map(int(batch.indices[place])).shape
    assert some_padding


@pytest.mark.parametrize("make", [detect_loader, segment_loader])
def test_the_number_of_workers_changes_nothing(make):
    expected = [list(make().epoch(epoch)) for epoch in (0, 1)]
    for workers in (1, 2):
        loader = make(workers=workers)
        for epoch in (0, 1):
            same(loader.epoch(epoch), expected[epoch])


@pytest.mark.parametrize("make", [detect_loader, segment_loader])
def test_an_epoch_entered_anywhere_goes_on_as_the_whole_one(make):
    whole = list(make().epoch(1))
    for first in range(1, 3):
        same(make().epoch(1, first), whole[first:])
    assert list(make().epoch(1, 3)) == []
    with pytest.raises(UserError, match="first_step must be from 0 to 3, got 4"):
        make().epoch(1, 4)


@pytest.mark.parametrize("make", [detect_loader, segment_loader])
def test_pictures_follow_from_seed_epoch_and_index_alone(make):
    """A picture is varied the same in any batch, and otherwise in another epoch or with another seed."""

    def pictures(loader, epoch):
        found = {}
        for batch in loader.epoch(epoch):
            for place, index in enumerate(batch.indices.tolist()):
                height, width = batch.sizes[place]
                found[index] = batch.images[place][:, :height, :width].numpy().tobytes()
        return found

    one, other = pictures(make(), 0), pictures(make(batch_size=7), 0)
    assert len(one.keys() & other.keys()) >= 12
    assert all(one[index] == other[index] for index in one.keys() & other.keys())
    for different in (pictures(make(), 1), pictures(make(seed=4), 0)):
        shared = one.keys() & different.keys()
        assert shared and all(one[index] != different[index] for index in shared)


@pytest.mark.parametrize("make", [detect_loader, segment_loader])
def test_processes_and_micro_batches_share_the_same_batches(make):
    whole = list(make(batch_size=12).epoch(0))
    found, upright = [], []
    for rank in range(3):
        loader = make(batch_size=12, share=Share(rank=rank, world_size=3, micro_batches=2))
        assert (loader.steps_per_epoch, loader.micro_batches) == (1, 2)
        batches = list(loader.epoch(0))
        assert [len(batch.indices) for batch in batches] == [2, 2]
        found += [index for batch in batches for index in batch.indices.tolist()]
        upright += [{height > width for height, width in batch.original_sizes} for batch in batches]
    assert sorted(found) == sorted(whole[0].indices.tolist())
    if make is detect_loader:
        # Pictures of one shape are put together, so that they are padded less; a step may have one odd pair.
        assert sum(len(one) > 1 for one in upright) <= 1 and {True} in upright and {False} in upright
    else:
        assert found == whole[0].indices.tolist()
    with pytest.raises(UserError, match="batch_size must be a multiple of 6"):
        make(batch_size=4, share=Share(world_size=3, micro_batches=2))
    with pytest.raises(UserError, match="at most the 14 pictures"):
        make(batch_size=15)
    with pytest.raises(UserError, match="workers must be 0 or more"):
        make(workers=-1)


def eval_loaders(world_size, rank):
    share = Share(rank=rank, world_size=world_size)
    objects, maps = open_detection("scenes:25").val, open_segmentation("scenes:25").val
    yield DetectEvalLoader(objects, short_side=64, longest=90, batch_size=2, workers=0, share=share)
    yield SegmentEvalLoader(maps, base=(200, 64), workers=0, share=share)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_gives_each_picture_once(world_size):
    for kind in range(2):
        lengths, found = [], []
        for rank in range(world_size):
            loader = list(eval_loaders(world_size, rank))[kind]
            batches = list(loader)
            lengths.append(len(batches))
            assert len(loader) == len(batches)
            found += [index for batch in batches for index in batch.indices.tolist()]
        assert found == list(range(5)) and len(set(lengths)) == 1


def test_an_empty_batch_has_all_its_parts():
    objects, maps = (list(loader)[-1] for loader in eval_loaders(3, 2))
    assert len(objects.indices) <= 2 and len(maps.indices) == 0
    assert maps.images.shape == (0, 3, 32, 32) and maps.maps.shape[0] == 0 and maps.sizes == ()


def test_evaluation_of_objects_tells_the_truth_of_the_original(tmp_path):
    source = open_detection(str(coco_folder(tmp_path)))
    loader = DetectEvalLoader(source.train, short_side=40, longest=50, batch_size=3, workers=0, masks=True)
    (batch,) = list(loader)
    assert batch.sizes == ((33, 50),) * 3 and batch.original_sizes == ((HEIGHT, WIDTH),) * 3
    assert batch.images.shape == (3, 3, 64, 64)
    expected = source.train.objects(0)
    assert batch.boxes[0].tolist() == expected.boxes.tolist() and batch.crowd[0].tolist() == [False, True]
    assert np.array_equal(batch.masks[0].numpy().astype(bool), expected.masks)
    assert batch.picture_ids == (10, 11, 12)
    assert batch.boxes[2].shape == (0, 4) and batch.masks[2].shape == (0, HEIGHT, WIDTH)


def test_crowds_are_not_trained_on_and_pictures_without_objects_are(tmp_path):
    source = open_detection(str(coco_folder(tmp_path)))
    part = Detect(short_sides=(HEIGHT, HEIGHT), longest=50, crop_chance=0.0)
    loader = detect_loader(source.train, detect=part, batch_size=3, flip=0.0)
    (batch,) = list(loader.epoch(0))
    by_index = {index: place for place, index in enumerate(batch.indices.tolist())}
    assert batch.boxes[by_index[0]].tolist() == [[4, 5, 10, 11]] and batch.crowd[by_index[0]].tolist() == [False]
    assert batch.boxes[by_index[2]].shape == (0, 4) and batch.masks[by_index[2]].shape == (0, 32, 32)
    assert sorted(by_index) == [0, 1, 2]


def test_evaluation_of_label_maps_keeps_their_size(tmp_path):
    root = label_folder(tmp_path, plain_pairs(), [0, 1, 2])
    (root / "classes.txt").write_text("a\nb\nc\n")
    source = open_segmentation(str(root))
    for base, size in ((None, (HEIGHT, WIDTH)), ((100, 40), (40, 60)), ((45, 40), (30, 45))):
        batches = list(SegmentEvalLoader(source.val, base=base, workers=0))
        assert [batch.indices.tolist() for batch in batches] == [[0], [1]]
        assert batches[0].images.shape == (1, 3, *size) and batches[0].sizes == (size,)
        assert np.array_equal(batches[0].maps[0], label_values(3, [0, 1, 2]))
        assert batches[0].original_sizes == ((HEIGHT, WIDTH),)
    whole = next(iter(SegmentEvalLoader(source.val, base=None, workers=0)))
    assert np.array_equal(whole.images[0].permute(1, 2, 0), source.val.picture(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_files_are_named_and_left_out(tmp_path, workers):
    root = coco_folder(tmp_path / "coco")
    (root / "train2017" / "0011.png").write_bytes(b"no picture")
    source = open_detection(str(root))
    (batch,) = list(detect_loader(source.train, batch_size=3, workers=workers).epoch(0))
    assert sorted(batch.indices.tolist()) == [0, 2]
    assert len(batch.boxes) == len(batch.sizes) == len(batch.images) == len(batch.picture_ids) == 2
    assert list(batch.unreadable) == ["train2017/0011.png"]
    assert "0011.png: not a picture" in batch.unreadable["train2017/0011.png"]
    folder = label_folder(tmp_path / "maps", plain_pairs(), [0, 1])
    source = open_segmentation(str(folder))
    (folder / "train" / "labels" / "train1.png").write_bytes(b"")
    (folder / "train" / "images" / "train2.jpg").write_bytes(b"")
    (batch,) = list(segment_loader(source.train, batch_size=3, workers=workers).epoch(0))
    assert batch.indices.tolist() == [0] and batch.images.shape[0] == batch.maps.shape[0] == 1
    assert sorted(batch.unreadable) == ["train/images/train1.jpg", "train/images/train2.jpg"]
    for name in ("train0.jpg",):
        (folder / "train" / "images" / name).write_bytes(b"")
    (batch,) = list(segment_loader(source.train, batch_size=3, workers=workers).epoch(0))
    assert batch.images.shape == (0, 3, 64, 64) and len(batch.unreadable) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_labels_that_contradict_end_the_epoch_with_their_sentence(tmp_path, workers):
    root = coco_folder(tmp_path / "coco")
    path = root / "annotations" / "instances_train2017.json"
    tables = json.loads(path.read_text())
    tables["annotations"][0]["segmentation"] = {"size": [5, 5], "counts": [25]}
    path.write_text(json.dumps(tables))
    loader = detect_loader(open_detection(str(root)).train, batch_size=3, workers=workers)
    with pytest.raises(LabelError, match=r"^annotation 3 of train2017/0011\.png: its mask has the size \[5, 5\]"):
        list(loader.epoch(0))
    folder = label_folder(tmp_path / "maps", plain_pairs(), [0, 1, 7])
    (folder / "classes.txt").write_text("a\nb\n")
    with pytest.raises(LabelError, match=r"^val/labels/val0\.png: value 7 is no class"):
        list(SegmentEvalLoader(open_segmentation(str(folder)).val, base=None, workers=workers))


def test_global_random_state_is_neither_read_nor_disturbed():
    np.random.seed(1)
    torch.manual_seed(1)
    first = list(detect_loader().epoch(0))
    np.random.seed(2)
    torch.manual_seed(2)
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    same(detect_loader().epoch(0), first)
    list(segment_loader().epoch(0))
    assert np.array_equal(np.random.get_state()[1], state) and torch.equal(torch.get_rng_state(), torch_state)


def test_stores_can_be_sent_to_other_processes(tmp_path, make_zip):
    root = coco_folder(tmp_path / "coco")
    for source in (open_detection(str(root)), open_detection(str(make_zip(root)))):
        again = pickle.loads(pickle.dumps(source.train))
        assert again.picture(0).tobytes() == source.train.picture(0).tobytes()
        assert np.array_equal(again.objects(0).masks, source.train.objects(0).masks)
