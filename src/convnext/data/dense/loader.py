"""Loaders of pictures with objects or label maps, with the promises of `data.loader`.

Batches are the same whatever the number of workers and wherever an epoch is entered; how a picture is varied follows
from (seed, epoch, index) alone.

A file that cannot be read leaves its batch shorter and is named there. Labels that contradict their picture end the
run with their sentence: to leave those pictures out would hide that the data is not what it says.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from torch.utils.data import Dataset

from convnext.data.dense.batches import DetectBatch, Read, SegmentBatch, detect_batch, segment_batch
from convnext.data.dense.resize import fitted_size
from convnext.data.dense.sample import Sample, resized, sample_of
from convnext.data.dense.splits import DenseSplit, LabelError
from convnext.data.dense.vary import vary_labels, vary_objects
from convnext.data.feed import Feed
from convnext.data.pictures import PictureError
from convnext.data.plans import WHOLE, EpochAndIndex, Plan, Share, TrainPlan, eval_plan, positive
from convnext.data.splits import Integers
from convnext.dense_parts import Detect, Segment

__all__ = [
    "DetectBatch",
    "DetectEvalLoader",
    "DetectTrainLoader",
    "SegmentBatch",
    "SegmentEvalLoader",
    "SegmentTrainLoader",
]

BatchT = TypeVar("BatchT")
ReadOne = Callable[[DenseSplit, EpochAndIndex], Read]
Join = Callable[[list[Read], Mapping[str, str]], BatchT]


class _Loader(Generic[BatchT]):
    """Reads planned batches and turns a fault of the labels into the error it is."""

    def __init__(
        self, split: DenseSplit, read: ReadOne, join: Join[BatchT], *, workers: int, share: Share, pin: bool
    ) -> None:
        self._feed: Feed[BatchT | _Fault] = Feed(_Pictures(split=split, read=read, join=join), workers, share, pin=pin)

    def _run(self, plan: Plan) -> Iterator[BatchT]:
        for item in self._feed.run(plan):
            if isinstance(item, _Fault):
                raise LabelError(item.text)
            yield item


class _TrainLoader(_Loader[BatchT]):
    """Shuffled and varied batches of equally many pictures; those left over at the end of an epoch are dropped.

    steps_per_epoch   batches of `batch_size` pictures in an epoch
    micro_batches     pieces that `epoch` yields for each of them
    """

    def __init__(
        self,
        split: DenseSplit,
        read: ReadOne,
        join: Join[BatchT],
        *,
        batch_size: int,
        seed: int,
        workers: int,
        share: Share,
        pin: bool,
        groups: Integers | None = None,
    ) -> None:
        super().__init__(split, read, join, workers=workers, share=share, pin=pin)
        self._plan = TrainPlan(len(split), batch_size=batch_size, seed=seed, share=share, groups=groups)
        self.micro_batches = self._plan.micro_batches
        self.steps_per_epoch = self._plan.steps_per_epoch

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[BatchT]:
        """Return this process's micro-batches of an epoch from a step on, exactly as the whole epoch would give them.

        Starting an epoch ends an earlier one of the same loader. LabelError where labels contradict their picture.
        """
        return self._run(self._plan.epoch(epoch, first_step))


class _EvalLoader(_Loader[BatchT]):
    """Every picture of a split exactly once, in order; of several processes each has equally many batches."""

    def __init__(
        self,
        split: DenseSplit,
        read: ReadOne,
        join: Join[BatchT],
        *,
        batch_size: int,
        workers: int,
        share: Share,
        pin: bool,
    ) -> None:
        super().__init__(split, read, join, workers=workers, share=share, pin=pin)
        self._plan = eval_plan(len(split), batch_size=batch_size, share=share)

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[BatchT]:
        return self._run(self._plan)


class DetectTrainLoader(_TrainLoader[DetectBatch]):
    """Varied pictures with their objects, without crowds; as far as a batch has them, upright ones share micro-batches.

    detect  how pictures are resized and cut; flip: chance of a mirror image
    masks   whether masks are wanted, which takes longer
    share   which part of each batch this process gets; pin: in memory that a GPU copies from
    """

    def __init__(
        self,
        split: DenseSplit,
        *,
        detect: Detect,
        flip: float,
        batch_size: int,
        seed: int,
        workers: int,
        masks: bool,
        share: Share = WHOLE,
        pin: bool = False,
    ) -> None:
        read = _TrainObjects(detect=detect, flip=flip, seed=seed, masks=masks)
        super().__init__(
            split,
            read,
            _JoinObjects(training=True, masks=masks),
            batch_size=batch_size,
            seed=seed,
            workers=workers,
            share=share,
            pin=pin,
            groups=_upright(split),
        )


class DetectEvalLoader(_EvalLoader[DetectBatch]):
    """Pictures resized to a short side, or less where the long side would be above `longest`, with all their objects.

    masks: whether the true masks are wanted, at the size of the picture as it came.
    """

    def __init__(
        self,
        split: DenseSplit,
        *,
        short_side: int,
        longest: int,
        batch_size: int,
        workers: int,
        masks: bool = False,
        share: Share = WHOLE,
        pin: bool = False,
    ) -> None:
        positive("short_side", short_side)
        read = _EvalObjects(short=short_side, longest=longest, masks=masks)
        join = _JoinObjects(training=False, masks=masks)
        super().__init__(split, read, join, batch_size=batch_size, workers=workers, share=share, pin=pin)


class SegmentTrainLoader(_TrainLoader[SegmentBatch]):
    """Varied crops of size x size with their label maps.

    size: side of the crop in pixels; segment: how pictures are varied; flip: chance of a mirror image.
    """

    def __init__(
        self,
        split: DenseSplit,
        *,
        size: int,
        segment: Segment,
        flip: float,
        batch_size: int,
        seed: int,
        workers: int,
        share: Share = WHOLE,
        pin: bool = False,
    ) -> None:
        read = _TrainLabels(segment=segment, flip=flip, seed=seed, crop=positive("size", size))
        join = _JoinLabels(crop=size)
        super().__init__(split, read, join, batch_size=batch_size, seed=seed, workers=workers, share=share, pin=pin)


class SegmentEvalLoader(_EvalLoader[SegmentBatch]):
    """Whole pictures, one at a time, because they differ in size, each with its label map as it came.

    base: long and short side that a picture is fitted into; None for its own size.
    """

    def __init__(
        self,
        split: DenseSplit,
        *,
        base: tuple[int, int] | None,
        workers: int,
        share: Share = WHOLE,
        pin: bool = False,
    ) -> None:
        join = _JoinLabels(crop=None)
        super().__init__(split, _EvalLabels(base=base), join, batch_size=1, workers=workers, share=share, pin=pin)


@dataclass(frozen=True, kw_only=True)
class _TrainObjects:
    detect: Detect
    flip: float
    seed: int
    masks: bool

    def __call__(self, split: DenseSplit, place: EpochAndIndex) -> Read:
        objects = split.objects(place[1], masks=self.masks)
        original = sample_of(split.picture(place[1]), objects=objects.chosen(~objects.crowd))
        sample = vary_objects(original, self.detect, _generator(self.seed, place), flip=self.flip)
        return _read(sample, original, split, place)


@dataclass(frozen=True, kw_only=True)
class _EvalObjects:
    short: int
    longest: int
    masks: bool

    def __call__(self, split: DenseSplit, place: EpochAndIndex) -> Read:
        original = sample_of(split.picture(place[1]), objects=split.objects(place[1], masks=self.masks))
        size = fitted_size(original.size, short=self.short, longest=self.longest)
        return _read(resized(Sample(pixels=original.pixels), size), original, split, place)


@dataclass(frozen=True, kw_only=True)
class _TrainLabels:
    segment: Segment
    flip: float
    seed: int
    crop: int

    def __call__(self, split: DenseSplit, place: EpochAndIndex) -> Read:
        picture, labels = split.picture_and_map(place[1])
        original = sample_of(picture, labels=labels)
        generator = _generator(self.seed, place)
        sample = vary_labels(original, self.segment, generator, crop=self.crop, flip=self.flip)
        return Read(sample=sample, original=original, index=place[1])


@dataclass(frozen=True, kw_only=True)
class _EvalLabels:
    base: tuple[int, int] | None

    def __call__(self, split: DenseSplit, place: EpochAndIndex) -> Read:
        picture, labels = split.picture_and_map(place[1])
        original = sample_of(picture, labels=labels)
        sample = Sample(pixels=original.pixels)
        if self.base is not None:
            sample = resized(sample, fitted_size(sample.size, short=self.base[1], longest=self.base[0]))
        return Read(sample=sample, original=original, index=place[1])


@dataclass(frozen=True, kw_only=True)
class _JoinObjects:
    training: bool
    masks: bool

    def __call__(self, read: list[Read], unreadable: Mapping[str, str]) -> DetectBatch:
        return detect_batch(read, unreadable, training=self.training, masks=self.masks)


@dataclass(frozen=True, kw_only=True)
class _JoinLabels:
    crop: int | None

    def __call__(self, read: list[Read], unreadable: Mapping[str, str]) -> SegmentBatch:
        return segment_batch(read, unreadable, crop=self.crop)


@dataclass(frozen=True, kw_only=True)
class _Fault:
    """The text of a LabelError on its way to the process that asked: torch would wrap the error into a traceback."""

    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pictures(Dataset[BatchT | _Fault], Generic[BatchT]):
    """What runs in the workers: whole batches, from their (epoch, index) pairs."""

    split: DenseSplit
    read: ReadOne
    join: Join[BatchT]

    def __getitem__(self, places: list[EpochAndIndex]) -> BatchT | _Fault:
        read: list[Read] = []
        unreadable: dict[str, str] = {}
        for place in places:
            try:
                read.append(self.read(self.split, place))
            except PictureError as error:
                unreadable[self.split.name(place[1])] = str(error)
            except LabelError as error:
                return _Fault(text=str(error))
        return self.join(read, unreadable)


def _upright(split: DenseSplit) -> Integers:
    """Return 1 for each picture that is higher than wide: beside the others it would be padded on two sides."""
    sizes = (split.size(index) for index in range(len(split)))
    return np.array([height > width for height, width in sizes], dtype=np.int64)


def _generator(seed: int, place: EpochAndIndex) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, *place]))


def _read(sample: Sample, original: Sample, split: DenseSplit, place: EpochAndIndex) -> Read:
    return Read(sample=sample, original=original, index=place[1], picture_id=split.picture_id(place[1]))
