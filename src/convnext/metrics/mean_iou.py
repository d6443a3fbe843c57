"""Mean intersection over union of label maps, pixel accuracy, and both for each class, summed batch by batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from convnext.errors import UserError
from convnext.metrics.classification import confusion


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelScores:
    """What was scored over all pixels that have a class.

    miou, class_accuracy: means over classes, percent; pixel_accuracy: of all pixels, percent.
    class_iou, class_right: percent for each class; None for one that is neither there nor predicted, or not there.
    confusion: int64 [true, predicted], pixels.
    """

    miou: float
    pixel_accuracy: float
    class_accuracy: float
    class_iou: tuple[float | None, ...]
    class_right: tuple[float | None, ...]
    confusion: Tensor


class MeanIoU:
    """Scores over all pixels of all pictures it was shown, each pixel with the same weight, as is usual for ADE20K.

    num_classes: two or more; ignore: the value of a label map that is not scored.
    """

    def __init__(self, num_classes: int, *, ignore: int = 255) -> None:
        if num_classes < 2:
            raise UserError(f"num_classes must be 2 or more, got {num_classes}")
        self.num_classes, self.ignore = num_classes, ignore
        self._confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, predicted: Tensor, truth: Tensor) -> None:
        """Add pictures: the class of each pixel as predicted and as it is, integers of one shape on one device."""
        if predicted.shape != truth.shape:
            raise UserError(f"predicted and true classes must have one shape, got {predicted.shape} and {truth.shape}")
        counts = truth != self.ignore
        truth, predicted = truth[counts].long(), predicted[counts].long()
        for name, values in (("true", truth), ("predicted", predicted)):
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < self.num_classes:
                raise UserError(
                    f"{name} classes must be from 0 to {self.num_classes - 1}, got {values.min()} to {values.max()}"
                )
        self._confusion += confusion(truth, predicted, self.num_classes).cpu()

    def merge(self, other: "MeanIoU") -> None:
        """Add what another one over the same classes has seen."""
        self._confusion += other._confusion

    def compute(self) -> dict[str, float | int | None]:
        """Return miou, pixel_accuracy and class_accuracy in percent; a UserError when no pixel had a class."""
        scores = self.scores()
        return {
            "miou": scores.miou,
            "pixel_accuracy": scores.pixel_accuracy,
            "class_accuracy": scores.class_accuracy,
        }

    def scores(self) -> PixelScores:
        """Return everything; classes that are neither there nor predicted are left out of the mean."""
        table = self._confusion.double()
        if not table.any():
            raise UserError("there is nothing to score: not one pixel of the pictures that were read has a class")
        right, of_class, as_class = table.diagonal(), table.sum(dim=1), table.sum(dim=0)
        # Division by 0 gives NaN, which stands for "not there" until it is turned into None.
        iou = 100 * right / (of_class + as_class - right)
        accuracy = 100 * right / of_class
        return PixelScores(
            miou=float(iou.nanmean()),
            pixel_accuracy=float(100 * right.sum() / table.sum()),
            class_accuracy=float(accuracy.nanmean()),
            class_iou=_told(iou),
            class_right=_told(accuracy),
            confusion=self._confusion.clone(),
        )


def _told(values: Tensor) -> tuple[float | None, ...]:
    return tuple(None if value != value else value for value in values.tolist())
