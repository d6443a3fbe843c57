"""Score a classifier where a picture has several right labels or none; nothing is trained on such labels."""

import torch
from torch import Tensor, nn

from convnext.data.loader import Batch
from convnext.metrics.several_labels import SeveralLabelsMetric, SeveralLabelsScores
from convnext.preprocess import Preprocess
from convnext.tasks.classify import ReadyBatch
from convnext.tasks.normalise import normalise
from convnext.train.chance import Chance


class RealMetric:
    """Top-1 over logits and the numbers of the pictures."""

    def __init__(self, labels: tuple[tuple[int, ...], ...]) -> None:
        self._metric = SeveralLabelsMetric(labels)

    def update(self, outputs: Tensor, batch: ReadyBatch) -> None:
        """Add the logits of a batch."""
        self._metric.update(outputs, batch.labels)

    def merge(self, other: "RealMetric") -> None:
        """Add what another one has seen."""
        self._metric.merge(other._metric)

    def compute(self) -> dict[str, float | int | None]:
        """Return top1 in percent, ece in points, images, and without_label."""
        scores = self.scores()
        return {"top1": scores.top1, "ece": scores.ece, "images": scores.images, "without_label": scores.without_label}

    def scores(self) -> SeveralLabelsScores:
        """Return the scores so far."""
        return self._metric.compute()


class SeveralLabelsScoring:
    """Scores pictures whose labels are their numbers; labels: the right classes of each number, as rows of the head."""

    def __init__(self, labels: tuple[tuple[int, ...], ...], preprocess: Preprocess) -> None:
        self._labels, self._preprocess = labels, preprocess

    def prepare(self, batch: Batch, device: torch.device, chance: Chance | None) -> ReadyBatch:
        """Bring a batch to the device and normalise it there."""
        assert chance is None, "nothing is trained on these labels"
        return ReadyBatch(images=normalise(batch.images.to(device), self._preprocess), labels=batch.labels.to(device))

    def predict(self, model: nn.Module, batch: ReadyBatch) -> Tensor:
        """Return the logits (N, classes)."""
        logits: Tensor = model(batch.images)
        return logits

    def metric(self) -> RealMetric:
        """Return an empty score."""
        return RealMetric(self._labels)
