"""Score weights on held-out pictures, each picture exactly once, saying which weights were scored."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import nn

from convnext.train.chance import Chance
from convnext.train.device import autocast
from convnext.train.distributed import ALONE, World
from convnext.train.sharding import is_spread
from convnext.train.task import BatchT, HostBatch, Metric, ReadyT

Weights = Literal["raw", "ema"]
# In the position of a mapping's key a type must fit exactly, so a caller may name any of the weights it has.
NameT = TypeVar("NameT", bound=str)
BatchT_contra = TypeVar("BatchT_contra", bound=HostBatch, contravariant=True)


class Scorable(Protocol[BatchT_contra, ReadyT]):
    """The part of a Task that scoring needs; what only scores need not be trainable."""

    def prepare(self, batch: BatchT_contra, device: torch.device, chance: Chance | None) -> ReadyT:
        """Bring a batch into the form that the model takes."""

    def predict(self, model: nn.Module, batch: ReadyT) -> Any:
        """Return what the metric takes."""

    def metric(self) -> Metric[ReadyT]:
        """Return an empty score."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Score(Generic[ReadyT]):
    """What a model scored.

    values      the metric's numbers by name
    metric      the metric itself, for what is more than a number
    unreadable  pictures that could not be read and are not in the score, by name, with the reason
    """

    values: Mapping[str, float | int | None]
    metric: Metric[ReadyT]
    unreadable: Mapping[str, str]


def score(
    task: Scorable[BatchT, ReadyT],
    models: Mapping[NameT, nn.Module],
    batches: Iterable[BatchT],
    *,
    device: torch.device,
    precision: Literal["float32", "bfloat16"] = "float32",
    world: World = ALONE,
) -> dict[NameT, Score[ReadyT]]:
    """Score models by name ("raw", "ema") in one pass over the batches.

    The models are on `device`; they are scored in evaluation mode and are afterwards in the mode they were in.
    Of several processes each gives its own batches, and all return the score of all pictures.
    UserError when not one picture could be read.
    """
    part: _Part[NameT, ReadyT] = _Part({name: task.metric() for name in models})
    # A network that is spread over processes needs all of them at each pass, be it for no picture.
    always = any(is_spread(model) for model in models.values())
    # FSDP keeps the buffers of its first pass, which as inference tensors could not be trained with.
    without_gradients = torch.no_grad() if always else torch.inference_mode()
    with _evaluating(models.values()), without_gradients, autocast(device, precision):
        for batch in batches:
            if part.note(batch) or always:
                ready = task.prepare(batch, device, None)
                for name, model in models.items():
                    outputs = task.predict(model, ready)
                    if len(batch.indices):
                        part.metrics[name].update(outputs, ready)
    # In the order of the ranks, so that every process comes to the same last bit.
    whole, *others = world.gather(part)
    for other in others:
        whole.add(other)
    return {
        name: Score(values=metric.compute(), metric=metric, unreadable=whole.unreadable)
        for name, metric in whole.metrics.items()
    }


class _Part(Generic[NameT, ReadyT]):
    """What one process has scored."""

    def __init__(self, metrics: dict[NameT, Metric[ReadyT]]) -> None:
        self.metrics = metrics
        self.unreadable: dict[str, str] = {}
        self.seen: set[int] = set()

    def note(self, batch: HostBatch) -> bool:
        """Take down which pictures a batch holds, and tell whether it holds any."""
        indices = batch.indices.tolist()
        self._see(set(indices), len(indices))
        self.unreadable.update(batch.unreadable)
        return bool(indices)

    def add(self, other: "_Part[NameT, ReadyT]") -> None:
        """Add what another process has scored."""
        self._see(other.seen, len(other.seen))
        self.unreadable.update(other.unreadable)
        for name, metric in other.metrics.items():
            self.metrics[name].merge(metric)

    def _see(self, indices: set[int], count: int) -> None:
        assert len(indices) == count and self.seen.isdisjoint(indices), "a picture came twice"
        self.seen |= indices


@contextmanager
def _evaluating(models: Iterable[nn.Module]) -> Iterator[None]:
    layers = [layer for model in models for layer in model.modules()]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
