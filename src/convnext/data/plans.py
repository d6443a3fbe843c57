"""Which pictures each batch holds, for each process: they follow from the seed, the epoch and the share alone."""

from dataclasses import dataclass

import numpy as np

from convnext.data.splits import Integers
from convnext.errors import UserError

EpochAndIndex = tuple[int, int]
Plan = list[list[EpochAndIndex]]  # the pictures of one batch after another


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which part of each batch one process of several gets, and in how many pieces.

    rank, world_size   of the process; every process gets batch_size / world_size pictures of each batch
    micro_batches      equal pieces of that share, one after another
    """

    rank: int = 0
    world_size: int = 1
    micro_batches: int = 1

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.world_size and self.micro_batches >= 1


WHOLE = Share()


class TrainPlan:
    """The batches of an epoch: all pictures in random order, those left over at its end dropped.

    Processes and micro-batches take consecutive pieces of the same batches.
    """

    def __init__(self, num_pictures: int, *, batch_size: int, seed: int, share: Share) -> None:
        self._batch_size = positive("batch_size", batch_size)
        self._seed = seed
        self._share = share
        self._num_pictures = num_pictures
        self.micro_batches = share.micro_batches
        self.steps_per_epoch = num_pictures // batch_size
        if self.steps_per_epoch == 0:
            raise UserError(
                f"batch_size must be at most the {num_pictures} pictures there are to train on, got {batch_size}"
            )
        pieces = share.world_size * share.micro_batches
        if batch_size % pieces:
            raise UserError(
                f"batch_size must be a multiple of {pieces} ({share.world_size} processes x {share.micro_batches} "
                f"micro-batches), got {batch_size}"
            )

    def epoch(self, epoch: int, first_step: int) -> Plan:
        """Return this process's micro-batches of an epoch from a step on."""
        if not 0 <= first_step <= self.steps_per_epoch:
            raise UserError(f"first_step must be from 0 to {self.steps_per_epoch}, got {first_step}")
        order = epoch_order(self._seed, epoch, self._num_pictures)
        share = self._share
        pieces = order[: self.steps_per_epoch * self._batch_size].reshape(
            self.steps_per_epoch, share.world_size, share.micro_batches, -1
        )
        own = pieces[first_step:, share.rank].reshape(-1, pieces.shape[-1])
        return [[(epoch, index) for index in piece] for piece in own.tolist()]


def eval_plan(num_pictures: int, *, batch_size: int, share: Share) -> Plan:
    """Return batches of every picture exactly once, in order; the last one may be shorter.

    Of several processes each gets consecutive pictures of its own and equally many batches, of which the last may be
    empty, because a network that is spread over them needs all of them at each forward pass.
    """
    size = positive("batch_size", batch_size)
    if num_pictures < share.world_size:
        raise UserError(
            f"there are {num_pictures} held-out pictures for {share.world_size} processes; start fewer processes"
        )
    parts = np.array_split(np.arange(num_pictures), share.world_size)
    own = parts[share.rank]
    if share.world_size == 1:
        batches = np.split(own, range(size, num_pictures, size))
    else:
        batches = np.array_split(own, -(-max(map(len, parts)) // size))
    return [[(0, index) for index in batch.tolist()] for batch in batches]


def epoch_order(seed: int, epoch: int, length: int) -> Integers:
    """Return the permutation of 0..length-1 that belongs to an epoch."""
    # The spawn key keeps this stream apart from that of picture 0: SeedSequence pads [s, e] to [s, e, 0].
    sequence = np.random.SeedSequence([seed, epoch], spawn_key=(0,))
    return np.random.Generator(np.random.Philox(sequence)).permutation(length)


def positive(name: str, value: int) -> int:
    """Return a value; UserError where it is below 1."""
    if value < 1:
        raise UserError(f"{name} must be 1 or more, got {value}")
    return value
