"""What detection and segmentation ask of a network and of its head: which can serve, and what may be changed."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from convnext.data.loader import Share
from convnext.detection.spec import DetectorSpec
from convnext.errors import UserError, nearest
from convnext.models import any_spec, require_fits
from convnext.peer_spec import PeerSpec
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.segmentation.spec import SegmenterSpec
from convnext.spec import NetSpec

SpecT = TypeVar("SpecT", DetectorSpec, SegmenterSpec)
# What of a spec is decided elsewhere: by --model, --head and the data.
_NOT_OF_THE_HEAD = ("backbone", "head", "num_classes")


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


def dense_preprocess(recipe: Recipe, given: Preprocess | None) -> Preprocess:
    """Return the normalisation of a run: that of the weights that are trained on, else ImageNet's."""
    rule = Preprocess.for_size(recipe.data.size)
    return rule if given is None else replace(rule, mean=given.mean, std=given.std)


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
