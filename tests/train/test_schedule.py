"""The learning rate at named steps."""

import math

import pytest
import torch

from convnext.errors import UserError
from convnext.recipe import Recipe, Schedule, with_epochs, with_overrides
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
    assert [warmup_steps(Schedule(warmup_epochs=epochs), 7) for epochs in (0, 0.5, 1, 2.5)] == [0, 4, 7, 18]


def mmcv_step(step: int, lr: float, per_epoch: int, drops: tuple[int, ...], warmup: int) -> float:
    """Return what the reference's hooks give: the drops by whole epochs, the warm-up a factor on them."""
    epoch = step // per_epoch
    regular = lr * 0.1 ** len([drop for drop in drops if epoch >= drop])
    return regular * (step / warmup if step < warmup else 1)


def test_drops_of_coco_at_epochs_27_and_33() -> None:
    coco = Schedule(epochs=36, warmup_epochs=0, shape="drops", drops=(27, 33), warmup_steps=50, min_lr=0)
    found = [learning_rate(step, coco, lr=2e-4, steps_per_epoch=20) for step in range(720)]
    assert found == pytest.approx([mmcv_step(step, 2e-4, 20, (27, 33), 50) for step in range(720)], rel=1e-12)
    # By hand: the last step before a drop and the first of it, so that a drop one step late or early is seen.
    assert [found[step] for step in (25, 49, 50, 539, 540, 659, 660, 719)] == pytest.approx(
        [1e-4, 1.96e-4, 2e-4, 2e-4, 2e-5, 2e-5, 2e-6, 2e-6], rel=1e-12
    )


def test_poly_is_counted_from_the_start_and_warmed_by_a_factor() -> None:
    ade = Schedule(epochs=10, warmup_epochs=0, shape="poly", power=2, warmup_steps=20, min_lr=1.0)
    expected = [((5.0 - 1.0) * (1 - step / 100) ** 2 + 1.0) * min(1, step / 20) for step in range(100)]
    found = [learning_rate(step, ade, lr=5.0, steps_per_epoch=10) for step in range(100)]
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[10] == pytest.approx((4 * 0.81 + 1) / 2) and found[20] == pytest.approx(4 * 0.64 + 1)
    assert learning_rate(100, ade, lr=5.0, steps_per_epoch=10) == 1.0


def test_the_straight_line_of_ade20k() -> None:
    ade = Schedule(epochs=127, warmup_epochs=0, shape="poly", power=1, warmup_steps=1500, min_lr=0)
    steps = 127 * 1263
    found = [learning_rate(step, ade, lr=1e-4, steps_per_epoch=1263) for step in (0, 750, 1500, steps // 2, steps - 1)]
    expected = [0, 0.5e-4 * (1 - 750 / steps), 1e-4 * (1 - 1500 / steps), 0.5e-4, 1e-4 / steps]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", ["cosine", "step", "drops", "poly"])
def test_a_warmup_in_steps_replaces_the_epochs(shape: str) -> None:
    schedule = Schedule(epochs=10, warmup_epochs=4, shape=shape, drops=(6, 8), warmup_steps=5, min_lr=0)  # type: ignore[arg-type]
    assert warmup_steps(schedule, 7) == 5 and warmup_steps(schedule, 1000) == 5
    rates = [learning_rate(step, schedule, lr=1.0, steps_per_epoch=7) for step in range(6)]
    assert rates[0] == 0 and rates[1] == pytest.approx(0.2, rel=0.02) and rates[5] == pytest.approx(1, abs=0.08)
    # None falls back to the epochs, 0 is no warm-up at all.
    none = Schedule(epochs=10, warmup_epochs=4, shape="poly", warmup_steps=0, min_lr=0)
    assert learning_rate(0, none, lr=1.0, steps_per_epoch=7) == 1.0 and not none.warms_up


@pytest.mark.parametrize("epochs", [1, 2, 7, 12, 100])
def test_drops_stretch_with_the_epochs_and_stay_inside(epochs: int) -> None:
    coco = Recipe(
        name="coco",
        schedule=Schedule(epochs=36, warmup_epochs=0, shape="drops", drops=(27, 33), warmup_steps=500, min_lr=0),
    )
    schedule = with_epochs(coco, epochs).schedule
    assert schedule.drops == pytest.approx((epochs * 0.75, epochs * 11 / 12)) and schedule.warmup_steps == 500
    short = with_epochs(with_overrides(coco, ["schedule.warmup_steps=0"]), epochs).schedule
    rates = [learning_rate(step, short, lr=1.0, steps_per_epoch=12) for step in range(12 * epochs)]
    # Also inside an epoch, so that a run of one epoch has both.
    assert rates == pytest.approx([1.0] * 9 * epochs + [0.1] * 2 * epochs + [0.01] * epochs)


def test_drops_must_lie_in_the_run() -> None:
    with pytest.raises(UserError, match=r"schedule\.drops must be below schedule\.epochs \(20\), got 27,33; --epochs"):
        Schedule(shape="drops")
    with pytest.raises(UserError, match=r"schedule\.drops must be two rising numbers above 0"):
        Schedule(shape="drops", drops=(5, 3))
    # Where they are not used, they do not matter.
    assert Schedule(epochs=3, warmup_epochs=0).drops == (27.0, 33.0)
