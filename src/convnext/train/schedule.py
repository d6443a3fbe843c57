"""The learning rate as a pure function of the step."""

import math


def learning_rate(step: int, *, steps: int, warmup_steps: int, lr: float, min_lr: float) -> float:
    """Return the learning rate of a step, counted from 0.

    Linear from 0 at step 0 to `lr` at step `warmup_steps`, then a half cosine that would reach `min_lr` at step `steps`
    (section 4 and Table 5 of the paper: warm-up, then cosine, both per step).
    """
    if step < warmup_steps:
        return lr * step / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * progress)) / 2


def warmup_steps(warmup_epochs: float, steps_per_epoch: int) -> int:
    """Return the warm-up in whole steps; a fraction of an epoch counts."""
    return round(warmup_epochs * steps_per_epoch)
