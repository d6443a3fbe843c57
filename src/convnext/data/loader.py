"""Batches of pictures, the same whatever the number of workers and wherever an epoch is entered.

The order of an epoch follows from (seed, epoch), the augmentation of a picture from (seed, epoch, index).
Workers are told (epoch, index) with each picture, so they keep no state that could be stale.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from convnext.data.augment import cut_square, eval_picture, keep_labels_true, vary_square
from convnext.data.feed import Feed
from convnext.data.pictures import PictureError, Pixels
from convnext.data.plans import WHOLE, EpochAndIndex, Share, TrainPlan, epoch_order, eval_plan, positive
from convnext.data.splits import LabelSafe, Split
from convnext.data.uncut import MODES, open_uncut
from convnext.errors import UserError
from convnext.preprocess import Preprocess
from convnext.recipe import Augment

__all__ = ["WHOLE", "Batch", "EvalLoader", "Share", "TrainLoader", "epoch_order"]

# From a split, a place in it and a number of channels to the pixels, and what is still to be done with them.
View = Callable[[Split, EpochAndIndex, int], tuple[Pixels, Callable[[Pixels], Pixels] | None]]


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

    def pin_memory(self) -> "Batch":
        """Return the batch in memory from which a GPU copies while the processor goes on."""
        return replace(self, images=self.images.pin_memory(), labels=self.labels.pin_memory(), indices=self.indices)


class TrainLoader:
    """Shuffled, augmented batches of equal size; the pictures left over at the end of an epoch are dropped.

    Processes and micro-batches take consecutive pieces of the same batches, so a run's pictures do not depend on how
    many there are. A picture that cannot be read leaves its piece that much shorter. No global random state is read
    or disturbed: neither torch's nor numpy's nor Python's.

    steps_per_epoch   batches of `batch_size` pictures in an epoch
    micro_batches     pieces that `epoch` yields for each of them
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
        reduced_decode: bool = False,
        share: Share = WHOLE,
        pin: bool = False,
    ) -> None:
        view = _TrainView(
            size=size,
            augment=keep_labels_true(augment, label_safe),
            label_safe=label_safe,
            seed=seed,
            reduced_decode=reduced_decode,
        )
        self._feed = Feed(_Pictures(split=split, view=view, size=size, channels=channels), workers, share, pin=pin)
        self._plan = TrainPlan(len(split), batch_size=batch_size, seed=seed, share=share)
        self.micro_batches = self._plan.micro_batches
        self.steps_per_epoch = self._plan.steps_per_epoch

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Return this process's micro-batches of an epoch from a step on, exactly as the whole epoch would give them.

        Starting an epoch ends an earlier one of the same loader.
        """
        return self._feed.run(self._plan.epoch(epoch, first_step))


class EvalLoader:
    """Every picture of a split exactly once, in order; the last batch may be shorter.

    Of several processes each gets consecutive pictures of its own and equally many batches, because a network that is
    spread over them needs all of them at each forward pass.
    """

    def __init__(
        self,
        split: Split,
        *,
        preprocess: Preprocess,
        batch_size: int,
        workers: int,
        channels: int = 3,
        share: Share = WHOLE,
        pin: bool = False,
    ) -> None:
        pictures = _Pictures(
            split=split, view=_EvalView(preprocess=preprocess), size=preprocess.size, channels=channels
        )
        self._feed = Feed(pictures, workers, share, pin=pin)
        self._plan = eval_plan(len(split), batch_size=batch_size, share=share)

    def __len__(self) -> int:
        return len(self._plan)

    def __iter__(self) -> Iterator[Batch]:
        return self._feed.run(self._plan)


@dataclass(frozen=True, kw_only=True)
class _TrainView:
    size: int
    augment: Augment
    label_safe: LabelSafe
    seed: int
    reduced_decode: bool

    def __call__(
        self, split: Split, place: EpochAndIndex, channels: int
    ) -> tuple[Pixels, Callable[[Pixels], Pixels] | None]:
        generator = np.random.default_rng(np.random.SeedSequence([self.seed, *place]))
        picture = open_uncut(split, place[1], channels, reduced=self.reduced_decode)
        square = cut_square(picture, self.size, self.augment, generator)
        return square, partial(vary_square, augment=self.augment, generator=generator, safe=self.label_safe)


@dataclass(frozen=True, kw_only=True)
class _EvalView:
    preprocess: Preprocess

    def __call__(self, split: Split, place: EpochAndIndex, channels: int) -> tuple[Pixels, None]:
        picture = split.picture(place[1])
        mode = MODES[channels]
        return eval_picture(picture if picture.mode == mode else picture.convert(mode), self.preprocess), None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pictures(Dataset[Batch]):
    """What runs in the workers: whole batches, from their (epoch, index) pairs."""

    split: Split
    view: View
    size: int
    channels: int

    def __post_init__(self) -> None:
        positive("size", self.size)
        if self.channels not in MODES:
            raise UserError(f"channels must be 1 (grey) or 3 (colour), got {self.channels}")

    def __getitem__(self, places: list[EpochAndIndex]) -> Batch:
        images = np.empty((len(places), self.size, self.size, self.channels), dtype=np.uint8)
        read: list[int] = []
        rest: list[Callable[[Pixels], Pixels] | None] = []
        unreadable: dict[str, str] = {}
        for place in places:
            try:
                images[len(read)], still_to_do = self.view(self.split, place, self.channels)
                read.append(place[1])
                rest.append(still_to_do)
            except PictureError as error:
                unreadable[self.split.name(place[1])] = str(error)
        # A tenth faster in a round of its own: decoding leaves nothing else in the processor's caches.
        for number, still_to_do in enumerate(rest):
            if still_to_do is not None:
                images[number] = still_to_do(images[number])
        indices = np.array(read, dtype=np.int64)
        return Batch(
            # Channels last in memory, as the networks want it: a view, not a copy.
            images=torch.from_numpy(images[: len(read)]).permute(0, 3, 1, 2),
            labels=torch.from_numpy(self.split.labels[indices]),
            indices=torch.from_numpy(indices),
            unreadable=unreadable,
        )
