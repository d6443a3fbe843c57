"""Batches of pictures, the same whatever the number of workers and wherever an epoch is entered.

The order of an epoch follows from (seed, epoch), the augmentation of a picture from (seed, epoch, index).
Workers are told (epoch, index) with each picture, so they keep no state that could be stale.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from convnext.data.augment import Pixels, eval_picture, keep_labels_true, train_picture
from convnext.data.pictures import PictureError
from convnext.data.splits import Integers, LabelSafe, Split
from convnext.errors import UserError
from convnext.preprocess import Preprocess
from convnext.recipe import Augment

EpochAndIndex = tuple[int, int]
View = Callable[[Image.Image, EpochAndIndex], Pixels]
MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Pictures with their labels and their places in the split.

    images: uint8 (N, C, size, size), 0..255; labels, indices: int64 (N,).
    unreadable: pictures that belong here and could not be read, by name, with the reason; they are in no tensor.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    unreadable: Mapping[str, str]


class TrainLoader:
    """Shuffled, augmented batches of equal size; the pictures left over at the end of an epoch are dropped.

    A picture that cannot be read leaves its batch that much shorter. No global random state is read or
    disturbed: neither torch's nor numpy's nor Python's.
    """

    def __init__(
        self,
        split: Split,
        *,
        size: int,
        augment: Augment,
        label_safe: LabelSafe,
        batch_size: int,
        seed: int,
        workers: int,
        channels: int = 3,
    ) -> None:
        view = _TrainView(size=size, augment=keep_labels_true(augment, label_safe), seed=seed)
        self._feed = _Feed(_Pictures(split=split, view=view, size=size, channels=channels), workers)
        self._batch_size = _positive("batch_size", batch_size)
        self._seed = seed
        self._num_pictures = len(split)
        self.batches_per_epoch = len(split) // batch_size
        if self.batches_per_epoch == 0:
            raise UserError(
                f"batch_size must be at most the {len(split)} pictures there are to train on, got {batch_size}"
            )

    def epoch(self, epoch: int, first_batch: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch from `first_batch` on, exactly as the whole epoch would give them.

        Starting an epoch ends an earlier one of the same loader.
        """
        if not 0 <= first_batch <= self.batches_per_epoch:
            raise UserError(f"first_batch must be from 0 to {self.batches_per_epoch}, got {first_batch}")
        order = epoch_order(self._seed, epoch, self._num_pictures)
        used = order[: self.batches_per_epoch * self._batch_size].reshape(-1, self._batch_size)
        return self._feed.run([[(epoch, index) for index in batch] for batch in used[first_batch:].tolist()])


class EvalLoader:
    """Every picture of a split exactly once, in order; the last batch may be shorter."""

    def __init__(
        self, split: Split, *, preprocess: Preprocess, batch_size: int, workers: int, channels: int = 3
    ) -> None:
        pictures = _Pictures(
            split=split, view=_EvalView(preprocess=preprocess), size=preprocess.size, channels=channels
        )
        self._feed = _Feed(pictures, workers)
        self._batch_size = _positive("batch_size", batch_size)
        self._num_pictures = len(split)

    def __len__(self) -> int:
        return -(-self._num_pictures // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        pairs = [(0, index) for index in range(self._num_pictures)]
        return self._feed.run(
            [pairs[start : start + self._batch_size] for start in range(0, len(pairs), self._batch_size)]
        )


def epoch_order(seed: int, epoch: int, length: int) -> Integers:
    """Return the permutation of 0..length-1 that belongs to an epoch."""
    # The spawn key keeps this stream apart from that of picture 0: SeedSequence pads [s, e] to [s, e, 0].
    sequence = np.random.SeedSequence([seed, epoch], spawn_key=(0,))
    return np.random.Generator(np.random.Philox(sequence)).permutation(length)


@dataclass(frozen=True, kw_only=True)
class _TrainView:
    size: int
    augment: Augment
    seed: int

    def __call__(self, image: Image.Image, place: EpochAndIndex) -> Pixels:
        generator = np.random.default_rng(np.random.SeedSequence([self.seed, *place]))
        return train_picture(image, self.size, self.augment, generator)


@dataclass(frozen=True, kw_only=True)
class _EvalView:
    preprocess: Preprocess

    def __call__(self, image: Image.Image, place: EpochAndIndex) -> Pixels:
        return eval_picture(image, self.preprocess)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pictures(Dataset[Batch]):
    """What runs in the workers: whole batches, from their (epoch, index) pairs."""

    split: Split
    view: View
    size: int
    channels: int

    def __post_init__(self) -> None:
        _positive("size", self.size)
        if self.channels not in MODES:
            raise UserError(f"channels must be 1 (grey) or 3 (colour), got {self.channels}")

    def __getitem__(self, places: list[EpochAndIndex]) -> Batch:
        images = np.empty((len(places), self.size, self.size, self.channels), dtype=np.uint8)
        read: list[int] = []
        unreadable: dict[str, str] = {}
        for place in places:
            try:
                picture = self.split.picture(place[1])
                if picture.mode != MODES[self.channels]:
                    picture = picture.convert(MODES[self.channels])
                images[len(read)] = self.view(picture, place)
                read.append(place[1])
            except PictureError as error:
                unreadable[self.split.name(place[1])] = str(error)
        indices = np.array(read, dtype=np.int64)
        return Batch(
            # Channels last in memory, as the networks want it: a view, not a copy.
            images=torch.from_numpy(images[: len(read)]).permute(0, 3, 1, 2),
            labels=torch.from_numpy(self.split.labels[indices]),
            indices=torch.from_numpy(indices),
            unreadable=unreadable,
        )


class _Feed:
    """A torch DataLoader that is told its batches anew for each run and keeps its workers between runs."""

    def __init__(self, pictures: _Pictures, workers: int) -> None:
        if workers < 0:
            raise UserError(f"workers must be 0 or more, got {workers}")
        self._plan: list[list[EpochAndIndex]] = []
        self._run = 0
        self._loader = DataLoader(
            pictures,
            sampler=self._plan,
            batch_size=None,  # a sample of `pictures` is a whole batch
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_leave_the_group,
            generator=torch.Generator(),  # without it each run draws a number from torch's global state
        )

    def run(self, plan: list[list[EpochAndIndex]]) -> Iterator[Batch]:
        """Yield the planned batches in order."""
        self._run += 1
        number = self._run
        # The loader holds this very list and reads it as the run goes on, hence the change in place.
        self._plan[:] = plan
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside torch's threads; the workers use none of them, only Pillow.
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            batches = iter(self._loader)
        for batch in batches:
            yield batch
            if number != self._run:
                raise RuntimeError("this run of the loader was ended by a newer one")


def _leave_the_group(worker: int) -> None:
    """Take a worker out of its parent's process group.

    Ctrl-C and a scheduler's SIGTERM go to the whole group, but only the parent decides when to stop: a worker that died
    of them would take the run with it. Workers notice by themselves when the parent is gone.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise UserError(f"{name} must be 1 or more, got {value}")
    return value
