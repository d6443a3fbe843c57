"""Box and mask heads as OpenMMLab trains them, one after the other: one stage is Mask R-CNN, three are the cascade."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.ops import batched_nms, clip_boxes_to_image, generalized_box_iou_loss, roi_align

from convnext.detection.assign import MaxIoU, Samples, labels_of, sample_proposals
from convnext.detection.boxes import BoundedBoxCoder, Four
from convnext.detection.heads import (
    BOX_SIDE,
    MASK_SIDE,
    box_head,
    box_predictor,
    mask_head,
    mask_predictor,
    start_as_openmmlab,
)
from convnext.detection.pool import AlignedRoIPool
from convnext.detection.spec import DetectorSpec, HeadName
from convnext.detection.targets import Detections, Target

Size = tuple[int, int]
Features = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of heads.

    iou          overlap from which a proposal stands for an object
    low_quality  whether an object may also take a proposal of such overlap that another object overlaps more
    weight       of its losses
    stds         what offsets are divided by
    box_loss     "l1" of offsets, or "giou" of boxes, times 10
    """

    iou: float
    low_quality: bool
    weight: float
    stds: Four
    box_loss: Literal["l1", "giou"]


GIOU_WEIGHT = 10.0
# What the configurations say: Mask R-CNN lets objects take proposals from each other, Faster R-CNN does not.
FASTER = (Stage(iou=0.5, low_quality=False, weight=1.0, stds=(0.1, 0.1, 0.2, 0.2), box_loss="l1"),)
MASK = (Stage(iou=0.5, low_quality=True, weight=1.0, stds=(0.1, 0.1, 0.2, 0.2), box_loss="l1"),)
CASCADE = (
    Stage(iou=0.5, low_quality=False, weight=1.0, stds=(0.1, 0.1, 0.2, 0.2), box_loss="giou"),
    Stage(iou=0.6, low_quality=False, weight=0.5, stds=(0.05, 0.05, 0.1, 0.1), box_loss="giou"),
    Stage(iou=0.7, low_quality=False, weight=0.25, stds=(0.033, 0.033, 0.067, 0.067), box_loss="giou"),
)

STAGES: dict[HeadName, tuple[Stage, ...]] = {"faster-rcnn": FASTER, "mask-rcnn": MASK, "cascade-mask-rcnn": CASCADE}


