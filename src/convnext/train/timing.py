"""Time a few steps of a training: the very steps that the loop would do, reading the pictures included."""

import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from convnext.train.chance import private_randomness
from convnext.train.device import chosen_convolutions
from convnext.train.engine import Engine
from convnext.train.score import score

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """How long an optimizer step takes, in seconds, and how many pictures this process learns from in one.

    compute_seconds  from having the pictures to having learned from them: the median
    wait_seconds     waiting for pictures: the mean, because several readers deliver in bursts
    start_seconds    until the very first pictures were there, for which the readers were started
    """

    compute_seconds: float
    wait_seconds: float
    start_seconds: float
    pictures: int

    @property
    def seconds(self) -> float:
        """A whole step."""
        return self.compute_seconds + self.wait_seconds

    @property
    def images_per_second(self) -> float:
        """Speed of this process, reading included."""
        return self.pictures / self.seconds


def time_steps(engine: Engine[Any, Any], *, steps: int, warm: int = 1, epoch: int = 0) -> StepTimes:
    """Train for a few steps and time them.

    steps, warm  how many are timed, and how many are done before, which pay for starting up; fewer where the epoch ends
    epoch        whose pictures are taken

    The weights move, as in any training; torch's global randomness stays as it was.
    """
    engine.model.train()
    computed: list[float] = []
    waited: list[float] = []
    start_seconds = 0.0
    pictures = 0
    warm = min(warm, engine.steps_per_epoch - 1)
    device = engine.place.device
    with private_randomness(device), chosen_convolutions(device, one_size=engine.task.one_size):
        clock = _Clock()
        for number, batches in enumerate(islice(engine.epoch(epoch, 0), warm + steps)):
            done = engine.step(clock.waiting(batches), number)
            # Reading the loss waits for a GPU to finish.
            done.loss_sum.item()
            total, wait = clock.lap()
            if number == 0:
                start_seconds = wait
            if number >= warm:
                computed.append(total - wait)
                waited.append(wait)
                pictures += done.pictures
    return StepTimes(
        compute_seconds=statistics.median(computed),
        wait_seconds=statistics.fmean(waited),
        start_seconds=start_seconds,
        pictures=max(1, round(pictures / len(computed))),
    )


def time_reading(engine: Engine[Any, Any], *, steps: int, epoch: int = 0) -> float:
    """Return the seconds that reading the pictures of a step takes where nothing else is going on.

    steps: how many are read, after those that fill the readers' queues; of short epochs at least one whole one.
    """
    ahead = 1 + 2 * engine.recipe.data.workers
    if engine.steps_per_epoch < ahead + steps:
        # The readers would be done with such an epoch soon after its first batch.
        _read(engine.epoch(epoch, 0))
        began = time.perf_counter()
        read = 0
        while read < steps:
            epoch += 1
            read += _read(engine.epoch(epoch, 0))
    else:
        batches = engine.epoch(epoch, 0)
        _read(islice(batches, ahead))
        began = time.perf_counter()
        read = _read(islice(batches, steps))
    return (time.perf_counter() - began) / read


def time_scoring(engine: Engine[Any, Any], *, batches: int) -> float:
    """Return the seconds that scoring one held-out picture takes, with all weights that a run scores.

    batches: how many are timed, after one that pays for starting up; fewer where there are not so many.
    """
    ends: list[float] = []
    pictures: list[int] = []

    def noting_ends(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            pictures.append(max(1, len(item.indices)))
            yield item
            ends.append(time.perf_counter())

    began = time.perf_counter()
    score(
        engine.task,
        engine.models(),
        noting_ends(islice(engine.task.val_batches(), batches + 1)),
        device=engine.place.device,
        precision=engine.place.precision,
    )
    # The score itself waits for a GPU, so the end is now.
    if len(ends) < 2:
        return (time.perf_counter() - began) / max(1, sum(pictures))
    return (time.perf_counter() - ends[0]) / sum(pictures[1:])


def _read(steps: Iterable[Iterable[object]]) -> int:
    """Read all batches of some steps and return how many steps that were."""
    return sum(1 for batches in steps if list(batches))


class _Clock:
    """Tells the time of a lap, and how much of it was spent waiting for items."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._began = time.perf_counter()

    def waiting(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """Yield the items and count the time until each is there."""
        iterator = iter(items)
        while True:
            asked = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - asked
            yield item

    def lap(self) -> tuple[float, float]:
        """Return (seconds since the last lap, seconds of them waiting), and begin the next one."""
        now = time.perf_counter()
        lap = now - self._began, self._waited
        self._began, self._waited = now, 0.0
        return lap
