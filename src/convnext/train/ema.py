"""The running average of a model's whole state, moved after every optimizer step."""

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from convnext.train.sharding import own

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
    """A model that follows another one: floating-point parameters and buffers averaged, the others copied.

    The average is a module of its own, so that scoring it never touches the weights in training. `average` is a copy of
    the model from `average_of`, for those who spread both over processes first.
    """

    def __init__(self, model: nn.Module, decay: float, *, average: nn.Module | None = None) -> None:
        self.decay = decay
        self.model = average_of(model) if average is None else average
        # One lerp per element type, because a foreach call over mixed types falls back to a slow loop.
        self._averaged: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        self._copied: list[tuple[Tensor, Tensor]] = []
        live = model.state_dict(keep_vars=True)
        for name, tensor in self.model.state_dict(keep_vars=True).items():
            follower, leader = own(tensor.detach()), own(live[name].detach())
            if tensor.is_floating_point():
                followers, leaders = self._averaged.setdefault(tensor.dtype, ([], []))
                followers.append(follower)
                leaders.append(leader)
            else:
                self._copied.append((follower, leader))

    @torch.no_grad()
    def update(self) -> None:
        """Move the average by one step: average += (1 - decay) * (value - average)."""
        for followers, leaders in self._averaged.values():
            torch._foreach_lerp_(followers, leaders, 1 - self.decay)
        for follower, leader in self._copied:
            follower.copy_(leader)


def average_of(model: nn.Module) -> nn.Module:
    """Return a copy of a model to hold its average: in evaluation mode, without gradients."""
    return copy.deepcopy(model).requires_grad_(False).eval()
