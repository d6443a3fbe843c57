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

    groups   of each picture the number of its group, where pictures that go through the network together shall be of
             one, as far as their batch has them: those of one shape waste little on padding
    """

    def __init__(
        self, num_pictures: int, *, batch_size: int, seed: int, share: Share, groups: Integers | None = None
    ) -> None:
        assert groups is None or len(groups) == num_pictures
        self._batch_size = positive("batch_size", batch_size)
        self._seed = seed
        self._share = share
        self._num_pictures = num_pictures
        self._groups = groups
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
        self._together = batch_size // pieces

    def epoch(self, epoch: int, first_step: int) -> Plan:
        """Return this process's micro-batches of an epoch from a step on."""
        if not 0 <= first_step <= self.steps_per_epoch:
            raise UserError(f"first_step must be from 0 to {self.steps_per_epoch}, got {first_step}")
        order = epoch_order(self._seed, epoch, self._num_pictures)[: self.steps_per_epoch * self._batch_size]
        share = self._share
        if self._groups is not None and self._together > 1:
            # Inside each batch: what a step learns from does not depend on how many processes or pieces share it.
            batches = order.reshape(self.steps_per_epoch, self._batch_size)
            order = np.stack([grouped(batch, self._groups[batch], self._together) for batch in batches])
        pieces = order.reshape(self.steps_per_epoch, share.world_size, share.micro_batches, -1)
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


def grouped(order: Integers, groups: Integers, together: int) -> Integers:
    """Return an order in which each run of `together` members is of one group, but for what the groups have left over.

    groups: of each member of `order`. A run stands where it became complete; what is left over comes last, mixed.
    """
    runs: list[int] = []
    waiting: dict[int, list[int]] = {}
    for place, group in enumerate(groups.tolist()):
        run = waiting.setdefault(group, [])
        run.append(place)
        if len(run) == together:
            runs += waiting.pop(group)
    return order[runs + sorted(place for run in waiting.values() for place in run)]


def positive(name: str, value: int) -> int:
    """Return a value; UserError where it is below 1."""
    if value < 1:
        raise UserError(f"{name} must be 1 or more, got {value}")
    return value
