"""The randomness of a step as a function of the run's seed and the step (and process and micro-batch) alone.

So nothing that draws between two steps (a plot, a loader, the user's code) can change a run, and resuming needs no
stored state of a generator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

# Keeps this stream apart from those of the loader, which are keyed by the same seed.
STEP_STREAM = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Chance:
    """What a task draws from while it prepares a batch: numbers on the host, tensors on the device.

    The numbers (a mixing share, the corners of a box) are never read back from a GPU, which would wait for it.
    """

    numbers: np.random.Generator
    tensors: torch.Generator


def step_seeds(seed: int, step: int, *, rank: int = 0, micro_batch: int = 0) -> tuple[int, int]:
    """Return two independent seeds for a micro-batch: for torch's global generator, and for the task's `Chance`.

    Were they one, stochastic depth and mixing would draw the same numbers. Each process has its own, so that they drop
    different branches.
    """
    sequence = np.random.SeedSequence([seed, step, rank, micro_batch], spawn_key=(STEP_STREAM,))
    model, task = sequence.generate_state(2, np.uint64)
    return int(model), int(task)


def chance(seed: int, tensors: torch.Generator) -> Chance:
    """Return the chance of a seed; `tensors` is seeded anew and used."""
    return Chance(numbers=np.random.default_rng(seed), tensors=tensors.manual_seed(seed))


@contextmanager
def private_randomness(device: torch.device) -> Iterator[None]:
    """Leave torch's global generators as they were found, whatever is seeded or drawn inside."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
