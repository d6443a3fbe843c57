"""Segmentation as a kind of run."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from convnext.data.dense.sources import open_segmentation
from convnext.data.dense.splits import DenseSource
from convnext.data.loader import Share
from convnext.errors import UserError
from convnext.kinds.dense import (
    DenseKind,
    backbone_of,
    refuse_head_settings,
    require_possible,
    synchronise_norms,
    with_head_settings,
)
from convnext.kinds.kind import Note
from convnext.network import Network
from convnext.plan import RunConfig, RunPlan
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.segmentation.segmenter import Segmenter, build_segmenter
from convnext.segmentation.spec import SegmenterSpec, segmenter_spec
from convnext.tasks.segment import SegmentTask
from convnext.train.chance import private_randomness

HEADS = ("upernet",)


class SegmentKind(DenseKind):
    """Pictures with a class for each pixel."""

    target, target_text = "miou", "mIoU"

    def open(self, config: RunConfig, recipe: Recipe, note: Note) -> DenseSource:
        """Open folders of pictures and label maps."""
        return open_segmentation(config.data, seed=config.split_seed, val_fraction=recipe.data.val_fraction, note=note)

    def network(self, plan: RunPlan, recipe: Recipe, source: DenseSource, note: Note) -> Segmenter:
        """Return a segmenter of the data's classes: fresh, on given stages, or a given one."""
        if (plan.head or HEADS[0]) not in HEADS:
            raise UserError(f"segmentation has the head {', '.join(HEADS)}, got {plan.head}")
        part = recipe.regularise
        with private_randomness(torch.device("cpu")):
            torch.manual_seed(plan.seed)
            if isinstance(plan.model, Segmenter):
                refuse_head_settings(plan.head_settings)
                return _continued(plan.model, part.drop_path, len(source.classes), note)
            if isinstance(plan.model, Network):
                spec = segmenter_spec(plan.model.spec, len(source.classes))
                spec = with_head_settings(spec, plan.head_settings)
                # A copy, so that the caller's network is not trained under their hands.
                return build_segmenter(spec, network=deepcopy(plan.model), drop_path=part.drop_path)
            spec = segmenter_spec(
                backbone_of(plan.model, "segmentation"),
                len(source.classes),
                layer_scale=1.0 if part.layer_scale is None else part.layer_scale,
            )
            return build_segmenter(with_head_settings(spec, plan.head_settings), drop_path=part.drop_path)

    def rebuild(self, spec: Mapping[str, Any], recipe: Recipe) -> Segmenter:
        """Return the segmenter of a spec."""
        with private_randomness(torch.device("cpu")):
            return build_segmenter(SegmenterSpec.from_dict(spec), drop_path=recipe.regularise.drop_path)

    def task(
        self,
        source: DenseSource,
        recipe: Recipe,
        network: nn.Module,
        *,
        preprocess: Preprocess,
        seed: int,
        share: Share,
        pin: bool,
    ) -> SegmentTask:
        """Return the task."""
        task = SegmentTask(source, recipe, preprocess=preprocess, seed=seed, share=share, pin=pin)
        assert task.build(network) is network, "segmentation trains the segmenter itself"
        assert isinstance(network, Segmenter), "segmentation trains a segmenter"
        require_possible(recipe, network.spec.backbone, task.metric())
        synchronise_norms(network, share, on_gpu=pin)
        return task


def _continued(segmenter: Segmenter, drop_path: float, num_classes: int, note: Note) -> Segmenter:
    """Return a copy with the recipe's stochastic depth, so that the caller's is not trained under their hands."""
    built = build_segmenter(segmenter.spec, drop_path=drop_path)
    built.load_state_dict(segmenter.state_dict())
    if num_classes != segmenter.spec.num_classes:
        note(f"classifiers replaced: {segmenter.spec.num_classes} -> {num_classes} classes")
        built.reset_classes(num_classes)
    return built


KIND = SegmentKind()