class StagedHeads(nn.Module):
    """The heads of a detector in the convention openmmlab; `strides` are those of the maps to pool from."""

    def __init__(self, spec: DetectorSpec, strides: Sequence[int]) -> None:
        super().__init__()
        self.spec = spec
        self.stages = STAGES[spec.head]
        self.coders = [BoundedBoxCoder(stage.stds) for stage in self.stages]
        self.sampler = BalancedPositiveNegativeSampler(spec.sampled_boxes, 0.25)
        self.box_pool = AlignedRoIPool(BOX_SIDE, strides)
        self.box_heads = nn.ModuleList(box_head(spec) for _ in self.stages)
        self.box_predictors = nn.ModuleList(box_predictor(spec) for _ in self.stages)
        if spec.has_masks:
            self.mask_pool = AlignedRoIPool(MASK_SIDE, strides)
            self.mask_heads = nn.ModuleList(mask_head(spec) for _ in self.stages)
            self.mask_predictors = nn.ModuleList(mask_predictor(spec) for _ in self.stages)

    def reset_classes(self, num_classes: int) -> None:
        """Replace the predictors of all stages by fresh ones for another number of classes."""
        self.spec = replace(self.spec, num_classes=num_classes)
        self.box_predictors = nn.ModuleList(box_predictor(self.spec) for _ in self.stages)
        start_as_openmmlab(self.box_predictors)
        if self.spec.has_masks:
            self.mask_predictors = nn.ModuleList(mask_predictor(self.spec) for _ in self.stages)
            start_as_openmmlab(self.mask_predictors)

    def losses(
        self, features: Features, proposals: Sequence[Tensor], sizes: Sequence[Size], targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Return the losses by name, those of a cascade with the stage in front: "stage2.loss_mask"."""
        losses: dict[str, Tensor] = {}
        for index, stage in enumerate(self.stages):
            samples = self._sample(stage, proposals, targets)
            labels = labels_of(samples, targets, background=self.spec.num_classes)
            boxes = [sample.boxes for sample in samples]
            logits, offsets = self.predict(index, features, boxes)
            found = {
                "loss_classifier": F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1),
                "loss_box_reg": self._box_loss(index, offsets, samples, labels, targets),
            }
            if self.spec.has_masks:
                found["loss_mask"] = self._mask_loss(index, features, samples, targets)
            prefix = f"stage{index + 1}." if len(self.stages) > 1 else ""
            losses |= {prefix + name: stage.weight * loss for name, loss in found.items()}
            if index + 1 < len(self.stages):
                proposals = self._refined(index, logits.detach(), offsets.detach(), samples, labels, sizes)
        return losses

    def _sample(self, stage: Stage, proposals: Sequence[Tensor], targets: Sequence[Target]) -> list[Samples]:
        low_quality = stage.iou if stage.low_quality else None
        assign = MaxIoU(positive=stage.iou, negative=stage.iou, low_quality=low_quality)
        return [
            sample_proposals(boxes, target, assign, self.sampler)
            for boxes, target in zip(proposals, targets, strict=True)
        ]

    def predict(self, index: int, features: Features, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (S, K + 1) and offsets (S, 4 K) of a stage for the boxes of all pictures in a row."""
        hidden = self.box_heads[index](self.box_pool(features, boxes))
        logits, offsets = self.box_predictors[index](hidden)
        return logits, offsets

    def _box_loss(
        self, index: int, offsets: Tensor, samples: Sequence[Samples], labels: Tensor, targets: Sequence[Target]
    ) -> Tensor:
        rows = (labels < self.spec.num_classes).nonzero()[:, 0]
        own = of_class(offsets, labels.clamp(max=self.spec.num_classes - 1))[rows]
        boxes = torch.cat([sample.boxes for sample in samples])[rows]
        truth = torch.cat([target.boxes[sample.objects] for sample, target in zip(samples, targets, strict=True)])
        coder = self.coders[index]
        if self.stages[index].box_loss == "l1":
            loss = F.l1_loss(own, coder.encode_single(truth, boxes), reduction="sum")
        else:
            predicted = coder.decode_single(own, boxes)
            loss = GIOU_WEIGHT * generalized_box_iou_loss(predicted, truth, reduction="sum", eps=1e-6)
        # Divided by all samples, so that a picture of few objects does not weigh more for each.
        return loss / max(len(labels), 1)

    def _mask_loss(
        self, index: int, features: Features, samples: Sequence[Samples], targets: Sequence[Target]
    ) -> Tensor:
        boxes = [sample.boxes[: sample.num_positive] for sample in samples]
        logits = self.mask_logits(index, features, boxes)
        labels = torch.cat([target.labels[sample.objects] for sample, target in zip(samples, targets, strict=True)])
        own = logits[torch.arange(len(labels), device=labels.device), labels]
        if len(labels) == 0:
            return own.sum()
        side = own.shape[-1]
        truth = torch.cat(
            [
                cut_masks(target.masks, sample.objects, box, side)
                for sample, target, box in zip(samples, targets, boxes, strict=True)
                if target.masks is not None
            ]
        )
        return F.binary_cross_entropy_with_logits(own, truth)

    def mask_logits(self, index: int, features: Features, boxes: Sequence[Tensor]) -> Tensor:
        """Return the mask logits (S, K, 28, 28) of a stage for the boxes of all pictures in a row."""
        logits: Tensor = self.mask_predictors[index](self.mask_heads[index](self.mask_pool(features, boxes)))
        return logits

    def _refined(
        self,
        index: int,
        logits: Tensor,
        offsets: Tensor,
        samples: Sequence[Samples],
        labels: Tensor,
        sizes: Sequence[Size],
    ) -> list[Tensor]:
        """Return the samples as the stage moves them; objects' own boxes are left out, they join anew in each stage."""
        background = labels == self.spec.num_classes
        labels = torch.where(background, logits[:, :-1].argmax(dim=1), labels)
        moved = self.moved(index, offsets, labels, [sample.boxes for sample in samples], sizes)
        return [boxes[~sample.from_data] for boxes, sample in zip(moved, samples, strict=True)]

    def moved(
        self, index: int, offsets: Tensor, labels: Tensor, boxes: Sequence[Tensor], sizes: Sequence[Size]
    ) -> list[Tensor]:
        """Return the boxes of each picture moved by the offsets of a class for each, inside the picture."""
        every = self.coders[index].decode_single(of_class(offsets, labels), torch.cat(list(boxes)))
        by_picture = _by_picture(every, [len(here) for here in boxes])
        return [clip_boxes_to_image(here, size) for here, size in zip(by_picture, sizes, strict=True)]

    def detect(self, features: Features, proposals: Sequence[Tensor], sizes: Sequence[Size]) -> list[Detections]:
        """Return what is found in each picture.

        Each stage moves the boxes by the offsets of the class that it thinks likeliest; the logits of all stages are
        averaged, and so are the probabilities of their masks.
        """
        boxes = list(proposals)
        every_logits = []
        for index in range(len(self.stages)):
            logits, offsets = self.predict(index, features, boxes)
            every_logits.append(logits)
            if index + 1 < len(self.stages):
                boxes = self.moved(index, offsets, logits[:, :-1].argmax(dim=1), boxes, sizes)
        scores = torch.stack(every_logits).mean(dim=0).softmax(dim=1)[:, :-1]
        flat = torch.cat(boxes).repeat_interleave(self.spec.num_classes, dim=0)
        decoded = self.coders[-1].decode_single(offsets.view(-1, 4), flat).view(-1, self.spec.num_classes, 4)
        counts = [len(here) for here in boxes]
        found = [
            self._best(clip_boxes_to_image(here, size), score)
            for here, score, size in zip(_by_picture(decoded, counts), _by_picture(scores, counts), sizes, strict=True)
        ]
        return self._with_masks(features, found) if self.spec.has_masks else found

    def _best(self, boxes: Tensor, scores: Tensor) -> Detections:
        """Return the best of boxes (S, K, 4) with scores (S, K)."""
        rows, labels = (scores > self.spec.score_threshold).nonzero(as_tuple=True)
        boxes, scores = boxes[rows, labels], scores[rows, labels]
        # A box beyond the picture's edge has no area left.
        solid = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        boxes, scores, labels = boxes[solid], scores[solid], labels[solid]
        keep = batched_nms(boxes, scores, labels, self.spec.nms_threshold)[: self.spec.max_detections]
        return Detections(boxes=boxes[keep], scores=scores[keep], labels=labels[keep])

    def _with_masks(self, features: Features, found: Sequence[Detections]) -> list[Detections]:
        boxes = [one.boxes for one in found]
        labels = torch.cat([one.labels for one in found])
        rows = torch.arange(len(labels), device=labels.device)
        by_stage = [
            self.mask_logits(index, features, boxes)[rows, labels].sigmoid() for index in range(len(self.stages))
        ]
        masks = _by_picture(torch.stack(by_stage).mean(dim=0), [len(one.labels) for one in found])
        return [
            Detections(boxes=one.boxes, scores=one.scores, labels=one.labels, masks=mask)
            for one, mask in zip(found, masks, strict=True)
        ]


def _by_picture(x: Tensor, counts: list[int]) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = x.split(counts)  # type: ignore[no-untyped-call]
    return parts


def of_class(offsets: Tensor, labels: Tensor) -> Tensor:
    """Return the offsets (S, 4) of one class for each row out of those of all (S, 4 K)."""
    rows = torch.arange(len(labels), device=labels.device)
    return offsets.view(len(labels), offsets.shape[1] // 4, 4)[rows, labels]


def cut_masks(masks: Tensor, objects: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Return the part of each object's mask inside its box as 0.0 and 1.0, (P, side, side).

    masks uint8 (M, H, W); objects (P,) says whose mask each of the boxes (P, 4) cuts.
    """
    if len(objects) == 0:
        return boxes.new_zeros(0, side, side)
    regions = torch.cat([objects[:, None].to(boxes.dtype), boxes], dim=1)
    cut: Tensor = roi_align(masks[:, None].to(boxes.dtype), regions, side, sampling_ratio=0, aligned=True)
    return (cut[:, 0] >= 0.5).to(boxes.dtype)
