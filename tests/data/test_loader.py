import io
import os
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from convnext.data.augment import cut_square, eval_picture, vary_square
from convnext.data.loader import EvalLoader, TrainLoader, epoch_order
from convnext.data.pictures import read_picture
from convnext.data.sources import open_source
from convnext.data.splits import LabelSafe, Split
from convnext.errors import UserError
from convnext.preprocess import Preprocess
from convnext.recipe import Augment

AUGMENT = Augment(crop_scale=(0.08, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5, interpolation="bicubic")


def train_loader(split, **changes):
    arguments = {
        "size": 8,
        "augment": AUGMENT,
        "label_safe": LabelSafe(),
        "batch_size": 6,
        "seed": 3,
        "workers": 0,
    }
    return TrainLoader(split, **(arguments | changes))


def eval_loader(split, **changes):
    arguments = {"preprocess": Preprocess(size=8), "batch_size": 6, "workers": 0}
    return EvalLoader(split, **(arguments | changes))


def same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.indices, b.indices)
        assert a.unreadable == b.unreadable


def test_shapes_and_types(painted):
    batches = list(train_loader(painted(20)).epoch(0))
    assert len(batches) == train_loader(painted(20)).steps_per_epoch == 3
    for batch in batches:
        assert (batch.images.shape, batch.images.dtype) == ((6, 3, 8, 8), torch.uint8)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.labels.dtype == batch.indices.dtype == torch.int64
        assert torch.equal(batch.labels, batch.indices % 3)


def test_order_is_a_permutation_of_seed_and_epoch(painted):
    loader = train_loader(painted(20))
    orders = [torch.cat([batch.indices for batch in loader.epoch(epoch)]).tolist() for epoch in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]
    assert all(len(set(order)) == 18 for order in orders), "no picture twice, two left over"
    other = train_loader(painted(20), seed=4)
    assert torch.cat([batch.indices for batch in other.epoch(0)]).tolist() != orders[0]
    assert orders[0] == epoch_order(3, 0, 20)[:18].tolist()
    assert sorted(epoch_order(3, 0, 20)) == list(range(20)) != epoch_order(3, 0, 20).tolist()


def test_pixels_follow_from_seed_epoch_and_index_alone(painted):
    split = painted(20)
    for loader in (train_loader(split), train_loader(split, batch_size=9)):
        for batch in loader.epoch(5):
            for pixels, index in zip(batch.images, batch.indices.tolist(), strict=True):
                generator = np.random.default_rng(np.random.SeedSequence([3, 5, index]))
                expected = cut_square(split.picture(index), 8, AUGMENT, generator)
                assert (pixels.permute(1, 2, 0).numpy() == expected).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(painted, workers):
    split = painted(44, broken=(7, 30))
    alone, shared = train_loader(split), train_loader(split, workers=workers)
    for epoch in (0, 1):
        whole = list(alone.epoch(epoch))
        same(list(shared.epoch(epoch)), whole)
        same(list(shared.epoch(epoch, first_step=4)), whole[4:])
    same(list(eval_loader(split, workers=workers)), list(eval_loader(split)))


class JpegStore:
    """A store of files in memory, one of them broken."""

    def __init__(self, count, broken):
        self.files = [b"no picture" if entry == broken else jpeg(entry) for entry in range(count)]

    def name(self, entry):
        return f"jpegs/{entry}"

    def encoded(self, entry):
        return self.files[entry]

    def picture(self, entry):
        return read_picture(self.files[entry], self.name(entry))


