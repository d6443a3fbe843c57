"""Top-1, top-5, cross-entropy, calibration, each class and the confusion matrix, summed batch by batch."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convnext.errors import UserError
from convnext.metrics.calibration import CalibrationBins

MOST_IN_CONFUSION = 2_000


def topk_correct(logits: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return for each picture whether its label is among the k highest logits: bool (N,).

    logits: (N, classes); labels: int64 (N,). Between equal logits torch.topk chooses.
    """
    return (logits.topk(k, dim=1).indices == labels[:, None]).any(dim=1)


def confusion(labels: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Return how often each true class (row) was taken for each class (column): int64 (classes, classes)."""
    counts = torch.bincount(labels * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What a classifier scored on some pictures.

    top1, top5: percent; top5 is None with five classes or fewer. loss: mean plain cross-entropy, nats.
    ece: expected calibration error in 15 bins, percent points.
    class_images, class_right: int64 (classes,), the pictures of each true class and how many were taken for it.
    confusion: int64 [true, predicted]; None with more than 2,000 classes, where it would fill the memory.
    """

    top1: float
    top5: float | None
    loss: float
    images: int
    ece: float
    class_images: Tensor
    class_right: Tensor
    confusion: Tensor | None


class ClassificationMetric:
    """Scores over all batches it was shown, each picture with the same weight."""

    def __init__(self, num_classes: int) -> None:
        if num_classes < 2:
            raise UserError(f"num_classes must be 2 or more, got {num_classes}")
        self.num_classes = num_classes
        self._images = self._top1 = self._top5 = 0
        self._loss = 0.0
        self._bins = CalibrationBins()
        self._class_images = torch.zeros(num_classes, dtype=torch.int64)
        self._class_right = torch.zeros(num_classes, dtype=torch.int64)
        self._confusion = (
            torch.zeros(num_classes, num_classes, dtype=torch.int64) if num_classes <= MOST_IN_CONFUSION else None
        )

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits (N, classes) of any float type and device, labels int64 (N,)."""
        if logits.shape != (len(labels), self.num_classes):
            raise UserError(
                f"logits must be {len(labels)} x {self.num_classes} (pictures x classes), got {tuple(logits.shape)}"
            )
        logits, labels = logits.detach().cpu().double(), labels.cpu()
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise UserError(f"labels must be from 0 to {self.num_classes - 1}, got {labels.min()} to {labels.max()}")
        predicted = logits.topk(1, dim=1).indices[:, 0]
        right = predicted == labels
        self._images += len(labels)
        self._top1 += int(right.sum())
        self._class_images += torch.bincount(labels, minlength=self.num_classes)
        self._class_right += torch.bincount(labels[right], minlength=self.num_classes)
        self._bins.update(logits.softmax(dim=1).gather(1, predicted[:, None])[:, 0], right)
        if self._confusion is not None:
            self._confusion += confusion(labels, predicted, self.num_classes)
        self._loss += F.cross_entropy(logits, labels, reduction="sum").item()
        if self.num_classes > 5:
            self._top5 += int(topk_correct(logits, labels, 5).sum())

    def merge(self, other: "ClassificationMetric") -> None:
        """Add what another metric over the same classes has seen."""
        self._images += other._images
        self._top1 += other._top1
        self._top5 += other._top5
        self._loss += other._loss
        self._bins.merge(other._bins)
        self._class_images += other._class_images
        self._class_right += other._class_right
        if self._confusion is not None:
            assert other._confusion is not None, "both count the same classes"
            self._confusion += other._confusion

    def compute(self) -> Scores:
        """Return the scores so far; a UserError when no picture was shown."""
        images = self._images
        if images == 0:
            raise UserError("there is nothing to score: not one picture was read")
        return Scores(
            top1=100 * self._top1 / images,
            top5=100 * self._top5 / images if self.num_classes > 5 else None,
            loss=self._loss / images,
            images=images,
            ece=self._bins.error(),
            class_images=self._class_images.clone(),
            class_right=self._class_right.clone(),
            confusion=None if self._confusion is None else self._confusion.clone(),
        )
