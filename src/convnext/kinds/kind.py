"""The seam between a run and its kind of task: opening data, making the network, the task, and summing up."""

from collections.abc import Callable, Mapping, Sequence, Sized
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from convnext.data.loader import Share
from convnext.plan import RunConfig, RunPlan
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.recipe import Task as TaskName
from convnext.train.checkpoint import Progress
from convnext.train.engine import Engine
from convnext.train.task import Task

Note = Callable[[str], None]
# Imported when they are asked for: a classification needs nothing of the other two.
_MODULES: Mapping[TaskName, str] = {
    "classify": "convnext.kinds.classify",
    "detect": "convnext.kinds.detect",
    "segment": "convnext.kinds.segment",
}


class Data(Protocol):
    """Opened data with a part to train on and a part held out."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes."""

    @property
    def train(self) -> Sized:
        """The part to train on."""

    @property
    def val(self) -> Sized:
        """The part held out."""

    def fingerprint(self) -> str:
        """Return what tells this data, split in this way, from any other."""


class Kind(Protocol):
    """What a run asks of its kind of task."""

    # What the best epoch is chosen by, in percent: its name in a score, and in words.
    target: str
    target_text: str

    def open(self, config: RunConfig, recipe: Recipe, note: Note) -> Data:
        """Open the data that a run names."""

    def network(self, plan: RunPlan, recipe: Recipe, source: Any, note: Note) -> nn.Module:
        """Return the network that a run begins with: fresh from its seed, or from the given weights."""

    def rebuild(self, spec: Mapping[str, Any], recipe: Recipe) -> nn.Module:
        """Return the network of a checkpoint's spec, whose weights take the place of the fresh ones."""

    def preprocess(self, recipe: Recipe, source: Any, network: nn.Module, given: Preprocess | None) -> Preprocess:
        """Return how held-out pictures are shown, with mean and std of the weights that are trained on."""

    def task(
        self,
        source: Any,
        recipe: Recipe,
        network: nn.Module,
        *,
        preprocess: Preprocess,
        seed: int,
        share: Share,
        pin: bool,
    ) -> Task[Any, Any]:
        """Return the task; UserError where data, recipe and network do not go together."""

    def notes(self, task: Any) -> Sequence[str]:
        """Return what is worth saying before the first step."""

    def summarise(
        self,
        folder: Path,
        task: Any,
        engine: Engine[Any, Any],
        *,
        config: Mapping[str, Any],
        progress: Progress,
        code: str | None,
        warn: Note,
    ) -> dict[str, Any]:
        """Score the best weights, write what is to be seen of them and return the summary."""


def kind_of(task: TaskName) -> Kind:
    """Return the kind of a task by its name."""
    kind: Kind = import_module(_MODULES[task]).KIND
    return kind


def silent(text: str) -> None:
    """Take a note and say nothing of it."""
