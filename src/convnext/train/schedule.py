"""The learning rate as a pure function of the step."""

import math

from convnext.recipe import Schedule

# A stretched schedule may have 6.6666666666666667 epochs for a third of 20.
_ROUNDING = 1e-9


def learning_rate(step: int, schedule: Schedule, *, lr: float, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0.

    It rises from 0 at step 0 in a straight line over the warm-up, and falls by the schedule's shape:

    cosine  a half cosine from the end of the warm-up, that would reach `min_lr` one step after the last (section 4 and
            Table 5 of the paper)
    step    constant within an epoch, times `step_factor` every `step_epochs` counted from the start of training (the
            ResNet recipe)
    drops   times `step_factor` at each of two epochs counted from the start (COCO)
    poly    `min_lr` and the `power` of the share of the run that is left, times what `lr` is above `min_lr`, counted
            from the start and not from the end of the warm-up, whose straight line is a factor on it (ADE20K)
    """
    warm = warmup_steps(schedule, steps_per_epoch)
    if schedule.shape in ("drops", "poly"):
        warmth = min(1.0, step / warm) if warm else 1.0
        return warmth * _regular(step, schedule, lr=lr, steps_per_epoch=steps_per_epoch)
    if step < warm:
        return lr * step / warm
    if schedule.shape == "step":
        drops = math.floor(step // steps_per_epoch / schedule.step_epochs + _ROUNDING)
        return float(lr * schedule.step_factor**drops)
    progress = (step - warm) / max(1, schedule.epochs * steps_per_epoch - warm)
    return schedule.min_lr + (lr - schedule.min_lr) * (1 + math.cos(math.pi * progress)) / 2


def _regular(step: int, schedule: Schedule, *, lr: float, steps_per_epoch: int) -> float:
    """Return the learning rate of a shape that knows nothing of the warm-up."""
    if schedule.shape == "drops":
        drops = sum(step / steps_per_epoch >= epoch - _ROUNDING for epoch in schedule.drops)
        return float(lr * schedule.step_factor**drops)
    left = max(0.0, 1 - step / (schedule.epochs * steps_per_epoch))
    return float(schedule.min_lr + (lr - schedule.min_lr) * left**schedule.power)


def warmup_steps(schedule: Schedule, steps_per_epoch: int) -> int:
    """Return the warm-up in whole steps; of one that is counted in epochs, a fraction of an epoch counts."""
    if schedule.warmup_steps is not None:
        return schedule.warmup_steps
    return round(schedule.warmup_epochs * steps_per_epoch)
