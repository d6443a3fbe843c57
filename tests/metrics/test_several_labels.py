import pytest
import torch

from convnext.errors import UserError
from convnext.metrics.several_labels import SeveralLabelsMetric

LABELS = ((0, 2), (1,), (), (2,))


def logits_for(*predicted: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(predicted), 3).float() * 2


def test_any_label_is_right_and_none_does_not_count():
    metric = SeveralLabelsMetric(LABELS)
    # In another order than their numbers, and in two batches: 3 -> 2 right, 2 has no label, 0 -> 2 right, 1 -> 0 wrong.
    metric.update(logits_for(2, 0), torch.tensor([3, 2]))
    metric.update(logits_for(2, 0), torch.tensor([0, 1]))
    scores = metric.compute()
    assert (scores.images, scores.without_label) == (3, 1)
    assert scores.top1 == pytest.approx(200 / 3)
    confidence = float(torch.tensor([2.0, 0, 0]).double().softmax(0)[0])
    assert scores.ece == pytest.approx(100 * abs(2 / 3 - confidence))


def test_processes_add_up():
    whole, other = SeveralLabelsMetric(LABELS), SeveralLabelsMetric(LABELS)
    whole.update(logits_for(0), torch.tensor([0]))
    other.update(logits_for(0, 1), torch.tensor([1, 2]))
    whole.merge(other)
    scores = whole.compute()
    assert (scores.top1, scores.images, scores.without_label) == (50.0, 2, 1)


def test_pictures_without_labels_are_nothing_to_score():
    metric = SeveralLabelsMetric(LABELS)
    metric.update(logits_for(0), torch.tensor([2]))
    with pytest.raises(UserError, match="not one picture that has a label"):
        metric.compute()
