"""How long a run will take and how much memory it needs, from a few of its own steps."""

import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from convnext.data.dense.splits import DenseSource
from convnext.data.sources import Source
from convnext.doctor.numbers import Plan
from convnext.errors import UserError
from convnext.files import write_tensors
from convnext.kinds.kind import kind_of, silent
from convnext.machine import held_memory_bytes, memory_bytes, peak_memory_bytes, reset_peak_memory
from convnext.plan import RunConfig, RunPlan
from convnext.run import prepare
from convnext.train.distributed import ALONE
from convnext.train.engine import Engine, Place
from convnext.train.timing import StepTimes, time_reading, time_scoring, time_steps

# Of each of the parts that are timed, about.
SECONDS = 3.0
STEPS = (3, 30)
# A processor core does about so many multiply-adds a second in training; only to choose how much to time.
CORE_MACS = 20e9
SLOWEST_STEP_SECONDS = 2.5
BACKWARD = 3
WRITTEN_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take on this machine.

    micro_batch     pictures that went through the network at once while it was timed
    reading_images_per_second, compute_images_per_second   of one process, each with nothing else to wait for
    images_per_second   of all processes, if they do not slow each other down
    start_seconds   until the first pictures are there, once
    train_seconds, score_seconds, save_seconds   of an epoch
    peak_memory_bytes   of the device, or of this process where it is the processor
    memory_bytes        that there are for it; None where nobody tells
    run_bytes           on the disk, at most
    """

    micro_batch: int
    reading_images_per_second: float
    compute_images_per_second: float
    images_per_second: float
    start_seconds: float
    train_seconds: float
    score_seconds: float
    save_seconds: float
    epochs: int
    peak_memory_bytes: int
    memory_bytes: int | None
    run_bytes: int

    @property
    def epoch_seconds(self) -> float:
        """An epoch with scoring and saving."""
        return self.train_seconds + self.score_seconds + self.save_seconds

    @property
    def total_seconds(self) -> float:
        """The whole run."""
        return self.start_seconds + self.epochs * self.epoch_seconds


def forecast(run: RunPlan, plan: Plan, source: Source | DenseSource, folder: Path) -> Forecast:
    """Do a few steps of a run, in memory only, and say what the whole will take.

    folder  where the run's files will lie: a little is written there and removed again, to see how fast that is

    NotFiniteError when the loss is no number in these steps, LabelError where labels contradict their picture. Where a
    GPU's memory does not hold a micro-batch, it is halved until it does; torch.OutOfMemoryError where none does.

    A detector's pictures are put together by shape only inside a batch, and what is timed is one micro-batch at a
    time: with more of them to a step there is less padding, and the run is a little faster.
    """
    micro_batch = _timed_micro_batch(plan)
    while True:
        try:
            return _forecast(run, plan, source, folder, micro_batch)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            if micro_batch <= plan.least_micro_batch:
                raise
            micro_batch = max(plan.least_micro_batch, micro_batch // 2)


def _timed_micro_batch(plan: Plan) -> int:
    """Return a micro-batch that a step of does not take too long with: on a processor perhaps a part of the plan's."""
    numbers = plan.numbers
    if plan.facts.device != "cpu":
        return numbers.micro_batch
    if numbers.gmacs is None:
        return min(2, numbers.micro_batch)
    seconds = BACKWARD * numbers.gmacs * 1e9 / (CORE_MACS * plan.facts.cores)
    return max(min(2, numbers.micro_batch), min(numbers.micro_batch, int(SLOWEST_STEP_SECONDS / seconds)))


