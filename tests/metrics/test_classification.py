import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score

from convnext.errors import UserError
from convnext.metrics.classification import ClassificationMetric, confusion, topk_correct


def made(count: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, (count,), generator=generator)


def scored(logits: torch.Tensor, labels: torch.Tensor, pieces: list[int]) -> ClassificationMetric:
    metric = ClassificationMetric(logits.shape[1])
    for part, truth in zip(logits.split(pieces), labels.split(pieces), strict=True):
        metric.update(part, truth)
    return metric


@settings(deadline=None, max_examples=50)
@given(
    pieces=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    classes=st.integers(3, 12),
    seed=st.integers(0, 1000),
)
def test_equals_scikit_learn_however_it_is_cut(pieces, classes, seed):
    logits, labels = made(sum(pieces), classes, seed)
    scores = scored(logits, labels, pieces).compute()
    every = np.arange(classes)
    predicted = logits.argmax(dim=1)
    assert scores.images == len(labels)
    assert scores.top1 == pytest.approx(100 * (predicted == labels).double().mean().item())
    assert scores.loss == pytest.approx(log_loss(labels, logits.softmax(dim=1), labels=every))
    assert scores.confusion.dtype == torch.int64
    assert (scores.confusion.numpy() == confusion_matrix(labels, predicted, labels=every)).all()
    assert scores.class_images.tolist() == np.bincount(labels, minlength=classes).tolist()
    assert scores.class_right.tolist() == scores.confusion.diagonal().tolist()
    if classes > 5:
        assert scores.top5 == pytest.approx(100 * top_k_accuracy_score(labels, logits, k=5, labels=every))
    else:
        assert scores.top5 is None


def test_by_hand():
    logits = torch.tensor([[2.0, 0, 0], [0, 2, 0], [0, 2, 0], [0, 0, 2]])
    scores = scored(logits, torch.tensor([0, 1, 2, 2]), [3, 1]).compute()
    assert scores.top1 == 75.0
    assert scores.confusion.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    log_sum = float(np.log(np.exp(2) + 2))
    assert scores.loss == pytest.approx(log_sum - 6 / 4)


def test_processes_add_up():
    logits, labels = made(30, 6)
    whole, other = scored(logits[:20], labels[:20], [20]), scored(logits[20:], labels[20:], [10])
    whole.merge(other)
    merged, once = whole.compute(), scored(logits, labels, [30]).compute()
    assert (merged.top1, merged.top5, merged.images) == (once.top1, once.top5, once.images)
    assert merged.loss == pytest.approx(once.loss) and merged.ece == pytest.approx(once.ece)
    for name in ("confusion", "class_images", "class_right"):
        assert torch.equal(getattr(merged, name), getattr(once, name))


def test_confidence_is_the_probability_of_what_was_predicted():
    # Both say 0.8, one is right: the bin's accuracy is 0.5.
    logits = torch.tensor([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]).log()
    assert scored(logits, torch.tensor([0, 1]), [2]).compute().ece == pytest.approx(30)


def test_rows_are_the_truth():
    assert confusion(torch.tensor([0, 0]), torch.tensor([2, 1]), 3).tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(("classes", "expected"), [(5, None), (6, 100.0)])
def test_top5_needs_more_than_five_classes(classes, expected):
    logits = torch.arange(classes).float()[None]
    scores = scored(logits, torch.tensor([1]), [1]).compute()
    assert (scores.top1, scores.top5) == (0.0, expected)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_ties_as_topk_chooses(k):
    logits = torch.tensor([[1.0, 1, 1, 1, 1, 1], [0, 3, 3, 3, 0, 0]])
    for label in range(6):
        labels = torch.tensor([label, label])
        expected = [label in row for row in logits.topk(k).indices.tolist()]
        assert topk_correct(logits, labels, k).tolist() == expected


def test_ties_give_one_prediction_each():
    scores = scored(torch.zeros(6, 6), torch.arange(6), [6]).compute()
    assert scores.top1 == pytest.approx(100 / 6)
    assert scores.confusion.sum() == 6
    assert scores.top1 == pytest.approx(100 * scores.confusion.trace().item() / 6)


def test_half_precision_and_large_sums():
    logits, labels = made(64, 10)
    scores = scored(logits.bfloat16(), labels, [64]).compute()
    assert scores.loss == pytest.approx(log_loss(labels, logits.bfloat16().double().softmax(dim=1)), rel=1e-9)
    one = ClassificationMetric(2)
    for _ in range(300):
        one.update(torch.tensor([[0.0, 30.0]]).half(), torch.tensor([0]))
    assert one.compute().loss == pytest.approx(30.0, rel=1e-9)


def test_scores_do_not_change_afterwards():
    logits, labels = made(8, 4)
    metric = scored(logits, labels, [8])
    before = metric.compute()
    metric.update(logits, labels)
    assert before.confusion.sum() == before.images == 8
    assert metric.compute().images == 16


def test_gradients_are_let_go():
    logits, labels = made(8, 4)
    metric = scored(logits.requires_grad_(), labels, [8])
    assert not metric.compute().confusion.requires_grad
    assert isinstance(metric.compute().loss, float)


@pytest.mark.parametrize("update", [False, True])
def test_nothing_to_score(update):
    metric = ClassificationMetric(3)
    if update:
        metric.update(torch.empty(0, 3), torch.empty(0, dtype=torch.int64))
    with pytest.raises(UserError, match="nothing to score: not one picture was read"):
        metric.compute()


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (torch.zeros(2, 4), torch.tensor([0, 1]), r"logits must be 2 x 3 \(pictures x classes\), got \(2, 4\)"),
        (torch.zeros(2, 3), torch.tensor([0]), r"logits must be 1 x 3"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "labels must be from 0 to 2, got 0 to 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 1]), "labels must be from 0 to 2, got -1 to 1"),
    ],
)
def test_mismatch(logits, labels, words):
    with pytest.raises(UserError, match=words):
        ClassificationMetric(3).update(logits, labels)


def test_one_class_is_refused():
    with pytest.raises(UserError, match="num_classes must be 2 or more, got 1"):
        ClassificationMetric(1)
