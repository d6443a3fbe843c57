"""Segmentation as a kind of run."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convnext.data.dense.sources import open_segmentation
from convnext.data.dense.splits import DenseSource
from convnext.data.loader import Share
from convnext.dense_summary import summarise_segmentation
from convnext.errors import UserError
from convnext.kinds.dense import backbone_of, dense_preprocess, require_possible, synchronise_norms, with_head_settings
from convnext.kinds.kind import Note
from convnext.network import Network
from convnext.plan import RunConfig, RunPlan
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe
from convnext.segmentation.segmenter import Segmenter, build_segmenter
from convnext.segmentation.spec import SegmenterSpec, segmenter_spec
from convnext.tasks.segment import SegmentTask
from convnext.train.chance import private_randomness
from convnext.train.checkpoint import Progress
from convnext.train.engine import Engine

HEADS = ("upernet",)


class SegmentKind:
    """Pictures with a class for each pixel."""

    best_text = "mIoU {:.2f}%"

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
                if plan.head_settings:
                    name = next(iter(plan.head_settings))
                    raise UserError(f"head.{name} cannot be set of given weights, which decide the head")
                before = plan.model.spec.num_classes
                if before != len(source.classes):
                    note(f"classifiers replaced: {before} -> {len(source.classes)} classes")
                return _continued(plan.model, part.drop_path, len(source.classes))
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

    def preprocess(
        self, recipe: Recipe, source: DenseSource, network: nn.Module, given: Preprocess | None
    ) -> Preprocess:
        """Return the normalisation of the weights that are trained on, else ImageNet's."""
        return dense_preprocess(recipe, given)

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

    def notes(self, task: SegmentTask) -> Sequence[str]:
        """Return nothing: whatever is varied keeps the labels true."""
        return ()

    def summarise(
        self,
        folder: Path,
        task: SegmentTask,
        engine: Engine[Any, Any],
        *,
        config: Mapping[str, Any],
        progress: Progress,
        code: str | None,
        warn: Note,
    ) -> dict[str, Any]:
        """Score the best weights, and show the best and the worst pictures."""
        return summarise_segmentation(folder, task, engine, config=config, progress=progress, code=code, warn=warn)


def _continued(segmenter: Segmenter, drop_path: float, num_classes: int) -> Segmenter:
    """Return a copy with the recipe's stochastic depth, so that the caller's is not trained under their hands."""
    built = build_segmenter(segmenter.spec, drop_path=drop_path)
    built.load_state_dict(segmenter.state_dict())
    if num_classes != segmenter.spec.num_classes:
        built.reset_classes(num_classes)
    return built


KIND = SegmentKind()
