"""A run's whole state: weights, average, optimizer, counters and what they belong to.

One atomically written, hashed file (or, for a network that is spread over processes, one folder) means that resuming
can never mix two moments of a run. The one before it is kept, and takes its place when it is damaged.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from convnext.errors import UserError
from convnext.files import read_tensors, write_tensors
from convnext.train.distributed import ALONE, OtherProcessError, World
from convnext.train.ema import Ema
from convnext.train.optim import optimizer_tensors, restore_optimizer
from convnext.train.score import Weights
from convnext.train.sharding import load_whole, own, whole

FORMAT = "convnext run 1"
LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best epoch so far, counted from 1, which weights made it, and their value of the task's target."""

    epoch: int
    weights: Weights
    value: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run has come, over all its processes.

    step, epoch       optimizer steps done; epochs done and scored
    loss_sums, images over the epoch that is open: loss times pictures in each process, and pictures
    images_seen       pictures trained on since the start
    seconds           wall time since the start, pauses between resumes left out; `train_seconds` without scoring
    best, history     the best epoch and one row for each scored epoch
    unreadable        names of pictures that could not be read, each once
    """

    step: int = 0
    epoch: int = 0
    loss_sums: tuple[float, ...] = (0.0,)
    images: int = 0
    images_seen: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0
    best: Best | None = None
    history: tuple[dict[str, Any], ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def loss_sum(self) -> float:
        """Loss times pictures over all processes."""
        return math.fsum(self.loss_sums)

    def of_process(self, rank: int, size: int) -> "Progress":
        """Return what of the sums one of `size` processes goes on with: its own part, or the first one everything."""
        if len(self.loss_sums) == size:
            part = replace(self, loss_sums=(self.loss_sums[rank],))
        else:
            part = replace(self, loss_sums=(self.loss_sum if rank == 0 else 0.0,))
        return part if rank == 0 else replace(part, images=0, images_seen=0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """Rebuild what `to_dict` returned."""
        values = {"loss_sums": [values.get("loss_sum", 0.0)], **values}
        known = {field.name: values[field.name] for field in fields(cls)}
        best = None if known["best"] is None else Best(**known["best"])
        sequences = {name: tuple(known[name]) for name in ("history", "unreadable", "loss_sums")}
        return cls(**{**known, **sequences, "best": best})


class Checkpoint(Protocol):
    """A run's state to go on with, wherever it lies."""

    @property
    def progress(self) -> Progress:
        """How far the run had come."""

    @property
    def description(self) -> Mapping[str, Any]:
        """The metadata that were saved with it: spec, labels, recipe, run, ..."""

    def restore(self, model: nn.Module, ema: Ema | None, optimizer: Optimizer) -> None:
        """Put the state into a model, its average and its optimizer, in place, spread over processes or not."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FileCheckpoint:
    """A checkpoint in memory: state dicts of the raw and the averaged weights (None without one), and the rest."""

    path: Path
    raw: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    optimizer: dict[str, Tensor]
    progress: Progress
    description: dict[str, Any]

    def restore(self, model: nn.Module, ema: Ema | None, optimizer: Optimizer) -> None:
        """Put the state into a model, its average and its optimizer, in place."""
        load_whole(model, self.raw)
        if ema is not None:
            assert self.ema is not None, "the recipe of the file says whether there is an average"
            load_whole(ema.model, self.ema)
        restore_optimizer(model, optimizer, self.optimizer)


def save_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    ema: Ema | None,
    optimizer: Optimizer | None,
    progress: Progress,
    description: Mapping[str, Any],
    keep: Path | None = None,
    world: World = ALONE,
) -> None:
    """Write a checkpoint: `description` is the metadata beside the counters, by name (spec, labels, recipe, ...).

    keep   where the file that is there now goes
    world  all processes call this, because weights that are spread are gathered by all, and the first one writes

    UserError when a weight is not a finite number or the file cannot be written; the old file then stays.
    """
    require_finite(model, path, world)
    tensors = {name: whole(tensor) for name, tensor in run_tensors(model, ema, optimizer).items()}
    with world.together():
        if world.first:
            write_tensors(path, tensors, {**description, "format": FORMAT, "progress": progress.to_dict()}, keep=keep)


def run_tensors(model: nn.Module, ema: Ema | None, optimizer: Optimizer | None) -> dict[str, Tensor]:
    """Return everything of a run that is a tensor, by the names under which it is saved."""
    tensors = {f"raw.{name}": tensor for name, tensor in model.state_dict().items()}
    if ema is not None:
        tensors |= {f"ema.{name}": tensor for name, tensor in ema.model.state_dict().items()}
    if optimizer is not None:
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(model, optimizer).items()}
    return tensors


def read_checkpoint(path: Path) -> FileCheckpoint:
    """Read a checkpoint; UserError when it is missing, damaged or not one of a run."""
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path} holds weights but no run to go on with; a run's checkpoint is its {LAST}")
    ema = _part(tensors, "ema.")
    return FileCheckpoint(
        path=path,
        raw=_part(tensors, "raw."),
        ema=ema or None,
        optimizer=_part(tensors, "optimizer."),
        progress=Progress.from_dict(metadata["progress"]),
        description={key: value for key, value in metadata.items() if key not in ("format", "progress")},
    )


def require_finite(model: nn.Module, path: Path, world: World) -> None:
    """Raise UserError when a weight is NaN or infinite, so that no such state replaces a good checkpoint.

    All processes call this and all raise, whichever of them holds the weight.
    """
    floats = [own(value.detach()) for value in model.state_dict().values() if value.is_floating_point()]
    # The sum of absolute values is finite exactly when all of them are, short of an overflow.
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(floats, 1)])
    (broken,) = world.agree(not bool(torch.isfinite(norms).all()))
    if broken:
        text = f"the weights are no longer finite numbers, so {path} was not overwritten"
        raise UserError(text) if world.first else OtherProcessError(text)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
