"""How far a classifier's confidence lies from its accuracy: the expected calibration error."""

import torch
from torch import Tensor

BINS = 15


class CalibrationBins:
    """Counts pictures, right answers and confidence in 15 equally wide bins of the confidence.

    The confidence is the probability of the most probable class; a bin holds what is above its lower and up to its
    upper edge, as in Guo et al., "On Calibration of Modern Neural Networks" (arXiv 1706.04599).
    """

    def __init__(self) -> None:
        self._sums = torch.zeros(3, BINS, dtype=torch.float64)

    def update(self, confidence: Tensor, right: Tensor) -> None:
        """Add pictures: confidence float (N,) from 0 to 1, or NaN, which the error then is too; right bool (N,)."""
        confidence, right = confidence.detach().cpu().double(), right.cpu().double()
        # A NaN has no bin, but must not vanish either.
        places = (torch.ceil(confidence.nan_to_num(0) * BINS) - 1).clamp(0, BINS - 1).long()
        for row, values in enumerate((torch.ones_like(confidence), right, confidence)):
            self._sums[row] += torch.bincount(places, values, minlength=BINS)

    def merge(self, other: "CalibrationBins") -> None:
        """Add what others have seen."""
        self._sums += other._sums

    def error(self) -> float:
        """Return the mean distance between confidence and accuracy of a bin, by its pictures, in percent points."""
        count, right, confidence = self._sums
        return 100 * float((right - confidence).abs().sum() / count.sum())
