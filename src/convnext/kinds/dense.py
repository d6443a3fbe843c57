"""What detection and segmentation ask of a network and of its head: which can serve, and what may be changed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from convnext.data.dense.splits import DenseSource
from convnext.data.loader import Share
from convnext.dense_summary import summarise_dense
from convnext.detection.spec import DetectorSpec
from convnext.errors import UserError, nearest
from convnext.kinds.kind import Note
from convnext.models import any_spec, require_fits
from convnext.peer_spec import PeerSpec
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.segmentation.spec import SegmenterSpec
from convnext.spec import NetSpec
from convnext.tasks.detect import DetectTask
from convnext.tasks.segment import SegmentTask
from convnext.train.checkpoint import Progress
from convnext.train.engine import Engine

SpecT = TypeVar("SpecT", DetectorSpec, SegmenterSpec)
# What of a spec is decided elsewhere: by --model, --head and the data.
_NOT_OF_THE_HEAD = ("backbone", "head", "num_classes")


class DenseKind:
    """What detection and segmentation do alike."""

    def preprocess(
        self, recipe: Recipe, source: DenseSource, network: nn.Module, given: Preprocess | None
    ) -> Preprocess:
        """Return the normalisation of the weights that are trained on, else ImageNet's."""
        rule = Preprocess.for_size(recipe.data.size)
        return rule if given is None else replace(rule, mean=given.mean, std=given.std)

    def notes(self, task: DetectTask | SegmentTask) -> Sequence[str]:
        """Return nothing: whatever is varied keeps the labels true."""
        return ()

    def summarise(
        self,
        folder: Path,
        task: DetectTask | SegmentTask,
        engine: Engine[Any, Any],
        *,
        config: Mapping[str, Any],
        progress: Progress,
        code: str | None,
        warn: Note,
    ) -> dict[str, Any]:
        """Score the best weights, and show the best and the worst pictures."""
        return summarise_dense(folder, task, engine, config=config, progress=progress, code=code, warn=warn)


def backbone_of(model: object, task: str) -> NetSpec:
    """Return the spec of a network for its maps; UserError for one of another library."""
    spec = any_spec(model) if isinstance(model, str) else model
    if isinstance(spec, PeerSpec) or not isinstance(spec, NetSpec):
        shown = spec.title if isinstance(spec, PeerSpec) else type(model).__name__
        raise UserError(
            f"{task} stands on a network of this package, whose maps it knows, got {shown}; take one of "
            "`convnext models`, such as convnext_tiny or resnet50, or a row of the roadmap"
        )
    return spec


def with_head_settings(spec: SpecT, settings: Mapping[str, Any]) -> SpecT:
    """Return a spec with settings of its head, as `--set head.channels=64` gives them; UserError for an unknown one."""
    known = [name for name in spec.to_dict() if name not in _NOT_OF_THE_HEAD]
    for name in settings:
        if name not in known:
            raise UserError(f"the head has no setting {name}{nearest(name, known)}")
    return replace(spec, **settings)


def refuse_head_settings(settings: Mapping[str, Any]) -> None:
    """Raise UserError for settings of a head whose weights are given."""
    for name in settings:
        raise UserError(f"head.{name} cannot be set of given weights, which decide the head")


def require_possible(recipe: Recipe, spec: NetSpec, metric: object) -> None:
    """Refuse what cannot be carried out before anything is written; making `metric` has asked for what it needs."""
    assert metric is not None
    if recipe.engine.parallel == "fsdp":
        raise UserError(
            "engine.parallel=fsdp is for classification; detection and segmentation train with ddp, and a smaller "
            "engine.micro_batch where the memory is short"
        )
    require_fits(spec, recipe.data.size)


def synchronise_norms(network: nn.Module, share: Share, *, on_gpu: bool) -> None:
    """Let BatchNorms count over all processes, as the paper's SyncBN does; torch has it on GPUs only.

    A few pictures a process are too few to normalise by.
    """
    if on_gpu and share.world_size > 1:
        changed = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        assert changed is network, "only its parts are exchanged"
