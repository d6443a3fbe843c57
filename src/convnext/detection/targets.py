"""What a detector learns from and what it gives: the objects of one picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convnext.errors import UserError


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """The objects of one picture, on the device of the pictures; M may be 0.

    boxes   float32 (M, 4): x0, y0, x1, y1 in pixels of the batch's picture
    labels  int64 (M,): 0 to num_classes - 1; there is no background among them
    masks   uint8 (M, H, W) of the padded picture, or None
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """What was found in one picture, best first.

    boxes   float32 (D, 4): x0, y0, x1, y1 in pixels of the batch's picture
    scores  float32 (D,)
    labels  int64 (D,): 0 to num_classes - 1
    masks   float32 (D, 28, 28): probabilities inside the box; None of a detector without masks
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None


def check_targets(targets: Sequence[Target], *, num_pictures: int, num_classes: int, need_masks: bool) -> None:
    """Raise UserError where a picture's target cannot be learned from; it names the picture's place in the batch."""
    if len(targets) != num_pictures:
        raise UserError(f"there are {num_pictures} pictures but {len(targets)} targets; give one for each picture")
    for index, target in enumerate(targets):
        count = len(target.labels)
        if target.boxes.shape != (count, 4):
            raise UserError(
                f"picture {index} has {count} labels but boxes of shape {tuple(target.boxes.shape)}; "
                f"({count}, 4) is expected"
            )
        if need_masks and (target.masks is None or len(target.masks) != count):
            given = "none" if target.masks is None else len(target.masks)
            raise UserError(
                f"picture {index} has {count} objects and {given} masks; this detector needs one for each: "
                "take the head faster-rcnn for data without masks"
            )
    _check_values(targets, num_classes)


def _check_values(targets: Sequence[Target], num_classes: int) -> None:
    if not targets:
        return
    boxes = torch.cat([target.boxes for target in targets])
    labels = torch.cat([target.labels for target in targets])
    # Written so that a box with a NaN is refused too.
    flat = ~(boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    foreign = (labels < 0) | (labels >= num_classes)
    wrong = flat | foreign
    # One question to the device for the whole batch.
    if not bool(wrong.any()):
        return
    row = int(wrong.nonzero()[0])
    index = _picture_of(row, targets)
    if bool(flat[row]):
        raise UserError(
            f"picture {index} of the batch has the box {boxes[row].tolist()}, which has no area; boxes are "
            "x0, y0, x1, y1 with x0 < x1 and y0 < y1: leave such objects out"
        )
    raise UserError(
        f"picture {index} of the batch has the label {int(labels[row])}; labels run from 0 to {num_classes - 1}"
    )


def _picture_of(row: int, targets: Sequence[Target]) -> int:
    for index, target in enumerate(targets):
        if row < len(target.boxes):
            return index
        row -= len(target.boxes)
    raise AssertionError("the row lies beyond the last picture")
