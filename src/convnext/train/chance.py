"""The randomness of a step as a function of the run's seed and the step alone.

So nothing that draws between two steps (a plot, a loader, the user's code) can change a run, and resuming needs no
stored state of a generator.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# Keeps this stream apart from those of the loader, which are keyed by the same seed.
STEP_STREAM = 1


def step_seeds(seed: int, step: int) -> tuple[int, int]:
    """Return two independent seeds for a step of a run: for torch's global generator, and for the task's own.

    Were they one, stochastic depth and mixing would draw the same numbers.
    """
    sequence = np.random.SeedSequence([seed, step], spawn_key=(STEP_STREAM,))
    model, task = sequence.generate_state(2, np.uint64)
    return int(model), int(task)


@contextmanager
def private_randomness(device: torch.device) -> Iterator[None]:
    """Leave torch's global generators as they were found, whatever is seeded or drawn inside."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
