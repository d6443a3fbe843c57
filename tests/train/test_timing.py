"""What is timed is what is trained, and waiting for pictures is told apart from learning from them."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from convnext.data.sources import Source, Split
from convnext.recipe import with_overrides
from convnext.tasks.classify import ClassifyTask, ReadyBatch
from convnext.train.engine import Engine, Place
from convnext.train.timing import StepTimes, time_reading, time_scoring, time_steps
from tests.train.tiny import LAYER_NET, tiny_network, tiny_recipe, tiny_source, tiny_task

CPU = torch.device("cpu")
NAP = 0.02


@dataclass
class Clock:
    """Stands in for `time`: only naps make it advance, so a busy machine cannot make a test fail."""

    now: float = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("convnext.train.timing.time", clock)
    monkeypatch.setattr("tests.train.test_timing.time", clock)
    return clock


@dataclass(frozen=True, kw_only=True)
class SleepyStore:
    """A store that takes its time with each picture."""

    inner: Any

    def name(self, entry: int) -> str:
        return str(self.inner.name(entry))

    def picture(self, entry: int) -> Image.Image:
        time.sleep(NAP)
        picture: Image.Image = self.inner.picture(entry)
        return picture


class SleepyTask(ClassifyTask):
    """A task whose network takes its time."""

    def loss(self, model: nn.Module, batch: ReadyBatch) -> Mapping[str, Tensor]:
        time.sleep(NAP)
        return super().loss(model, batch)

    def predict(self, model: nn.Module, batch: ReadyBatch) -> Tensor:
        time.sleep(NAP)
        return super().predict(model, batch)


def slow_source() -> Source:
    source = tiny_source()

    def slowed(split: Split) -> Split:
        return Split(store=SleepyStore(inner=split.store), entries=split.entries, labels=split.labels)

    return Source(
        name="slow",
        classes=source.classes,
        train=slowed(source.train),
        val=slowed(source.val),
        label_safe=source.label_safe,
    )


def engine_of(
    *overrides: str, source: Source | None = None, kind: type[ClassifyTask] = ClassifyTask
) -> Engine[Any, Any]:
    recipe = with_overrides(tiny_recipe(), overrides)
    task = tiny_task(recipe, source, kind)
    return Engine(task, tiny_network(LAYER_NET, recipe), recipe, Place(device=CPU), seed=3)


@pytest.mark.parametrize("micro_batch", [4, 2])
def test_what_is_timed_is_what_is_trained(micro_batch: int) -> None:
    overrides = (f"engine.micro_batch={micro_batch}", "mix.mixup=0.8", "augment.erasing=0.5")
    timed, trained = engine_of(*overrides), engine_of(*overrides)
    before = torch.get_rng_state()
    times = time_steps(timed, steps=3, warm=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert times.pictures == 4 and times.compute_seconds > 0 and times.wait_seconds > 0
    trained.model.train()
    for step, batches in enumerate(trained.epoch(0, 0)):
        if step < 4:
            trained.step(batches, step)
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(timed.model.state_dict()[name], tensor), name
    assert timed.ema is not None and trained.ema is not None
    for one, other in zip(timed.ema.model.parameters(), trained.ema.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_waiting_for_pictures_is_told_apart(clock: Clock) -> None:
    times = time_steps(engine_of(source=slow_source()), steps=2)
    assert times.wait_seconds == pytest.approx(4 * NAP) and times.compute_seconds == 0
    assert times.start_seconds == pytest.approx(4 * NAP)
    assert times.seconds == times.wait_seconds
    assert times.images_per_second == pytest.approx(1 / NAP)


def test_learning_is_told_apart(clock: Clock) -> None:
    times = time_steps(engine_of("engine.micro_batch=1", kind=SleepyTask), steps=2)
    # Four micro-batches, each with a nap.
    assert times.compute_seconds == pytest.approx(4 * NAP) and times.wait_seconds == 0


def test_an_epoch_shorter_than_asked_for_is_timed_as_far_as_it_goes() -> None:
    engine = engine_of("data.batch_size=22")
    assert engine.steps_per_epoch == 1
    assert time_steps(engine, steps=5, warm=3).pictures == 22
    assert time_reading(engine, steps=3) > 0


def test_reading_alone_costs_what_reading_costs(clock: Clock) -> None:
    engine = engine_of(source=slow_source())
    weights = copy.deepcopy(engine.model.state_dict())
    long_epoch, short_epoch = time_reading(engine, steps=2), time_reading(engine, steps=6)
    for seconds in (long_epoch, short_epoch):
        assert seconds == pytest.approx(4 * NAP)
    assert all(torch.equal(weights[name], tensor) for name, tensor in engine.model.state_dict().items())


def test_two_readers_read_faster_than_one() -> None:
    engine = engine_of("data.workers=2", source=slow_source())
    # The machine may be busy, so there are three tries to be fast; none may be faster than two readers can be.
    tries = [time_reading(engine, steps=4) for _ in range(3)]
    assert 2 * NAP * 0.8 <= min(tries) < 4 * NAP


def test_scoring_counts_both_weights(clock: Clock) -> None:
    both = time_scoring(engine_of(kind=SleepyTask), batches=2)
    raw = time_scoring(engine_of("ema.decay=none", "evaluate.weights=raw", kind=SleepyTask), batches=2)
    # Two batches, of four pictures and of the last one.
    assert raw == pytest.approx(2 * NAP / 5) and both == pytest.approx(4 * NAP / 5)


def test_speed_of_a_step() -> None:
    assert StepTimes(
        compute_seconds=0.3, wait_seconds=0.1, start_seconds=9.0, pictures=8
    ).images_per_second == pytest.approx(20)
