"""The learning rate at named steps."""

import math

import pytest
import torch

from convnext.recipe import Recipe, Schedule, with_epochs
from convnext.train.schedule import learning_rate, warmup_steps


def rate(step: int, epochs: int = 11, warmup_epochs: float = 1.0, lr: float = 4.0, steps_per_epoch: int = 10) -> float:
    schedule = Schedule(epochs=epochs, warmup_epochs=warmup_epochs, min_lr=1.0)
    return learning_rate(step, schedule, lr=lr, steps_per_epoch=steps_per_epoch)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0),
        (1, 0.4),
        (5, 2.0),
        (9, 3.6),
        (10, 4.0),
        (35, 1 + 3 * (1 + math.sqrt(0.5)) / 2),
        (60, 2.5),
        (85, 1 + 3 * (1 - math.sqrt(0.5)) / 2),
        (110, 1.0),
    ],
)
def test_named_steps(step: int, expected: float) -> None:
    assert rate(step) == pytest.approx(expected, rel=1e-12)


def test_the_papers_schedule_at_batch_4096() -> None:
    paper = Schedule(epochs=300, warmup_epochs=20, min_lr=1e-6)
    found = [learning_rate(step, paper, lr=4e-3, steps_per_epoch=312) for step in (0, 3120, 6240, 49920, 93599)]
    assert found == pytest.approx([0, 2e-3, 4e-3, (4e-3 + 1e-6) / 2, 1e-6], rel=1e-5)


def test_without_warmup_it_begins_at_the_top() -> None:
    assert rate(0, warmup_epochs=0) == 4.0


def test_all_warmup_never_divides_by_zero() -> None:
    assert [rate(step, epochs=4, warmup_epochs=4, steps_per_epoch=1) for step in range(4)] == [0, 1, 2, 3]
    assert rate(4, epochs=4, warmup_epochs=4, steps_per_epoch=1) == 4.0


def test_equals_torch_schedulers_step_by_step() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=4.0)
    linear = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-300, total_iters=10)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=1.0)
    both = torch.optim.lr_scheduler.SequentialLR(optimizer, [linear, cosine], milestones=[10])
    for step in range(110):
        assert rate(step) == pytest.approx(both.get_last_lr()[0], rel=1e-9, abs=1e-12)
        optimizer.step()
        both.step()


def test_steps_of_the_resnet_recipe_are_constant_within_an_epoch() -> None:
    classic = Schedule(epochs=90, warmup_epochs=0, shape="step", step_epochs=30, step_factor=0.1, min_lr=0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=0.1)
    theirs = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    for epoch in range(90):
        for step in (7 * epoch, 7 * epoch + 6):
            found = learning_rate(step, classic, lr=0.1, steps_per_epoch=7)
            assert found == pytest.approx(theirs.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        theirs.step()
    drops = [learning_rate(7 * epoch, classic, lr=0.1, steps_per_epoch=7) for epoch in (29, 30, 59, 60, 89)]
    assert drops == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("epochs", [*range(1, 40), 180, 300])
def test_shortened_steps_fall_at_the_thirds(epochs: int) -> None:
    classic = Recipe(
        name="classic", schedule=Schedule(epochs=90, warmup_epochs=0, shape="step", step_epochs=30, min_lr=0)
    )
    schedule = with_epochs(classic, epochs).schedule
    rates = [learning_rate(epoch, schedule, lr=1.0, steps_per_epoch=1) for epoch in range(epochs)]
    assert rates == pytest.approx([0.1 ** (3 * epoch // epochs) for epoch in range(epochs)])


def test_steps_after_a_warmup_are_counted_from_the_start() -> None:
    schedule = Schedule(epochs=6, warmup_epochs=1, shape="step", step_epochs=2, step_factor=0.5, min_lr=0)
    found = [learning_rate(step, schedule, lr=8.0, steps_per_epoch=2) for step in range(12)]
    assert found == [0, 4, 8, 8, 4, 4, 4, 4, 2, 2, 2, 2]


def test_warmup_in_steps() -> None:
    assert [warmup_steps(epochs, 7) for epochs in (0, 0.5, 1, 2.5)] == [0, 4, 7, 18]
