"""Detection as a kind of run."""

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import nn

from convnext.data.dense.sources import open_detection
from convnext.data.dense.splits import DenseSource
from convnext.data.loader import Share
from convnext.detection.detector import Detector, build_detector
from convnext.detection.spec import DetectorSpec, HeadName, detector_spec
from convnext.errors import UserError, nearest
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
from convnext.tasks.detect import DetectTask
from convnext.train.chance import private_randomness

USUAL_HEAD: HeadName = "mask-rcnn"
# Recipes that are made for another one.
RECIPE_HEADS: Mapping[str, HeadName] = {
    "coco-cascade-mask-rcnn": "cascade-mask-rcnn",
    "coco-cascade-mask-rcnn-22k": "cascade-mask-rcnn",
}


class DetectKind(DenseKind):
    """Pictures with boxes and perhaps masks of objects."""

    target, target_text = "box_ap", "box AP"

    def open(self, config: RunConfig, recipe: Recipe, note: Note) -> DenseSource:
        """Open a COCO or VOC data set."""
        return open_detection(config.data, seed=config.split_seed, val_fraction=recipe.data.val_fraction, note=note)

    def network(self, plan: RunPlan, recipe: Recipe, source: DenseSource, note: Note) -> Detector:
        """Return a detector of the data's classes: fresh, on given stages, or a given one."""
        part, num_classes = recipe.regularise, len(source.classes)
        with private_randomness(torch.device("cpu")):
            torch.manual_seed(plan.seed)
            if isinstance(plan.model, Detector):
                return _continued(plan, part.drop_path, num_classes, note)
            head = _head(plan.head or RECIPE_HEADS.get(recipe.name))
            if isinstance(plan.model, Network):
                frozen = plan.model.spec.norm == "batch"
                if frozen:
                    note("the network's BatchNorms keep their statistics, as usual in detection from given weights")
                spec = detector_spec(plan.model.spec, head, num_classes, freeze_norms=frozen)
                spec = with_head_settings(spec, plan.head_settings)
                return build_detector(spec, network=plan.model, drop_path=part.drop_path)
            spec = detector_spec(
                backbone_of(plan.model, "detection"),
                head,
                num_classes,
                layer_scale=1.0 if part.layer_scale is None else part.layer_scale,
            )
            return build_detector(with_head_settings(spec, plan.head_settings), drop_path=part.drop_path)

    def rebuild(self, spec: Mapping[str, Any], recipe: Recipe) -> Detector:
        """Return the detector of a spec."""
        with private_randomness(torch.device("cpu")):
            return build_detector(DetectorSpec.from_dict(spec), drop_path=recipe.regularise.drop_path)

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
    ) -> DetectTask:
        """Return the task."""
        assert isinstance(network, Detector), "detection trains a detector"
        task = DetectTask(
            source,
            recipe,
            preprocess=preprocess,
            has_masks=network.spec.has_masks,
            convention=network.spec.convention,
            seed=seed,
            share=share,
            pin=pin,
        )
        assert task.build(network) is network, "detection trains the detector itself"
        require_possible(recipe, network.spec.backbone, task.metric())
        synchronise_norms(network, share, on_gpu=pin)
        return task


def _head(name: str | None) -> HeadName:
    known: tuple[HeadName, ...] = get_args(HeadName)
    for head in known:
        if head == (name or USUAL_HEAD):
            return head
    raise UserError(f"detection has no head {name}{nearest(str(name), known)}")


def _continued(plan: RunPlan, drop_path: float, num_classes: int, note: Note) -> Detector:
    """Return a copy with the recipe's stochastic depth, so that the caller's is not trained under their hands."""
    detector = plan.model
    assert isinstance(detector, Detector)
    refuse_head_settings(plan.head_settings)
    if plan.head is not None and plan.head != detector.spec.head:
        raise UserError(f"the given weights are of the head {detector.spec.head}, not {plan.head}; leave out --head")
    built = build_detector(detector.spec, drop_path=drop_path)
    built.load_state_dict(detector.state_dict())
    if num_classes != detector.spec.num_classes:
        note(f"predictors replaced: {detector.spec.num_classes} -> {num_classes} classes")
        built.reset_classes(num_classes)
    return built


KIND = DetectKind()
