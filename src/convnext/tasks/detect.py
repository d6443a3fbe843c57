"""Detection: boxes, classes and masks of objects, the losses of a detector, COCO's average precision (section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from convnext.data.dense.loader import DetectBatch, DetectEvalLoader, DetectTrainLoader
from convnext.data.dense.splits import DenseSource, Masks, Objects
from convnext.data.loader import WHOLE, Share
from convnext.detection.detector import Detector
from convnext.detection.paste import on_original, paste_masks
from convnext.detection.spec import Convention
from convnext.detection.targets import Detections, Target
from convnext.errors import UserError
from convnext.metrics.average_precision import AveragePrecision
from convnext.preprocess import Preprocess
from convnext.recipe import Detect, Recipe
from convnext.tasks.normalise import normalise
from convnext.train.chance import Chance

Size = tuple[int, int]
# Boxes with less are not drawn and do not count where pictures are put into an order; COCO's AP takes all.
SHOWN_SCORE = 0.3


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadyDetect:
    """A batch on the device.

    images          normalised (N, 3, H, W), padded at right and bottom with zeros
    sizes           (height, width) of each picture without its padding
    original_sizes  before it was resized
    targets         what to learn; none in scoring
    truth           what is truly there, in pixels of the original pictures; None in training
    """

    images: Tensor
    sizes: tuple[Size, ...]
    original_sizes: tuple[Size, ...]
    targets: tuple[Target, ...] = ()
    truth: DetectBatch | None = None


class DetectTask:
    """Trains a detector to find the objects of a source.

    preprocess   mean and std; they travel with the weights
    has_masks    whether the detector tells masks
    convention   how masks are put back into a picture
    seed, share, pin   as in classification
    """

    chance_level: float | None = None
    one_size: ClassVar[bool] = False

    def __init__(
        self,
        source: DenseSource,
        recipe: Recipe,
        *,
        preprocess: Preprocess,
        has_masks: bool,
        convention: Convention,
        seed: int,
        share: Share = WHOLE,
        pin: bool = False,
    ) -> None:
        if recipe.detect is None:
            raise UserError(f"the recipe {recipe.name} is not one of detection; take detect-small or coco-mask-rcnn")
        if has_masks and not source.has_masks:
            raise UserError(
                f"{source.name} has boxes only, and this detector learns masks too; take --head faster-rcnn"
            )
        self.source, self.recipe, self.preprocess, self.seed = source, recipe, preprocess, seed
        self.part: Detect = recipe.detect
        self.num_classes = len(source.classes)
        self.has_masks, self.convention = has_masks, convention
        self.target = "box_ap"
        self._share, self._pin = share, pin

    def build(self, backbone: nn.Module) -> nn.Module:
        """Return the detector itself; UserError where it has another number of classes."""
        if not isinstance(backbone, Detector):
            raise UserError(f"detection trains a detector, got {type(backbone).__name__}; see build_detector")
        if backbone.spec.num_classes != self.num_classes:
            raise UserError(f"the detector tells {backbone.spec.num_classes} classes, the data has {self.num_classes}")
        return backbone

    def train_batches(self) -> DetectTrainLoader:
        """Return the shuffled and varied batches of the training split."""
        return self._train_loader

    def val_batches(self) -> DetectEvalLoader:
        """Return the held-out pictures, each exactly once."""
        return self._val_loader

    @cached_property
    def _train_loader(self) -> DetectTrainLoader:
        data = self.recipe.data
        return DetectTrainLoader(
            self.source.train,
            detect=self.part,
            flip=self.recipe.augment.flip,
            batch_size=data.batch_size,
            seed=self.seed,
            workers=data.workers,
            masks=self.has_masks,
            share=self._share,
            pin=self._pin,
        )

    @cached_property
    def _val_loader(self) -> DetectEvalLoader:
        recipe = self.recipe
        return DetectEvalLoader(
            self.source.val,
            short_side=recipe.data.size,
            longest=self.part.longest,
            batch_size=min(recipe.data.batch_size, recipe.engine.micro_batch),
            workers=recipe.data.workers,
            masks=self.has_masks,
            share=self._share,
            pin=self._pin,
        )

    def prepare(self, batch: DetectBatch, device: torch.device, chance: Chance | None) -> ReadyDetect:
        """Bring a batch to the device and normalise it there; its padding becomes 0."""
        images = normalise(batch.images.to(device, non_blocking=True), self.preprocess)
        for index, (height, width) in enumerate(batch.sizes):
            images[index, :, height:] = 0
            images[index, :, :, width:] = 0
        sizes, originals, masks = batch.sizes, batch.original_sizes, batch.masks
        if chance is None:
            return ReadyDetect(images=images, sizes=sizes, original_sizes=originals, truth=batch)
        targets = tuple(
            Target(
                boxes=boxes.to(device, non_blocking=True),
                labels=labels.to(device, non_blocking=True),
                masks=_to(device, None if masks is None else masks[index]),
            )
            for index, (boxes, labels) in enumerate(zip(batch.boxes, batch.labels, strict=True))
        )
        return ReadyDetect(images=images, sizes=sizes, original_sizes=originals, targets=targets)

    def loss(self, model: nn.Module, batch: ReadyDetect) -> Mapping[str, Tensor]:
        """Return the losses of proposals, boxes, classes and masks by name, and their sum."""
        losses: dict[str, Tensor] = model(batch.images, batch.sizes, batch.targets)
        return {"total": torch.stack([loss.float() for loss in losses.values()]).sum(), **losses}

    def predict(self, model: nn.Module, batch: ReadyDetect) -> list[Detections]:
        """Return what is found in each picture, in pixels of the original."""
        found: list[Detections] = model(batch.images, batch.sizes)
        sizes = zip(batch.sizes, batch.original_sizes, strict=True)
        return [on_original(one, *pair) for one, pair in zip(found, sizes, strict=True)]

    def metric(self) -> "DetectMetric":
        """Return an empty score."""
        source = self.source
        return DetectMetric(
            source.classes, masks=self.has_masks, convention=self.convention, category_ids=source.category_ids
        )


class DetectMetric:
    """COCO's average precision of boxes and, where the detector tells them, masks, percent.

    pictures: of each picture that was scored, by its place in the split, how well its boxes were found (`found_score`)
    """

    def __init__(
        self, classes: Sequence[str], *, masks: bool, convention: Convention, category_ids: Sequence[int] | None = None
    ) -> None:
        self._masks, self._convention = masks, convention
        self.precision = AveragePrecision(classes, masks=masks, category_ids=category_ids)
        self.pictures: dict[int, float | None] = {}

    def update(self, outputs: Sequence[Detections], batch: ReadyDetect) -> None:
        """Add what was found in a batch, beside what is truly there."""
        truth = batch.truth
        assert truth is not None, "a batch is prepared for scoring"
        for index, (found, size) in enumerate(zip(outputs, batch.original_sizes, strict=True)):
            there = truth_of(truth, index)
            self.precision.add(
                picture_id=truth.picture_ids[index],
                size=size,
                truth=there,
                boxes=found.boxes.float().cpu().numpy(),
                scores=found.scores.float().cpu().numpy(),
                labels=found.labels.cpu().numpy(),
                masks=pasted(found, size, self._convention) if self._masks else None,
            )
            self.pictures[int(truth.indices[index])] = found_score(found, there)

    def merge(self, other: "DetectMetric") -> None:
        """Add what another one has seen."""
        self.precision.merge(other.precision)
        self.pictures |= other.pictures

    def compute(self) -> dict[str, float | int | None]:
        """Return box_ap, box_ap50, ... and mask_ap, ... in percent; a class without an object counts for nothing.

        Where there is not one object, box_ap is 0, so that epochs can be compared.
        """
        values = dict(self.precision.compute())
        return values | {"box_ap": values["box_ap"] or 0.0}

    def per_class(self) -> list[tuple[str, dict[str, float | int | None]]]:
        """Return each class with the number of its objects and its average precision in percent."""
        columns = ("objects", "box_ap", "mask_ap") if self._masks else ("objects", "box_ap")
        return [(one.name, {name: getattr(one, name) for name in columns}) for one in self.precision.per_class()]


def _to(device: torch.device, masks: Tensor | None) -> Tensor | None:
    return None if masks is None else masks.to(device, non_blocking=True)


def truth_of(batch: DetectBatch, index: int) -> Objects:
    """Return the objects of one picture of a batch for scoring, in pixels of the original picture."""
    masks = None if batch.masks is None else batch.masks[index]
    return Objects(
        boxes=batch.boxes[index].numpy(),
        labels=batch.labels[index].numpy(),
        crowd=batch.crowd[index].numpy(),
        areas=batch.areas[index].numpy(),
        masks=None if masks is None else masks.numpy().astype(bool),
    )


def pasted(found: Detections, size: Size, convention: Convention) -> Masks:
    """Return masks (D, height, width) of detections in a picture of that size."""
    assert found.masks is not None, "a detector with masks found these"
    drawn: Masks = paste_masks(
        found.masks.float().cpu(), found.boxes.float().cpu(), size, convention=convention
    ).numpy()
    return drawn


def found_score(found: Detections, truth: Objects, *, least_score: float = SHOWN_SCORE) -> float | None:
    """Return the F1 score of a picture's boxes in percent, to put pictures into an order; None without any box.

    A detection with a score of at least `least_score` is right where it overlaps an object of its class that none
    before it took, by an IoU of at least 0.5; those on crowds are left out.
    """
    kept = found.scores >= least_score
    boxes, labels = found.boxes[kept].float().cpu(), found.labels[kept].cpu()
    objects = truth.chosen(~truth.crowd)
    crowds = torch.from_numpy(truth.boxes[truth.crowd])
    free = torch.ones(len(objects), dtype=torch.bool)
    right = wrong = 0
    overlap = box_iou(boxes, torch.from_numpy(objects.boxes))
    for index, label in enumerate(labels.tolist()):
        fits = free & (torch.from_numpy(objects.labels) == label) & (overlap[index] >= 0.5)
        if bool(fits.any()):
            free[int(torch.where(fits, overlap[index], -1.0).argmax())] = False
            right += 1
        elif not len(crowds) or float(box_iou(boxes[index : index + 1], crowds).max()) < 0.5:
            wrong += 1
    total = 2 * right + wrong + int(free.sum())
    return 100 * 2 * right / total if total else None
