"""Segmentation: a class for each pixel, cross-entropy of two heads, mean intersection over union (section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convnext.data.dense.loader import SegmentBatch, SegmentEvalLoader, SegmentTrainLoader
from convnext.data.dense.splits import IGNORED, DenseSource, DenseSplit
from convnext.data.loader import WHOLE, Share
from convnext.errors import UserError
from convnext.metrics.mean_iou import MeanIoU
from convnext.preprocess import Preprocess
from convnext.recipe import Recipe, Segment
from convnext.segmentation.multi_scale import PAPER_RATIOS, multi_scale_probabilities, pixel_classes
from convnext.segmentation.segmenter import Segmenter
from convnext.segmentation.sliding import Window
from convnext.tasks.normalise import normalise
from convnext.train.chance import Chance


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadySegment:
    """A batch on the device.

    images  normalised (N, 3, H, W)
    maps    the class of each pixel, int64, 255 where it is ignored: in training (N, H, W), in scoring as large as the
            pictures were before they were resized
    places  of the pictures in their split
    """

    images: Tensor
    maps: Tensor
    places: tuple[int, ...] = ()


class SegmentTask:
    """Trains a segmenter to tell the class of each pixel of a source's pictures.

    preprocess   mean and std; they travel with the weights
    seed         decides the order of the pictures and how each is varied
    share, pin   as in classification
    multi_scale  score as Table 4's multi-scale column: six sizes and their mirror images, 10 to 20 times the work
    """

    target = "miou"
    chance_level: float | None = None
    one_size: ClassVar[bool] = True

    def __init__(
        self,
        source: DenseSource,
        recipe: Recipe,
        *,
        preprocess: Preprocess,
        seed: int,
        share: Share = WHOLE,
        pin: bool = False,
        multi_scale: bool = False,
    ) -> None:
        if recipe.segment is None:
            raise UserError(f"the recipe {recipe.name} is not one of segmentation; take segment-small or ade20k")
        self.source, self.recipe, self.preprocess, self.seed = source, recipe, preprocess, seed
        self.part: Segment = recipe.segment
        self.num_classes = len(source.classes)
        self.window = Window(side=recipe.data.size, stride=self.part.stride)
        self._share, self._pin, self._multi_scale = share, pin, multi_scale

    def build(self, backbone: nn.Module) -> nn.Module:
        """Return the segmenter itself; UserError where it has another number of classes."""
        if not isinstance(backbone, Segmenter):
            raise UserError(f"segmentation trains a segmenter, got {type(backbone).__name__}; see build_segmenter")
        if backbone.spec.num_classes != self.num_classes:
            raise UserError(f"the segmenter tells {backbone.spec.num_classes} classes, the data has {self.num_classes}")
        return backbone

    def train_batches(self) -> SegmentTrainLoader:
        """Return the shuffled and varied crops of the training split."""
        return self._train_loader

    def val_batches(self) -> SegmentEvalLoader:
        """Return the held-out pictures, each exactly once and whole."""
        return self._val_loader

    @cached_property
    def _train_loader(self) -> SegmentTrainLoader:
        data = self.recipe.data
        return SegmentTrainLoader(
            self.source.train,
            size=data.size,
            segment=self.part,
            flip=self.recipe.augment.flip,
            batch_size=data.batch_size,
            seed=self.seed,
            workers=data.workers,
            share=self._share,
            pin=self._pin,
        )

    @cached_property
    def _val_loader(self) -> SegmentEvalLoader:
        return self.eval_batches(self.source.val, workers=self.recipe.data.workers, share=self._share, pin=self._pin)

    def eval_batches(
        self, split: DenseSplit, *, workers: int, share: Share = WHOLE, pin: bool = False
    ) -> SegmentEvalLoader:
        """Return pictures as they are scored: fitted into the base size, or as they came for several scales."""
        base = None if self._multi_scale else self.part.base
        return SegmentEvalLoader(split, base=base, workers=workers, share=share, pin=pin)

    def prepare(self, batch: SegmentBatch, device: torch.device, chance: Chance | None) -> ReadySegment:
        """Bring a batch to the device and normalise it there; what was added around a picture becomes 0."""
        images = normalise(batch.images.to(device, non_blocking=True), self.preprocess)
        maps = batch.maps.to(device, non_blocking=True).long()
        for index, (height, width) in enumerate(batch.sizes):
            images[index, :, height:] = 0
            images[index, :, :, width:] = 0
        return ReadySegment(images=images, maps=maps, places=tuple(batch.indices.tolist()))

    def loss(self, model: nn.Module, batch: ReadySegment) -> Mapping[str, Tensor]:
        """Return the cross-entropy of both heads, the auxiliary one weighted, over the pixels that have a class."""
        outputs: dict[str, Tensor] = model(batch.images)
        losses = {name: pixel_loss(logits, batch.maps) for name, logits in outputs.items()}
        auxiliary = losses.get("aux")
        total = losses["main"] if auxiliary is None else losses["main"] + self.part.aux_weight * auxiliary
        return {"total": total, **losses}

    def predict(self, model: nn.Module, batch: ReadySegment) -> Tensor:
        """Return the class of each pixel, int64, at the size of the maps: window by window, or at several scales."""
        assert isinstance(model, Segmenter), "a segmenter is scored"
        size, several = _size_of(batch.maps), self._multi_scale
        return segment_pictures(model, batch.images, size=size, part=self.part, window=self.window, several=several)

    def metric(self) -> "SegmentMetric":
        """Return an empty score."""
        return SegmentMetric(self.source.classes)


class SegmentMetric:
    """Mean intersection over union, pixel accuracy and mean class accuracy, percent.

    pictures: the mIoU of each picture that was scored, by its place in the split; None where all of it is ignored
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.counts = MeanIoU(len(classes), ignore=IGNORED)
        self.pictures: dict[int, float | None] = {}

    def update(self, outputs: Tensor, batch: ReadySegment) -> None:
        """Add the classes that were predicted for a batch."""
        for place, found, truth in zip(batch.places, outputs, batch.maps, strict=True):
            own = MeanIoU(len(self.classes), ignore=IGNORED)
            own.update(found, truth)
            self.counts.merge(own)
            self.pictures[place] = own.scores().miou if bool((truth != IGNORED).any()) else None

    def merge(self, other: "SegmentMetric") -> None:
        """Add what another one has seen."""
        self.counts.merge(other.counts)
        self.pictures |= other.pictures

    def compute(self) -> dict[str, float | int | None]:
        """Return miou, pixel_accuracy and class_accuracy in percent."""
        return dict(self.counts.compute())

    def per_class(self) -> list[tuple[str, dict[str, float | int | None]]]:
        """Return each class with its intersection over union and accuracy, percent, and how many pixels it has."""
        scores = self.counts.scores()
        pixels = scores.confusion.sum(dim=1).tolist()
        return [
            (name, {"iou": iou, "accuracy": right, "pixels": count})
            for name, iou, right, count in zip(self.classes, scores.class_iou, scores.class_right, pixels, strict=True)
        ]


def pixel_loss(logits: Tensor, maps: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (N, K, h, w), resized to maps (N, H, W); 0 where every pixel is ignored.

    The mean is over all pixels of the batch that have a class, as OpenMMLab's `avg_non_ignore` has it.
    """
    resized = F.interpolate(logits.float(), size=_size_of(maps), mode="bilinear", align_corners=False)
    summed = F.cross_entropy(resized, maps, ignore_index=IGNORED, reduction="sum")
    return summed / (maps != IGNORED).sum().clamp(min=1)


def segment_pictures(
    model: Segmenter, images: Tensor, *, size: tuple[int, int], part: Segment, window: Window, several: bool = False
) -> Tensor:
    """Return the class of each pixel, int64 (N, height, width), of normalised pictures.

    size      of the result; the pictures were resized to `part.base` before, or not at all where `several` scales are
              averaged
    """
    if not several:
        return pixel_classes(model.logits, images, size=size, window=window)
    found = multi_scale_probabilities(model.logits, images, base=part.base, ratios=PAPER_RATIOS, window=window)
    return found.argmax(dim=1)


def _size_of(maps: Tensor) -> tuple[int, int]:
    return int(maps.shape[-2]), int(maps.shape[-1])
