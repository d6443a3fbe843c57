"""Mean IoU against scikit-learn and a plain count."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

from convnext.errors import UserError
from convnext.metrics.mean_iou import MeanIoU

SEEDS = st.integers(0, 2**32 - 1)


def maps(seed, classes, shape=(3, 5, 7), absent=()):
    """Return predicted and true maps in which some classes may be missing and a quarter is ignored."""
    generator = np.random.default_rng(seed)
    some = [label for label in range(classes) if label not in absent]
    truth = generator.choice(some, shape)
    predicted = np.where(generator.random(shape) < 0.5, truth, generator.choice(some, shape))
    truth[generator.random(shape) < 0.25] = 255
    return torch.from_numpy(predicted), torch.from_numpy(truth.astype(np.uint8))


@given(SEEDS, st.integers(2, 6), st.booleans())
def test_equals_scikit_learn(seed, classes, leave_one_out):
    predicted, truth = maps(seed, classes + 2, absent=(1, classes + 1) if leave_one_out else ())
    metric = MeanIoU(classes + 2)
    metric.update(predicted, truth)
    scores = metric.scores()
    known = (truth != 255).numpy()
    y_true, y_pred = truth.numpy()[known], predicted.numpy()[known]
    assert np.array_equal(scores.confusion, confusion_matrix(y_true, y_pred, labels=range(classes + 2)))
    seen = sorted(set(y_true) | set(y_pred))
    iou = 100 * jaccard_score(y_true, y_pred, labels=seen, average=None, zero_division=0)
    assert scores.miou == pytest.approx(iou.mean())
    assert [scores.class_iou[label] for label in seen] == pytest.approx(list(iou))
    assert all(scores.class_iou[label] is None for label in set(range(classes + 2)) - set(seen))
    assert scores.pixel_accuracy == pytest.approx(100 * accuracy_score(y_true, y_pred))
    there = sorted(set(y_true))
    right = 100 * recall_score(y_true, y_pred, labels=there, average=None, zero_division=0)
    assert scores.class_accuracy == pytest.approx(right.mean())
    assert [scores.class_right[label] for label in there] == pytest.approx(list(right))


def test_a_plain_case():
    metric = MeanIoU(4)
    metric.update(torch.tensor([[0, 0, 1], [1, 2, 2]]), torch.tensor([[0, 1, 1], [1, 1, 255]]))
    # Class 0: 1 of 2; class 1: 2 of 4; class 2: predicted once where it is not; class 3: nowhere.
    scores = metric.scores()
    assert scores.class_iou == (50.0, 50.0, 0.0, None)
    assert scores.class_right == (100.0, 50.0, None, None)
    assert metric.compute() == pytest.approx({"miou": 100 / 3, "pixel_accuracy": 60.0, "class_accuracy": 75.0})


@given(SEEDS)
def test_merging_equals_one_that_saw_everything(seed):
    whole, one, other = (MeanIoU(5) for _ in range(3))
    for number, part in enumerate((one, other, one)):
        predicted, truth = maps(seed + number, 5)
        whole.update(predicted, truth)
        part.update(predicted, truth)
    one.merge(other)
    assert torch.equal(one.scores().confusion, whole.scores().confusion)


def test_what_is_refused():
    metric = MeanIoU(3)
    with pytest.raises(UserError, match="nothing to score"):
        metric.compute()
    metric.update(torch.zeros(1, 2, 2, dtype=torch.int64), torch.full((1, 2, 2), 255))
    with pytest.raises(UserError, match="not one pixel"):
        metric.compute()
    with pytest.raises(UserError, match="true classes must be from 0 to 2, got 3 to 3"):
        metric.update(torch.zeros(1, 1), torch.full((1, 1), 3))
    with pytest.raises(UserError, match="predicted classes must be from 0 to 2, got 7 to 7"):
        metric.update(torch.full((1, 1), 7), torch.zeros(1, 1))
    with pytest.raises(UserError, match="one shape"):
        metric.update(torch.zeros(1, 2), torch.zeros(2, 1))
    with pytest.raises(UserError, match="num_classes must be 2 or more, got 1"):
        MeanIoU(1)
