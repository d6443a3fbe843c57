"""What a run shall do, and what of it a run keeps to go on by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import nn

from convnext.classifier import Classifier
from convnext.data.sources import lasting
from convnext.errors import UserError
from convnext.models import model_name
from convnext.peer_spec import Spec
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.recipe import Task as TaskName


@dataclass(frozen=True, kw_only=True, eq=False)
class RunPlan:
    """What a run shall do.

    data, root   the data set as `open_source` takes it, and where torchvision's lie
    model        a name, a spec, or a network whose weights are trained on (the recipe's stochastic depth is put in):
                 a classifier, whose stages are the backbone of a detector or segmenter, or one of these two whole
    task, head   what it is trained for; which detector or segmenter, None for the usual one
    head_settings   what is changed in that head, by the names of its spec
    name         what reports call the model; None takes the registered name of its spec
    seed         decides weights, order, augmentation and stochastic depth
    split_seed   decides the held-out part where the data has none of its own
    preprocess   of the weights that are trained on: their mean and std are kept
    device       auto, cpu, cuda, cuda:1 or mps; "auto" is decided anew where a run goes on
    track        services that follow the run: tensorboard, wandb
    weights      where the network's weights came from, for the record: a path or a hub id

    UserError for a seed that is no number from 0.
    """

    data: str
    model: str | Spec | nn.Module
    recipe: Recipe
    task: TaskName = "classify"
    head: str | None = None
    head_settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    split_seed: int = 0
    root: Path | None = None
    preprocess: Preprocess | None = None
    device: str = "auto"
    track: tuple[str, ...] = ()
    weights: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for name in ("split_seed", "seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise UserError(f"{name} must be a whole number of at least 0, got {value!r}")

    @property
    def title(self) -> str:
        """What reports call the model: its name, that of its spec, or "network"."""
        if self.name is not None:
            return self.name
        if isinstance(self.model, str):
            return self.model
        spec = self.model.spec if isinstance(self.model, Classifier) else self.model
        # Of a whole detector or segmenter, its stages.
        spec = getattr(getattr(spec, "spec", None), "backbone", spec)
        return "network" if isinstance(spec, nn.Module) else model_name(spec) or "network"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What the checkpoints carry of a plan beside recipe, spec and preprocessing, so that a run can go on by itself."""

    data: str
    root: str | None
    split_seed: int
    model: str
    seed: int
    device: str
    track: tuple[str, ...] = ()
    weights: str | None = None
    task: TaskName = "classify"
    head: str | None = None

    @classmethod
    def of(cls, plan: RunPlan) -> "RunConfig":
        """Return what to keep of a plan."""
        return cls(
            data=lasting(plan.data),
            root=None if plan.root is None else str(plan.root.resolve()),
            split_seed=plan.split_seed,
            model=plan.title,
            seed=plan.seed,
            device=plan.device,
            track=plan.track,
            weights=plan.weights,
            task=plan.task,
            head=plan.head,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Rebuild what `dataclasses.asdict` returned; what an older run did not know takes its default."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**{**known, "track": tuple(known.get("track", ()))})
