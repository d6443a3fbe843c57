"""The running average of a model's whole state, moved after every optimizer step."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn

LONGEST_DECAY = 0.9999
HORIZON_SHARE = 10


def ema_decay(decay: float | Literal["auto"], steps: int) -> float:
    """Return the decay for a run of that many steps.

    A number is used as it is. "auto" averages over about a tenth of the run, 1 - 1 / (steps / 10), and never over more
    than the paper's 0.9999: with that one, 300 steps would leave the initial weights.
    """
    if decay != "auto":
        return decay
    return min(LONGEST_DECAY, 1 - 1 / max(1, steps / HORIZON_SHARE))


class Ema:
    """A copy of a model that follows it: floating-point parameters and buffers averaged, the others copied.

    The copy is a module of its own, so that scoring it never touches the weights in training.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        # One lerp per element type, because a foreach call over mixed types falls back to a slow loop.
        self._averaged: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        self._copied: list[tuple[Tensor, Tensor]] = []
        live = model.state_dict(keep_vars=True)
        for name, average in self.model.state_dict(keep_vars=True).items():
            if average.is_floating_point():
                averages, values = self._averaged.setdefault(average.dtype, ([], []))
                averages.append(average)
                values.append(live[name])
            else:
                self._copied.append((average, live[name]))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average by one step: average += (1 - decay) * (value - average)."""
        for averages, values in self._averaged.values():
            torch._foreach_lerp_(averages, values, 1 - self.decay)
        for average, value in self._copied:
            average.copy_(value)
