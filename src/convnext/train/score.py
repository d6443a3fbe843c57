"""Score weights on held-out pictures, each picture exactly once, saying which weights were scored."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import nn

from convnext.train.device import autocast
from convnext.train.task import BatchT, Metric, ReadyT, Task

Weights = Literal["raw", "ema"]
# In the position of a mapping's key a type must fit exactly, so a caller may name any of the weights it has.
NameT = TypeVar("NameT", bound=str)


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
    task: Task[BatchT, ReadyT],
    models: Mapping[NameT, nn.Module],
    batches: Iterable[BatchT],
    *,
    device: torch.device,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> dict[NameT, Score[ReadyT]]:
    """Score models by name ("raw", "ema") in one pass over the batches.

    The models are on `device`; they are scored in evaluation mode and are afterwards in the mode they were in.
    UserError when not one picture could be read.
    """
    metrics = {name: task.metric() for name in models}
    unreadable: dict[str, str] = {}
    seen: set[int] = set()
    with _evaluating(models.values()), torch.inference_mode(), autocast(device, precision):
        for batch in batches:
            unreadable.update(batch.unreadable)
            indices = batch.indices.tolist()
            assert len(set(indices)) == len(indices) and seen.isdisjoint(indices), "a picture came twice"
            seen.update(indices)
            if not indices:
                continue
            ready = task.prepare(batch, device, None)
            for name, model in models.items():
                metrics[name].update(task.predict(model, ready), ready)
    return {
        name: Score(values=metric.compute(), metric=metric, unreadable=unreadable) for name, metric in metrics.items()
    }


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
