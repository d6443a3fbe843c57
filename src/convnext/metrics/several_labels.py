"""Top-1 where a picture may have several right labels, or none and then does not count: ImageNet's ReaL labels.

Beyer et al., "Are we done with ImageNet?" (arXiv 2006.07159).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convnext.errors import UserError
from convnext.metrics.calibration import CalibrationBins


@dataclass(frozen=True, kw_only=True)
class SeveralLabelsScores:
    """top1: percent of the pictures that have a label; ece: percent points; without_label: pictures left out."""

    top1: float
    ece: float
    images: int
    without_label: int


class SeveralLabelsMetric:
    """Right is whichever of a picture's labels; pictures are told by their number in `labels`."""

    def __init__(self, labels: Sequence[Sequence[int]]) -> None:
        most = max((len(row) for row in labels), default=0)
        # -1 is no class, so it is never right.
        self._labels = torch.tensor([[*row, *[-1] * (most - len(row))] for row in labels], dtype=torch.int64)
        self._images = self._right = self._without = 0
        self._bins = CalibrationBins()

    def update(self, logits: Tensor, numbers: Tensor) -> None:
        """Add a batch: logits (N, classes) of any float type and device, the pictures' numbers int64 (N,)."""
        best = logits.detach().cpu().double().softmax(dim=1).max(dim=1)
        labels = self._labels[numbers.cpu()]
        counts = (labels >= 0).any(dim=1)
        right = (labels == best.indices[:, None]).any(dim=1)
        self._images += int(counts.sum())
        self._without += int((~counts).sum())
        self._right += int(right.sum())
        self._bins.update(best.values[counts], right[counts])

    def merge(self, other: "SeveralLabelsMetric") -> None:
        """Add what another metric with the same labels has seen."""
        self._images += other._images
        self._without += other._without
        self._right += other._right
        self._bins.merge(other._bins)

    def compute(self) -> SeveralLabelsScores:
        """Return the scores so far; a UserError when no picture with a label was shown."""
        if self._images == 0:
            raise UserError("there is nothing to score: not one picture that has a label was read")
        return SeveralLabelsScores(
            top1=100 * self._right / self._images,
            ece=self._bins.error(),
            images=self._images,
            without_label=self._without,
        )
