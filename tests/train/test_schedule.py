"""The learning rate at named steps."""

import math

import pytest
import torch

from convnext.train.schedule import learning_rate, warmup_steps


def rate(step: int, steps: int = 110, warmup: int = 10, lr: float = 4.0, min_lr: float = 1.0) -> float:
    return learning_rate(step, steps=steps, warmup_steps=warmup, lr=lr, min_lr=min_lr)


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


def test_without_warmup_it_begins_at_the_top() -> None:
    assert rate(0, warmup=0) == 4.0


def test_all_warmup_never_divides_by_zero() -> None:
    assert [rate(step, steps=4, warmup=4) for step in range(4)] == [0, 1, 2, 3]
    assert rate(4, steps=4, warmup=4) == 4.0


def test_equals_torch_schedulers_step_by_step() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=4.0)
    linear = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-300, total_iters=10)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=1.0)
    both = torch.optim.lr_scheduler.SequentialLR(optimizer, [linear, cosine], milestones=[10])
    for step in range(110):
        assert rate(step) == pytest.approx(both.get_last_lr()[0], rel=1e-9, abs=1e-12)
        optimizer.step()
        both.step()


def test_warmup_in_steps() -> None:
    assert [warmup_steps(epochs, 7) for epochs in (0, 0.5, 1, 2.5)] == [0, 4, 7, 18]