def _forecast(run: RunPlan, plan: Plan, source: Source | DenseSource, folder: Path, micro_batch: int) -> Forecast:
    recipe = replace(
        plan.recipe,
        data=replace(plan.recipe.data, batch_size=micro_batch),
        engine=replace(plan.recipe.engine, micro_batch=micro_batch),
    )
    network = kind_of(run.task).network(run, recipe, source, silent)
    prepared = prepare(RunConfig.of(run), recipe, source, network, run.preprocess, ALONE)
    memory = _Memory(prepared.place)
    engine: Engine[Any, Any] = Engine(prepared.task, network, recipe, prepared.place, run.seed)
    times = _timed(engine)
    score_seconds = time_scoring(engine, batches=STEPS[0])
    reading = _reading_seconds(engine, times)
    return _of_parts(
        plan,
        micro_batch=micro_batch,
        times=times,
        score_seconds=score_seconds,
        reading_seconds=reading,
        save_seconds=_save_seconds(plan, folder),
        memory=memory.needed(plan, micro_batch),
        limit=memory.limit,
    )


def _of_parts(
    plan: Plan,
    *,
    micro_batch: int,
    times: StepTimes,
    score_seconds: float,
    reading_seconds: float,
    save_seconds: float,
    memory: int,
    limit: int | None,
) -> Forecast:
    """Put together what was timed; score_seconds and reading_seconds are of one picture."""
    numbers, facts = plan.numbers, plan.facts
    a_picture = times.seconds / times.pictures
    # At the start of an epoch, and of scoring, the first pictures are waited for.
    first = reading_seconds * plan.recipe.data.workers * numbers.micro_batch
    return Forecast(
        micro_batch=micro_batch,
        reading_images_per_second=1 / max(reading_seconds, 1e-9),
        compute_images_per_second=times.pictures / max(times.compute_seconds, 1e-9),
        images_per_second=numbers.processes / a_picture,
        # Readers are started to train and to score.
        start_seconds=2 * times.start_seconds,
        train_seconds=first + numbers.steps_per_epoch * numbers.batch_size / numbers.processes * a_picture,
        score_seconds=first + math.ceil(facts.num_val / numbers.processes) * score_seconds,
        save_seconds=save_seconds,
        epochs=plan.recipe.schedule.epochs,
        peak_memory_bytes=memory,
        memory_bytes=limit,
        run_bytes=plan.run_bytes,
    )


def _timed(engine: Engine[Any, Any]) -> StepTimes:
    """Time as many steps as there is time for, so that slow ones are few and fast ones are many."""
    first = time_steps(engine, steps=1)
    times = time_steps(engine, steps=round(min(max(SECONDS / first.seconds, STEPS[0]), STEPS[1])))
    return replace(times, start_seconds=first.start_seconds)


def _reading_seconds(engine: Engine[Any, Any], times: StepTimes) -> float:
    """Return the seconds that reading one picture takes."""
    if engine.recipe.data.workers == 0:
        return times.wait_seconds / times.pictures
    steps = round(min(max(SECONDS / times.seconds, STEPS[0]), STEPS[1]))
    return time_reading(engine, steps=max(steps, 2 * engine.recipe.data.workers)) / times.pictures


def _save_seconds(plan: Plan, folder: Path) -> float:
    """Return the seconds that writing the checkpoints of an epoch takes; 0 where the folder cannot be written yet."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".doctor-") as trial:
            began = time.perf_counter()
            write_tensors(Path(trial) / "trial", {"trial": torch.zeros(WRITTEN_BYTES, dtype=torch.uint8)}, {})
            seconds = time.perf_counter() - began
    except (OSError, UserError):
        return 0.0
    return seconds * plan.epoch_bytes / WRITTEN_BYTES


class _Memory:
    """Watches how much memory a training takes, on its device."""

    def __init__(self, place: Place) -> None:
        self._device = place.device
        self._before = 0
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self.limit: int | None = torch.cuda.mem_get_info(self._device)[0]
        else:
            reset_peak_memory()
            self._before = held_memory_bytes()
            free = memory_bytes()
            self.limit = None if free is None else free + self._before

    def needed(self, plan: Plan, micro_batch: int) -> int:
        """Return the most that was held, carried over from the micro-batch that was timed to the plan's."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_reserved(self._device))
        peak = peak_memory_bytes()
        # What does not grow with the pictures: the program, gradients, the optimizer's moments and the average.
        fixed = min(self._before + plan.state_bytes, peak)
        return int(fixed + (peak - fixed) * plan.numbers.micro_batch / micro_batch)
