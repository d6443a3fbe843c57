"""The learning rate as a pure function of the step."""

import math

from convnext.recipe import Schedule


def learning_rate(step: int, schedule: Schedule, *, lr: float, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0.

    Linear from 0 at step 0 to `lr` at the end of the warm-up, then by the schedule's shape: a half cosine that would
    reach `min_lr` one step after the last (section 4 and Table 5 of the paper), or, constant within an epoch, times
    `step_factor` every `step_epochs` counted from the start of training (the ResNet recipe).
    """
    warm = warmup_steps(schedule.warmup_epochs, steps_per_epoch)
    if step < warm:
        return lr * step / warm
    if schedule.shape == "step":
        # A stretched schedule may have 6.6666666666666667 epochs for a third of 20.
        drops = math.floor(step // steps_per_epoch / schedule.step_epochs + 1e-9)
        return float(lr * schedule.step_factor**drops)
    progress = (step - warm) / max(1, schedule.epochs * steps_per_epoch - warm)
    return schedule.min_lr + (lr - schedule.min_lr) * (1 + math.cos(math.pi * progress)) / 2


def warmup_steps(warmup_epochs: float, steps_per_epoch: int) -> int:
    """Return the warm-up in whole steps; a fraction of an epoch counts."""
    return round(warmup_epochs * steps_per_epoch)
