"""The seam between training and what is trained: a Task says what a batch, a loss and a score are.

The loop only fetches, prepares, computes the loss, steps and scores. Another task is another file in tasks/.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor, nn

from convnext.train.chance import Chance


class HostBatch(Protocol):
    """What a loader yields: at least which pictures it holds and which it could not read."""

    @property
    def indices(self) -> Tensor:
        """Places in the split of the pictures that are here, int64 (N,)."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """The pictures that should be here and could not be read, by name, with the reason."""


BatchT = TypeVar("BatchT", bound=HostBatch)
BatchT_co = TypeVar("BatchT_co", bound=HostBatch, covariant=True)
ReadyT = TypeVar("ReadyT")
ReadyT_contra = TypeVar("ReadyT_contra", contravariant=True)


class TrainBatches(Protocol[BatchT_co]):
    """Batches to train on; an epoch can be entered at any step and then goes on as the whole one would."""

    @property
    def steps_per_epoch(self) -> int:
        """How many optimizer steps every epoch has, those without a readable picture included."""

    @property
    def micro_batches(self) -> int:
        """How many batches `epoch` yields for each step."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[BatchT_co]:
        """Return the batches of an epoch, counted from 0, from the step `first_step` on."""


class Metric(Protocol[ReadyT_contra]):
    """A score gathered batch by batch."""

    def update(self, outputs: Any, batch: ReadyT_contra) -> None:
        """Add what `Task.predict` returned for a prepared batch."""

    def merge(self, other: Any) -> None:
        """Add what another metric of this kind has seen: another process's share of the pictures."""

    def compute(self) -> Mapping[str, float | int | None]:
        """Return the score by name: plain numbers."""


class Task(Protocol[BatchT, ReadyT]):
    """What a network is trained for.

    `target` names the number of `metric().compute()` that chooses the best epoch; higher is better.
    `one_size` says whether all that goes through the network in training has one height and width.
    """

    one_size: ClassVar[bool]

    @property
    def target(self) -> str:
        """Name of the number that chooses the best epoch."""

    @property
    def chance_level(self) -> float | None:
        """What the best constant answer scores as `target`; None where there is no such thing."""

    def build(self, backbone: nn.Module) -> nn.Module:
        """Return the model to train: the backbone with this task's head."""

    def train_batches(self) -> TrainBatches[BatchT]:
        """Return the batches to train on."""

    def val_batches(self) -> Iterable[BatchT]:
        """Return the held-out batches, each picture exactly once."""

    def prepare(self, batch: BatchT, device: torch.device, chance: Chance | None) -> ReadyT:
        """Bring a batch to the device and into the form that the model takes.

        In training `chance` follows from the seed, the step, the process and the micro-batch alone, for whatever is
        drawn here; in scoring it is None and nothing may be drawn.
        """

    def loss(self, model: nn.Module, batch: ReadyT) -> Mapping[str, Tensor]:
        """Return the mean losses of a batch as scalars; "total" is what is differentiated."""

    def predict(self, model: nn.Module, batch: ReadyT) -> Any:
        """Return what the metric takes."""

    def metric(self) -> Metric[ReadyT]:
        """Return an empty score."""
