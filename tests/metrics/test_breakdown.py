import torch

from convnext.metrics.breakdown import confusion_csv, frequent_confusions, per_class, worst_classes
from convnext.metrics.classification import ClassificationMetric, Scores

CLASSES = ["ant", "bee", "cat", "dog"]


def scored(pairs: list[tuple[int, int]]) -> Scores:
    metric = ClassificationMetric(len(CLASSES))
    truth, predicted = torch.tensor(pairs).T
    metric.update(torch.nn.functional.one_hot(predicted, len(CLASSES)).float(), truth)
    return metric.compute()


SCORES = scored([(0, 0), (0, 1), (0, 1), (1, 1), (2, 0), (2, 2), (0, 0)])


def test_each_class_has_its_own_share():
    assert [(one.name, one.images, one.top1) for one in per_class(SCORES, CLASSES)] == [
        ("ant", 4, 50.0),
        ("bee", 1, 100.0),
        ("cat", 2, 50.0),
        ("dog", 0, None),
    ]


def test_the_worst_come_first_and_of_equal_ones_the_larger():
    assert [one.name for one in worst_classes(SCORES, CLASSES, 5)] == ["ant", "cat"]
    assert [one.name for one in worst_classes(SCORES, CLASSES, 1)] == ["ant"]


def test_confusions_tell_which_was_taken_for_which():
    found = frequent_confusions(SCORES, CLASSES, 5)
    assert [(one.truth, one.taken_for, one.count) for one in found] == [("ant", "bee", 2), ("cat", "ant", 1)]


def test_the_matrix_has_the_truth_in_rows():
    assert SCORES.confusion is not None
    rows = confusion_csv(SCORES.confusion.numpy(), CLASSES).splitlines()
    assert rows[:2] == ["true \\ predicted,ant,bee,cat,dog", "ant,2,2,0,0"] and len(rows) == 5
