"""Which object each anchor or proposal stands for, by overlap, as OpenMMLab assigns them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.ops import box_iou

from convnext.detection.targets import Target

BACKGROUND = -1
NEITHER = -2


@dataclass(frozen=True, kw_only=True)
class MaxIoU:
    """By the largest overlap (IoU).

    positive     a box that overlaps an object at least so much stands for the one that it overlaps most
    negative     one that overlaps none so much is background; in between it is neither
    low_quality  each object also takes the boxes that overlap it most, if that is at least so much, whatever they
                 overlap besides; None: it does not
    """

    positive: float
    negative: float
    low_quality: float | None = None

    def __call__(self, boxes: Tensor, objects: Tensor) -> Tensor:
        """Return the object's place, BACKGROUND or NEITHER (N,) for boxes (N, 4) and objects (M, 4)."""
        if len(objects) == 0 or len(boxes) == 0:
            return torch.full((len(boxes),), BACKGROUND, device=boxes.device)
        overlaps = box_iou(objects, boxes)
        best, place = overlaps.max(dim=0)
        assigned = torch.where(best >= self.positive, place, torch.where(best < self.negative, BACKGROUND, NEITHER))
        if self.low_quality is None:
            return assigned
        top = overlaps.max(dim=1, keepdim=True).values
        taken = (overlaps == top) & (top >= self.low_quality)
        # Of several objects that take a box, the last one has it.
        number = torch.arange(1, len(objects) + 1, device=boxes.device)[:, None]
        taker = (taken * number).max(dim=0).values - 1
        return torch.where(taker >= 0, taker, assigned)


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """The proposals of one picture that a box head learns from, those that stand for an object first.

    boxes      float32 (S, 4)
    objects    int64 (P,): which object of the picture each of the first P stands for
    from_data  bool (S,): whether the box is an object's own, not a proposal
    """

    boxes: Tensor
    objects: Tensor
    from_data: Tensor

    @property
    def num_positive(self) -> int:
        """How many stand for an object."""
        return len(self.objects)


def sample_proposals(
    proposals: Tensor, target: Target, assign: MaxIoU, sampler: BalancedPositiveNegativeSampler
) -> Samples:
    """Draw what a box head learns from in one picture; the objects' own boxes are among what is drawn from."""
    own = torch.arange(len(target.boxes), device=proposals.device)
    assigned = torch.cat([own, assign(proposals, target.boxes)])
    boxes = torch.cat([target.boxes, proposals])
    positive, negative = drawn(assigned, sampler)
    rows = torch.cat([positive, negative])
    return Samples(boxes=boxes[rows], objects=assigned[positive], from_data=rows < len(own))


def drawn(assigned: Tensor, sampler: BalancedPositiveNegativeSampler) -> tuple[Tensor, Tensor]:
    """Return which rows are drawn as objects and which as background, each in ascending order."""
    # The sampler takes 1 and more for an object, 0 for background and -1 for neither.
    kinds = torch.where(assigned >= 0, 1, torch.where(assigned == BACKGROUND, 0, -1))
    positive, negative = sampler([kinds])
    return positive[0].nonzero()[:, 0], negative[0].nonzero()[:, 0]


def labels_of(samples: Sequence[Samples], targets: Sequence[Target], background: int) -> Tensor:
    """Return the labels of all samples in a row; those of no object get the label `background`."""
    labels = []
    for sample, target in zip(samples, targets, strict=True):
        rest = target.labels.new_full((len(sample.boxes) - sample.num_positive,), background)
        labels += [target.labels[sample.objects], rest]
    return torch.cat(labels)