def jpeg(number):
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (41, 30 + number, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", progressive=number % 5 == 0)
    return stream.getvalue()


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_change_nothing_with_the_papers_whole_augmentation(workers):
    split = Split(store=JpegStore(24, broken=13), entries=np.arange(24), labels=np.arange(24))
    whole = replace(AUGMENT, randaugment="rand-m9-mstd0.5-inc1")
    alone, shared = (train_loader(split, size=16, augment=whole, workers=count) for count in (0, workers))
    for epoch in (0, 1):
        same(list(shared.epoch(epoch)), list(alone.epoch(epoch)))
    for batch in alone.epoch(1):
        for pixels, index in zip(batch.images, batch.indices.tolist(), strict=True):
            generator = np.random.default_rng(np.random.SeedSequence([3, 1, index]))
            # Whole pictures from Pillow: the parts that are decoded for a crop are the same.
            square = cut_square(split.picture(index), 16, whole, generator)
            expected = vary_square(square, whole, generator, safe=LabelSafe())
            assert (pixels.permute(1, 2, 0).numpy() == expected).all()


def test_the_training_loader_obeys_its_source_and_its_recipe(painted):
    split = Split(store=JpegStore(12, broken=None), entries=np.arange(12), labels=np.arange(12))
    whole = replace(AUGMENT, crop_scale=(1.0, 1.0), randaugment="rand-m9-n1-p1-inc1")
    batches = {
        name: next(train_loader(split, augment=whole, batch_size=12, **changes).epoch(0)).images
        for name, changes in {
            "plain": {},
            "digits": {"label_safe": LabelSafe(flip=False, min_crop_scale=0.7)},
            "reduced": {"reduced_decode": True},
            "grey": {"channels": 1},
        }.items()
    }
    assert batches["grey"].shape == (12, 1, 8, 8)
    for name in ("digits", "reduced"):
        assert batches[name].shape == (12, 3, 8, 8)
        assert not torch.equal(batches["plain"], batches[name])


@pytest.mark.parametrize("first_step", range(8))
def test_entering_in_mid_epoch(painted, first_step):
    loader = train_loader(painted(44))
    same(list(loader.epoch(2, first_step)), list(loader.epoch(2))[first_step:])


def test_abandoned_epoch_leaves_no_trace(painted):
    loader = train_loader(painted(44), workers=2)
    next(loader.epoch(0))
    same(list(loader.epoch(1)), list(train_loader(painted(44)).epoch(1)))


def test_two_epochs_at_once_are_refused(painted):
    loader = train_loader(painted(44))
    first = loader.epoch(0)
    next(first)
    next(loader.epoch(1))
    with pytest.raises(RuntimeError, match="ended by a newer one"):
        next(first)


class Telling:
    """A store whose pictures say which process reads them, with how many threads."""

    def name(self, entry):
        return str(entry)

    def picture(self, entry):
        return Image.new("RGB", (8, 8), (os.getpid() % 251, torch.get_num_threads(), 0))


def test_a_worker_that_is_killed_while_a_batch_is_on_the_way(painted, monkeypatch):
    loader = eval_loader(painted(20))
    whole, got = list(loader), []

    def batches():
        yield from whole[:2]
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(loader._feed, "_loader", batches())
    # The words by which the command knows what to advise.
    with pytest.raises(RuntimeError, match=r"DataLoader worker ended .*reset by peer"):
        for batch in loader:
            got.append(batch)
    same(got, whole[:2])


def test_workers_stay_between_epochs_and_use_one_thread():
    split = Split(store=Telling(), entries=np.arange(12), labels=np.zeros(12, dtype=np.int64))
    loader = train_loader(split, workers=1)
    seen = torch.cat([batch.images[:, :2, 0, 0] for epoch in (0, 1) for batch in loader.epoch(epoch)])
    assert len(seen.unique(dim=0)) == 1
    assert seen[0, 1] == 1


def global_states():
    return (pickle.dumps(random.getstate()), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist())


@pytest.mark.parametrize("workers", [0, 1])
def test_global_random_states_are_not_touched(painted, workers):
    before = global_states()
    train = train_loader(painted(13), workers=workers)
    first = list(train.epoch(0))
    list(train.epoch(1))
    list(eval_loader(painted(13), workers=workers))
    assert global_states() == before
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    same(list(train.epoch(0)), first)


def test_evaluation_gives_each_picture_once_in_order(painted):
    split = painted(20)
    loader = eval_loader(split)
    for _ in range(2):
        batches = list(loader)
        assert [len(batch.labels) for batch in batches] == [6, 6, 6, 2]
        assert len(loader) == 4
        assert torch.cat([batch.indices for batch in batches]).tolist() == list(range(20))
    for batch in batches:
        for pixels, index in zip(batch.images, batch.indices.tolist(), strict=True):
            expected = eval_picture(split.picture(index), Preprocess(size=8))
            assert (pixels.permute(1, 2, 0).numpy() == expected).all()


def test_unreadable_pictures_are_named_and_the_rest_goes_on(painted):
    split = painted(18, broken=(4, 11))
    batches = list(train_loader(split).epoch(0))
    assert sorted(name for batch in batches for name in batch.unreadable) == ["painted/11", "painted/4"]
    whole = {index: pixels for b in train_loader(painted(18)).epoch(0) for index, pixels in rows(b)}
    seen = {index: pixels for b in batches for index, pixels in rows(b)}
    assert set(whole) - set(seen) == {4, 11}
    assert all(torch.equal(whole[index], seen[index]) for index in seen)
    batches = list(eval_loader(split))
    assert [tuple(batch.unreadable) for batch in batches] == [("painted/4",), ("painted/11",), ()]
    assert "made to fail" in batches[0].unreadable["painted/4"]
    assert [len(batch.images) for batch in batches] == [5, 5, 6]


def rows(batch):
    assert len(batch.images) == len(batch.labels) == len(batch.indices)
    return zip(batch.indices.tolist(), batch.images, strict=True)


def test_wholly_unreadable_batch(painted):
    (batch,) = train_loader(painted(6, broken=tuple(range(6)))).epoch(0)
    assert batch.images.shape == (0, 3, 8, 8)
    assert len(batch.labels) == len(batch.indices) == 0
    assert len(batch.unreadable) == 6


def test_other_errors_are_not_hidden(painted):
    split = painted(6)
    split.store.picture = lambda entry: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(eval_loader(split))


def test_grey(painted):
    split = painted(6)
    (batch,) = eval_loader(split, channels=1)
    assert batch.images.shape == (6, 1, 8, 8)
    expected = eval_picture(split.picture(2).convert("L"), Preprocess(size=8))
    assert (batch.images[2].permute(1, 2, 0).numpy() == expected).all()
    (batch,) = train_loader(split, channels=1).epoch(0)
    assert batch.images.shape == (6, 1, 8, 8)


def test_loader_obeys_the_source(painted):
    split = painted(6)
    reckless = replace(AUGMENT, flip=1.0, crop_scale=(0.01, 0.02))
    safe = LabelSafe(flip=False, min_crop_scale=0.7)
    (obeyed,) = train_loader(split, augment=reckless, label_safe=safe).epoch(0)
    (expected,) = train_loader(split, augment=replace(AUGMENT, flip=0.0, crop_scale=(0.7, 0.7))).epoch(0)
    (unsafe,) = train_loader(split, augment=reckless).epoch(0)
    assert torch.equal(obeyed.images, expected.images)
    assert not torch.equal(obeyed.images, unsafe.images)


def test_whole_digits_come_out_as_they_are():
    source = open_source("digits")
    preprocess = Preprocess(size=8, resize="squash", crop=1.0)
    batch = next(iter(eval_loader(source.val, preprocess=preprocess, channels=1)))
    for pixels, index in zip(batch.images, batch.indices.tolist(), strict=True):
        assert (pixels[0].numpy() == np.asarray(source.val.picture(index))[:, :, 0]).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_corrupt_file_in_a_folder_and_in_a_zip(make_tree, make_zip, workers):
    root = make_tree([f"{name}/{i}.png" for name in ("cat", "dog") for i in range(10)])
    (root / "dog/4.png").write_bytes((root / "dog/4.png").read_bytes()[:80])
    for place in (root, make_zip(root)):
        source = open_source(str(place), val_fraction=0.5, seed=1)
        names = []
        for split in (source.train, source.val):
            for batch in eval_loader(split, workers=workers):
                names += batch.unreadable
        assert names == ["dog/4.png"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 21}, "batch_size must be at most the 20 pictures there are to train on, got 21"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"size": 0}, "size must be 1 or more, got 0"),
        ({"workers": -1}, "workers must be 0 or more, got -1"),
        ({"channels": 2}, "channels must be 1 (grey) or 3 (colour), got 2"),
    ],
)
def test_refusals(painted, changes, words):
    with pytest.raises(UserError) as error:
        train_loader(painted(20), **changes)
    assert words in str(error.value)


@pytest.mark.parametrize("first_step", [-1, 4])
def test_first_step_is_checked(painted, first_step):
    with pytest.raises(UserError, match=f"first_step must be from 0 to 3, got {first_step}"):
        train_loader(painted(20)).epoch(0, first_step)
